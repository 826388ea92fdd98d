//! Generations as spans, for whoever exports them.
use std::time::Duration;

use super::generate::Generation;
use crate::domain::event::Done;
use crate::domain::id::GenerationId;
use crate::domain::prompt::Parameters;
use crate::domain::trace::TraceParent;

/// Takes the span of a generation that has ended. It must not block.
pub type Export = fn(Ended);

/// A generation that has ended, without anything that was said in it.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its id.
    pub generation: GenerationId,
    /// The tenant.
    pub tenant: String,
    /// The client's trace context.
    pub asked: Option<TraceParent>,
    /// The model's name as clients ask for it.
    pub model: String,
    /// The kind of upstream.
    pub provider: &'static str,
    /// How it was to be answered.
    pub parameters: Parameters,
    /// How many attempts there were.
    pub attempts: u32,
    /// How it ended.
    pub done: Done,
    /// How long it has run on this instance.
    pub took: Duration,
}

/// The trace context for an upstream: below the generation's own span if that is exported, else the
/// client's.
pub(in crate::engine) fn upstream(generation: &Generation) -> Option<TraceParent> {
    let asked = generation.request.trace;
    let own = || TraceParent::of_generation(generation.at.id, asked);
    if generation.engine.inner.limits.spans.is_some() { Some(own()) } else { asked }
}

/// A span to be told once its ending is durable.
pub(super) struct Span(Export, Ended);

impl Span {
    /// `None` if nobody exports it.
    pub(in crate::engine) fn of(generation: &Generation, done: &Done) -> Option<Self> {
        let ended = || Ended {
            generation: generation.at.id,
            tenant: generation.at.tenant.as_str().to_owned(),
            asked: generation.request.trace,
            model: generation.model.name.clone(),
            provider: generation.model.provider.name(),
            parameters: generation.request.prompt.parameters.clone(),
            attempts: generation.transcript.attempts,
            done: done.clone(),
            took: Duration::ZERO,
        };
        generation.engine.inner.limits.spans.map(|export| Self(export, ended()))
    }

    /// It took so long here.
    pub(in crate::engine) fn say(self, took: Duration) {
        let Self(export, ended) = self;
        export(Ended { took, ..ended });
    }
}
