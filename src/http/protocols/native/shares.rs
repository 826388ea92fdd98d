//! Read-only links to a conversation; [`follow`] streams the answer of one.
mod follow;
mod waiting;

use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;

use crate::domain::conversation::{AnswerDetails, Content, Message};
use crate::domain::event::Status;
use crate::domain::prompt::Role;
use crate::domain::share::ShareToken;
use crate::domain::transcript::ToolCall;
use crate::engine::ViewError;
use crate::http::problem::Problem;
use crate::http::{EngineData, body, conversation_at, public};
pub(super) use follow::follow;

/// The longest body of `POST /v1/conversations/{id}/shares`, in bytes: it says one word.
pub(crate) const BODY: usize = 4096;

/// `POST /v1/conversations/{id}/shares`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLink {
    /// Whether the link shows what is asked later, too.
    #[serde(default)]
    later_turns: bool,
}

/// Makes a link to the active branch as it is now, and to the answer that is being made there.
pub(super) async fn create(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let at = conversation_at(&request)?;
    let new: NewLink = body::json_or_nothing(&request, payload, BODY).await?;
    let token = engine.share(&at, new.later_turns).await?;
    let token = token.as_str();
    // The link is for people who know no other address of ours.
    let url = public::of(&request).outside(&format!("/v1/shared/{token}"));
    Ok(HttpResponse::Created()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({ "token": token, "url": url })))
}

/// Makes every link worthless.
pub(super) async fn revoke(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    engine.unshare(&conversation_at(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A link is for those who were given it: search engines do not list what it leads to.
pub(crate) const UNLISTED: (HeaderName, &str) =
    (HeaderName::from_static("x-robots-tag"), "noindex");

/// A message as the bearer of a link sees it: no ids, and no figures for the operator.
#[derive(Serialize)]
struct SharedMessage {
    role: Role,
    content: Content,
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    refusal: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

/// `GET /v1/shared/{token}`.
#[derive(Serialize)]
struct Branch {
    title: Option<String>,
    messages: Vec<SharedMessage>,
    answering: bool,
    /// The name of the branch's end, of a link that shows later turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<String>,
}

/// The conversation behind a link, for its bearer.
pub(super) async fn get(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let token = ShareToken::shown(request.match_info().get("token").unwrap_or_default());
    let shared = engine.shared(&token).await?;
    let shared = shared.ok_or_else(nowhere)?;
    let turn = shared.end.map(|end| end.name(&token.hash(), shared.answering));
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header(UNLISTED)
        .json(Branch {
            title: shared.title,
            messages: shared.messages.into_iter().filter_map(shown).collect(),
            answering: shared.answering,
            turn,
        }))
}

pub(super) fn nowhere() -> Problem {
    Problem::not_found(ViewError::Nowhere.to_string())
}

fn shown(message: Message) -> Option<SharedMessage> {
    match message.role {
        Role::User | Role::Assistant => {}
        Role::System | Role::Developer | Role::Tool => return None,
    }
    // A call that a client stored by itself.
    let says_nothing = message.content.text().is_empty() && !message.content.has_pictures();
    if message.said.is_some() && says_nothing {
        return None;
    }
    let answer = message.answer;
    let of = |text: fn(&AnswerDetails) -> String| answer.as_deref().map(text).unwrap_or_default();
    Some(SharedMessage {
        role: message.role,
        content: message.content,
        reasoning: of(|a| a.reasoning.clone()),
        refusal: of(|a| a.refusal.clone()),
        tool_calls: answer.as_deref().map(|a| a.tool_calls.clone()).unwrap_or_default(),
        status: answer.as_deref().map(|a| a.status),
        model: answer.as_deref().map(|a| a.model.clone()),
        created_at: message.created_at,
    })
}
