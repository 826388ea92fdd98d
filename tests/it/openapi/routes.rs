//! The documents against the routes and the frames, in both directions.
use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;

use super::{document, source};
use crate::harness::TestApp;

/// Pages for people: not the API.
const PAGES: [&str; 7] = ["/", "/c/", "/shared/", "/static/", "/docs", "/admin", "/worker.js"];

/// Every path literal that is an argument of `endpoint(…)` below src/http, or a constant for it.
fn routed() -> BTreeSet<String> {
    let src = crate::program::root().join("src");
    let mut found: BTreeSet<String> = paths_in(&source("http.rs")).into_iter().collect();
    let mut folders = vec![src.join("http")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.extend(paths_in(&std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

fn paths_in(text: &str) -> Vec<String> {
    let literal = |text: &str| {
        let path = text.trim_start().strip_prefix('"')?.split('"').next()?;
        path.starts_with('/').then(|| path.to_owned())
    };
    let calls = text.split("endpoint(").skip(1);
    calls
        .filter_map(|call| {
            literal(call).or_else(|| {
                // A constant of the same file.
                let name = call.trim_start().split([',', ')']).next()?.trim();
                let constant = name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
                let value = text.split(&format!("const {name}: &str =")).nth(1)?;
                constant.then(|| literal(value)).flatten()
            })
        })
        .collect()
}

/// As the document writes it: without what a parameter matches.
fn plain(path: &str) -> String {
    let mut plain = String::new();
    let mut skips = false;
    for c in path.chars() {
        skips = (skips || c == ':') && c != '}';
        if !skips {
            plain.push(c);
        }
    }
    plain
}

fn is_page(path: &str) -> bool {
    PAGES.iter().any(|page| path == *page || (page.len() > 1 && path.starts_with(page)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_in_the_document_and_nothing_else() {
    let app = TestApp::start().await;
    let document = document(&app, "/openapi.json").await;
    let described: BTreeMap<String, BTreeSet<String>> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys().map(|m| m.to_uppercase());
            (path.clone(), methods.collect())
        })
        .collect();
    let routed: BTreeSet<String> =
        routed().iter().map(|path| plain(path)).filter(|path| !is_page(path)).collect();
    assert_eq!(routed, described.keys().cloned().collect(), "routes, then the document");

    for (path, methods) in &described {
        let real = path.replace("{id}", "x").replace("{token}", "x").replace("{model}", "demo");
        // The methods that the path itself names, and then a test of each.
        let trace = send(&app, Method::TRACE, &real).await;
        assert_eq!(trace.status(), 405, "{path}");
        let allow = trace.headers()["allow"].to_str().unwrap().to_owned();
        let allowed: BTreeSet<String> = allow.split(", ").map(str::to_owned).collect();
        let mut written = allowed.clone();
        written.remove("HEAD");
        assert_eq!(&written, methods, "{path}");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let response = send(&app, method.parse().unwrap(), &real).await;
            let answers = response.status() != 405;
            assert_eq!(answers, allowed.contains(method), "{method} {path}");
        }
    }
    app.stop().await;
}

async fn send(app: &TestApp, method: Method, path: &str) -> reqwest::Response {
    let url = format!("{}{path}", app.client.base);
    app.client.http.request(method, url).send().await.unwrap()
}

/// The variants of an enum in a source, as serde writes them.
fn variants(text: &str, name: &str) -> BTreeSet<String> {
    let body =
        text.split(&format!("enum {name} {{\n")).nth(1).unwrap().split("\n}").next().unwrap();
    let of_the_enum =
        |line: &&str| line.starts_with("    ") && line[4..].starts_with(char::is_uppercase);
    let names = body.lines().filter(of_the_enum).map(|line| {
        let name: String = line.trim().chars().take_while(|c| c.is_alphanumeric()).collect();
        let mut snake = String::new();
        for c in name.chars() {
            if c.is_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        }
        snake
    });
    names.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_and_close_code_is_in_the_document_and_nothing_else() {
    let app = TestApp::start().await;
    let document = document(&app, "/asyncapi.json").await;
    let frames = source("http/protocols/websocket/frames.rs");
    for (operation, side, name) in
        [("hear", "client-", "ClientFrame"), ("say", "server-", "ServerFrame")]
    {
        let said = document["operations"][operation]["messages"].as_array().unwrap();
        let described: BTreeSet<String> = said
            .iter()
            .map(|m| m["$ref"].as_str().unwrap().rsplit('/').next().unwrap())
            .map(|key| key.strip_prefix(side).unwrap().to_owned())
            .collect();
        assert_eq!(described, variants(&frames, name));
        for kind in &described {
            let payload = &document["components"]["messages"][format!("{side}{kind}")]["payload"];
            assert_eq!(payload["properties"]["type"]["const"], kind.as_str());
        }
    }
    let codes: BTreeSet<String> = frames
        .lines()
        .filter_map(|line| line.split_once(" => (")?.1.split(',').next())
        .map(str::to_owned)
        .collect();
    let described: BTreeSet<String> = document["channels"]["socket"]["x-close-codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code["code"].to_string())
        .collect();
    assert_eq!(codes, described);
    let mut events = variants(&source("domain/event.rs"), "Event");
    // The entries of a newer version have their own words.
    events.remove("unknown");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let described = schemas["Event"]["oneOf"].as_array().unwrap().iter().map(|of| {
        let name = of["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        schemas[name]["properties"]["type"]["const"].as_str().unwrap().to_owned()
    });
    assert_eq!(events, described.collect());
    app.stop().await;
}
