//! A fault in a request about conversations is described clearly, and stores nothing.
use reqwest::Method;
use serde_json::{Value, json};

use crate::conversation::{Talk, request, told};
use crate::harness::TestApp;

const UNKNOWN: &str = "00000000-0000-7000-8000-000000000000";

type Row<'a> = (&'a Method, &'a str, Value, u16, &'a str, &'a str);

/// Each is refused, with its status, code and field (where there is one), and nothing is stored.
async fn refuse(app: &TestApp, rows: Vec<Row<'_>>) {
    for (method, path, body, status, code, field) in rows {
        let response = request(&app.client, method.clone(), path, Some(&body)).await;
        let (got, problem) = told(response).await;
        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{body}: {problem}");
        if !field.is_empty() {
            assert_eq!(problem["field"], field, "{body}: {problem}");
        }
    }
    assert_eq!(app.database.number("select count(*) from conversations").await, 1);
    assert_eq!(app.database.number("select count(*) from messages").await, 0);
    assert_eq!(app.database.number("select count(*) from generations").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_make_no_sense() {
    let app = TestApp::with(|config| config.limits.prompt_bytes = 1000).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let one = talk.path("");
    let all = "/v1/conversations";
    let (post, patch) = (Method::POST, Method::PATCH);
    let large = json!({"a": "x".repeat(17_000)});
    let rows = vec![
        (&post, all, json!({"titel": "x"}), 422, "unknown_field", "titel"),
        (&post, all, json!({"active_leaf": null}), 422, "unknown_field", "active_leaf"),
        (&post, all, json!({"title": 5}), 422, "invalid_type", "title"),
        (&post, all, json!({"title": ""}), 422, "out_of_range", "title"),
        (&post, all, json!({"title": "x".repeat(201)}), 422, "out_of_range", "title"),
        (&post, all, json!({"system": " "}), 422, "prompt_empty", "system"),
        (&post, all, json!({"system": "x".repeat(1001)}), 422, "prompt_too_long", "system"),
        (&post, all, json!({"metadata": []}), 422, "invalid_type", "metadata"),
        (&post, all, json!({"metadata": large}), 422, "metadata_too_large", ""),
        (&post, all, json!([]), 422, "invalid_type", "."),
        (&patch, &one, json!({"leaf": 1}), 422, "unknown_field", "leaf"),
        (&patch, &one, json!({"title": " "}), 422, "out_of_range", "title"),
        (&patch, &one, json!({"system": ""}), 422, "prompt_empty", "system"),
        (&patch, &one, json!({"active_leaf": 5}), 422, "invalid_type", "active_leaf"),
        (&patch, &one, json!({"active_leaf": "x"}), 404, "not_found", "active_leaf"),
        (&patch, &one, json!({"active_leaf": UNKNOWN}), 404, "not_found", "active_leaf"),
    ];
    refuse(&app, rows).await;
    let near = told(app.client.post(all, &json!({"titel": "x"})).await).await.1;
    assert!(near["detail"].as_str().unwrap().contains("`title`"), "{near}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_that_make_no_sense() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let (post, starts) = (Method::POST, "/v1/generations");
    let start = |more: Value| {
        let mut body = json!({"prompt": "hi", "conversation_id": talk.id});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let rows = vec![
        (&post, starts, start(json!({"parent_id": 5})), 422, "invalid_type", "parent_id"),
        (&post, starts, start(json!({"parent_id": "x"})), 404, "not_found", "parent_id"),
        (&post, starts, start(json!({"parent_id": UNKNOWN})), 404, "not_found", "parent_id"),
        (&post, starts, start(json!({"concurrent": 1})), 422, "invalid_type", "concurrent"),
        (&post, starts, start(json!({"prompt": " "})), 422, "prompt_empty", "prompt"),
        (&post, starts, json!({"conversation_id": talk.id}), 422, "missing_field", "prompt"),
        (&post, starts, json!({"conversation_id": 5}), 422, "invalid_type", "conversation_id"),
        (
            &post,
            starts,
            json!({"prompt": "a", "concurrent": true}),
            422,
            "missing_field",
            "conversation_id",
        ),
        (
            &post,
            starts,
            json!({"prompt": "a", "parent_id": null}),
            422,
            "missing_field",
            "conversation_id",
        ),
        (
            &post,
            starts,
            json!({"prompt": "a", "conversaton_id": ""}),
            422,
            "unknown_field",
            "conversaton_id",
        ),
    ];
    refuse(&app, rows).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_make_no_sense() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let (all, messages) = ("/v1/conversations".to_owned(), talk.path("/messages"));
    let long = format!("{all}?q={}", "x".repeat(201));
    let rows = [
        (format!("{all}?limit=0"), 422, "out_of_range"),
        (format!("{all}?limit=x"), 422, "out_of_range"),
        (format!("{all}?cursor=x"), 400, "invalid_cursor"),
        (format!("{all}?cursor=w-1-{UNKNOWN}"), 400, "invalid_cursor"),
        (format!("{all}?cursor=w99999999999999999999-{UNKNOWN}"), 400, "invalid_cursor"),
        (format!("{all}?cursor=w9223372036854775807-{UNKNOWN}"), 400, "invalid_cursor"),
        (format!("{all}?cursor={UNKNOWN}"), 400, "invalid_cursor"),
        (format!("{all}?cursor=w1-x"), 400, "invalid_cursor"),
        (format!("{all}?cursor=%C3%A9"), 400, "invalid_cursor"),
        (long, 422, "out_of_range"),
        (format!("{all}?q=%00"), 422, "invalid_character"),
        (format!("{messages}?all=maybe"), 400, "invalid_query"),
        (format!("{messages}?all=1&leaf={UNKNOWN}"), 400, "invalid_query"),
        (format!("{messages}?leaf={UNKNOWN}"), 404, "not_found"),
        (format!("{messages}?leaf=x"), 404, "not_found"),
    ];
    for (path, status, code) in rows {
        let (got, problem) = told(app.client.get(&path).await).await;
        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{path}: {problem}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_looks_the_same() {
    let app = TestApp::start().await;
    let mut bodies = Vec::new();
    for id in [UNKNOWN, "x", "%00", "a%2Fb", "0199"] {
        let path = |end: &str| format!("/v1/conversations/{id}{end}");
        let body = json!({"active_leaf": "x"});
        let routes = [
            (Method::GET, path(""), None),
            (Method::DELETE, path(""), None),
            (Method::PATCH, path(""), Some(&body)),
            (Method::POST, path(""), Some(&body)),
            (Method::GET, path("/items"), None),
            (Method::GET, path("/messages"), None),
            (Method::GET, path("/messages?leaf=x"), None),
            (Method::POST, path("/shares"), None),
            (Method::DELETE, path("/shares"), None),
        ];
        for (method, path, body) in routes {
            let (status, mut problem) = told(request(&app.client, method, &path, body).await).await;
            assert_eq!(status, 404, "{path}: {problem}");
            // The same for OpenAI's SDKs, for which a generation's start has no place.
            let error = problem.as_object_mut().unwrap().remove("error").unwrap_or_default();
            assert_eq!(error["message"], problem["detail"], "{path}");
            bodies.push(problem);
        }
        let start = json!({"prompt": "hi", "conversation_id": id});
        bodies.push(told(app.client.post("/v1/generations", &start).await).await.1);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:#?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_told_the_right_ones() {
    let app = TestApp::start().await;
    let one = format!("/v1/conversations/{UNKNOWN}");
    let routes = [
        ("/v1/conversations".to_owned(), "GET, HEAD, POST"),
        (one.clone(), "GET, HEAD, PATCH, POST, DELETE"),
        (format!("{one}/items"), "GET, HEAD, POST"),
        (format!("{one}/items/x"), "GET, HEAD, DELETE"),
        (format!("{one}/messages"), "GET, HEAD"),
        (format!("{one}/shares"), "POST, DELETE"),
        ("/v1/shared/x".to_owned(), "GET, HEAD"),
    ];
    for (path, allow) in routes {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let response = request(&app.client, method.clone(), &path, None).await;
            let known = allow.split(", ").any(|allowed| allowed == method.as_str());
            assert_eq!(response.status() != 405, known, "{method} {path}");
            if !known {
                assert_eq!(response.headers()["allow"], allow, "{path}");
            }
        }
    }
    app.stop().await;
}
