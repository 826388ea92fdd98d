//! The consequences of a client's frames about conversations.
use super::{Effect, Session, Task, ack, refuse};
use crate::domain::id::ConversationId;
use crate::domain::room::Participant;
use crate::engine::{Change, TYPING};
use crate::http::problem::Problem;
use crate::http::protocols::websocket::frames::{
    Client, Done, Named, Ref, ServerFrame, Typing, TypingState,
};

impl Session {
    /// The client says who it is. Conversations that it is in already know it as it was.
    pub(super) fn introduce(&mut self, client: Option<Client>) -> Result<(), Problem> {
        let Some(Client { id, name }) = client else { return Ok(()) };
        let known = &self.participant;
        let (id, name) =
            (id.unwrap_or_else(|| known.id.clone()), name.unwrap_or_else(|| known.name.clone()));
        self.participant = Participant::user(id, name).map_err(|bad| {
            Problem::unprocessable("invalid_client", bad.to_string()).with("field", "client")
        })?;
        Ok(())
    }

    /// The participant that it stands for.
    pub(in crate::http::protocols::websocket) fn participant(&self) -> &Participant {
        &self.participant
    }

    pub(super) fn join(
        &mut self,
        reference: Option<Ref>,
        conversation: Named<ConversationId>,
    ) -> Vec<Effect> {
        let conversation = match conversation.id() {
            Ok(conversation) => conversation,
            Err(problem) => return refuse(reference, problem),
        };
        let known = self.joined.contains(&conversation);
        if !known && self.joined.len() >= self.limits.joins {
            let detail = "too many conversations on one connection: leave others first";
            let problem = Problem::bad_request("too_many_joins", detail);
            return refuse(reference, problem.with("limit", self.limits.joins));
        }
        self.joined.insert(conversation);
        vec![Effect::Do(Task::Join { reference, conversation })]
    }

    /// There is such a conversation, or not.
    pub(in crate::http::protocols::websocket) fn joined(
        &mut self,
        reference: Option<Ref>,
        conversation: ConversationId,
        found: Result<(), Problem>,
    ) -> Vec<Effect> {
        match found {
            Ok(()) => ack(reference, Done::Room { conversation }),
            Err(problem) => {
                self.joined.remove(&conversation);
                refuse(reference, problem)
            }
        }
    }

    /// Whether it is in that conversation.
    pub(in crate::http::protocols::websocket) fn is_in(
        &self,
        conversation: ConversationId,
    ) -> bool {
        !self.is_closed() && self.joined.contains(&conversation)
    }

    pub(super) fn leave(
        &mut self,
        reference: Option<Ref>,
        conversation: Named<ConversationId>,
    ) -> Vec<Effect> {
        let conversation = match conversation.id() {
            Ok(conversation) => conversation,
            Err(problem) => return refuse(reference, problem),
        };
        self.joined.remove(&conversation);
        let mut effects = vec![Effect::Leave(conversation)];
        effects.extend(ack(reference, Done::Room { conversation }));
        effects
    }

    /// Needs no answer unless it is wrong.
    pub(super) fn typing(&self, reference: Option<Ref>, typing: &Typing) -> Vec<Effect> {
        let conversation = match typing.conversation.id() {
            Ok(conversation) if self.joined.contains(&conversation) => conversation,
            Ok(_) => {
                let problem = Problem::bad_request("not_joined", "join the conversation first");
                return refuse(reference, problem);
            }
            Err(problem) => return refuse(reference, problem),
        };
        vec![Effect::Type(conversation, typing.state == TypingState::Active)]
    }

    /// Something has changed in a conversation.
    pub(in crate::http::protocols::websocket) fn changed(
        conversation: ConversationId,
        change: Change,
    ) -> Vec<Effect> {
        let Change { participants, typing } = change;
        let ttl_ms = u64::try_from(TYPING.as_millis()).unwrap_or_default();
        let presence =
            participants.map(|participants| ServerFrame::Presence { conversation, participants });
        let typing = typing.map(|who| ServerFrame::Typing { conversation, who, ttl_ms });
        presence.into_iter().chain(typing).map(Effect::Send).collect()
    }
}
