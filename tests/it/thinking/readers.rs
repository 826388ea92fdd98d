//! Readers of a stream in three protocols, each with the fold of its clients.
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{output, tools};
use crate::raw::{RawStream, exchange, request};

/// The protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Messages,
    Chat,
    Responses,
}

pub(super) const PROTOCOLS: [Protocol; 3] =
    [Protocol::Messages, Protocol::Chat, Protocol::Responses];

impl Protocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Messages => "go messages",
            Self::Chat => "go chat",
            Self::Responses => "go responses",
        }
    }

    /// Whether thinking that was streamed stays, though its end never came.
    pub(super) fn keeps_torn(self) -> bool {
        self != Self::Responses
    }

    fn path(self) -> &'static str {
        match self {
            Self::Messages => "/v1/messages",
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
        }
    }

    fn body(self, more: &[Value]) -> Value {
        let mut turns = vec![json!({ "role": "user", "content": self.name() })];
        turns.extend(more.iter().cloned());
        let stream = more.is_empty();
        match self {
            Self::Messages => {
                let tool = json!({ "name": "f", "input_schema": { "type": "object" } });
                json!({ "model": "claude", "max_tokens": 2500, "messages": turns, "tools": [tool],
                    "stream": stream })
            }
            Self::Chat => {
                json!({ "model": "claude", "messages": turns, "tools": tools(), "stream": stream })
            }
            Self::Responses => {
                let tool =
                    json!({ "type": "function", "name": "f", "parameters": { "type": "object" } });
                json!({ "model": "claude", "input": turns, "store": false, "tools": [tool],
                    "stream": stream })
            }
        }
    }

    /// Asks for a stream.
    pub(super) async fn ask(self, address: SocketAddr) -> Reading {
        let head = "Content-Type: application/json\r\n";
        let body = self.body(&[]).to_string();
        let asked = request(&format!("POST {}", self.path()), head, body.as_bytes());
        Reading { protocol: self, stream: RawStream::of(address, &asked).await }
    }
}

/// A stream that is being read.
pub(super) struct Reading {
    protocol: Protocol,
    stream: RawStream,
}

impl Reading {
    pub(super) async fn until(&mut self, text: &str) {
        self.stream.until(text, 1).await;
    }

    pub(super) fn generation(&self) -> String {
        self.stream.answer().header("lastword-generation").unwrap().to_owned()
    }

    /// Reads up to the cut.
    pub(super) async fn gone(mut self) -> Gone {
        self.stream.end().await;
        let answer = self.stream.answer();
        let generation = answer.header("lastword-generation").unwrap().to_owned();
        let mut gone =
            Gone { protocol: self.protocol, generation, frames: Vec::new(), superseded: false };
        gone.take(&answer.body);
        gone
    }
}

/// A reader that comes back, with the frames that count.
pub(super) struct Gone {
    pub(super) protocol: Protocol,
    generation: String,
    /// Each with its number.
    frames: Vec<(u64, Value)>,
    superseded: bool,
}

impl Gone {
    /// Takes whole frames. Where the answer begins anew, those before are dropped.
    fn take(&mut self, body: &[u8]) {
        let text = String::from_utf8_lossy(body).into_owned();
        let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
        for frame in whole.split("\n\n") {
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
            let Some(data) = field("data: ").filter(|data| *data != "[DONE]") else { continue };
            let data: Value = serde_json::from_str(data).unwrap();
            let own = data["sequence_number"].as_u64();
            let own = own.or(data["error"]["sequence_number"].as_u64());
            let Some(number) = own.or(field("id: ").map(|id| id.parse().unwrap())) else {
                continue;
            };
            let last = self.frames.last().map(|(number, _)| *number);
            assert!(last.is_none_or(|last| number == last + 1), "{number} behind {last:?}");
            if data["error"]["code"] == "superseded" {
                self.superseded = true;
                self.frames.clear();
            }
            self.frames.push((number, data));
        }
    }

    fn is_whole(&self) -> bool {
        let ended = |frame: &Value| match self.protocol {
            Protocol::Messages => frame["type"] == "message_stop",
            Protocol::Chat => frame["choices"][0]["finish_reason"].is_string(),
            Protocol::Responses => frame["type"] == "response.completed",
        };
        self.frames.iter().any(|(_, frame)| ended(frame))
    }

    fn own_path(&self) -> String {
        let short = self.generation.replace('-', "");
        match self.protocol {
            Protocol::Messages => format!("/v1/messages/msg_{short}"),
            Protocol::Chat => format!("/v1/chat/completions/chatcmpl-{}", self.generation),
            Protocol::Responses => format!("/v1/responses/resp_{short}"),
        }
    }

    /// Reads on behind the last frame until the answer is whole.
    pub(super) async fn come_back(&mut self, address: SocketAddr) {
        while !self.is_whole() {
            let last = self.frames.last().unwrap().0;
            let path = format!("GET {}?stream=true&starting_after={last}", self.own_path());
            let answer = exchange(address, &request(&path, "", b"")).await;
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            self.take(&answer.body);
        }
    }

    /// Whether it was told that the answer begins anew.
    pub(super) fn superseded(&self) -> bool {
        match self.protocol {
            Protocol::Messages | Protocol::Chat => self.superseded,
            // The items that are void end in the stream, and are not in the response.
            Protocol::Responses => {
                let done =
                    self.frames.iter().filter(|(_, f)| f["type"] == "response.output_item.done");
                let firsts: Vec<&Value> = done.map(|(_, frame)| &frame["item"]).collect();
                firsts.first().is_some_and(|item| item["status"] == "incomplete")
            }
        }
    }

    /// The answer as a client of the protocol has it.
    fn whole(&self) -> Value {
        let frames = self.frames.iter().map(|(_, frame)| frame);
        match self.protocol {
            Protocol::Messages => messages(frames),
            Protocol::Chat => chat(frames),
            Protocol::Responses => {
                let last = self.frames.iter().rfind(|(_, f)| f["type"] == "response.completed");
                last.unwrap().1["response"]["output"].clone()
            }
        }
    }

    pub(super) fn text(&self) -> String {
        self.said(["text", "content", "content"])
    }

    pub(super) fn thought(&self) -> String {
        self.said(["thinking", "reasoning_content", "summary"])
    }

    /// The words under the protocol's own name: of Messages, chat and Responses.
    fn said(&self, [block, field, list]: [&str; 3]) -> String {
        let whole = self.whole();
        match self.protocol {
            Protocol::Messages => texts(&whole, block),
            Protocol::Chat => whole[field].as_str().unwrap().to_owned(),
            Protocol::Responses => {
                let items = whole.as_array().unwrap().iter();
                items.map(|item| texts(&item[list], "text")).collect()
            }
        }
    }

    /// Each signature of Claude's, and the text that it stands at.
    pub(super) fn seals(&self) -> Vec<(String, String)> {
        let whole = self.whole();
        let blocks: Vec<Value> = match self.protocol {
            Protocol::Messages => whole.as_array().unwrap().clone(),
            Protocol::Chat => whole["thinking_blocks"].as_array().unwrap().clone(),
            Protocol::Responses => {
                let carried = whole.as_array().unwrap().iter().filter_map(|item| {
                    item["encrypted_content"].as_str()?.strip_prefix("lastword-t1.")
                });
                carried.flat_map(|json| serde_json::from_str::<Vec<Value>>(json).unwrap()).collect()
            }
        };
        let seals = blocks.iter().filter_map(|block| {
            let seal = block["signature"].as_str().filter(|seal| !seal.starts_with("lastword_"))?;
            Some((block["thinking"].as_str()?.to_owned(), seal.to_owned()))
        });
        let seals: Vec<_> = seals.collect();
        assert_eq!(seals.len(), 2, "{whole}");
        seals
    }

    /// The request that brings the turn and the tool's result.
    pub(super) fn next_turn(&self) -> (&'static str, Value) {
        let whole = self.whole();
        let more = match self.protocol {
            Protocol::Messages => {
                let result =
                    json!({ "type": "tool_result", "tool_use_id": "toolu_1", "content": "r" });
                vec![
                    json!({ "role": "assistant", "content": whole }),
                    json!({ "role": "user", "content": [result] }),
                ]
            }
            Protocol::Chat => {
                vec![whole, json!({ "role": "tool", "tool_call_id": "toolu_1", "content": "r" })]
            }
            Protocol::Responses => {
                let mut items = whole.as_array().unwrap().clone();
                items.push(output());
                items
            }
        };
        (self.protocol.path(), self.protocol.body(&more))
    }

    /// The whole answer is the same as what was streamed.
    pub(super) async fn look_again(&self, address: SocketAddr) {
        let path = format!("GET {}", self.own_path());
        let answer = exchange(address, &request(&path, "", b"")).await.json();
        let (whole, streamed) = (
            match self.protocol {
                Protocol::Messages => &answer["content"],
                Protocol::Chat => &answer["choices"][0]["message"],
                Protocol::Responses => &answer["output"],
            },
            self.whole(),
        );
        match self.protocol {
            Protocol::Messages => assert_eq!(*whole, streamed),
            Protocol::Chat => {
                for field in ["content", "reasoning_content", "thinking_blocks"] {
                    assert_eq!(whole[field], streamed[field], "{field}");
                }
            }
            Protocol::Responses => assert_eq!(*whole, streamed),
        }
    }
}

fn texts(blocks: &Value, field: &str) -> String {
    let blocks = blocks.as_array().into_iter().flatten();
    blocks.filter_map(|block| block[field].as_str()).collect()
}

/// As Anthropic's SDKs fold it.
fn messages<'a>(frames: impl Iterator<Item = &'a Value>) -> Value {
    let mut blocks: Vec<Value> = Vec::new();
    let mut input = String::new();
    let add = |block: &mut Value, field: &str, more: &Value| {
        let text = block[field].as_str().unwrap_or_default().to_owned();
        block[field] = json!(text + more.as_str().unwrap());
    };
    for frame in frames {
        match frame["type"].as_str().unwrap_or_default() {
            "content_block_start" => blocks.push(frame["content_block"].clone()),
            "content_block_delta" => {
                let (block, delta) = (blocks.last_mut().unwrap(), &frame["delta"]);
                match delta["type"].as_str().unwrap() {
                    "text_delta" => add(block, "text", &delta["text"]),
                    "thinking_delta" => add(block, "thinking", &delta["thinking"]),
                    "signature_delta" => block["signature"] = delta["signature"].clone(),
                    "input_json_delta" => {
                        input.push_str(delta["partial_json"].as_str().unwrap());
                    }
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" if !input.is_empty() => {
                let whole = std::mem::take(&mut input);
                blocks.last_mut().unwrap()["input"] = serde_json::from_str(&whole).unwrap();
            }
            _ => {}
        }
    }
    json!(blocks)
}

/// As clients of OpenRouter and LiteLLM fold it.
fn chat<'a>(frames: impl Iterator<Item = &'a Value>) -> Value {
    let mut message = json!({ "role": "assistant", "content": "", "reasoning_content": "",
        "thinking_blocks": [], "tool_calls": [] });
    for frame in frames {
        let delta = &frame["choices"][0]["delta"];
        for field in ["content", "reasoning_content"] {
            let text = message[field].as_str().unwrap().to_owned();
            message[field] = json!(text + delta[field].as_str().unwrap_or_default());
        }
        let blocks = delta["thinking_blocks"].as_array().cloned().unwrap_or_default();
        message["thinking_blocks"].as_array_mut().unwrap().extend(blocks);
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let calls = message["tool_calls"].as_array_mut().unwrap();
            match calls.first_mut() {
                None => calls.push(call.clone()),
                Some(known) => {
                    let more = call["function"]["arguments"].as_str().unwrap_or_default();
                    let text = known["function"]["arguments"].as_str().unwrap_or_default();
                    known["function"]["arguments"] = json!(text.to_owned() + more);
                }
            }
        }
    }
    message
}
