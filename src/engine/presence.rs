//! Presence: the participants of each conversation and who types, on all instances, never stored.
//!
//! Every instance knows its own participants and tells the others each change. It remembers others'
//! participants only for conversations in which it has participants itself. Hints may be lost: a
//! room is then wrong for a while, and nothing else.
mod room;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::domain::id::{ConversationId, GenerationId, InstanceId, Tenant};
use crate::domain::room::{Participant, RoomHint};
use crate::ports::{Signal, Signals, To};
use room::Room;

/// How long somebody types after the last sign of it.
pub const TYPING: Duration = Duration::from_secs(6);
/// How often one sender's typing is passed on; how often an instance shows that it lives, and that
/// its models still answer.
const RENEWAL: Duration = Duration::from_secs(3);
/// After so long a silence an instance's participants count as gone: three signs of life were
/// missed.
const LOST: Duration = Duration::from_secs(10);
/// How soon what has expired is seen.
const TICK: Duration = Duration::from_millis(500);
/// Participants in one hint: their names are as long as they may be, and it fits all the same.
const TOGETHER: usize = 10;
/// Participants are announced again after so many renewals: a hint may have been lost.
const AGAIN: u32 = 10;

/// A tenant's conversation.
pub(super) type RoomAt = (Tenant, ConversationId);

/// All rooms of this process.
#[derive(Clone)]
pub(super) struct Presence {
    shared: Arc<Shared>,
}

struct Shared {
    here: InstanceId,
    signals: Arc<dyn Signals>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rooms: HashMap<RoomAt, Room>,
    /// The models that answer here, and what they answer.
    answering: HashMap<RoomAt, (Participant, HashSet<GenerationId>)>,
    /// When other instances were last heard.
    heard: HashMap<InstanceId, Instant>,
}

impl Presence {
    pub(super) fn new(here: InstanceId, signals: Arc<dyn Signals>) -> Self {
        Self { shared: Arc::new(Shared { here, signals, state: Mutex::default() }) }
    }

    /// Lets somebody in for as long as the membership lives.
    pub(super) fn join(&self, at: RoomAt, participant: Participant) -> (Membership, Changes) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let answering = state.answering.get(&at).map(|(assistant, _)| assistant.clone());
        let first = !state.rooms.contains_key(&at);
        let room = state.rooms.entry(at.clone()).or_default();
        if first && let Some(assistant) = answering {
            room.types(assistant, Instant::now() + TYPING);
        }
        let new = room.join(shared.here, participant.clone());
        let versions = room.versions();
        drop(state);
        if first {
            shared.tell(&at, RoomHint::Ask);
        }
        if new {
            shared.tell(&at, RoomHint::Joined { participant: participant.clone() });
        }
        let changes = Changes {
            shared: Arc::clone(&shared),
            at: at.clone(),
            own: participant.id.clone(),
            versions,
            presence: None,
            typing: Vec::new(),
        };
        (Membership { shared, at, participant }, changes)
    }

    /// A model answers in a conversation for as long as the guard lives.
    pub(super) fn answers(&self, at: RoomAt, generation: GenerationId, model: &str) -> Answering {
        let assistant = Participant::assistant(model);
        let mut state = self.shared.state();
        let fresh = (assistant.clone(), HashSet::new());
        state.answering.entry(at.clone()).or_insert(fresh).1.insert(generation);
        if let Some(room) = state.rooms.get_mut(&at) {
            room.types(assistant.clone(), Instant::now() + TYPING);
        }
        drop(state);
        self.shared.tell(&at, RoomHint::Typing { participant: assistant, active: true });
        Answering { shared: Arc::clone(&self.shared), at, generation }
    }

    /// Another instance said something.
    pub(super) fn heard(&self, from: InstanceId, at: RoomAt, hint: &RoomHint) {
        self.alive(from);
        let mut state = self.shared.state();
        let State { rooms, answering, .. } = &mut *state;
        let answers = answering.get(&at).map(|(assistant, _)| assistant.clone());
        let room = rooms.get_mut(&at);
        match (hint, room) {
            (RoomHint::Ask, room) => {
                let participants = room.map(|room| room.of(self.shared.here)).unwrap_or_default();
                drop(state);
                self.shared.here(&at, &participants);
                if let Some(participant) = answers {
                    self.shared.tell(&at, RoomHint::Typing { participant, active: true });
                }
            }
            (RoomHint::Joined { participant }, Some(room)) => {
                room.add(from, std::slice::from_ref(participant));
            }
            (RoomHint::Here { participants }, Some(room)) => room.add(from, participants),
            (RoomHint::Left { id }, Some(room)) => room.remove(from, id),
            (RoomHint::Typing { participant, active: true }, Some(room)) => {
                room.types(participant.clone(), Instant::now() + TYPING);
            }
            // While a model answers here, too, one that has ended elsewhere changes nothing.
            (RoomHint::Typing { participant, active: false }, Some(room)) => {
                if participant.id != Participant::ASSISTANT || answers.is_none() {
                    room.stops(&participant.id);
                }
            }
            (
                RoomHint::Joined { .. }
                | RoomHint::Here { .. }
                | RoomHint::Left { .. }
                | RoomHint::Typing { .. },
                None,
            ) => {}
        }
    }

    /// Another instance lives.
    pub(super) fn alive(&self, from: InstanceId) {
        self.shared.state().heard.insert(from, Instant::now());
    }

    /// Hints may have been lost: asks who is where.
    pub(super) fn ask_again(&self) {
        let rooms: Vec<RoomAt> = self.shared.state().rooms.keys().cloned().collect();
        for at in rooms {
            self.shared.tell(&at, RoomHint::Ask);
        }
    }

    /// Renews what goes on and lets go of what has expired, until `stop`.
    pub(super) async fn keep_up(self, stop: CancellationToken) {
        let mut renewed = Instant::now();
        let mut renewals = 0;
        while stop.run_until_cancelled(sleep(TICK)).await.is_some() {
            let now = Instant::now();
            self.expire(now);
            if now.duration_since(renewed) >= RENEWAL {
                renewed = now;
                renewals += 1;
                self.renew(now, renewals % AGAIN == 0);
            }
        }
    }

    fn expire(&self, now: Instant) {
        let mut state = self.shared.state();
        let State { rooms, heard, .. } = &mut *state;
        heard.retain(|_, at| now.duration_since(*at) < LOST);
        for room in rooms.values_mut() {
            room.expire(now, |instance| {
                instance == self.shared.here || heard.contains_key(&instance)
            });
        }
    }

    fn renew(&self, now: Instant, all: bool) {
        let mut state = self.shared.state();
        let State { rooms, answering, .. } = &mut *state;
        if rooms.is_empty() && answering.is_empty() {
            return;
        }
        for (at, (assistant, _)) in answering.iter() {
            if let Some(room) = rooms.get_mut(at) {
                room.types(assistant.clone(), now + TYPING);
            }
            let participant = assistant.clone();
            self.shared.tell(at, RoomHint::Typing { participant, active: true });
        }
        let from = self.shared.here;
        self.shared.signals.send(To::All, Signal::RoomsAlive { from });
        if all {
            for (at, room) in rooms.iter() {
                self.shared.here(at, &room.of(from));
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn tell(&self, (tenant, conversation): &RoomAt, hint: RoomHint) {
        let (tenant, conversation) = (tenant.clone(), *conversation);
        self.signals.send(To::All, Signal::Room { from: self.here, tenant, conversation, hint });
    }

    fn here(&self, at: &RoomAt, participants: &[Participant]) {
        for some in participants.chunks(TOGETHER) {
            self.tell(at, RoomHint::Here { participants: some.to_vec() });
        }
    }
}

/// A model that answers.
pub(super) struct Answering {
    shared: Arc<Shared>,
    at: RoomAt,
    generation: GenerationId,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let State { rooms, answering, .. } = &mut *state;
        let Some((_, generations)) = answering.get_mut(&self.at) else { return };
        generations.remove(&self.generation);
        if !generations.is_empty() {
            return;
        }
        let Some((participant, _)) = answering.remove(&self.at) else { return };
        if let Some(room) = rooms.get_mut(&self.at) {
            room.stops(&participant.id);
        }
        drop(state);
        self.shared.tell(&self.at, RoomHint::Typing { participant, active: false });
    }
}

/// One connection in a room. Dropping it leaves.
pub struct Membership {
    shared: Arc<Shared>,
    at: RoomAt,
    participant: Participant,
}

impl Membership {
    /// Its participant types, or has stopped. Too frequent signs are dropped.
    pub fn typing(&self, active: bool) {
        let mut state = self.shared.state();
        let Some(room) = state.rooms.get_mut(&self.at) else { return };
        let now = Instant::now();
        let participant = self.participant.clone();
        let told = if active {
            room.typed(participant.clone(), now, (RENEWAL, TYPING))
        } else {
            room.stops(&participant.id)
        };
        drop(state);
        if told {
            self.shared.tell(&self.at, RoomHint::Typing { participant, active });
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let Some(room) = state.rooms.get_mut(&self.at) else { return };
        let gone = room.leave(self.shared.here, &self.participant.id);
        if room.of(self.shared.here).is_empty() {
            state.rooms.remove(&self.at);
        }
        drop(state);
        if gone {
            self.shared.tell(&self.at, RoomHint::Left { id: self.participant.id.clone() });
        }
    }
}

/// The changes of a room as one connection sees them.
pub struct Changes {
    shared: Arc<Shared>,
    at: RoomAt,
    /// The participant that does not hear of itself.
    own: String,
    versions: watch::Receiver<u64>,
    /// A hash of who was there when it looked last.
    presence: Option<u64>,
    /// The signs of typing that it has seen.
    typing: Vec<u64>,
}

/// A change: each list is whole.
#[derive(Debug)]
pub struct Change {
    /// The participants.
    pub participants: Option<Vec<Participant>>,
    /// The other participants that type.
    pub typing: Option<Vec<Participant>>,
}

impl Changes {
    /// The change since the last time; `None` when nobody of this process is in the room any more.
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            self.versions.mark_unchanged();
            if let Some(change) = self.look()? {
                return Some(change);
            }
            self.versions.changed().await.ok()?;
        }
    }

    #[expect(clippy::option_option, reason = "no room, no change, or a change")]
    fn look(&mut self) -> Option<Option<Change>> {
        let state = self.shared.state();
        let room = state.rooms.get(&self.at)?;
        let participants = room.participants();
        let mut hasher = DefaultHasher::new();
        participants.hash(&mut hasher);
        let hash = Some(hasher.finish());
        let changed = std::mem::replace(&mut self.presence, hash) != hash;
        let participants = changed.then_some(participants);
        let (who, signs) = room.typing(&self.own);
        let changed = self.typing != signs;
        self.typing = signs;
        let typing = changed.then_some(who);
        let news = participants.is_some() || typing.is_some();
        Some(news.then_some(Change { participants, typing }))
    }
}
