//! `POST /v1/generations/{id}/continue`: an answer that ended early goes on.
use actix_web::{HttpRequest, HttpResponse};

use super::events::header_cursor;
use super::generations::{answer, unknown_model};
use crate::domain::generation::Idempotency;
use crate::engine::{Continue, StartError};
use crate::http::problem::Problem;
use crate::http::start::{fingerprint, idempotency_key};
use crate::http::{EngineData, address, caller, trace};

/// Starts the generation that goes on. It has no body: it asks what the earlier one asked.
pub(super) async fn start(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = address(&request)?;
    let cursor = header_cursor(&request)?;
    let idempotency = idempotency_key(&request)?
        .map(|key| Idempotency { key, fingerprint: fingerprint(&("continue", at.id)) });
    if cursor.is_some() && idempotency.is_none() {
        return Err(super::generations::looks_like_a_reconnect());
    }
    let trace = trace::of(&request);
    let asked = Continue { caller: caller(&request)?, generation: at.id, idempotency, trace };
    let started = match engine.continue_answer(asked).await {
        Ok(started) => started.ok_or_else(Problem::no_such_generation)?,
        Err(StartError::UnknownModel) => {
            let model = engine.view(&at).await?.model;
            return Err(unknown_model(&engine, &model));
        }
        Err(error) => return Err(error.into()),
    };
    answer(&engine, &request, started, cursor).await
}
