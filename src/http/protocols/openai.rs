//! OpenAI's APIs over the same log.
pub(super) mod citations;
pub(super) mod client_tools;
pub(crate) mod completion;
pub(super) mod content;
pub(crate) mod conversations;
pub(super) mod elsewhere;
pub(super) mod error;
pub(in crate::http) mod error_object;
pub(super) mod fields;
pub(crate) mod ids;
mod models;
pub(super) mod query;
pub(super) mod start;
pub(super) mod texts;
pub(super) mod usage;

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::web;

use super::error_shape::ErrorShape;
use super::websocket;
use super::{openai_chat, openai_completions, openai_responses};
use crate::domain::generation::Generation;
use crate::engine::Engine;
use crate::http::dialect::Frames;
use crate::http::problem::Problem;
use crate::http::routes::endpoint;
use crate::ports::{Address, Deleted};

/// The routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let routes = [
        endpoint("/v1/models/{model:.+}").get(models::get),
        endpoint("/v1/responses").post(openai_responses::create).stream(websocket::open_responses),
        endpoint("/v1/responses/compact").post(openai_responses::compact),
        endpoint("/v1/responses/input_tokens").post(openai_responses::input_tokens),
        endpoint("/v1/responses/{id}")
            .stream(openai_responses::get)
            .delete(openai_responses::delete),
        endpoint("/v1/responses/{id}/cancel").post(openai_responses::cancel),
        endpoint("/v1/responses/{id}/input_items").get(openai_responses::input_items),
        endpoint("/v1/chat/completions").post(openai_chat::create),
        endpoint("/v1/chat/completions/{id}").stream(openai_chat::get).delete(openai_chat::delete),
        endpoint("/v1/completions").post(openai_completions::create),
        endpoint("/v1/completions/{id}")
            .stream(openai_completions::get)
            .delete(openai_completions::delete),
    ];
    for route in routes {
        config.service(
            route
                .into_resource()
                .wrap(from_fn(|request, next| ErrorShape::OpenAi.wrap(request, next))),
        );
    }
}

pub(super) fn at(row: &Generation) -> Address {
    Address { tenant: row.tenant.clone(), id: row.id }
}

/// Erases an ended generation.
pub(super) async fn erase(engine: &Engine, at: &Address) -> Result<(), Problem> {
    match engine.delete(at).await? {
        Deleted::Gone => Ok(()),
        Deleted::Absent => Err(Problem::no_such_generation()),
        Deleted::Running => {
            let detail = "it has not ended: cancel it first";
            Err(Problem::new(StatusCode::CONFLICT, "generation_running", detail))
        }
    }
}

/// The frames behind a cursor, which cannot be told from the rest once the events are gone.
pub(super) fn frames_after(row: &Generation, cursor: Option<u64>) -> Result<Frames, Problem> {
    if cursor.is_some() && row.result.is_some() && !row.events_retained {
        let detail = "its events are no longer retained: retrieve it without `starting_after`";
        return Err(Problem::bad_request("cursor_expired", detail).with("field", CURSOR));
    }
    Ok(Frames::after(cursor))
}

/// A cursor of an event that does not exist is never answered with silence.
pub(super) fn not_ahead(frames: &Frames) -> Result<(), Problem> {
    if !frames.is_ahead() {
        return Ok(());
    }
    let detail = format!("there are {} events as yet, and none of that number", frames.number());
    Err(Problem::bad_request("cursor_ahead", detail).with("field", CURSOR))
}

const CURSOR: &str = "starting_after";
