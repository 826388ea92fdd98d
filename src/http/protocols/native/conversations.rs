//! `/v1/conversations`: open one, list them, search in them.
use std::fmt;
use std::str::FromStr;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::generations::{REPLAYED, page_limit};
use super::prompt::check_metadata;
use crate::domain::conversation::NewConversation;
use crate::domain::generation::Idempotency;
use crate::domain::id::{ConversationId, MessageId};
use crate::domain::json::JsonObject;
use crate::domain::prompt::PromptError;
use crate::engine::{Engine, StartError};
use crate::http::problem::Problem;
use crate::http::protocols::openai;
use crate::http::start::{fingerprint, idempotency_key};
use crate::http::{EngineData, body, proper_id, tenant};
use crate::ports::{Made, Page, Search};

/// The longest title and the longest search, in characters.
pub(crate) const SHORT: usize = 200;

/// `POST /v1/conversations`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBody {
    title: Option<String>,
    system: Option<String>,
    metadata: Option<JsonObject>,
    items: Option<Box<RawValue>>,
}

/// Opens a conversation, or finds what the client's key has opened.
pub(super) async fn create(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body: NewBody = body::json(&request, payload, body::limit(&engine)).await?;
    body.title.as_deref().map_or(Ok(()), check_title)?;
    body.system.as_deref().map_or(Ok(()), |s| check_system(&engine, s))?;
    let metadata = body.metadata.unwrap_or_default();
    check_metadata(&metadata)?;
    let items = body.items.filter(|items| items.get() != "null");
    let said = items.as_deref().map(|items| openai::conversations::messages(&engine, items));
    let said = said.transpose()?.unwrap_or_default();
    let idempotency = idempotency_key(&request)?.map(|key| Idempotency {
        key,
        fingerprint: match said.as_slice() {
            // As it was before there were items.
            [] => fingerprint(&(&body.title, &body.system, &metadata.canonical())),
            said => fingerprint(&(&body.title, &body.system, &metadata.canonical(), said)),
        },
    });
    let new = NewConversation {
        tenant: tenant(&request),
        title: body.title,
        system: body.system,
        metadata,
        idempotency,
        messages: said.into_iter().map(|message| (MessageId::random(), message)).collect(),
    };
    let (mut response, conversation) = match engine.new_conversation(&new).await? {
        Made::New(conversation) => (HttpResponse::Created(), conversation),
        Made::Replayed(conversation) => {
            let mut response = HttpResponse::Ok();
            response.insert_header((REPLAYED, "true"));
            (response, conversation)
        }
        Made::KeyReused => return Err(StartError::KeyReused.into()),
    };
    let location = format!("/v1/conversations/{}", conversation.id);
    Ok(response.insert_header((header::LOCATION, location)).json(conversation))
}

/// The largest body: JSON escapes can double a text, and the rest is small.
pub(super) fn most_bytes(engine: &Engine) -> usize {
    engine.limits().prompt_bytes * 2 + 64 * 1024
}

pub(super) fn check_title(title: &str) -> Result<(), Problem> {
    check_short("title", title)
}

/// A system message, by the rules of a prompt.
pub(super) fn check_system(engine: &Engine, system: &str) -> Result<(), Problem> {
    let (field, limit) = ("system".to_owned(), engine.limits().prompt_bytes);
    if system.trim().is_empty() {
        return Err(PromptError::Empty { field }.into());
    }
    if system.contains('\0') {
        return Err(PromptError::InvalidCharacter { field }.into());
    }
    if system.len() > limit {
        let problem: Problem = PromptError::TooLong { bytes: system.len(), limit }.into();
        return Err(problem.with("field", field));
    }
    Ok(())
}

fn check_short(field: &'static str, text: &str) -> Result<(), Problem> {
    if text.contains('\0') {
        return Err(PromptError::InvalidCharacter { field: field.into() }.into());
    }
    if text.trim().is_empty() || text.chars().count() > SHORT {
        let detail = format!("`{field}` has 1 to {SHORT} characters");
        let problem = Problem::unprocessable("out_of_range", detail);
        return Err(problem.with("field", field).with("min", 1).with("max", SHORT));
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Query {
    limit: Option<String>,
    cursor: Option<String>,
    q: Option<String>,
}

/// Lists the tenant's conversations, the most recently updated first; `next_cursor` leads on.
pub(super) async fn list(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?
        .into_inner();
    let limit = page_limit(query.limit.as_deref())?;
    let cursor = query.cursor.as_deref().map(str::parse::<Cursor>).transpose()?;
    let text = query.q.as_deref().map(str::trim).filter(|q| !q.is_empty());
    text.map_or(Ok(()), |q| check_short("q", q))?;
    // The next page looks in the way in which the first one found something.
    let mut by_characters = cursor.as_ref().is_some_and(|c| c.by_characters);
    let before = cursor.map(|c| (c.at, c.id));
    let page = |by_characters| Page {
        before,
        limit,
        search: text.map(|q| match by_characters {
            true => Search::Characters(q.into()),
            false => Search::Words(q.into()),
        }),
    };
    let tenant = tenant(&request);
    let (mut data, mut more) = engine.list_conversations(&tenant, page(by_characters)).await?;
    if data.is_empty() && text.is_some() && before.is_none() {
        by_characters = true;
        (data, more) = engine.list_conversations(&tenant, page(by_characters)).await?;
    }
    let last = data.last().filter(|_| more);
    let next = last.map(|c| Cursor { at: c.updated_at, id: c.id, by_characters }.to_string());
    Ok(HttpResponse::Ok().json(json!({ "data": data, "next_cursor": next })))
}

/// A place in the list: everything behind it was updated earlier.
struct Cursor {
    at: OffsetDateTime,
    id: ConversationId,
    /// Whether the search is by characters.
    by_characters: bool,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.by_characters { 'c' } else { 'w' };
        // The database's clock has microseconds.
        write!(f, "{way}{}-{}", self.at.unix_timestamp_nanos() / 1000, self.id)
    }
}

impl FromStr for Cursor {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        parse_cursor(text).ok_or_else(|| {
            let detail = "`cursor` is the `next_cursor` of an earlier page";
            Problem::bad_request("invalid_cursor", detail)
        })
    }
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let (by_characters, rest) = match text.strip_prefix('c') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('w')?),
    };
    let (micros, id) = rest.split_once('-')?;
    if !micros.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos = i128::from(micros.parse::<i64>().ok()?) * 1000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    Some(Cursor { at, id: proper_id(id)?, by_characters })
}
