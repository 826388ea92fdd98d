//! The operator's view of all instances and tenants: owners and times, never the text.
use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;

use super::event::Status;
use super::id::{Epoch, GenerationId, InstanceId, Seq, Tenant};

/// All instances, and what has not ended.
#[derive(Clone, Debug, Serialize)]
pub struct Fleet {
    /// Those that were seen in the last day, the newest first.
    pub instances: Vec<Instance>,
    /// How many generations have not ended, by status; a status that none has is missing.
    pub unfinished: BTreeMap<&'static str, i64>,
    /// The newest of them.
    pub generations: Vec<Unfinished>,
}

/// A process that takes generations, or took some.
#[derive(Clone, Debug, Serialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// When it came, by the database's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// Milliseconds until others may take over what it runs; negative since they may.
    pub lease_left_ms: i64,
    /// Whether it takes no more.
    pub leaving: bool,
    /// The number of its generations that have not ended.
    pub generations: i64,
}

/// A generation that has not ended.
#[derive(Clone, Debug, Serialize)]
pub struct Unfinished {
    /// Its id.
    pub id: GenerationId,
    /// The owner.
    pub tenant: Tenant,
    /// Where it stands.
    pub status: Status,
    /// The model's name.
    pub model: String,
    /// The kind of upstream.
    pub provider: String,
    /// The instance that runs it.
    pub owner: InstanceId,
    /// How many owners it has had.
    pub epoch: i32,
    /// When it was accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// An event without its text.
#[derive(Clone, Debug, Serialize)]
pub struct Moment {
    /// Its place in the log.
    pub seq: Seq,
    /// Which event it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// Milliseconds from the first event's commit to its own, by the database's clock.
    pub at_ms: f64,
    /// Bytes of its JSON.
    pub bytes: i64,
    /// The owner that wrote it.
    #[serde(serialize_with = "number")]
    pub epoch: Epoch,
}

fn number<S: serde::Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i32(epoch.0)
}
