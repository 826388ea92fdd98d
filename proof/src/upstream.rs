//! A scripted model server: OpenAI chat completions, streamed or in one piece. Its text follows
//! from the directive in the prompt alone, so that every attempt at one answer says the same.
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::now_us;
use crate::http::{self, Request};

/// The properties of an answer. In a prompt: `[streamproof name=a tokens=40 gap_ms=5]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) tokens: usize,
    /// The pause before each token.
    pub(crate) gap_ms: u64,
    /// Bytes that fill up each token.
    pub(crate) size: usize,
    /// The connection is reset after so many tokens.
    pub(crate) reset_at: Option<usize>,
    /// The body ends, without a finish reason, after so many tokens.
    pub(crate) end_at: Option<usize>,
    /// Before this token it waits until [`Holds::release`] names it.
    pub(crate) hold_at: Option<usize>,
}

/// The names of the answers that need not wait any longer at their script's `hold_at`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(Arc<watch::Sender<HashSet<String>>>);

impl Holds {
    pub(crate) fn release(&self, name: &str) {
        self.0.send_modify(|names| {
            names.insert(name.to_owned());
        });
    }

    /// Resolves when the answer of this name may go on.
    pub(crate) async fn released(&self, name: &str) {
        // The sender is here: it cannot be gone.
        let _ = self.0.subscribe().wait_for(|names| names.contains(name)).await;
    }
}

impl Script {
    /// The prompt that asks for this answer.
    pub(crate) fn prompt(&self) -> String {
        let Self { name, tokens, gap_ms, size, reset_at, end_at, hold_at } = self;
        let mut text =
            format!("[streamproof name={name} tokens={tokens} gap_ms={gap_ms} size={size}");
        for (word, at) in [("reset_at", reset_at), ("end_at", end_at), ("hold_at", hold_at)] {
            if let Some(at) = at {
                let _ = write!(text, " {word}={at}");
            }
        }
        text + "]"
    }

    /// The last directive in a text.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once("[streamproof ")?;
        let mut script = Self::default();
        for (word, value) in
            rest.split(']').next()?.split(' ').filter_map(|word| word.split_once('='))
        {
            match word {
                "name" => value.clone_into(&mut script.name),
                "tokens" => script.tokens = value.parse().ok()?,
                "gap_ms" => script.gap_ms = value.parse().ok()?,
                "size" => script.size = value.parse().ok()?,
                "reset_at" => script.reset_at = value.parse().ok(),
                "end_at" => script.end_at = value.parse().ok(),
                "hold_at" => script.hold_at = value.parse().ok(),
                _ => {}
            }
        }
        Some(script)
    }

    /// The token at this place; each is different, some are more than ASCII.
    pub(crate) fn token(&self, at: usize) -> String {
        let word = ["river ", "Fluß ", "川 ", "stone\n", "🌊 ", "\"bed\" "][at % 6];
        format!("{at}:{word}{}", "~".repeat(self.size))
    }

    /// All of the answer.
    pub(crate) fn text(&self) -> String {
        (0..self.tokens).map(|at| self.token(at)).collect()
    }
}

/// The observations of the requests of one name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saw {
    pub(crate) requests: u32,
    /// Answers that are being given now.
    pub(crate) open: u32,
    /// When the client last closed before its answer was over.
    pub(crate) closed: Option<Instant>,
    /// An answer was given to its end.
    pub(crate) finished: bool,
    /// When the tokens of the first answer were sent, as [`now_us`] counts.
    pub(crate) sent_us: Vec<u64>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<HashMap<String, Saw>>,
    down: AtomicBool,
    holds: Holds,
}

/// A running scripted upstream; it stops when it is dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// Listens on the address.
    ///
    /// # Errors
    /// The address cannot be had.
    pub(crate) async fn start(listen: &str, holds: Holds) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { holds, ..Shared::default() });
        let mut tasks = JoinSet::new();
        let of_all = shared.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let shared = of_all.clone();
                connections.spawn(async move {
                    let _ = serve(socket, &shared).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, shared, _tasks: tasks })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The observations of this name so far.
    pub(crate) fn saw(&self, name: &str) -> Saw {
        self.shared.seen().get(name).cloned().unwrap_or_default()
    }

    /// While it is down, each connection is closed without an answer.
    pub(crate) fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, HashMap<String, Saw>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, name: &str, note: impl FnOnce(&mut Saw)) {
        note(self.seen().entry(name.to_owned()).or_default());
    }
}

async fn serve(mut socket: TcpStream, shared: &Shared) -> io::Result<()> {
    if shared.down.load(Ordering::SeqCst) {
        return Ok(());
    }
    let _ = socket.set_nodelay(true);
    let Some(request) = Request::read(&mut socket).await else { return Ok(()) };
    if request.path.ends_with("/models") {
        let model = json!({ "id": "streamproof", "object": "model", "owned_by": "streamproof" });
        let body = json!({ "object": "list", "data": [model] });
        return http::json(&mut socket, "200 OK", &body).await;
    }
    let Some(script) = request.body["messages"].as_array().and_then(|all| directive(all)) else {
        // A probe of another program: an answer of one word.
        let script = Script { name: "other".into(), tokens: 1, ..Script::default() };
        return answer(&mut socket, (&request, &script), &shared.holds, &mut Vec::new())
            .await
            .map(drop);
    };
    shared.note(&script.name, |saw| {
        saw.requests += 1;
        saw.open += 1;
    });
    let mut sent_us = Vec::new();
    let finished = answer(&mut socket, (&request, &script), &shared.holds, &mut sent_us).await;
    shared.note(&script.name, |saw| {
        saw.open -= 1;
        if saw.sent_us.is_empty() {
            saw.sent_us = sent_us;
        }
        match finished {
            Ok(true) => saw.finished = true,
            Ok(false) | Err(_) => saw.closed = Some(Instant::now()),
        }
    });
    Ok(())
}

fn directive(messages: &[Value]) -> Option<Script> {
    messages.iter().rev().find_map(|message| Script::of(&message["content"].to_string()))
}

fn chunk(delta: &Value, finish: Option<&str>) -> String {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
    let chunk = json!({
        "id": "chatcmpl-streamproof", "object": "chat.completion.chunk", "created": 0,
        "model": "streamproof", "choices": [choice],
    });
    format!("data: {chunk}\n\n")
}

fn usage(script: &Script) -> Value {
    json!({ "prompt_tokens": 7, "completion_tokens": script.tokens, "total_tokens": 7 + script.tokens })
}

/// Gives the answer. False: the client went away before its end.
async fn answer(
    socket: &mut TcpStream,
    (request, script): (&Request, &Script),
    holds: &Holds,
    sent_us: &mut Vec<u64>,
) -> io::Result<bool> {
    if request.body["stream"] != true {
        let message = json!({ "role": "assistant", "content": script.text() });
        let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
        let body = json!({
            "id": "chatcmpl-streamproof", "object": "chat.completion", "created": 0,
            "model": "streamproof", "choices": [choice], "usage": usage(script),
        });
        return http::json(socket, "200 OK", &body).await.map(|()| true);
    }
    http::stream(socket, "").await?;
    http::chunk(socket, &chunk(&json!({ "role": "assistant", "content": "" }), None)).await?;
    for at in 0..script.tokens {
        if script.reset_at == Some(at) {
            // Dropped without the last chunk: the body is broken.
            return Ok(true);
        }
        if script.end_at == Some(at) {
            return http::end(socket).await.map(|()| true);
        }
        if script.hold_at == Some(at) {
            tokio::select! {
                () = holds.released(&script.name) => {}
                () = http::gone(socket) => return Ok(false),
            }
        }
        if script.gap_ms > 0 {
            let pause = tokio::time::sleep(Duration::from_millis(script.gap_ms));
            tokio::select! {
                () = pause => {}
                () = http::gone(socket) => return Ok(false),
            }
        }
        sent_us.push(now_us());
        http::chunk(socket, &chunk(&json!({ "content": script.token(at) }), None)).await?;
    }
    let mut last = chunk(&json!({}), Some("stop"));
    let told = json!({
        "id": "chatcmpl-streamproof", "object": "chat.completion.chunk", "created": 0,
        "model": "streamproof", "choices": [], "usage": usage(script),
    });
    if request.body["stream_options"]["include_usage"] == true {
        let _ = write!(last, "data: {told}\n\n");
    }
    last.push_str("data: [DONE]\n\n");
    http::chunk(socket, &last).await?;
    http::end(socket).await.map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::Script;

    #[test]
    fn a_script_survives_its_way_through_a_prompt() {
        let script = Script {
            name: "s-1".into(),
            tokens: 3,
            gap_ms: 5,
            reset_at: Some(2),
            ..Script::default()
        };
        assert_eq!(Script::of(&format!("System. {}", script.prompt())), Some(script));
        assert_eq!(Script::of("Tell me about rivers"), None);
    }
}
