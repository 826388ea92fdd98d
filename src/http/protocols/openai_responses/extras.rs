//! The fields of an upstream of the same protocol beside text, thinking and calls, in their own
//! form.
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::encoder::{Responses, end, is_text};
use super::item::{Item, ItemKind, Part, State, Text, Thoughts};
use crate::domain::event::Usage;
use crate::domain::extra::{Extra, Fields, Spot};
use crate::domain::raw_json::RawJson;
use crate::domain::source::WireProtocol;
use crate::http::dialect::Frames;
use crate::http::protocols::openai::citations::url_citations;

/// The fields that belong to a part that has not come yet, and those of the response as a whole.
#[derive(Debug, Default)]
pub(in crate::http) struct Extras {
    /// The next text begins a part of its own.
    pub(super) next_part: bool,
    /// Of the next piece of text.
    pub(super) logprobs: Vec<Box<RawValue>>,
    calls: Vec<(u32, Fields)>,
    /// Fields of the response.
    response: Map<String, Value>,
    usage: Map<String, Value>,
}

impl Extras {
    /// The fields of a call that begins.
    pub(super) fn take_call(&mut self, index: u32) -> Option<Fields> {
        let place = self.calls.iter().position(|(known, _)| *known == index)?;
        Some(self.calls.swap_remove(place).1)
    }

    /// Writes what held, as the upstream says it, into the response.
    pub(super) fn held(&self, object: &mut Value, usage: &Usage) {
        for (name, value) in &self.response {
            object[name] = value.clone();
        }
        let count = |name: &str| self.usage.get(name).and_then(Value::as_u64);
        let same = count("input_tokens") == Some(usage.input_tokens)
            && count("output_tokens") == Some(usage.output_tokens);
        // Of several attempts, the counts are those of all.
        if same {
            for (name, value) in &self.usage {
                object["usage"][name] = value.clone();
            }
        }
    }
}

impl Responses {
    pub(super) fn extra(&mut self, extra: &Extra, frames: &mut Frames) {
        if extra.protocol != WireProtocol::OpenaiResponses {
            for citation in url_citations(extra, self.said()) {
                let citation = to_raw_value(&citation).ok().map(RawJson::from);
                citation.into_iter().for_each(|citation| self.annotation(citation, frames));
            }
            return;
        }
        let fields = Fields::of(&extra.data);
        let values = || serde_json::from_str(extra.data.text()).unwrap_or_default();
        match extra.at {
            Spot::Event => self.event(fields, frames),
            Spot::Call => self.extras.calls.push((extra.index.unwrap_or_default(), fields)),
            Spot::Chunk => self.extras.response = values(),
            Spot::Usage => self.extras.usage = values(),
            Spot::Choice | Spot::Message | Spot::Block | Spot::Citation | Spot::OtherChoice => {}
        }
    }

    /// How many characters the text has that is said.
    fn said(&self) -> usize {
        let Some(Item { kind: ItemKind::Message(parts), state: State::Open, .. }) =
            self.items.last()
        else {
            return 0;
        };
        parts.last().map_or(0, |part| part.text().chars().count())
    }

    fn event(&mut self, mut event: Fields, frames: &mut Frames) {
        let kind: String = event.read("type").unwrap_or_default();
        match kind.as_str() {
            "response.output_item.added" => {
                if let Some(item) = event.object("item") {
                    self.item_added(item, frames);
                }
            }
            "response.output_item.done" => {
                let item = event.object("item");
                item.into_iter().for_each(|item| self.item_done(item, frames));
            }
            "response.content_part.added" | "response.reasoning_summary_part.added" => {
                self.extras.next_part = true;
            }
            "response.reasoning_text.delta" => {
                if let Some(Item { kind: ItemKind::Reasoning(thoughts), .. }) =
                    self.items.last_mut()
                    && thoughts.parts.is_empty()
                {
                    thoughts.raw = true;
                }
            }
            "response.output_text.delta" => {
                self.extras.logprobs = event.read("logprobs").unwrap_or_default();
            }
            "response.output_text.annotation.added" => {
                let annotation = event.take("annotation");
                annotation.into_iter().for_each(|one| self.annotation(one, frames));
            }
            _ => self.foreign(&kind, event, frames),
        }
    }

    fn item_added(&mut self, item: Fields, frames: &mut Frames) -> usize {
        self.close(is_text, State::Completed, frames);
        self.extras.next_part = false;
        let kind = match item.read::<String>("type").as_deref() {
            Some("message") => ItemKind::Message(Vec::new()),
            Some("reasoning") => ItemKind::Reasoning(Thoughts::default()),
            Some(_) | None => ItemKind::Foreign,
        };
        self.add(kind, Some(item), frames)
    }

    fn item_done(&mut self, item: Fields, frames: &mut Frames) {
        let id: String = item.read("id").unwrap_or_default();
        let place = match self.place(&id) {
            Some(place) => place,
            None => self.item_added(item.clone(), frames),
        };
        let Some(open) = self.items.get_mut(place) else { return };
        if open.state == State::Open {
            let own = open.own.get_or_insert_default();
            item.0.into_iter().for_each(|(name, value)| own.set(name, value));
            self.seal.iter().for_each(|seal| seal.close(open, State::Completed));
            end(open, State::Completed, frames);
        }
    }

    /// The place of the item that counts and has that id at the upstream.
    fn place(&self, id: &str) -> Option<usize> {
        self.items.iter().rposition(|item| item.state != State::Void && item.is_theirs(id))
    }

    /// The place of an item that its events name by the upstream's index alone: a shell's.
    fn foreign_place(&self, index: usize) -> Option<usize> {
        let place = self.items.iter().position(|item| item.state != State::Void)? + index;
        let item = self.items.get(place)?;
        matches!(item.kind, ItemKind::Foreign).then_some(place)
    }

    /// An annotation of the text so far.
    pub(super) fn annotation(&mut self, annotation: RawJson, frames: &mut Frames) {
        let place = self.message_place(&Part::Text(Text::default()), frames);
        let Some(item) = self.items.get_mut(place) else { return };
        let ItemKind::Message(parts) = &mut item.kind else { return };
        let content = parts.len().saturating_sub(1);
        let Some(Part::Text(text)) = parts.last_mut() else { return };
        let kind = "response.output_text.annotation.added";
        let mut event = Fields::default();
        let fields = [
            ("type", json!(kind)),
            ("sequence_number", json!(frames.number())),
            ("item_id", json!(item.id)),
            ("output_index", json!(item.index)),
            ("content_index", json!(content)),
            ("annotation_index", json!(text.annotations.len())),
        ];
        fields.into_iter().for_each(|(name, value)| set(&mut event, name, &value));
        event.set("annotation".into(), annotation.clone());
        text.annotations.push(annotation);
        frames.frame(Some(kind), &event);
    }

    /// An event of an item that only the upstream knows, as it came but for ids and numbers.
    fn foreign(&mut self, kind: &str, mut event: Fields, frames: &mut Frames) {
        let id: Option<String> = event.read("item_id");
        let place = match &id {
            Some(id) => self.place(id),
            None => event.read("output_index").and_then(|index| self.foreign_place(index)),
        };
        let Some(item) = place.and_then(|place| self.items.get(place)) else { return };
        if id.is_some() {
            set(&mut event, "item_id", &json!(item.id));
        }
        set(&mut event, "output_index", &json!(item.index));
        set(&mut event, "sequence_number", &json!(frames.number()));
        frames.frame(Some(kind), &event);
    }
}

fn set(fields: &mut Fields, name: &str, value: &Value) {
    if let Ok(value) = to_raw_value(value) {
        fields.set(name.into(), value);
    }
}
