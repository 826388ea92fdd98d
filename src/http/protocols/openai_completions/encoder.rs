//! The events of a generation as chunks of a text completion: a pure fold.
//! Fields: <https://platform.openai.com/docs/api-reference/completions/object>.
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::domain::event::{Done, FinishReason};
use crate::domain::extra::Fields;
use crate::domain::generation::Generation;
use crate::domain::transcript::Answer;
use crate::http::dialect::{Dialect, DialectEvent, Frames};
use crate::http::protocols::openai::completion::Completion;
use crate::http::protocols::openai::ids::text_completion_id;
use crate::http::protocols::openai::usage::Running;
use crate::http::protocols::openai_chat::choices;
use crate::http::protocols::openai_chat::choices::OtherChoices;
use crate::http::protocols::openai_chat::encoder::{error, failure, finish_reason, set, usage};
use crate::http::protocols::openai_chat::extras::{Extras, FINGERPRINT, Whole};

const OBJECT: &str = "text_completion";

/// The fold.
#[derive(Debug)]
pub(in crate::http) struct TextCompletion {
    id: String,
    created: i64,
    model: String,
    usage: Running,
    extras: Extras,
    /// Characters so far: where the next token begins.
    characters: usize,
    others: OtherChoices,
    /// The same of each other choice.
    of_others: BTreeMap<u64, usize>,
    /// The number of the first chunk that a reader has of this attempt.
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
struct Choice<'a> {
    text: &'a str,
    index: u32,
    logprobs: Value,
    finish_reason: Option<&'static str>,
}

impl Dialect for TextCompletion {
    const NAME: &'static str = "completions";

    fn said(&mut self, said: &DialectEvent<'_>, frames: &mut Frames) {
        match said {
            DialectEvent::Text(text) | DialectEvent::Refusal(text) => {
                self.usage.add(text);
                self.chunk(text, None, frames);
            }
            // Thinking is no part of a text; it counts all the same.
            DialectEvent::Reasoning(text) => self.usage.add(text),
            DialectEvent::Started | DialectEvent::Call(_) | DialectEvent::Sealed(_) => {}
            DialectEvent::Extra(extra) => match self.others.piece(extra) {
                Some(piece) => {
                    self.usage.count(choices::said(extra));
                    let choice = self.other(&piece);
                    self.choice(choice, frames);
                }
                None => self.extras.add(extra, 0),
            },
            DialectEvent::Void => self.void(frames),
            DialectEvent::Done(done) => self.done(done, frames),
        }
    }

    /// Without it a client would take what it has for all there is.
    fn cut(&self, frames: &mut Frames) {
        let message = format!(
            "the stream broke off and the answer goes on: GET /v1/completions/{}?stream=true\
             &starting_after=N, with the sequence_number of your last chunk",
            self.id
        );
        frames.data(&error(&message, "stream_cut"));
    }
}

impl Completion for TextCompletion {
    const PREFIX: &'static str = "cmpl-";
    const ERASED: &'static str = "text_completion.deleted";

    fn of(row: &Generation, include_usage: bool) -> Self {
        Self {
            id: text_completion_id(row.id),
            created: row.created_at.unix_timestamp(),
            model: row.request.model.clone(),
            usage: Running::of(row, include_usage),
            extras: Extras::default(),
            characters: 0,
            others: OtherChoices::default(),
            of_others: BTreeMap::new(),
            first: 0,
        }
    }

    fn object(&self, answer: &Answer, done: Option<&Done>) -> Value {
        let whole = Whole::of(answer);
        let finish = done.filter(|done| failure(done).is_none()).map(reason);
        let logprobs = whole.choice.get("logprobs").map_or(Value::Null, |chat| older(chat, 0));
        let first = json!({
            "text": format!("{}{}", answer.text, answer.refusal), "index": 0,
            "logprobs": logprobs, "finish_reason": finish,
        });
        let others = choices::whole(answer, finish.is_some());
        let others = others.iter().map(|choice| as_text(choice, "message", 0));
        let all: Vec<Value> = [first].into_iter().chain(others).collect();
        let mut object = json!({
            "id": self.id, "object": OBJECT, "created": self.created, "model": self.model,
            "choices": all,
            "usage": done.map(|done| usage(&done.usage, whole.usage)),
            "system_fingerprint": FINGERPRINT,
        });
        for (name, value) in whole.chunk {
            object[name] = value;
        }
        object
    }
}

impl TextCompletion {
    fn chunk(&mut self, text: &str, reason: Option<&'static str>, frames: &mut Frames) {
        let mut more = std::mem::take(&mut self.extras.choice);
        let logprobs = more.take("logprobs").and_then(|raw| serde_json::from_str(raw.get()).ok());
        let logprobs = logprobs.map_or(Value::Null, |chat| older(&chat, self.characters));
        self.characters += text.chars().count();
        self.choice(Choice { text, index: 0, logprobs, finish_reason: reason }, frames);
    }

    /// A piece of another choice.
    fn other(&mut self, piece: &Fields) -> Value {
        let from = self.of_others.entry(piece.read("index").unwrap_or_default()).or_default();
        let fields = serde_json::to_value(piece).unwrap_or_default();
        let choice = as_text(&fields, "delta", *from);
        *from += choice["text"].as_str().unwrap_or_default().chars().count();
        choice
    }

    fn choice(&mut self, choice: impl Serialize, frames: &mut Frames) {
        let chunk = Chunk {
            id: &self.id,
            object: OBJECT,
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

    /// As in chat completions: who has a part of it is told to begin again behind this frame.
    fn void(&mut self, frames: &mut Frames) {
        self.extras = Extras::default();
        self.characters = 0;
        self.others = OtherChoices::default();
        self.of_others.clear();
        self.usage.reset();
        let number = frames.number();
        if number == self.first {
            return;
        }
        let message = format!(
            "the model lost its answer and begins again: drop what you have, then GET \
             /v1/completions/{}?stream=true&starting_after={number}",
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
        self.first = frames.number();
    }

    fn done(&mut self, done: &Done, frames: &mut Frames) {
        if let Some(mut json) = failure(done) {
            json["error"]["sequence_number"] = frames.number().into();
            frames.frame(None, &json);
            return;
        }
        for end in self.others.ends() {
            let choice = self.other(&end);
            self.choice(choice, frames);
        }
        self.chunk("", Some(reason(done)), frames);
        if self.usage.is_wanted() {
            let mut json = json!({
                "id": self.id, "object": OBJECT, "created": self.created,
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

/// The word for why the model stopped: there are no calls here.
fn reason(done: &Done) -> &'static str {
    finish_reason(done.finish_reason.filter(|reason| *reason != FinishReason::ToolCalls))
}

/// A choice of a chat completion, or a piece of one, as one of a text completion. It begins `from`
/// characters into its text.
fn as_text(choice: &Value, message: &str, from: usize) -> Value {
    let word = |name: &str| choice[message][name].as_str().unwrap_or_default();
    json!({
        "text": format!("{}{}", word("content"), word("refusal")), "index": choice["index"],
        "logprobs": older(&choice["logprobs"], from), "finish_reason": choice["finish_reason"],
    })
}

/// Log probabilities in the older form. The first token begins `from` characters into the text.
fn older(chat: &Value, from: usize) -> Value {
    let Some(content) = chat["content"].as_array() else { return Value::Null };
    let mut at = from;
    let mut offsets = Vec::new();
    for token in content {
        offsets.push(at);
        at += token["token"].as_str().unwrap_or_default().chars().count();
    }
    let column = |name: &str| content.iter().map(|token| token[name].clone()).collect::<Vec<_>>();
    let alternatives = |token: &Value| -> Map<String, Value> {
        let tops = token["top_logprobs"].as_array().into_iter().flatten();
        let pair = |top: &Value| Some((top["token"].as_str()?.to_owned(), top["logprob"].clone()));
        tops.filter_map(pair).collect()
    };
    json!({
        "tokens": column("token"),
        "token_logprobs": column("logprob"),
        "top_logprobs": content.iter().map(alternatives).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::openai_completions::encoder::*;

    #[test]
    fn log_probabilities_have_the_older_form() {
        let token = |token: &str, top: Value| json!({ "token": token, "logprob": -0.5, "bytes": [1], "top_logprobs": top });
        let top = json!([{ "token": "é", "logprob": -0.5 }, { "token": "e", "logprob": -2.0 }]);
        let chat = json!({ "content": [token("é", top), token("b", json!([]))], "refusal": null });
        let expected = json!({
            "tokens": ["é", "b"], "token_logprobs": [-0.5, -0.5],
            "top_logprobs": [{ "é": -0.5, "e": -2.0 }, {}], "text_offset": [3, 4],
        });
        assert_eq!(older(&chat, 3), expected);
        assert_eq!(older(&json!({ "content": null }), 0), Value::Null);
    }
}
