//! Which models there are, and why.
use std::sync::Arc;

use crate::config::{Config, Continuation, ModelConfig, ProviderKind, variable};
use crate::domain::nearest;
use crate::engine::{Model, Models, OnLoss};
use crate::ports::Provider;
use crate::providers::demo::Demo;
use crate::providers::guard::Timeouts;
use crate::providers::openai::{OpenAi, OpenAiSettings, SettingsError};

/// The name of the built-in model.
const DEMO: &str = "demo";
/// OpenAI's own address, for a key without one.
const OPENAI: &str = "https://api.openai.com/v1";
/// The model that a key in the environment offers unless `OPENAI_MODEL` names one.
const OPENAI_MODEL: &str = "gpt-4o-mini";
/// Attempts at one answer unless the file says otherwise.
const ATTEMPTS: u32 = 3;

/// Why the models cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// A setting makes no sense.
    #[error("model `{0}`: {1}")]
    Settings(String, #[source] SettingsError),
    /// An `openai` model without an address.
    #[error("model `{0}` needs a base_url, such as http://127.0.0.1:11434/v1")]
    NoBaseUrl(String),
    /// The variable for its key is not set.
    #[error("model `{0}`: the environment variable {1} is not set")]
    NoKey(String, String),
    /// Two models have one name.
    #[error("two models are named `{0}`")]
    Twice(String),
    /// The default is none of them.
    #[error("default_model `{0}` is none of the models.{1}")]
    NoDefault(String, String),
}

/// The models, and a line for each that says why it is there; the default's comes first.
pub(super) fn models(config: &Config) -> Result<(Models, Vec<String>), ModelsError> {
    let mut all: Vec<(Model, String)> = Vec::new();
    for one in &config.models {
        if all.iter().any(|(m, _)| m.name == one.name) {
            return Err(ModelsError::Twice(one.name.clone()));
        }
        all.push((configured(one)?, "configured".into()));
    }
    all.extend(offered(config)?);
    let known = |name: &str, all: &[(Model, String)]| all.iter().any(|(m, _)| m.name == name);
    if !known(DEMO, &all) {
        let why = "built in, no AI".to_owned();
        all.push((model(DEMO.into(), Arc::new(Demo), OnLoss::Continue, ATTEMPTS), why));
    }
    let default = default(config, &all);
    if !known(&default, &all) {
        let names: Vec<&str> = all.iter().map(|(m, _)| m.name.as_str()).collect();
        let hint = nearest::hint(&default, &names);
        return Err(ModelsError::NoDefault(default, hint));
    }
    all.sort_by_key(|(m, _)| m.name != default);
    let lines = all.iter().map(|(m, why)| line(m, why, m.name == default)).collect();
    Ok((Models::new(all.into_iter().map(|(m, _)| m).collect(), default), lines))
}

fn line(model: &Model, why: &str, is_default: bool) -> String {
    let default = if is_default { ", the default" } else { "" };
    format!("{} ({}): {why}{default}", model.name, model.provider.name())
}

/// The configured default, else the first model of the file, else a server that the environment
/// names. A key alone is offered but not chosen: nobody shall pay by surprise.
fn default(config: &Config, all: &[(Model, String)]) -> String {
    let first = config.models.first().map(|m| m.name.clone());
    let named = config.openai.base_url.as_ref().and_then(|_| all.first());
    config
        .default_model
        .clone()
        .or(first)
        .or_else(|| named.map(|(m, _)| m.name.clone()))
        .unwrap_or_else(|| DEMO.into())
}

fn configured(config: &ModelConfig) -> Result<Model, ModelsError> {
    let name = config.name.clone();
    let provider: Arc<dyn Provider> = match config.provider {
        ProviderKind::Demo => Arc::new(Demo),
        ProviderKind::Openai => {
            let base_url = config.base_url.clone();
            let key = |variable_name: &String| {
                variable(variable_name)
                    .ok_or_else(|| ModelsError::NoKey(name.clone(), variable_name.clone()))
            };
            openai(
                &name,
                OpenAiSettings {
                    base_url: base_url.ok_or_else(|| ModelsError::NoBaseUrl(name.clone()))?,
                    api_key: config.api_key_env.as_ref().map(key).transpose()?,
                    upstream_model: config.upstream_model.clone().unwrap_or_else(|| name.clone()),
                    continues: config.continuation == Continuation::Prefix,
                    timeouts: Timeouts::default(),
                },
            )?
        }
    };
    Ok(model(name, provider, config.on_loss.into(), config.max_attempts.max(1)))
}

/// What the environment offers, unless the file has a model of that name.
fn offered(config: &Config) -> Result<Option<(Model, String)>, ModelsError> {
    let environment = &config.openai;
    let why = match (&environment.base_url, &environment.api_key) {
        (Some(_), _) => "because OPENAI_BASE_URL is set",
        (None, Some(_)) => "because OPENAI_API_KEY is set; ask for it by name",
        (None, None) => return Ok(None),
    };
    let name = environment.model.clone().unwrap_or_else(|| OPENAI_MODEL.into());
    if config.models.iter().any(|m| m.name == name) {
        return Ok(None);
    }
    let settings = OpenAiSettings {
        base_url: environment.base_url.clone().unwrap_or_else(|| OPENAI.into()),
        api_key: environment.api_key.clone(),
        upstream_model: name.clone(),
        continues: false,
        timeouts: Timeouts::default(),
    };
    let provider = openai(&name, settings)?;
    Ok(Some((model(name, provider, OnLoss::Continue, ATTEMPTS), why.into())))
}

fn openai(name: &str, settings: OpenAiSettings) -> Result<Arc<dyn Provider>, ModelsError> {
    let provider = OpenAi::new(settings).map_err(|e| ModelsError::Settings(name.to_owned(), e))?;
    Ok(Arc::new(provider))
}

fn model(name: String, provider: Arc<dyn Provider>, on_loss: OnLoss, max_attempts: u32) -> Model {
    Model { name, provider, on_loss, max_attempts }
}
