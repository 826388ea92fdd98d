//! Every frame and every close code: the words of `lastword.v1`, in one file.
use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::lenient::Lenient;
use crate::domain::event::Status;
use crate::domain::id::{ConversationId, GenerationId, InvalidCursor, Seq};
use crate::domain::nearest;
use crate::domain::room::Participant;
use crate::engine::Receipt;
use crate::http::problem::Problem;
use crate::http::protocols::native::prompt::StartBody;
use crate::http::{self, body};

/// The subprotocol.
pub(super) const PROTOCOL: &str = "lastword.v1";

/// The longest `ref`, in bytes: long enough for any id.
pub(super) const REF_BYTES: usize = 128;

/// The client's own mark on a frame, echoed with the answer: a text or a whole number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Ref {
    Text(String),
    Number(i64),
}

impl<'de> Deserialize<'de> for Ref {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RefVisitor;
        impl Visitor<'_> for RefVisitor {
            type Value = Ref;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a text of at most {REF_BYTES} bytes or a whole number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ref, E> {
                let fits = text.len() <= REF_BYTES;
                let text = fits.then(|| Ref::Text(text.into()));
                text.ok_or_else(|| E::invalid_length(REF_BYTES + 1, &self))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Ref, E> {
                Ok(Ref::Number(number))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Ref, E> {
                let number = i64::try_from(number);
                number.map(Ref::Number).map_err(|_| E::custom("a number beyond 63 bits"))
            }
        }
        deserializer.deserialize_any(RefVisitor)
    }
}

/// A client's frame.
#[derive(Debug)]
pub(super) enum ClientFrame {
    Hello(Hello),
    Generate(Box<Generate>),
    Subscribe(Subscribe),
    Unsubscribe(OfGeneration),
    Cancel(OfGeneration),
    Join(OfConversation),
    Leave(OfConversation),
    Typing(Typing),
    Ping,
}

/// The words in a client frame's `type`.
const TYPES: [&str; 9] =
    ["hello", "generate", "subscribe", "unsubscribe", "cancel", "join", "leave", "typing", "ping"];

/// The participant.
#[derive(Debug, Deserialize)]
pub(super) struct Hello {
    pub(super) token: Option<String>,
    pub(super) client: Option<Client>,
}

/// The participant that a connection stands for.
#[derive(Debug, Deserialize)]
pub(super) struct Client {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
}

/// Starts a generation and subscribes to it: the body of `POST /v1/generations`, and this.
#[derive(Debug)]
pub(super) struct Generate {
    pub(super) body: StartBody,
    pub(super) options: GenerateOptions,
}

/// The fields of a `generate` beside the body.
#[derive(Debug, Deserialize)]
pub(super) struct GenerateOptions {
    /// As the header on HTTP: it holds across connections, where `ref` holds on this one.
    pub(super) idempotency_key: Option<String>,
    /// As the header on HTTP, which scripts in browsers cannot send with a socket.
    pub(super) traceparent: Option<String>,
    /// The cursor of a client that has seen some of it.
    #[serde(default)]
    pub(super) after: Seq,
    #[serde(default)]
    pub(super) coalesce: bool,
}

/// Reads on behind a cursor.
#[derive(Debug, Deserialize)]
pub(super) struct Subscribe {
    pub(super) generation: Named<GenerationId>,
    #[serde(default)]
    pub(super) after: Seq,
    #[serde(default)]
    pub(super) coalesce: bool,
}

/// A frame about one generation.
#[derive(Debug, Deserialize)]
pub(super) struct OfGeneration {
    pub(super) generation: Named<GenerationId>,
}

/// The id that a client names. An improper id names nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<T>(Option<T>);

impl<'de, T: FromStr> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(http::proper_id(&String::deserialize(deserializer)?)))
    }
}

impl Named<GenerationId> {
    pub(super) fn id(self) -> Result<GenerationId, Problem> {
        self.0.ok_or_else(Problem::no_such_generation)
    }
}

impl Named<ConversationId> {
    pub(super) fn id(self) -> Result<ConversationId, Problem> {
        self.0.ok_or_else(Problem::no_such_conversation)
    }
}

/// A frame about one conversation.
#[derive(Debug, Deserialize)]
pub(super) struct OfConversation {
    pub(super) conversation: Named<ConversationId>,
}

/// The participant types, or has stopped.
#[derive(Debug, Deserialize)]
pub(super) struct Typing {
    pub(super) conversation: Named<ConversationId>,
    pub(super) state: TypingState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TypingState {
    Active,
    Paused,
}

/// A frame that is none of ours.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) reference: Option<Ref>,
    pub(super) problem: Box<Problem>,
}

/// A text as a frame, and its `ref`.
pub(super) fn parse(text: &str) -> Result<(Option<Ref>, ClientFrame), Malformed> {
    #[derive(Deserialize)]
    struct Marked {
        #[serde(rename = "ref")]
        reference: Option<Ref>,
    }
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: String,
    }
    let bytes = text.as_bytes();
    let unmarked = |problem| Malformed { reference: None, problem: Box::new(problem) };
    let Marked { reference } = body::mark(bytes).map_err(unmarked)?;
    let frame = body::parse(bytes).and_then(|Typed { kind }| match kind.as_str() {
        "hello" => body::parse(bytes).map(ClientFrame::Hello),
        "generate" => generate(bytes).map(Box::new).map(ClientFrame::Generate),
        "subscribe" => body::parse(bytes).map(ClientFrame::Subscribe).map_err(about_cursor),
        "unsubscribe" => body::parse(bytes).map(ClientFrame::Unsubscribe),
        "cancel" => body::parse(bytes).map(ClientFrame::Cancel),
        "join" => body::parse(bytes).map(ClientFrame::Join),
        "leave" => body::parse(bytes).map(ClientFrame::Leave),
        "typing" => body::parse(bytes).map(ClientFrame::Typing),
        "ping" => Ok(ClientFrame::Ping),
        other => Err(unknown_type(other)),
    });
    match frame {
        Ok(frame) => Ok((reference, frame)),
        Err(problem) => Err(Malformed { reference, problem: Box::new(problem) }),
    }
}

fn generate(bytes: &[u8]) -> Result<Generate, Problem> {
    let options = body::parse(bytes).map_err(about_cursor)?;
    let Lenient(body) = body::parse(bytes)?;
    Ok(Generate { body, options })
}

/// A cursor that is none has the code that it has on HTTP.
fn about_cursor(problem: Problem) -> Problem {
    if problem.field() == Some("after") {
        return Problem::bad_request("invalid_cursor", InvalidCursor.to_string())
            .with("field", "after");
    }
    problem
}

fn unknown_type(kind: &str) -> Problem {
    let hint = nearest::hint(kind, &TYPES);
    let detail = format!("there is no frame of type `{}`.{hint}", nearest::shown(kind));
    Problem::bad_request("unknown_type", detail).with("field", "type").with("known", TYPES.to_vec())
}

/// A server's frame.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerFrame {
    /// The connection is open.
    Welcome { connection: String, heartbeat_s: u64, limits: Shown },
    /// It was done.
    Ack {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<Ref>,
        #[serde(flatten)]
        done: Done,
    },
    /// The very object that SSE carries.
    #[cfg_attr(not(test), expect(dead_code, reason = "the outbox writes it, a test compares"))]
    Event { generation: GenerationId, event: Box<RawValue> },
    /// The others that type: the whole list, valid for this long unless another one comes.
    Typing { conversation: ConversationId, who: Vec<Participant>, ttl_ms: u64 },
    /// The participants: the whole list.
    Presence { conversation: ConversationId, participants: Vec<Participant> },
    /// The receipt of a cancel.
    Cancelled {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<Ref>,
        generation: GenerationId,
        #[serde(flatten)]
        receipt: Box<Receipt>,
    },
    /// It was not done; or, without a `ref`, something ended that was going on.
    Error {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<Ref>,
        #[serde(skip_serializing_if = "Option::is_none")]
        generation: Option<GenerationId>,
        code: &'static str,
        message: String,
        #[serde(flatten)]
        more: Map<String, Value>,
    },
    /// The answer to a ping.
    Pong {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<Ref>,
    },
}

/// The finished work.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Done {
    /// A `hello` was heard: who the connection stands for.
    Heard { participant: Participant },
    /// A conversation was joined or left.
    Room { conversation: ConversationId },
    /// A generation was started, now or before; its events follow.
    Started {
        generation: GenerationId,
        replayed: bool,
        complete: bool,
        #[serde(flatten)]
        receipt: Value,
    },
    /// A subscription begins. `status` and `last_seq` are absent while the database is out of
    /// reach. `complete`: it has ended and the cursor is at its end, so that nothing follows, ever.
    Subscribed {
        generation: GenerationId,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<Status>,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_seq: Option<Seq>,
        complete: bool,
    },
    /// A subscription ended.
    Unsubscribed { generation: GenerationId },
    /// The cancel is durable, its truth takes longer than an answer may wait: `done` will tell.
    Cancelling { generation: GenerationId, status: Status, last_seq: Seq },
}

/// The limits that a client has to know.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Shown {
    /// Of a message, in bytes.
    pub(super) frame_bytes: usize,
    pub(super) subscriptions: usize,
    pub(super) joins: usize,
    /// In the long run; a burst may have ten times as many.
    pub(super) frames_per_s: u32,
}

impl ServerFrame {
    /// The refusal of a frame.
    pub(super) fn refusal(reference: Option<Ref>, problem: Problem) -> Self {
        let (code, message, mut more) = problem.into_parts();
        // The frame's own names win.
        for name in ["type", "ref", "code", "message", "generation"] {
            more.remove(name);
        }
        Self::Error { reference, generation: None, code, message, more }
    }
}

/// Why the server closes. The range tells a client what to do: come back and resume, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCode {
    /// 1002: against RFC 6455.
    Protocol,
    /// 1003: a binary frame.
    Binary,
    /// 1007: a text that is not UTF-8.
    NotUtf8,
    /// 1009: a message beyond the limit.
    TooLarge,
    /// 4000: this instance stops.
    Draining,
    /// 4001: the client did not take what it was sent.
    TooSlow,
    /// 4002: no answer to two pings.
    NoPong,
    /// 4003: the connection is too old.
    TooOld,
    /// 4029: too many frames.
    Rate,
    /// 4500: too many malformed frames.
    BadFrames,
    /// 4501: the credential is missing, invalid, expired or revoked.
    Credential,
    /// 4503: the page comes from elsewhere.
    Origin,
    /// 4505: none of the offered subprotocols is ours.
    Subprotocol,
    /// 4508: no hello in time.
    NoHello,
}

impl CloseCode {
    /// The number, and the reason in words.
    pub(super) fn wire(self) -> (u16, &'static str) {
        match self {
            Self::Protocol => (1002, "against RFC 6455"),
            Self::Binary => (1003, "text frames only"),
            Self::NotUtf8 => (1007, "not UTF-8"),
            Self::TooLarge => (1009, "message too large"),
            Self::Draining => (4000, "this server stops: reconnect and resume"),
            Self::TooSlow => (4001, "too slow: reconnect and resume"),
            Self::NoPong => (4002, "two pings were not answered: reconnect and resume"),
            Self::TooOld => (4003, "the connection is old: reconnect and resume"),
            Self::Rate => (4029, "too many frames: reconnect later"),
            Self::BadFrames => (4500, "too many malformed frames"),
            Self::Credential => (4501, "the credential is missing, invalid, expired or revoked"),
            Self::Origin => (4503, "this origin may not connect"),
            Self::Subprotocol => (4505, "offer the subprotocol lastword.v1"),
            Self::NoHello => (4508, "no hello in time"),
        }
    }
}
