//! The alarm of the second line of defence: two events under one seq.
use crate::engine::Engine;
use crate::ports::LogError;

impl Engine {
    /// Tells operators, by the log and by a metric, if that is what `error` is about.
    pub(in crate::engine) fn note_doubled(&self, error: &LogError) {
        let LogError::Doubled(found) = error else { return };
        for one in found {
            tracing::error!(
                generation = %one.generation,
                seq = one.seq.0,
                "two events have one seq: the fence of take-overs failed, and this generation is read no more"
            );
            self.metrics().doubled.inc();
        }
    }
}
