//! The OpenAI provider's reading of every behaviour of an upstream, over real sockets.
use std::time::Duration;

use futures_util::StreamExt;
use lastword::domain::event::{ErrorCode, FinishReason, Usage};
use lastword::domain::prompt::{Message, Parameters, Prompt, Role};
use lastword::ports::{Attempt, Continuation, Delta, Deltas, Provider, ProviderError};
use lastword::providers::chat::OpenAi;
use lastword::providers::upstream::adjust::Adjust;
use lastword::providers::upstream::endpoint::Settings;
use lastword::providers::upstream::guard::Timeouts;
use serde_json::json;

use crate::upstream::{Answer, Gate, Model, Script, Upstream};

mod endings;
mod fidelity;
mod flow;
mod lenient;
mod messages;
mod refusals;
mod responses;
mod tools;

const KEY: &str = "sk-very-secret-0123";

fn settings(upstream: &Upstream) -> Settings {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    Settings {
        base_url: upstream.base_url(),
        api_key: Some(KEY.into()),
        upstream_model: "llama".into(),
        continuation: Continuation::Prefix,
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(2),
            first_event: Duration::from_secs(4),
            idle_bytes: Duration::from_millis(1500),
            idle_events: Duration::from_secs(3),
        },
        adjust: Adjust::default(),
    }
}

/// For tests in which no time-out is meant to happen.
fn patient(upstream: &Upstream) -> OpenAi {
    OpenAi::new(Settings { timeouts: Timeouts::default(), ..settings(upstream) }).unwrap()
}

fn attempt(prompt: &str, so_far: &str) -> Attempt {
    let messages = vec![Message::text(Role::User, prompt)];
    let prompt = Prompt::parse(messages, Parameters::default(), 1 << 20).unwrap();
    Attempt { so_far: so_far.into(), ..Attempt::fresh(prompt) }
}

/// All deltas, and the loss, if there was one.
async fn drain(deltas: Result<Deltas, ProviderError>) -> (Vec<Delta>, Option<ProviderError>) {
    let mut stream = match deltas {
        Ok(stream) => stream,
        Err(loss) => return (vec![], Some(loss)),
    };
    let mut seen = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(delta) => seen.push(delta),
            Err(loss) => {
                assert!(stream.next().await.is_none(), "nothing follows a loss");
                return (seen, Some(loss));
            }
        }
    }
    (seen, None)
}

async fn ask(upstream: &Upstream) -> (Vec<Delta>, Option<ProviderError>) {
    let provider = OpenAi::new(settings(upstream)).unwrap();
    drain(provider.start(attempt("the secret prompt", "")).await).await
}

fn text_of(deltas: &[Delta]) -> String {
    let texts = deltas.iter().filter_map(|d| if let Delta::Text(t) = d { Some(t) } else { None });
    texts.map(String::as_str).collect()
}

fn stop() -> Delta {
    Delta::Finish { reason: FinishReason::Stop, raw: None }
}

fn usage() -> Delta {
    let (input_tokens, output_tokens) = (1, 2);
    Delta::Usage(Usage { input_tokens, output_tokens, exact: true, ..Usage::default() })
}

/// The shortest answer that is whole.
fn hello() -> Answer {
    Answer::sse().text("Hel").text("lo")
}
