//! The body of a request to the Messages API. A client that speaks the same protocol has its own
//! body sent, with few changes; else it is written from the prompt.
#[cfg(test)]
mod tests;

use super::begun::{continued, fit_budget};
use super::source;
use super::source::CACHE;
use super::wire;
use super::wire::MessagesRequest;
use crate::domain::prompt::current_reasoning;
use crate::domain::source::WireProtocol;
use crate::ports::{Attempt, Continuation};
use crate::providers::upstream::adjust::Adjust;
use crate::providers::upstream::json_body::Object;

/// The API wants a limit; this one is used where neither client nor configuration set one, in
/// tokens.
const MAX_TOKENS: u32 = 4096;
const LIMIT: &str = "max_tokens";

/// The upstream that a request is written for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The model's name there.
    pub(crate) model: &'a str,
    /// How it goes on from a text.
    pub(crate) continuation: Continuation,
    /// The configuration's changes.
    pub(crate) adjust: &'a Adjust,
}

/// A body, and what of the client's is not in it.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) object: Object,
    /// Names of fields that were left out.
    pub(crate) left_out: Vec<String>,
    /// Whether the limit of the answer is used up.
    pub(crate) spent: bool,
    /// The beginning of the answer that goes up with it.
    pub(crate) begun: String,
    /// Whether it is the client's own.
    pub(super) is_own: bool,
}

impl Body {
    /// The body for `attempt`.
    pub(crate) fn new(wanted: Wanted<'_>, attempt: &Attempt) -> Self {
        let (mut object, left_out, own) = begun(wanted, attempt);
        object.set("model", &wanted.model);
        object.set("stream", &true);
        let mut messages: Vec<Object> = object.read("messages").unwrap_or_default();
        // An answer that the client itself has begun goes up as it came.
        let is_whole = own && attempt.so_far.trim_end().is_empty();
        let begun =
            (!is_whole).then(|| continued(&mut messages, wanted.continuation, attempt)).flatten();
        if begun.is_some() {
            object.set("messages", &messages);
        }
        if !object.has(LIMIT) {
            let usual = wanted.adjust.max_output_tokens.map_or(MAX_TOKENS, u32::from);
            object.set(LIMIT, &usual);
        }
        wanted.adjust.finish(&mut object);
        let limit = object.read::<u64>(LIMIT).filter(|_| attempt.spent > 0);
        if let Some(limit) = limit {
            let left = limit.saturating_sub(attempt.spent).max(1);
            object.set(LIMIT, &left);
            fit_budget(&mut object, left);
        }
        let spent = limit.is_some_and(|limit| limit <= attempt.spent);
        Self { object, left_out, spent, begun: begun.unwrap_or_default(), is_own: own }
    }

    /// Tokens that are left of the limit.
    pub(crate) fn left(&self) -> Option<u64> {
        self.object.read(LIMIT)
    }

    /// Allows `tokens` above the limit: they are no part of the answer.
    pub(crate) fn allow(&mut self, tokens: u64) {
        if let Some(limit) = self.left() {
            self.object.set(LIMIT, &(limit + tokens));
        }
    }
}

/// The client's own fields, or those of the prompt; what was left out; whether it is the client's.
fn begun(wanted: Wanted<'_>, attempt: &Attempt) -> (Object, Vec<String>, bool) {
    let source = attempt.source.as_ref();
    let client = source.and_then(|source| Some((source.protocol, Object::parse(&source.body)?)));
    if let Some((WireProtocol::AnthropicMessages, own)) = &client
        && own.has("messages")
    {
        let mut own = own.clone();
        let left_out = wanted.adjust.without_steering(&mut own);
        source::remove_ours(&mut own);
        // A key may allow less than was asked for.
        if let Some(most) = attempt.prompt.parameters.max_output_tokens {
            own.set(LIMIT, &most);
        }
        return (own, left_out, true);
    }
    let parameters = &attempt.prompt.parameters;
    let mut body = Object::of(&MessagesRequest::new(wanted.model, &attempt.prompt));
    let told = source.map(|source| wanted.adjust.pass_on(source, &mut body));
    let mut left_out = told.unwrap_or_default();
    let messages = &attempt.prompt.messages;
    let mut thoughts = messages.iter().zip(current_reasoning(messages));
    let thought = thoughts.any(|(said, thought)| thought.is_some() && said.thinking.is_empty());
    let caches = body.has(CACHE) || wanted.adjust.set.iter().any(|(name, _)| name == CACHE);
    let unknown = [
        // Thinking is taken with the API's own signature only.
        ("input.reasoning", thought),
        ("seed", parameters.seed.is_some()),
        ("presence_penalty", parameters.openai.presence_penalty.is_some()),
        ("frequency_penalty", parameters.openai.frequency_penalty.is_some()),
        ("top_p", parameters.top_p.is_some() && parameters.temperature.is_some()),
        ("response_format", wire::is_without_schema(&parameters.openai)),
        (CACHE, !caches && source.is_some_and(source::marks_cache)),
    ];
    let unknown = unknown.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned());
    left_out.extend(unknown.filter(|name| !left_out.contains(name)).collect::<Vec<_>>());
    (body, left_out, false)
}
