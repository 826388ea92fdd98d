//! Generations: each asks the upstream, and writes its log.
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::log::Log;
use super::{Fault, Shared, Stream};
use crate::sse::Framer;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A new stream, and its generation.
pub(super) fn start(shared: &Arc<Shared>, prompt: &str) -> io::Result<Arc<Log>> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:x}-{n}", since.as_micros());
    let file = (!shared.has(Fault::LostAfterKill)).then_some(shared.options.data.as_path());
    let log = Arc::new(Log::new(id, prompt.to_owned(), file)?);
    run(shared, &log);
    Ok(log)
}

/// A stream of an earlier process: a running one begins again, and tells its readers.
pub(super) fn take_up(shared: &Arc<Shared>, log: Log) {
    let log = Arc::new(log);
    if log.status().is_some() {
        let stream = Stream { log: log.clone(), running: None };
        shared.streams().insert(log.id.clone(), stream);
        return;
    }
    if shared.has(Fault::KilledAsSuccess) {
        log.end("completed", None);
        let stream = Stream { log: log.clone(), running: None };
        shared.streams().insert(log.id.clone(), stream);
        return;
    }
    log.append("void", json!({}));
    run(shared, &log);
}

fn spawn(
    shared: &Arc<Shared>,
    work: impl Future<Output = ()> + Send + 'static,
) -> tokio::task::AbortHandle {
    let mut tasks = shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
    while tasks.try_join_next().is_some() {}
    tasks.spawn(work)
}

fn run(shared: &Arc<Shared>, log: &Arc<Log>) {
    // The task holds parts of `shared` only: with the last connection, a kill ends it.
    let (http, log) = (shared.http.clone(), log.clone());
    let upstream = shared.options.upstream.clone();
    let truncation = shared.has(Fault::TruncationAsSuccess);
    let loses = shared.has(Fault::LosesToken);
    let silent = shared.has(Fault::SometimesUsage) && !shared.streams().len().is_multiple_of(3);
    let wrong = shared.has(Fault::WrongUsage);
    let of_task = log.clone();
    let running = spawn(shared, async move {
        let answer = ask(&http, &upstream, &of_task.prompt, (&of_task, loses)).await;
        let (status, mut usage) = match answer {
            Ok((true, usage)) => ("completed", usage),
            Ok((false, _)) | Err(_) if truncation => ("completed", None),
            Ok((false, _)) | Err(_) => ("failed", None),
        };
        if let Some(usage) = usage.as_mut().filter(|_| wrong) {
            usage["completion_tokens"] = 1.into();
        }
        of_task.end(status, usage.filter(|_| !silent));
    });
    let stream = Stream { log: log.clone(), running: Some(running) };
    shared.streams().insert(log.id.clone(), stream);
}

/// The fault of a repeated start: a generation that nobody reads. Done when the model was asked.
pub(super) async fn ask_again(shared: &Arc<Shared>, prompt: &str) {
    let asked = request(&shared.http, &shared.options.upstream, prompt).send().await;
    spawn(shared, async move {
        if let Ok(answer) = asked {
            let _ = answer.bytes().await;
        }
    });
}

fn request(http: &reqwest::Client, upstream: &str, prompt: &str) -> reqwest::RequestBuilder {
    let body = json!({
        "model": "streamproof",
        "messages": [{ "role": "user", "content": prompt }],
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    http.post(format!("{upstream}/chat/completions")).json(&body)
}

/// Asks for an answer, for a log that may lose a token. True: it came with a finish reason.
async fn ask(
    http: &reqwest::Client,
    upstream: &str,
    prompt: &str,
    (log, loses): (&Log, bool),
) -> Result<(bool, Option<Value>), reqwest::Error> {
    let answer = request(http, upstream, prompt).send().await?;
    let mut bytes = answer.error_for_status()?.bytes_stream();
    let (mut framer, mut finished, mut usage) = (Framer::default(), false, None);
    while let Some(piece) = bytes.next().await {
        for frame in framer.feed(&piece?) {
            let chunk: Value = serde_json::from_str(&frame.data).unwrap_or_default();
            let choice = &chunk["choices"][0];
            let text = choice["delta"]["content"].as_str().unwrap_or_default();
            let lost = text.starts_with("5:");
            if !(text.is_empty() || loses && lost) {
                log.append("delta", json!({ "text": text }));
            }
            finished |= choice["finish_reason"] == "stop";
            usage = chunk.get("usage").filter(|usage| usage.is_object()).cloned().or(usage);
        }
    }
    Ok((finished, usage))
}
