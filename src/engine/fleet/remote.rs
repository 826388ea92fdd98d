//! Generations that run elsewhere and are read here: a tail of each, shared by all its readers,
//! as if it ran here. The tailer fills them.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::domain::entry::Entry;
use crate::domain::id::{GenerationId, Seq, Tenant};
use crate::engine::run::live::{Reading, Tail};
use crate::ports::Address;

/// The tails of generations that are read here and run elsewhere.
#[derive(Default)]
pub(in crate::engine) struct Remotes {
    state: Mutex<State>,
    /// Wakes the tailer.
    pub(in crate::engine) wake: Notify,
}

#[derive(Default)]
struct State {
    tails: HashMap<GenerationId, Arc<Tail>>,
    /// Those that may have grown.
    to_read: HashSet<GenerationId>,
    /// Those whose owner is to be told that they are read here.
    to_follow: HashSet<GenerationId>,
    /// Whether there is a tailer.
    tailed: bool,
}

/// A reader that has joined a tail.
pub(in crate::engine) struct Joined {
    pub(in crate::engine) reading: Reading,
    /// Nobody fills the tails yet: start the tailer.
    pub(in crate::engine) first: bool,
}

/// One round of the tailer's work.
pub(in crate::engine) struct Round {
    pub(in crate::engine) read: Vec<Arc<Tail>>,
    pub(in crate::engine) follow: Vec<Arc<Tail>>,
}

impl Remotes {
    /// Reads along on a tail that is there.
    pub(in crate::engine) fn find(&self, at: &Address) -> Option<Reading> {
        let state = self.state();
        let tail = state.tails.get(&at.id).filter(|tail| tail.tenant == at.tenant);
        // Counted before the lock is gone: a tail without readers is dropped.
        tail.map(Tail::reader)
    }

    /// Reads along from now on; `cursor` is the last entry that the log had a moment ago. `None`
    /// if the generation is another tenant's.
    pub(in crate::engine) fn join(&self, at: &Address, cursor: Seq) -> Option<Joined> {
        let mut state = self.state();
        let new = || Tail::new(at.tenant.clone(), at.id, cursor);
        let tail = state.tails.entry(at.id).or_insert_with(new);
        if tail.tenant != at.tenant {
            return None;
        }
        let reading = tail.reader();
        state.to_read.insert(at.id);
        state.to_follow.insert(at.id);
        let first = !std::mem::replace(&mut state.tailed, true);
        drop(state);
        self.wake.notify_one();
        Some(Joined { reading, first })
    }

    /// It may have grown; if its owner has changed, too, the new one is to be told.
    pub(in crate::engine) fn grown(&self, id: GenerationId, new_owner: bool) {
        let mut state = self.state();
        if !state.tails.contains_key(&id) {
            return;
        }
        state.to_read.insert(id);
        if new_owner {
            state.to_follow.insert(id);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// It has grown by these, as a hint says. False if they do not follow each other or what is
    /// here: it is to be read.
    pub(in crate::engine) fn extend(&self, id: GenerationId, entries: Vec<Entry>) -> bool {
        let follow = |pair: &[Entry]| match pair {
            [before, next] => next.seq == before.seq.next() && next.continues(before.epoch),
            _ => true,
        };
        if !entries.windows(2).all(follow) {
            return false;
        }
        // Nobody reads it here any more, or not yet: whoever comes reads the log first.
        let Some(tail) = self.state().tails.get(&id).cloned() else { return true };
        let extended = tail.extend(entries);
        if tail.ended() {
            self.ended(&tail);
        }
        extended
    }

    /// All of them may have grown.
    pub(super) fn read_all(&self) {
        let mut state = self.state();
        state.to_read = state.tails.keys().copied().collect();
    }

    /// All owners are to be told, again.
    pub(super) fn follow_all(&self) {
        let mut state = self.state();
        state.to_follow = state.tails.keys().copied().collect();
    }

    /// The next work. `None` when nobody reads any more: the tailer must end then.
    pub(in crate::engine) fn round(&self) -> Option<Round> {
        let mut state = self.state();
        state.tails.retain(|_, tail| *tail.readers().borrow() > 0);
        let (to_read, to_follow) =
            (std::mem::take(&mut state.to_read), std::mem::take(&mut state.to_follow));
        if state.tails.is_empty() {
            state.tailed = false;
            return None;
        }
        let of = |ids: HashSet<GenerationId>| {
            ids.iter().filter_map(|id| state.tails.get(id).cloned()).collect()
        };
        Some(Round { read: of(to_read), follow: of(to_follow) })
    }

    /// This very tail has its ending: nothing more will come.
    pub(in crate::engine) fn ended(&self, tail: &Arc<Tail>) {
        let mut state = self.state();
        if state.tails.get(&tail.id).is_some_and(|current| Arc::ptr_eq(current, tail)) {
            state.tails.remove(&tail.id);
        }
    }

    /// Sends the readers of one back to look for themselves: it runs here now, or its log cannot
    /// be followed.
    pub(in crate::engine) fn detach(&self, tenant: &Tenant, id: GenerationId) {
        let mut state = self.state();
        if state.tails.get(&id).is_some_and(|tail| tail.tenant == *tenant)
            && let Some(tail) = state.tails.remove(&id)
        {
            drop(state);
            tail.detach();
        }
    }

    /// The same for all.
    pub(super) fn detach_all(&self) {
        let tails = std::mem::take(&mut self.state().tails);
        tails.values().for_each(|tail| tail.detach());
    }

    /// Has every reader look whether it shall go on.
    pub(in crate::engine) fn wake_readers(&self) {
        self.state().tails.values().for_each(|tail| tail.wake_readers());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Event;
    use crate::domain::id::Epoch;

    fn at() -> Address {
        Address { tenant: Tenant::anonymous(), id: GenerationId::random() }
    }

    #[test]
    fn readers_share_a_tail_for_as_long_as_one_of_them_reads() {
        let (remotes, at) = (Remotes::default(), at());
        assert!(remotes.find(&at).is_none());
        let one = remotes.join(&at, Seq(4)).unwrap();
        let two = remotes.join(&at, Seq(7)).unwrap();
        assert!(one.first && !two.first, "one tailer for all");
        assert!(Arc::ptr_eq(&one.reading.tail, &two.reading.tail));
        assert_eq!(two.reading.tail.head(), Seq(4), "the tailer reads on where the first one was");
        let round = remotes.round().unwrap();
        assert_eq!((round.read.len(), round.follow.len()), (1, 1));
        remotes.grown(GenerationId::random(), true);
        let round = remotes.round().unwrap();
        assert_eq!((round.read.len(), round.follow.len()), (0, 0), "nobody reads that here");
        drop(one);
        assert!(remotes.round().is_some());
        drop(two);
        assert!(remotes.round().is_none(), "the tailer ends");
        assert!(remotes.join(&at, Seq(4)).unwrap().first, "and begins again");
    }

    #[test]
    fn a_tail_that_is_let_go_of_takes_its_readers_along_and_the_next_one_is_new() {
        let (remotes, at) = (Remotes::default(), at());
        let old = remotes.join(&at, Seq(1)).unwrap().reading;
        remotes.detach(&at.tenant, at.id);
        assert!(old.tail.is_detached());
        let new = remotes.join(&at, Seq(3)).unwrap().reading;
        remotes.ended(&old.tail);
        new.tail.publish(vec![Entry::encode(Seq(4), &Event::Delta { text: "x".into() })]);
        assert!(remotes.find(&at).is_some_and(|found| Arc::ptr_eq(&found.tail, &new.tail)));
    }

    #[test]
    fn what_a_hint_carries_is_shown_only_as_a_whole() {
        let (remotes, at) = (Remotes::default(), at());
        let reading = remotes.join(&at, Seq(4)).unwrap().reading;
        let by = |epoch: i32, seqs: &[u64]| -> Vec<Entry> {
            let entry = |n: &u64| Entry::encode(Seq(*n), &Event::Delta { text: "x".into() });
            seqs.iter().map(|n| entry(n).by(Epoch(epoch))).collect()
        };
        for wrong in
            [by(1, &[5, 7]), by(1, &[5, 5]), by(1, &[6]), [by(1, &[5]), by(2, &[6])].concat()]
        {
            assert!(!remotes.extend(at.id, wrong));
            assert_eq!(reading.tail.head(), Seq(4), "it is to be read");
        }
        assert!(remotes.extend(at.id, by(1, &[5, 6])) && remotes.extend(at.id, by(1, &[6, 7])));
        assert!(!remotes.extend(at.id, by(2, &[8])), "another owner begins with how it goes on");
        assert_eq!(reading.tail.head(), Seq(7));
    }

    #[test]
    fn another_tenant_reads_nothing_along() {
        let (remotes, at) = (Remotes::default(), at());
        let _reading = remotes.join(&at, Seq(1)).unwrap();
        let foreign = Address { tenant: Tenant::named("other".into()), id: at.id };
        assert!(remotes.find(&foreign).is_none() && remotes.join(&foreign, Seq(1)).is_none());
    }
}
