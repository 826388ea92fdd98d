//! `/v1/pictures` and below, and those of shared links.
use serde_json::{Value, json};

use super::operation::{Operation, Row, reference};
use super::schemas::{Named, closed, count, object, string};
use crate::domain::picture::PICTURE_BYTES;

const TAG: &str = "conversations";
const KINDS: [&str; 4] = ["image/png", "image/jpeg", "image/webp", "image/gif"];

pub(super) fn operations() -> Vec<Row> {
    let keep = Operation::new(TAG, "keepPicture", "Keep a picture, for parts of messages to name")
        .says(
            "Known by its bytes, whatever its type is said to be, and kept once. Left out of it is \
               all that its pixels do not need: positions, times, names, comments.",
        )
        .file("a PNG, JPEG, WebP or GIF", PICTURE_BYTES)
        .answers(201, "it is kept", "Picture")
        .answers(200, "it was there already", "Picture")
        .tells(201, &[("Location", "the picture")])
        .tells(200, &[("Location", "the picture")])
        .refuses(422, &["unsupported_picture", "broken_picture"]);
    let get = Operation::new(TAG, "getPicture", "A picture").place("picture", "its id");
    let shared =
        Operation::public(TAG, "getSharedPicture", "A picture of the branch behind a link")
            .place("token", "of the link: its own credential")
            .place("picture", "its id")
            .refuses(500, &["internal"])
            .refuses(503, &["storage_unavailable"]);
    vec![
        ("post", "/v1/pictures", keep),
        ("get", "/v1/pictures/{picture}", shows(get)),
        ("get", "/v1/shared/{token}/pictures/{picture}", shows(shared)),
    ]
}

fn shows(operation: Operation) -> Operation {
    let file = || json!({ "type": "string", "format": "binary" });
    let known = "it has not changed since `If-None-Match`";
    let shown = |operation: Operation, kind| operation.with(200, "the picture", kind, file());
    KINDS.into_iter().fold(operation, shown).empty(304, known)
}

pub(super) fn schemas() -> Vec<Named> {
    let id = || json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" });
    let kind = super::schemas::words(KINDS);
    let picture = object([("id", id()), ("media_type", kind), ("bytes", count())], []);
    let part = object([("type", json!({ "const": "image" })), ("picture", id())], []);
    vec![("Picture".into(), picture), ("ImagePart".into(), closed(part))]
}

/// A part of a message.
pub(super) fn part() -> Value {
    json!({ "anyOf": [reference("TextPart"), reference("ImagePart")] })
}

/// The same, or a text alone.
pub(super) fn part_or_text() -> Value {
    json!({ "anyOf": [string(), reference("TextPart"), reference("ImagePart")] })
}
