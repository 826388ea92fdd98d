//! The events of a generation as those of the Messages API: a pure fold.
//! Order and fields: <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.
mod extras;
mod pieces;
mod report;

use serde_json::{Value, json};

use super::blocks::{Block, Call, Kind, Text, Thinking};
use super::error::{failure, in_stream};
use super::signature::Signer;
use crate::domain::event::{Done, Event, FinishReason, ToolCallDelta, Usage};
use crate::domain::generation::Generation;
use crate::domain::key::SigningKey;
use crate::http::dialect::{Dialect, DialectEvent, Frames};
use crate::http::protocols::openai::ids::short;
use extras::{More, delta_of, extend};
use pieces::{Delta, delta, send, start_frame};
use report::{stop_details, usage};

/// The fold.
#[derive(Debug)]
pub(in crate::http) struct Messages {
    id: String,
    model: String,
    /// Our estimate of the prompt, until the model has counted.
    input_tokens: u64,
    /// The text that ended the answer, where the request has only one.
    stop: Option<String>,
    /// Whether the texts are kept, for [`Messages::object`].
    whole: bool,
    /// In their order; those before `open` are closed, those behind it wait for it.
    blocks: Vec<Block>,
    open: usize,
    refused: bool,
    more: More,
    signer: Signer,
}

impl Dialect for Messages {
    const NAME: &'static str = "messages";

    fn said(&mut self, said: &DialectEvent<'_>, frames: &mut Frames) {
        match said {
            DialectEvent::Started => self.opening(frames),
            DialectEvent::Reasoning(text) => {
                let place = self.thinking(frames);
                self.piece(place, text, frames);
            }
            DialectEvent::Text(text) => self.text(text, frames),
            DialectEvent::Refusal(text) => {
                self.refused = true;
                self.text(text, frames);
            }
            DialectEvent::Call(call) => self.call(call, frames),
            DialectEvent::Extra(extra) => self.extra(extra, frames),
            DialectEvent::Sealed(block) => self.sealed(block, frames),
            DialectEvent::Void => self.void(frames),
            DialectEvent::Done(done) => self.done(done, frames),
        }
    }

    /// The border of two attempts: a signature covers the thinking of one attempt only.
    fn beside(&mut self, event: &Event, frames: &mut Frames) {
        match event {
            Event::Resumed { .. } => self.torn(frames),
            Event::Notice { .. }
            | Event::Started { .. }
            | Event::Delta { .. }
            | Event::Reasoning { .. }
            | Event::Refusal { .. }
            | Event::ToolCall(_)
            | Event::Superseded { .. }
            | Event::Snapshot { .. }
            | Event::Extra(_)
            | Event::Unknown
            | Event::Done(_) => {}
        }
    }

    fn torn(&mut self, _frames: &mut Frames) {
        if let Some(Block { kind: Kind::Thinking(thinking), .. }) = self.blocks.last_mut() {
            thinking.sealed = true;
        }
    }

    /// Without it a client would take what it has for all there is.
    fn cut(&self, frames: &mut Frames) {
        let message = format!(
            "the stream broke off and the answer goes on: GET /v1/messages/{}?stream=true\
             &starting_after=N, with the id of your last event",
            self.id
        );
        frames.raw(b"event: error\n");
        frames.data(&in_stream("api_error", "stream_cut", &message));
    }

    fn keep_alive(&self) -> &'static [u8] {
        b"event: ping\ndata: {\"type\": \"ping\"}\n\n"
    }
}

impl Messages {
    /// The fold for one generation; `whole` keeps the texts for [`Messages::object`].
    pub(in crate::http) fn of(row: &Generation, whole: bool, signing: &SigningKey) -> Self {
        let stop = match &row.request.prompt.parameters.stop[..] {
            [stop] => Some(stop.clone()),
            _ => None,
        };
        Self {
            id: format!("msg_{}", short(row.id)),
            model: row.request.model.clone(),
            input_tokens: row.request.prompt.estimated_input(),
            stop,
            whole,
            blocks: Vec::new(),
            open: 0,
            refused: false,
            more: More::default(),
            signer: Signer::new(signing),
        }
    }

    fn opening(&self, frames: &mut Frames) {
        let message = self.object(None);
        frames.identified("message_start", &json!({ "type": "message_start", "message": message }));
    }

    fn text(&mut self, text: &str, frames: &mut Frames) {
        let place = match self.blocks.last() {
            Some(Block { kind: Kind::Text(_), .. }) => self.blocks.len() - 1,
            Some(_) | None => self.add(Kind::Text(Text::default()), frames),
        };
        self.piece(place, text, frames);
    }

    /// The thinking block that grows, or a new one.
    fn thinking(&mut self, frames: &mut Frames) -> usize {
        match self.blocks.last() {
            Some(Block { kind: Kind::Thinking(thinking), .. }) if !thinking.sealed => {
                self.blocks.len() - 1
            }
            Some(_) | None => self.add(Kind::Thinking(Thinking::new(self.signer.clone())), frames),
        }
    }

    fn kind(&mut self, place: usize) -> Option<&mut Kind> {
        self.blocks.get_mut(place).map(|block| &mut block.kind)
    }

    fn call(&mut self, delta: &ToolCallDelta, frames: &mut Frames) {
        let same = |kind: &Kind| matches!(kind, Kind::Call(call) if call.index == delta.index);
        let known = self.blocks.iter().rposition(|block| same(&block.kind));
        let place = known.unwrap_or_else(|| {
            let kind = Kind::Call(Call::new(delta.index, self.more.take_call(delta.index)));
            self.blocks.push(Block::new(kind, self.whole));
            self.blocks.len() - 1
        });
        if known.is_none() {
            let id = self.call_id(delta.id.as_deref().unwrap_or_default());
            if let Some(Kind::Call(call)) = self.kind(place) {
                call.id = id;
            }
        }
        if let (Some(Kind::Call(call)), Some(name)) = (self.kind(place), &delta.name) {
            call.name.push_str(name);
        }
        self.advance(frames);
        self.piece(place, &delta.arguments, frames);
    }

    /// The upstream's id, unless it gave none or an earlier call has it.
    fn call_id(&self, given: &str) -> String {
        let taken = |id: &str| {
            self.blocks.iter().any(|block| matches!(&block.kind, Kind::Call(call) if call.id == id))
        };
        let place = self.blocks.len().saturating_sub(1);
        match given {
            "" => format!("toolu_{}_{place}", self.id.trim_start_matches("msg_")),
            given if taken(given) => format!("{given}_{place}"),
            given => given.to_owned(),
        }
    }

    fn add(&mut self, kind: Kind, frames: &mut Frames) -> usize {
        self.blocks.push(Block::new(kind, self.whole));
        self.advance(frames);
        self.blocks.len() - 1
    }

    /// A piece for the block at `place`: told at once, or once those before it are at their end.
    fn piece(&mut self, place: usize, text: &str, frames: &mut Frames) {
        let Some(block) = self.blocks.get_mut(place) else { return };
        let text = block.add(text);
        // A closed call may still get the white space behind its JSON.
        if text.is_empty() || place < self.open {
            return;
        }
        if block.started {
            delta(place, &block.kind, text, frames);
        } else {
            block.waiting.push_str(text);
        }
        self.advance(frames);
    }

    /// Starts what can start, ends what cannot grow any more.
    fn advance(&mut self, frames: &mut Frames) {
        loop {
            let is_last = self.open + 1 >= self.blocks.len();
            let Some(block) = self.blocks.get_mut(self.open) else { return };
            if block.can_start() {
                start(self.open, block, frames);
            }
            if is_last || !block.can_end() {
                return;
            }
            self.close(frames);
        }
    }

    fn close(&mut self, frames: &mut Frames) {
        let Some(block) = self.blocks.get_mut(self.open) else { return };
        start(self.open, block, frames);
        if let Kind::Thinking(thinking) = &block.kind {
            let signature = &thinking.signature();
            send(self.open, Delta::Signature { signature }, frames);
        }
        let json = json!({ "type": "content_block_stop", "index": self.open });
        frames.identified("content_block_stop", &json);
        self.open += 1;
    }

    /// Sent blocks cannot be taken back in this protocol. A client that has some is told to begin
    /// again behind this frame, any other begins there.
    fn void(&mut self, frames: &mut Frames) {
        let sent = self.blocks.iter().any(|block| block.started);
        self.blocks.clear();
        self.open = 0;
        self.refused = false;
        self.more = More::default();
        if !sent {
            return;
        }
        let number = frames.number();
        let message = format!(
            "the model lost its answer and begins again: drop what you have, then GET \
             /v1/messages/{}?stream=true&starting_after={number}",
            self.id
        );
        frames.identified("error", &in_stream("overloaded_error", "superseded", &message));
        if frames.backlog && !frames.has_cursor() {
            frames.forget();
        } else if frames.wants(number) {
            frames.over = true;
        }
        self.opening(frames);
    }

    fn done(&mut self, done: &Done, frames: &mut Frames) {
        if let Some(error) = failure(done, self.input_tokens) {
            frames.identified("error", &error);
            return;
        }
        while self.open < self.blocks.len() {
            self.close(frames);
        }
        let reason = self.stop_reason(done);
        let mut delta = json!({
            "stop_reason": reason, "stop_sequence": self.stop_sequence(reason),
            "stop_details": stop_details(reason, done),
        });
        extend(&mut delta, &self.more.message);
        let usage = self.usage(&done.usage);
        let mut json = json!({ "type": "message_delta", "delta": delta, "usage": usage });
        extend(&mut json, &self.more.event);
        frames.identified("message_delta", &json);
        frames.identified("message_stop", &json!({ "type": "message_stop" }));
    }

    /// Anthropic's word for why the model stopped.
    fn stop_reason(&self, done: &Done) -> &'static str {
        let calls = self.blocks.iter().any(|block| matches!(block.kind, Kind::Call(_)));
        match done.finish_reason {
            Some(FinishReason::ToolCalls) => "tool_use",
            Some(FinishReason::Length | FinishReason::TimeLimit) => "max_tokens",
            Some(FinishReason::ContextWindow) => "model_context_window_exceeded",
            Some(FinishReason::Pause) => "pause_turn",
            Some(FinishReason::Refusal | FinishReason::ContentFilter) => "refusal",
            Some(FinishReason::Stop | FinishReason::Other) | None if self.refused => "refusal",
            Some(FinishReason::Stop | FinishReason::Other) | None if calls => "tool_use",
            Some(FinishReason::Stop | FinishReason::Other) | None => {
                let raw = done.provider_finish_reason.as_deref();
                if raw == Some("stop_sequence") { "stop_sequence" } else { "end_turn" }
            }
        }
    }

    fn stop_sequence(&self, reason: &str) -> Option<&str> {
        self.stop.as_deref().filter(|_| reason == "stop_sequence")
    }

    /// The message in one piece; `done` is absent while it runs.
    pub(in crate::http) fn object(&self, done: Option<&Done>) -> Value {
        let ended = done.is_some();
        let content: Vec<Value> = self.blocks.iter().filter_map(|b| b.whole(ended)).collect();
        let reason = done.filter(|done| failure(done, 0).is_none()).map(|d| self.stop_reason(d));
        let begun = Usage {
            input_tokens: self.input_tokens,
            ..done.map_or_else(Usage::default, |d| d.usage)
        };
        let mut json = json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model,
            "content": content, "stop_reason": reason,
            "stop_sequence": reason.and_then(|reason| self.stop_sequence(reason)),
            "stop_details": reason.zip(done).map(|(reason, done)| stop_details(reason, done)),
            "usage": self.usage(done.map_or(&begun, |done| &done.usage)),
        });
        extend(&mut json, &self.more.message);
        extend(&mut json, &self.more.event);
        json
    }

    fn usage(&self, counts: &Usage) -> Value {
        let mut json = usage(counts);
        extend(&mut json, &self.more.usage);
        json
    }
}

/// Tells the start of a block and what waited for it, unless that was told.
fn start(index: usize, block: &mut Block, frames: &mut Frames) {
    if std::mem::replace(&mut block.started, true) {
        return;
    }
    match &block.kind {
        Kind::Foreign(foreign) => start_frame(index, &foreign.block, frames),
        Kind::Text(_) | Kind::Thinking(_) | Kind::Redacted { .. } | Kind::Call(_) => {
            start_frame(index, &block.empty(), frames);
        }
    }
    let waiting = std::mem::take(&mut block.waiting);
    if !waiting.is_empty() {
        delta(index, &block.kind, &waiting, frames);
    }
    match &mut block.kind {
        Kind::Text(text) => {
            let waiting = std::mem::take(&mut text.waiting);
            waiting.iter().for_each(|citation| send(index, delta_of(citation), frames));
        }
        Kind::Foreign(foreign) => {
            foreign.deltas().iter().for_each(|delta| send(index, delta, frames));
        }
        Kind::Thinking(_) | Kind::Redacted { .. } | Kind::Call(_) => {}
    }
    block.told();
}
