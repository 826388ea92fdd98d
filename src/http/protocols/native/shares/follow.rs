//! `GET /v1/shared/{token}/events`: the answer of a link, live, for whoever has it.
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::waiting::Waiting;
use super::{UNLISTED, nowhere};
use crate::domain::coalesce::coalesce;
use crate::domain::entry::{Entry, Kind};
use crate::domain::event::Event;
use crate::domain::share::ShareToken;
use crate::engine::{Alarm, Item, PollGate, Session, VIEWERS, ViewError, Viewed, Viewing};
use crate::http::EngineData;
use crate::http::frame::{EVENT_STREAM, KEEP_ALIVE, opening, sse};
use crate::http::problem::Problem;
use crate::http::protocols::native::events;
use crate::http::sse::Shape;
use crate::metrics::Transport;

/// When a viewer that found no place may ask again, in seconds.
const AGAIN: u32 = 10;

/// The query's names beside those of a generation's events.
#[derive(Debug, Deserialize)]
struct Query {
    turn: Option<String>,
}

/// Streams the answer behind the cursor, or waits for the next one where the link shows later
/// turns; 204 when nothing will come.
pub(in crate::http) async fn follow(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (cursor, shape) = events::wanted(&request)?;
    let token = ShareToken::shown(request.match_info().get("token").unwrap_or_default());
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?;
    let viewed = engine.view_shared(&token, cursor, query.turn.as_deref()).await;
    let (session, viewing) = match viewed.map_err(refused)? {
        Viewed::Events(session, viewing) => (session, viewing),
        Viewed::Waiting(viewing) => return Ok(streaming(Waiting::new(&engine, viewing))),
        Viewed::Complete => {
            return Ok(HttpResponse::NoContent().insert_header(UNLISTED).finish());
        }
    };
    Ok(streaming(Followed {
        session: session.counted_as(Transport::Sse, "shared"),
        over: PollGate::new(Box::pin(viewing.over())),
        viewing,
        old: Alarm::at(Instant::now() + engine.connection_age()),
        shape,
        opened: false,
    }))
}

fn streaming(body: impl MessageBody + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, EVENT_STREAM))
        .insert_header((header::CACHE_CONTROL, "no-store, no-transform"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header(UNLISTED)
        .body(body)
}

fn refused(error: ViewError) -> Problem {
    match error {
        ViewError::Nowhere => nowhere(),
        ViewError::Crowded => {
            let detail = format!("{VIEWERS} follow this link here: come back later");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_viewers", detail)
                .retry_after(AGAIN)
        }
        ViewError::Log(error) => error.into(),
    }
}

/// A viewing as a body: it ends with the answer, with the link, and when it is old.
struct Followed {
    session: Session,
    viewing: Viewing,
    over: PollGate<WaitForCancellationFutureOwned>,
    old: Alarm,
    shape: Shape,
    opened: bool,
}

impl MessageBody for Followed {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.viewing.is_over() {
            return Poll::Ready(None);
        }
        if !std::mem::replace(&mut self.opened, true) {
            return Poll::Ready(Some(Ok(opening())));
        }
        let bytes = match self.session.poll_next(cx) {
            Poll::Ready(Some(Item::Entries(entries))) => {
                let shown: Vec<Entry> = entries.into_iter().map(for_bearers).collect();
                sse(&if self.shape.coalesce { coalesce(shown) } else { shown })
            }
            Poll::Ready(Some(Item::Heartbeat)) => Bytes::from_static(KEEP_ALIVE),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {
                let over = self.over.poll(false, cx).is_ready();
                let ends = over || self.old.poll(cx).is_ready();
                return if ends { Poll::Ready(None) } else { Poll::Pending };
            }
        };
        Poll::Ready(Some(Ok(bytes)))
    }
}

/// The event without what is not for bearers of a link: ids, what notices say (signatures, and what
/// an upstream said), usage, errors. It keeps its seq, so that cursors hold.
fn for_bearers(entry: Entry) -> Entry {
    let rest = match entry.kind {
        Kind::Delta
        | Kind::Reasoning
        | Kind::Refusal
        | Kind::ToolCall
        | Kind::Superseded
        | Kind::Resumed
        | Kind::Snapshot => return entry,
        Kind::Started | Kind::Notice | Kind::Extra | Kind::Done | Kind::Unknown => {
            match entry.decode() {
                Ok(Event::Started { model, created_at, .. }) => {
                    json!({ "model": model, "created_at": created_at })
                }
                Ok(Event::Notice { code, .. }) => json!({ "code": code, "message": "" }),
                Ok(Event::Done(done)) => {
                    json!({ "status": done.status, "finish_reason": done.finish_reason })
                }
                // Nothing of it is shown: what it is cannot be told.
                Ok(_) | Err(_) => Value::Object(serde_json::Map::new()),
            }
        }
    };
    let text = rest.to_string();
    let data = text.strip_prefix('{').unwrap_or("}");
    let (seq, kind) = (entry.seq, entry.name().to_owned());
    // An event that cannot be shown keeps its place, as an empty notice.
    let nothing = Event::Notice { code: String::new(), message: String::new() };
    Entry::from_stored(seq, &kind, data).unwrap_or_else(|_| Entry::encode(seq, &nothing))
}

#[cfg(test)]
mod tests {
    use crate::domain::event::{Done, ErrorCode, Failure, Status, Usage};
    use crate::domain::id::{GenerationId, Seq};
    use crate::http::protocols::native::shares::follow::*;

    #[test]
    fn what_is_not_for_bearers_is_left_out_and_the_seq_stays() {
        let error = Failure {
            code: ErrorCode::UpstreamRejected,
            message: "secret".into(),
            retryable: false,
            retry_after_ms: None,
            upstream: None,
        };
        let events = [
            Event::Started {
                generation: GenerationId::random(),
                model: "m".into(),
                provider: "secret".into(),
                created_at: "t".into(),
            },
            Event::Notice { code: "thinking_signature".into(), message: "secret".into() },
            Event::Done(Done {
                status: Status::Failed,
                finish_reason: None,
                provider_finish_reason: Some("secret".into()),
                usage: Usage::default(),
                error: Some(error),
            }),
            Event::Delta { text: "said".into() },
        ];
        let shown: Vec<String> = (7..)
            .zip(&events)
            .map(|(seq, event)| for_bearers(Entry::encode(Seq(seq), event)).json().to_owned())
            .collect();
        assert_eq!(
            shown,
            [
                r#"{"seq":7,"type":"started","model":"m","created_at":"t"}"#,
                r#"{"seq":8,"type":"notice","code":"thinking_signature","message":""}"#,
                r#"{"seq":9,"type":"done","status":"failed","finish_reason":null}"#,
                r#"{"seq":10,"type":"delta","text":"said"}"#,
            ]
        );
    }
}
