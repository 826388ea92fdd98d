//! The instance among others: its lease, hints, take-overs, and what runs elsewhere.
pub(super) mod doubled;
pub(super) mod follower_notifier;
pub(super) mod gauges;
pub(super) mod hand_over;
pub(super) mod hints;
pub(super) mod overview;
pub(super) mod recover;
pub(super) mod remote;
pub(super) mod remote_tailer;
pub(super) mod shutdown;
pub(super) mod upkeep;

use std::sync::Arc;

use tokio::sync::{Mutex, Notify};

use crate::ports::Signals;
use overview::Picture;
use recover::Foreign;
use remote::Remotes;

/// The other instances: the way to them, and their generations that are read here.
pub(super) struct Fleet {
    /// Hints to and from them.
    pub(super) signals: Arc<dyn Signals>,
    /// Their generations that are read here.
    pub(super) remotes: Remotes,
    /// A reason for the upkeep to look at once.
    pub(super) look: Notify,
    /// Unfinished generations with events of a newer version.
    pub(super) foreign: Foreign,
    /// Has a copy for each generation that runs here and is read elsewhere.
    pub(super) read_elsewhere: Arc<()>,
    /// The operators' last view.
    pub(super) picture: Mutex<Option<Picture>>,
}

impl Fleet {
    /// No other is known yet.
    pub(super) fn new(signals: Arc<dyn Signals>) -> Self {
        Self {
            signals,
            remotes: Remotes::default(),
            look: Notify::new(),
            foreign: Foreign::default(),
            read_elsewhere: Arc::default(),
            picture: Mutex::new(None),
        }
    }
}
