//! Open connections are counted: one too many is told so, where actix would leave it waiting in the
//! kernel's queue without an answer.
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, Version};

use super::problem::Problem;
use super::public;

/// The open connections of this process.
#[derive(Clone, Debug)]
pub struct Connections {
    open: Arc<AtomicUsize>,
    most: usize,
}

/// Among the data of a connection that is encrypted.
#[derive(Clone, Copy, Debug)]
pub struct Encrypted;

/// The scheme of the address that the client used: as configured, else as a proxy in front says.
pub(super) fn scheme(request: &HttpRequest) -> String {
    if let Some(scheme) = public::of(request).scheme() {
        return scheme.into();
    }
    if request.conn_data::<Encrypted>().is_some() {
        return "https".into();
    }
    request.connection_info().scheme().into()
}

/// One of them, for as long as it is open.
#[derive(Debug)]
pub struct ConnectionPermit {
    all: Connections,
    within: bool,
}

impl ConnectionPermit {
    fn beside(&self) -> Self {
        self.all.enter()
    }
}

impl Connections {
    /// At most `most` are served.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { open: Arc::default(), most }
    }

    /// One more.
    #[must_use]
    pub fn enter(&self) -> ConnectionPermit {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        ConnectionPermit { all: self.clone(), within: before < self.most }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.all.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Refuses a request on a connection that is one too many. A request over HTTP/2 has a place of its
/// own: its connection carries as many as its client likes.
pub(super) fn check(request: &HttpRequest) -> Result<Option<ConnectionPermit>, Problem> {
    let Some(place) = request.conn_data::<Rc<ConnectionPermit>>() else { return Ok(None) };
    let beside = (request.version() == Version::HTTP_2).then(|| place.beside());
    if place.within && beside.as_ref().is_none_or(|place| place.within) {
        return Ok(beside);
    }
    let detail = "as many connections are open as this server serves";
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
        .with("limit", "connections")
        .retry_after(1))
}
