//! `GET /v1/models/{model}`: the list's entry for one.
use actix_web::{HttpRequest, HttpResponse};

use crate::http::EngineData;
use crate::http::problem::Problem;
use crate::http::protocols::anthropic;
use crate::http::protocols::native::generations::unknown_model;
use crate::http::protocols::native::models::one;

/// One model that prompts can name.
pub(super) async fn get(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let name = request.match_info().get("model").unwrap_or_default();
    if anthropic::has_version(&request) {
        return Ok(anthropic::models::get(&engine, name));
    }
    let models = engine.models();
    let model = models.iter().find(|model| model.name == name);
    match model {
        Some(model) => Ok(HttpResponse::Ok().json(one(model, models.default_name()))),
        None => Err(unknown_model(&engine, name)),
    }
}
