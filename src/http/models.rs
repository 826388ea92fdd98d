//! `GET /v1/models`, in the shape that OpenAI's clients read.
use actix_web::HttpResponse;
use serde_json::{Value, json};

use super::Shared;

/// The models that prompts can name.
pub(super) async fn list(engine: Shared) -> HttpResponse {
    let models = engine.models();
    let data: Vec<Value> = models
        .iter()
        .map(|model| {
            json!({
                "id": model.name,
                "object": "model",
                "created": 0,
                "owned_by": model.provider.name(),
                "provider": model.provider.name(),
                "default": model.name == models.default_name(),
                "continues": model.provider.continuation().is_possible(),
                "continuation": model.provider.continuation().as_str(),
            })
        })
        .collect();
    HttpResponse::Ok().json(json!({ "object": "list", "data": data }))
}
