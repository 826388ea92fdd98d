//! Answers that tools of others hold against a protocol or a schema language.
use serde_json::Value;

use crate::harness::TestApp;
use crate::raw::{exchange, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_stream_that_the_client_has_is_304() {
    let app = TestApp::start().await;
    let id = app.client.start_prompt("/demo tokens=3 tps=0").await;
    app.client.all(&id, 0).await;
    let path = format!("GET /v1/generations/{id}/stream");
    let ask = async |query: &str, head: &str| {
        exchange(app.address, &request(&format!("{path}{query}"), head, b"")).await
    };
    let first = ask("?offset=-1", "").await;
    let etag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.status, 200);
    for tags in [etag.clone(), format!("\"other\", {etag}"), format!("W/{etag}"), "*".into()] {
        let again = ask("?offset=-1", &format!("If-None-Match: {tags}\r\n")).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{tags}");
        assert_eq!(again.header("etag"), Some(&*etag));
        assert_eq!(again.header("stream-next-offset"), first.header("stream-next-offset"));
    }
    let other = ask("?offset=-1", "If-None-Match: \"other\"\r\n").await;
    assert_eq!((other.status, &other.body), (200, &first.body));
    let live = ask("?offset=-1&live=sse", "").await;
    assert_eq!(live.header("cache-control"), Some("no-cache, no-transform"));
    for (line, status) in [("PUT /v1/generations/x/stream", 405), ("GET /v1/nothing", 404)] {
        let refused = exchange(app.address, &request(line, "", b"")).await;
        assert_eq!(refused.status, status);
        assert_eq!(refused.header("x-content-type-options"), Some("nosniff"), "{line}");
    }
    app.stop().await;
}

/// Every list of words in a document, with where it is.
fn enums<'a>(at: String, value: &'a Value, found: &mut Vec<(String, &'a Vec<Value>)>) {
    if let Some(words) = value.get("enum").and_then(Value::as_array) {
        found.push((at.clone(), words));
    }
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, of)| enums(format!("{at}/{name}"), of, found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, of)| enums(format!("{at}/{n}"), of, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_are_as_generators_want_them() {
    let app = TestApp::start().await;
    let document = async |path: &str| app.client.get(path).await.json::<Value>().await.unwrap();
    let (open, asynchronous) = (document("/openapi.json").await, document("/asyncapi.json").await);
    let mut found = Vec::new();
    enums("openapi".into(), &open, &mut found);
    enums("asyncapi".into(), &asynchronous, &mut found);
    assert!(found.len() > 20);
    for (at, words) in found {
        let unique: std::collections::BTreeSet<String> =
            words.iter().map(Value::to_string).collect();
        assert_eq!(unique.len(), words.len(), "{at}");
    }
    let schemes = asynchronous["components"]["securitySchemes"].as_object().unwrap();
    for name in ["plain", "encrypted"] {
        let server = &asynchronous["servers"][name];
        assert!(server["host"].is_string() && server["protocol"].is_string(), "{server}");
        for scheme in server["security"].as_array().unwrap() {
            let name = scheme["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
            assert!(schemes.contains_key(name), "{name}");
        }
    }
    let text = asynchronous.to_string();
    for name in asynchronous["components"]["schemas"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("#/components/schemas/{name}\"")), "nobody uses {name}");
    }
    app.stop().await;
}
