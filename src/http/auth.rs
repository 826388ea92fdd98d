//! Authentication, before any route runs: every route is behind this unless it is listed here.
mod credentials;
mod lasting;
mod origin;
mod refusal;
mod session;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};

use super::connections;
use super::problem::Problem;
use super::proper_id;
use crate::domain::id::{GenerationId, Tenant};
use crate::domain::key::Scope;
use crate::engine::{Access, Anonymous, Caller, Engine};
use credentials::Presented;
use lasting::Lasts;
pub use origin::{InvalidOrigin, Origins};
pub(super) use session::{SIGN_IN_BYTES, generation_ticket, sign_in, sign_out, ticket, who};

/// Answers without asking who: (method, path); a path that ends in `/` stands for all below it.
const PUBLIC: [(Option<Method>, &str); 15] = [
    (None, "/healthz"),
    (None, "/health"),
    (None, "/readyz"),
    (None, "/openapi.json"),
    (None, "/asyncapi.json"),
    (None, "/docs"),
    (None, "/favicon.ico"),
    (None, "/static/"),
    (None, "/worker.js"),
    // The page itself; what it shows, it asks for.
    (None, "/c/"),
    (None, "/shared/"),
    (None, "/admin"),
    // A link to read a conversation is its own credential.
    (None, "/v1/shared/"),
    (Some(Method::POST), "/v1/session"),
    (Some(Method::DELETE), "/v1/session"),
];

/// A socket's first frame may bring its key. A bad credential is told by a close code: a browser's
/// script cannot see a status.
const SOCKET: &str = "/v1/ws";

/// How a connection to [`SOCKET`] came in.
#[derive(Clone, Debug)]
pub(super) enum Entrance {
    /// We know who it is.
    Known(Caller),
    /// It brought nothing: its `hello` has to.
    Unknown,
    /// Its credential opens nothing, or it comes from a foreign page.
    Refused(&'static str),
}

/// The input of [`guard`].
pub(super) struct AuthContext<'a> {
    access: &'a Access,
    origins: &'a Origins,
}

/// Wraps all routes, inside [`super::answer()`]: puts the [`Caller`] into the request, or refuses.
///
/// # Errors
/// Only what the routes' services return.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let place = match connections::check(request.request()) {
        Ok(place) => place,
        Err(problem) => {
            let mut response = refusal::response(request.request(), &problem);
            response.head_mut().set_connection_type(ConnectionType::Close);
            return Ok(request.into_response(response));
        }
    };
    let caller = match admit(request.request()).await {
        Ok(caller) => caller,
        Err(problem) => {
            let response = refusal::response(request.request(), &problem);
            return Ok(request.into_response(response));
        }
    };
    let age = request.app_data::<web::Data<Engine>>().map(|engine| engine.connection_age());
    if let Some(caller) = &caller {
        request.extensions_mut().insert(caller.clone());
    }
    let response = next.call(request).await?.map_into_boxed_body();
    let terms = Terms { lasts: Lasts::of(&response, caller, age), _place: place };
    response.request().extensions_mut().insert(terms);
    Ok(response)
}

/// On what terms an answer is given; its body keeps them, see [`super::answer()`].
pub(super) struct Terms {
    /// Until when it goes on, if it is a stream.
    pub(super) lasts: Option<Lasts>,
    /// Among the connections, for as long as it goes on.
    _place: Option<connections::ConnectionPermit>,
}

/// The caller; `None` where none is needed.
async fn admit(request: &HttpRequest) -> Result<Option<Caller>, Problem> {
    let (Some(access), Some(origins)) =
        (request.app_data::<web::Data<Access>>(), request.app_data::<web::Data<Origins>>())
    else {
        return Err(Problem::internal());
    };
    let context = AuthContext { access, origins };
    credentials::refuse_in_url(request)?;
    if is_public(request) {
        return context.check_page(request, &Presented::Nothing).map(|()| None);
    }
    if is_socket(request) {
        let entrance = context.entrance(request).await?;
        let caller = match &entrance {
            Entrance::Known(caller) => Some(caller.clone()),
            Entrance::Unknown | Entrance::Refused(_) => None,
        };
        request.extensions_mut().insert(entrance);
        return Ok(caller);
    }
    context.admit(request).await.map(Some)
}

impl AuthContext<'_> {
    async fn admit(&self, request: &HttpRequest) -> Result<Caller, Problem> {
        let presented = Presented::of(request)?;
        self.check_page(request, &presented)?;
        let caller = self.identify(request, presented).await?;
        let scope = needed(request);
        if !caller.may(scope) {
            return Err(Problem::insufficient_scope(scope));
        }
        caller.count().map_err(Problem::rate_limited)?;
        Ok(caller)
    }

    /// Finds the caller by the one credential that counts.
    async fn identify(
        &self,
        request: &HttpRequest,
        presented: Presented,
    ) -> Result<Caller, Problem> {
        let caller = match presented {
            Presented::Key(key) => self.access.with_key(&key).await,
            Presented::Session(session) => self.access.with_session(&session).await,
            Presented::Ticket(ticket) => self.access.with_ticket(&ticket, read(request)).await,
            Presented::Nothing => self.access.without(),
        };
        let caller = caller?;
        if caller.key().is_none() && self.access.anonymous() == Anonymous::Here {
            origin::check_host(request)?;
        }
        Ok(caller)
    }

    /// Foreign pages must not use credentials that a browser sends by itself.
    fn check_page(&self, request: &HttpRequest, presented: &Presented) -> Result<(), Problem> {
        match presented {
            // A page that has these was given them.
            Presented::Key(_) | Presented::Ticket(_) => Ok(()),
            Presented::Session(_) => self.origins.check(request, true),
            Presented::Nothing => self.origins.check(request, false),
        }
    }

    /// How a socket comes in. Only what hits everybody is refused before the upgrade.
    async fn entrance(&self, request: &HttpRequest) -> Result<Entrance, Problem> {
        match self.admit(request).await {
            Ok(caller) => Ok(Entrance::Known(caller)),
            Err(problem) => match problem.code() {
                "unauthenticated" => Ok(Entrance::Unknown),
                code @ ("invalid_api_key" | "key_expired" | "key_revoked"
                | "origin_not_allowed" | "csrf_failed" | "host_not_allowed"
                | "insufficient_scope") => Ok(Entrance::Refused(code)),
                _ => Err(problem),
            },
        }
    }
}

/// The path as the routes see it: an encoded letter is that letter.
fn path(request: &HttpRequest) -> &str {
    request.match_info().as_str()
}

fn is_public(request: &HttpRequest) -> bool {
    let path = path(request);
    let safe = request.method() == Method::GET || request.method() == Method::HEAD;
    if path == "/" {
        return safe;
    }
    PUBLIC.iter().any(|(method, public)| {
        let place = if public.ends_with('/') { path.starts_with(public) } else { path == *public };
        place && method.as_ref().map_or(safe, |method| method == request.method())
    })
}

fn is_socket(request: &HttpRequest) -> bool {
    path(request) == SOCKET && request.headers().contains_key("upgrade")
}

/// The generation below which a request reads.
fn read(request: &HttpRequest) -> Option<GenerationId> {
    let safe = request.method() == Method::GET || request.method() == Method::HEAD;
    let below = path(request).strip_prefix("/v1/generations/").filter(|_| safe)?;
    proper_id(below.split('/').next()?)
}

/// The scope that a request needs.
fn needed(request: &HttpRequest) -> Scope {
    let safe = request.method() == Method::GET || request.method() == Method::HEAD;
    match path(request) {
        "/metrics" => Scope::Metrics,
        path if path.starts_with("/v1/admin/") => Scope::Admin,
        // The request that uses a ticket is checked again.
        "/v1/tickets" => Scope::Read,
        path if path.starts_with("/v1/generations/") && path.ends_with("/tickets") => Scope::Read,
        _ if safe => Scope::Read,
        _ => Scope::Write,
    }
}

/// The caller; `None` on a public route.
pub(super) fn caller(request: &HttpRequest) -> Option<Caller> {
    request.extensions().get::<Caller>().cloned()
}

/// The tenant of the request: none on a public route.
pub(super) fn tenant(request: &HttpRequest) -> Tenant {
    caller(request).map_or_else(Tenant::nobody, |caller| caller.tenant().clone())
}

/// How a socket came in.
pub(super) fn entrance(request: &HttpRequest) -> Entrance {
    request.extensions().get::<Entrance>().cloned().unwrap_or(Entrance::Unknown)
}
