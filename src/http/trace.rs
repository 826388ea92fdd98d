//! Under which names a request is found again: `traceparent` and `x-request-id`.
use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};

use crate::domain::id::RequestId;
use crate::domain::trace::TraceParent;

/// The header of a request's id, in both directions.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of a client's id: more is a mistake, and the id goes into the log.
const LONGEST: usize = 128;

/// The header, if there is one and only one. A malformed value is ignored, as W3C Trace Context
/// says.
pub(super) fn of(request: &HttpRequest) -> Option<TraceParent> {
    let mut headers = request.headers().get_all("traceparent");
    let header = headers.next()?.to_str().ok()?;
    if headers.next().is_some() { None } else { header.parse().ok() }
}

/// The id that the client or a proxy gave the request, if it is a plain word; else a new one.
pub(super) fn request_id(request: &HttpRequest) -> HeaderValue {
    let given = request.headers().get(&REQUEST_ID).filter(|id| is_plain(id.as_bytes()));
    let made = || HeaderValue::try_from(RequestId::random().to_string()).ok();
    // A UUID is always a header's value.
    given.cloned().or_else(made).unwrap_or(HeaderValue::from_static("none"))
}

fn is_plain(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=LONGEST).contains(&id.len()) && id.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn an_id_that_is_no_plain_word_is_replaced() {
        let of = |id: &[u8]| {
            let id = HeaderValue::from_bytes(id).unwrap();
            request_id(&TestRequest::get().insert_header((REQUEST_ID, id)).to_http_request())
        };
        assert_eq!(of(b"req-0a.b:c/1+2=@"), "req-0a.b:c/1+2=@");
        for odd in [&b""[..], b"a b", b"\xc3\xa9", b"<script>", &[b'a'; 129]] {
            assert_eq!(of(odd).len(), 36, "{odd:?}");
        }
    }
}
