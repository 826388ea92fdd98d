//! Responses that one connection has read. The Open Responses specification wants a response that
//! is not stored (`store: false`) to be continued there only.
use std::collections::{HashMap, VecDeque};

use actix_web::http::StatusCode;

use super::frames::Lane;
use crate::domain::id::GenerationId;
use crate::http::problem::Problem;
use crate::http::protocols::openai::error_object;
use crate::http::protocols::openai_responses::socket::parse_id;

/// Responses that one connection remembers; the oldest goes first.
const MOST: usize = 64;

/// The responses of a connection.
#[derive(Debug, Default)]
pub(super) struct ReadHere {
    responses: VecDeque<GenerationId>,
    /// The response that the frame of a lane continues.
    continued: HashMap<Lane, GenerationId>,
}

impl ReadHere {
    /// The response of a lane is read from now on.
    pub(super) fn opened(&mut self, lane: &Lane, id: GenerationId) {
        self.continued.remove(lane);
        self.responses.retain(|known| *known != id);
        self.responses.push_back(id);
        if self.responses.len() > MOST {
            self.responses.pop_front();
        }
    }

    /// A frame of a lane continues the response of that id, or none; whether it is known here.
    pub(super) fn continues(&mut self, lane: &Lane, id: Option<&str>) -> bool {
        let id = id.and_then(|id| parse_id(id).ok());
        match id {
            Some(id) => self.continued.insert(lane.clone(), id),
            None => self.continued.remove(lane),
        };
        id.is_some_and(|id| self.responses.contains(&id))
    }

    /// The frame of a lane was refused: what it continued is no longer known here, so that the
    /// client sends everything again. A limit says nothing about it.
    pub(super) fn failed(&mut self, lane: &Lane, problem: &Problem) {
        let status = error_object::error(problem).0;
        let refused = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
        if let Some(id) = self.continued.remove(lane).filter(|_| refused) {
            self.responses.retain(|known| *known != id);
        }
    }
}
