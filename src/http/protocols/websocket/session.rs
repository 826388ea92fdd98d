//! The consequences of a client's frames. Pure: no socket, no clock, no engine.
mod answers;
#[cfg(test)]
mod fuzz;
mod presence;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::frames::{
    ClientFrame, CloseCode, Done, Generate, Hello, Malformed, Ref, ServerFrame, Shown, Subscribe,
    parse,
};
use super::rate_limit::{Mistakes, Rate};
use super::wire::{Fault, Message};
use crate::domain::event::Status;
use crate::domain::id::{ConversationId, GenerationId, Seq};
use crate::domain::room::Participant;
use crate::engine::SocketLimits;
use crate::http::problem::Problem;

/// Pings that may stay unanswered.
pub(super) const MISSED: u32 = 2;

/// The drive's next actions, in this order.
#[derive(Debug)]
pub(super) enum Effect {
    Send(ServerFrame),
    Ping,
    Pong(Bytes),
    /// Takes time; its result comes back.
    Do(Task),
    /// Stop reading.
    Drop(Slot),
    Leave(ConversationId),
    Type(ConversationId, bool),
    /// The last one.
    Close(CloseCode),
    /// The last one: the client closes, and gets its own code back.
    Echo(Option<u16>),
}

/// One subscription among all that there ever were on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot(u32);

/// The slow work.
#[derive(Debug)]
pub(super) enum Task {
    /// Look at a credential.
    Identify {
        reference: Option<Ref>,
        token: String,
    },
    Start {
        reference: Option<Ref>,
        generate: Box<Generate>,
    },
    Open {
        reference: Option<Ref>,
        slot: Slot,
        generation: GenerationId,
        begin: Begin,
    },
    Cancel {
        reference: Option<Ref>,
        generation: GenerationId,
    },
    /// Look whether there is such a conversation.
    Join {
        reference: Option<Ref>,
        conversation: ConversationId,
    },
}

/// Where a subscription begins, and how it wants its events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    pub(super) after: Seq,
    pub(super) coalesce: bool,
}

/// A generation that was started now or before.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) generation: GenerationId,
    pub(super) replayed: bool,
    /// The receipt, as a start answers on HTTP.
    pub(super) receipt: serde_json::Value,
    /// The cursor is at its end: there is nothing to read.
    pub(super) complete: bool,
}

/// How an opened subscription stands; nothing is known while the log is out of reach.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    pub(super) now: Option<(Status, Seq)>,
    /// The cursor is at the end: there is nothing to read.
    pub(super) complete: bool,
}

#[derive(Debug)]
enum Phase {
    /// Nobody yet: a hello has to come in time.
    Greeting {
        until: Instant,
    },
    /// A hello is looked at. Nothing is heard meanwhile: what follows is for whom it names.
    Identifying,
    Open,
    Closed,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    connection: String,
    limits: SocketLimits,
    phase: Phase,
    /// The welcome was said before the hello that is looked at.
    greeted: bool,
    rate: Rate,
    mistakes: Mistakes,
    participant: Participant,
    joined: HashSet<ConversationId>,
    following: BTreeMap<GenerationId, Slot>,
    slots: u32,
    unanswered: u32,
    next_ping: Instant,
    too_old: Instant,
}

impl Session {
    /// A connection that was accepted for `age`; `known` if its request said who it is from.
    pub(super) fn open(
        (connection, participant): (String, Participant),
        limits: SocketLimits,
        (known, age): (bool, Duration),
        now: Instant,
    ) -> (Self, Vec<Effect>) {
        let phase = Phase::Greeting { until: now + limits.hello };
        let mut session = Self {
            connection,
            phase,
            greeted: false,
            rate: Rate::new(limits.frames_per_s, now),
            mistakes: Mistakes::new(limits.mistakes_per_minute, now),
            participant,
            joined: HashSet::new(),
            following: BTreeMap::new(),
            slots: 0,
            unanswered: 0,
            next_ping: now + limits.ping,
            too_old: now + age,
            limits,
        };
        let effects = if known { vec![session.welcome()] } else { Vec::new() };
        (session, effects)
    }

    fn welcome(&mut self) -> Effect {
        self.phase = Phase::Open;
        let limits = Shown {
            frame_bytes: self.limits.frame_bytes,
            subscriptions: self.limits.subscriptions,
            joins: self.limits.joins,
            frames_per_s: self.limits.frames_per_s,
        };
        Effect::Send(ServerFrame::Welcome {
            connection: self.connection.clone(),
            heartbeat_s: self.limits.ping.as_secs().max(1),
            limits,
        })
    }

    /// Whether nothing more is to be said or heard.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether it follows a generation or is in a conversation.
    pub(super) fn holds(&self) -> bool {
        !self.following.is_empty() || !self.joined.is_empty()
    }

    /// Whether messages may be heard now.
    pub(super) fn hears(&self) -> bool {
        !matches!(self.phase, Phase::Identifying)
    }

    /// Whether entries of that subscription are still wanted.
    pub(super) fn follows(&self, generation: GenerationId, slot: Slot) -> bool {
        !self.is_closed() && self.following.get(&generation) == Some(&slot)
    }

    /// When [`Session::alarm`] wants to be called.
    pub(super) fn alarm_at(&self) -> Instant {
        match self.phase {
            Phase::Greeting { until } => until,
            Phase::Identifying | Phase::Open | Phase::Closed => self.next_ping.min(self.too_old),
        }
    }

    /// Time has passed.
    pub(super) fn alarm(&mut self, now: Instant) -> Vec<Effect> {
        if let Phase::Greeting { until } = self.phase {
            return if until <= now { self.close(CloseCode::NoHello) } else { Vec::new() };
        }
        if self.too_old <= now {
            return self.close(CloseCode::TooOld);
        }
        if self.next_ping > now {
            return Vec::new();
        }
        if self.unanswered >= MISSED {
            return self.close(CloseCode::NoPong);
        }
        self.unanswered += 1;
        self.next_ping = now + self.limits.ping;
        vec![Effect::Ping]
    }

    /// A message came, or a reason to stop.
    pub(super) fn hear(&mut self, heard: Result<Message, Fault>, now: Instant) -> Vec<Effect> {
        if self.is_closed() {
            return Vec::new();
        }
        let message = match heard {
            Ok(message) => message,
            Err(fault) => return self.close(code(fault)),
        };
        self.unanswered = 0;
        let bytes = if let Message::Text(text) = &message { text.len() } else { 0 };
        if !self.rate.allows(bytes, now) {
            return self.close(CloseCode::Rate);
        }
        match message {
            Message::Text(text) => match parse(&text) {
                Ok((reference, frame)) => self.frame(reference, frame),
                Err(malformed) => self.malformed(malformed, now),
            },
            Message::Part | Message::Pong => Vec::new(),
            Message::Ping(payload) => vec![Effect::Pong(payload)],
            Message::Close(code) => {
                self.phase = Phase::Closed;
                vec![Effect::Echo(code)]
            }
        }
    }

    fn malformed(&mut self, malformed: Malformed, now: Instant) -> Vec<Effect> {
        let mut effects = refuse(malformed.reference, *malformed.problem);
        if self.mistakes.one_more(now) {
            effects.extend(self.close(CloseCode::BadFrames));
        }
        effects
    }

    fn frame(&mut self, reference: Option<Ref>, frame: ClientFrame) -> Vec<Effect> {
        match (&self.phase, frame) {
            (Phase::Closed, _) => Vec::new(),
            (_, ClientFrame::Ping) => vec![Effect::Send(ServerFrame::Pong { reference })],
            (_, ClientFrame::Hello(hello)) => self.hello(reference, hello),
            (Phase::Greeting { .. } | Phase::Identifying, _) => self.close(CloseCode::Credential),
            (Phase::Open, ClientFrame::Generate(generate)) => {
                vec![Effect::Do(Task::Start { reference, generate })]
            }
            (Phase::Open, ClientFrame::Subscribe(subscribe)) => {
                self.subscribe(reference, &subscribe)
            }
            (Phase::Open, ClientFrame::Unsubscribe(of)) => match of.generation.id() {
                Ok(generation) => self.unsubscribe(reference, generation),
                Err(problem) => refuse(reference, problem),
            },
            (Phase::Open, ClientFrame::Cancel(of)) => match of.generation.id() {
                Ok(generation) => vec![Effect::Do(Task::Cancel { reference, generation })],
                Err(problem) => refuse(reference, problem),
            },
            (Phase::Open, ClientFrame::Join(of)) => self.join(reference, of.conversation),
            (Phase::Open, ClientFrame::Leave(of)) => self.leave(reference, of.conversation),
            (Phase::Open, ClientFrame::Typing(typing)) => self.typing(reference, &typing),
        }
    }

    fn hello(&mut self, reference: Option<Ref>, hello: Hello) -> Vec<Effect> {
        if let Err(problem) = self.introduce(hello.client) {
            return refuse(reference, problem);
        }
        match (&self.phase, hello.token) {
            (_, Some(token)) => {
                self.greeted = matches!(self.phase, Phase::Open);
                self.phase = Phase::Identifying;
                vec![Effect::Do(Task::Identify { reference, token })]
            }
            (Phase::Open, None) => {
                let participant = self.participant.clone();
                ack(reference, Done::Heard { participant })
            }
            (Phase::Greeting { .. } | Phase::Identifying | Phase::Closed, None) => {
                self.close(CloseCode::Credential)
            }
        }
    }

    fn subscribe(&mut self, reference: Option<Ref>, subscribe: &Subscribe) -> Vec<Effect> {
        let generation = match subscribe.generation.id() {
            Ok(generation) => generation,
            Err(problem) => return refuse(reference, problem),
        };
        let earlier = self.following.remove(&generation);
        let mut effects: Vec<Effect> = earlier.map(Effect::Drop).into_iter().collect();
        match self.slot(generation) {
            Ok(slot) => {
                let begin = Begin { after: subscribe.after, coalesce: subscribe.coalesce };
                effects.push(Effect::Do(Task::Open { reference, slot, generation, begin }));
            }
            Err(problem) => effects.extend(refuse(reference, problem)),
        }
        effects
    }

    fn slot(&mut self, generation: GenerationId) -> Result<Slot, Problem> {
        if self.following.len() >= self.limits.subscriptions {
            let detail = "too many subscriptions on one connection: unsubscribe from others first";
            return Err(Problem::bad_request("too_many_subscriptions", detail)
                .with("limit", self.limits.subscriptions));
        }
        self.slots = self.slots.wrapping_add(1);
        let slot = Slot(self.slots);
        self.following.insert(generation, slot);
        Ok(slot)
    }

    fn unsubscribe(&mut self, reference: Option<Ref>, generation: GenerationId) -> Vec<Effect> {
        let slot = self.following.remove(&generation);
        let mut effects: Vec<Effect> = slot.map(Effect::Drop).into_iter().collect();
        effects.extend(ack(reference, Done::Unsubscribed { generation }));
        effects
    }

    /// Closes for this reason, unless it is closed.
    pub(super) fn close(&mut self, code: CloseCode) -> Vec<Effect> {
        if self.is_closed() {
            return Vec::new();
        }
        self.phase = Phase::Closed;
        vec![Effect::Close(code)]
    }
}

fn ack(reference: Option<Ref>, done: Done) -> Vec<Effect> {
    vec![Effect::Send(ServerFrame::Ack { reference, done })]
}

/// The answer to a frame that cannot be followed.
pub(super) fn refuse(reference: Option<Ref>, problem: Problem) -> Vec<Effect> {
    vec![Effect::Send(ServerFrame::refusal(reference, problem))]
}

/// The close code of a client's fault.
pub(super) fn code(fault: Fault) -> CloseCode {
    match fault {
        Fault::Protocol => CloseCode::Protocol,
        Fault::Binary => CloseCode::Binary,
        Fault::NotUtf8 => CloseCode::NotUtf8,
        Fault::TooLarge => CloseCode::TooLarge,
        Fault::NoMemory => CloseCode::Rate,
    }
}
