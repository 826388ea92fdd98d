//! Rules that hold in every state, states that must be reachable, and a proof that every run ends.
use std::collections::HashMap;

use stateright::{Model, Property};

use super::log::{Ending, Kind, Rows};
use super::{Protocol, State};

pub(crate) const NO_GAP: &str = "no gap";
pub(crate) const NO_REPEAT: &str = "no token is missing, none is there twice";
pub(crate) const ONE_WRITER: &str = "nobody writes behind his successor";
pub(crate) const DURABLE: &str = "what a reader was shown is in the log";

/// Takes two faults: the first owner's end, and the loss of its successor's answer.
pub(crate) const ABSENT_OWNER: &str = "an owner that does not know that it is one";

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(NO_GAP, |_, s: &State| {
            s.database.log.iter().all(|r| r.events.iter().all(Option::is_some))
        }),
        Property::always(NO_REPEAT, |_, s: &State| s.database.log.iter().all(in_order)),
        Property::always(ONE_WRITER, |_, s: &State| s.database.log.iter().all(by_turns)),
        Property::always(DURABLE, |_, s: &State| shown_is_durable(s)),
        Property::always("one ending, and nothing behind it", |_, s: &State| {
            s.database.log.iter().all(one_ending)
        }),
        Property::always("an answer that completed is whole", |p: &Protocol, s: &State| {
            s.database
                .log
                .iter()
                .all(|r| r.ended != Some(Ending::Completed) || r.tokens() == p.tokens)
        }),
        Property::always("the row says what the log says", |_, s: &State| {
            s.database.log.iter().all(row_agrees)
        }),
        Property::always("one owner an epoch", |_, s: &State| one_owner(s)),
        Property::always("a refusal is explained by the log", |_, s: &State| !s.puzzled),
        Property::always("where nothing more can happen, all have ended", |p, s: &State| {
            s.database.log.iter().all(|r| r.ended.is_some()) || !is_final(p, s)
        }),
        Property::sometimes("a generation is taken over", |_, s: &State| {
            s.database.log.iter().any(|r| r.epoch > 1)
        }),
        Property::sometimes("two owners believe that it is theirs", |_, s: &State| {
            let runs = s.instances.iter().filter(|i| i.runs[0].is_some());
            runs.count() > 1
        }),
        Property::sometimes("a cancel", |_, s: &State| ended(s, Ending::Cancelled)),
        Property::sometimes("a cancel that comes too late", |_, s: &State| {
            s.database.log.iter().any(|r| r.cancel && r.ended == Some(Ending::Completed))
        }),
        Property::sometimes(ABSENT_OWNER, |_, s: &State| {
            let row = &s.database.log[0];
            row.epoch > 1 && row.ended.is_none() && s.instances[row.owner].runs[0].is_none()
        }),
    ]
}

fn ended(state: &State, how: Ending) -> bool {
    state.database.log.iter().any(|r| r.ended == Some(how))
}

fn kinds(rows: &Rows) -> impl Iterator<Item = Kind> {
    rows.events.iter().flatten().map(|(_, kind)| *kind)
}

fn in_order(rows: &Rows) -> bool {
    let tokens = kinds(rows).filter_map(|kind| match kind {
        Kind::Token(n) => Some(n),
        Kind::Started | Kind::Resumed | Kind::Done(_) => None,
    });
    !rows.torn && tokens.zip(1..).all(|(token, expected)| token == expected)
}

/// Epochs rise, and each begins with the entry that took the generation over.
fn by_turns(rows: &Rows) -> bool {
    let events: Vec<_> = rows.events.iter().flatten().collect();
    events.windows(2).all(|two| {
        let begins = matches!(two[1].1, Kind::Resumed | Kind::Done(_));
        two[0].0 == two[1].0 || (two[0].0 + 1 == two[1].0 && begins)
    })
}

fn shown_is_durable(state: &State) -> bool {
    let shown = |run: &super::instance::Run, rows: &Rows| {
        run.shown.iter().zip(run.before + 1..).all(|(kind, seq)| rows.at(seq) == Some(*kind))
    };
    state.instances.iter().all(|instance| {
        let runs = instance.runs.iter().zip(&state.database.log);
        runs.filter_map(|(run, rows)| Some((run.as_ref()?, rows)))
            .all(|(run, rows)| shown(run, rows))
    })
}

fn one_ending(rows: &Rows) -> bool {
    let before_last = rows.events.len() - 1;
    kinds(rows).take(before_last).all(|kind| !matches!(kind, Kind::Done(_)))
}

fn row_agrees(rows: &Rows) -> bool {
    let last = rows.events.last().copied().flatten();
    rows.ended
        == last.and_then(|(_, kind)| match kind {
            Kind::Done(ending) => Some(ending),
            Kind::Started | Kind::Token(_) | Kind::Resumed => None,
        })
}

fn one_owner(state: &State) -> bool {
    (0..state.database.log.len()).all(|g| {
        let mut epochs: Vec<u8> = state
            .instances
            .iter()
            .filter_map(|i| i.runs[g].as_ref())
            .map(|run| run.epoch)
            .collect();
        epochs.sort_unstable();
        epochs.windows(2).all(|two| two[0] != two[1])
    })
}

fn is_final(protocol: &Protocol, state: &State) -> bool {
    let mut actions = Vec::new();
    protocol.actions(state, &mut actions);
    actions.is_empty()
}

/// Walks every run and finds none that goes round for ever. Together with "where nothing more can
/// happen, all have ended" it shows that each generation comes to its ending, in every order. (The
/// checker's own `eventually` overlooks runs that come together and runs that go round.)
///
/// How many states there were, or a state on a round.
pub(crate) fn all_runs_end(protocol: &Protocol) -> Result<usize, String> {
    // Whether all runs from there are known to end; false while one is being walked.
    let mut ends: HashMap<State, bool> = HashMap::new();
    let mut way: Vec<(State, Vec<State>)> = Vec::new();
    let first = protocol.init_states().remove(0);
    ends.insert(first.clone(), false);
    way.push((first.clone(), protocol.next_states(&first)));
    while let Some((state, next)) = way.last_mut() {
        let Some(next) = next.pop() else {
            ends.insert(state.clone(), true);
            way.pop();
            continue;
        };
        match ends.get(&next) {
            Some(true) => {}
            Some(false) => return Err(format!("round and round: {next:#?}")),
            None => {
                ends.insert(next.clone(), false);
                let after = protocol.next_states(&next);
                if after.is_empty() && next.database.log.iter().any(|r| r.ended.is_none()) {
                    return Err(format!("no ending: {next:#?}"));
                }
                way.push((next, after));
            }
        }
    }
    Ok(ends.len())
}
