//! Ids of calls, as the API takes them: of letters, digits, `_` and `-`, none empty and none twice.
//! Other servers number the calls of each turn from the beginning, or give them no id.
use std::collections::HashSet;

use crate::providers::chat::tools::TurnBlock;

/// The id of a call that has none.
const NAMELESS: &str = "call";

/// A call of the turn before.
struct Call {
    /// Its id as it came.
    theirs: String,
    ours: String,
    is_answered: bool,
}

/// Gives each call in `turns` an id of its own, and its result the same.
pub(super) fn unique<'a, 'b: 'a>(turns: impl Iterator<Item = &'a mut Vec<TurnBlock<'b>>>) {
    let mut used: HashSet<String> = HashSet::new();
    let mut calls: Vec<Call> = Vec::new();
    for blocks in turns {
        if blocks.iter().any(|block| matches!(block, TurnBlock::ToolUse { .. })) {
            calls.clear();
        }
        for block in blocks {
            match block {
                TurnBlock::ToolUse { id, .. } => {
                    let ours = unused(&mut used, id);
                    let theirs = std::mem::replace(id, ours.clone().into()).into_owned();
                    calls.push(Call { theirs, ours, is_answered: false });
                }
                TurnBlock::ToolResult { tool_use_id, .. } => {
                    let ours = answered(&mut calls, tool_use_id);
                    *tool_use_id = ours.unwrap_or_else(|| plain(tool_use_id)).into();
                }
                TurnBlock::Text { .. }
                | TurnBlock::Image { .. }
                | TurnBlock::Document { .. }
                | TurnBlock::Thinking(_) => {}
            }
        }
    }
}

fn plain(id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    id.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

fn unused(used: &mut HashSet<String>, id: &str) -> String {
    let id = if id.is_empty() { NAMELESS.to_owned() } else { plain(id) };
    let mut ours = id.clone();
    let mut number = 1;
    while !used.insert(ours.clone()) {
        number += 1;
        ours = format!("{id}_{number}");
    }
    ours
}

/// The id of the first call of that id that has no result, else of the last one.
fn answered(calls: &mut [Call], id: &str) -> Option<String> {
    let open = calls.iter().position(|call| call.theirs == id && !call.is_answered);
    let at = open.or_else(|| calls.iter().rposition(|call| call.theirs == id))?;
    let call = calls.get_mut(at)?;
    call.is_answered = true;
    Some(call.ours.clone())
}
