//! The answers of a scripted upstream.
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::Request;

/// Opened once by a test; answers wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Gate {
    /// Lets every waiting answer go on.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn opened(&self) {
        let mut open = self.0.subscribe();
        let _sender_is_ours = open.wait_for(|open| *open).await;
    }
}

/// One thing that the server does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// As one chunk of the body.
    Send(Vec<u8>),
    /// Raw bytes, past the chunked encoding.
    Write(Vec<u8>),
    Wait(Gate),
    Stall,
    Flood {
        events: usize,
        event: Vec<u8>,
    },
    Paced {
        events: Vec<Vec<u8>>,
        every: Duration,
    },
    Cut,
    Reset,
}

/// How one request is answered: a head, then steps. An answer without an end of its own ends
/// cleanly, and the connection may be used again.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(super) head: String,
    pub(super) chunked: bool,
    pub(super) steps: Vec<Step>,
}

impl Answer {
    /// 200 with an event stream, chunked.
    pub(crate) fn sse() -> Self {
        Self::status(200).header("content-type", "text/event-stream")
    }

    /// A chunked answer with this status and no headers yet.
    pub(crate) fn status(status: u16) -> Self {
        Self { head: format!("HTTP/1.1 {status} scripted\r\n"), chunked: true, steps: vec![] }
    }

    /// Not even a head: only the bytes of the steps.
    pub(crate) fn none() -> Self {
        Self { head: String::new(), chunked: false, steps: vec![] }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Ends the body by closing the connection, as `Connection: close` says.
    pub(crate) fn close_delimited(mut self) -> Self {
        self.chunked = false;
        self.header("connection", "close")
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Sends bytes of the body, as one piece.
    pub(crate) fn raw(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Sends bytes of the body, cut at these places.
    pub(crate) fn split(mut self, bytes: impl AsRef<[u8]>, cuts: &[usize]) -> Self {
        let mut rest = bytes.as_ref();
        let mut from = 0;
        for cut in cuts {
            let (piece, tail) = rest.split_at(cut - from);
            (self, rest, from) = (self.raw(piece), tail, *cut);
        }
        self.raw(rest)
    }

    /// Sends one event with this data.
    pub(crate) fn data(self, data: &str) -> Self {
        self.raw(format!("data: {data}\n\n"))
    }

    /// Sends one chat chunk with this text.
    pub(crate) fn text(self, text: &str) -> Self {
        self.raw(text_event(text))
    }

    /// Sends one chat chunk with this delta.
    pub(crate) fn delta(self, delta: &Value) -> Self {
        self.data(&json!({ "choices": [{ "index": 0, "delta": delta }] }).to_string())
    }

    /// Sends the finish reason.
    pub(crate) fn finish(self, reason: &str) -> Self {
        self.raw(finish_event(reason))
    }

    /// Sends the usage, without choices, as OpenAI does.
    pub(crate) fn usage(self, input: u64, output: u64) -> Self {
        self.raw(usage_event(input, output))
    }

    /// Sends `[DONE]`.
    pub(crate) fn done(self) -> Self {
        self.data("[DONE]")
    }

    /// A normal end: finish reason `stop`, usage 1 + 2, `[DONE]`.
    pub(crate) fn complete(self) -> Self {
        self.finish("stop").usage(1, 2).done()
    }

    /// Waits until the test opens the gate.
    pub(crate) fn wait(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    /// Says nothing more until the peer closes.
    pub(crate) fn stall(self) -> Self {
        self.step(Step::Stall)
    }

    /// Sends an event over and over, as fast as it is taken.
    pub(crate) fn flood(self, events: usize, text: &str) -> Self {
        self.step(Step::Flood { events, event: text_event(text) })
    }

    /// Sends texts at a rate; 0 per second is as fast as the client reads.
    pub(crate) fn paced<'a>(self, texts: impl Iterator<Item = &'a str>, per_second: f64) -> Self {
        self.paced_raw(texts.map(text_event).collect(), per_second)
    }

    /// The same with bytes of the body.
    pub(crate) fn paced_raw(self, events: Vec<Vec<u8>>, per_second: f64) -> Self {
        let every = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or_default();
        self.step(Step::Paced { events, every })
    }

    /// Closes in the middle of the body.
    pub(crate) fn cut(self) -> Self {
        self.step(Step::Cut)
    }

    /// Writes past the chunked encoding; for broken HTTP.
    pub(crate) fn write(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Write(bytes.as_ref().to_vec()))
    }

    /// Breaks the connection with an RST.
    pub(crate) fn reset(self) -> Self {
        self.step(Step::Reset)
    }
}

/// The text of a chat chunk as an event.
fn text_event(text: &str) -> Vec<u8> {
    let delta = json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
    format!("data: {delta}\n\n").into()
}

fn finish_event(reason: &str) -> Vec<u8> {
    let chunk = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] });
    format!("data: {chunk}\n\n").into()
}

fn usage_event(input: u64, output: u64) -> Vec<u8> {
    let usage = json!({ "prompt_tokens": input, "completion_tokens": output });
    format!("data: {}\n\n", json!({ "choices": [], "usage": usage })).into()
}

/// A model that says `t0 t1 t2 …`, always the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    /// How many tokens.
    pub(crate) tokens: usize,
    /// Its pace; 0 is as fast as the client reads.
    pub(crate) per_second: f64,
    /// Whether it goes on behind an assistant message with `prefix: true`; otherwise it begins
    /// from the start.
    pub(crate) continues: bool,
    /// The first request is cut off after so many tokens.
    pub(crate) cut_first_at: Option<usize>,
}

impl Model {
    /// All of its text.
    pub(crate) fn text(tokens: usize) -> String {
        (0..tokens).map(|n| format!("t{n} ")).collect()
    }

    fn answer(&self, request: &Request, number: usize) -> Answer {
        let so_far = if self.continues { request.so_far() } else { "" };
        let text = Self::text(self.tokens);
        let Some(rest) = text.strip_prefix(so_far) else {
            return Answer::status(400).raw("the text so far is not mine");
        };
        let tokens = rest.split_inclusive(' ');
        if let Some(at) = self.cut_first_at.filter(|_| number == 0) {
            return Answer::sse().paced(tokens.take(at), self.per_second).cut();
        }
        let count = tokens.clone().count() as u64;
        Answer::sse().paced(tokens, self.per_second).finish("stop").usage(7, count).done()
    }
}

pub(crate) type Respond = dyn Fn(&Request, usize) -> Answer + Send + Sync;

/// The answer of each request; the number of the request, from 0, decides too.
pub(crate) struct Script(pub(crate) Box<Respond>);

impl Script {
    /// The function makes the answer from each request and its number.
    pub(crate) fn with(
        respond: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(respond))
    }
}

impl From<Answer> for Script {
    fn from(answer: Answer) -> Self {
        Self::with(move |_, _| answer.clone())
    }
}

impl From<Vec<Answer>> for Script {
    fn from(answers: Vec<Answer>) -> Self {
        Self::with(move |_, number| answers[number.min(answers.len() - 1)].clone())
    }
}

impl From<Model> for Script {
    fn from(model: Model) -> Self {
        Self::with(move |request, number| model.answer(request, number))
    }
}
