//! The models in Anthropic's shape, for clients that say which version of its API they speak.
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{REQUEST_ID, new_request_id};
use super::error_object;
use crate::engine::{Engine, Model};
use crate::http::problem::Problem;
use crate::http::protocols::native::generations::{limit, unknown_model};

/// Most models of one page, and how many there are unless asked otherwise.
const MOST: u32 = 1000;
const USUAL: u32 = 20;

#[derive(Debug, Deserialize)]
struct Query {
    limit: Option<String>,
    after_id: Option<String>,
    before_id: Option<String>,
}

/// A page of the models that prompts can name.
pub(in crate::http) fn list(engine: &Engine, request: &HttpRequest) -> HttpResponse {
    answer(page(engine, request))
}

/// One of them.
pub(in crate::http) fn get(engine: &Engine, name: &str) -> HttpResponse {
    let models = engine.models();
    let model = models.iter().find(|model| model.name == name).map(one);
    answer(model.ok_or_else(|| unknown_model(engine, name)))
}

fn answer(result: Result<Value, Problem>) -> HttpResponse {
    match result {
        Ok(value) => HttpResponse::Ok().insert_header((REQUEST_ID, new_request_id())).json(value),
        Err(problem) => error_object::response(&problem),
    }
}

fn page(engine: &Engine, request: &HttpRequest) -> Result<Value, Problem> {
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?
        .into_inner();
    let most = query.limit.as_deref().map_or(Ok(USUAL), |text| limit(text, MOST))? as usize;
    let models = engine.models();
    let all: Vec<&Model> = models.iter().collect();
    let place = |id: Option<&String>| id.and_then(|id| all.iter().position(|m| m.name == *id));
    let from = place(query.after_id.as_ref()).map_or(0, |place| place + 1);
    let to = place(query.before_id.as_ref()).unwrap_or(all.len()).max(from);
    let rest = all.get(from..to).unwrap_or_default();
    // A page before an id is taken from there backwards.
    let cut = rest.len().saturating_sub(most);
    let page = if query.before_id.is_some() { &rest[cut..] } else { &rest[..rest.len() - cut] };
    let id = |model: Option<&&Model>| model.map(|model| model.name.clone());
    Ok(json!({
        "data": page.iter().map(|model| one(model)).collect::<Vec<_>>(), "has_more": cut > 0,
        "first_id": id(page.first()), "last_id": id(page.last()),
    }))
}

/// One model. When it was released is not known here; the API's own word for that is an epoch.
fn one(model: &Model) -> Value {
    json!({
        "type": "model", "id": model.name, "display_name": model.name,
        "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active", "deprecated_at": null,
        "line": null, "capabilities": null, "max_tokens": null,
        "max_input_tokens": model.context_tokens,
    })
}
