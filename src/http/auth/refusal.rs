//! A refusal in the words of the route that was asked.
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};

use super::credentials::{PLAIN_COOKIE, SECURE_COOKIE};
use super::session::forgotten;
use crate::domain::key::Scope;
use crate::engine::{Caller, Denied};
use crate::http::problem::Problem;
use crate::http::protocols::error_shape::ErrorShape;

/// The answer. A session that opens nothing is forgotten, or its browser would come with it again.
pub(super) fn response(request: &HttpRequest, problem: &Problem) -> HttpResponse {
    let mut response = ErrorShape::of(request).response(problem);
    if response.status() == StatusCode::UNAUTHORIZED {
        for name in [SECURE_COOKIE, PLAIN_COOKIE] {
            if request.cookie(name).is_some() {
                // Fails only for a cookie that is no header value; these are.
                let _ = response.add_cookie(&forgotten(name));
            }
        }
    }
    response
}

impl Problem {
    pub(super) fn unauthorised(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    pub(super) fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    pub(in crate::http) fn insufficient_scope(scope: Scope) -> Self {
        let detail = format!("this key has not the scope `{}`", scope.as_str());
        Self::forbidden("insufficient_scope", detail).with("scope", scope.as_str())
    }

    /// For a caller whose credential ended while it waited.
    pub(in crate::http) fn ended(caller: &Caller) -> Self {
        caller.ended().map_or_else(Self::internal, |why| Denied::from(why).into())
    }

    pub(in crate::http) fn rate_limited(wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        // Some protocols carry nothing but this sentence.
        let detail = format!(
            "more requests than this key may make in a minute (`requests_per_minute`): try again \
             in {seconds} s"
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail)
            .with("limit", "requests_per_minute")
            .retry_after(seconds)
    }

    pub(in crate::http) fn internal() -> Self {
        let detail = "a fault of this server; its log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let detail = denied.to_string();
        match denied {
            Denied::Missing => Self::unauthorised("unauthenticated", detail),
            Denied::Invalid => Self::unauthorised("invalid_api_key", detail),
            Denied::Expired => Self::unauthorised("key_expired", detail),
            Denied::Revoked => Self::unauthorised("key_revoked", detail),
            Denied::TooMany(wait) => Self::rate_limited(wait),
            Denied::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(1)
            }
            Denied::NoRandomness(error) => {
                tracing::error!(%error, "no secret can be made");
                Self::internal()
            }
            Denied::Log(error) => error.into(),
        }
    }
}
