//! Claude's thinking in a message of chat completions: `reasoning_details` as OpenRouter has them,
//! and `thinking_blocks` as LiteLLM has them.
use serde::Deserialize;
use serde_json::{Value, json};

use super::thinking::ThinkingBlock;

/// OpenRouter's field.
pub const DETAILS: &str = "reasoning_details";
/// LiteLLM's field. Its clients lose the other one in a stream.
pub const BLOCKS: &str = "thinking_blocks";
/// The word for thinking of Claude. Others have their own.
const FORMAT: &str = "anthropic-claude-v1";

/// An entry of `reasoning_details`, in all of its kinds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    r#type: Option<String>,
    text: Option<String>,
    signature: Option<String>,
    data: Option<String>,
    format: Option<String>,
}

/// A block as the entry of that number.
fn detail(block: &ThinkingBlock, index: usize) -> Value {
    match block {
        ThinkingBlock::Thinking { thinking, signature } => json!({
            "type": "reasoning.text", "text": thinking, "signature": signature, "format": FORMAT,
            "index": index,
        }),
        ThinkingBlock::RedactedThinking { data } => json!({
            "type": "reasoning.encrypted", "data": data, "format": FORMAT, "index": index,
        }),
    }
}

/// The fields of a message or a delta with these blocks, the first of them of that number. Clients
/// that join the pieces of a stream need the numbers.
#[must_use]
pub fn fields(blocks: &[ThinkingBlock], first: usize) -> [(&'static str, Value); 2] {
    let numbered = || blocks.iter().zip(first..);
    let details = numbered().map(|(block, n)| detail(block, n)).collect();
    let blocks = numbered().map(|(block, n)| {
        let mut block = json!(block);
        block["index"] = n.into();
        block
    });
    [(DETAILS, details), (BLOCKS, blocks.collect())]
}

/// The blocks in the fields of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Claude's own, in their order.
    pub blocks: Vec<ThinkingBlock>,
    /// The fields with something that no other protocol has a place for.
    pub rest: Vec<&'static str>,
}

/// Reads both fields. The second counts where the first has nothing of Claude's.
#[must_use]
pub fn read(details: Option<&Value>, blocks: Option<&Value>) -> Found {
    let mut found = Found::default();
    if let Some(list) = details.filter(|list| says_something(list)) {
        let whole = list.as_array().is_some_and(|list| of_details(list, &mut found.blocks));
        found.rest.extend((!whole).then_some(DETAILS));
    }
    if let Some(list) = blocks.filter(|list| says_something(list)) {
        let all: Vec<Option<ThinkingBlock>> =
            list.as_array().into_iter().flatten().map(of_claude).collect();
        let whole = list.is_array() && all.iter().all(Option::is_some);
        found.rest.extend((!whole).then_some(BLOCKS));
        if found.blocks.is_empty() {
            found.blocks.extend(all.into_iter().flatten());
        }
    }
    found
}

/// Whether all of `list` is Claude's. Some clients send the pieces of a text as they were streamed;
/// the last has the signature.
fn of_details(list: &[Value], blocks: &mut Vec<ThinkingBlock>) -> bool {
    let mut whole = true;
    let mut text = String::new();
    for entry in list {
        let entry = Detail::deserialize(entry).unwrap_or_default();
        let is_claudes = entry.format.as_deref() == Some(FORMAT);
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        match entry.r#type.as_deref() {
            Some("reasoning.text") if is_claudes || entry.format.is_none() => {
                text.push_str(entry.text.as_deref().unwrap_or_default());
                if let Some(signature) = given(entry.signature) {
                    let thinking = std::mem::take(&mut text);
                    blocks.push(ThinkingBlock::Thinking { thinking, signature });
                }
            }
            Some("reasoning.encrypted") if is_claudes => {
                let data = given(entry.data);
                blocks.extend(data.map(|data| ThinkingBlock::RedactedThinking { data }));
            }
            Some(_) | None => whole = false,
        }
    }
    whole && text.is_empty()
}

/// A block of LiteLLM's. One without a signature is of another vendor.
fn of_claude(value: &Value) -> Option<ThinkingBlock> {
    let block = ThinkingBlock::deserialize(value).ok()?;
    match &block {
        ThinkingBlock::Thinking { signature: seal, .. }
        | ThinkingBlock::RedactedThinking { data: seal } => (!seal.is_empty()).then_some(block),
    }
}

fn says_something(value: &Value) -> bool {
    !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(thinking: &str, signature: &str) -> ThinkingBlock {
        ThinkingBlock::Thinking { thinking: thinking.into(), signature: signature.into() }
    }

    #[test]
    fn what_is_written_is_read_and_pieces_are_one_block() {
        let blocks = [signed("Hm", "c2ln"), ThinkingBlock::RedactedThinking { data: "eA".into() }];
        let [(_, list), (_, blocks_too)] = fields(&blocks, 0);
        assert_eq!(blocks_too[1], json!({ "type": "redacted_thinking", "data": "eA", "index": 1 }));
        assert_eq!(read(Some(&list), None), Found { blocks: blocks.to_vec(), rest: Vec::new() });
        let piece = |text: &str| json!({ "type": "reasoning.text", "text": text, "index": 0 });
        let end = json!({ "type": "reasoning.text", "signature": "c2ln", "format": FORMAT });
        let pieces = json!([piece("H"), piece("m"), end]);
        assert_eq!(read(Some(&pieces), None).blocks, blocks[..1]);
        assert_eq!(read(Some(&list), Some(&blocks_too)).blocks.len(), 2, "once");
        assert_eq!(read(None, Some(&blocks_too)).blocks, blocks);
    }

    #[test]
    fn what_others_have_encrypted_is_not_claudes() {
        let theirs = json!([
            { "type": "reasoning.encrypted", "data": "gAAA", "format": "openai-responses-v1" },
            { "type": "reasoning.encrypted", "data": "gAAA" },
            { "type": "reasoning.summary", "summary": "s", "format": FORMAT },
            { "type": "reasoning.text", "text": "t", "signature": "x", "format": "google-gemini-v1" },
            7,
        ]);
        let list = theirs.as_array().unwrap();
        for entry in list.iter().map(|entry| json!([entry])).chain([theirs.clone(), json!("x")]) {
            let found = Found { blocks: Vec::new(), rest: vec![DETAILS] };
            assert_eq!(read(Some(&entry), None), found, "{entry}");
        }
        let unsigned = json!([{ "type": "thinking", "thinking": "Hm", "signature": "" }]);
        let found = Found { blocks: Vec::new(), rest: vec![BLOCKS] };
        assert_eq!(read(Some(&json!(null)), Some(&unsigned)), found);
        assert_eq!(read(Some(&json!([])), None), Found::default());
    }
}
