//! `/v1/admin`: what all tenants run, for operators. Figures and times only: what was asked and
//! said stays with its tenant.
use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::frame::{EVENT_STREAM, opening};
use super::problem::Problem;
use super::protocols::native::events::parse_cursor;
use super::routes::endpoint;
use super::{EngineData, accept, assets, proper_id};
use crate::domain::event::{Status, Usage};
use crate::domain::fleet::Moment;
use crate::domain::id::{GenerationId, Seq, Tenant};
use crate::engine::Engine;
use crate::ports::Address;

/// How often an operator's page hears the state of things.
const EVERY: Duration = Duration::from_secs(1);

/// The routes; all but the page need the scope `admin`.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(endpoint("/admin").get(assets::admin))
        .service(endpoint("/v1/admin/overview").get(overview))
        .service(endpoint("/v1/admin/events").stream(overviews))
        .service(endpoint("/v1/admin/generations/{id}/timeline").get(timeline))
        .service(endpoint("/v1/admin/generations/{id}/cancel").post(cancel));
}

/// The state of things, once.
async fn overview(engine: EngineData) -> HttpResponse {
    HttpResponse::Ok().json(&*engine.overview().await)
}

/// The state of things, every second until the server stops.
async fn overviews(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    if !accept::takes_events(&request) {
        let detail = "this path answers text/event-stream";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail));
    }
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, EVENT_STREAM))
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .streaming(frames(engine.get_ref().clone())))
}

fn frames(engine: Engine) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let closing = engine.closing().cancelled_owned();
    let mut ticks = interval_at(Instant::now(), EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let opening = stream::iter([Ok(opening())]);
    let frames = stream::unfold((engine, ticks), |(engine, mut ticks)| async move {
        ticks.tick().await;
        let overview = engine.overview().await;
        // Cannot fail: an overview is made of words and numbers.
        let json = serde_json::to_string(&*overview).unwrap_or_default();
        Some((Ok(format!("event: overview\ndata: {json}\n\n").into()), (engine, ticks)))
    });
    opening.chain(frames.take_until(closing))
}

#[derive(Debug, Default, Deserialize)]
struct After {
    after: Option<String>,
}

/// When a generation's events were stored.
#[derive(Serialize)]
struct Timeline {
    id: GenerationId,
    tenant: Tenant,
    model: String,
    provider: String,
    status: Status,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    last_seq: Seq,
    data: Vec<Moment>,
}

async fn timeline(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let query = web::Query::<After>::from_query(request.query_string())
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?;
    let after = query.after.as_deref().map(parse_cursor).transpose()?;
    let at = found(&engine, &request).await?;
    let row = engine.generation(&at).await?;
    Ok(HttpResponse::Ok().json(Timeline {
        id: row.id,
        tenant: row.tenant,
        model: row.request.model,
        provider: row.provider,
        status: row.status,
        created_at: row.created_at,
        last_seq: row.last_seq,
        data: engine.moments(&at, after).await?,
    }))
}

/// A receipt without what was said.
#[derive(Serialize)]
struct AdminReceipt {
    id: GenerationId,
    status: Status,
    cancelled: bool,
    last_seq: Seq,
    usage: Option<Usage>,
}

async fn cancel(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let at = found(&engine, &request).await?;
    let receipt = engine.cancel(&at).await?;
    let mut response = match receipt.view.status.is_ended() {
        true => HttpResponse::Ok(),
        false => HttpResponse::Accepted(),
    };
    Ok(response.json(AdminReceipt {
        id: at.id,
        status: receipt.view.status,
        cancelled: receipt.cancelled,
        last_seq: receipt.view.last_seq,
        usage: receipt.view.usage,
    }))
}

/// The generation in the path, whosever it is.
async fn found(engine: &Engine, request: &HttpRequest) -> Result<Address, Problem> {
    let id = request.match_info().get("id").and_then(proper_id);
    Ok(engine.anywhere(id.ok_or_else(Problem::no_such_generation)?).await?)
}
