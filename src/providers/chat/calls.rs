//! Fragments of tool calls in a chat completion, each to the call that it belongs to.
use std::collections::{BTreeMap, BTreeSet};

use super::wire::{ChatFunction, ChatToolCall};
use crate::domain::event::ToolCallDelta;
use crate::providers::upstream::custom_input::{BEGIN, END, escaped};
use crate::providers::upstream::text::TextJoiner;

/// Of more calls than a reader is shown, nothing is remembered.
const MAX_CALLS: usize = 256;

/// The calls of one answer.
#[derive(Debug, Default)]
pub(crate) struct ChatCalls {
    /// Of the latest call: only that one grows.
    arguments: Option<(u32, TextJoiner)>,
    /// The id and name of each call: some servers repeat them in every fragment.
    named: BTreeMap<u32, [Option<String>; 2]>,
    /// Calls of tools that take a text: it is written as the arguments of a function.
    customs: BTreeSet<u32>,
    /// Which call a server's number meant last, where that is not its number here.
    meant: BTreeMap<u32, u32>,
}

impl ChatCalls {
    /// Which call a fragment is of, and what it adds; the first of its chunk has `place` 0.
    pub(crate) fn fragment(
        &mut self,
        place: u32,
        call: ChatToolCall,
    ) -> (u32, impl Iterator<Item = ToolCallDelta> + use<>) {
        let custom = call.custom.is_some();
        let function = match call.custom {
            Some(custom) => ChatFunction { name: custom.name, arguments: custom.input },
            None => call.function.unwrap_or_default(),
        };
        // Some servers give each fragment an id of its own: only a call's first has a name.
        let begins = function.name.as_ref().is_some_and(|name| !name.is_empty());
        let told = call.index.unwrap_or(place);
        let id = call.id.filter(|id| begins || self.is_known(id) || !self.has(told));
        let is_new = begins && !self.has(told);
        let index = self.index(told, id.as_deref(), is_new);
        let other = self.arguments.as_ref().is_some_and(|(latest, _)| *latest != index);
        let rest = if other { self.flush() } else { None };
        let latest = self.arguments.get_or_insert_with(|| (index, TextJoiner::default()));
        let mut arguments = latest.1.push(function.arguments.unwrap_or_default());
        let first = custom && self.customs.len() < MAX_CALLS && self.customs.insert(index);
        if custom {
            arguments = format!("{}{}", if first { BEGIN } else { "" }, escaped(&arguments));
        }
        let [id, name] = self.news(index, [id, function.name]);
        let new = id.is_some() || name.is_some() || !arguments.is_empty();
        let rest_of = ToolCallDelta::default();
        let delta = ToolCallDelta { index, id, name, custom: first, arguments, ..rest_of };
        let new = new.then_some(delta);
        (index, rest.into_iter().chain(new))
    }

    /// The rest of the latest call's arguments.
    pub(crate) fn flush(&mut self) -> Option<ToolCallDelta> {
        let (index, mut joiner) = self.arguments.take()?;
        let mut arguments = joiner.finish();
        if self.customs.contains(&index) {
            arguments = escaped(&arguments);
        }
        let rest = !arguments.is_empty();
        rest.then(|| ToolCallDelta { index, arguments, ..ToolCallDelta::default() })
    }

    /// The ends of the texts that tools take, once nothing follows.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = ToolCallDelta> + use<> {
        let end = |index| {
            let arguments = END.to_owned();
            ToolCallDelta { index, arguments, ..ToolCallDelta::default() }
        };
        std::mem::take(&mut self.customs).into_iter().map(end)
    }

    fn is_known(&self, id: &str) -> bool {
        self.named.values().any(|[known, _]| known.as_deref() == Some(id))
    }

    fn has(&self, told: u32) -> bool {
        self.named.contains_key(self.meant.get(&told).unwrap_or(&told))
    }

    /// Some servers give every call the number 0 and tell them apart by their ids alone, in the
    /// first fragment of each or in all. Others give several calls one id: a number and a name that
    /// come for the first time begin a call.
    fn index(&mut self, told: u32, id: Option<&str>, is_new: bool) -> u32 {
        let meant = self.meant.get(&told).copied();
        let Some(id) = id.filter(|id| !id.is_empty()) else { return meant.unwrap_or(told) };
        let is = |known: &[Option<String>; 2]| known[0].as_deref() == Some(id);
        let at = meant.unwrap_or(told);
        if self.named.get(&at).is_some_and(is) {
            return at;
        }
        let known = self.named.iter().find(|(_, known)| is(known)).map(|(index, _)| *index);
        let known = known.filter(|_| !is_new);
        let taken = self.named.get(&told).is_some_and(|known| known[0].is_some());
        let free = self.named.keys().next_back().map_or(0, |last| last.saturating_add(1));
        let index = known.unwrap_or(if taken { free } else { told });
        if (index != told || meant.is_some()) && self.meant.len() < MAX_CALLS {
            self.meant.insert(told, index);
        }
        index
    }

    /// The part of a call's id and name that was not said before.
    fn news(&mut self, index: u32, words: [Option<String>; 2]) -> [Option<String>; 2] {
        let words = words.map(|word| word.filter(|word| !word.is_empty()));
        if words.iter().all(Option::is_none) || self.named.len() > MAX_CALLS {
            return words;
        }
        let known = self.named.entry(index).or_default();
        let mut at = known.iter_mut();
        words.map(|word| {
            let (known, word) = (at.next()?, word?);
            let new = known.as_ref() != Some(&word);
            new.then(|| known.insert(word).clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::providers::chat::calls::*;

    /// Index, id, name and arguments of each delta that these calls of a chunk each make.
    fn deltas(chunks: &[&str]) -> Vec<String> {
        let mut calls = ChatCalls::default();
        let mut out = Vec::new();
        for chunk in chunks {
            let fragments: Vec<ChatToolCall> = serde_json::from_str(chunk).unwrap();
            for (place, fragment) in (0..).zip(fragments) {
                out.extend(calls.fragment(place, fragment).1);
            }
        }
        out.extend(calls.flush());
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        let one = |d: &ToolCallDelta| {
            format!("{} {} {} {}", d.index, word(&d.id), word(&d.name), d.arguments)
        };
        out.iter().map(one).collect()
    }

    fn fragment(index: u32, id: &str, arguments: &str) -> String {
        named(index, id, if id.is_empty() { "" } else { "f" }, arguments)
    }

    fn named(index: u32, id: &str, name: &str, arguments: &str) -> String {
        let arguments = serde_json::Value::from(arguments);
        format!(
            r#"[{{"index":{index},"id":"{id}","function":{{"name":"{name}","arguments":{arguments}}}}}]"#
        )
    }

    fn all(fragments: &[(u32, &str, &str)]) -> Vec<String> {
        let chunks: Vec<String> = fragments
            .iter()
            .map(|(index, id, arguments)| fragment(*index, id, arguments))
            .collect();
        deltas(&chunks.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn a_call_comes_in_fragments() {
        let surrogates = [
            r#"[{"index":1,"id":"c","function":{"name":"f","arguments":""}}]"#,
            r#"[{"index":1,"function":{"arguments":"{\ud83d"}}]"#,
            r#"[{"index":1,"id":"","function":{"arguments":"\ude00}"}}]"#,
        ];
        assert_eq!(deltas(&surrogates), ["1 c f ", "1   {", "1   😀}"]);
        assert_eq!(all(&[(1, "c", ""), (1, "c", "{}")]), ["1 c f ", "1   {}"], "repeated");
    }

    #[test]
    fn a_text_for_a_tool_is_written_as_arguments() {
        let chunks = [
            r#"[{"index":0,"id":"c","type":"custom","custom":{"name":"sh","input":""}}]"#,
            r#"[{"index":0,"custom":{"input":"echo \"\ud83d"}}]"#,
            r#"[{"index":1,"id":"d","custom":{"name":"sh","input":"ls"}}]"#,
            r#"[{"index":0,"custom":{"input":"!"}}]"#,
        ];
        let mut calls = ChatCalls::default();
        let mut out = Vec::new();
        for chunk in chunks {
            for fragment in serde_json::from_str::<Vec<ChatToolCall>>(chunk).unwrap() {
                out.extend(calls.fragment(0, fragment).1);
            }
        }
        out.extend(calls.flush());
        out.extend(calls.finish());
        let of = |index| -> String {
            out.iter().filter(|d| d.index == index).map(|d| d.arguments.as_str()).collect()
        };
        assert_eq!(of(0), "{\"input\":\"echo \\\"\u{fffd}!\"}");
        assert_eq!(of(1), r#"{"input":"ls"}"#);
        assert_eq!(out.iter().filter(|delta| delta.custom).count(), 2, "in the first of each");
    }

    #[test]
    fn calls_that_all_have_the_number_0_are_told_apart_by_their_ids() {
        let one_by_one = [(0, "a", "{"), (0, "", "}"), (0, "b", "["), (0, "", "]")];
        assert_eq!(all(&one_by_one), ["0 a f {", "0   }", "1 b f [", "1   ]"]);
        let mixed = [(0, "a", "{"), (0, "b", "["), (0, "a", "}"), (0, "b", "]"), (0, "", " ")];
        assert_eq!(all(&mixed), ["0 a f {", "1 b f [", "0   }", "1   ]", "1    "]);
        let numbered = [(0, "a", "{"), (1, "b", "["), (0, "", "}"), (1, "", "]")];
        assert_eq!(all(&numbered), ["0 a f {", "1 b f [", "0   }", "1   ]"], "as they should be");
        let ids = [(0, "a", "f", "{"), (0, "x", "", "}"), (0, "b", "g", "["), (0, "y", "", "]")];
        let ids = ids.map(|(index, id, name, arguments)| named(index, id, name, arguments));
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let told = ["0 a f {", "0   }", "1 b g [", "1   ]"];
        assert_eq!(deltas(&ids), told, "an id for each fragment");
        let whole = r#"[{"id":"a","function":{"name":"f","arguments":"{}"}},
                        {"id":"b","function":{"name":"f","arguments":"[]"}}]"#;
        assert_eq!(deltas(&[whole]), ["0 a f {}", "1 b f []"], "without numbers");
    }

    #[test]
    fn calls_of_one_id_are_told_apart_by_their_numbers() {
        let numbered = [(0, "a", "{"), (1, "a", "["), (0, "", "}"), (1, "", "]")];
        assert_eq!(all(&numbered), ["0 a f {", "1 a f [", "0   }", "1   ]"]);
        let pieces = [(0, "f", "{"), (0, "", "}"), (1, "g", "["), (1, "", "]")];
        let pieces = pieces.map(|(index, name, arguments)| named(index, "a", name, arguments));
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        assert_eq!(deltas(&pieces), ["0 a f {", "0   }", "1 a g [", "1   ]"], "in each fragment");
        let whole = r#"[{"id":"a","function":{"name":"f","arguments":"{}"}},
                        {"id":"a","function":{"name":"g","arguments":"[]"}}]"#;
        assert_eq!(deltas(&[whole]), ["0 a f {}", "1 a g []"], "without numbers");
    }
}
