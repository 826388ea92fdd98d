//! The common part of all routes: the caller of a request, and the object that its path names.
use std::str::FromStr;

use actix_web::{HttpRequest, web};

use super::auth;
use super::problem::Problem;
use super::protocols::openai::ids;
use crate::domain::id::{ConversationId, Tenant};
use crate::engine::{Caller, Engine};
use crate::ports::{Address, ConversationAt};

/// The engine that the app put there.
pub(super) type EngineData = web::Data<Engine>;

/// The tenant of the request, by [`guard`].
pub(super) fn tenant(request: &HttpRequest) -> Tenant {
    auth::tenant(request)
}

/// The caller. Every route but the public ones has a caller.
pub(super) fn caller(request: &HttpRequest) -> Result<Caller, Problem> {
    auth::caller(request).ok_or_else(Problem::internal)
}

/// Slow work runs only while the caller may be here. After its key is revoked it gets no answer, as
/// it gets no further event.
pub(super) async fn while_allowed<T>(
    request: &HttpRequest,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let caller = caller(request)?;
    tokio::select! {
        biased;
        () = caller.over() => Err(Problem::ended(&caller)),
        done = work => done,
    }
}

/// The generation in the path. An improper id names nothing.
pub(super) fn address(request: &HttpRequest) -> Result<Address, Problem> {
    let id = request.match_info().get("id").and_then(proper_id);
    let id = id.ok_or_else(Problem::no_such_generation)?;
    Ok(Address { tenant: tenant(request), id })
}

/// The conversation in the path.
pub(super) fn conversation_at(request: &HttpRequest) -> Result<ConversationAt, Problem> {
    let id = request.match_info().get("id").and_then(conversation_id);
    let id = id.ok_or_else(Problem::no_such_conversation)?;
    Ok(ConversationAt { tenant: tenant(request), id })
}

/// The id of a conversation: ours, or the same as OpenAI writes them (`conv_…`).
pub(super) fn conversation_id(text: &str) -> Option<ConversationId> {
    match text.strip_prefix("conv_") {
        Some(_) => ids::parse("conv_", text).map(|id| ConversationId(id.0)),
        None => proper_id(text),
    }
}

/// An id in the one spelling in which we give them out.
pub(super) fn proper_id<T: FromStr>(text: &str) -> Option<T> {
    // With hyphens.
    const LENGTH: usize = 36;
    Some(text).filter(|id| id.len() == LENGTH)?.parse().ok()
}
