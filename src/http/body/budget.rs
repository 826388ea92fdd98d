//! The memory that bodies may take which have arrived and are not yet parsed.
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::problem::Problem;

/// The budget of a process, in bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bodies(Arc<Semaphore>);

impl Bodies {
    /// Of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// A body's share, nothing as yet.
    pub(super) fn share(&self) -> Share {
        Share { of: Some(self.clone()), taken: None }
    }
}

/// The share of one body in the budget, given back when it is dropped.
#[derive(Debug)]
pub(in crate::http) struct Share {
    of: Option<Bodies>,
    taken: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// For the body of this request.
    pub(in crate::http) fn of(request: &HttpRequest) -> Self {
        let bodies = request.app_data::<web::Data<Bodies>>();
        bodies.map_or(Self { of: None, taken: None }, |bodies| bodies.share())
    }

    /// Takes `bytes` more, without waiting: bodies that wait for each other would never end.
    ///
    /// # Errors
    /// 503 if the others have the rest.
    pub(in crate::http) fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let Some(Bodies(budget)) = &self.of else { return Ok(()) };
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(budget).try_acquire_many_owned(count) else {
            let detail = "the bodies of other requests take all the memory there is for them";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
                .with("limit", "bodies_bytes")
                .retry_after(1));
        };
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }

    /// Gives all of it back.
    pub(in crate::http) fn release(&mut self) {
        self.taken = None;
    }
}
