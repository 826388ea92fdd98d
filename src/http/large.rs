//! Answers of megabytes on their way to clients. Clients that are sent the same one at a time share
//! its bytes, and each connection takes them in parts.
use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Weak};

use actix_web::body::{BoxBody, MessageBody, SizedStream};
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::frame::Mixed;
use super::problem::Problem;
pub(super) use crate::domain::entry::LARGE;
use crate::domain::entry::escaped;
use crate::domain::transcript::Answer;

/// The large bytes that connections of this process are being sent, by their hash. Each worker has
/// its readers, so it is not one worker's.
static SENT: LazyLock<Sent> = LazyLock::new(Sent::default);

#[derive(Default)]
struct Sent {
    hasher: RandomState,
    known: Mutex<HashMap<u64, Weak<Bytes>>>,
    /// Held by whoever makes large JSON.
    making: Mutex<()>,
}

impl Sent {
    fn share(&self, bytes: Bytes) -> Bytes {
        let hash = self.hasher.hash_one(&bytes);
        match self.known(hash).filter(|same| **same == bytes) {
            Some(same) => Bytes::from_owner(SentBytes(same)),
            None => self.note(hash, bytes),
        }
    }

    /// The JSON of `value`, if it is large. It is measured first. Then either somebody is being
    /// sent the same, or it is made, by one at a time.
    fn made(&self, value: &impl Serialize) -> Option<Bytes> {
        let mut measure = Measure { hasher: self.hasher.build_hasher(), bytes: 0 };
        serde_json::to_writer(Escaping(&mut measure), value).ok()?;
        if measure.bytes <= LARGE {
            return None;
        }
        let _turn = self.making.lock();
        let hash = measure.hasher.finish();
        if let Some(same) = self.known(hash).filter(|known| is_json_of(value, known)) {
            return Some(Bytes::from_owner(SentBytes(same)));
        }
        let mut json = BytesMut::with_capacity(measure.bytes).writer();
        serde_json::to_writer(Escaping(&mut json), value).ok()?;
        Some(self.note(hash, json.into_inner().freeze()))
    }

    fn known(&self, hash: u64) -> Option<Arc<Bytes>> {
        self.known.lock().get(&hash).and_then(Weak::upgrade)
    }

    fn note(&self, hash: u64, bytes: Bytes) -> Bytes {
        let shared = Arc::new(bytes);
        let mut known = self.known.lock();
        known.retain(|_, sent| sent.strong_count() > 0);
        known.insert(hash, Arc::downgrade(&shared));
        drop(known);
        Bytes::from_owner(SentBytes(shared))
    }
}

/// Whether `known` is the JSON of `value`.
fn is_json_of(value: &impl Serialize, known: &[u8]) -> bool {
    let mut rest = Rest(known);
    serde_json::to_writer(Escaping(&mut rest), value).is_ok() && rest.0.is_empty()
}

/// Escapes what [`escaped`] does.
struct Escaping<W>(W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(json).map(escaped) {
            Ok(Cow::Owned(text)) => self.0.write_all(text.as_bytes())?,
            Ok(Cow::Borrowed(_)) | Err(_) => self.0.write_all(json)?,
        }
        Ok(json.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The length and the hash of what is written.
struct Measure<H> {
    hasher: H,
    bytes: usize,
}

impl<H: Hasher> Write for Measure<H> {
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        self.hasher.write(json);
        self.bytes += json.len();
        Ok(json.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of which what is written is the rest; an error if it is not.
struct Rest<'a>(&'a [u8]);

impl Write for Rest<'_> {
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(json).ok_or(io::ErrorKind::InvalidData)?;
        Ok(json.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

/// Large answers that are put together in one piece at a time: each takes some times its size for
/// that moment.
static TURN: Semaphore = Semaphore::const_new(1);

/// Waits for the turn to put `answer` together in one piece, if it is large.
pub(super) async fn turn(answer: &Answer) -> Option<SemaphorePermit<'static>> {
    if answer.extras_bytes() > LARGE { TURN.acquire().await.ok() } else { None }
}

/// The JSON of `value` if it is large, made once for all who are sent it at a time.
pub(super) fn made(value: &impl Serialize) -> Option<Bytes> {
    SENT.made(value)
}

/// A body that is given in one piece. A large one is shared, and taken in parts.
pub(super) fn body(bytes: impl Into<Bytes>) -> BoxBody {
    let bytes = shared(bytes.into());
    if bytes.len() <= LARGE {
        return bytes.boxed();
    }
    let length = bytes.len() as u64;
    let mut mixed = Mixed::default();
    mixed.share(bytes);
    in_parts(length, mixed)
}

/// The same for what may have large pieces.
pub(super) fn mixed(mut mixed: Mixed) -> BoxBody {
    let length = mixed.len();
    if length <= LARGE { mixed.take().boxed() } else { in_parts(length as u64, mixed) }
}

fn in_parts(length: u64, mixed: Mixed) -> BoxBody {
    let parts = stream::unfold(mixed, |mut rest| async move {
        let part = rest.take();
        (!part.is_empty()).then_some((Ok::<_, Infallible>(part), rest))
    });
    // In a box, because it is moved with each part.
    SizedStream::new(length, Box::pin(parts)).boxed()
}

/// A JSON answer, whose body may be large.
pub(super) fn json(mut response: HttpResponseBuilder, value: &impl Serialize) -> HttpResponse {
    response.content_type(ContentType::json());
    if let Some(json) = made(value) {
        return response.body(body(json));
    }
    match serde_json::to_vec(value) {
        Ok(json) => response.body(body(json)),
        Err(_) => Problem::internal().error_response(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::{BodySize, to_bytes};

    use super::*;

    fn bytes(of: u8) -> Bytes {
        vec![of; LARGE + 12_345].into()
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

    #[test]
    fn json_is_made_once_for_all_who_are_sent_it() {
        let sent = Sent::default();
        let long = "\u{2028}\u{e9}\"\n".repeat(LARGE / 5);
        let value = serde_json::json!({ "long": long, "n": [1, null] });
        let (one, two) = (sent.made(&value).unwrap(), sent.made(&value).unwrap());
        assert_eq!(one.as_ptr(), two.as_ptr());
        assert!(one == escaped(&value.to_string()).as_bytes());
        let other = sent.made(&serde_json::json!({ "long": long, "n": [2, null] })).unwrap();
        assert!(other != one && other.len() == one.len());
        assert!(sent.made(&"small").is_none());
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
