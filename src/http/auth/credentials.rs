//! What a request brings to say who it is from.
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, web};

use crate::domain::key::{Secret, SecretKind};
use crate::http::problem::Problem;

/// Under TLS: a browser takes it from this very host only, and never sends it in the clear.
pub(super) const SECURE_COOKIE: &str = "__Host-lastword";
/// Without TLS.
pub(super) const PLAIN_COOKIE: &str = "lastword";

/// What anthropic's and other clients send in place of `Authorization`.
const KEY_HEADER: &str = "x-api-key";
/// What a one-time ticket is called in a URL.
const TICKET: &str = "ticket";
/// A URL ends up in histories, in `Referer` headers and in the logs of proxies.
const NOT_IN_URLS: [&str; 9] = [
    "key",
    "api_key",
    "apikey",
    "api-key",
    "x-api-key",
    "token",
    "access_token",
    "auth_token",
    "authorization",
];

/// The one credential that counts: what a program sends beats what a browser sends by itself.
pub(super) enum Presented {
    /// In a header.
    Key(String),
    /// In the URL, good for once.
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

/// Refuses a key in the URL, whatever it is called there.
pub(super) fn refuse_in_url(request: &HttpRequest) -> Result<(), Problem> {
    let lasting = |value: &str| {
        Secret::parse(value).is_some_and(|secret| match secret.kind() {
            SecretKind::Key | SecretKind::Session => true,
            SecretKind::Ticket => false,
        })
    };
    let found = pairs(request).into_iter().find(|(name, value)| {
        NOT_IN_URLS.contains(&name.to_ascii_lowercase().as_str()) || lasting(value)
    });
    let Some((name, _)) = found else { return Ok(()) };
    let detail = "a URL is logged and remembered in many places: send the key as `Authorization: \
                  Bearer lw_…`, or POST /v1/tickets for a `?ticket=` that is good for once";
    Err(Problem::bad_request("credentials_in_url", detail).with("field", name))
}

fn pairs(request: &HttpRequest) -> Vec<(String, String)> {
    let query = request.query_string();
    if query.is_empty() {
        return Vec::new();
    }
    web::Query::from_query(query).map(web::Query::into_inner).unwrap_or_default()
}
