//! The consequences of finished work.
use super::{Effect, Found, Phase, Session, Slot, Standing, ack, refuse};
use crate::domain::id::GenerationId;
use crate::engine::Receipt;
use crate::http::problem::Problem;
use crate::http::protocols::websocket::frames::{CloseCode, Done, Ref, ServerFrame};

impl Session {
    /// A credential was looked at.
    pub(in crate::http::protocols::websocket) fn identified(
        &mut self,
        reference: Option<Ref>,
        known: bool,
    ) -> Vec<Effect> {
        if !known {
            return self.close(CloseCode::Credential);
        }
        let mut effects = Vec::new();
        if self.greeted {
            self.phase = Phase::Open;
        } else {
            effects.push(self.welcome());
        }
        let participant = self.participant.clone();
        effects.extend(ack(reference, Done::Heard { participant }));
        effects
    }

    /// A generation was started, or found; its slot, if it is to be read now.
    pub(in crate::http::protocols::websocket) fn started(
        &mut self,
        reference: Option<Ref>,
        found: Found,
    ) -> (Vec<Effect>, Option<Slot>) {
        let Found { generation, replayed, receipt, complete } = found;
        let effects = ack(reference, Done::Started { generation, replayed, receipt, complete });
        // A session that follows it already goes on at its position.
        if self.is_closed() || complete || self.following.contains_key(&generation) {
            return (effects, None);
        }
        match self.slot(generation) {
            Ok(slot) => (effects, Some(slot)),
            // It runs all the same; the client hears that it has to make room to read it.
            Err(problem) => {
                let more = self.lost(generation, problem);
                (effects.into_iter().chain(more).collect(), None)
            }
        }
    }

    /// A subscription was opened.
    pub(in crate::http::protocols::websocket) fn subscribed(
        &mut self,
        reference: Option<Ref>,
        (generation, slot): (GenerationId, Slot),
        standing: Standing,
    ) -> Vec<Effect> {
        let Standing { now, complete } = standing;
        if complete && self.follows(generation, slot) {
            self.following.remove(&generation);
        }
        let (status, last_seq) = now.unzip();
        ack(reference, Done::Subscribed { generation, status, last_seq, complete })
    }

    /// A subscription could not be opened.
    pub(in crate::http::protocols::websocket) fn not_subscribed(
        &mut self,
        reference: Option<Ref>,
        (generation, slot): (GenerationId, Slot),
        problem: Problem,
    ) -> Vec<Effect> {
        if self.follows(generation, slot) {
            self.following.remove(&generation);
        }
        refuse(reference, problem)
    }

    /// A cancel came to its truth, or to the limit of its patience.
    pub(in crate::http::protocols::websocket) fn cancelled(
        reference: Option<Ref>,
        receipt: Box<Receipt>,
    ) -> Vec<Effect> {
        let (generation, status) = (receipt.view.id, receipt.view.status);
        if status.is_ended() {
            return vec![Effect::Send(ServerFrame::Cancelled { reference, generation, receipt })];
        }
        let last_seq = receipt.view.last_seq;
        ack(reference, Done::Cancelling { generation, status, last_seq })
    }

    /// A subscription is over; `whole` if `done` was its last event.
    pub(in crate::http::protocols::websocket) fn ended(
        &mut self,
        generation: GenerationId,
        whole: bool,
    ) -> Vec<Effect> {
        self.following.remove(&generation);
        if whole {
            return Vec::new();
        }
        let detail = "the log could not be read on: subscribe again behind the last event";
        self.lost(generation, Problem::bad_request("subscription_lost", detail))
    }

    fn lost(&self, generation: GenerationId, problem: Problem) -> Vec<Effect> {
        let (code, message, more) = problem.into_parts();
        let generation = Some(generation);
        vec![Effect::Send(ServerFrame::Error { reference: None, generation, code, message, more })]
    }
}
