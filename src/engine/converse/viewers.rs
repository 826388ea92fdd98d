//! The links that have viewers on this instance: how many each has, and when their viewing ends.
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::domain::share::BranchEnd;
use crate::ports::LinkLeft;

/// Viewers of one link on one instance: a link that spreads takes no more of an instance than this.
pub const VIEWERS: usize = 1000;

/// The links that have viewers on this instance.
#[derive(Default)]
pub(in super::super) struct Links {
    open: Mutex<Open>,
    /// A link was revoked here.
    pub(super) look: Notify,
}

#[derive(Default)]
struct Open {
    by_hash: HashMap<Vec<u8>, Weak<ViewedLink>>,
    watched: bool,
}

/// The state that all viewers of one link share.
#[derive(Default)]
struct ViewedLink {
    /// The link was revoked.
    over: CancellationToken,
    turns: Mutex<Turns>,
}

/// The later turns of a link, as they are known here.
#[derive(Default)]
struct Turns {
    /// The state of the conversation for which the end was looked up.
    state: Option<String>,
    /// Where the branch ends. Its token ends with the link, and when the branch ends elsewhere.
    end: Option<(BranchEnd, CancellationToken)>,
}

impl ViewedLink {
    /// The branch ends here now: who sees another end is let go.
    fn ends_at(&self, end: Option<BranchEnd>) -> CancellationToken {
        let mut turns = self.turns.lock();
        if let (Some((known, moved)), Some(end)) = (&turns.end, end)
            && known.is(&end)
        {
            return moved.clone();
        }
        if let Some((_, moved)) = turns.end.take() {
            moved.cancel();
        }
        let moved = self.over.child_token();
        turns.end = end.map(|end| (end, moved.clone()));
        moved
    }
}

/// A viewer's place at a link; its drop gives the place back.
pub struct Viewing {
    place: Arc<ViewedLink>,
    over: CancellationToken,
}

impl Viewing {
    /// The same for as long as the branch of the link ends there.
    pub(super) fn of_end(self, end: BranchEnd) -> Self {
        let over = self.place.ends_at(Some(end));
        Self { over, ..self }
    }

    /// Whether the link was revoked, or its branch has another end than the viewer knows. Cheap:
    /// asked with every event.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Ends when the viewing is over.
    pub fn over(&self) -> WaitForCancellationFutureOwned {
        self.over.clone().cancelled_owned()
    }
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock()
    }

    /// A place at a link, and whether somebody has to begin to watch; `None` if all are taken.
    pub(super) fn take_place(&self, hash: Vec<u8>) -> Option<(Viewing, bool)> {
        let mut open = self.lock();
        let known = open.by_hash.get(&hash).and_then(Weak::upgrade);
        let place = match known.filter(|place| !place.over.is_cancelled()) {
            // `place` itself is one of them.
            Some(place) if Arc::strong_count(&place) > VIEWERS => return None,
            Some(place) => place,
            None => {
                let place = Arc::new(ViewedLink::default());
                open.by_hash.insert(hash, Arc::downgrade(&place));
                place
            }
        };
        let first = !std::mem::replace(&mut open.watched, true);
        Some((Viewing { over: place.over.clone(), place }, first))
    }

    /// The links that have viewers; `None`, and nobody watches any more, if there are none.
    pub(super) fn with_viewers(&self) -> Option<Vec<Vec<u8>>> {
        let mut open = self.lock();
        open.by_hash.retain(|_, place| place.strong_count() > 0);
        open.watched = !open.by_hash.is_empty();
        open.watched.then(|| open.by_hash.keys().cloned().collect())
    }

    /// Lets go who views a link that is not among those that are `left`. Returns the others whose
    /// conversations have changed since their ends were looked up.
    pub(super) fn end_others(&self, asked: &[Vec<u8>], left: Vec<LinkLeft>) -> Vec<LinkLeft> {
        let places = |hash: &[u8]| self.lock().by_hash.get(hash).and_then(Weak::upgrade);
        for hash in asked.iter().filter(|hash| !left.iter().any(|(kept, _)| kept == *hash)) {
            if let Some(place) = places(hash) {
                place.over.cancel();
            }
        }
        let changed = |(hash, state): &LinkLeft| {
            state.is_some() && places(hash).is_some_and(|place| place.turns.lock().state != *state)
        };
        left.into_iter().filter(changed).collect()
    }

    /// In this state of its conversation, the branch of a link ends there.
    pub(super) fn looked_up(&self, (hash, state): LinkLeft, end: Option<BranchEnd>) {
        let place = self.lock().by_hash.get(&hash).and_then(Weak::upgrade);
        if let Some(place) = place {
            place.ends_at(end);
            place.turns.lock().state = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::MessageId;

    #[test]
    fn a_link_has_so_many_viewers_and_a_place_is_given_back() {
        let links = Links::default();
        let mut taken: Vec<_> = (0..VIEWERS).map(|_| links.take_place(vec![1]).unwrap()).collect();
        assert!(taken[0].1 && !taken[1].1, "the first begins to watch");
        assert!(links.take_place(vec![1]).is_none());
        assert!(links.take_place(vec![2]).is_some(), "of another link");
        taken.pop();
        taken.push(links.take_place(vec![1]).unwrap());
        assert_eq!(links.with_viewers(), Some(vec![vec![1]]));
        assert!(links.end_others(&[vec![1]], vec![]).is_empty());
        assert!(taken.iter().all(|(viewing, _)| viewing.is_over()));
        drop(taken);
        assert_eq!(links.with_viewers(), None);
        assert!(links.take_place(vec![1]).unwrap().1, "watched anew");
    }

    #[test]
    fn viewers_of_another_end_are_let_go_and_an_end_that_grew_is_the_same() {
        let links = Links::default();
        let end = BranchEnd { id: MessageId::random(), depth: 1, answering: true };
        let view = || links.take_place(vec![1]).unwrap().0;
        let (plain, growing) = (view(), view().of_end(end));
        let asked = [vec![1]];
        let state = |n: u8| (vec![1], Some(n.to_string()));
        assert_eq!(links.end_others(&asked, vec![state(1)]), [state(1)], "not looked up yet");
        links.looked_up(state(1), Some(BranchEnd { answering: false, ..end }));
        assert!(!growing.is_over(), "its answer has ended");
        assert!(links.end_others(&asked, vec![state(1)]).is_empty(), "nothing has changed");
        assert_eq!(links.end_others(&asked, vec![(vec![1], None)]), [], "no later turns");
        let next = BranchEnd { id: MessageId::random(), depth: 2, answering: true };
        links.looked_up(state(2), Some(next));
        assert!(growing.is_over() && !plain.is_over());
        // A viewer that has read more than was looked up here.
        let newer = view().of_end(end);
        let waiting = view().of_end(next);
        assert!(newer.is_over() && !waiting.is_over());
        links.looked_up(state(3), None);
        assert!(waiting.is_over() && !plain.is_over());
        let waiting = view().of_end(next);
        links.end_others(&asked, vec![]);
        assert!(plain.is_over() && waiting.is_over(), "revoked");
    }
}
