//! Answers of megabytes on their way to clients. Clients that are sent the same one at a time share
//! its bytes, and each connection takes them in parts.
use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, Weak};

use actix_web::body::{BoxBody, MessageBody, SizedStream};
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use bytes::Bytes;
use futures_util::stream;
use parking_lot::Mutex;
use serde::Serialize;

use super::problem::Problem;
pub(super) use crate::domain::entry::LARGE;

/// A connection holds one part beside what it writes; bytes.
const PART: usize = 64 * 1024;

/// The large bytes that connections of this process are being sent, by their hash. Each worker has
/// its readers, so it is not one worker's.
static SENT: LazyLock<Sent> = LazyLock::new(Sent::default);

#[derive(Default)]
struct Sent {
    hasher: RandomState,
    known: Mutex<HashMap<u64, Weak<Bytes>>>,
}

impl Sent {
    fn share(&self, bytes: Bytes) -> Bytes {
        let hash = self.hasher.hash_one(&bytes);
        let mut known = self.known.lock();
        let same = known.get(&hash).and_then(Weak::upgrade).filter(|same| **same == bytes);
        let shared = same.unwrap_or_else(|| {
            known.retain(|_, sent| sent.strong_count() > 0);
            let shared = Arc::new(bytes);
            known.insert(hash, Arc::downgrade(&shared));
            shared
        });
        Bytes::from_owner(SentBytes(shared))
    }
}

/// Bytes as an owner of themselves.
struct SentBytes(Arc<Bytes>);

impl AsRef<[u8]> for SentBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The same bytes; if they are large, those that somebody else is being sent already.
pub(super) fn shared(bytes: Bytes) -> Bytes {
    if bytes.len() > LARGE { SENT.share(bytes) } else { bytes }
}

/// A body that is given in one piece. A large one is shared, and taken in parts.
pub(super) fn body(bytes: impl Into<Bytes>) -> BoxBody {
    let bytes = shared(bytes.into());
    if bytes.len() <= LARGE {
        return bytes.boxed();
    }
    let length = bytes.len() as u64;
    let parts = stream::unfold(bytes, |mut rest| async move {
        let part = rest.split_to(rest.len().min(PART));
        (!part.is_empty()).then_some((Ok::<_, Infallible>(part), rest))
    });
    // In a box, because it is moved with each part.
    SizedStream::new(length, Box::pin(parts)).boxed()
}

/// A JSON answer, whose body may be large.
pub(super) fn json(mut response: HttpResponseBuilder, value: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(value) {
        Ok(json) => response.content_type(ContentType::json()).body(body(json)),
        Err(_) => Problem::internal().error_response(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::{BodySize, to_bytes};

    use super::*;

    fn bytes(of: u8) -> Bytes {
        vec![of; LARGE + PART / 2].into()
    }

    #[test]
    fn those_who_are_sent_the_same_share_it_while_it_is_sent() {
        let sent = Sent::default();
        let (one, two, other) = (sent.share(bytes(1)), sent.share(bytes(1)), sent.share(bytes(2)));
        assert_eq!(one.as_ptr(), two.as_ptr());
        assert!(one == bytes(1) && other == bytes(2));
        drop((one, two));
        let again = sent.share(bytes(3));
        assert!(again == bytes(3));
        assert_eq!(sent.known.lock().len(), 2, "what is no longer sent is forgotten");
    }

    #[tokio::test]
    async fn a_body_has_its_length_and_its_bytes() {
        for long in [bytes(7), Bytes::from_static(b"short")] {
            let body = body(long.clone());
            assert_eq!(body.size(), BodySize::Sized(long.len() as u64));
            assert!(to_bytes(body).await.unwrap() == long);
        }
    }
}
