//! Wishes of the environment for output on a terminal.
use super::variable;

/// Wishes of a terminal and of the person in front of it.
#[derive(Clone, Copy, Debug)]
pub struct TerminalWishes {
    /// Colours.
    pub colours: bool,
    /// Lines that change after they were written.
    pub moves: bool,
}

/// A `NO_COLOR` that is not empty wants no colours (<https://no-color.org>). A terminal that calls
/// itself `dumb` takes no escape codes at all.
#[must_use]
pub fn terminal() -> TerminalWishes {
    let moves = variable("TERM").as_deref() != Some("dumb");
    TerminalWishes { colours: moves && variable("NO_COLOR").is_none(), moves }
}
