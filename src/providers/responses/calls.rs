//! Calls in a response, each by the item that it is.
use std::collections::{BTreeSet, VecDeque};

use super::wire::Item;
use crate::domain::event::ToolCallDelta;
use crate::ports::Delta;
use crate::providers::upstream::custom_input::{BEGIN, END, escaped};
use crate::providers::upstream::text::{ChunkText, TextJoiner};

/// The calls of one answer.
#[derive(Debug, Default)]
pub(crate) struct ResponsesCalls {
    /// The item of each and its place in the output, in their order.
    items: Vec<(Option<String>, u32)>,
    /// Of the latest call: only that one grows.
    latest: Option<(u32, TextJoiner)>,
    /// Calls of tools that take a text.
    customs: BTreeSet<u32>,
    /// Those of them whose text has not ended.
    open: BTreeSet<u32>,
}

impl ResponsesCalls {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Which call of the answer an item is, and whether it is a new one.
    pub(crate) fn index(&mut self, id: Option<String>, output: u32) -> (u32, bool) {
        let known = self.items.iter().rposition(|(known, at)| match (&id, known) {
            // Some servers give every item the same place.
            (Some(id), Some(known)) => id == known,
            (None, _) | (_, None) => *at == output,
        });
        let place = known.unwrap_or_else(|| {
            self.items.push((id, output));
            self.items.len() - 1
        });
        (u32::try_from(place).unwrap_or(u32::MAX), known.is_none())
    }

    /// A call begins.
    pub(crate) fn begin(&mut self, index: u32, item: Item, out: &mut VecDeque<Delta>) {
        let Item { id, call_id, name, namespace, .. } = item;
        let word = |word: Option<String>| word.filter(|word| !word.is_empty());
        let (id, name, namespace) = (word(call_id).or(word(id)), word(name), word(namespace));
        let custom = item.kind.as_deref() == Some("custom_tool_call");
        let mut call = ToolCallDelta { index, id, name, namespace, ..ToolCallDelta::default() };
        if custom {
            self.begin_text(&mut call);
        }
        told(call, out);
    }

    fn begin_text(&mut self, call: &mut ToolCallDelta) {
        call.custom = true;
        call.arguments.push_str(BEGIN);
        self.customs.insert(call.index);
        self.open.insert(call.index);
    }

    /// More of the arguments, or of the text that the tool takes.
    pub(crate) fn push(
        &mut self,
        index: u32,
        custom: bool,
        piece: ChunkText,
        out: &mut VecDeque<Delta>,
    ) {
        if self.latest.as_ref().is_some_and(|(latest, _)| *latest != index) {
            self.flush(out);
        }
        let mut call = ToolCallDelta { index, ..ToolCallDelta::default() };
        if custom && !self.customs.contains(&index) {
            self.begin_text(&mut call);
        }
        let latest = self.latest.get_or_insert_with(|| (index, TextJoiner::default()));
        let piece = latest.1.push(piece);
        call.arguments.push_str(&self.written(index, piece));
        told(call, out);
    }

    fn written(&self, index: u32, piece: String) -> String {
        if self.customs.contains(&index) { escaped(&piece) } else { piece }
    }

    /// A call ends.
    pub(crate) fn end(&mut self, index: u32, out: &mut VecDeque<Delta>) {
        self.flush(out);
        if self.open.remove(&index) {
            let arguments = END.to_owned();
            told(ToolCallDelta { index, arguments, ..ToolCallDelta::default() }, out);
        }
    }

    /// A character of the latest call that never became whole.
    pub(crate) fn flush(&mut self, out: &mut VecDeque<Delta>) {
        if let Some((index, mut joiner)) = self.latest.take() {
            let arguments = self.written(index, joiner.finish());
            told(ToolCallDelta { index, arguments, ..ToolCallDelta::default() }, out);
        }
    }

    /// Nothing follows: what is open ends.
    pub(crate) fn finish(&mut self, out: &mut VecDeque<Delta>) {
        while let Some(index) = self.open.first().copied() {
            self.end(index, out);
        }
    }
}

fn told(call: ToolCallDelta, out: &mut VecDeque<Delta>) {
    if call.id.is_some() || call.name.is_some() || !call.arguments.is_empty() {
        out.push_back(Delta::ToolCall(call));
    }
}
