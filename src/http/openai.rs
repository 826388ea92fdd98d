//! OpenAI's APIs over the same log.
pub(super) mod chat;
mod elsewhere;
pub(super) mod error;
pub(super) mod fields;
pub(super) mod ids;
mod models;
pub(super) mod query;
pub(super) mod responses;
mod start;
mod texts;

use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::web;

use super::dialect::Frames;
use super::problem::Problem;
use super::{get, resource, ws};
use crate::domain::generation::Generation;
use crate::engine::Engine;
use crate::ports::{Address, Deleted};

/// The routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let routes = [
        resource("/v1/models/{model:.+}", vec![get().to(models::get)]),
        resource(
            "/v1/responses",
            vec![web::post().to(responses::create), web::get().to(ws::open_responses)],
        ),
        resource("/v1/responses/compact", vec![web::post().to(responses::compact)]),
        resource("/v1/responses/input_tokens", vec![web::post().to(responses::input_tokens)]),
        resource(
            "/v1/responses/{id}",
            vec![web::get().to(responses::get), web::delete().to(responses::delete)],
        ),
        resource("/v1/responses/{id}/cancel", vec![web::post().to(responses::cancel)]),
        resource("/v1/responses/{id}/input_items", vec![get().to(responses::input_items)]),
        resource("/v1/chat/completions", vec![web::post().to(chat::create)]),
        resource(
            "/v1/chat/completions/{id}",
            vec![web::get().to(chat::get), web::delete().to(chat::delete)],
        ),
    ];
    for route in routes {
        config.service(route.wrap(from_fn(error::in_openais_shape)));
    }
}

/// The methods of a path.
pub(super) fn allowed(path: &str) -> Option<&'static [Method]> {
    Some(match path {
        "/v1/models/{model:.+}" | "/v1/responses/{id}/input_items" => &[Method::GET, Method::HEAD],
        "/v1/responses/{id}" | "/v1/chat/completions/{id}" => &[Method::GET, Method::DELETE],
        "/v1/responses" => &[Method::GET, Method::POST],
        "/v1/responses/compact"
        | "/v1/responses/input_tokens"
        | "/v1/chat/completions"
        | "/v1/responses/{id}/cancel" => &[Method::POST],
        _ => return None,
    })
}

fn at(row: &Generation) -> Address {
    Address { tenant: row.tenant.clone(), id: row.id }
}

/// Erases an ended generation.
async fn erase(engine: &Engine, at: &Address) -> Result<(), Problem> {
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
