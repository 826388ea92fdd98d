//! The models that prompts can name.
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ports::{Continuation, Provider};

/// The reaction to an answer of this model that breaks off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// Go on behind the last token where the upstream can, else start again.
    #[default]
    Continue,
    /// Void what was said and start again.
    Restart,
    /// End as `interrupted`.
    Interrupt,
}

/// A model under the name that clients ask for.
#[derive(Clone)]
pub struct Model {
    /// The name.
    pub name: String,
    /// The provider that answers.
    pub provider: Arc<dyn Provider>,
    /// The reaction to an answer that breaks off.
    pub on_loss: OnLoss,
    /// Attempts at one answer, the first included.
    pub max_attempts: u32,
    /// The name of the model that answers when these are spent.
    pub fallback: Option<String>,
    /// Tokens of its window, the answer's included; a conversation is cut to it.
    pub context_tokens: Option<NonZeroU32>,
    /// Whether it sees pictures; `None` where nobody has said.
    pub pictures: Option<bool>,
    /// How an answer outlives its server.
    pub recovery: Recovery,
    /// The fate of an answer whose client goes away.
    pub disconnect: DisconnectPolicy,
}

/// The fate of an answer whose client goes away, where its key says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct DisconnectPolicy {
    /// How long it goes on, in seconds; `None` is as its protocol has it.
    pub grace_s: Option<u32>,
    /// Whether the same request takes it over also where the client had closed by itself.
    pub attach_after_close: Option<bool>,
}

/// How an answer outlives its model's server.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// How long a server that cannot be reached is waited for, once it was there.
    pub reconnect: Duration,
    /// The same where another model can go on.
    pub fallback_after: Duration,
    /// Whether its configuration keeps every answer to a grammar.
    pub structured: bool,
    /// Whether a continuation keeps to the grammar of structured output that was begun.
    pub continues_structured: bool,
    /// Whether it goes on inside thoughts that broke off.
    pub continues_thoughts: bool,
    /// Set when the server has refused to go on from a text.
    refused: Arc<AtomicBool>,
    /// When its server was seen at work.
    seen: Arc<Mutex<Option<Instant>>>,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            reconnect: Duration::from_secs(180),
            fallback_after: Duration::from_secs(10),
            structured: false,
            continues_structured: false,
            continues_thoughts: false,
            refused: Arc::default(),
            seen: Arc::default(),
        }
    }
}

impl Model {
    /// How it goes on from a text, as far as is known by now.
    #[must_use]
    pub fn continuation(&self) -> Continuation {
        match self.provider.continuation() {
            Continuation::Prefix | Continuation::Instruct if self.refused() => Continuation::None,
            known @ (Continuation::None
            | Continuation::Instruct
            | Continuation::Prefix
            | Continuation::ProviderResume) => known,
        }
    }

    /// The same where its upstream keeps no answer, or none any more.
    pub(super) fn continuation_without(&self) -> Continuation {
        if self.refused() { Continuation::None } else { self.provider.continuation_without() }
    }

    /// Whether its server has refused to go on.
    fn refused(&self) -> bool {
        self.recovery.refused.load(Ordering::Relaxed)
    }

    /// Its server has refused to go on from a text: it is not asked to again.
    pub(super) fn note_refusal(&self) {
        self.recovery.refused.store(true, Ordering::Relaxed);
    }

    /// Its server works on a prompt just now.
    pub(super) fn note_seen(&self) {
        let mut seen = self.recovery.seen.lock();
        *seen = Some(Instant::now());
    }

    /// Whether its server worked on some prompt a while ago, so that it is taken to start again.
    pub(super) fn was_seen(&self) -> bool {
        let seen = *self.recovery.seen.lock();
        seen.is_some_and(|seen| seen.elapsed() < self.recovery.reconnect)
    }
}

/// All models, and which one answers when none is named.
#[derive(Clone)]
pub struct Models {
    by_name: BTreeMap<String, Model>,
    default: String,
}

impl Models {
    /// The models of a configuration; `default` must be the name of one of them.
    #[must_use]
    pub fn new(models: Vec<Model>, default: String) -> Self {
        Self { by_name: models.into_iter().map(|m| (m.name.clone(), m)).collect(), default }
    }

    /// The model of that name, or the default.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<&Model> {
        self.by_name.get(name.unwrap_or(&self.default))
    }

    /// The default's name.
    #[must_use]
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// All models by name.
    pub fn iter(&self) -> impl Iterator<Item = &Model> {
        self.by_name.values()
    }
}
