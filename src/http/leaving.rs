//! The fate of an answer when its client goes away: the client's word, the key's, the model's.
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use serde_json::Value;

use super::caller;
use super::problem::Problem;
use crate::domain::generation::{OnDisconnect, Request};
use crate::engine::Engine;

/// The fate of the answer when the client goes away: `continue`, or `cancel` as with OpenAI.
const ON_DISCONNECT: HeaderName = HeaderName::from_static("lastword-on-disconnect");

/// A plain client's generation is cancelled so many seconds after it went away. A retry can still
/// find it, and an unread answer costs little.
const GRACE_S: u32 = 10;

/// The value of `Lastword-On-Disconnect`; without it the generation ends a while after its reader.
pub(super) fn on_disconnect(request: &HttpRequest) -> Result<OnDisconnect, Problem> {
    match request.headers().get(ON_DISCONNECT).map(|value| value.as_bytes()) {
        Some(b"continue") => Ok(OnDisconnect::Continue),
        None | Some(b"cancel") => Ok(OnDisconnect::CancelAfter(GRACE_S)),
        Some(_) => {
            let detail = "Lastword-On-Disconnect is `continue` or `cancel`";
            let code = "invalid_header";
            Err(Problem::new(StatusCode::BAD_REQUEST, code, detail))
        }
    }
}

/// `asked` with the grace of its key, else of its model, unless the client has said otherwise.
/// An answer in the background has no reader from the beginning, and goes on.
pub(super) fn bounded(
    engine: &Engine,
    request: &HttpRequest,
    asked: Request,
) -> Result<Request, Problem> {
    let in_background = asked.echo.get("background") == Some(&Value::Bool(true));
    if in_background || request.headers().contains_key(ON_DISCONNECT) {
        return Ok(asked);
    }
    let models = engine.models();
    let of_model = models.find(Some(&asked.model)).and_then(|model| model.disconnect.grace_s);
    let grace = caller(request)?.limits().disconnect_grace_s.or(of_model);
    let on_disconnect = grace.map_or(asked.on_disconnect, OnDisconnect::CancelAfter);
    Ok(Request { on_disconnect, ..asked })
}
