//! An event at its place in the log, encoded once for all readers.
use std::borrow::Cow;
use std::cell::RefCell;

use serde::Deserialize;
use serde_json::value::RawValue;
use strum::{EnumString, IntoStaticStr};

use super::event::Event;
use super::extra::{Extra, Spot};
use super::id::{Epoch, Seq};
use super::json::JsonObject;
use super::shared_str::{SharedStr, WeakStr};
use super::source::WireProtocol;

/// An event with its seq, in the JSON form that every transport carries:
/// `{"seq":2,"type":"delta","text":"Hel"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub seq: Seq,
    /// Which event it is.
    pub kind: Kind,
    /// The owner that wrote it; none of what is never stored.
    pub epoch: Option<Epoch>,
    json: SharedStr,
}

/// An entry of more bytes is large: all who have it share one text.
pub const LARGE: usize = 256 * 1024;

/// An entry that this does not keep: it can be had again while somebody else has it.
#[derive(Clone, Debug)]
pub struct WeakEntry {
    seq: Seq,
    kind: Kind,
    epoch: Option<Epoch>,
    json: WeakStr,
}

impl WeakEntry {
    /// The entry, if it is still there.
    #[must_use]
    pub fn upgrade(&self) -> Option<Entry> {
        let json = self.json.upgrade()?;
        Some(Entry { seq: self.seq, kind: self.kind, epoch: self.epoch, json })
    }
}

/// The longest name of an event's type, in bytes.
const LONGEST_NAME: usize = 64;

/// A stored row that is not an event of ours.
#[derive(Debug, thiserror::Error)]
#[error("row {seq} of the log is not an event: {why}")]
pub struct BadEntry {
    seq: Seq,
    why: String,
}

impl Entry {
    /// Encodes `event` at `seq`, of no owner yet. Cannot fail: an event is made of strings and
    /// numbers.
    #[must_use]
    pub fn encode(seq: Seq, event: &Event) -> Self {
        thread_local! {
            // Every token of every generation comes through here: one allocation each is enough.
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let json = SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            if let Event::Extra(extra) = event {
                // It may have megabytes, and a space that doubles would take twice as many.
                scratch.reserve(extra.data.text().len() + 256);
            }
            scratch.extend_from_slice(b"{\"seq\":");
            scratch.extend_from_slice(decimal(seq.0, &mut [0; 20]).as_bytes());
            let brace = scratch.len();
            let written = serde_json::to_writer(&mut *scratch, event);
            debug_assert!(written.is_ok(), "an event is made of strings and numbers");
            // The event's own object goes on where ours began.
            if let Some(brace) = scratch.get_mut(brace) {
                *brace = b',';
            }
            let json = (&*escaped(std::str::from_utf8(scratch).unwrap_or_default())).into();
            if scratch.capacity() > LARGE {
                *scratch = Vec::new();
            }
            json
        });
        Self { seq, kind: Kind::of(event), epoch: None, json }
    }

    /// The same, written by `epoch`.
    #[must_use]
    pub fn by(self, epoch: Epoch) -> Self {
        Self { epoch: Some(epoch), ..self }
    }

    /// Whether it can come right behind an entry of `before`: another owner begins with how it
    /// goes on. If not, the log is not the one that `before` was read from.
    #[must_use]
    pub fn continues(&self, before: Option<Epoch>) -> bool {
        before.is_none() || self.epoch == before || self.kind.opens()
    }

    /// An entry from its stored columns; the inverse of [`Entry::kind`] and [`Entry::data`].
    ///
    /// # Errors
    /// A word that cannot be an event type, or data that is no JSON object.
    pub fn from_stored(seq: Seq, kind: &str, data: &str) -> Result<Self, BadEntry> {
        let bad = |why: &str| BadEntry { seq, why: why.into() };
        // A newer version beside this one may have types of its own: they are kept as they are.
        let known = Kind::parse(kind).ok_or_else(|| bad("its type is no name"))?;
        if !data.ends_with('}') {
            return Err(bad("data is not the rest of an object"));
        }
        let comma = if data == "}" { "" } else { "," };
        let json = format!("{{\"seq\":{seq},\"type\":\"{kind}\"{comma}{data}");
        Ok(Self { seq, kind: known, epoch: None, json: (&*escaped(&json)).into() })
    }

    /// Texts of one kind from `from` to `seq` as one entry, for a reader that asked for it.
    pub(super) fn joined(from: Seq, seq: Seq, kind: Kind, text: &str) -> Self {
        let text = serde_json::Value::from(text);
        let name = kind.as_str();
        let json = format!("{{\"seq\":{seq},\"from\":{from},\"type\":\"{name}\",\"text\":{text}}}");
        Self { seq, kind, epoch: None, json: (&*escaped(&json)).into() }
    }

    /// Lays what these hold side by side, into one allocation: what is kept for a while together.
    pub fn pack<'a>(entries: impl Iterator<Item = &'a mut Self>) {
        SharedStr::pack(entries.map(|entry| &mut entry.json));
    }

    /// The word in `type`, and the event name on SSE; also of a type that this version does not
    /// know.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.kind != Kind::Unknown {
            return self.kind.as_str();
        }
        let rest = self.json.get(self.before_name()..).unwrap_or_default();
        rest.split_once('"').map_or(rest, |(name, _)| name)
    }

    /// The length of what comes before the name of the type.
    fn before_name(&self) -> usize {
        let digits = self.seq.0.checked_ilog10().unwrap_or_default() as usize + 1;
        "{\"seq\":,\"type\":\"".len() + digits
    }

    /// The whole object, as readers get it.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The content of the `data` column: the object without `seq` and `type`, and without its
    /// opening brace. It is a part of [`Entry::json`], so that storing copies nothing.
    #[must_use]
    pub fn data(&self) -> &str {
        let head = self.before_name() + self.name().len() + 1;
        let rest = self.json.get(head..).unwrap_or("}");
        rest.strip_prefix(',').unwrap_or(rest)
    }

    /// The event in it.
    ///
    /// # Errors
    /// The stored JSON does not have the fields of its type.
    pub fn decode(&self) -> Result<Event, BadEntry> {
        if self.kind == Kind::Extra {
            let extra = if self.is_large() {
                self.shared_extra()
            } else {
                serde_json::from_str(&self.json).ok()
            };
            // Of a protocol or a place that only a newer version knows.
            return Ok(extra.map_or(Event::Unknown, Event::Extra));
        }
        serde_json::from_str(&self.json).map_err(|e| BadEntry { seq: self.seq, why: e.to_string() })
    }

    /// Whether it is so long that nobody shall have a copy of its own.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.json.len() > LARGE
    }

    /// A way back to it that does not keep it.
    #[must_use]
    pub fn downgrade(&self) -> WeakEntry {
        let json = self.json.downgrade();
        WeakEntry { seq: self.seq, kind: self.kind, epoch: self.epoch, json }
    }

    /// The extra in it, whose object stays a part of this entry's text.
    fn shared_extra(&self) -> Option<Extra> {
        #[derive(Deserialize)]
        struct Parts<'a> {
            protocol: WireProtocol,
            at: Spot,
            index: Option<u32>,
            #[serde(borrow)]
            data: &'a RawValue,
        }
        let Parts { protocol, at, index, data } = serde_json::from_str(&self.json).ok()?;
        let shared = JsonObject::within(&self.json, data);
        let data = shared.or_else(|| serde_json::from_str(data.get()).ok())?;
        Some(Extra { protocol, at, index, data })
    }
}

/// JSON without the characters at which some readers of event streams cut lines, though no standard
/// says so: U+0085, U+2028 and U+2029 (Python's `splitlines`). JSON has them in strings only.
#[must_use]
pub fn escaped(json: &str) -> Cow<'_, str> {
    const CUTS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];
    if json.is_ascii() || !json.contains(CUTS) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            '\u{85}' => out.push_str("\\u0085"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// The decimal digits of `number`, without an allocation.
pub fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &str {
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            return std::str::from_utf8(&digits[from..]).unwrap_or_default();
        }
    }
}

/// The type of an event, without its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "see Event, whose variants these are")]
pub enum Kind {
    Started,
    Delta,
    Reasoning,
    Refusal,
    ToolCall,
    Superseded,
    Resumed,
    Snapshot,
    Notice,
    Extra,
    Done,
    Unknown,
}

impl Kind {
    /// Whether an owner that took over may begin with it. A newer version may have more ways to
    /// begin.
    fn opens(self) -> bool {
        matches!(self, Self::Resumed | Self::Superseded | Self::Done | Self::Unknown)
    }

    /// Whether it is a part of an answer.
    #[must_use]
    pub fn is_content(self) -> bool {
        matches!(self, Self::Delta | Self::Reasoning | Self::Refusal | Self::ToolCall)
    }

    fn of(event: &Event) -> Self {
        match event {
            Event::Started { .. } => Self::Started,
            Event::Delta { .. } => Self::Delta,
            Event::Reasoning { .. } => Self::Reasoning,
            Event::Refusal { .. } => Self::Refusal,
            Event::ToolCall(_) => Self::ToolCall,
            Event::Superseded { .. } => Self::Superseded,
            Event::Resumed { .. } => Self::Resumed,
            Event::Snapshot { .. } => Self::Snapshot,
            Event::Notice { .. } => Self::Notice,
            Event::Extra(_) => Self::Extra,
            Event::Done(_) => Self::Done,
            Event::Unknown => Self::Unknown,
        }
    }

    /// The word in `type`; see [`Entry::name`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// None for what cannot be the name of a type.
    fn parse(word: &str) -> Option<Self> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let name = (1..=LONGEST_NAME).contains(&word.len()) && word.bytes().all(is_name);
        word.parse().ok().or(name.then_some(Self::Unknown))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::event::{LossReason, ToolCallDelta};
    use super::*;

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            any::<String>().prop_map(|text| Event::Delta { text }),
            any::<String>().prop_map(|text| Event::Reasoning { text }),
            (any::<u32>(), any::<Option<String>>(), any::<String>()).prop_map(
                |(index, id, arguments)| Event::ToolCall(ToolCallDelta {
                    index,
                    id,
                    arguments,
                    ..ToolCallDelta::default()
                })
            ),
            any::<u32>().prop_map(|n| Event::Superseded {
                after: Seq(n.into()),
                reason: LossReason::Takeover
            }),
            (any::<String>(), any::<String>())
                .prop_map(|(code, message)| Event::Notice { code, message }),
        ]
    }

    proptest! {
        #[test]
        fn encoding_and_storing_round_trip(event in any_event(), seq in 1u64..1 << 50) {
            let entry = Entry::encode(Seq(seq), &event);
            prop_assert_eq!(&entry.decode().unwrap(), &event);
            prop_assert!(!entry.json().contains('\n'), "one line on SSE");
            let kind = entry.kind.as_str();
            let stored = Entry::from_stored(entry.seq, kind, entry.data()).unwrap();
            prop_assert_eq!(stored, entry);
        }
    }

    #[test]
    fn the_wire_form() {
        let entry = Entry::encode(Seq(2), &Event::Delta { text: "Hel".into() });
        assert_eq!(entry.json(), r#"{"seq":2,"type":"delta","text":"Hel"}"#);
        assert_eq!(entry.data(), r#""text":"Hel"}"#);
    }

    #[test]
    fn packed_entries_are_the_same() {
        let events = ["a", "", "\u{e9}\n", "bc"].map(|text| Event::Delta { text: text.into() });
        let entries: Vec<_> =
            events.iter().zip(9..).map(|(event, seq)| Entry::encode(Seq(seq), event)).collect();
        let mut packed = entries.clone();
        Entry::pack(packed.iter_mut().skip(1));
        Entry::pack(packed.iter_mut().take(2));
        assert_eq!(packed, entries);
        assert_eq!(packed[3].data(), r#""text":"bc"}"#);
    }

    #[test]
    fn a_type_of_a_newer_version_is_kept_as_it_is() {
        for (name, data, json) in [
            ("image", r#""url":"x","n":1}"#, r#"{"seq":12,"type":"image","url":"x","n":1}"#),
            ("pause_of_the_model", "}", r#"{"seq":12,"type":"pause_of_the_model"}"#),
        ] {
            let entry = Entry::from_stored(Seq(12), name, data).unwrap();
            assert_eq!((entry.name(), entry.data(), entry.json()), (name, data, json));
            assert_eq!(entry.decode().unwrap(), Event::Unknown);
            let again = Entry::from_stored(entry.seq, entry.name(), entry.data()).unwrap();
            assert_eq!(again, entry);
        }
        assert!(Entry::from_stored(Seq(1), "delta", "\"txt\":\"\"}").unwrap().decode().is_err());
    }

    #[test]
    fn a_foreign_row_is_an_error() {
        for name in ["", "to ken", "a\"b", "\u{e9}", &"x".repeat(65)] {
            assert!(Entry::from_stored(Seq(1), name, "}").is_err(), "{name}");
        }
        assert!(Entry::from_stored(Seq(1), "delta", "[]").is_err());
        assert!(Entry::from_stored(Seq(1), "delta", "}").unwrap().decode().is_err());
    }
}
