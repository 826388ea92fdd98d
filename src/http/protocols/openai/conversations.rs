//! OpenAI's Conversations, over the same tree: the active branch of a conversation as items.
mod items;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use serde_json::value::RawValue;

use super::fields::{Body, Fields, missing};
use crate::domain::conversation::{Message, NewMessage};
use crate::engine::Engine;
use crate::http::problem::Problem;
use crate::http::protocols::openai_responses::items::{list, page};
use crate::http::{EngineData, body, conversation_at};
pub(in crate::http) use items::{MOST, new_message};

/// Reads `items` of a body into messages, checked.
pub(in crate::http) fn messages(
    engine: &Engine,
    items: &RawValue,
) -> Result<Vec<NewMessage>, Problem> {
    items::read(engine, items)
}

/// The branch as items, a page at a time.
pub(in crate::http) async fn items(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = conversation_at(&request)?;
    let branch = engine.branch(&at).await?;
    let items = items::of_branch(&branch).into_iter().map(|(_, item)| item).collect();
    Ok(HttpResponse::Ok().json(page(request.query_string(), items)?))
}

/// Adds items at its end; the answer is the list of them.
pub(in crate::http) async fn add(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let at = conversation_at(&request)?;
    let body: Body = body::json(&request, payload, body::limit(&engine)).await?;
    let mut fields = Fields::new(body);
    let raw: Box<RawValue> = fields.take("items")?.ok_or_else(|| missing("items"))?;
    let messages = messages(&engine, &raw)?;
    let added = engine.add_messages(&at, messages).await?;
    let branch = engine.branch(&at).await?;
    let all = items::of_branch(&branch).into_iter();
    let new = all.filter(|(message, _)| added.contains(&message.id));
    let items = new.map(|(_, item)| item).collect();
    Ok(HttpResponse::Ok().json(list(items, false)))
}

/// One item.
pub(in crate::http) async fn item(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let branch = engine.branch(&conversation_at(&request)?).await?;
    let (_, item) = find(&request, &branch)?;
    Ok(HttpResponse::Ok().json(item))
}

/// Takes an item out; the answer is the conversation.
pub(in crate::http) async fn take(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = conversation_at(&request)?;
    let branch = engine.branch(&at).await?;
    let (message, item) = find(&request, &branch)?;
    let rest = items::without(message, &item);
    let conversation = engine.take_message(&at, message.id, rest.as_ref()).await?;
    Ok(HttpResponse::Ok().json(conversation))
}

/// The item in the path, and the message that it is a part of.
fn find<'a>(request: &HttpRequest, branch: &'a [Message]) -> Result<(&'a Message, Value), Problem> {
    let id = request.match_info().get("item").unwrap_or_default();
    let found = items::of_branch(branch).into_iter().rfind(|(_, item)| item["id"] == id);
    found.ok_or_else(|| Problem::not_found("there is no item of that id in this conversation"))
}
