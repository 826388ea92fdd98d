//! The fate of an answer when its client goes away: the client's word, the key's, the model's.
use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use serde_json::Value;

use super::caller;
use super::problem::Problem;
use crate::domain::generation::{OnDisconnect, Request};
use crate::engine::Engine;

/// The fate of the answer when the client goes away: `continue`, or `cancel` as with OpenAI.
pub(super) const ON_DISCONNECT: HeaderName = HeaderName::from_static("lastword-on-disconnect");

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
