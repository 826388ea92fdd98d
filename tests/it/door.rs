//! Browsers, tickets, foreign pages, and the end of streams with the credential that opened them.
use std::time::Duration;

use lastword::engine::Anonymous;
use reqwest::header::{COOKIE, ORIGIN, SET_COOKIE};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::client::{Client, Reader, Received, Transport, assert_whole};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config};
use crate::keys::{locked, make_key};

/// Never ends by itself.
const ENDLESS: &str = "/demo tokens=1000000 tps=20 ttft_ms=0";

fn get(client: &Client, path: &str) -> RequestBuilder {
    client.http.get(format!("{}{path}", client.base))
}

fn post(client: &Client, path: &str, body: &Value) -> RequestBuilder {
    client.http.post(format!("{}{path}", client.base)).json(body)
}

async fn code(response: Response, status: u16) -> String {
    assert_eq!(response.status(), status);
    let problem: Value = response.json().await.unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

async fn start(client: &Client, key: &str, prompt: &str) -> String {
    let body = json!({ "prompt": prompt });
    let started = post(client, "/v1/generations", &body).bearer_auth(key).send().await.unwrap();
    assert_eq!(started.status(), StatusCode::CREATED);
    started.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

fn events(id: &str) -> String {
    format!("/v1/generations/{id}/events")
}

async fn two_locked(notify: bool) -> (TestApp, TestApp) {
    let database = TestDatabase::create().await;
    make_key(&database, &["--name", "spare"]).await;
    let mut config = config(&database);
    (config.anonymous, config.notify) = (Anonymous::Refused, notify);
    let one = TestApp::on(database.clone(), config.clone()).await;
    (one, TestApp::on(database, config).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_loses_its_streams_on_every_instance() {
    for notify in [true, false] {
        let (one, two) = two_locked(notify).await;
        let key = make_key(&one.database, &["--name", "leaked"]).await;
        let other = make_key(&one.database, &["--name", "other"]).await;
        let id = start(&one.client, &key, ENDLESS).await;
        let open = async |app: &TestApp, key: &str| {
            let response = get(&app.client, &events(&id)).bearer_auth(key).send().await.unwrap();
            let mut reader = Reader::new(response);
            reader.take(2).await;
            reader
        };
        let (mut near, mut far) = (open(&one, &key).await, open(&two, &key).await);
        let mut stays = open(&two, &other).await;
        let args = ["revoke", "leaked"];
        crate::keys::told_by(&one.config, &args).await;
        near.rest().await;
        far.rest().await;
        for app in [&one, &two] {
            let again = get(&app.client, &events(&id)).bearer_auth(&key).send().await.unwrap();
            assert_eq!(code(again, 401).await, "key_revoked");
        }
        stays.take(3).await;
        let path = format!("/v1/generations/{id}/cancel");
        let ended = post(&two.client, &path, &json!({})).bearer_auth(&other).send().await;
        assert_eq!(ended.unwrap().status(), 200);
        one.stop().await;
        two.stop().await;
    }
}

/// A request without streaming waited to the end of the answer. It then gave the answer to a client
/// that had lost its key.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_waits_for_nothing() {
    let (one, two) = two_locked(true).await;
    let key = make_key(&one.database, &["--name", "leaked"]).await;
    let id = start(&one.client, &key, "/demo tokens=1000000 tps=0.01 ttft_ms=0").await;
    let stream = get(&one.client, &events(&id)).bearer_auth(&key).send().await.unwrap();
    let mut reader = Reader::new(stream);
    reader.take(2).await;
    let poll = format!("/v1/generations/{id}/stream?offset=now&live=long-poll");
    let poll = get(&two.client, &poll).bearer_auth(&key).send();
    let chat = json!({ "model": "demo", "messages": [{ "role": "user", "content": ENDLESS }] });
    let chat = post(&two.client, "/v1/chat/completions", &chat).bearer_auth(&key).send();
    let response = json!({ "model": "demo", "input": ENDLESS });
    let response = post(&one.client, "/v1/responses", &response).bearer_auth(&key).send();
    let revoked = async {
        // All three have begun to wait once both answers run.
        while one.database.number("select count(*) from generations").await < 3 {}
        crate::keys::told_by(&one.config, &["revoke", "leaked"]).await;
    };
    let (poll, chat, response, ()) = tokio::join!(poll, chat, response, revoked);
    assert_eq!(code(poll.unwrap(), 401).await, "key_revoked");
    for refused in [chat.unwrap(), response.unwrap()] {
        assert_eq!(refused.status(), 401);
        let error: Value = refused.json().await.unwrap();
        assert_eq!(error["error"]["code"], "key_revoked");
    }
    reader.rest().await;
    let cancel = "update generations set status = 'cancelling', cancel_requested_at = now()";
    sqlx::query(cancel).execute(&mut one.database.connect().await).await.unwrap();
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_loses_its_streams() {
    let (app, _) = locked(&[]).await;
    let key = make_key(&app.database, &["--expires", "3s"]).await;
    let id = start(&app.client, &key, ENDLESS).await;
    let stream = get(&app.client, &events(&id)).bearer_auth(&key).send().await.unwrap();
    let mut reader = Reader::new(stream);
    reader.rest().await;
    let again = get(&app.client, &events(&id)).bearer_auth(&key).send().await.unwrap();
    assert_eq!(code(again, 401).await, "key_expired");
    let cancel = "update generations set status = 'cancelling'";
    sqlx::query(cancel).execute(&mut app.database.connect().await).await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_ends_and_its_reader_comes_back() {
    let app = TestApp::with(|config| config.limits.connection_age = Duration::from_secs(1)).await;
    let id = app.client.start_prompt("/demo tokens=60 tps=40 ttft_ms=0 seed=3").await;
    let read = async |over| {
        let client = app.client.over(over);
        let (mut seen, mut connections) = (Vec::<Received>::new(), 0);
        while seen.last().is_none_or(|event| event.name != "done") {
            seen.extend(client.events(&id, seen.len() as u64).await.rest().await);
            connections += 1;
        }
        assert_whole(&seen);
        assert!(connections > 1, "it was cut over {over:?}");
        seen
    };
    let (sse, socket) = tokio::join!(read(Transport::Sse), read(Transport::WebSocket));
    assert_eq!(sse, socket);
    app.stop().await;
}

/// The session's cookie, as a browser sends it back, and as the server set it.
async fn sign_in(client: &Client, key: &str) -> (String, String) {
    let signed = post(client, "/v1/session", &json!({ "key": key })).send().await.unwrap();
    assert_eq!(signed.status(), 200);
    let set = signed.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    (set.split(';').next().unwrap().to_owned(), set)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_and_out() {
    let (app, key) = locked(&["--tenant", "acme"]).await;
    let client = &app.client;
    let wrong = json!({ "key": format!("lw_{}", "0".repeat(43)) });
    let refused = post(client, "/v1/session", &wrong).send().await.unwrap();
    assert_eq!(code(refused, 401).await, "invalid_api_key");

    let (cookie, set) = sign_in(client, &key).await;
    assert!(cookie.starts_with("lastword=lws_") && !set.contains(&key), "{set}");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"] {
        assert!(set.contains(part), "{set}");
    }
    let secure = post(client, "/v1/session", &json!({ "key": key }))
        .header("x-forwarded-proto", "https")
        .send()
        .await
        .unwrap();
    let set = secure.headers()[SET_COOKIE].to_str().unwrap();
    assert!(set.starts_with("__Host-lastword=") && set.contains("Secure"), "{set}");

    let who = get(client, "/v1/session").header(COOKIE, &cookie).send().await.unwrap();
    let who: Value = who.json().await.unwrap();
    assert_eq!((&who["tenant"], &who["name"]), (&json!("acme"), &json!("test")));
    let as_key = get(client, "/v1/session").bearer_auth(cookie.split_once('=').unwrap().1);
    assert_eq!(code(as_key.send().await.unwrap(), 401).await, "invalid_api_key");

    let body = json!({ "prompt": ENDLESS });
    let write = || post(client, "/v1/generations", &body).header(COOKIE, &cookie);
    assert_eq!(code(write().send().await.unwrap(), 403).await, "csrf_failed");
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let refused = write().header(name, value).send().await.unwrap();
        assert_eq!(code(refused, 403).await, "csrf_failed", "{name}: {value}");
    }
    let started = write().header(ORIGIN, &client.base).send().await.unwrap();
    assert_eq!(started.status(), 201);
    let id = started.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let stream = || get(client, &events(&id)).header(COOKIE, &cookie);
    let refused = stream().header(ORIGIN, "https://evil.example").send().await.unwrap();
    assert_eq!(code(refused, 403).await, "origin_not_allowed");
    let mut reader =
        Reader::new(stream().header("sec-fetch-site", "same-origin").send().await.unwrap());
    reader.take(2).await;

    let out = client.http.delete(format!("{}/v1/session", client.base)).header(COOKIE, &cookie);
    let out = out.send().await.unwrap();
    assert_eq!(out.status(), 204);
    assert!(out.headers()[SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    reader.rest().await;
    let gone = get(client, "/v1/models").header(COOKIE, &cookie).send().await.unwrap();
    assert!(gone.headers()[SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(code(gone, 401).await, "invalid_api_key");
    let cancel = post(client, &format!("/v1/generations/{id}/cancel"), &json!({}));
    assert_eq!(cancel.bearer_auth(&key).send().await.unwrap().status(), 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_stream_on_any_instance() {
    let (one, two) = two_locked(false).await;
    let key = make_key(&one.database, &[]).await;
    let id = start(&one.client, &key, "/demo tokens=2 tps=0").await;
    let ticket = async || {
        let issued = post(&one.client, "/v1/tickets", &json!({})).bearer_auth(&key).send().await;
        let issued = issued.unwrap();
        assert_eq!(issued.status(), 201);
        let issued: Value = issued.json().await.unwrap();
        assert_eq!(issued["expires_in_s"], 30);
        issued["ticket"].as_str().unwrap().to_owned()
    };
    let path = |ticket: &str| format!("{}?ticket={ticket}", events(&id));
    let first = ticket().await;
    let stream = get(&two.client, &path(&first)).send().await.unwrap();
    assert_whole(&Reader::new(stream).rest().await);
    let again = get(&two.client, &path(&first)).send().await.unwrap();
    assert_eq!(code(again, 401).await, "invalid_api_key");
    let late = ticket().await;
    let expire = "update tickets set expires_at = now()";
    sqlx::query(expire).execute(&mut one.database.connect().await).await.unwrap();
    let late = get(&two.client, &path(&late)).send().await.unwrap();
    assert_eq!(code(late, 401).await, "invalid_api_key");
    let none = post(&one.client, "/v1/tickets", &json!({})).send().await.unwrap();
    assert_eq!(code(none, 401).await, "unauthenticated");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_a_generation_reads_it_again_and_again_until_its_key_ends() {
    let (one, two) = two_locked(false).await;
    let key = make_key(&one.database, &[]).await;
    let id = start(&one.client, &key, "/demo tokens=2 tps=0").await;
    let other = start(&one.client, &key, "/demo tokens=2 tps=0").await;
    let path = format!("/v1/generations/{id}/tickets");
    let issued = post(&one.client, &path, &json!({})).bearer_auth(&key).send().await.unwrap();
    assert_eq!(issued.status(), 201);
    assert_eq!(issued.headers()["cache-control"], "no-store");
    let issued: Value = issued.json().await.unwrap();
    assert_eq!(issued["generation"], id.as_str());
    let ticket = issued["ticket"].as_str().unwrap();
    let ask = async |client: &Client, path: &str| {
        get(client, &format!("{path}?ticket={ticket}")).send().await.unwrap()
    };
    for client in [&two.client, &one.client, &two.client] {
        let again = format!("{}?ticket={ticket}&lastEventId=1", events(&id));
        Reader::new(get(client, &again).send().await.unwrap()).rest().await;
        assert_whole(&Reader::new(ask(client, &events(&id)).await).rest().await);
    }
    assert_eq!(ask(&one.client, &format!("/v1/generations/{id}")).await.status(), 200);
    for path in [events(&other), "/v1/generations".into(), "/v1/models".into()] {
        assert_eq!(code(ask(&one.client, &path).await, 401).await, "invalid_api_key", "{path}");
    }
    let cancel = format!("/v1/generations/{id}/cancel?ticket={ticket}");
    let cancel = post(&one.client, &cancel, &json!({})).send().await.unwrap();
    assert_eq!(code(cancel, 401).await, "invalid_api_key", "it only reads");
    let unknown = path.replace(&id, "00000000-0000-7000-8000-000000000000");
    let unknown = post(&one.client, &unknown, &json!({})).bearer_auth(&key).send().await.unwrap();
    assert_eq!(code(unknown, 404).await, "not_found");
    ends_with_its_key(&one, &two, &key).await;
    one.stop().await;
    two.stop().await;
}

/// A stream that a ticket of its generation opened ends with the ticket's key, and stays shut.
async fn ends_with_its_key(one: &TestApp, two: &TestApp, key: &str) {
    let other = make_key(&one.database, &["--name", "other"]).await;
    let id = start(&one.client, key, ENDLESS).await;
    let issued = post(&one.client, &format!("/v1/generations/{id}/tickets"), &json!({}));
    let issued: Value = issued.bearer_auth(key).send().await.unwrap().json().await.unwrap();
    let path = format!("{}?ticket={}", events(&id), issued["ticket"].as_str().unwrap());
    let mut reader = Reader::new(get(&two.client, &path).send().await.unwrap());
    reader.take(2).await;
    let end = "update keys set revoked_at = now() where name <> 'other'";
    sqlx::query(end).execute(&mut one.database.connect().await).await.unwrap();
    reader.rest().await;
    let gone = get(&two.client, &path).send().await.unwrap();
    assert!(["key_revoked", "invalid_api_key"].contains(&code(gone, 401).await.as_str()));
    let cancel = post(&one.client, &format!("/v1/generations/{id}/cancel"), &json!({}));
    assert_eq!(cancel.bearer_auth(&other).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_pages_may_ask_and_others_get_no_header() {
    let listed = "https://app.example";
    let app = TestApp::with(|config| config.cors_origins = vec![listed.into()]).await;
    let preflight = |origin: &str| {
        app.client
            .http
            .request(reqwest::Method::OPTIONS, format!("{}/v1/generations", app.client.base))
            .header(ORIGIN, origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
    };
    let allow = "access-control-allow-origin";
    let good = preflight(listed).send().await.unwrap();
    assert_eq!((good.status(), &good.headers()[allow]), (StatusCode::OK, &listed.parse().unwrap()));
    let models = |origin: &str| {
        get(&app.client, "/v1/models").header(ORIGIN, origin).header("sec-fetch-site", "cross-site")
    };
    let good = models(listed).send().await.unwrap();
    assert_eq!((good.status(), &good.headers()[allow]), (StatusCode::OK, &listed.parse().unwrap()));
    for foreign in ["https://evil.example", "https://app.example.evil.example", "null", "*"] {
        let private = preflight(foreign).header("access-control-request-private-network", "true");
        let refused = private.send().await.unwrap();
        assert!(!refused.headers().contains_key("access-control-allow-private-network"));
        assert!(!refused.status().is_success(), "{foreign}");
        assert!(!refused.headers().contains_key(allow), "{foreign}");
        let refused = models(foreign).send().await.unwrap();
        assert!(!refused.headers().contains_key(allow), "{foreign}");
        assert_eq!(code(refused, 403).await, "origin_not_allowed", "{foreign}");
    }
    app.stop().await;
}

/// The headers that openai-node, an Anthropic client and a Durable Streams client ask for in a
/// browser.
const OF_SDKS: &str = "authorization,content-type,x-stainless-os,x-stainless-retry-count,\
    openai-organization,anthropic-version,anthropic-dangerous-direct-browser-access,traceparent,\
    idempotency-key,last-event-id,if-none-match,cache-control,stream-seq";

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_page_may_send_what_its_sdk_sends_and_read_what_it_needs() {
    let listed = ["https://app.example", "tauri://localhost", "chrome-extension://abcdefgh"];
    let app = TestApp::with(|config| config.cors_origins = listed.map(String::from).into()).await;
    for origin in listed {
        let url = format!("{}/v1/chat/completions", app.client.base);
        let preflight = app.client.http.request(reqwest::Method::OPTIONS, url);
        let preflight = preflight
            .header(ORIGIN, origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-private-network", "true")
            .header("access-control-request-headers", OF_SDKS);
        let answer = preflight.send().await.unwrap();
        let head = answer.headers();
        let of = |name: &str| head[name].to_str().unwrap().to_owned();
        assert_eq!(answer.status(), StatusCode::OK, "{origin}");
        assert_eq!(of("access-control-allow-origin"), origin);
        assert_eq!(of("access-control-allow-headers"), OF_SDKS);
        assert_eq!(of("access-control-allow-private-network"), "true");
        let models = get(&app.client, "/v1/models").header(ORIGIN, origin).send().await.unwrap();
        let exposed = models.headers()["access-control-expose-headers"].to_str().unwrap();
        let exposed: Vec<&str> = exposed.split(',').map(str::trim).collect();
        for name in ["stream-next-offset", "stream-closed", "etag", "x-request-id", "retry-after"] {
            assert!(exposed.contains(&name), "{name} is not in {exposed:?}");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_cannot_use_that_the_browser_is_here() {
    let app = TestApp::start().await;
    let body = json!({ "prompt": "/demo tokens=1 tps=0" });
    let write = || post(&app.client, "/v1/generations", &body);
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let refused = write().header(name, value).send().await.unwrap();
        assert_eq!(code(refused, 403).await, "csrf_failed");
    }
    for (name, value) in [("origin", app.client.base.as_str()), ("sec-fetch-site", "same-origin")] {
        assert_eq!(write().header(name, value).send().await.unwrap().status(), 201);
    }
    let link = get(&app.client, "/v1/models").header("sec-fetch-site", "cross-site");
    let link = link.header("sec-fetch-mode", "navigate").send().await.unwrap();
    assert_eq!(link.status(), 200, "who follows a link sees the page");
    app.stop().await;
}
