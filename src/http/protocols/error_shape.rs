//! The shape of a protocol's refusals.
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, ResponseError};

use super::{anthropic, openai};
use crate::http::problem::Problem;

/// How the clients of a route read a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum ErrorShape {
    /// RFC 9457 problem details, as the native API.
    Problem,
    /// OpenAI's object.
    OpenAi,
    /// OpenAI's object in our own, for routes of both.
    OpenAiBeside,
    /// Anthropic's object.
    Anthropic,
}

/// The paths below `/v1` that are ours, and all below them. Everything else below it is OpenAI's,
/// or a part of its API that is not here.
const NATIVE: [&str; 6] =
    ["/v1/generations", "/v1/session", "/v1/tickets", "/v1/ws", "/v1/admin", "/v1/shared"];
/// Ours and OpenAI's.
const CONVERSATIONS: &str = "/v1/conversations";
/// Both have the list; a single model is OpenAI's alone.
const MODELS: &str = "/v1/models";

impl ErrorShape {
    /// The shape of whatever is, or would be, at the request's path.
    pub(in crate::http) fn of(request: &HttpRequest) -> Self {
        let path = request.match_info().as_str();
        let below = |route: &str| {
            path.strip_prefix(route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if anthropic::speaks_anthropic(request) {
            Self::Anthropic
        } else if below(CONVERSATIONS) {
            Self::OpenAiBeside
        } else if path.starts_with("/v1/") && path != MODELS && !NATIVE.iter().any(|r| below(r)) {
            Self::OpenAi
        } else {
            Self::Problem
        }
    }

    /// The refusal in this shape.
    pub(in crate::http) fn response(self, problem: &Problem) -> HttpResponse {
        match self {
            Self::Problem => problem.error_response(),
            Self::OpenAi => openai::error_object::response(problem),
            Self::OpenAiBeside => openai::error_object::beside(problem),
            Self::Anthropic => anthropic::error_object::response(problem),
        }
    }

    /// Gives this shape to the [`Problem`] of a route, if it is one.
    pub(in crate::http) async fn wrap<B: MessageBody + 'static>(
        self,
        request: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<BoxBody>, Error> {
        let shaped = |error: &Error| error.as_error::<Problem>().map(|p| self.response(p));
        match next.call(request).await {
            Ok(response) => {
                let shaped = response.response().error().and_then(shaped);
                Ok(match shaped {
                    Some(shaped) => response.into_response(shaped),
                    None => response.map_into_boxed_body(),
                })
            }
            Err(error) => match shaped(&error) {
                Some(response) => Err(InternalError::from_response(error, response).into()),
                None => Err(error),
            },
        }
    }
}
