//! An ended answer goes on in a new generation, whose log begins with the earlier text.
use super::super::Engine;
use super::super::access::Caller;
use super::super::models::Model;
use crate::domain::conversation::{ParentAsked, Turn, TurnAsked, TurnPosition};
use crate::domain::entry::Entry;
use crate::domain::event::{Event, Status};
use crate::domain::generation::{
    Continues, Generation, Idempotency, NewGeneration, Outcome, Request,
};
use crate::domain::id::{Epoch, GenerationId, Seq};
use crate::domain::prompt::estimate_tokens;
use crate::domain::trace::TraceParent;
use crate::domain::transcript::Answer;
use crate::engine::run::delta_batch::{notice, pieces};
use crate::engine::run::policy::{Facts, can_continue};
use crate::engine::run::start::{Start, StartError, Started};
use crate::ports::{Address, Begun, Continuation, LogError};

/// The answer that shall go on.
#[derive(Debug)]
pub struct Continue {
    /// The client.
    pub caller: Caller,
    /// Which generation made it.
    pub generation: GenerationId,
    /// The key that makes a repeat the same start.
    pub idempotency: Option<Idempotency>,
    /// In whose trace the new generation is.
    pub trace: Option<TraceParent>,
}

impl Engine {
    /// Starts a generation that goes on from an answer that was cut, stopped or lost. It asks what
    /// the earlier one asked; `None` if the tenant has no such generation.
    ///
    /// # Errors
    /// See [`StartError`]; nothing was started then.
    pub async fn continue_answer(&self, asked: Continue) -> Result<Option<Started>, StartError> {
        let Continue { caller, generation, idempotency, trace } = asked;
        if let Some(earlier) = self.repeat(caller.tenant(), idempotency.as_ref()).await? {
            return Ok(Some(earlier));
        }
        let at = Address { tenant: caller.tenant().clone(), id: generation };
        let Some(row) = self.inner.log.generations.generation(&at).await? else { return Ok(None) };
        let (place, answer) = self.continuable(&row)?;
        let tokens = estimate_tokens(&answer.text) + estimate_tokens(&answer.reasoning);
        let continues = Continues { generation, bytes: answer.text.len(), tokens };
        let request = Request { trace, continues: Some(continues), ..row.request };
        let turn = TurnAsked {
            conversation: place.conversation,
            parent: ParentAsked::Message(place.parent),
            concurrent: false,
            system: None,
            messages: Vec::new(),
            earlier: Some(answer),
        };
        let start = Start { caller, request, idempotency, turn: Some(turn), repeat: None };
        self.start(start).await.map(Some)
    }

    /// Where the answer stands and what it says, if it can go on.
    fn continuable(&self, row: &Generation) -> Result<(TurnPosition, Answer), StartError> {
        let no = |why| Err(StartError::CannotContinue(why));
        let Some(Outcome { answer, done, .. }) = &row.result else {
            return Err(StartError::Busy(row.id));
        };
        match done.status {
            Status::Completed => return no("the answer is complete"),
            Status::Queued | Status::Running | Status::Cancelling => {
                return Err(StartError::Busy(row.id));
            }
            Status::Incomplete | Status::Failed | Status::Interrupted | Status::Cancelled => {}
        }
        let Some(place) = row.place else {
            return no("only an answer in a conversation can be continued");
        };
        if row.unreadable.is_some() {
            return no("what is stored of the answer cannot be read");
        }
        if answer.len() >= self.inner.limits.output_bytes {
            return no("the answer is as long as this server lets an answer be");
        }
        let model = self.models().find(Some(&row.request.model)).cloned();
        let model = model.ok_or(StartError::UnknownModel)?;
        if can_continue(&model, answer, Facts::of(&row.request, false)) {
            return Ok((place, answer.clone()));
        }
        no(why_not(&model, answer))
    }

    /// Stores the turn: its log has the earlier answer before anything else is said.
    pub(super) async fn continue_turn(
        &self,
        new: &mut NewGeneration,
        asked: &TurnAsked,
        earlier: &Answer,
    ) -> Result<Begun, LogError> {
        let parent = match asked.parent {
            ParentAsked::Message(parent) => parent,
            ParentAsked::Active | ParentAsked::Root => {
                return Err(LogError::Broken("a continuation answers no message".into()));
            }
        };
        new.place = Some(TurnPosition { conversation: asked.conversation, parent });
        let from = new.request.continues.map(|earlier| earlier.generation);
        let turn = Turn {
            parent: Some(parent),
            messages: Vec::new(),
            expected_leaf: None,
            concurrent: asked.concurrent,
            title: None,
            first: first_entries(from, earlier),
        };
        self.conversations().begin(new, &turn).await
    }
}

/// Why an answer that ended early cannot go on.
fn why_not(model: &Model, answer: &Answer) -> &'static str {
    match model.continuation_without() {
        Continuation::None | Continuation::ProviderResume => {
            "the model cannot go on from a text; ask it again instead"
        }
        Continuation::Prefix | Continuation::Instruct if answer.text.is_empty() => {
            "the answer ended before its first word; ask again instead"
        }
        Continuation::Prefix | Continuation::Instruct => {
            "only an answer in plain text can be continued; ask again instead"
        }
    }
}

/// The entries behind `started`: the source of the text, then the text.
fn first_entries(from: Option<GenerationId>, earlier: &Answer) -> Vec<Entry> {
    let from = from.map(|id| id.to_string()).unwrap_or_default();
    let mut events = vec![notice("continued", &format!("goes on from answer {from}"))];
    pieces(earlier.reasoning.clone(), |text| Event::Reasoning { text }, &mut events);
    pieces(earlier.text.clone(), |text| Event::Delta { text }, &mut events);
    let seqs = (2..).map(Seq);
    seqs.zip(&events).map(|(seq, event)| Entry::encode(seq, event).by(Epoch::FIRST)).collect()
}
