//! Starts in flight: what is stored and does not run yet looks abandoned to the upkeep.
use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::domain::id::GenerationId;

/// Generations that are about to be stored and run.
#[derive(Clone, Default)]
pub(in crate::engine) struct Starting {
    ids: Arc<Mutex<HashSet<GenerationId>>>,
}

impl Starting {
    /// Counts the generation for as long as the guard lives.
    pub(in crate::engine) fn begin(&self, id: GenerationId) -> Beginning {
        self.lock().insert(id);
        Beginning { id, among: self.clone() }
    }

    pub(in crate::engine) fn ids(&self) -> HashSet<GenerationId> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<GenerationId>> {
        self.ids.lock()
    }
}

/// One of them.
pub(in crate::engine) struct Beginning {
    id: GenerationId,
    among: Starting,
}

impl Drop for Beginning {
    fn drop(&mut self) {
        self.among.lock().remove(&self.id);
    }
}
