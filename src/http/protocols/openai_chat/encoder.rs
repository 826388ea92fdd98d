//! The events of a generation as chat completion chunks: a pure fold.
//! Fields: <https://platform.openai.com/docs/api-reference/chat-streaming/streaming>.
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::calls;
use super::calls::Calls;
use super::choices;
use super::choices::OtherChoices;
use super::extras::{Extras, FINGERPRINT, Whole, thoughts};
use crate::domain::event::{Done, ErrorCode, FinishReason, Status, Usage};
use crate::domain::extra::Fields;
use crate::domain::generation::Generation;
use crate::domain::raw_json::RawJson;
use crate::domain::transcript::Answer;
use crate::http::dialect::{Dialect, DialectEvent, Frames};
use crate::http::protocols::openai::completion::Completion;
use crate::http::protocols::openai::ids::completion_id;
use crate::http::protocols::openai::usage::Running;

/// The fold.
#[derive(Debug)]
pub(in crate::http) struct Chat {
    id: String,
    created: i64,
    model: String,
    usage: Running,
    calls: Calls,
    /// Characters of the text so far.
    said: usize,
    extras: Extras,
    others: OtherChoices,
    /// The number of the first chunk that says something.
    first: u64,
}

/// One chunk. Its number is ours: with it a cut stream is resumed.
#[derive(Serialize)]
struct Chunk<'a, C: Serialize> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: [C; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'static str>,
    sequence_number: u64,
    #[serde(flatten)]
    lasting: &'a Fields,
    #[serde(flatten)]
    more: Fields,
}

#[derive(Serialize)]
struct Choice<'a, D: Serialize> {
    index: u32,
    delta: With<'a, D>,
    logprobs: Option<RawJson>,
    finish_reason: Option<&'static str>,
    #[serde(flatten)]
    more: Fields,
}

/// The delta of a chunk, and the upstream's own fields beside it.
#[derive(Serialize)]
struct With<'a, D: Serialize> {
    #[serde(flatten)]
    delta: D,
    #[serde(flatten)]
    more: &'a Fields,
}

/// A piece of text under its name.
#[derive(Serialize)]
struct Piece<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
}

const NOTHING: Piece<'_> = Piece { content: None, reasoning_content: None, refusal: None };

impl Dialect for Chat {
    const NAME: &'static str = "chat";

    fn said(&mut self, said: &DialectEvent<'_>, frames: &mut Frames) {
        match said {
            DialectEvent::Started => self.opening(frames),
            DialectEvent::Text(text) => {
                self.usage.add(text);
                self.said += text.chars().count();
                self.chunk(Piece { content: Some(text), ..NOTHING }, None, frames)
            }
            DialectEvent::Reasoning(text) => {
                self.usage.add(text);
                self.chunk(Piece { reasoning_content: Some(text), ..NOTHING }, None, frames);
            }
            DialectEvent::Refusal(text) => {
                self.usage.add(text);
                self.chunk(Piece { refusal: Some(text), ..NOTHING }, None, frames);
            }
            DialectEvent::Call(call) => {
                self.usage.add(&call.arguments);
                if let Some(call) = self.calls.fragment(&self.id, call, &mut self.extras) {
                    self.chunk(json!({ "tool_calls": [call] }), None, frames);
                }
            }
            DialectEvent::Extra(extra) => match self.others.piece(extra) {
                Some(piece) => {
                    self.usage.count(choices::said(extra));
                    self.choice(piece, frames);
                }
                None => {
                    self.extras.add(extra, self.said);
                    if self.extras.has_media() {
                        self.chunk(NOTHING, None, frames);
                    }
                }
            },
            DialectEvent::Sealed(block) => self.extras.sealed(block),
            DialectEvent::Void => self.void(frames),
            DialectEvent::Done(done) => self.done(done, frames),
        }
    }

    /// Without it a client would take what it has for all there is.
    fn cut(&self, frames: &mut Frames) {
        let message = format!(
            "the stream broke off and the answer goes on: GET /v1/chat/completions/{}?stream=true\
             &starting_after=N, with the sequence_number of your last chunk",
            self.id
        );
        frames.data(&error(&message, "stream_cut"));
    }
}

impl Completion for Chat {
    const PREFIX: &'static str = "chatcmpl-";
    const ERASED: &'static str = "chat.completion.deleted";

    fn of(row: &Generation, include_usage: bool) -> Self {
        Self {
            id: completion_id(row.id),
            created: row.created_at.unix_timestamp(),
            model: row.request.model.clone(),
            usage: Running::of(row, include_usage),
            calls: Calls::default(),
            said: 0,
            extras: Extras::default(),
            others: OtherChoices::default(),
            first: 0,
        }
    }

    fn object(&self, answer: &Answer, done: Option<&Done>) -> Value {
        let mut whole = Whole::of(answer);
        let calls = calls::whole(&self.id, &answer.tool_calls, &mut whole);
        let or_null = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let spoken = calls.is_empty() && answer.refusal.is_empty();
        let content = or_null(&answer.text).or_else(|| spoken.then(String::new));
        let mut message = json!({
            "role": "assistant", "content": content, "refusal": or_null(&answer.refusal),
            "annotations": [],
        });
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        if !answer.reasoning.is_empty() {
            message["reasoning_content"] = answer.reasoning.as_str().into();
        }
        extend(&mut message, thoughts(answer));
        let finish = done.filter(|d| failure(d).is_none()).map(|d| finish_reason(d.finish_reason));
        extend(&mut message, whole.message);
        let mut choice =
            json!({ "index": 0, "message": null, "logprobs": null, "finish_reason": finish });
        // It may have megabytes, which `json!` would copy.
        choice["message"] = message;
        extend(&mut choice, whole.choice);
        let mut all = vec![choice];
        all.extend(choices::whole(answer, finish.is_some()));
        let mut object = json!({
            "id": self.id, "object": "chat.completion", "created": self.created,
            "model": self.model, "choices": null,
            "usage": done.map(|done| usage(&done.usage, whole.usage)),
            "service_tier": null, "system_fingerprint": FINGERPRINT,
        });
        object["choices"] = all.into();
        extend(&mut object, whole.chunk);
        object
    }
}

impl Chat {
    fn opening(&mut self, frames: &mut Frames) {
        let delta = json!({ "role": "assistant", "content": "", "refusal": null });
        self.chunk(delta, None, frames);
        self.first = frames.number();
    }

    fn chunk(&mut self, delta: impl Serialize, reason: Option<&'static str>, frames: &mut Frames) {
        let mut more = std::mem::take(&mut self.extras.choice);
        let message = std::mem::take(&mut self.extras.message);
        let delta = With { delta, more: &message };
        let logprobs = more.take("logprobs");
        let choice = Choice { index: 0, delta, logprobs, finish_reason: reason, more };
        self.choice(choice, frames);
    }

    fn choice(&mut self, choice: impl Serialize, frames: &mut Frames) {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices: [choice],
            usage: self.usage.field(),
            system_fingerprint: self.extras.fingerprint(),
            sequence_number: frames.number(),
            more: std::mem::take(&mut self.extras.chunk),
            lasting: &self.extras.lasting,
        };
        frames.frame(None, &chunk);
    }

    /// Sent chunks cannot be taken back in this protocol. A client that has some is told to begin
    /// again behind this frame, any other begins there. Where none said anything, it goes on.
    fn void(&mut self, frames: &mut Frames) {
        self.calls.clear();
        self.usage.reset();
        self.said = 0;
        self.extras = Extras::default();
        self.others = OtherChoices::default();
        let number = frames.number();
        if number == self.first {
            return;
        }
        let message = format!(
            "the model lost its answer and begins again: drop what you have, then GET \
             /v1/chat/completions/{}?stream=true&starting_after={number}",
            self.id
        );
        let mut json = error(&message, "superseded");
        json["error"]["sequence_number"] = number.into();
        frames.frame(None, &json);
        if frames.backlog && !frames.has_cursor() {
            frames.forget();
        } else if frames.wants(number) {
            frames.over = true;
        }
        self.opening(frames);
    }

    fn done(&mut self, done: &Done, frames: &mut Frames) {
        if let Some(mut json) = failure(done) {
            json["error"]["sequence_number"] = frames.number().into();
            frames.frame(None, &json);
            return;
        }
        for end in self.others.ends() {
            self.choice(end, frames);
        }
        let delta = self.calls.late(&mut self.extras);
        self.chunk(delta, Some(finish_reason(done.finish_reason)), frames);
        if self.usage.is_wanted() {
            let mut json = json!({
                "id": self.id, "object": "chat.completion.chunk", "created": self.created,
                "model": self.model, "choices": [],
                "usage": usage(&done.usage, self.extras.usage.take()),
                "system_fingerprint": FINGERPRINT, "sequence_number": frames.number(),
            });
            set(&mut json, std::mem::take(&mut self.extras.lasting));
            frames.frame(None, &json);
        }
        frames.raw(b"data: [DONE]\n\n");
    }
}

/// The ending as an error, unless it is an answer's.
pub(crate) fn failure(done: &Done) -> Option<Value> {
    let error_of = || done.error.as_ref();
    match done.status {
        Status::Completed | Status::Incomplete => None,
        Status::Cancelled => Some(error("the generation was cancelled", "cancelled")),
        Status::Failed
        | Status::Interrupted
        | Status::Queued
        | Status::Running
        | Status::Cancelling => {
            let message = error_of().map_or("it failed", |e| e.message.as_str());
            let code = error_of().map_or(ErrorCode::Internal, |e| e.code);
            let mut json = error(message, "");
            json["error"]["code"] = serde_json::to_value(code).unwrap_or_default();
            if code == ErrorCode::UpstreamRateLimited {
                json["error"]["type"] = "rate_limit_error".into();
            }
            let said = error_of().and_then(|e| e.upstream.as_ref());
            for (name, word) in [
                ("code", said.and_then(|said| said.code.as_deref())),
                ("type", said.and_then(|said| said.kind.as_deref())),
                ("param", said.and_then(|said| said.param.as_deref())),
            ] {
                if let Some(word) = word {
                    json["error"][name] = word.into();
                }
            }
            Some(json)
        }
    }
}

pub(crate) fn error(message: &str, code: &str) -> Value {
    json!({ "error": { "message": message, "type": "server_error", "param": null, "code": code } })
}

/// OpenAI's word for why the model stopped.
pub(crate) fn finish_reason(reason: Option<FinishReason>) -> &'static str {
    match reason {
        Some(FinishReason::ToolCalls) => "tool_calls",
        Some(FinishReason::ContentFilter) => "content_filter",
        Some(
            FinishReason::Length
            | FinishReason::ContextWindow
            | FinishReason::TimeLimit
            | FinishReason::Pause,
        ) => "length",
        Some(FinishReason::Stop | FinishReason::Refusal | FinishReason::Other) | None => "stop",
    }
}

/// The tokens of all attempts, in the upstream's own report of the last where it says more.
pub(crate) fn usage(usage: &Usage, reported: Option<Value>) -> Value {
    let mut json = reported.filter(Value::is_object).unwrap_or_else(|| json!({}));
    let counts = [&json["prompt_tokens"], &json["completion_tokens"]].map(Value::as_u64);
    if counts != [Some(usage.input_tokens), Some(usage.output_tokens)] {
        json["prompt_tokens"] = usage.input_tokens.into();
        json["completion_tokens"] = usage.output_tokens.into();
        json["total_tokens"] = (usage.input_tokens + usage.output_tokens).into();
    }
    for (details, name, count) in [
        ("prompt_tokens_details", "cached_tokens", usage.cached_input_tokens),
        ("completion_tokens_details", "reasoning_tokens", usage.reasoning_tokens),
    ] {
        // A count that nobody made is not shown as 0.
        let Some(count) = count else { continue };
        if !json[details].is_object() {
            json[details] = json!({});
        }
        json[details][name] = count.into();
    }
    if !usage.exact {
        json["estimated"] = true.into();
    }
    json
}

pub(crate) fn set(json: &mut Value, fields: Fields) {
    for (name, value) in fields.0 {
        json[name] = serde_json::from_str(value.get()).unwrap_or_default();
    }
}

pub(super) fn extend(json: &mut Value, fields: Map<String, Value>) {
    for (name, value) in fields {
        json[name] = value;
    }
}
