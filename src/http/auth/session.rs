//! `/v1/session`: a browser signs in and out. Tickets: what a page of another origin connects
//! with.
use actix_web::cookie::time::Duration as CookieTime;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::credentials::{PLAIN_COOKIE, SECURE_COOKIE, session};
use crate::engine::{Access, Caller, SESSION, TICKET};
use crate::http::connections::scheme;
use crate::http::problem::Problem;
use crate::http::{address, body, caller};

/// A key is 46 bytes.
pub(in crate::http) const SIGN_IN_BYTES: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    key: String,
}

/// Signs in: the key goes in, a cookie comes out that scripts cannot read.
pub(in crate::http) async fn sign_in(
    access: web::Data<Access>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let SignIn { key } = body::json(&request, payload, SIGN_IN_BYTES).await?;
    let (session, caller) = access.sign_in(key.trim()).await?;
    let cookie = cookie(&request, session.reveal(), SESSION.as_secs());
    Ok(HttpResponse::Ok().cookie(cookie).json(shown(&caller)))
}

/// Answers with the session's caller.
pub(in crate::http) async fn who(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let caller = caller(&request)?;
    Ok(HttpResponse::Ok().json(shown(&caller)))
}

/// Signs out, also when nobody was signed in.
pub(in crate::http) async fn sign_out(
    access: web::Data<Access>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    if let Some(session) = session(&request) {
        access.sign_out(&session).await?;
    }
    let mut response = HttpResponse::NoContent();
    for name in [SECURE_COOKIE, PLAIN_COOKIE] {
        if request.cookie(name).is_some() {
            response.cookie(forgotten(name));
        }
    }
    Ok(response.finish())
}

/// A ticket for one connection.
pub(in crate::http) async fn ticket(
    access: web::Data<Access>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&request)?;
    let ticket = access.ticket(&caller).await?;
    Ok(HttpResponse::Created()
        .insert_header(("Cache-Control", "no-store"))
        .json(json!({ "ticket": ticket.reveal(), "expires_in_s": TICKET.as_secs() })))
}

/// A ticket that reads one generation, as often as its reader comes back.
pub(in crate::http) async fn generation_ticket(
    access: web::Data<Access>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (caller, at) = (caller(&request)?, address(&request)?);
    let ticket = access.ticket_for(&caller, &at).await?;
    let ticket = ticket.ok_or_else(Problem::no_such_generation)?;
    Ok(HttpResponse::Created()
        .insert_header(("Cache-Control", "no-store"))
        .json(json!({ "ticket": ticket.reveal(), "generation": at.id })))
}

fn shown(caller: &Caller) -> Value {
    json!({
        "tenant": caller.tenant(),
        "key": caller.key(),
        "name": caller.name(),
        "scopes": caller.scopes(),
        "limits": caller.limits(),
        "expires_in_s": caller.left().map(|left| left.as_secs()),
    })
}

fn cookie(request: &HttpRequest, value: &str, seconds: u64) -> Cookie<'static> {
    // A proxy in front of us that speaks TLS says so; who lies about it only harms itself.
    let secure = scheme(request) == "https";
    let name = if secure { SECURE_COOKIE } else { PLAIN_COOKIE };
    Cookie::build(name, value.to_owned())
        .http_only(true)
        .secure(secure)
        .same_site(SameSite::Strict)
        .path("/")
        .max_age(CookieTime::seconds(i64::try_from(seconds).unwrap_or_default()))
        .finish()
}

/// Makes a browser drop it.
pub(in crate::http) fn forgotten(name: &'static str) -> Cookie<'static> {
    Cookie::build(name, "")
        .http_only(true)
        .secure(name == SECURE_COOKIE)
        .same_site(SameSite::Strict)
        .path("/")
        .max_age(CookieTime::ZERO)
        .finish()
}
