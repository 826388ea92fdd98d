//! Which pages may use what a browser sends along by itself: a session, or that it is on this
//! machine.
use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::{Method, header};

use crate::http::problem::Problem;
use crate::http::public;

/// The origins of pages that may talk to us besides our own.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

/// Not an origin.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an origin: write it as https://app.example, without a path; there is no `*`")]
pub struct InvalidOrigin(String);

impl Origins {
    /// Each as browsers send it: scheme, host, and the port where it is not the usual one.
    ///
    /// # Errors
    /// One is no origin.
    pub fn parse(origins: &[String]) -> Result<Self, InvalidOrigin> {
        for origin in origins {
            // Apps and extensions have schemes of their own: app, tauri, chrome-extension.
            let (scheme, host) = origin.split_once("://").unwrap_or_default();
            let named = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
            let scheme =
                scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(named);
            if !scheme || host.is_empty() || !host.chars().all(plain) {
                return Err(InvalidOrigin(origin.clone()));
            }
        }
        Ok(Self(origins.iter().map(|origin| origin.to_ascii_lowercase()).collect()))
    }

    /// Them.
    #[must_use]
    pub fn list(&self) -> &[String] {
        &self.0
    }

    /// Refuses what a foreign page asks. `cookie`: a session came along, so that a browser it is.
    ///
    /// A browser itself tells a request's origin, and no page can change it. `Sec-Fetch-Site`
    /// (<https://www.w3.org/TR/fetch-metadata/>) comes where the address is trustworthy, `Origin`
    /// (<https://fetch.spec.whatwg.org/#origin-header>) elsewhere.
    pub(super) fn check(&self, request: &HttpRequest, cookie: bool) -> Result<(), Problem> {
        let head = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap_or("?"));
        let safe = request.method() == Method::GET || request.method() == Method::HEAD;
        let upgrade = request.headers().contains_key(header::UPGRADE);
        let origin = head("origin").map(str::to_ascii_lowercase);
        let listed = origin.as_ref().is_some_and(|origin| self.0.contains(origin));
        let good = match (head("sec-fetch-site"), &origin) {
            _ if listed => true,
            (Some("same-origin" | "none"), _) => true,
            // Somebody follows a link; the page that it is on does not see the answer.
            (Some(_), None) => safe && head("sec-fetch-mode") == Some("navigate"),
            (Some(_), Some(_)) => false,
            (None, Some(origin)) => is_ours(request, origin),
            // No browser of today, unless it shows a session.
            (None, None) => !cookie || (safe && !upgrade),
        };
        if good {
            return Ok(());
        }
        let code = if safe { "origin_not_allowed" } else { "csrf_failed" };
        let detail = "this comes from another page than ours: list its origin in `cors_origins`";
        Err(Problem::forbidden(code, detail))
    }
}

/// Whether the page was loaded from the host that it now asks. Proxies in front of us may speak
/// TLS, so the scheme does not tell.
fn is_ours(request: &HttpRequest, origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    if !matches!(scheme, "http" | "https") {
        return false;
    }
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let bare = |host: &str| host.strip_suffix(usual).unwrap_or(host).to_ascii_lowercase();
    public::of(request).hosts(request).iter().any(|ours| bare(ours) == bare(host))
}

/// Clients on this machine call it by a name of this machine. A page whose name was made to lead
/// here (DNS rebinding) does not, and neither does who comes through a public proxy.
pub(super) fn check_host(request: &HttpRequest) -> Result<(), Problem> {
    // Names that the public DNS cannot hold: RFC 6761, RFC 6762, RFC 8375, and ICANN's `internal`.
    const LOCAL: [&str; 6] = ["localhost", "local", "test", "internal", "home.arpa", "lan"];
    let Some(host) = public::own_host(request) else { return Ok(()) };
    let name = host.rsplit_once(':').map_or(host.as_str(), |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { &host }
    });
    let bare = name.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    let local = |suffix: &&str| bare.strip_suffix(*suffix).is_some_and(|rest| rest.ends_with('.'));
    if bare.parse::<IpAddr>().is_ok() || !bare.contains('.') || LOCAL.iter().any(local) {
        return Ok(());
    }
    let detail = "without a key only this machine is served, by a name of this machine: make a \
                  key with `lastword keys create`, or start with --insecure-no-auth";
    Err(Problem::forbidden("host_not_allowed", detail))
}
