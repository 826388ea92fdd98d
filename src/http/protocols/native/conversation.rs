//! `/v1/conversations/{id}`: look at one, change it, erase it; its messages.
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::conversations::{check_system, check_title, most_bytes};
use super::generations::limit;
use super::prompt::{check_metadata, given};
use crate::domain::conversation::Change;
use crate::domain::json::JsonObject;
use crate::engine::{ConverseError, MessagePage, Which};
use crate::http::problem::Problem;
use crate::http::{EngineData, body, conversation_at, proper_id};

/// The conversation as it stands.
pub(super) async fn get(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(engine.conversation(&conversation_at(&request)?).await?))
}

/// `PATCH /v1/conversations/{id}`, or `POST` as OpenAI has it: `null` takes away, what is absent
/// stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    #[serde(default, deserialize_with = "given")]
    title: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    system: Option<Option<String>>,
    metadata: Option<JsonObject>,
    #[serde(default, deserialize_with = "given")]
    active_leaf: Option<Option<String>>,
}

/// Changes it; the answer is the conversation as it is then.
pub(super) async fn change(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let at = conversation_at(&request)?;
    let body: ChangeBody = body::json(&request, payload, most_bytes(&engine)).await?;
    body.title.iter().flatten().try_for_each(|title| check_title(title))?;
    body.system.iter().flatten().try_for_each(|system| check_system(&engine, system))?;
    body.metadata.iter().try_for_each(check_metadata)?;
    let leaf = |id: String| proper_id(&id).ok_or(ConverseError::NoMessage);
    let active_leaf = body.active_leaf.map(|id| id.map(leaf).transpose());
    let no_leaf = |e: ConverseError| match e {
        ConverseError::NoMessage => Problem::from(e).with("field", "active_leaf"),
        ConverseError::NotFound
        | ConverseError::Running(_)
        | ConverseError::NoCursor
        | ConverseError::NothingSaid
        | ConverseError::NoRandomness(_)
        | ConverseError::Log(_) => e.into(),
    };
    // The owner of the conversation is checked before its leaf.
    let active_leaf = match active_leaf.transpose() {
        Ok(leaf) => leaf,
        Err(error) => {
            engine.conversation(&at).await?;
            return Err(no_leaf(error));
        }
    };
    let change =
        Change { title: body.title, system: body.system, metadata: body.metadata, active_leaf };
    let conversation = engine.change_conversation(&at, &change).await.map_err(no_leaf)?;
    Ok(HttpResponse::Ok().json(conversation))
}

/// Erases it with its messages, generations and links.
pub(super) async fn delete(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = conversation_at(&request)?;
    engine.erase_conversation(&at).await?;
    Ok(HttpResponse::Ok()
        .json(json!({ "id": at.id, "object": "conversation.deleted", "deleted": true })))
}

/// The most messages of one answer, and the default. Hardly any conversation comes in pieces, and
/// no answer is without bounds.
pub(crate) const MESSAGES: u32 = 1000;

#[derive(Debug, Deserialize)]
struct Query {
    leaf: Option<String>,
    all: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// The messages of the active branch, of another one, or all.
pub(super) async fn messages(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = conversation_at(&request)?;
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?
        .into_inner();
    let all = super::events::flag("all", query.all.as_deref())?;
    let which = match query.leaf {
        Some(_) if all => {
            let detail = "give either `leaf` or `all`";
            return Err(Problem::bad_request("invalid_query", detail));
        }
        Some(id) => match proper_id(&id) {
            Some(leaf) => Which::Branch(leaf),
            None => {
                engine.conversation(&at).await?;
                return Err(Problem::from(ConverseError::NoMessage).with("field", "leaf"));
            }
        },
        None if all => Which::Tree,
        None => Which::Active,
    };
    let limit = query.limit.as_deref().map_or(Ok(MESSAGES), |text| limit(text, MESSAGES))?;
    let cursor =
        match query.cursor.as_deref().map(|id| proper_id(id).ok_or(ConverseError::NoCursor)) {
            None => None,
            Some(Ok(cursor)) => Some(cursor),
            Some(Err(error)) => {
                engine.conversation(&at).await?;
                return Err(error.into());
            }
        };
    let page = MessagePage { cursor, limit };
    Ok(HttpResponse::Ok().json(engine.messages(&at, which, page).await?))
}
