//! A generation while it runs: from its start to its `done`, and the tails that readers follow.
pub(super) mod background_response;
pub(super) mod cancel;
pub(super) mod commit_path;
pub(super) mod cut_reader;
pub(super) mod delta_batch;
pub(super) mod ending;
pub(super) mod full_window;
pub(super) mod generate;
pub(super) mod key_limits;
pub mod live;
pub(super) mod meter;
pub(super) mod pace;
pub(super) mod policy;
pub(super) mod recorder;
pub(super) mod recount;
pub(super) mod spans;
pub(super) mod start;
pub(super) mod starting;
pub(super) mod stop_conditions;
pub(super) mod waiting;
pub(super) mod wake_batch;
pub(super) mod window;

use std::sync::Arc;

use tokio::sync::Semaphore;

use live::Live;
use recorder::Recorder;

/// State that all generations of this process share.
pub(super) struct Runs {
    /// Those that run here, and their tails.
    pub(super) live: Live,
    /// Places for generations that run; the others wait.
    pub(super) places: Arc<Semaphore>,
    /// Commits what they say, together.
    pub(super) recorder: Recorder,
}

impl Runs {
    /// None runs yet; at most `places` will at a time.
    pub(super) fn new(recorder: Recorder, places: usize) -> Self {
        Self { live: Live::default(), places: Arc::new(Semaphore::new(places)), recorder }
    }
}
