//! The choices of a chat completion beside the first, which is the answer: pieces of JSON, each an
//! extra at [`Spot::OtherChoice`].
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::extra::{Extra, Placed, Spot};
use super::merged::grow;

/// The texts of a choice, under `delta`.
const TEXTS: [&str; 3] = ["content", "reasoning_content", "refusal"];

/// The choices that `extras` add up to, by index: `delta` with all that was said, and the fields
/// beside it.
#[must_use]
pub fn choices(extras: &[Placed]) -> BTreeMap<u32, Map<String, Value>> {
    let mut all = BTreeMap::<u32, Map<String, Value>>::new();
    for extra in extras.iter().map(|placed| &placed.extra) {
        if let Some((index, fields)) = piece(extra) {
            grow(all.entry(index).or_default(), fields);
        }
    }
    all
}

/// The extras with each choice in one piece, where its last one stands. They say the same.
#[must_use]
pub fn joined(extras: &[Placed]) -> Vec<Placed> {
    let mut whole = choices(extras);
    let mut out: Vec<Placed> = Vec::with_capacity(extras.len().min(64));
    for placed in extras.iter().rev() {
        if placed.extra.at != Spot::OtherChoice {
            out.push(placed.clone());
        } else if let Some(choice) = placed.extra.index.and_then(|index| whole.remove(&index))
            && let Ok(text) = serde_json::to_string(&choice)
            && let Ok(data) = serde_json::from_str(&text)
        {
            let extra = Extra { data, ..placed.extra.clone() };
            out.push(Placed { extra, ..placed.clone() });
        }
    }
    out.reverse();
    out
}

/// How many bytes of text the piece of a choice says.
#[must_use]
pub fn said(extra: &Extra) -> usize {
    let Some((_, fields)) = piece(extra) else { return 0 };
    let Some(Value::Object(delta)) = fields.get("delta") else { return 0 };
    let texts = TEXTS.iter().filter_map(|name| delta.get(*name)?.as_str());
    let calls = delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    let arguments = calls.filter_map(|call| {
        let place = ["/function/arguments", "/custom/input"];
        place.iter().find_map(|place| call.pointer(place)?.as_str())
    });
    texts.chain(arguments).map(str::len).sum()
}

fn piece(extra: &Extra) -> Option<(u32, Map<String, Value>)> {
    let index = extra.index.filter(|_| extra.at == Spot::OtherChoice)?;
    Some((index, serde_json::from_str(extra.data.text()).ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::source::WireProtocol;
    use super::*;

    fn placed(after: usize, at: Spot, index: Option<u32>, data: &Value) -> Placed {
        let data = serde_json::from_str(&data.to_string()).unwrap();
        let extra = Extra { protocol: WireProtocol::OpenaiChat, at, index, data };
        Placed { after, thought: Some(0), calls: 0, extra }
    }

    #[test]
    fn what_is_joined_says_the_same() {
        let says = |index, after, delta: Value| {
            placed(after, Spot::OtherChoice, Some(index), &json!({ "delta": delta }))
        };
        let ends = json!({ "delta": {}, "finish_reason": "stop" });
        let extras = [
            says(1, 1, json!({ "content": "a" })),
            says(2, 1, json!({ "content": "é" })),
            placed(2, Spot::Choice, None, &json!({ "logprobs": { "content": [] } })),
            says(1, 3, json!({ "content": "b" })),
            placed(4, Spot::OtherChoice, Some(1), &ends),
        ];
        let one = joined(&extras);
        let order: Vec<_> = one.iter().map(|p| (p.after, p.extra.at, p.extra.index)).collect();
        let expected = [
            (1, Spot::OtherChoice, Some(2)),
            (2, Spot::Choice, None),
            (4, Spot::OtherChoice, Some(1)),
        ];
        assert_eq!(order, expected);
        assert_eq!(choices(&one), choices(&extras));
        let first = json!({ "delta": { "content": "ab" }, "finish_reason": "stop" });
        assert_eq!(Value::Object(choices(&one)[&1].clone()), first);
        assert_eq!(joined(&one), one, "it is joined once");
        assert_eq!(extras.iter().map(|p| said(&p.extra)).collect::<Vec<_>>(), [1, 2, 0, 1, 0]);
    }
}
