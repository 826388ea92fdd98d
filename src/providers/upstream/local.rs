//! Model servers on this machine: looked for on the loopback only, with no key, through no proxy
//! and behind no redirect.
mod sight;
mod windows;

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::timeout;

use crate::ports::Continuation;

/// How long a look may take in all: it stands before the server's start.
const WITHIN: Duration = Duration::from_millis(300);
/// How long what a server that was found tells elsewhere may take.
const MORE_WITHIN: Duration = Duration::from_millis(200);
/// The longest list of models that is read, in bytes.
const MAX_LIST: usize = 1 << 20;
/// Both names of the loopback: some servers listen on one of them only.
const HOSTS: [&str; 2] = ["127.0.0.1", "[::1]"];

/// A server that may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// For people, such as `Ollama`.
    pub name: &'static str,
    /// Its port on the loopback.
    pub port: u16,
    /// Where it lists its models …
    pub list: &'static str,
    /// … under this name, an array …
    pub array: &'static str,
    /// … of objects with this one.
    pub field: &'static str,
}

impl Candidate {
    /// Whether servers of other kinds have this list, too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.list == "/v1/models"
    }
}

/// A model that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name there.
    pub name: String,
    /// The server's own name for itself: the port says nothing.
    pub server: Option<&'static str>,
    /// How it goes on from a text.
    pub continuation: Continuation,
    /// Tokens of its window.
    pub context_tokens: Option<NonZeroU32>,
    /// Whether it sees pictures; `None` where the server does not say.
    pub pictures: Option<bool>,
    /// Whether its grammars run over a text that is sent, and thoughts that broke off are gone on
    /// with.
    pub continues_all: bool,
}

/// The result of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// A model server.
    Found {
        /// For an OpenAI-compatible provider, with `/v1`.
        base_url: String,
        /// Its models, those for embeddings left out.
        models: Vec<Found>,
    },
    /// Nobody, or somebody else.
    Absent,
    /// Somebody who did not answer in time.
    Silent,
}

/// Looks for all `candidates` at once; the answers are in their order.
pub async fn look(candidates: &[Candidate]) -> Vec<Look> {
    if candidates.is_empty() {
        return Vec::new();
    }
    let Ok(http) = client() else { return vec![Look::Absent; candidates.len()] };
    join_all(candidates.iter().map(|candidate| look_for(&http, candidate))).await
}

/// Without certificates: nothing here is behind TLS, and reading them takes its time.
fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(WITHIN)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_only([])
        .build()
}

async fn look_for(http: &reqwest::Client, candidate: &Candidate) -> Look {
    let looks = HOSTS.map(|host| async move {
        let address = format!("http://{host}:{}", candidate.port);
        match timeout(WITHIN, list(http, &address, candidate)).await {
            Ok(Some(mut models)) => {
                add(http, &address, candidate, &mut models).await;
                Look::Found { base_url: format!("{address}/v1"), models }
            }
            Ok(None) => Look::Absent,
            Err(_) => Look::Silent,
        }
    });
    let mut best = Look::Absent;
    for look in join_all(looks).await {
        match (&best, &look) {
            (Look::Found { .. }, _) | (Look::Silent, Look::Absent) => {}
            (Look::Absent | Look::Silent, _) => best = look,
        }
    }
    best
}

/// Its models, if it is what it is taken for: any server may sit on such a port.
async fn list(http: &reqwest::Client, address: &str, candidate: &Candidate) -> Option<Vec<Found>> {
    let listed = body(http.get(format!("{address}{}", candidate.list))).await?;
    models(&listed, candidate)
}

/// Adds what a server tells elsewhere, as far as it does in time.
async fn add(http: &reqwest::Client, address: &str, candidate: &Candidate, all: &mut [Found]) {
    let _as_far_as_it_came = timeout(MORE_WITHIN, async {
        if !candidate.is_shared() {
            windows::fill(http, address, all).await;
        }
        sight::fill(http, address, all).await;
        if all.iter().any(|model| model.continues_all) && has_streams(http, address).await {
            for model in all.iter_mut().filter(|model| model.continues_all) {
                model.continuation = Continuation::ProviderResume;
            }
        }
    })
    .await;
}

/// The JSON of an answer, if it is one of bounded size.
async fn body(request: reqwest::RequestBuilder) -> Option<Value> {
    let response = request.send().await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    let mut stream = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(bytes) = stream.next().await {
        body.extend_from_slice(&bytes.ok()?);
        if body.len() > MAX_LIST {
            return None;
        }
    }
    serde_json::from_slice(&body).ok()
}

/// Whether it keeps answers: llama.cpp from 2026 on lists those of the names that it is given.
async fn has_streams(http: &reqwest::Client, address: &str) -> bool {
    let asked = http.post(format!("{address}/v1/streams/lookup"));
    let asked = asked.json(&serde_json::json!({ "conversation_ids": [] }));
    body(asked).await.is_some_and(|listed| listed.is_array())
}

fn models(body: &Value, candidate: &Candidate) -> Option<Vec<Found>> {
    let mut names = Vec::new();
    for item in body.get(candidate.array)?.as_array()? {
        // Another lastword is no model server, and could find us in its turn.
        if item.get("continuation").is_some() {
            return None;
        }
        let name = item.get(candidate.field)?.as_str()?;
        if !name.is_empty() && !name.to_ascii_lowercase().contains("embed") {
            names.push(found(name, item));
        }
    }
    Some(names)
}

/// The facts about a model in an item of the list. vLLM and llama.cpp name themselves, and go on
/// behind the last token; other servers with the same list refuse to.
fn found(name: &str, item: &Value) -> Found {
    let server = match item.get("owned_by").and_then(Value::as_str) {
        Some("vllm") => Some("vLLM"),
        Some("llamacpp") => Some("llama.cpp"),
        Some(_) | None => None,
    };
    let continuation = server.map_or(Continuation::None, |_| Continuation::Prefix);
    let window = ["/max_model_len", "/meta/n_ctx"];
    let window = window.iter().find_map(|path| item.pointer(path)?.as_u64());
    let context_tokens = window.and_then(|n| NonZeroU32::new(u32::try_from(n).ok()?));
    let continues_all = server == Some("llama.cpp");
    let pictures = None;
    Found { name: name.to_owned(), server, continuation, context_tokens, pictures, continues_all }
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::local::*;
    use serde_json::json;

    #[test]
    fn a_server_is_what_it_says_it_is() {
        let vllm =
            json!({ "id": "m", "object": "model", "owned_by": "vllm", "max_model_len": 4096 });
        let llama = json!({ "id": "m", "owned_by": "llamacpp", "meta": { "n_ctx": 2048 } });
        let transformers = json!({ "id": "m", "owned_by": "local" });
        let of = |item: &Value| {
            let found = found("m", item);
            (found.server, found.continuation, found.context_tokens.map(u32::from))
        };
        assert_eq!(of(&vllm), (Some("vLLM"), Continuation::Prefix, Some(4096)));
        assert_eq!(of(&llama), (Some("llama.cpp"), Continuation::Prefix, Some(2048)));
        assert_eq!(of(&transformers), (None, Continuation::None, None));
    }

    #[test]
    fn only_a_list_of_models_is_one() {
        let ollama = Candidate {
            name: "Ollama",
            port: 0,
            list: "/api/tags",
            array: "models",
            field: "name",
        };
        let found = |body: Value| {
            let models = models(&body, &ollama)?;
            Some(models.into_iter().map(|model| model.name).collect::<Vec<_>>())
        };
        let two = json!({ "models": [{ "name": "llama3.2" }, { "name": "nomic-embed-text" }] });
        assert_eq!(found(two), Some(vec!["llama3.2".to_owned()]));
        assert_eq!(found(json!({ "models": [] })), Some(vec![]));
        for other in [
            json!({}),
            json!([]),
            json!({ "models": {} }),
            json!({ "models": ["a"] }),
            json!({ "models": [{ "name": "demo", "continuation": "prefix" }] }),
        ] {
            assert_eq!(found(other.clone()), None, "{other}");
        }
    }
}
