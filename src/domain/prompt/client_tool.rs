//! Tools that not every protocol has: those of a namespace, and those that take a text. A model
//! that cannot be given them gets functions, and the client gets calls in its own form.
use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The longest name that servers take for a function, in bytes.
const LONGEST: usize = 64;

/// A tool of the client's that a model gets as a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTool {
    /// The function's name.
    pub function: String,
    /// The client's name for it.
    pub name: String,
    /// The namespace that it is in, if it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// It takes a text: the function's arguments are `{"input":"…"}`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub custom: bool,
}

/// The name of a function for a model whose protocol has no namespaces, at most 64 bytes.
#[must_use]
pub fn function_name<'a>(namespace: Option<&str>, name: &'a str) -> Cow<'a, str> {
    let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) else {
        return name.into();
    };
    let mut whole = format!("{}__{name}", namespace.trim_end_matches('_'));
    if whole.len() > LONGEST {
        // FNV-1a: two long names that begin alike stay two.
        let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = whole.bytes().fold(0x811c_9dc5, mix);
        whole.truncate(whole.floor_char_boundary(LONGEST - 9));
        whole.push_str(&format!("_{hash:08x}"));
    }
    whole.into()
}

/// A text as the arguments of the function that stands for its tool.
#[must_use]
pub fn arguments_of(input: &str) -> String {
    json!({ "input": input }).to_string()
}

/// The text in such arguments.
#[must_use]
pub fn input_of(arguments: &str) -> String {
    let mut text = InputText::default();
    text.push(arguments) + &text.finish()
}

/// Takes the text out of arguments `{"input":"…"}` that come in fragments. Arguments in another
/// form are held until they are complete.
#[derive(Clone, Debug, Default)]
pub struct InputText {
    held: String,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The text has not begun.
    #[default]
    Before,
    Inside,
    /// The text has ended.
    Over,
    /// The arguments have another form.
    Other,
}

impl InputText {
    /// The part of the text that the fragment completes.
    pub fn push(&mut self, fragment: &str) -> String {
        if self.state == State::Over {
            return String::new();
        }
        self.held.push_str(fragment);
        if self.state == State::Before {
            match opening(&self.held) {
                Opening::Incomplete => {}
                Opening::Other => self.state = State::Other,
                Opening::Before(text) => {
                    self.held.drain(..text);
                    self.state = State::Inside;
                }
            }
        }
        if self.state == State::Inside { self.inside() } else { String::new() }
    }

    /// The rest when the arguments are complete.
    pub fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        match std::mem::replace(&mut self.state, State::Over) {
            State::Inside | State::Over => String::new(),
            State::Before | State::Other => other(held),
        }
    }

    fn inside(&mut self) -> String {
        let (mut text, mut at) = (String::new(), 0);
        while let Some(rest) = self.held.get(at..).filter(|rest| !rest.is_empty()) {
            let plain = rest.find(['"', '\\']).unwrap_or(rest.len());
            text.push_str(rest.get(..plain).unwrap_or_default());
            at += plain;
            let Some(rest) = rest.get(plain..).filter(|rest| !rest.is_empty()) else { break };
            if rest.starts_with('"') {
                self.state = State::Over;
                at = self.held.len();
                break;
            }
            let Some((character, length)) = escape(rest) else { break };
            text.push(character);
            at += length;
        }
        self.held.drain(..at);
        text
    }
}

enum Opening {
    Incomplete,
    Other,
    /// The text begins there.
    Before(usize),
}

fn opening(arguments: &str) -> Opening {
    let mut rest = arguments;
    for token in ["{", "\"input\"", ":", "\""] {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        match rest.strip_prefix(token) {
            Some(behind) => rest = behind,
            None if token.starts_with(rest) => return Opening::Incomplete,
            None => return Opening::Other,
        }
    }
    Opening::Before(arguments.len() - rest.len())
}

/// The character that an escape at the beginning of `text` means, and the escape's length; `None`
/// if it is not complete.
fn escape(text: &str) -> Option<(char, usize)> {
    let letter = text.get(1..)?.chars().next()?;
    let plain = match letter {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => return code_unit(text.as_bytes()),
        other => other,
    };
    Some((plain, 1 + letter.len_utf8()))
}

/// The same of `\u` and digits: a pair of surrogates is one character.
fn code_unit(text: &[u8]) -> Option<(char, usize)> {
    const BROKEN: char = char::REPLACEMENT_CHARACTER;
    let unit = |at: usize| {
        let digits = std::str::from_utf8(text.get(at..at + 4)?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    if text.len() < 6 {
        return None;
    }
    let Some(first) = unit(2) else { return Some((BROKEN, 2)) };
    let is_high = matches!(first, 0xD800..=0xDBFF);
    let behind = text.get(6..).unwrap_or_default();
    if is_high && behind.len() < 6 && b"\\u".starts_with(&behind[..behind.len().min(2)]) {
        return None;
    }
    let second = if is_high && behind.starts_with(b"\\u") { unit(8) } else { None };
    match char::decode_utf16([Some(first), second].into_iter().flatten()).next() {
        Some(Ok(character)) => Some((character, if second.is_some() { 12 } else { 6 })),
        Some(Err(_)) | None => Some((BROKEN, 6)),
    }
}

/// The text in arguments of another form: the only value, or the arguments themselves.
fn other(arguments: String) -> String {
    let object: Option<Map<String, Value>> = serde_json::from_str(&arguments).ok();
    let text = object.and_then(|mut object| {
        let named = object.shift_remove("input");
        let only = object.values().next().filter(|_| object.len() == 1).cloned();
        named.or(only)?.as_str().map(str::to_owned)
    });
    text.unwrap_or(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_out_wherever_its_arguments_are_cut() {
        let text = "ls \"a\"\\\n\t\u{1}é🦀/end";
        let escaped = r#"{ "input" :"ls \u0022a\"\\\n\t\u0001\u00e9\ud83e\udd80\/end" , "x": 1}"#;
        for arguments in [arguments_of(text), escaped.to_owned()] {
            let cuts: Vec<usize> = arguments.char_indices().map(|(at, _)| at).collect();
            for (n, one) in cuts.iter().enumerate() {
                for two in &cuts[n..] {
                    let mut input = InputText::default();
                    let pieces = [&arguments[..*one], &arguments[*one..*two], &arguments[*two..]];
                    let said: String = pieces.iter().map(|piece| input.push(piece)).collect();
                    assert_eq!(said + &input.finish(), text, "{pieces:?}");
                }
            }
        }
    }

    #[test]
    fn arguments_in_another_form_are_not_lost() {
        for (arguments, text) in [
            (r#"{"patch":"*** Begin"}"#, "*** Begin"),
            (r#"{"why":"x","input":"ls"}"#, "ls"),
            ("ls -l", "ls -l"),
            (r#"{"input":5}"#, r#"{"input":5}"#),
            (r#"{"input":"\ud83d x\ude00"}"#, "\u{fffd} x\u{fffd}"),
            ("", ""),
        ] {
            assert_eq!(input_of(arguments), text, "{arguments}");
        }
        let mut cut = InputText::default();
        assert_eq!(cut.push(r#"{"input":"a\ud8"#) + &cut.finish(), "a");
    }

    #[test]
    fn names_of_a_namespace_stay_apart_and_short() {
        assert_eq!(function_name(None, "f"), "f");
        assert_eq!(function_name(Some("mcp__files__"), "read"), "mcp__files__read");
        let long = "n".repeat(60);
        let [one, two] = ["first", "second"].map(|name| function_name(Some(&long), name));
        assert!(one != two && one.len() == LONGEST && two.len() == LONGEST);
    }
}
