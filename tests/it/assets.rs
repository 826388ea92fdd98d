//! The chat page and its files, as a browser asks for them.
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, IF_NONE_MATCH};
use reqwest::{Response, StatusCode};

use crate::client::Client;
use crate::harness::TestApp;

/// The first load, compressed, in bytes: a phone on a bad line has it in a second.
const FIRST_LOAD: usize = 100 * 1024;

async fn browse(client: &Client, path: &str) -> Response {
    let request = client.http.get(format!("{}{path}", client.base));
    let request = request.header(ACCEPT, "text/html,*/*;q=0.8").header(ACCEPT_ENCODING, "gzip, br");
    request.send().await.unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// The files that the page loads before anyone touches it.
async fn files_of_page(client: &Client) -> Vec<String> {
    let request = client.http.get(format!("{}/", client.base)).header(ACCEPT, "text/html");
    let html = request.send().await.unwrap().text().await.unwrap();
    let parts = html.split('"').filter(|part| part.starts_with("/static/"));
    parts.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_the_page_and_curl_the_commands() {
    let app = TestApp::start().await;
    for path in ["/", "/c/0199aaaa-0000-7000-8000-000000000000", "/shared/token"] {
        let page = browse(&app.client, path).await;
        assert_eq!(header(page.headers(), "content-type"), "text/html; charset=utf-8", "{path}");
        assert_eq!(header(page.headers(), "cache-control"), "no-cache", "{path}");
        assert!(header(page.headers(), "vary").contains("accept"), "{path}");
    }
    let welcome = app.client.get("/").await;
    assert_eq!(header(welcome.headers(), "content-type"), "text/plain; charset=utf-8");
    assert!(header(welcome.headers(), "vary").starts_with("accept"));
    let head = app.client.http.head(format!("{}/static/app.js", app.client.base)).send().await;
    let head = head.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.text().await.unwrap(), "");
    for nothing in
        ["/static/", "/static/nothing.js", "/static/../Cargo.toml", "/static/package.json"]
    {
        let problem = browse(&app.client, nothing).await;
        assert_eq!(problem.status(), StatusCode::NOT_FOUND, "{nothing}");
    }
    app.stop().await;
}

/// The bytes of a head, as HTTP/1.1 writes its fields.
fn length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// A document runs no code of others, and nobody frames it.
fn check_document(path: &str, headers: &HeaderMap) {
    assert_eq!(header(headers, "referrer-policy"), "no-referrer", "{path}");
    assert_eq!(header(headers, "cross-origin-opener-policy"), "same-origin", "{path}");
    let policy = header(headers, "content-security-policy");
    // The page may make one named policy, for the address of its worker.
    let types = if path == "/" { "trusted-types shell;" } else { "trusted-types 'none'" };
    let required = "require-trusted-types-for 'script'";
    for rule in ["default-src 'none'", "frame-ancestors 'none'", required, types] {
        assert!(policy.contains(rule), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_guarded_and_the_first_load_is_small() {
    let app = TestApp::start().await;
    let mut files = files_of_page(&app.client).await;
    assert!(files.len() > 8, "{files:?}");
    assert!(files.iter().any(|file| file.ends_with("/app.js")), "{files:?}");
    files.push("/".into());
    let (mut sum, mut heads) = (0, Vec::new());
    for path in &files {
        let answer = browse(&app.client, path).await;
        assert_eq!(answer.status(), 200, "{path}");
        let headers = answer.headers().clone();
        assert_eq!(header(&headers, "content-encoding"), "gzip", "{path}");
        assert_eq!(header(&headers, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&headers, "cross-origin-resource-policy"), "same-origin", "{path}");
        if path == "/" || header(&headers, "content-type") == "image/svg+xml" {
            check_document(path, &headers);
        } else {
            heads.push(length(&headers));
        }
        sum += answer.bytes().await.unwrap().len();
    }
    println!("first load: {} files, {sum} bytes compressed", files.len());
    assert!(sum <= FIRST_LOAD, "{sum} bytes");
    // Forty heads are a good part of a first load: what only binds documents is not in them.
    assert!(heads.iter().all(|head| *head < 450), "{heads:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_cached_for_ever_and_the_rest_is_asked_for() {
    let app = TestApp::start().await;
    let files = files_of_page(&app.client).await;
    let of_build = files.iter().find(|file| file.ends_with("/style.css")).unwrap();
    let known = browse(&app.client, of_build).await;
    // A debug build reads the disk: what it serves may change at any time.
    let caching =
        if cfg!(debug_assertions) { "no-cache" } else { "public, max-age=31536000, immutable" };
    assert_eq!(header(known.headers(), "cache-control"), caching);
    let tag = header(known.headers(), "etag").to_owned();
    let body = known.bytes().await.unwrap();
    // A file of another build gets the present one, uncached, for a page that was loaded before a
    // deploy.
    for path in ["/static/style.css", "/static/0123456789abcdef/style.css"] {
        let answer = browse(&app.client, path).await;
        assert_eq!(header(answer.headers(), "cache-control"), "no-cache", "{path}");
        assert_eq!(answer.bytes().await.unwrap(), body, "{path}");
        let again = app.client.http.get(format!("{}{path}", app.client.base));
        let again = again.header(ACCEPT_ENCODING, "gzip").header(IF_NONE_MATCH, &tag).send();
        let again = again.await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!(header(again.headers(), "etag"), tag, "{path}");
    }
    let plain = app.client.get(of_build).await;
    assert_eq!(header(plain.headers(), "content-encoding"), "");
    assert_ne!(header(plain.headers(), "etag"), tag, "another form has another tag");
    assert!(plain.text().await.unwrap().contains("--accent"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_has_a_worker_and_can_be_installed() {
    let app = TestApp::start().await;
    let worker = browse(&app.client, "/worker.js").await;
    assert_eq!(worker.status(), 200);
    let headers = worker.headers().clone();
    assert_eq!(header(&headers, "content-type"), "text/javascript; charset=utf-8");
    assert_eq!(header(&headers, "cache-control"), "no-cache", "a new one is seen at once");
    let policy = header(&headers, "content-security-policy");
    assert!(policy.contains("script-src 'self';") && policy.contains("trusted-types 'none'"));
    for path in ["/shared/token", "/admin", "/docs"] {
        let page = browse(&app.client, path).await;
        let policy = header(page.headers(), "content-security-policy");
        assert!(policy.contains("trusted-types 'none'"), "{path}: {policy}");
        assert!(!policy.contains("manifest-src"), "{path}: {policy}");
    }
    let files = files_of_page(&app.client).await;
    let manifest = files.iter().find(|file| file.ends_with("/manifest.webmanifest")).unwrap();
    let manifest = browse(&app.client, manifest).await;
    assert_eq!(header(manifest.headers(), "content-type"), "application/manifest+json");
    app.stop().await;
}
