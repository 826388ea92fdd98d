//! Is the process alive, and can it serve?
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::json;

use super::EngineData;
use super::problem::Problem;

/// The process answers.
pub(super) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// New work can be taken: the database is there and the server is not about to stop.
pub(super) async fn ready(engine: EngineData) -> Result<HttpResponse, Problem> {
    if engine.is_draining() {
        let detail = "the server is about to stop";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail);
        return Err(problem.retry_after(1));
    }
    let found = engine.ready().await?;
    if found.read_only {
        let detail = "the database takes no writes: it is a standby, or was made read-only";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "storage_read_only", detail);
        return Err(problem.retry_after(1));
    }
    let Some(waits) = found.unacknowledged else {
        return Ok(HttpResponse::Ok().json(json!({ "status": "ready" })));
    };
    let waits = waits.as_secs();
    Ok(HttpResponse::Ok().json(json!({
        "status": "ready",
        "detail": "reads work; no standby acknowledges commits, so nothing new is said",
        "commits_wait_s": waits,
    })))
}
