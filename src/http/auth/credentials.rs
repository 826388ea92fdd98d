//! The credentials of a request.
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, web};

use crate::domain::key::Secret;
use crate::http::problem::Problem;

/// Under TLS: a browser takes it from this very host only, and never sends it in the clear.
pub(super) const SECURE_COOKIE: &str = "__Host-lastword";
/// Without TLS.
pub(super) const PLAIN_COOKIE: &str = "lastword";

/// The header that Anthropic's and other clients send in place of `Authorization`.
const KEY_HEADER: &str = "x-api-key";
/// The name of a ticket in a URL.
const TICKET: &str = "ticket";
/// A URL ends up in histories, in `Referer` headers and in the logs of proxies.
/// Names in lower case, without what separates their words.
const NOT_IN_URLS: [&str; 14] = [
    "key",
    "apikey",
    "xapikey",
    "openaiapikey",
    "token",
    "accesstoken",
    "authtoken",
    "bearer",
    "bearertoken",
    "authorization",
    "secret",
    "password",
    "jwt",
    "session",
];

/// The one credential that counts: what a program sends beats what a browser sends by itself.
pub(super) enum Presented {
    /// In a header.
    Key(String),
    /// In the URL, good for once or for one generation.
    Ticket(String),
    /// In a cookie.
    Session(String),
    /// None.
    Nothing,
}

impl Presented {
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        if let Some(key) = bearer(request.headers())? {
            return Ok(Self::Key(key));
        }
        if let Some(key) = one(request.headers(), KEY_HEADER)? {
            return Ok(Self::Key(key));
        }
        if let Some((_, ticket)) = pairs(request).into_iter().find(|(name, _)| name == TICKET) {
            return Ok(Self::Ticket(ticket));
        }
        Ok(session(request).map_or(Self::Nothing, Self::Session))
    }
}

/// The session in the request's cookies.
pub(super) fn session(request: &HttpRequest) -> Option<String> {
    [SECURE_COOKIE, PLAIN_COOKIE]
        .into_iter()
        .find_map(|name| request.cookie(name))
        .map(|cookie| cookie.value().to_owned())
}

/// RFC 6750 §2.1. Other schemes are a proxy's own, and say nothing to us.
fn bearer(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = one(headers, header::AUTHORIZATION.as_str())? else { return Ok(None) };
    let (scheme, key) = value.split_once(' ').unwrap_or((&value, ""));
    Ok(scheme.eq_ignore_ascii_case("bearer").then(|| key.trim().to_owned()))
}

fn one(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let detail = format!("`{name}` is there more than once");
        return Err(Problem::unauthorised("invalid_api_key", detail));
    }
    let text = value.to_str().map_err(|_| {
        Problem::unauthorised("invalid_api_key", format!("`{name}` holds no visible ASCII"))
    })?;
    Ok(Some(text.trim().to_owned()))
}

/// Refuses a key in the URL, whatever it is called there and whatever stands around it. Its name is
/// said again only if it is one of ours: it may be the key.
pub(super) fn refuse_in_url(request: &HttpRequest) -> Result<(), Problem> {
    let pairs = pairs(request);
    let named = pairs.iter().find(|(name, _)| NOT_IN_URLS.contains(&bare(name).as_str()));
    let found = Secret::lasts_in(super::path(request))
        || pairs.iter().any(|(name, value)| Secret::lasts_in(name) || Secret::lasts_in(value));
    if named.is_none() && !found {
        return Ok(());
    }
    let detail = "a URL is logged and remembered in many places: send the key as `Authorization: \
                  Bearer lw_…`, or POST /v1/tickets for a `?ticket=` that is good for once";
    let problem = Problem::bad_request("credentials_in_url", detail);
    Err(match named {
        Some((name, _)) => problem.with("field", name.as_str()),
        None => problem,
    })
}

fn bare(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn pairs(request: &HttpRequest) -> Vec<(String, String)> {
    let query = request.query_string();
    if query.is_empty() {
        return Vec::new();
    }
    web::Query::from_query(query).map(web::Query::into_inner).unwrap_or_default()
}
