//! The chat page and its files, embedded in the binary. A debug build reads the disk, so that an
//! edit shows at the next reload.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, LazyLock, OnceLock};

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use super::protocols::native::shares::UNLISTED;
use super::{accept, lean, public, welcome};

#[derive(RustEmbed)]
#[folder = "static/"]
struct Files;

/// Where files are served; below it, a build's id may stand before the file's path.
const PREFIX: &str = "/static/";

/// No inline code or style, no `eval`, no HTML from text, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types 'none'";

/// Of the chat page: it may be installed, and one named policy gives the address of its worker.
const SHELL_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types shell; worker-src 'self'; manifest-src 'self'";

/// Under a build's id a file never changes: a year, the longest that caches honour.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// The type of the file that makes the page installable.
const MANIFEST: &str = "application/manifest+json";
/// The type of a drawing, which may hold code where it is opened by itself.
const PICTURE: &str = "image/svg+xml";
/// The type of a page.
const PAGE_KIND: &str = "text/html; charset=utf-8";
/// Elsewhere the browser asks each time, and gets a 304 while nothing has changed.
const ASK: &str = "no-cache";

/// A file that is ready to be sent.
struct Asset {
    body: Bytes,
    /// Made once, when a client first asks for it.
    gzip: OnceLock<Bytes>,
    tag: String,
    kind: &'static str,
}

/// All that a release build serves, by path.
static EMBEDDED: LazyLock<BTreeMap<String, Arc<Asset>>> = LazyLock::new(|| {
    let paths = Files::iter().map(std::borrow::Cow::into_owned);
    paths.filter_map(|path| Some((path.clone(), Arc::new(read(&path)?)))).collect()
});

/// Names the files as they are: another id, other addresses, and no cache can mix two builds.
static BUILD: LazyLock<String> = LazyLock::new(|| {
    if cfg!(debug_assertions) {
        return "dev".into();
    }
    let all: String =
        EMBEDDED.iter().map(|(path, asset)| format!("{path} {}\n", asset.tag)).collect();
    tag(all.as_bytes())
});

/// The page, with the addresses of this build.
static PAGE: LazyLock<Option<Arc<Asset>>> = LazyLock::new(|| page("index.html", ""));

/// The page of a shared link, in the same way.
static LINK: LazyLock<Option<Arc<Asset>>> = LazyLock::new(|| page("shared.html", ""));

/// The page of an address that is none, in the same way.
static NOWHERE: LazyLock<Option<Arc<Asset>>> = LazyLock::new(|| page("nowhere.html", ""));

/// The operator's page, in the same way.
static ADMIN: LazyLock<Option<Arc<Asset>>> = LazyLock::new(|| page("admin.html", ""));

/// The API reference, in the same way.
static DOCS: LazyLock<Option<Arc<Asset>>> = LazyLock::new(|| page("docs.html", ""));

impl Asset {
    fn new(body: Vec<u8>, kind: &'static str) -> Self {
        Self { tag: tag(&body), body: body.into(), gzip: OnceLock::new(), kind }
    }

    fn gzip(&self) -> &Bytes {
        self.gzip.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            // Writing to memory does not fail; should it, the plain bytes would be mislabelled,
            // so that nothing is sent at all.
            let written = encoder.write_all(&self.body).and_then(|()| encoder.finish());
            written.unwrap_or_default().into()
        })
    }

    /// Whether a compressed form is worth it: fonts and pictures are compressed already.
    fn shrinks(&self) -> bool {
        self.kind.starts_with("text/") || self.kind == PICTURE || self.kind == MANIFEST
    }

    /// Whether a browser shows it as a document, which has a policy of its own.
    fn is_document(&self) -> bool {
        self.kind == PAGE_KIND || self.kind == PICTURE
    }
}

/// `/`: the page for who asks for HTML by name, the three commands for `curl`.
pub(super) async fn root(request: HttpRequest) -> Result<HttpResponse, Problem> {
    if !accept::wants_page(&request) {
        return Ok(welcome::welcome(&request));
    }
    index(request).await
}

/// The page, at the address of a conversation: it reads its own address.
pub(super) async fn index(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let page = current(&request, "index.html", &PAGE)?;
    let mut response = send(&request, &page, ASK);
    let policy = HeaderValue::from_static(SHELL_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// `/worker.js`: what opens the page without the server. From the root, as it speaks for the root.
pub(super) async fn worker(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let asset = find("worker.js").ok_or_else(nothing_here)?;
    let mut response = send(&request, &asset, ASK);
    // A worker is bound by its own policy, as a document is.
    let policy = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// `/shared/{token}`: a page of its own, which asks for nothing but what is shared.
pub(super) async fn shared(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let page = current(&request, "shared.html", &LINK)?;
    let mut response = send(&request, &page, ASK);
    let (name, value) = UNLISTED;
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    Ok(response)
}

/// Any other address, in a browser.
pub(super) fn nowhere(request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let page = current(request, "nowhere.html", &NOWHERE)?;
    let mut response = send(request, &page, ASK);
    *response.status_mut() = StatusCode::NOT_FOUND;
    Ok(response)
}

/// `/admin`: the operator's page; what it shows, it asks for.
pub(super) async fn admin(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let page = current(&request, "admin.html", &ADMIN)?;
    Ok(send(&request, &page, ASK))
}

/// `/docs`: the API reference, which reads `/openapi.json`.
pub(super) async fn docs(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let page = current(&request, "docs.html", &DOCS)?;
    Ok(send(&request, &page, ASK))
}

/// `/static/app.js` and `/static/<build>/app.js`.
pub(super) async fn file(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = request.match_info().get("path").unwrap_or_default();
    let (path, caching) = match path.strip_prefix(BUILD.as_str()).and_then(|p| p.strip_prefix('/'))
    {
        Some(rest) if !cfg!(debug_assertions) => (rest, FOR_EVER),
        Some(rest) => (rest, ASK),
        None => (without_build(path), ASK),
    };
    let asset = find(path).ok_or_else(nothing_here)?;
    Ok(send(&request, &asset, caching))
}

/// A page that was loaded before a deploy asks for files of its build: it gets ours, uncached.
fn without_build(path: &str) -> &str {
    match path.split_once('/') {
        Some((build, rest))
            if build.len() == TAG && build.bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            rest
        }
        _ => path,
    }
}

fn nothing_here() -> Problem {
    Problem::not_found("there is nothing at this path")
}

fn find(path: &str) -> Option<Arc<Asset>> {
    if cfg!(debug_assertions) {
        return read(path).map(Arc::new);
    }
    EMBEDDED.get(path).cloned()
}

fn read(path: &str) -> Option<Asset> {
    let kind = kind(path)?;
    let body = Files::get(path)?.data.into_owned();
    // The comments of a library name its licence.
    let ours = path.ends_with(".js") || path.ends_with(".css");
    if !ours || path.starts_with("vendor/") {
        return Some(Asset::new(body, kind));
    }
    let body = lean::without_comments(&String::from_utf8_lossy(&body));
    Some(Asset::new(body.into_bytes(), kind))
}

/// The type of a file that is for browsers; nothing else is served.
fn kind(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next()?;
    match name.rsplit_once('.')?.1 {
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some(PICTURE),
        "png" => Some("image/png"),
        "woff2" => Some("font/woff2"),
        "webmanifest" => Some(MANIFEST),
        _ => None,
    }
}

/// A page as it is now, below the path that a proxy puts in front of ours.
fn current(
    request: &HttpRequest,
    name: &str,
    usual: &LazyLock<Option<Arc<Asset>>>,
) -> Result<Arc<Asset>, Problem> {
    let address = public::of(request);
    let found = match address.base() {
        "" if !cfg!(debug_assertions) => LazyLock::force(usual).clone(),
        base => page(name, base),
    };
    found.ok_or_else(nothing_here)
}

/// A page with this build's addresses, without the lines that name a library which this
/// build lacks.
fn page(name: &str, base: &str) -> Option<Arc<Asset>> {
    let file = Files::get(name)?;
    let prefix = format!("{PREFIX}{}/", BUILD.as_str());
    let root = format!("=\"{base}/");
    let mut html = String::new();
    for line in String::from_utf8_lossy(&file.data).lines() {
        let library = line.split('"').find_map(|part| part.strip_prefix("/static/vendor/"));
        if library.is_none_or(|name| Files::get(&format!("vendor/{name}")).is_some()) {
            html.push_str(&line.replace(PREFIX, &prefix).replace("=\"/", &root));
            html.push('\n');
        }
    }
    Some(Arc::new(Asset::new(html.into_bytes(), PAGE_KIND)))
}

/// Digits of a tag: 64 bits tell files apart.
const TAG: usize = 16;

fn tag(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(TAG);
    for byte in Sha256::digest(bytes).iter().take(TAG / 2) {
        let _infallible = write!(hex, "{byte:02x}");
    }
    hex
}

fn send(request: &HttpRequest, asset: &Asset, caching: &'static str) -> HttpResponse {
    let squeeze = asset.shrinks() && accept::takes_gzip(request);
    let tag = format!("\"{}{}\"", asset.tag, if squeeze { "-gz" } else { "" });
    let known = request.headers().get_all(header::IF_NONE_MATCH);
    if known.filter_map(|v| v.to_str().ok()).any(|v| v.contains(&tag)) {
        return guarded(HttpResponse::NotModified(), asset, caching, &tag).finish();
    }
    let mut response = guarded(HttpResponse::Ok(), asset, caching, &tag);
    response.content_type(asset.kind);
    if squeeze {
        response.insert_header((header::CONTENT_ENCODING, "gzip"));
        return response.body(asset.gzip().clone());
    }
    response.body(asset.body.clone())
}

/// The headers that guard an answer. A policy binds documents only; on the forty other files of
/// the page it would be most of a head.
fn guarded(
    mut response: HttpResponseBuilder,
    asset: &Asset,
    caching: &'static str,
    tag: &str,
) -> HttpResponseBuilder {
    response
        .insert_header((header::CACHE_CONTROL, caching))
        .insert_header((header::ETAG, tag))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((HeaderName::from_static("cross-origin-resource-policy"), "same-origin"));
    if !asset.is_document() {
        response.insert_header((header::VARY, "accept-encoding"));
        return response;
    }
    response
        .insert_header((header::VARY, "accept, accept-encoding"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((HeaderName::from_static("cross-origin-opener-policy"), "same-origin"));
    response
}
