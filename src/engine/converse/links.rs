//! Links that are followed: who views them is let go when a link is revoked.
//!
//! While any link has viewers, one query a second asks for all of them whether they still lead
//! somewhere. That ends the views of other instances, too, without a hint. The same query tells
//! which conversations have changed. Only then is the end of a link with later turns looked up,
//! once for all its viewers.
use std::time::Duration;

use tokio::time::sleep;

use super::super::{Engine, EngineError, Opened, Session};
use super::viewers::Viewing;
use crate::domain::id::{GenerationId, Seq, Tenant};
use crate::domain::share::{BranchEnd, ShareToken};
use crate::ports::{Address, Link, LogError};

/// How often links with viewers are looked at: a view ends less than two seconds after its link.
const LOOK: Duration = Duration::from_secs(1);

/// Why a link cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// There is no such link, or not any more.
    #[error("this link leads nowhere")]
    Nowhere,
    /// It has [`super::VIEWERS`] here.
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
    /// The viewer has all of a branch that may go on: the viewing is over when it does.
    Waiting(Viewing),
    /// There is no answer, or the viewer has its ending: nothing will come.
    Complete,
}

/// The content that a viewer of a link asks for.
enum Wanted {
    /// The answer that was being made when the link was made.
    Answer(Address),
    /// The answer that the branch ends with.
    End(Address, BranchEnd),
    /// The viewer has all of the branch.
    Next(BranchEnd),
}

impl Wanted {
    /// `None` if there is no such answer, or the branch has another end than `turn`.
    fn of(link: &Link, hash: &[u8], turn: Option<&str>) -> Option<Self> {
        let (Some(turn), Some(end)) = (turn, link.end) else {
            return Some(Self::Answer(address(&link.tenant, link.answer?)));
        };
        if turn == end.name(hash, true) {
            return Some(Self::End(address(&link.tenant, GenerationId(end.id.0)), end));
        }
        let has_all = !end.answering && turn == end.name(hash, false);
        has_all.then_some(Self::Next(end))
    }
}

fn address(tenant: &Tenant, id: GenerationId) -> Address {
    Address { tenant: tenant.clone(), id }
}

impl Engine {
    /// Follows the answer of a link from behind `cursor`, without knowing whose it is. `turn` is
    /// the name of the branch's end as its viewer knows it, at a link that shows later turns.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn view_shared(
        &self,
        token: &ShareToken,
        cursor: Seq,
        turn: Option<&str>,
    ) -> Result<Viewed, ViewError> {
        let hash = token.hash();
        let link = self.conversations().link(&hash).await?.ok_or(ViewError::Nowhere)?;
        let Some(wanted) = Wanted::of(&link, &hash, turn) else { return Ok(Viewed::Complete) };
        let (viewing, first) = self.inner.links.take_place(hash).ok_or(ViewError::Crowded)?;
        if first {
            self.inner.tasks.spawn_service(self.clone().watch_links());
        }
        let (at, end) = match wanted {
            Wanted::Next(end) => return Ok(Viewed::Waiting(viewing.of_end(end))),
            Wanted::Answer(at) => (at, None),
            Wanted::End(at, end) => (at, Some(end)),
        };
        let viewing = match end {
            Some(end) => viewing.of_end(end),
            None => viewing,
        };
        match self.open(&at, cursor).await {
            Ok(Opened::Events(session)) => Ok(Viewed::Events(session, viewing)),
            // Its viewer has the ending, and stays for what comes behind it.
            Ok(Opened::Complete) if end.is_some() => Ok(Viewed::Waiting(viewing)),
            // Erased since: the branch is all that there is.
            Ok(Opened::Complete) | Err(EngineError::NotFound) => Ok(Viewed::Complete),
            Err(EngineError::Log(error)) => Err(error.into()),
        }
    }

    /// Looks at all links at once: one was revoked here.
    pub(super) fn look_at_links(&self) {
        self.inner.links.look.notify_one();
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
            match self.look_up(&asked).await {
                // Nobody can have revoked one meanwhile; the next look tells.
                Ok(()) | Err(LogError::Unavailable(_)) => {}
                Err(error @ (LogError::Conflict | LogError::Broken(_) | LogError::Doubled(_))) => {
                    tracing::error!(%error, "followed links cannot be looked at");
                }
            }
        }
    }

    /// Ends the views of revoked links, and those of branches that have another end now.
    async fn look_up(&self, asked: &[Vec<u8>]) -> Result<(), LogError> {
        let left = self.conversations().links_left(asked).await?;
        for changed in self.inner.links.end_others(asked, left) {
            let link = self.conversations().link(&changed.0).await?;
            self.inner.links.looked_up(changed, link.and_then(|link| link.end));
        }
        Ok(())
    }
}
