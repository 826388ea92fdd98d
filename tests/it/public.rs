//! Another address than the server's own: behind a proxy, and below a path of it.
use reqwest::header::{CONTENT_SECURITY_POLICY, HOST, LOCATION, ORIGIN};
use serde_json::{Value, json};

use crate::client::{Client, assert_whole};
use crate::conversation::Talk;
use crate::harness::TestApp;

const PUBLIC: &str = "https://chat.example";

fn start(client: &Client, path: &str) -> reqwest::RequestBuilder {
    let prompt = json!({ "prompt": "/demo tokens=2 tps=0" });
    client.http.post(format!("{}{path}/v1/generations", client.base)).json(&prompt)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_in_front_is_understood_and_given_back() {
    let app = TestApp::with(|config| config.public_url = Some(format!("{PUBLIC}/ai"))).await;
    let started = start(&app.client, "/ai").send().await.unwrap();
    assert_eq!(started.status(), 201);
    let location = started.headers()[LOCATION].to_str().unwrap().to_owned();
    let id = started.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(location, format!("/ai/v1/generations/{id}"));
    assert_eq!(app.client.get(&location).await.status(), 200);
    assert_whole(&app.client.all(&id, 0).await);
    for (path, status) in [
        ("/ai/v1/models?x=1", 200),
        ("/ai/healthz", 200),
        ("/v1/models", 200),
        ("/aid/healthz", 404),
    ] {
        assert_eq!(app.client.get(path).await.status(), status, "{path}");
    }
    for path in ["/ai", "/ai/"] {
        let welcome = app.client.get(path).await.text().await.unwrap();
        assert!(welcome.contains(&format!("open {PUBLIC}/ai in a browser")), "{welcome}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_share_leads_to_the_public_address() {
    for (known, before) in [
        (None, ""),
        (Some(PUBLIC), PUBLIC),
        (Some("https://chat.example:8443/ai/"), "https://chat.example:8443/ai"),
        (Some("http://[2001:db8::1]:81/a/b"), "http://[2001:db8::1]:81/a/b"),
    ] {
        let app = TestApp::with(|config| config.public_url = known.map(str::to_owned)).await;
        let talk = Talk::open(&app.client, &json!({})).await;
        // Who asks under another name gets the same link: it is made to be given away.
        let asked = app.client.http.post(format!("{}{}", app.client.base, talk.path("/shares")));
        let asked = asked.header("x-forwarded-host", "evil.example").json(&json!({}));
        let shared: Value = asked.send().await.unwrap().json().await.unwrap();
        let token = shared["token"].as_str().unwrap();
        assert_eq!(shared["url"], format!("{before}/v1/shared/{token}"));
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_public_address_is_ours() {
    let own = async |app: &TestApp, forwarded: Option<(&str, &str)>| {
        let mut request = start(&app.client, "").header(ORIGIN, PUBLIC);
        if let Some((name, value)) = forwarded {
            request = request.header(name, value);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let x = Some(("x-forwarded-host", "chat.example"));
    let standard = Some(("forwarded", "for=192.0.2.1;proto=https;host=chat.example"));
    let plain = TestApp::start().await;
    for said in [None, x, standard] {
        assert_eq!(own(&plain, said).await, 403, "whoever likes can say so: {said:?}");
    }
    plain.stop().await;
    let proxied = TestApp::with(|config| config.trusted_proxies = vec!["127.0.0.0/8".into()]).await;
    assert_eq!(own(&proxied, None).await, 403);
    for said in [x, standard] {
        assert_eq!(own(&proxied, said).await, 201, "{said:?}");
    }
    // The names that a browser without a key may use are those that it uses itself.
    let rebound = app_get(&proxied).header(HOST, "evil.example").header("x-forwarded-host", "x");
    assert_eq!(rebound.send().await.unwrap().status(), 403);
    proxied.stop().await;
    let told = TestApp::with(|config| config.public_url = Some(PUBLIC.into())).await;
    assert_eq!(own(&told, None).await, 201);
    told.stop().await;
}

fn app_get(app: &TestApp) -> reqwest::RequestBuilder {
    app.client.http.get(format!("{}/v1/models", app.client.base))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_pages_may_show_ours_in_a_frame() {
    for (listed, says) in [
        (vec![], "frame-ancestors 'none'"),
        (
            vec!["self", "https://intranet.example"],
            "frame-ancestors 'self' https://intranet.example",
        ),
    ] {
        let listed: Vec<String> = listed.into_iter().map(str::to_owned).collect();
        let app = TestApp::with(|config| config.frame_ancestors = listed).await;
        for path in ["/", "/docs", "/admin"] {
            let page = app.client.http.get(format!("{}{path}", app.client.base));
            let page = page.header("accept", "text/html").send().await.unwrap();
            let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.contains(&format!("{says};")), "{path}: {policy}");
        }
        app.stop().await;
    }
}
