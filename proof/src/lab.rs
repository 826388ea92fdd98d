//! The tools of every scenario: the protocol, the targets, the upstream, the dice.
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::{Client, How, Seen};
use crate::history::{Closed, Connection, Memory, Run, Scenario, UpstreamSaw, View};
use crate::hooks::Hooks;
use crate::upstream::{Holds, Script, Upstream};
use crate::wire::{Ask, Prompt, Wire};

/// The user's decisions.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) model: String,
    /// Without the scripted upstream: the prompt of every stream.
    pub(crate) prompt: String,
    pub(crate) tokens: usize,
    pub(crate) gap_ms: u64,
    /// How often the scenarios with dice are repeated.
    pub(crate) rounds: u32,
    pub(crate) kills: u32,
    pub(crate) silence: Duration,
    pub(crate) cancel_within: Duration,
    /// The pause of the scenario `later`.
    pub(crate) later: Duration,
    /// The prefix of all names, so that two tests of one server do not meet.
    pub(crate) prefix: String,
}

/// Pseudo-random numbers (splitmix64): the same seed, the same test.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: usize, most: usize) -> usize {
        let span = u64::try_from(most.saturating_sub(least)).unwrap_or_default() + 1;
        least + usize::try_from(self.next() % span).unwrap_or_default()
    }
}

/// The bench that a server is put on.
pub(crate) struct Lab {
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) client: Client,
    pub(crate) targets: Vec<String>,
    pub(crate) settings: Settings,
    pub(crate) upstream: Option<Upstream>,
    /// Lets an answer go on that waits in its middle.
    pub(crate) holds: Holds,
    pub(crate) hooks: Option<Arc<dyn Hooks>>,
    pub(crate) dice: Dice,
    pub(crate) names: u32,
    /// Set by the first scenarios.
    pub(crate) resumable: bool,
    /// Lasting events of a whole answer.
    pub(crate) events: usize,
    /// The memory of idle readers.
    pub(crate) memory: Option<Memory>,
    /// A stream that is over, for the scenario `later`.
    pub(crate) kept: Option<Kept>,
}

/// A stream that was read to its end.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) script: Script,
    pub(crate) id: Option<String>,
    pub(crate) whole: Connection,
    pub(crate) since: Instant,
}

/// A stream that was asked for.
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) script: Script,
    /// The id as far as it is known.
    pub(crate) id: Option<String>,
    /// The start's own answer, where the stream is read by a request of its own.
    pub(crate) started: Option<Connection>,
    first: Ask,
    _writer: Option<Writer>,
}

/// Writes a stream; ends with it.
struct Writer(JoinHandle<()>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One reader, on its way.
pub(crate) type Reading = JoinHandle<Connection>;

impl Lab {
    pub(crate) fn how(&self, leave_after: Option<usize>) -> How {
        How { leave_after, silence: self.settings.silence }
    }

    /// The usual answer.
    pub(crate) fn script(&mut self) -> Script {
        self.names += 1;
        Script {
            name: format!("{}-{}", self.settings.prefix, self.names),
            tokens: self.settings.tokens,
            gap_ms: self.settings.gap_ms,
            ..Script::default()
        }
    }

    /// Whether what is said is the script's.
    pub(crate) fn scripted(&self) -> bool {
        self.upstream.is_some() || self.wire.writes().is_some()
    }

    pub(crate) fn run(&self, scenario: Scenario, n: u32, script: &Script) -> Run {
        Run {
            expected: self.scripted().then(|| script.text()),
            tokens: self.upstream.as_ref().and_then(|_| u64::try_from(script.tokens).ok()),
            resumable: self.resumable,
            replays: self.wire.replays(),
            cancellable: self.wire.cancel("id").is_some(),
            numbered: self.wire.numbered(),
            ..Run::new(scenario, n)
        }
    }

    /// The server's process, if it is known.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.hooks.as_ref()?.pid()
    }

    /// The server's description of the stream, if it has one.
    pub(crate) async fn view(&self, id: Option<&str>, target: usize) -> Option<View> {
        let ask = self.wire.view(id?)?;
        let answer = self.client.ask(&self.targets[target], &ask).await.ok()?;
        (answer.status == 200).then(|| self.wire.seen(&answer.body))
    }

    pub(crate) fn saw(&self, name: &str) -> Option<UpstreamSaw> {
        let upstream = self.upstream.as_ref()?;
        let saw = upstream.saw(name);
        Some(UpstreamSaw { requests: saw.requests, sent_us: saw.sent_us })
    }

    /// Asks for a stream at a target, with more headers if any are given.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached.
    pub(crate) async fn start(
        &self,
        script: Script,
        target: usize,
        headers: &[(&str, &str)],
    ) -> Result<Stream, String> {
        let text =
            if self.upstream.is_some() { script.prompt() } else { self.settings.prompt.clone() };
        let prompt = Prompt { model: self.settings.model.clone(), text, name: script.name.clone() };
        let mut first = self.wire.start(&prompt);
        for (name, value) in headers {
            first = first.header(name, value);
        }
        let named = self.wire.named(&script.name);
        let name = script.name.clone();
        let mut stream = Stream { name, script, id: named, started: None, first, _writer: None };
        if self.wire.apart() {
            self.start_apart(&mut stream, target).await?;
        }
        Ok(stream)
    }

    async fn start_apart(&self, stream: &mut Stream, target: usize) -> Result<(), String> {
        let answer = self.client.ask(&self.targets[target], &stream.first).await?;
        let mut started = Connection { target, status: answer.status, ..Connection::default() };
        if !started.let_in() {
            return Err(format!("the start was answered with {} {}", answer.status, answer.said));
        }
        let id = self.wire.id(&answer.headers, &answer.body);
        started.id.clone_from(&id);
        started.replayed = answer
            .headers
            .iter()
            .any(|(name, value)| name.ends_with("-replayed") && value.as_str() == "true");
        stream.id = stream.id.take().or(id);
        stream.started = Some(started);
        let id = stream.id.as_deref().ok_or("the start's answer has no id")?;
        stream.first = self.wire.resume(id, None).ok_or("the mapping does not say how to read")?;
        if self.wire.writes().is_some() {
            stream._writer = Some(self.write(&stream.script, target));
        }
        Ok(())
    }

    /// Writes the script's tokens and closes the stream.
    fn write(&self, script: &Script, target: usize) -> Writer {
        let (wire, client) = (self.wire.clone(), self.client.clone());
        let (script, target) = (script.clone(), self.targets[target].clone());
        let holds = self.holds.clone();
        Writer(tokio::spawn(async move {
            let Some(writes) = wire.writes() else { return };
            for at in 0..script.tokens {
                if script.hold_at == Some(at) {
                    holds.released(&script.name).await;
                }
                tokio::time::sleep(Duration::from_millis(script.gap_ms)).await;
                let ask = writes.append(&script.name, at, &script.token(at));
                let mut tries = 0;
                // The producer's number makes a repeat harmless.
                while client.ask(&target, &ask).await.is_err() {
                    tries += 1;
                    if tries > 200 {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            let _ = client.ask(&target, &writes.close(&script.name)).await;
        }))
    }

    /// Reads a stream for the first time, beside whatever else goes on.
    pub(crate) fn read(
        &self,
        stream: &Stream,
        target: usize,
        how: How,
    ) -> (Reading, watch::Receiver<Seen>) {
        self.follow(stream.first.clone(), stream.id.clone(), (target, None), how)
    }

    /// Goes on behind a cursor; none if the protocol has no means, or the id is not known.
    pub(crate) fn resume(
        &self,
        id: Option<&str>,
        (target, cursor): (usize, Option<String>),
        how: How,
    ) -> Option<(Reading, watch::Receiver<Seen>)> {
        let id = id?;
        let ask = self.wire.resume(id, cursor.as_deref())?;
        Some(self.follow(ask, Some(id.to_owned()), (target, cursor), how))
    }

    /// Reads from the beginning, by way of a relay to the first target, which decides how fast.
    pub(crate) fn resume_by(
        &self,
        base: &str,
        id: Option<&str>,
    ) -> Option<(Reading, watch::Receiver<Seen>)> {
        let id = id?;
        let mut ask = self.wire.resume(id, None)?;
        let host = self.targets[0].split("://").nth(1)?.split('/').next()?;
        ask = ask.header("host", host);
        let (tell, seen) = watch::channel(Seen { id: Some(id.to_owned()), ..Seen::default() });
        let (wire, client) = (self.wire.clone(), self.client.clone());
        // It is silent while the relay pauses, for as long as another reader needs.
        let how = How { silence: 6 * self.settings.silence, ..self.how(None) };
        let base = base.to_owned();
        let reading =
            tokio::spawn(
                async move { client.follow(wire.as_ref(), (&base, &ask), how, &tell).await },
            );
        Some((reading, seen))
    }

    /// The same, and waits for its end.
    pub(crate) async fn resumed(
        &self,
        id: Option<&str>,
        place: (usize, Option<String>),
        how: How,
    ) -> Option<Connection> {
        let (reading, _) = self.resume(id, place, how)?;
        Some(finished(reading).await)
    }

    fn follow(
        &self,
        mut ask: Ask,
        id: Option<String>,
        (target, cursor): (usize, Option<String>),
        how: How,
    ) -> (Reading, watch::Receiver<Seen>) {
        ask.from.clone_from(&cursor);
        let (tell, seen) = watch::channel(Seen { id, ..Seen::default() });
        let (wire, client) = (self.wire.clone(), self.client.clone());
        let base = self.targets[target].clone();
        let reading = tokio::spawn(async move {
            let connection = client.follow(wire.as_ref(), (&base, &ask), how, &tell).await;
            Connection { target, cursor, ..connection }
        });
        (reading, seen)
    }
}

/// The connection, when it is over.
pub(crate) async fn finished(reading: Reading) -> Connection {
    let lost = Connection { closed: Closed::Refused, ..Connection::default() };
    reading.await.unwrap_or(lost)
}

/// Waits until a reader has seen so many events and the id, or is done.
pub(crate) async fn until(seen: &mut watch::Receiver<Seen>, events: usize) -> Seen {
    let enough = seen.wait_for(|s| s.over || (s.events >= events && s.id.is_some())).await;
    enough.map(|seen| seen.clone()).unwrap_or_default()
}

/// The last cursor of a connection, or the one that it began with.
pub(crate) fn cursor(connection: &Connection) -> Option<String> {
    let last = connection.events.iter().rev().find_map(|event| event.cursor.clone());
    last.or_else(|| connection.cursor.clone())
}
