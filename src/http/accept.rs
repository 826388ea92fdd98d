//! The media types and encodings that a client accepts.
use actix_web::HttpRequest;
use actix_web::http::header;

/// Whether the client asks for an event stream by name.
pub(super) fn wants_events(request: &HttpRequest) -> bool {
    ranges(request).any(|range| range == "text/event-stream")
}

/// Whether the client takes an event stream: by name, by a wildcard, or by saying nothing.
pub(super) fn takes_events(request: &HttpRequest) -> bool {
    !request.headers().contains_key(header::ACCEPT)
        || ranges(request).any(|r| matches!(r.as_str(), "text/event-stream" | "text/*" | "*/*"))
}

/// Whether the client asks for a page by name, as browsers do and `curl` does not.
pub(super) fn wants_page(request: &HttpRequest) -> bool {
    ranges(request).any(|range| range == "text/html")
}

/// Whether the client takes gzip, as every browser does; by name is enough for us.
pub(super) fn takes_gzip(request: &HttpRequest) -> bool {
    named(request, &header::ACCEPT_ENCODING).any(|coding| coding == "gzip")
}

/// The media ranges of `Accept` that are not refused by `q=0`.
fn ranges(request: &HttpRequest) -> impl Iterator<Item = String> {
    named(request, &header::ACCEPT)
}

/// The names in a list such as `Accept`, without those refused by `q=0`.
fn named(request: &HttpRequest, header: &header::HeaderName) -> impl Iterator<Item = String> {
    request
        .headers()
        .get_all(header)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next()?.to_ascii_lowercase();
            let refused = parts.any(|p| matches!(p, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            (!refused).then_some(name)
        })
        .collect::<Vec<_>>()
        .into_iter()
}
