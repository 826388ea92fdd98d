//! `GET /v1/models`, in the shape that OpenAI's clients read, or Anthropic's.
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::engine::Model;
use crate::http::EngineData;
use crate::http::protocols::anthropic;

/// The models that prompts can name.
pub(super) async fn list(engine: EngineData, request: HttpRequest) -> HttpResponse {
    if anthropic::has_version(&request) {
        return anthropic::models::list(&engine, &request);
    }
    let models = engine.models();
    let data: Vec<Value> = models.iter().map(|model| one(model, models.default_name())).collect();
    // Ours: a client can refuse a prompt that is too long before it opens anything for it.
    let limits = engine.limits();
    let limits = json!({ "prompt_bytes": limits.prompt_bytes, "media_bytes": limits.media_bytes });
    HttpResponse::Ok().json(json!({ "object": "list", "data": data, "limits": limits }))
}

/// One of them: OpenAI's fields, then ours.
pub(crate) fn one(model: &Model, default: &str) -> Value {
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
    if let Some(sees) = model.pictures {
        one["pictures"] = sees.into();
    }
    // The window, under the names that OpenRouter's and vLLM's clients look for.
    if let Some(tokens) = model.context_tokens {
        one["context_length"] = tokens.get().into();
        one["max_model_len"] = tokens.get().into();
    }
    one
}
