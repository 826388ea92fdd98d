//! Idempotency keys, and what makes two starts the same.
use actix_web::http::header::HeaderValue;
use actix_web::test::TestRequest;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::fuzz::{hold, soup};
use crate::http::body;
use crate::http::protocols::native::prompt::StartBody;
use crate::http::start::{idempotency, idempotency_key};

const WORDS: &[&[u8]] = &[
    b"a",
    b"k-1",
    b"!",
    b"~",
    b" ",
    b"\t",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"%00",
    b"\"",
    b",",
    b"\r",
    "é".as_bytes(),
    &[b'k'; 60],
    &[b'k'; 254],
];

#[test]
fn a_key_is_visible_ascii_and_there_is_one() {
    let keys = prop::collection::vec(soup(WORDS, 6), 0..3);
    hold("key", &keys, |keys| {
        let values: Vec<HeaderValue> =
            keys.iter().filter_map(|key| HeaderValue::from_bytes(key).ok()).collect();
        let mut request = TestRequest::post();
        for value in &values {
            request = request.append_header(("Idempotency-Key", value.clone()));
        }
        let found = idempotency_key(&request.to_http_request());
        let good = |key: &[u8]| {
            (1..=255).contains(&key.len()) && key.iter().all(|b| (b'!'..=b'~').contains(b))
        };
        match (&values[..], found) {
            ([], found) => assert_eq!(found.unwrap(), None),
            ([one], Ok(Some(key))) => {
                assert!(good(one.as_bytes()) && key.as_bytes() == one.as_bytes());
            }
            ([one], found) => assert!(found.is_err() && !good(one.as_bytes()), "{one:?}"),
            (_, found) => assert!(found.is_err(), "two keys"),
        }
    });
}

/// A body's fields, each with its value.
fn body() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let metadata = prop::collection::vec(("[a-c]", -2i64..2), 0..3).prop_map(|pairs| {
        Value::Object(pairs.into_iter().map(|(name, n)| (name, json!(n))).collect())
    });
    let optional = (
        prop::option::of(metadata),
        prop::option::of(1u32..3),
        prop::option::of(-1i64..2),
        prop::option::of(prop::sample::select(vec![0.0, 0.5, 1.0])),
        prop::option::of("[xy]"),
    );
    ("[ab]{1,2}", optional).prop_map(|(prompt, (metadata, most, seed, heat, stop))| {
        let mut fields = vec![("prompt", json!(prompt))];
        fields.extend(metadata.map(|value| ("metadata", value)));
        fields.extend(most.map(|n| ("max_output_tokens", json!(n))));
        fields.extend(seed.map(|n| ("seed", json!(n))));
        fields.extend(heat.map(|n| ("temperature", json!(n))));
        fields.extend(stop.map(|text| ("stop", json!(text))));
        fields
    })
}

/// A body as somebody writes it, and the fingerprint of its start.
fn fingerprint(fields: &[(&'static str, Value)], space: &str) -> Vec<u8> {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{space}\"{name}\":{space}{value}")).collect();
    let text = format!("{{{}{space}}}", fields.join(","));
    let body: StartBody = body::parse(text.as_bytes()).unwrap();
    let (request, turn) = body.check("demo", 1000).unwrap();
    idempotency("k".into(), &request, turn.as_ref()).fingerprint
}

#[test]
fn the_same_start_has_one_fingerprint_however_it_is_written() {
    let space = prop::sample::select(vec!["", " ", "\n\t"]);
    let input = (body().prop_shuffle(), body(), any::<prop::sample::Index>(), space);
    hold("fingerprint", &input, |(mut fields, other, turn, space)| {
        let one = fingerprint(&fields, "");
        let object = |fields: &[(&str, Value)]| -> Map<String, Value> {
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        // No metadata is empty metadata.
        let meant = |fields: &[(&str, Value)]| {
            let mut object = object(fields);
            object.retain(|name, value| name != "metadata" || value != &json!({}));
            object
        };
        let same = meant(&fields) == meant(&other);
        assert_eq!(fingerprint(&other, "") == one, same, "another start");
        let by = turn.index(fields.len());
        fields.rotate_left(by);
        assert_eq!(fingerprint(&fields, space), one, "in another order");
    });
}
