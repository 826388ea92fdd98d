//! The body of a chat completion's request. A client that speaks the same protocol has its own
//! body sent, with few changes; else it is written from the prompt.
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::counts::{self, Refused};
use super::messages::{Instructions, continued, instructions, merged};
use super::wire::ChatRequest;
use crate::domain::prompt::{current_reasoning, has_sealed_thinking};
use crate::domain::source::WireProtocol;
use crate::ports::{Attempt, Continuation};
use crate::providers::upstream::adjust::Adjust;
use crate::providers::upstream::cut_back::is_begun;
use crate::providers::upstream::json_body::Object;

/// The name by which thinking is told that is not sent.
const THOUGHT: &str = "input.reasoning";
/// The newer name of the limit of an answer, and the older one.
const LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];

/// The most choices that are waited for: OpenAI's own limit.
const MOST_CHOICES: u32 = 128;

/// The upstream that a request is written for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect<'a> {
    /// The model's name there.
    pub(crate) model: &'a str,
    /// OpenAI itself: it wants `max_completion_tokens`, others know `max_tokens` only.
    pub(crate) is_openai: bool,
    /// How it goes on from a text.
    pub(crate) continuation: Continuation,
    /// Whether it may be asked to count tokens while they come.
    pub(crate) counts: bool,
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
    /// How many choices it asks for.
    pub(crate) choices: u32,
    /// Whether it asks for counts that the client has not asked for.
    pub(crate) counts: bool,
    /// The client asked for several choices, and only the first can go on.
    pub(crate) first_only: bool,
}

impl Body {
    /// The body for `attempt`.
    pub(crate) fn new(dialect: Dialect<'_>, attempt: &Attempt) -> Self {
        let (mut object, left_out, own) = begun(dialect, attempt);
        object.set("model", &dialect.model);
        object.set("stream", &true);
        let mut options: Object = object.read("stream_options").unwrap_or_default();
        options.set("include_usage", &true);
        // Usage before the end is told here, and costs the upstream a report with every token.
        options.remove("continuous_usage_stats");
        object.set("stream_options", &options);
        let begun = messages(dialect, attempt, &mut object, own);
        let usual = dialect.adjust.max_output_tokens;
        if let Some(limit) = usual.filter(|_| !LIMITS.iter().any(|name| object.has(name))) {
            object.set(LIMITS[usize::from(!dialect.is_openai)], &limit);
        }
        let goes_on = dialect.counts && dialect.continuation == Continuation::Prefix;
        let one = !own || count(&object) == 1;
        let counts = goes_on && one && LIMITS.iter().any(|name| limit(&object, name).is_some());
        if counts {
            counts::ask(&mut object);
        }
        dialect.adjust.finish(&mut object);
        let spent = count_down(&mut object, attempt.spent);
        let mut choices = if own { count(&object) } else { 1 };
        let first_only = choices > 1 && is_begun(attempt);
        if first_only {
            object.remove("n");
            choices = 1;
        }
        Self { object, left_out, spent, begun, choices, counts, first_only }
    }

    /// Tokens that are left of the limit.
    pub(crate) fn left(&self) -> Option<u64> {
        LIMITS.iter().find_map(|name| limit(&self.object, name))
    }

    /// Allows `tokens` above the limit: they are no part of the answer.
    pub(crate) fn allow(&mut self, tokens: u64) {
        for name in LIMITS {
            if let Some(limit) = limit(&self.object, name) {
                self.object.set(name, &(limit + tokens));
            }
        }
    }

    /// The same without the wish for counts, where a refusal is about that and not about a field
    /// that can be mended.
    pub(crate) fn without_counts(&self, refusal: &str) -> Option<Self> {
        let mends = || self.renamed(refusal).or_else(|| self.without_reasoning(refusal)).is_some();
        let about = match Refused::of(refusal) {
            Refused::Named => true,
            Refused::Perhaps => !mends(),
            Refused::No => false,
        };
        let object = counts::without(&self.object);
        (self.counts && about).then(|| Self { object, counts: false, ..self.clone() })
    }

    /// The same without thinking in its messages, where a refusal names it: Groq and Mistral refuse
    /// fields that they do not know.
    pub(crate) fn without_reasoning(&self, refusal: &str) -> Option<Self> {
        let messages = Some(&self.object).filter(|_| refusal.contains("reasoning"));
        let messages = messages.and_then(without_reasoning)?;
        let mut other = self.clone();
        other.object.set("messages", &messages);
        other.left_out.push(THOUGHT.into());
        Some(other)
    }

    /// The same with the name of the limit that a refusal asks for; `None` if it asks for none.
    pub(crate) fn renamed(&self, refusal: &str) -> Option<Self> {
        let [newer, older] = LIMITS;
        let odd = ["nsupported", "nrecognized", "nexpected", "xtra", "nknown", "not permitted"];
        let is_odd = odd.iter().any(|word| refusal.contains(word));
        let (from, to) = [(older, newer), (newer, older)].into_iter().find(|(from, to)| {
            let asked = refusal.contains(to) || (*from == newer && is_odd);
            refusal.contains(from) && asked && self.object.has(from) && !self.object.has(to)
        })?;
        let mut other = self.clone();
        other.object.rename(from, to);
        Some(other)
    }
}

/// The messages without their thinking; `None` if they have none.
fn without_reasoning(object: &Object) -> Option<Vec<Object>> {
    let mut messages: Vec<Object> = object.read("messages")?;
    let mut changed = false;
    for message in &mut messages {
        for name in ["reasoning_content", "reasoning"] {
            changed |= message.remove(name).is_some();
        }
    }
    changed.then_some(messages)
}

/// How many choices a client of the same protocol asked for.
pub(crate) fn choices(attempt: &Attempt) -> u32 {
    let source = attempt.source.as_ref().filter(|s| s.protocol == WireProtocol::OpenaiChat);
    source.and_then(|source| Object::parse(&source.body)).map_or(1, |body| count(&body))
}

fn count(body: &Object) -> u32 {
    limit(body, "n").and_then(|n| u32::try_from(n).ok()).unwrap_or(1).clamp(1, MOST_CHOICES)
}

/// The client's own fields, or those of the prompt; what was left out; whether it is the client's.
fn begun(dialect: Dialect<'_>, attempt: &Attempt) -> (Object, Vec<String>, bool) {
    let source = attempt.source.as_ref();
    let client = source.and_then(|source| Some((source.protocol, Object::parse(&source.body)?)));
    let written = || Object::of(&ChatRequest::new(dialect, &attempt.prompt));
    match client {
        Some((WireProtocol::OpenaiChat, mut own)) if own.has("messages") => {
            let left_out = dialect.adjust.without_steering(&mut own);
            (own, left_out, true)
        }
        Some(_) | None => {
            let mut body = written();
            let left_out = source.map(|source| dialect.adjust.pass_on(source, &mut body));
            let mut left_out = left_out.unwrap_or_default();
            // OpenAI takes no thinking by this API.
            let messages = &attempt.prompt.messages;
            let thought = current_reasoning(messages).iter().any(Option::is_some);
            let lost = has_sealed_thinking(messages) || (thought && dialect.is_openai);
            left_out.extend(lost.then(|| THOUGHT.to_owned()));
            (body, left_out, false)
        }
    }
}

/// Edits the messages; the beginning of the answer that is sent with them.
fn messages(dialect: Dialect<'_>, attempt: &Attempt, body: &mut Object, own: bool) -> String {
    let begun = is_begun(attempt);
    let adjust = dialect.adjust;
    let role = adjust.system_role.as_deref();
    let role = role.or((!dialect.is_openai).then_some("system")).filter(|role| *role != "keep");
    let join = adjust.join_system.unwrap_or(!dialect.is_openai);
    let mut sent = String::new();
    let Some(raw) = body.get("messages") else { return sent };
    // Nothing in it is to be changed: it need not be taken apart.
    let instructs = (role.is_some() || join) && has_instructions(raw);
    let plain = own && !begun && !instructs;
    let Some(mut list) = list(raw).filter(|_| !plain) else { return sent };
    if !own {
        list = merged(list);
    }
    list = instructions(list, Instructions { role, join });
    if begun {
        sent = continued(&mut list, dialect.continuation, attempt);
        if dialect.continuation == Continuation::Prefix {
            body.set("continue_final_message", &true);
            body.set("add_generation_prompt", &false);
        }
    }
    body.set("messages", &list);
    sent
}

fn has_instructions(messages: &str) -> bool {
    messages.contains("system") || messages.contains("developer") || messages.contains("\\u")
}

fn list(messages: &str) -> Option<Vec<Object>> {
    serde_json::from_str(messages).ok()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn limit(body: &Object, name: &str) -> Option<u64> {
    Some(body.read::<Value>(name)?.as_f64()? as u64)
}

/// Takes what was said off the limit of the answer; true if nothing is left.
fn count_down(body: &mut Object, said: u64) -> bool {
    if said == 0 {
        return false;
    }
    let mut spent = false;
    for name in LIMITS {
        let Some(limit) = limit(body, name) else { continue };
        body.set(name, &limit.saturating_sub(said).max(1));
        spent |= limit <= said;
    }
    spent
}
