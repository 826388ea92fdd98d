//! The models of servers that are found on this machine, while none is configured.
use std::convert::Infallible;

use tokio::time::sleep;

use super::models::{self, ModelsError, Reasoned, model, openai};
use crate::config::{Config, LocalKind, LocalServer};
use crate::engine::{Engine, Model, Models, OnLoss};
use crate::providers::upstream::adjust::Adjust;
use crate::providers::upstream::endpoint::Settings;
use crate::providers::upstream::guard::Timeouts;
use crate::providers::upstream::local::{Candidate, Look, look};

/// Attempts at one answer of a server that asks for no money.
const ATTEMPTS: u32 = 3;

/// The knowledge of this machine's model servers.
pub(super) struct Local {
    config: Config,
    candidates: Vec<Candidate>,
    /// The last answer of each.
    looks: Vec<Look>,
    lines: Vec<String>,
}

impl Local {
    /// Looks once, if there is reason to: who has said which model to use is not asked again.
    pub(super) async fn find(config: &Config) -> Self {
        let named = !config.models.is_empty() || config.openai.base_url.is_some();
        let candidates: Vec<Candidate> =
            config.detect.iter().filter(|_| !named).map(candidate).collect();
        let looks = look(&candidates).await;
        Self { config: config.clone(), candidates, looks, lines: Vec::new() }
    }

    /// All models, those of the configuration included, and the lines that say why.
    pub(super) fn models(&mut self) -> Result<(Models, Vec<String>), ModelsError> {
        let (models, lines) = models::models(&self.config, self.detected())?;
        self.lines.clone_from(&lines);
        Ok((models, lines))
    }

    /// The hints of a start about servers that run and have no model.
    pub(super) fn hints(&self) -> Vec<String> {
        let servers = self.candidates.iter().zip(&self.looks);
        let empty = servers
            .filter(|(_, look)| matches!(look, Look::Found { models, .. } if models.is_empty()));
        let hint = |name: &str, port: u16| {
            let how = if name == "Ollama" { "; try: ollama pull llama3.2" } else { "" };
            format!("{name} on port {port} has no chat model{how}")
        };
        empty.map(|(server, _)| hint(server.name, server.port)).collect()
    }

    /// Looks again and again, and gives the engine what has changed.
    pub(super) async fn watch(mut self, engine: &Engine) -> Infallible {
        if self.candidates.is_empty() {
            return std::future::pending().await;
        }
        loop {
            sleep(self.config.detect_every).await;
            let looks = look(&self.candidates).await;
            let mut changed = false;
            for (known, new) in self.looks.iter_mut().zip(looks) {
                // A busy server is still there.
                if new != Look::Silent {
                    changed |= *known != new;
                    *known = new;
                }
            }
            let before = std::mem::take(&mut self.lines);
            match self.models() {
                Ok((_, lines)) if lines == before && !changed => {}
                Ok((models, lines)) => {
                    tracing::info!(default = lines.first(), "the models have changed");
                    engine.set_models(models);
                }
                Err(error) => {
                    tracing::warn!(%error, "the models stay as they are");
                    self.lines = before;
                }
            }
        }
    }

    fn detected(&self) -> Vec<Reasoned> {
        let mut all = Vec::new();
        for (candidate, look) in self.candidates.iter().zip(&self.looks) {
            let Look::Found { base_url, models } = look else { continue };
            for found in models {
                let name = &found.name;
                let settings = Settings {
                    base_url: base_url.clone(),
                    api_key: None,
                    upstream_model: name.clone(),
                    continuation: found.continuation,
                    timeouts: Timeouts::default(),
                    adjust: Adjust::default(),
                };
                match openai(name, settings) {
                    Ok(provider) => {
                        // The port alone says who it may be.
                        let by_port = if found.server.is_none() && candidate.is_shared() {
                            "a server of OpenAI's API"
                        } else {
                            candidate.name
                        };
                        let server = found.server.unwrap_or(by_port);
                        let model = model(name, provider, OnLoss::Continue, ATTEMPTS);
                        let mut model = Model {
                            context_tokens: found.context_tokens,
                            pictures: found.pictures,
                            ..model
                        };
                        model.recovery.continues_structured = found.continues_all;
                        model.recovery.continues_thoughts = found.continues_all;
                        all.push((model, format!("found at {base_url}, {server}")));
                    }
                    Err(error) => tracing::warn!(%error, "a model that was found is left out"),
                }
            }
        }
        all
    }
}

fn candidate(server: &LocalServer) -> Candidate {
    let (name, list, array, field) = match server.kind {
        LocalKind::Ollama => ("Ollama", "/api/tags", "models", "name"),
        LocalKind::LmStudio => ("LM Studio", "/v1/models", "data", "id"),
        LocalKind::LlamaCpp => ("llama.cpp", "/v1/models", "data", "id"),
        LocalKind::Vllm => ("vLLM", "/v1/models", "data", "id"),
    };
    Candidate { name, port: server.port, list, array, field }
}
