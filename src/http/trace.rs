//! `traceparent`: in whose trace a request is. What is none is ignored, as W3C Trace Context says.
use actix_web::HttpRequest;

use crate::domain::trace::TraceParent;

/// The header, if there is one and only one.
pub(super) fn of(request: &HttpRequest) -> Option<TraceParent> {
    let mut headers = request.headers().get_all("traceparent");
    let header = headers.next()?.to_str().ok()?;
    if headers.next().is_some() { None } else { header.parse().ok() }
}
