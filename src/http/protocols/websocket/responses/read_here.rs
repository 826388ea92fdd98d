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
    /// The frame of a lane was taken: its response is read from now on, or there is none to read.
    pub(super) fn opened(&mut self, lane: &Lane, id: Option<GenerationId>) {
        self.continued.remove(lane);
        let Some(id) = id else { return };
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
    /// client sends everything again. A limit says nothing about it, nor does a response that still
    /// runs.
    pub(super) fn failed(&mut self, lane: &Lane, problem: &Problem) {
        let status = error_object::error(problem).0;
        let later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::CONFLICT].contains(&status);
        let refused = status.is_client_error() && !later;
        if let Some(id) = self.continued.remove(lane).filter(|_| refused) {
            self.responses.retain(|known| *known != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::websocket::responses::read_here::*;

    fn id(n: u128) -> GenerationId {
        GenerationId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn a_refusal_forgets_what_it_continued_and_a_wait_does_not() {
        let mut read = ReadHere::default();
        let lane = Some("a".to_owned());
        let first = "resp_00000000000000000000000000000001";
        assert!(!read.continues(&lane, Some(first)));
        read.opened(&lane, Some(id(1)));
        for later in [
            Problem::new(StatusCode::CONFLICT, "generation_running", "x"),
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "x"),
            Problem::internal(),
        ] {
            assert!(read.continues(&lane, Some(first)));
            read.failed(&lane, &later);
        }
        assert!(read.continues(&lane, Some(first)), "it is still known");
        read.failed(&lane, &Problem::bad_request("tool_call_not_found", "x"));
        assert!(!read.continues(&lane, Some(first)));
    }

    /// A client can name as many lanes as it likes.
    #[test]
    fn a_lane_whose_frame_was_answered_leaves_nothing() {
        let mut read = ReadHere::default();
        for n in 0..1000_u32 {
            let lane = Some(n.to_string());
            read.continues(&lane, Some("resp_00000000000000000000000000000001"));
            read.opened(&lane, (n % 2 == 0).then(|| id(u128::from(n))));
        }
        assert_eq!((read.continued.len(), read.responses.len()), (0, MOST));
    }
}
