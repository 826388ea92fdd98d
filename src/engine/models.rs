//! The models that prompts can name.
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::ports::Provider;

/// What to do when a model's answer breaks off.
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
    /// Who answers.
    pub provider: Arc<dyn Provider>,
    /// What to do when an answer breaks off.
    pub on_loss: OnLoss,
    /// Attempts at one answer, the first included.
    pub max_attempts: u32,
    /// The name of the model that answers when these are spent.
    pub fallback: Option<String>,
    /// Tokens of its window, the answer's included; a conversation is cut to it.
    pub context_tokens: Option<NonZeroU32>,
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
