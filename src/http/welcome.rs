//! The answer to `curl` at the address: the three commands to begin with. A browser gets the page.
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

use super::connections::scheme;
use super::public;

/// Plain text, with the address that the client used.
pub(super) fn welcome(request: &HttpRequest) -> HttpResponse {
    let address = public::of(request);
    let host = address.hosts(request).pop().unwrap_or_else(|| "localhost".into());
    let base = format!("{}://{host}{}", scheme(request), address.base());
    let mut response = HttpResponse::Ok();
    // A cache must not answer a browser with what a terminal got.
    response.insert_header((header::VARY, "accept"));
    response.content_type("text/plain; charset=utf-8").body(format!(
        "lastword is running: durable LLM token streaming.\n\n\
         Chat with it: open {base} in a browser.\n\n\
         Start a generation, and watch it:\n  \
         curl -N {base}/v1/generations -H 'Accept: text/event-stream' \\\n    \
         -H 'Content-Type: application/json' -d '{{\"prompt\":\"Tell me about rivers\"}}'\n\n\
         Go on behind event 17, after whatever cut you off:\n  \
         curl -N {base}/v1/generations/$ID/events -H 'Last-Event-ID: 17'\n\n\
         End it, with a receipt:\n  \
         curl -X POST {base}/v1/generations/$ID/cancel\n"
    ))
}
