//! Responses that were prepared on one connection (`generate: false`), for as long as it lives.
use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::id::GenerationId;
use crate::domain::prompt::Message;
use crate::http::protocols::openai_responses::socket::{Prepared, parse_id};

/// Prepared responses that one connection keeps; the oldest goes first.
const MOST: usize = 8;

/// The prepared responses of a connection.
#[derive(Debug)]
pub(super) struct BackgroundResponse {
    responses: VecDeque<(GenerationId, Arc<[Message]>)>,
    /// All of them together, in bytes.
    most_bytes: usize,
}

impl BackgroundResponse {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { responses: VecDeque::new(), most_bytes }
    }

    pub(super) fn keep(&mut self, prepared: Prepared) {
        self.responses.push_back((prepared.id, prepared.messages));
        while self.responses.len() > MOST || self.bytes() > self.most_bytes {
            self.responses.pop_front();
        }
    }

    /// The messages of the response of that id.
    pub(super) fn find(&self, id: &str) -> Option<Arc<[Message]>> {
        let id = parse_id(id).ok()?;
        let found = self.responses.iter().find(|(of, _)| *of == id);
        found.map(|(_, messages)| Arc::clone(messages))
    }

    fn bytes(&self) -> usize {
        self.responses.iter().flat_map(|(_, messages)| messages.iter()).map(Message::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use crate::domain::prompt::Role;
    use crate::http::protocols::websocket::responses::prepared::*;

    fn prepared(n: u128, text: &str) -> Prepared {
        let messages = [Message::text(Role::User, text)].into();
        Prepared { id: GenerationId(Uuid::from_u128(n)), messages, events: Bytes::new() }
    }

    #[test]
    fn the_oldest_goes_first() {
        let id = |n: u128| format!("resp_{:032x}", n);
        let mut kept = BackgroundResponse::new(100);
        (0..9).for_each(|n| kept.keep(prepared(n, "four")));
        assert!(kept.find(&id(0)).is_none(), "nine are one too many");
        assert_eq!(kept.find(&id(1)).unwrap()[0].content, "four");
        kept.keep(prepared(9, &"x".repeat(95)));
        assert!(kept.find(&id(7)).is_none() && kept.find(&id(9)).is_some(), "and bytes count");
        assert!(kept.find("resp_x").is_none());
    }
}
