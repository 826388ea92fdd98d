//! One room. Pure: the time comes from outside.
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::id::InstanceId;
use crate::domain::room::Participant;

/// Participants that are kept of one room: a list that nobody reads to its end.
const MOST: usize = 500;

/// Somebody who types.
#[derive(Debug)]
struct Typist {
    participant: Participant,
    until: Instant,
    /// Another one with each renewal: clients count the time by themselves, and have to hear of it.
    sign: u64,
}

#[derive(Debug)]
struct Member {
    participant: Participant,
    /// Connections here; one for all of them elsewhere.
    connections: u32,
}

/// The participants of one conversation.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// By participant and instance, so that the list has one order everywhere.
    members: BTreeMap<(String, InstanceId), Member>,
    typists: BTreeMap<String, Typist>,
    /// When the typing of a participant of ours was last passed on.
    passed_on: HashMap<String, Instant>,
    /// Grows with every change.
    version: watch::Sender<u64>,
}

impl Room {
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Another connection; whether it is the participant's first one there.
    pub(super) fn join(&mut self, here: InstanceId, participant: Participant) -> bool {
        let key = (participant.id.clone(), here);
        if let Some(member) = self.members.get_mut(&key) {
            member.connections += 1;
            if member.participant != participant {
                member.participant = participant;
                self.changed();
                return true;
            }
            return false;
        }
        self.members.insert(key, Member { participant, connections: 1 });
        self.changed();
        true
    }

    /// A connection less; whether it was the participant's last one there.
    pub(super) fn leave(&mut self, here: InstanceId, id: &str) -> bool {
        let key = (id.to_owned(), here);
        let Some(member) = self.members.get_mut(&key) else { return false };
        member.connections -= 1;
        if member.connections > 0 {
            return false;
        }
        self.remove(here, id);
        true
    }

    /// These are on another instance.
    pub(super) fn add(&mut self, there: InstanceId, participants: &[Participant]) {
        let mut new = false;
        for participant in participants {
            let key = (participant.id.clone(), there);
            let known = self.members.get(&key);
            if known.is_some_and(|member| member.participant == *participant) {
                continue;
            }
            if known.is_none() && self.members.len() >= MOST {
                continue;
            }
            let participant = participant.clone();
            self.members.insert(key, Member { participant, connections: 1 });
            new = true;
        }
        if new {
            self.changed();
        }
    }

    /// Nobody of that id is on that instance any more.
    pub(super) fn remove(&mut self, instance: InstanceId, id: &str) {
        if self.members.remove(&(id.to_owned(), instance)).is_none() {
            return;
        }
        self.changed();
        if !self.members.keys().any(|(other, _)| other == id) {
            self.passed_on.remove(id);
            self.stops(id);
        }
    }

    /// The participants, each once.
    pub(super) fn participants(&self) -> Vec<Participant> {
        let mut all: Vec<Participant> =
            self.members.values().map(|member| member.participant.clone()).collect();
        all.dedup_by(|one, other| one.id == other.id);
        all
    }

    /// The participants of one instance.
    pub(super) fn of(&self, instance: InstanceId) -> Vec<Participant> {
        let there = self.members.iter().filter(|((_, i), _)| *i == instance);
        there.map(|(_, member)| member.participant.clone()).collect()
    }

    /// The participants that type, except one, and the counters of their signs.
    pub(super) fn typing(&self, own: &str) -> (Vec<Participant>, Vec<u64>) {
        let others = self.typists.iter().filter(|(id, _)| *id != own);
        others.map(|(_, typist)| (typist.participant.clone(), typist.sign)).unzip()
    }

    /// A participant of ours types; whether to pass it on.
    pub(super) fn typed(
        &mut self,
        participant: Participant,
        now: Instant,
        (every, lasts): (Duration, Duration),
    ) -> bool {
        let last = self.passed_on.get(&participant.id);
        if last.is_some_and(|last| now.duration_since(*last) < every) {
            return false;
        }
        self.passed_on.insert(participant.id.clone(), now);
        self.types(participant, now + lasts);
        true
    }

    /// Somebody types until then, unless it is renewed.
    pub(super) fn types(&mut self, participant: Participant, until: Instant) {
        let sign = self.changed();
        self.typists.insert(participant.id.clone(), Typist { participant, until, sign });
    }

    /// Somebody has stopped; whether that is news.
    pub(super) fn stops(&mut self, id: &str) -> bool {
        let news = self.typists.remove(id).is_some();
        if news {
            self.changed();
        }
        news
    }

    /// Lets go of who has not been heard of.
    pub(super) fn expire(&mut self, now: Instant, lives: impl Fn(InstanceId) -> bool) {
        let count = self.members.len() + self.typists.len();
        self.members.retain(|(_, instance), _| lives(*instance));
        self.typists.retain(|_, typist| typist.until > now);
        if self.members.len() + self.typists.len() != count {
            self.changed();
        }
    }

    fn changed(&self) -> u64 {
        self.version.send_modify(|version| *version += 1);
        *self.version.borrow()
    }
}
