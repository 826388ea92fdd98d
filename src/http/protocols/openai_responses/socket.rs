//! Responses for a WebSocket: started, prepared, read and cancelled without an HTTP request.
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::encoder::Responses;
use super::object::Head;
use super::request;
pub(in crate::http) use super::request::Before;
use super::request::{Asked, Known};
use super::{PREFIX, sealing};
use crate::domain::event::{Done, Event, FinishReason, Status, Usage};
use crate::domain::generation::Generation;
use crate::domain::id::{GenerationId, Seq};
use crate::domain::prompt::Message;
use crate::domain::trace::TraceParent;
use crate::engine::{Caller, Engine};
use crate::http::dialect::{Dialect, DialectEvent, Frames};
use crate::http::dialect_reader::Reader;
use crate::http::problem::Problem;
use crate::http::protocols::openai::fields::{Body, unsupported};
use crate::http::protocols::openai::{error, error_object, frames_after, ids, not_ahead, start};
use crate::http::start::begin;
use crate::ports::Address;

/// The generation of a response's id.
///
/// # Errors
/// 404 for what is no such id.
pub(in crate::http) fn parse_id(id: &str) -> Result<GenerationId, Problem> {
    ids::parse(PREFIX, id).ok_or_else(Problem::no_such_generation)
}

/// Starts the response that `body` asks for, behind the one that its `previous_response_id` names.
pub(in crate::http) async fn create(
    engine: &Engine,
    (caller, trace): (Caller, Option<TraceParent>),
    body: Body,
    before: Before,
) -> Result<Generation, Problem> {
    let source = source(&body);
    let known = Known { before, may_be_empty: false };
    let asked = request::asked(engine, caller.tenant(), body, known).await?;
    let Asked { request, turn, elsewhere, .. } = asked.with_source(source);
    start::check(engine, &request, elsewhere)?;
    Ok(begin(engine, caller, (request, turn), (None, trace)).await?.generation)
}

/// The client's body, for an upstream of the same protocol.
fn source(body: &Body) -> Arc<str> {
    serde_json::to_string(body).unwrap_or_default().into()
}

/// A response that no model was asked for: what a later one continues.
#[derive(Clone, Debug)]
pub(in crate::http) struct Prepared {
    pub(in crate::http) id: GenerationId,
    pub(in crate::http) messages: Arc<[Message]>,
    /// Its events as server-sent events.
    pub(in crate::http) events: Bytes,
}

/// Checks a body as [`create`] does and answers at once, with an empty output.
pub(in crate::http) async fn prepare(
    engine: &Engine,
    caller: &Caller,
    body: Body,
    before: Before,
) -> Result<Prepared, Problem> {
    let source = source(&body);
    let known = Known { before, may_be_empty: true };
    let asked = request::asked(engine, caller.tenant(), body, known).await?;
    if asked.turn.is_some() {
        return Err(unsupported("conversation", "nothing is said in it without a model"));
    }
    let Asked { request, elsewhere, .. } = asked.with_source(source);
    start::check(engine, &request, elsewhere)?;
    let id = GenerationId::random();
    let head = Head::new(id, &request, OffsetDateTime::now_utc());
    let mut dialect = OnSocket(Responses::new(head));
    let mut frames = Frames::after(None);
    let usage = Usage { exact: true, ..Usage::default() };
    let done = Done {
        status: Status::Completed,
        finish_reason: Some(FinishReason::Stop),
        provider_finish_reason: None,
        usage,
        error: None,
    };
    dialect.said(&DialectEvent::Started, &mut frames);
    dialect.said(&DialectEvent::Done(&done), &mut frames);
    // As with any response, its instructions do not carry over.
    let instructions = usize::from(request.echo.contains_key("instructions"));
    let messages = request.prompt.messages.into_iter().skip(instructions).collect();
    Ok(Prepared { id, messages, events: frames.take_all() })
}

/// Reads a response behind the event of the number `seen`.
///
/// # Errors
/// 400 for a number that no event has, or whose events are no longer retained.
pub(in crate::http) async fn read(
    engine: &Engine,
    row: &Generation,
    seen: Option<u64>,
) -> Result<Reader<OnSocket>, Problem> {
    let frames = frames_after(row, seen)?;
    let reader = Reader::open(engine, row, OnSocket(sealing(engine, row)), frames).await?;
    not_ahead(&reader.frames)?;
    Ok(reader)
}

/// Cancels a response, and reads it from its last event on.
pub(in crate::http) async fn cancel(
    engine: &Engine,
    at: &Address,
) -> Result<Reader<OnSocket>, Problem> {
    engine.cancel(at).await?;
    let row = engine.generation(at).await?;
    let silent = super::silent(engine, &row).await?;
    let seen = silent.frames.number().checked_sub(2);
    Reader::open(engine, &row, OnSocket(sealing(engine, &row)), Frames::after(seen)).await
}

/// The frame of a refusal. <https://platform.openai.com/docs/guides/websocket-mode>
pub(in crate::http) fn refusal(problem: &Problem) -> Map<String, Value> {
    let (status, error) = error_object::error(problem);
    let mut frame = Map::new();
    frame.insert("type".into(), "error".into());
    frame.insert("status".into(), status.as_u16().into());
    frame.insert("error".into(), error);
    frame
}

/// The mark behind the last event of a response, which nobody is sent.
pub(in crate::http) const END: &[u8] = b": end\n\n";

/// The same events; a reading that the server ends early is told by an `error`, for the connection
/// goes on.
#[derive(Debug)]
pub(in crate::http) struct OnSocket(Responses);

impl Dialect for OnSocket {
    const NAME: &'static str = Responses::NAME;

    fn said(&mut self, said: &DialectEvent<'_>, frames: &mut Frames) {
        self.0.said(said, frames);
        if matches!(said, DialectEvent::Done(_)) {
            // Silence would look like an answer that is still being made.
            if frames.has_all() {
                self.0.last_again(frames);
            }
            frames.raw(END);
        }
    }

    fn beside(&mut self, event: &Event, frames: &mut Frames) {
        self.0.beside(event, frames);
    }

    fn torn(&mut self, frames: &mut Frames) {
        self.0.torn(frames);
    }

    fn paused(&self, seq: Seq, frames: &mut Frames) {
        self.0.paused(seq, frames);
    }

    fn cut(&self, frames: &mut Frames) {
        let Some(problem) = error::of_ending(None, false) else { return };
        let mut frame = refusal(&problem);
        frame.insert("response_id".into(), self.0.id().into());
        if let Some(last) = frames.number().checked_sub(1) {
            frame.insert("sequence_number".into(), json!(last));
        }
        frames.data(&frame);
    }
}
