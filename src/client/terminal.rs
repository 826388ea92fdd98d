//! The output: the answer on standard output, everything else on standard error.
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::ask::Output;
use super::wrap::Wrap;
use crate::domain::event::{Done, Event, Status, Usage};
use crate::domain::rate_limits::RateLimits;

/// How often the spinner turns.
pub(super) const TURN: Duration = Duration::from_millis(80);
/// An answer within this time came at once: it has no pace.
const MEASURABLE: Duration = Duration::from_millis(200);
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Standard output and standard error.
pub(super) struct Terminal {
    output: Output,
    /// Both are a terminal whose lines may change: there is somebody to wait with.
    watched: bool,
    /// Where lines end between words: standard output is such a terminal.
    wrap: Option<Wrap>,
    /// Whether the spinner stands there.
    turning: bool,
    turns: usize,
    begun: Instant,
    /// When the first token came, thinking included, as the count of tokens does.
    first: Option<Instant>,
    /// Whether something of the answer is shown.
    answers: bool,
    /// Whether the last character was the end of a line.
    at_line_start: bool,
    thinking: bool,
    /// The shown part of the answer, to go on with behind a snapshot.
    shown: String,
    /// Events of the answer that count: as many tokens, where the model does not tell.
    counted: u64,
    /// Where one goes on.
    conversation: Option<String>,
}

/// The codes that a terminal may be sent beside text.
#[derive(Clone, Copy, Debug)]
pub struct Escapes {
    /// Colours; on standard error only.
    pub colours: bool,
    /// Moves of the cursor: the spinner, and words that go to a new line.
    pub moves: bool,
}

impl Escapes {
    /// A note in a colour, where standard error is a terminal.
    fn coloured(self, colour: &str, text: &str) -> String {
        if !self.colours || !io::stderr().is_terminal() {
            return text.to_owned();
        }
        format!("\x1b[{colour}m{text}\x1b[0m")
    }
}

/// The width of the terminal that is standard output, in columns; it may change at any time.
fn columns() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(width.0.into())
}

/// Beside the answer.
const DIM: &str = "2";
const RED: &str = "31";

/// Says on standard error why there is no answer.
pub fn warn(text: &str, escapes: Escapes) {
    let warning = escapes.coloured(RED, &format!("lastword: {text}"));
    // A closed standard error is no fault.
    let _unseen = writeln!(io::stderr(), "{warning}");
}

impl Drop for Terminal {
    /// An error may be told in its place.
    fn drop(&mut self) {
        self.clear();
    }
}

impl Terminal {
    pub(super) fn new(output: Output, conversation: Option<&str>) -> Self {
        let shown = io::stdout().is_terminal() && output.escapes.moves;
        let watched = shown && io::stderr().is_terminal();
        let wrap = (shown && !output.json).then(Wrap::default);
        Self {
            output,
            watched,
            wrap,
            turning: false,
            turns: 0,
            begun: Instant::now(),
            first: None,
            answers: false,
            at_line_start: true,
            thinking: false,
            shown: String::new(),
            counted: 0,
            conversation: conversation.map(str::to_owned),
        }
    }

    /// Turns the spinner, until the first of the answer is there.
    pub(super) fn turn(&mut self) {
        if !self.watched
            || self.answers
            || self.output.json
            || (self.thinking && self.output.reasoning)
        {
            return;
        }
        let turn = SPINNER.get(self.turns % SPINNER.len()).copied().unwrap_or('.');
        let what = if self.thinking { "thinking" } else { "waiting" };
        let seconds = self.begun.elapsed().as_secs_f32();
        // A closed standard error is no fault.
        let _unseen = write!(io::stderr(), "\r{turn} {what} {seconds:.1} s ");
        (self.turning, self.turns) = (true, self.turns + 1);
    }

    /// Shows an event.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) fn event(&mut self, json: &str, event: Option<&Event>) -> io::Result<()> {
        if self.output.json {
            return self.raw(format!("{json}\n").as_bytes());
        }
        match event {
            Some(Event::Delta { text } | Event::Refusal { text }) => {
                self.counted += 1;
                self.end_thinking();
                self.text(text)
            }
            Some(Event::Reasoning { text }) => {
                self.counted += 1;
                self.thought(text);
                Ok(())
            }
            Some(Event::Superseded { .. }) => {
                self.counted = 0;
                self.note("the model lost its answer and begins again");
                self.anew("")
            }
            Some(Event::Snapshot { text, .. }) => {
                let more = text.strip_prefix(self.shown.as_str()).map(str::to_owned);
                match more {
                    Some(more) => self.text(&more),
                    None => self.anew(text),
                }
            }
            Some(Event::Notice { code, message }) => {
                // These are for programs.
                if !matches!(
                    code.as_str(),
                    "thinking_signature" | "redacted_thinking" | RateLimits::NOTICE
                ) {
                    self.note(message);
                }
                Ok(())
            }
            Some(Event::ToolCall(call)) => {
                self.counted += 1;
                if let Some(name) = &call.name {
                    self.note(&format!("the model asks for the tool {name}"));
                }
                Ok(())
            }
            Some(
                Event::Started { .. }
                | Event::Resumed { .. }
                | Event::Extra(_)
                | Event::Done(_)
                | Event::Unknown,
            )
            | None => Ok(()),
        }
    }

    fn thought(&mut self, text: &str) {
        self.thinking = true;
        self.first.get_or_insert_with(Instant::now);
        if self.output.reasoning {
            self.clear();
            let _unseen = write!(io::stderr(), "{}", self.output.escapes.coloured(DIM, text));
        }
    }

    /// The answer begins below the thinking.
    fn end_thinking(&mut self) {
        if std::mem::take(&mut self.thinking) && self.output.reasoning {
            let _unseen = writeln!(io::stderr(), "\n");
        }
    }

    fn anew(&mut self, text: &str) -> io::Result<()> {
        if !self.at_line_start {
            self.text("\n")?;
        }
        self.shown.clear();
        self.text(text)
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.clear();
        self.first.get_or_insert_with(Instant::now);
        self.answers = true;
        self.at_line_start = text.ends_with('\n');
        self.shown.push_str(text);
        match (&mut self.wrap, columns()) {
            (Some(wrap), Some(columns)) => {
                let wrapped = wrap.wrapped(text, columns);
                self.raw(wrapped.as_bytes())
            }
            (Some(_), None) | (None, _) => self.raw(text.as_bytes()),
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.turning) {
            let _unseen = write!(io::stderr(), "\r\x1b[K");
        }
    }

    /// Something beside the answer.
    pub(super) fn note(&mut self, text: &str) {
        self.clear();
        if !self.output.quiet {
            let line = if self.watched && !self.at_line_start { "\n" } else { "" };
            let note = self.output.escapes.coloured(DIM, &format!("lastword: {text}"));
            let _unseen = writeln!(io::stderr(), "{line}{note}");
            if let Some(wrap) = self.wrap.as_mut().filter(|_| self.watched) {
                wrap.moved();
            }
        }
    }

    /// Ends the answer's last line.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        self.clear();
        if self.at_line_start || self.output.json {
            return Ok(());
        }
        self.at_line_start = true;
        self.raw(b"\n")
    }

    /// The failure, if there was one, and the last line.
    pub(super) fn summary(&mut self, id: &str, done: &Done) {
        if let Some(error) = &done.error {
            self.note(&format!("{}: {}", done.status.as_str(), error.message));
        } else if done.status != Status::Completed {
            let why = done.finish_reason.and_then(|reason| serde_json::to_value(reason).ok());
            let why = why.as_ref().and_then(Value::as_str).map(|why| format!(": {why}"));
            self.note(&format!("{}{}", done.status.as_str(), why.unwrap_or_default()));
        }
        self.figures(id, done);
    }

    /// The last line: how much, and how quickly.
    pub(super) fn figures(&mut self, id: &str, done: &Done) {
        let (about, tokens) = match done.usage {
            Usage { exact: true, output_tokens, .. } => ("", output_tokens),
            _ if self.counted > 0 => ("about ", self.counted),
            Usage { output_tokens, .. } => ("about ", output_tokens),
        };
        let noun = if tokens == 1 { "token" } else { "tokens" };
        let mut line = format!("{about}{tokens} {noun}");
        if let Some(first) = self.first {
            let (took, wait) = (first.elapsed(), first - self.begun);
            if took > MEASURABLE {
                let took = took.as_secs_f64();
                #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
                let rate = tokens as f64 / took;
                line += &format!(" in {took:.1} s, {rate:.0} tokens/s");
            }
            line += &format!(", the first after {:.2} s", wait.as_secs_f64());
        }
        if let Some(conversation) = &self.conversation {
            line += &format!("; go on with --conversation {conversation}");
        }
        self.note(&format!("{line} ({id})"));
    }
}
