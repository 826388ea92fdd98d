//! `/v1/generations/{id}`: look at one, cancel it, erase it.
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};

use crate::http::large;
use crate::http::problem::Problem;
use crate::http::{EngineData, address, while_allowed};
use crate::ports::Deleted;

/// The generation as it stands.
pub(super) async fn get(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Ok(large::json(HttpResponse::Ok(), &engine.view(&address(&request)?).await?))
}

/// Ends it; the answer is the receipt, or 202 if the truth takes longer than we may wait.
pub(super) async fn cancel(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = address(&request)?;
    let receipt = while_allowed(&request, async { Ok(engine.cancel(&at).await?) }).await?;
    if receipt.view.status.is_ended() {
        Ok(HttpResponse::Ok().json(receipt))
    } else {
        Ok(HttpResponse::Accepted().json(receipt))
    }
}

/// Erases it with all its events.
pub(super) async fn delete(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    match engine.delete(&address(&request)?).await? {
        Deleted::Gone => Ok(HttpResponse::NoContent().finish()),
        Deleted::Absent => Err(Problem::no_such_generation()),
        Deleted::Running => {
            let detail = "it has not ended: cancel it first";
            Err(Problem::new(StatusCode::CONFLICT, "generation_running", detail))
        }
    }
}
