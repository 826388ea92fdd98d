//! `GET /metrics`: what this process counts, as Prometheus reads it.
use actix_web::HttpResponse;
use actix_web::http::header;

use super::EngineData;

/// The text exposition, with the gauges that are looked up as it is asked for.
pub(super) async fn read(engine: EngineData) -> HttpResponse {
    engine.measure().await;
    HttpResponse::Ok()
        .insert_header((
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ))
        .body(engine.metrics().exposition())
}
