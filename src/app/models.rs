//! Which models there are, and why.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{
    Config, ContinuationWord, Given, ModelConfig, OpenedWord, ProviderEnvironment, ProviderKind,
    ThinkTagsWord, WireWord, variable,
};
use crate::domain::nearest;
use crate::domain::source::is_grammar;
use crate::engine::{DisconnectPolicy, Model, Models, OnLoss, Recovery};
use crate::ports::{Continuation, Provider};
use crate::providers::chat::OpenAi;
use crate::providers::demo::Demo;
use crate::providers::messages::Anthropic;
use crate::providers::responses::Responses;
use crate::providers::upstream::adjust::{Adjust, ThinkTags};
use crate::providers::upstream::endpoint::{Settings, SettingsError};
use crate::providers::upstream::guard::Timeouts;

/// The name of the built-in model.
const DEMO: &str = "demo";
/// OpenAI's own address, for a key without one.
const OPENAI: &str = "https://api.openai.com/v1";
/// The model that a key in the environment offers unless `OPENAI_MODEL` names one.
const OPENAI_MODEL: &str = "gpt-4o-mini";
/// Anthropic's own address.
const ANTHROPIC: &str = "https://api.anthropic.com";
/// The model that a key in the environment offers unless `ANTHROPIC_MODEL` names one.
const ANTHROPIC_MODEL: &str = "claude-sonnet-4-5";
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
    /// A timeout is not one.
    #[error("model `{0}`: {1} must be between 0.001 and 86400 seconds")]
    Timeout(String, &'static str),
    /// A wait is none.
    #[error("model `{0}`: {1} must be between 0 and 86400 seconds")]
    Wait(String, &'static str),
    /// An upstream is asked to go on in a way that it cannot.
    #[error("model `{0}`: {1}")]
    Continuation(String, &'static str),
    /// Only `openai` has two wires.
    #[error("model `{0}`: wire is for provider = \"openai\" only")]
    Wire(String),
    /// The Messages API takes thinking that is complete and signed, or none.
    #[error(
        "model `{0}`: continues_thoughts is not for provider = \"anthropic\": its API takes no \
         thinking that broke off"
    )]
    Thoughts(String),
    /// A fallback that is none of the models.
    #[error("model `{0}`: its fallback `{1}` is none of the models.{2}")]
    NoFallback(String, String, String),
    /// Fallbacks in a circle.
    #[error("the fallbacks of model `{0}` lead back to it")]
    FallbackCycle(String),
    /// Two models have one name.
    #[error("two models are named `{0}`")]
    Twice(String),
    /// The default is none of them.
    #[error("default_model `{0}` is none of the models.{1}")]
    NoDefault(String, String),
}

/// A model, and why it is there.
pub(super) type Reasoned = (Model, String);

/// The models, and a line for each that says why it is there; the default's comes first.
/// `detected` are those of servers on this machine.
pub(super) fn models(
    config: &Config,
    detected: Vec<Reasoned>,
) -> Result<(Models, Vec<String>), ModelsError> {
    let mut all: Vec<Reasoned> = Vec::new();
    for one in &config.models {
        if all.iter().any(|(m, _)| m.name == one.name) {
            return Err(ModelsError::Twice(one.name.clone()));
        }
        all.push((configured(one)?, "configured".into()));
    }
    let demo = model(DEMO, Arc::new(Demo), OnLoss::Continue, ATTEMPTS);
    let demo = Model { pictures: Some(false), ..demo };
    let demo = (demo, "built in, no AI".to_owned());
    let offered = offered(config)?;
    check_fallbacks(config, &offered)?;
    // Models found on this machine come before those of the environment: the first may be the
    // default, and costs nothing.
    for more in detected.iter().cloned().chain(offered).chain([demo]) {
        if !all.iter().any(|(m, _)| m.name == more.0.name) {
            all.push(more);
        }
    }
    let default = default(config, &all, &detected);
    if !all.iter().any(|(m, _)| m.name == default) {
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
/// names, else one that was found here. A key alone is offered but not chosen: nobody shall pay
/// by surprise.
fn default(config: &Config, all: &[Reasoned], detected: &[Reasoned]) -> String {
    let first = config.models.first().map(|m| m.name.clone());
    let named = config.openai.base_url.as_ref().and_then(|_| all.first());
    let named = named.or(detected.first()).map(|(m, _)| m.name.clone());
    config.default_model.clone().or(first).or(named).unwrap_or_else(|| DEMO.into())
}

fn check_fallbacks(config: &Config, offered: &[Reasoned]) -> Result<(), ModelsError> {
    let configured = config.models.iter().map(|m| m.name.as_str());
    let offered = offered.iter().map(|(m, _)| m.name.as_str());
    let names: Vec<&str> = configured.chain(offered).chain([DEMO]).collect();
    let next = |name: &str| {
        config.models.iter().find(|m| m.name == name).and_then(|m| m.fallback.as_deref())
    };
    for one in &config.models {
        let mut at = one.name.as_str();
        for _ in &names {
            let Some(fallback) = next(at) else { break };
            if !names.contains(&fallback) {
                let hint = nearest::hint(fallback, &names);
                return Err(ModelsError::NoFallback(at.into(), fallback.into(), hint));
            }
            if fallback == one.name {
                return Err(ModelsError::FallbackCycle(one.name.clone()));
            }
            at = fallback;
        }
    }
    Ok(())
}

/// The ways in which each wire can go on from a text, and the words for the others.
fn check_wire(config: &ModelConfig) -> Result<(), ModelsError> {
    let refuse = |why| Err(ModelsError::Continuation(config.name.clone(), why));
    match (config.wire, config.continuation) {
        (Some(_), _) if config.provider != ProviderKind::Openai => {
            Err(ModelsError::Wire(config.name.clone()))
        }
        (_, Some(ContinuationWord::ProviderResume)) if config.provider != ProviderKind::Openai => {
            refuse(
                "continuation = \"provider_resume\" needs provider = \"openai\"; \
                 say prefix, instruct or none",
            )
        }
        (_, _) if config.continues_thoughts && config.provider == ProviderKind::Anthropic => {
            Err(ModelsError::Thoughts(config.name.clone()))
        }
        (_, _) => Ok(()),
    }
}

fn configured(config: &ModelConfig) -> Result<Model, ModelsError> {
    let name = config.name.as_str();
    check_wire(config)?;
    let provider: Arc<dyn Provider> = match config.provider {
        ProviderKind::Demo => Arc::new(Demo),
        ProviderKind::Openai => {
            let base_url = config.base_url.clone();
            let base_url = base_url.ok_or_else(|| ModelsError::NoBaseUrl(name.into()))?;
            let settings = settings(config, base_url, Continuation::None)?;
            match config.wire {
                None | Some(WireWord::Chat) => openai(name, settings)?,
                Some(WireWord::Responses) => responses(name, settings)?,
            }
        }
        ProviderKind::Anthropic => {
            let base_url = config.base_url.clone().unwrap_or_else(|| ANTHROPIC.into());
            anthropic(name, settings(config, base_url, Continuation::Instruct)?)?
        }
    };
    let fallback = config.fallback.clone();
    let model = model(name, provider, config.on_loss.into(), config.max_attempts.max(1));
    let recovery = recovery(config)?;
    let grace_s = config.disconnect_grace_s;
    if grace_s.is_some_and(|seconds| seconds > 86_400) {
        return Err(ModelsError::Wait(name.into(), "disconnect_grace_s"));
    }
    let disconnect = DisconnectPolicy { grace_s, attach_after_close: config.attach_after_close };
    let context_tokens = config.context_tokens;
    let pictures = config.pictures.or((config.provider == ProviderKind::Demo).then_some(false));
    Ok(Model { fallback, context_tokens, pictures, recovery, disconnect, ..model })
}

/// How an answer of the model outlives its server.
fn recovery(config: &ModelConfig) -> Result<Recovery, ModelsError> {
    let seconds = |key: &'static str, value: Option<f64>, or: Duration| match value {
        None => Ok(or),
        Some(s) if (0.0..=86_400.0).contains(&s) => Ok(Duration::from_secs_f64(s)),
        Some(_) => Err(ModelsError::Wait(config.name.clone(), key)),
    };
    let mut recovery = Recovery::default();
    let (reconnect, after) = (recovery.reconnect, recovery.fallback_after);
    recovery.reconnect = seconds("reconnect_for_s", config.reconnect_for_s, reconnect)?;
    recovery.fallback_after = seconds("fallback_after_s", config.fallback_after_s, after)?;
    recovery.structured = config.set.keys().any(|field| is_grammar(field));
    recovery.continues_structured = config.continues_structured;
    recovery.continues_thoughts = config.continues_thoughts;
    Ok(recovery)
}

fn settings(
    config: &ModelConfig,
    base_url: String,
    usual: Continuation,
) -> Result<Settings, ModelsError> {
    let name = &config.name;
    let key = |variable_name: &String| {
        variable(variable_name)
            .ok_or_else(|| ModelsError::NoKey(name.clone(), variable_name.clone()))
    };
    let continuation = match config.continuation {
        None => usual,
        Some(ContinuationWord::None) => Continuation::None,
        Some(ContinuationWord::Instruct) => Continuation::Instruct,
        Some(ContinuationWord::Prefix) => Continuation::Prefix,
        Some(ContinuationWord::ProviderResume) => Continuation::ProviderResume,
    };
    Ok(Settings {
        base_url,
        api_key: config.api_key_env.as_ref().map(key).transpose()?,
        upstream_model: config.upstream_model.clone().unwrap_or_else(|| name.clone()),
        continuation,
        timeouts: timeouts(config)?,
        adjust: adjust(config)?,
    })
}

/// The file's changes to the requests of a model.
fn adjust(config: &ModelConfig) -> Result<Adjust, ModelsError> {
    let given = |all: &BTreeMap<String, Given>| -> Result<Vec<(String, String)>, ModelsError> {
        let value = |(name, given): (&String, &Given)| match given {
            Given::Literal(value) => Ok((name.clone(), value.clone())),
            Given::Env { env } => {
                let value = variable(env);
                let missing = || ModelsError::NoKey(config.name.clone(), env.clone());
                Ok((name.clone(), value.ok_or_else(missing)?))
            }
        };
        all.iter().map(value).collect()
    };
    let think_tags = config.think_tags.map(|word| match word {
        ThinkTagsWord::Is(false) => ThinkTags::Off,
        ThinkTagsWord::Is(true) => ThinkTags::On,
        ThinkTagsWord::Opened(OpenedWord::Opened) => ThinkTags::Opened,
    });
    Ok(Adjust {
        set: config.set.clone().into_iter().collect(),
        pass: config.pass.clone(),
        drop: config.drop.clone(),
        headers: given(&config.headers)?,
        query: given(&config.query)?,
        max_output_tokens: config.max_output_tokens,
        proxy: config.proxy,
        system_role: config.system_role.clone(),
        join_system: config.join_system,
        think_tags,
        max_event_bytes: config.max_event_bytes,
    })
}

fn timeouts(config: &ModelConfig) -> Result<Timeouts, ModelsError> {
    let seconds = |key: &'static str, value: Option<f64>, or: Duration| match value {
        None => Ok(or),
        Some(s) if (0.001..=86_400.0).contains(&s) => Ok(Duration::from_secs_f64(s)),
        Some(_) => Err(ModelsError::Timeout(config.name.clone(), key)),
    };
    let usual = Timeouts::default();
    let first_byte =
        seconds("first_byte_timeout_s", config.first_byte_timeout_s, usual.first_byte)?;
    Ok(Timeouts {
        connect: seconds("connect_timeout_s", config.connect_timeout_s, usual.connect)?,
        first_byte,
        first_event: seconds(
            "first_event_timeout_s",
            config.first_event_timeout_s,
            usual.first_event.max(first_byte),
        )?,
        idle_bytes: seconds("idle_bytes_timeout_s", config.idle_bytes_timeout_s, usual.idle_bytes)?,
        idle_events: seconds(
            "idle_events_timeout_s",
            config.idle_events_timeout_s,
            usual.idle_events,
        )?,
    })
}

/// The models of the environment.
fn offered(config: &Config) -> Result<Vec<Reasoned>, ModelsError> {
    let mut all = Vec::new();
    let openai_settings = from_environment(&config.openai, OPENAI, OPENAI_MODEL);
    if let Some((why, settings)) = openai_settings {
        let name = settings.upstream_model.clone();
        let provider = openai(&name, settings)?;
        let why = format!("because OPENAI_{why}");
        all.push((model(&name, provider, OnLoss::Continue, ATTEMPTS), why));
    }
    // Without a key nobody answers there, whatever the address.
    let environment = Some(&config.anthropic).filter(|e| e.api_key.is_some());
    let environment = environment.map(|e| from_environment(e, ANTHROPIC, ANTHROPIC_MODEL));
    if let Some((_, settings)) = environment.flatten() {
        let name = settings.upstream_model.clone();
        let settings = Settings { continuation: Continuation::Instruct, ..settings };
        let provider = anthropic(&name, settings)?;
        let why = "because ANTHROPIC_API_KEY is set; ask for it by name".to_owned();
        all.push((model(&name, provider, OnLoss::Continue, ATTEMPTS), why));
    }
    Ok(all)
}

fn from_environment(
    environment: &ProviderEnvironment,
    base_url: &str,
    model: &str,
) -> Option<(&'static str, Settings)> {
    let why = match (&environment.base_url, &environment.api_key) {
        (Some(_), _) => "BASE_URL is set",
        (None, Some(_)) => "API_KEY is set; ask for it by name",
        (None, None) => return None,
    };
    let settings = Settings {
        base_url: environment.base_url.clone().unwrap_or_else(|| base_url.into()),
        api_key: environment.api_key.clone(),
        upstream_model: environment.model.clone().unwrap_or_else(|| model.into()),
        continuation: Continuation::None,
        timeouts: Timeouts::default(),
        adjust: Adjust::default(),
    };
    Some((why, settings))
}

pub(super) fn openai(name: &str, settings: Settings) -> Result<Arc<dyn Provider>, ModelsError> {
    let provider = OpenAi::new(settings).map_err(|e| ModelsError::Settings(name.to_owned(), e))?;
    Ok(Arc::new(provider))
}

fn responses(name: &str, settings: Settings) -> Result<Arc<dyn Provider>, ModelsError> {
    let provider =
        Responses::new(settings).map_err(|e| ModelsError::Settings(name.to_owned(), e))?;
    Ok(Arc::new(provider))
}

fn anthropic(name: &str, settings: Settings) -> Result<Arc<dyn Provider>, ModelsError> {
    let provider =
        Anthropic::new(settings).map_err(|e| ModelsError::Settings(name.to_owned(), e))?;
    Ok(Arc::new(provider))
}

pub(super) fn model(
    name: &str,
    provider: Arc<dyn Provider>,
    on_loss: OnLoss,
    max_attempts: u32,
) -> Model {
    Model {
        name: name.to_owned(),
        provider,
        on_loss,
        max_attempts,
        fallback: None,
        context_tokens: None,
        pictures: None,
        recovery: Recovery::default(),
        disconnect: DisconnectPolicy::default(),
    }
}
