//! Hints in a request to the Messages API. Not every model takes each, and a model that refuses one
//! is asked without it.
use serde_json::Value;
use serde_json::value::RawValue;

use super::begun::{is_of_model, thinks, turn_off};
use super::body::Body;
use crate::providers::upstream::json_body::Object;

/// A field that a model can do without, and that not every model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    Effort,
    Temperature,
    TopP,
    Thinking,
    /// Of tools: a strict schema has narrower limits.
    Strict,
    /// Thinking of earlier turns: another vendor has signed it.
    Sealed,
    /// More thinking behind a text that is gone on with: the thinking before it is done.
    More,
}

const HINTS: [Hint; 7] = [
    Hint::Sealed,
    Hint::More,
    Hint::Effort,
    Hint::Temperature,
    Hint::TopP,
    Hint::Thinking,
    Hint::Strict,
];
const CONFIG: &str = "output_config";
const TOOLS: &str = "tools";
const STRICT: &str = "strict";
const TURNS: &str = "messages";
/// Words of a refusal that is about thinking: its signature is wrong, or it was changed.
const SEALED: [&str; 2] = ["`signature`", "cannot be modified"];

impl Hint {
    /// The field of the request.
    fn field(self) -> &'static str {
        match self {
            Self::Effort => CONFIG,
            Self::Temperature => "temperature",
            Self::TopP => "top_p",
            Self::Thinking | Self::More => "thinking",
            Self::Strict => TOOLS,
            Self::Sealed => TURNS,
        }
    }

    /// Whether a refusal is of every request, and not of one schema.
    pub(crate) fn is_of_model(self) -> bool {
        match self {
            Self::Effort | Self::Temperature | Self::TopP | Self::Thinking => true,
            Self::Strict | Self::Sealed | Self::More => false,
        }
    }

    /// The client's name for it.
    fn told(self) -> &'static str {
        match self {
            Self::Effort | Self::Thinking | Self::More => "reasoning_effort",
            Self::Temperature | Self::TopP => self.field(),
            Self::Strict => "tools.strict",
            Self::Sealed => "input.reasoning",
        }
    }

    fn is_named(self, refusal: &str) -> bool {
        let other = match self {
            Self::Effort => "effort",
            Self::Strict => STRICT,
            Self::Sealed => return SEALED.iter().any(|words| refusal.contains(words)),
            Self::Temperature | Self::TopP | Self::Thinking | Self::More => self.field(),
        };
        refusal.contains(other) || refusal.contains(self.field())
    }
}

impl Body {
    /// The hint that a refusal is about.
    pub(crate) fn refused(&self, refusal: &str) -> Option<Hint> {
        let is_about = |hint: &&Hint| hint.is_named(refusal) && self.has(**hint);
        HINTS.iter().find(is_about).copied()
    }

    /// Leaves a hint out, and notes its name.
    pub(crate) fn leave_out(&mut self, hint: Hint) {
        if !self.has(hint) {
            return;
        }
        match hint {
            Hint::Effort => {
                let mut config: Object = self.object.read(CONFIG).unwrap_or_default();
                config.remove("effort");
                if config.names().next().is_some() {
                    self.object.set(CONFIG, &config);
                } else {
                    self.object.remove(CONFIG);
                }
            }
            Hint::Strict => {
                let mut tools = self.tools();
                tools.iter_mut().for_each(|tool| _ = tool.remove(STRICT));
                self.object.set(TOOLS, &tools);
            }
            Hint::Sealed => {
                let mut turns = self.turns();
                self.sent_by_us(&mut turns).iter_mut().for_each(|turn| _ = unseal(turn));
                self.object.set(TURNS, &turns);
            }
            Hint::More => turn_off(&mut self.object),
            Hint::Temperature | Hint::TopP | Hint::Thinking => {
                self.object.remove(hint.field());
            }
        }
        self.left_out.push(hint.told().into());
    }

    fn tools(&self) -> Vec<Object> {
        self.object.read(TOOLS).unwrap_or_default()
    }

    fn turns(&self) -> Vec<Object> {
        self.object.read(TURNS).unwrap_or_default()
    }

    /// The turns whose thinking is not the client's to answer for. Of its own body that is the
    /// beginning of the answer.
    fn sent_by_us<'a>(&self, turns: &'a mut [Object]) -> &'a mut [Object] {
        if !self.is_own {
            return turns;
        }
        let last = turns.iter().rposition(is_of_model).filter(|_| !self.begun.is_empty());
        last.and_then(|last| turns.get_mut(last..=last)).unwrap_or_default()
    }

    fn has(&self, hint: Hint) -> bool {
        match hint {
            Hint::Sealed => self.sent_by_us(&mut self.turns()).iter_mut().any(unseal),
            Hint::More => !self.begun.is_empty() && thinks(&self.object),
            Hint::Effort => {
                let config: Object = self.object.read(CONFIG).unwrap_or_default();
                config.has("effort")
            }
            Hint::Strict => !self.is_own && self.tools().iter().any(|tool| tool.has(STRICT)),
            // Thinking that is turned on is the configuration's.
            Hint::Thinking => {
                let thinking: Object = self.object.read(hint.field()).unwrap_or_default();
                !self.is_own && thinking.read("type").is_some_and(|kind: String| kind == "disabled")
            }
            // A client of the same protocol is told of its own fields by the API.
            Hint::Temperature | Hint::TopP => !self.is_own && self.object.has(hint.field()),
        }
    }
}

/// Takes thinking out of a turn; whether there was any.
fn unseal(turn: &mut Object) -> bool {
    let blocks: Vec<Box<RawValue>> = turn.read("content").unwrap_or_default();
    let is_thought = |block: &RawValue| {
        let block: Value = serde_json::from_str(block.get()).unwrap_or_default();
        matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking"))
    };
    let all = blocks.len();
    let kept: Vec<Box<RawValue>> = blocks.into_iter().filter(|b| !is_thought(b)).collect();
    if kept.len() < all {
        turn.set("content", &kept);
    }
    kept.len() < all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::providers::messages::hints::*;

    fn body(fields: &Value, is_own: bool) -> Body {
        let object = Object::of(fields);
        Body { object, left_out: Vec::new(), spent: false, begun: String::new(), is_own }
    }

    fn turn(blocks: &[&str]) -> Value {
        let block = |kind: &&str| json!({ "type": kind });
        json!({ "role": "assistant", "content": blocks.iter().map(block).collect::<Vec<_>>() })
    }

    /// A request with all hints.
    fn full() -> Value {
        json!({
            "messages": [
                turn(&["thinking", "redacted_thinking", "text"]),
                { "role": "user", "content": "q" },
                turn(&["thinking", "tool_use"]),
            ],
            "output_config": { "effort": "low", "format": {} },
            "temperature": 1, "top_p": 0.5, "thinking": { "type": "disabled" },
            "tools": [{ "name": "a", "strict": true }, { "name": "b", "strict": true }],
        })
    }

    #[test]
    fn a_refusal_is_about_the_hint_that_it_names() {
        let body = body(&full(), false);
        for (refusal, hint) in [
            ("output_config: Extra inputs are not permitted", Hint::Effort),
            ("This model does not support the effort parameter.", Hint::Effort),
            ("`temperature` is deprecated for this model", Hint::Temperature),
            ("`top_p` cannot be set", Hint::TopP),
            ("thinking.type.disabled is not supported", Hint::Thinking),
            ("tools.0.custom: `minimum` is not supported", Hint::Strict),
            ("strict: Extra inputs are not permitted", Hint::Strict),
            ("messages.1.content.0: Invalid `signature` in `thinking` block", Hint::Sealed),
            ("`thinking` blocks in the latest message cannot be modified", Hint::Sealed),
        ] {
            assert_eq!(body.refused(refusal), Some(hint), "{refusal}");
        }
        assert_eq!(body.refused("no credit"), None);
    }

    #[test]
    fn a_hint_that_is_left_out_is_told_and_the_rest_stays() {
        let mut no_thinking = full();
        no_thinking["messages"][0] = turn(&["text"]);
        no_thinking["messages"][2] = turn(&["tool_use"]);
        let mut no_strict = full();
        no_strict["tools"] = json!([{ "name": "a" }, { "name": "b" }]);
        let mut no_effort = full();
        no_effort["output_config"] = json!({ "format": {} });
        let without = |name: &str| {
            let mut other = full();
            other.as_object_mut().unwrap().remove(name);
            other
        };
        for (hint, told, expected) in [
            (Hint::Effort, "reasoning_effort", no_effort),
            (Hint::Temperature, "temperature", without("temperature")),
            (Hint::TopP, "top_p", without("top_p")),
            (Hint::Thinking, "reasoning_effort", without("thinking")),
            (Hint::Strict, "tools.strict", no_strict),
            (Hint::Sealed, "input.reasoning", no_thinking),
        ] {
            let mut body = body(&full(), false);
            body.leave_out(hint);
            body.leave_out(hint);
            assert_eq!(serde_json::to_value(&body.object).unwrap(), expected, "{hint:?}");
            assert_eq!(body.left_out, [told], "once");
        }
        let mut alone = body(&json!({ "output_config": { "effort": "low" } }), false);
        alone.leave_out(Hint::Effort);
        assert!(alone.object.names().next().is_none(), "nothing is left of its object");
    }

    #[test]
    fn what_is_not_there_is_not_what_was_refused() {
        let thinks = json!({ "thinking": { "type": "enabled" }, "tools": [{ "name": "a" }] });
        let plain = body(&thinks, false);
        let words = "effort temperature top_p thinking strict `signature`";
        assert_eq!(plain.refused(words), None, "thinking is turned on");
        let mut own = body(&full(), true);
        for word in words.split(' ').filter(|word| *word != "effort") {
            assert_eq!(own.refused(word), None, "a client of this protocol is told: {word}");
        }
        assert_eq!(own.refused(words), Some(Hint::Effort), "but for its effort");
        own.leave_out(Hint::Strict);
        assert!(own.left_out.is_empty());
    }

    #[test]
    fn a_model_is_not_given_again_what_it_refuses_of_every_request() {
        let lasting: Vec<Hint> = HINTS.into_iter().filter(|hint| hint.is_of_model()).collect();
        assert_eq!(lasting, [Hint::Effort, Hint::Temperature, Hint::TopP, Hint::Thinking]);
    }
}
