//! `ask` and `tail`: from a question to an exit code.
use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::follow::{Following, Opened, Told};
use super::terminal::{Escapes, TURN, Terminal};
use super::{Client, ClientError, Question};
use crate::domain::event::{Done, Event, Status};
use crate::domain::id::GenerationId;

/// Ended by Ctrl-C, as shells have it: 128 and the signal's number.
const INTERRUPTED: u8 = 130;
/// Standard output was closed.
const NOBODY_READS: u8 = 141;
/// How long a start whose answer was lost, or that met a server about to stop, is tried again.
const START: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// The output behind a cancel's receipt comes within this time, or is not shown.
const REST: Duration = Duration::from_secs(5);

/// How to show it.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// One event's object a line, in place of the text.
    pub json: bool,
    /// Nothing beside the answer.
    pub quiet: bool,
    /// The thinking, too, on standard error.
    pub reasoning: bool,
    /// The codes that a terminal may be sent.
    pub escapes: Escapes,
}

/// Asks, and shows the answer to its last word. Ctrl-C cancels it; the exit code says how it ended.
///
/// # Errors
/// There is no answer, see [`ClientError`].
pub async fn ask(client: &Client, question: &Question, output: Output) -> Result<u8, ClientError> {
    let mut terminal = Terminal::new(output, question.conversation_id.as_deref());
    let mut interrupts = signal(SignalKind::interrupt())?;
    let started = {
        let start = start(client, question);
        tokio::pin!(start);
        let mut ticks = ticks();
        let mut cancelled = false;
        loop {
            tokio::select! {
                opened = &mut start => break (opened?, cancelled),
                _ = ticks.tick() => terminal.turn(),
                // A generation that may have begun can be cancelled once its name is known.
                _ = interrupts.recv() => {
                    if std::mem::replace(&mut cancelled, true) {
                        return Ok(INTERRUPTED);
                    }
                }
            }
        }
    };
    let (opened, cancelled) = started;
    let mut following = Following::new(client, opened, 0);
    let how = if cancelled {
        How::Interrupted
    } else {
        watch(&mut following, &mut terminal, &mut interrupts).await?
    };
    match how {
        How::Ended(done) => ended(following.id(), &mut terminal, done.as_ref()),
        How::Interrupted => {
            let cancel = cancel(client, &mut following, &mut terminal);
            tokio::select! {
                code = cancel => code,
                _ = interrupts.recv() => Ok(INTERRUPTED),
            }
        }
        How::NobodyReads => {
            // Nobody will read what is still to come.
            client.cancel(following.id()).await?;
            Ok(NOBODY_READS)
        }
    }
}

/// Shows a generation from `after` to its last word. Ctrl-C leaves it as it is.
///
/// # Errors
/// See [`ClientError`].
pub async fn tail(
    client: &Client,
    id: &str,
    after: u64,
    output: Output,
) -> Result<u8, ClientError> {
    let id = id.parse::<GenerationId>();
    let id = id.map_err(|_| ClientError::Flag("a generation's id looks like 0199b0a1-…".into()))?;
    let mut terminal = Terminal::new(output, None);
    let mut interrupts = signal(SignalKind::interrupt())?;
    let id = id.to_string();
    let body = client.events(&id, after).await?;
    if body.is_none() {
        terminal.note("there is nothing behind that event");
        return Ok(0);
    }
    let mut following = Following::new(client, Opened { id, body }, after);
    match watch(&mut following, &mut terminal, &mut interrupts).await? {
        How::Ended(done) => ended(following.id(), &mut terminal, done.as_ref()),
        How::Interrupted => {
            terminal.end_line()?;
            terminal.note(&format!("it goes on: lastword tail {}", following.id()));
            Ok(INTERRUPTED)
        }
        How::NobodyReads => Ok(NOBODY_READS),
    }
}

/// Tries again what may have begun: the key makes it the same start.
async fn start(client: &Client, question: &Question) -> Result<Opened, ClientError> {
    let key = GenerationId::random().to_string();
    let tries = async {
        loop {
            match client.start(question, &key).await {
                Err(error @ ClientError::Unreachable { unconnected: true, .. }) => {
                    return Err(error);
                }
                Err(error) if error.may_pass() => sleep(PAUSE).await,
                outcome => return outcome,
            }
        }
    };
    match timeout(START, tries).await {
        Ok(outcome) => outcome,
        Err(_) => client.start(question, &key).await,
    }
}

/// How the watching ended.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is not kept")]
enum How {
    /// With the ending, if it was among the events.
    Ended(Option<Done>),
    Interrupted,
    NobodyReads,
}

async fn watch(
    following: &mut Following<'_>,
    terminal: &mut Terminal,
    interrupts: &mut Signal,
) -> Result<How, ClientError> {
    let mut ticks = ticks();
    let mut ending = None;
    loop {
        let next = following.next();
        tokio::pin!(next);
        let told = loop {
            tokio::select! {
                told = &mut next => break told?,
                _ = ticks.tick() => terminal.turn(),
                _ = interrupts.recv() => return Ok(How::Interrupted),
            }
        };
        let Some(told) = told else { return Ok(How::Ended(ending)) };
        match show(terminal, &told) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(How::NobodyReads),
            Err(error) => return Err(error.into()),
        }
        if let Told::Event(_, Some(Event::Done(done))) = told {
            ending = Some(done);
        }
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(TURN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

fn show(terminal: &mut Terminal, told: &Told) -> io::Result<()> {
    match told {
        Told::Event(json, event) => terminal.event(json, event.as_ref()),
        Told::Gone(why) => {
            terminal.note(&format!("{why}; waiting for it to come back"));
            Ok(())
        }
    }
}

fn ended(id: &str, terminal: &mut Terminal, done: Option<&Done>) -> Result<u8, ClientError> {
    match terminal.end_line() {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(NOBODY_READS),
        Err(error) => return Err(error.into()),
    }
    let Some(done) = done else { return Ok(0) };
    terminal.summary(id, done);
    Ok(match done.status {
        Status::Completed => 0,
        Status::Incomplete => 4,
        Status::Cancelled => 5,
        Status::Failed | Status::Interrupted => 1,
        Status::Queued | Status::Running | Status::Cancelling => 1,
    })
}

/// The receipt, and what was said up to it.
async fn cancel(
    client: &Client,
    following: &mut Following<'_>,
    terminal: &mut Terminal,
) -> Result<u8, ClientError> {
    let id = following.id().to_owned();
    let receipt = client.cancel(&id).await.inspect_err(|_| {
        terminal.note(&format!("it was not cancelled and may go on: lastword tail {id}"));
    })?;
    let rest = async {
        let mut ending = None;
        while let Ok(Some(told)) = following.next().await {
            let _nobody_reads = show(terminal, &told);
            if let Told::Event(_, Some(Event::Done(done))) = told {
                ending = Some(done);
            }
        }
        ending
    };
    let ending = timeout(REST, rest).await.ok().flatten();
    let seq = receipt.get("last_seq").and_then(Value::as_u64).unwrap_or_default();
    let cancelled = receipt.get("cancelled").and_then(Value::as_bool) == Some(true);
    match ending {
        // It had ended before.
        Some(done) if !cancelled => return ended(&id, terminal, Some(&done)),
        Some(done) => {
            let _nobody_reads = terminal.end_line();
            terminal.note(&format!("cancelled: event {seq} is the last, and durable"));
            terminal.figures(&id, &done);
        }
        None if cancelled => terminal.note(&format!("cancelled: event {seq} is the last ({id})")),
        None => terminal.note(&format!("its cancel is under way: lastword tail {id}")),
    }
    Ok(INTERRUPTED)
}
