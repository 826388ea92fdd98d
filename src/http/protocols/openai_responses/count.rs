//! The routes that need no model: counting an input, and compacting earlier messages to one item.
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::request::Known;
use super::{compaction, input_items, request};
use crate::domain::conversation::TurnAsked;
use crate::domain::generation::Request;
use crate::domain::id::GenerationId;
use crate::domain::prompt::{Message, Prompt, Role, estimate_tokens};
use crate::engine::Engine;
use crate::http::problem::Problem;
use crate::http::protocols::native::generations::unknown_model;
use crate::http::protocols::openai::fields::{Body, missing, unsupported};
use crate::http::protocols::openai::ids::short;
use crate::http::{EngineData, body, tenant};

/// The fields beside which `input` may be left out.
const SAY_ENOUGH: [&str; 3] = ["previous_response_id", "conversation", "instructions"];

/// The tokens of an input, by our estimate.
pub(crate) async fn input_tokens(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body: Body = body::json(&request, payload, body::limit(&engine)).await?;
    let (asked, turn) = asked(&engine, &request, body).await?;
    let tokens = match turn {
        None => asked.prompt.estimated_input(),
        Some(turn) => in_conversation(&engine, &request, asked, &turn).await?,
    };
    Ok(HttpResponse::Ok()
        .json(json!({ "object": "response.input_tokens", "input_tokens": tokens })))
}

/// The user's messages, and the rest as one item.
pub(crate) async fn compact(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body: Body = body::json(&request, payload, body::limit(&engine)).await?;
    // Only null stands for the default model: OpenAI wants it named.
    if !body.contains_key("model") {
        return Err(missing("model"));
    }
    let (asked, turn) = asked(&engine, &request, body).await?;
    if turn.is_some() {
        return Err(unsupported("conversation", "send what is said as `input`"));
    }
    let id = GenerationId::random();
    let messages = &asked.prompt.messages;
    let is_users = |message: &&Message| message.role == Role::User;
    let users: Vec<Message> = messages.iter().filter(is_users).cloned().collect();
    let mut output = input_items::items(id, &users);
    let content = compaction::write(messages);
    let tokens = estimate_tokens(&content);
    output.push(json!({
        "id": format!("cmp_{}", short(id)), "type": "compaction", "encrypted_content": content,
    }));
    let input = asked.prompt.estimated_input();
    Ok(HttpResponse::Ok().json(json!({
        "id": format!("resp_{}", short(id)),
        "object": "response.compaction",
        "created_at": OffsetDateTime::now_utc().unix_timestamp(),
        "output": output,
        "usage": usage(input, tokens),
    })))
}

fn usage(input: u64, output: u64) -> Value {
    json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
        "output_tokens": output, "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input + output, "estimated": true,
    })
}

/// The tokens of an input below the active branch of a conversation.
async fn in_conversation(
    engine: &Engine,
    request: &HttpRequest,
    asked: Request,
    turn: &TurnAsked,
) -> Result<u64, Problem> {
    let models = engine.models();
    let model = models.find(Some(&asked.model));
    let model = model.ok_or_else(|| unknown_model(engine, &asked.model))?;
    let parameters = asked.prompt.parameters;
    let room = (model, parameters.max_output_tokens);
    let messages = engine.would_be_told(&tenant(request), turn, room).await?;
    Ok(Prompt { messages, parameters }.estimated_input())
}

/// The request in the body, for a model of ours, and the turn that it would add to a conversation.
async fn asked(
    engine: &Engine,
    request: &HttpRequest,
    body: Body,
) -> Result<(Request, Option<TurnAsked>), Problem> {
    let says = |name: &&str| body.get(*name).is_some_and(|raw| raw.get() != "null");
    let may_be_empty = SAY_ENOUGH.iter().any(says);
    let known = Known { may_be_empty, ..Known::default() };
    let asked = request::asked(engine, &tenant(request), body, known).await?;
    let (asked, turn) = (asked.request, asked.turn);
    match engine.models().find(Some(&asked.model)) {
        Some(_) => Ok((asked, turn)),
        None => Err(unknown_model(engine, &asked.model)),
    }
}
