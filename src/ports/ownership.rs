//! The border to the owners of running generations: take-overs and readers elsewhere.
use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use super::events::Append;
use super::log::{Address, LogError};
use crate::domain::generation::{BackgroundResponse, Generation};
use crate::domain::id::{Epoch, GenerationId, InstanceId};

/// The owners of running generations: take-overs, cancels on record, and readers elsewhere.
#[async_trait]
pub trait Ownership: Send + Sync + 'static {
    /// The unfinished generations that `which` describes, with their epochs, oldest first, at most
    /// `limit`. Their requests may have megabytes each: [`Ownership::orphan`] reads one.
    async fn orphans(
        &self,
        which: &Orphans,
        limit: u32,
    ) -> Result<Vec<(GenerationId, Epoch)>, LogError>;

    /// About how many bytes are stored of each: its request, and its events that are folded. Those
    /// that are not known are missing.
    async fn stored_bytes(
        &self,
        _generations: &[GenerationId],
    ) -> Result<HashMap<GenerationId, u64>, LogError> {
        Ok(HashMap::new())
    }

    /// One that was among them; `None` if it has ended or was taken over since, or cannot be read.
    async fn orphan(&self, listed: (GenerationId, Epoch)) -> Result<Option<Orphan>, LogError>;

    /// Raises the epoch *and* appends the first entry of the new owner, in one transaction; from
    /// then on appends of the old one are refused. A process that claims its own generation has
    /// made sure that none of its appends is under way.
    ///
    /// A cancel that is asked for before it is in what it returns; one that is asked for later
    /// learns the new owner.
    async fn take_over(&self, claim: &Claim) -> Result<Claimed, LogError>;

    /// Gives one generation of `owner` up, so that others may take it over at once, unless it has
    /// ended or has another owner or epoch.
    async fn give_up(&self, at: &Address, owner: InstanceId, epoch: Epoch) -> Result<(), LogError>;

    /// Of `running`, those that are on record for another owner than `owner`, or for none.
    async fn owned_elsewhere(
        &self,
        owner: InstanceId,
        running: &[GenerationId],
    ) -> Result<Vec<GenerationId>, LogError>;

    /// Of the generations of `owner` that go on, those whose cancel was asked for.
    async fn cancel_requests(&self, owner: InstanceId) -> Result<Vec<GenerationId>, LogError>;

    /// Notes that readers on this instance follow these generations of other owners, for as long as
    /// `lasting`. Only generations whose fate depends on readers count. Returns the owners of those
    /// that go on.
    async fn renew_readers(
        &self,
        which: &[Address],
        lasting: Duration,
    ) -> Result<HashMap<GenerationId, InstanceId>, LogError>;

    /// How long ago the generation was last read on another instance; zero while it is, `None` if
    /// it never was.
    async fn unread_elsewhere(&self, at: &Address) -> Result<Option<Duration>, LogError>;
}

/// Which unfinished generations have nobody who runs them.
#[derive(Clone, Debug)]
pub enum Orphans {
    /// Those whose owner's lease ran out.
    LeaseExpired,
    /// The generations that are on record for this instance and that its process does not run. An
    /// earlier process left them, their start's reply was lost, or their task died.
    Unattended {
        /// This instance.
        owner: InstanceId,
        /// The generations that its process runs, or is about to run.
        attended: Vec<GenerationId>,
    },
}

/// An unfinished generation without an owner that runs it.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// Its row.
    pub row: Generation,
    /// The owner on record.
    pub owner: InstanceId,
    /// Whether a cancel was asked for.
    pub cancel_requested: bool,
    /// The answer that its upstream keeps.
    pub kept: Option<BackgroundResponse>,
}

/// A take-over of a generation.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The new owner.
    pub owner: InstanceId,
    /// The owner on record and its epoch, who must still be it.
    pub from: (InstanceId, Epoch),
    /// The new owner's first entries, with its new epoch.
    pub append: Append,
}

/// The result of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the new owner's.
    Ours {
        /// Whether a cancel was asked for by then.
        cancel_requested: bool,
    },
    /// Somebody else was faster, or the old owner appended meanwhile.
    No,
}
