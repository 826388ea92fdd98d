//! Links that are followed: who views them is counted, and let go when a link is revoked.
//!
//! While any link has viewers, one query a second asks for all of them whether they still lead
//! somewhere. That ends the views of other instances, too, without a hint.
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::super::{Engine, EngineError, Opened, Session};
use crate::domain::id::Seq;
use crate::domain::share::ShareToken;
use crate::ports::{Link, LogError};

/// Viewers of one link on one instance: a link that spreads takes no more of an instance than this.
pub const VIEWERS: usize = 1000;
/// How often links with viewers are looked at: a view ends less than two seconds after its link.
const LOOK: Duration = Duration::from_secs(1);

/// Why a link cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// There is no such link, or not any more.
    #[error("this link leads nowhere")]
    Nowhere,
    /// It has [`VIEWERS`] here.
    #[error("too many follow this link now")]
    Crowded,
    /// The log is out of reach or broken.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The content that a link's viewer gets.
pub enum Viewed {
    /// The events of its answer, for as long as the viewing is not over.
    Events(Box<Session>, Viewing),
    /// There is no answer, or the viewer has its ending: nothing will come.
    Complete,
}

/// The links that have viewers on this instance.
#[derive(Default)]
pub(in super::super) struct Links {
    open: Mutex<Open>,
    /// A link was revoked here.
    look: Notify,
}

#[derive(Default)]
struct Open {
    by_hash: HashMap<Vec<u8>, Weak<CancellationToken>>,
    watched: bool,
}

/// A viewer's place at a link; its drop gives the place back.
pub struct Viewing {
    over: Arc<CancellationToken>,
}

impl Viewing {
    /// Whether the link was revoked. Cheap: asked with every event.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Ends when the link is revoked.
    pub fn over(&self) -> WaitForCancellationFutureOwned {
        CancellationToken::clone(&self.over).cancelled_owned()
    }
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock()
    }

    /// A place at a link, and whether somebody has to begin to watch; `None` if all are taken.
    fn take_place(&self, hash: Vec<u8>) -> Option<(Viewing, bool)> {
        let mut open = self.lock();
        let known = open.by_hash.get(&hash).and_then(Weak::upgrade);
        let over = match known.filter(|over| !over.is_cancelled()) {
            // `over` itself is one of them.
            Some(over) if Arc::strong_count(&over) > VIEWERS => return None,
            Some(over) => over,
            None => {
                let over = Arc::new(CancellationToken::new());
                open.by_hash.insert(hash, Arc::downgrade(&over));
                over
            }
        };
        let first = !std::mem::replace(&mut open.watched, true);
        Some((Viewing { over }, first))
    }

    /// The links that have viewers; `None`, and nobody watches any more, if there are none.
    fn with_viewers(&self) -> Option<Vec<Vec<u8>>> {
        let mut open = self.lock();
        open.by_hash.retain(|_, over| over.strong_count() > 0);
        open.watched = !open.by_hash.is_empty();
        open.watched.then(|| open.by_hash.keys().cloned().collect())
    }

    /// Lets go who views a link that is not among those that are `left`.
    fn end_others(&self, asked: &[Vec<u8>], left: &[Vec<u8>]) {
        let open = self.lock();
        for hash in asked.iter().filter(|hash| !left.contains(hash)) {
            if let Some(over) = open.by_hash.get(hash).and_then(Weak::upgrade) {
                over.cancel();
            }
        }
    }

    /// Looks at once: a link was revoked here.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }
}

impl Engine {
    /// Follows the answer of a link from behind `cursor`, without knowing whose it is.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn view_shared(&self, token: &ShareToken, cursor: Seq) -> Result<Viewed, ViewError> {
        let hash = token.hash();
        let at = match self.conversations().link(&hash).await? {
            Link::Nowhere => return Err(ViewError::Nowhere),
            Link::Still => return Ok(Viewed::Complete),
            Link::Answer(at) => at,
        };
        let (viewing, first) = self.inner.links.take_place(hash).ok_or(ViewError::Crowded)?;
        if first {
            self.inner.tasks.spawn_service(self.clone().watch_links());
        }
        match self.open(&at, cursor).await {
            Ok(Opened::Events(session)) => Ok(Viewed::Events(session, viewing)),
            // Erased since: the branch is all that there is.
            Ok(Opened::Complete) | Err(EngineError::NotFound) => Ok(Viewed::Complete),
            Err(EngineError::Log(error)) => Err(error.into()),
        }
    }

    async fn watch_links(self) {
        let hard = self.inner.tasks.hard().clone();
        hard.run_until_cancelled(self.end_revoked()).await;
    }

    async fn end_revoked(&self) {
        let links = &self.inner.links;
        loop {
            tokio::select! {
                () = sleep(LOOK) => {}
                () = links.look.notified() => {}
            }
            let Some(asked) = links.with_viewers() else { return };
            match self.conversations().links_left(&asked).await {
                Ok(left) => links.end_others(&asked, &left),
                // Nobody can have revoked one meanwhile; the next look tells.
                Err(LogError::Unavailable(_)) => {}
                Err(error @ (LogError::Conflict | LogError::Broken(_) | LogError::Doubled(_))) => {
                    tracing::error!(%error, "followed links cannot be looked at");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        links.end_others(&[vec![1]], &[]);
        assert!(taken.iter().all(|(viewing, _)| viewing.is_over()));
        drop(taken);
        assert_eq!(links.with_viewers(), None);
        assert!(links.take_place(vec![1]).unwrap().1, "watched anew");
    }
}
