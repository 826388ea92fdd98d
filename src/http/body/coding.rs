//! `Content-Encoding` of a request's body, undone under a limit (RFC 9110 §8.4).
use std::io::Read;

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, header};
use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

use super::budget::Share;
use super::too_large;
use crate::http::problem::Problem;

/// The supported encodings, for the refusal of others.
const ACCEPTED: &str = "gzip, zstd, deflate";
/// Bytes that are decoded between two looks at the limit.
const PIECE: usize = 64 * 1024;
/// A window that any zstd decoder must support (RFC 9659).
const LEAST_WINDOW: usize = 8 << 20;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

impl Coding {
    /// The coding that the request names.
    ///
    /// # Errors
    /// 415 with `Accept-Encoding` for any other one, and for several.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let mut values = request.headers().get_all(header::CONTENT_ENCODING);
        let value = values.next().map(|value| value.to_str().unwrap_or("?").trim());
        let name = value.unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            _ if values.next().is_some() => {}
            "" | "identity" => return Ok(Self::Identity),
            "gzip" | "x-gzip" => return Ok(Self::Gzip),
            "deflate" => return Ok(Self::Deflate),
            "zstd" => return Ok(Self::Zstd),
            _ => {}
        }
        let detail = format!("send the body with one Content-Encoding of {ACCEPTED}, or without");
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let problem = Problem::new(status, "unsupported_content_encoding", detail);
        Err(problem.header(header::ACCEPT_ENCODING, ACCEPTED))
    }

    /// The decoded body, of at most `limit` bytes, each counted in `share`.
    ///
    /// # Errors
    /// 400 for what is not so encoded, 413 beyond the limit, 503 beyond the budget.
    pub(super) fn decode(
        self,
        bytes: Bytes,
        limit: usize,
        share: &mut Share,
    ) -> Result<Bytes, Problem> {
        let mut decoded = Vec::new();
        match self {
            Self::Identity => return Ok(bytes),
            Self::Gzip => drain(MultiGzDecoder::new(&bytes[..]), &mut decoded, limit, share)?,
            Self::Deflate => drain(ZlibDecoder::new(&bytes[..]), &mut decoded, limit, share)?,
            Self::Zstd => {
                let mut rest = &bytes[..];
                // A body may be several frames (RFC 8878 §3).
                while !rest.is_empty() {
                    let window = limit.max(LEAST_WINDOW) as u64;
                    let frame = StreamingDecoder::new_with_max_window_size(&mut rest, window);
                    drain(frame.map_err(|e| undecodable(&e))?, &mut decoded, limit, share)?;
                }
            }
        }
        Ok(decoded.into())
    }
}

fn drain(
    mut from: impl Read,
    into: &mut Vec<u8>,
    limit: usize,
    share: &mut Share,
) -> Result<(), Problem> {
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece).map_err(|e| undecodable(&e))?;
        if count == 0 {
            return Ok(());
        }
        if into.len() + count > limit {
            return Err(too_large(limit));
        }
        share.take(count)?;
        into.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
}

fn undecodable(error: &dyn std::fmt::Display) -> Problem {
    let detail = format!("the body is not what its Content-Encoding says: {error}");
    Problem::bad_request("invalid_body", detail)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use actix_web::ResponseError;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;
    use crate::http::body::budget::Bodies;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    fn decode(coding: Coding, bytes: &[u8], limit: usize) -> Result<Bytes, Problem> {
        let mut share = Bodies::new(1 << 30).share();
        coding.decode(Bytes::copy_from_slice(bytes), limit, &mut share)
    }

    #[test]
    fn a_body_decodes_up_to_its_limit_and_no_further() {
        let text = vec![b'a'; 300_000];
        let coded = [
            (Coding::Gzip, gzip(&text)),
            (Coding::Deflate, zlib(&text)),
            (Coding::Zstd, zstd(&text)),
        ];
        for (coding, bytes) in coded {
            assert!(bytes.len() < 3000, "{coding:?}");
            assert_eq!(decode(coding, &bytes, text.len()).unwrap(), text, "{coding:?}");
            let over = decode(coding, &bytes, text.len() - 1).unwrap_err();
            assert_eq!(over.status_code(), StatusCode::PAYLOAD_TOO_LARGE, "{coding:?}");
            let twice = [&bytes[..], &bytes[..]].concat();
            if coding != Coding::Deflate {
                assert_eq!(decode(coding, &twice, 600_000).unwrap().len(), 600_000, "{coding:?}");
            }
            let half = decode(coding, &bytes[..bytes.len() / 2], text.len()).unwrap_err();
            assert_eq!(half.status_code(), StatusCode::BAD_REQUEST, "{coding:?}");
        }
    }

    #[test]
    fn what_is_decoded_counts_in_the_budget() {
        let bodies = Bodies::new(100_000);
        let mut share = bodies.share();
        let bomb = gzip(&vec![0; 300_000]);
        let problem = Coding::Gzip.decode(bomb.into(), 1 << 30, &mut share).unwrap_err();
        assert_eq!(problem.status_code(), StatusCode::SERVICE_UNAVAILABLE);
        drop(share);
        assert!(bodies.share().take(100_000).is_ok(), "a share is given back");
    }

    proptest! {
        #[test]
        fn no_bytes_break_a_decoder(bytes: Vec<u8>, magic in 0..3usize) {
            let head: [&[u8]; 3] = [&[0x1f, 0x8b, 8], &[0x78, 0x9c], &[0x28, 0xb5, 0x2f, 0xfd]];
            let bytes = [head[magic], &bytes[..]].concat();
            let coding = [Coding::Gzip, Coding::Deflate, Coding::Zstd][magic];
            let _ = decode(coding, &bytes, 1 << 20);
        }
    }
}
