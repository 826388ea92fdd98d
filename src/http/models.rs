//! `GET /v1/models`, in the shape that OpenAI's clients read.
use actix_web::HttpResponse;
use serde_json::{Value, json};

use super::Shared;
use crate::engine::Model;

/// The models that prompts can name.
pub(super) async fn list(engine: Shared) -> HttpResponse {
    let models = engine.models();
    let data: Vec<Value> = models.iter().map(|model| one(model, models.default_name())).collect();
    HttpResponse::Ok().json(json!({ "object": "list", "data": data }))
}

/// One of them: OpenAI's fields, then ours.
pub(super) fn one(model: &Model, default: &str) -> Value {
    let mut one = json!({
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": model.provider.name(),
        "provider": model.provider.name(),
        "default": model.name == default,
        "continues": model.continuation().is_possible(),
        "continuation": model.continuation().as_str(),
    });
    if let Some(tokens) = model.context_tokens {
        // As OpenRouter and vLLM call it.
        one["context_length"] = tokens.get().into();
        one["max_model_len"] = tokens.get().into();
    }
    one
}
