//! The durable log: an event that is not in it did not happen.
use std::sync::Arc;

use super::conversations::Conversations;
use super::events::Events;
use super::generations::Generations;
use super::leases::Leases;
use super::operations::Operations;
use super::ownership::Ownership;
use super::pictures::Pictures;
use super::request_reads::RequestReads;
use super::upkeep::Upkeep;
use crate::domain::id::{GenerationId, Seq, Tenant};

/// The durable log of all generations, a part for each kind of user. All parts are one database.
#[derive(Clone)]
pub struct Log {
    /// The events.
    pub events: Arc<dyn Events>,
    /// The generations.
    pub generations: Arc<dyn Generations>,
    /// The conversations.
    pub conversations: Arc<dyn Conversations>,
    /// The leases of instances.
    pub leases: Arc<dyn Leases>,
    /// The owners of running generations.
    pub ownership: Arc<dyn Ownership>,
    /// The readers of the answers to requests.
    pub request_reads: Arc<dyn RequestReads>,
    /// The upkeep.
    pub upkeep: Arc<dyn Upkeep>,
    /// The pictures.
    pub pictures: Arc<dyn Pictures>,
    /// The operator's view of all tenants.
    pub operations: Arc<dyn Operations>,
}

/// A generation of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The owner.
    pub tenant: Tenant,
    /// Which.
    pub id: GenerationId,
}

/// Two events of one generation under one seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubled {
    /// Which generation.
    pub generation: GenerationId,
    /// The first such seq that was seen.
    pub seq: Seq,
}

/// Why the log could not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// Somebody else wrote at that place: nothing of this call was written.
    #[error("the log has another entry at that seq")]
    Conflict,
    /// The database did not answer. Whether this call was carried out is unknown.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database refused what we asked, or holds what we do not understand: a fault of ours.
    #[error("the log is broken: {0}")]
    Broken(String),
    /// Two events with one seq: only a broken fence can have written them, and seqs cannot tell
    /// them apart.
    #[error("two events of a generation have one seq: {}", shown(.0))]
    Doubled(Vec<Doubled>),
}

fn shown(doubled: &[Doubled]) -> String {
    let each = doubled.iter().map(|one| format!("{} at {}", one.generation, one.seq));
    each.collect::<Vec<_>>().join(", ")
}
