//! Thinking that a client keeps for us in `encrypted_content`: it asks for that with `include`, and
//! sends the item back. A vendor's own content is not ours to open.
use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::encoder::Responses;
use super::input;
use super::input::Input;
use super::item::{Item, ItemKind, State};
use crate::domain::extra::Fields;
use crate::domain::generation::{Generation, Request};
use crate::domain::id::{GenerationId, Tenant};
use crate::domain::sealed::{SEALED, SealedFor, SealingKeys};
use crate::domain::thinking;
use crate::domain::thinking::{CARRIED, ThinkingBlock};
use crate::engine::Engine;
use crate::http::dialect::Frames;
use crate::http::problem::Problem;

/// The word in `include` that asks for it.
const ASKED: &str = "reasoning.encrypted_content";

/// Writes the thinking of one response for its client to keep.
#[derive(Clone, Debug)]
pub(super) struct Seal {
    keys: SealingKeys,
    made_for: SealedFor,
    generation: GenerationId,
    at: OffsetDateTime,
    wanted: Wanted,
}

/// The reader that the thinking is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// A client that has asked for it.
    Asked,
    /// A client that lets nothing be stored: it has what its vendor has sealed in any case.
    Stateless,
    /// Ourselves: an item that is written out keeps what its vendor has sealed.
    Ourselves,
}

impl Seal {
    /// For the response of `row`; `None` if its client did not ask for it.
    pub(super) fn of(engine: &Engine, row: &Generation) -> Option<Self> {
        let asked = is_asked(&row.request).then_some(Wanted::Asked);
        let stateless = row.request.echo.get("store") == Some(&Value::Bool(false));
        let wanted = asked.or(stateless.then_some(Wanted::Stateless))?;
        Some(Self::wanted(engine, row, wanted))
    }

    /// For an input that names items of `row`.
    pub(super) fn ours(engine: &Engine, row: &Generation) -> Self {
        Self::wanted(engine, row, Wanted::Ourselves)
    }

    fn wanted(engine: &Engine, row: &Generation, wanted: Wanted) -> Self {
        let made_for = SealedFor { tenant: row.tenant.clone(), model: row.request.model.clone() };
        let keys = engine.secrets().sealing_keys();
        Self { keys, made_for, generation: row.id, at: row.created_at, wanted }
    }

    /// Writes what an item of thinking has come to, where its upstream has not done so itself.
    pub(super) fn close(&self, item: &mut Item, state: State) {
        let theirs = item.own.as_ref().is_some_and(|own| own.has("encrypted_content"));
        let ItemKind::Reasoning(thoughts) = &mut item.kind else { return };
        if state != State::Completed || theirs {
            return;
        }
        if !thoughts.blocks.is_empty() {
            thoughts.sealed = Some(thinking::carried(&thoughts.blocks));
        } else if self.wanted == Wanted::Asked && !thoughts.parts.is_empty() {
            let said = (self.generation, self.at, item.index);
            thoughts.sealed = self.keys.seal(&self.made_for, said, &thoughts.parts.join("\n\n"));
        }
    }
}

impl Responses {
    /// Thinking up to here is a block that its vendor has sealed.
    pub(super) fn sealed(&mut self, block: &ThinkingBlock, frames: &mut Frames) {
        let place = self.thoughts_place(frames);
        if let Some(Item { kind: ItemKind::Reasoning(thoughts), .. }) = self.items.get_mut(place) {
            thoughts.blocks.push(block.clone());
        }
    }
}

fn is_asked(request: &Request) -> bool {
    let body = request.source.as_ref().map(|source| &source.body);
    let Some(body) = body.filter(|body| body.contains(ASKED)) else { return false };
    let fields: Fields = serde_json::from_str(body).unwrap_or_default();
    let include: Vec<Value> = fields.read("include").unwrap_or_default();
    include.iter().any(|asked| asked == ASKED)
}

/// The thinking that a request brought back, by the place of its item in the input.
pub(super) type Opened = Vec<(usize, String)>;

/// Opens the thinking in `input` that was written here. The result has the sealed texts, which an
/// upstream of the same protocol gets in plain words.
///
/// # Errors
/// 400 `invalid_encrypted_content`, in the same words whatever the reason.
pub(super) fn opened(
    engine: &Engine,
    (tenant, model): (&Tenant, &str),
    input: &mut Input,
) -> Result<Opened, Problem> {
    let made_for = SealedFor { tenant: tenant.clone(), model: model.to_owned() };
    let Input::List(items) = input else { return Ok(Vec::new()) };
    let mut opened = Vec::new();
    for (n, item) in items.iter_mut().enumerate() {
        let at = format!("input[{n}]");
        let Some(sealed) = item.encrypted_thought() else { continue };
        if uncarried(&at, item)? || !sealed.starts_with(SEALED) {
            continue;
        }
        let text =
            engine.secrets().sealing_keys().open(&made_for, &sealed).map_err(|_| refused(&at))?;
        item.thought = Some(text.clone());
        opened.push((n, text));
    }
    Ok(opened)
}

/// Reads thinking that its vendor has sealed out of the item at `at`; whether there is any.
///
/// # Errors
/// As [`opened`].
pub(crate) fn uncarried(at: &str, item: &mut input::Item) -> Result<bool, Problem> {
    let Some(sealed) = item.encrypted_thought().filter(|sealed| sealed.starts_with(CARRIED)) else {
        return Ok(false);
    };
    item.blocks = thinking::read(&sealed).ok_or_else(|| refused(at))?;
    item.thought = Some(item.blocks.iter().map(ThinkingBlock::text).collect());
    Ok(true)
}

fn refused(at: &str) -> Problem {
    let detail = "this encrypted content cannot be verified: it was changed, or is for another key \
                  or model, or is too old. Send the input without this item";
    Problem::bad_request("invalid_encrypted_content", detail)
        .with("field", format!("{at}.encrypted_content"))
}

/// The body with what was opened in plain words, for an upstream of the same protocol.
pub(super) fn in_plain_words(body: Arc<str>, opened: Opened) -> Arc<str> {
    if opened.is_empty() {
        return body;
    }
    let mut fields: Fields = serde_json::from_str(&body).unwrap_or_default();
    let mut items: Vec<Box<RawValue>> = fields.read("input").unwrap_or_default();
    for (n, text) in opened {
        let Some(place) = items.get_mut(n) else { continue };
        let mut item: Fields = serde_json::from_str(place.get()).unwrap_or_default();
        item.take("encrypted_content");
        let thought = to_raw_value(&json!([{ "type": "reasoning_text", "text": text }]));
        thought.into_iter().for_each(|thought| item.set("content".into(), thought));
        to_raw_value(&item).into_iter().for_each(|item| *place = item);
    }
    to_raw_value(&items).into_iter().for_each(|items| fields.set("input".into(), items));
    serde_json::to_string(&fields).map_or(body, Into::into)
}
