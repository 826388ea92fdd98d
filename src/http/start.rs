//! A request of any protocol becomes a generation, or finds the one that an earlier try made.
#[cfg(test)]
mod fuzz;

use actix_web::HttpRequest;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use super::repeats::{self, Sent};
use super::{caller, leaving, trace};
use crate::domain::conversation::TurnAsked;
use crate::domain::generation::{Generation, Idempotency, Request};
use crate::domain::prompt::PromptError;
use crate::domain::trace::TraceParent;
use crate::engine::{Caller, Engine, Start, StartError, Started};

/// A request, and its turn where it is one of a conversation.
pub(super) type Wanted = (Request, Option<TurnAsked>);

/// Starts `request` for `caller`. A key makes a repeated start the same start.
pub(super) async fn begin(
    engine: &Engine,
    caller: Caller,
    (request, turn): Wanted,
    (key, trace): (Option<String>, Option<TraceParent>),
) -> Result<Started, StartError> {
    let idempotency = key.map(|key| idempotency(key, &request, turn.as_ref()));
    let request = Request { trace, ..request };
    engine.start(Start { caller, request, idempotency, turn, repeat: None }).await
}

/// Starts a vendor's request. Its head says the key, the trace, whether it is sent again, and what
/// becomes of it when its client leaves. `own` is the name and the text of a protocol that
/// keeps no source. Returns the row, and whether a repeat under the same key is the same start.
pub(super) async fn over_http(
    engine: &Engine,
    http: &HttpRequest,
    (asked, turn): Wanted,
    own: Option<(&'static str, &str)>,
) -> Result<(Generation, bool), NotStarted> {
    let key = idempotency_key(http)?;
    let idempotency = key.map(|key| idempotency(key, &asked, turn.as_ref()));
    let repeatable = idempotency.is_some();
    let asked = Request { trace: trace::of(http), ..leaving::bounded(engine, http, asked)? };
    let sent = match own {
        Some((protocol, body)) => Some(Sent { protocol, model: &asked.model, body }),
        None => Sent::of(asked.source.as_ref(), &asked.model),
    };
    let repeat = repeats::repeat(engine, http, sent, repeatable)?;
    let start = Start { caller: caller(http)?, request: asked, idempotency, turn, repeat };
    let Started { generation, attached, read, .. } = engine.start(start).await?;
    repeats::begin(http, read, attached);
    Ok((generation, repeatable))
}

/// Why nothing was started.
pub(super) enum NotStarted {
    /// It is more than the key may ask for; some protocols have words of their own for it.
    KeyLimits(PromptError),
    /// Every other reason.
    Other(Problem),
}

impl From<Problem> for NotStarted {
    fn from(problem: Problem) -> Self {
        Self::Other(problem)
    }
}

impl From<StartError> for NotStarted {
    fn from(error: StartError) -> Self {
        if let StartError::KeyLimits(error) = error {
            return Self::KeyLimits(error);
        }
        Self::Other(error.into())
    }
}

impl From<NotStarted> for Problem {
    fn from(not_started: NotStarted) -> Self {
        match not_started {
            NotStarted::KeyLimits(error) => error.into(),
            NotStarted::Other(problem) => problem,
        }
    }
}

/// The client's key, if it sent one.
pub(super) fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let mut keys = request.headers().get_all("idempotency-key");
    let Some(value) = keys.next() else { return Ok(None) };
    match (std::str::from_utf8(value.as_bytes()), keys.next()) {
        (Ok(key), None) => checked_key(key.to_owned()).map(Some),
        (Ok(_) | Err(_), _) => Err(invalid_key()),
    }
}

/// The key, if it is one.
pub(super) fn checked_key(key: String) -> Result<String, Problem> {
    let visible = key.bytes().all(|b| b.is_ascii_graphic());
    if visible && (1..=255).contains(&key.len()) { Ok(key) } else { Err(invalid_key()) }
}

fn invalid_key() -> Problem {
    let detail = "one Idempotency-Key of 1 to 255 visible ASCII characters";
    Problem::bad_request("invalid_idempotency_key", detail)
}

/// The client's key, and a hash of what it asks, so that a reuse for something else is noticed.
fn idempotency(key: String, asked: &Request, turn: Option<&TurnAsked>) -> Idempotency {
    let fingerprint = match turn {
        None => fingerprint(&asked.canonical()),
        Some(turn) => fingerprint(&(asked.canonical(), turn)),
    };
    Idempotency { key, fingerprint }
}

/// A hash of what is asked.
pub(super) fn fingerprint(asked: &impl Serialize) -> Vec<u8> {
    Sha256::digest(serde_json::to_vec(asked).unwrap_or_default()).to_vec()
}
