//! The body of a response's request. A client that speaks the same protocol has its own body sent,
//! with few changes; else it is written from the prompt.
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::tools;
use super::wire::ResponsesRequest;
use crate::domain::left_out::COMPACTED;
use crate::domain::prompt::{Parameters, Role, has_sealed_thinking};
use crate::domain::source::WireProtocol;
use crate::ports::{Attempt, Continuation};
use crate::providers::upstream::adjust::Adjust;
use crate::providers::upstream::item_ids;
use crate::providers::upstream::json_body::Object;
use crate::providers::upstream::{overlap, vendor_content};

const LIMIT: &str = "max_output_tokens";
/// The name by which thinking is told that is not sent.
const THOUGHT: &str = "input.reasoning";

/// The upstream that a request is written for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The model's name there.
    pub(crate) model: &'a str,
    /// OpenAI itself.
    pub(crate) is_openai: bool,
    /// The mark of what it has encrypted.
    pub(crate) mark: &'a str,
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
}

impl Body {
    /// The body for `attempt`.
    pub(crate) fn new(wanted: Wanted<'_>, attempt: &Attempt) -> Self {
        let (mut object, mut left_out) = begun(wanted, attempt);
        if wanted.is_openai && drop_unknown(&mut object) {
            left_out.push(THOUGHT.into());
        }
        object.set("model", &wanted.model);
        object.set("stream", &true);
        if wanted.continuation == Continuation::ProviderResume {
            object.set("store", &true);
            object.set("background", &true);
        } else if !object.has("store") {
            // Nothing is to be kept there that nobody asks for again.
            object.set("store", &false);
        }
        if !attempt.so_far.is_empty() && wanted.continuation == Continuation::Instruct {
            let mut input = items(&object);
            input.extend(to_raw_value(&tools::text(Role::Assistant, attempt.so_far.as_str())));
            let instruction = overlap::instruction(&attempt.so_far);
            input.extend(to_raw_value(&tools::text(Role::User, instruction)));
            object.set("input", &input);
        }
        let mut begun = String::new();
        if wanted.continuation == Continuation::Prefix && !attempt.so_far.is_empty() {
            let mut input = items(&object);
            begun = tools::begin(&mut input, &attempt.so_far);
            object.set("input", &input);
        }
        if let Some(limit) = wanted.adjust.max_output_tokens.filter(|_| !object.has(LIMIT)) {
            object.set(LIMIT, &limit);
        }
        wanted.adjust.finish(&mut object);
        let spent = count_down(&mut object, attempt.spent);
        Self { object, left_out, spent, begun }
    }

    /// Tokens that are left of the limit.
    pub(crate) fn left(&self) -> Option<u64> {
        self.object.read::<Value>(LIMIT)?.as_u64()
    }

    /// Allows `tokens` above the limit: they are no part of the answer.
    pub(crate) fn allow(&mut self, tokens: u64) {
        if let Some(limit) = self.left() {
            self.object.set(LIMIT, &(limit + tokens));
        }
    }
}

/// The client's own fields, or those of the prompt; and what was left out.
fn begun(wanted: Wanted<'_>, attempt: &Attempt) -> (Object, Vec<String>) {
    let source = attempt.source.as_ref();
    let client = source.and_then(|source| Some((source.protocol, Object::parse(&source.body)?)));
    let written = || Object::of(&ResponsesRequest::new(wanted.model, &attempt.prompt));
    let mut own = match client {
        Some((WireProtocol::OpenaiResponses, own)) if own.has("input") => own,
        Some(_) | None => {
            let mut body = written();
            let told = source.map(|source| wanted.adjust.pass_on(source, &mut body));
            let mut left_out = told.unwrap_or_default();
            left_out.extend(unknown(&attempt.prompt.parameters));
            let sealed = has_sealed_thinking(&attempt.prompt.messages);
            left_out.extend(sealed.then(|| THOUGHT.to_owned()));
            return (body, left_out);
        }
    };
    let left_out = wanted.adjust.without_steering(&mut own);
    // The answer is kept here, and so is what these lead to.
    own.remove("background");
    let leads = ["previous_response_id", "conversation"];
    let leads = leads.map(|name| own.remove(name).is_some_and(|value| value.get() != "null"));
    let refers = own.get("input").is_some_and(|input| {
        let may = input.contains("item_reference") || input.contains(COMPACTED);
        may && items(&own).iter().any(|item| is_ours(item))
    });
    if refers || leads.contains(&true) {
        let messages = attempt.prompt.messages.as_slice();
        let messages = messages.get(usize::from(own.has("instructions"))..).unwrap_or_default();
        let lost = vendor_content::encrypted(&own);
        let lost = lost.into_iter().map(|kind| format!("input.{kind}"));
        let mut left_out: Vec<String> = left_out.into_iter().chain(lost).collect();
        if has_sealed_thinking(messages) && !left_out.iter().any(|name| name == THOUGHT) {
            left_out.push(THOUGHT.to_owned());
        }
        own.set("input", &tools::items(messages, tools::Calls::AsTheyWere));
        return (own, left_out);
    }
    item_ids::restore(&mut own);
    let others = vendor_content::restore(&mut own, wanted.mark);
    let left_out = left_out.into_iter().chain(others.iter().map(|kind| format!("input.{kind}")));
    let left_out = left_out.collect();
    (own, left_out)
}

/// The parameters that the API does not have.
fn unknown(parameters: &Parameters) -> impl Iterator<Item = String> {
    let unknown = [
        ("stop", !parameters.stop.is_empty()),
        ("seed", parameters.seed.is_some()),
        ("presence_penalty", parameters.openai.presence_penalty.is_some()),
        ("frequency_penalty", parameters.openai.frequency_penalty.is_some()),
    ];
    unknown.into_iter().filter(|(_, set)| *set).map(|(name, _)| name.to_owned())
}

/// Drops the thinking that OpenAI does not take; whether it said something.
fn drop_unknown(body: &mut Object) -> bool {
    if !body.get("input").is_some_and(|input| input.contains("reasoning")) {
        return false;
    }
    let (known, unknown): (Vec<_>, Vec<_>) = items(body).into_iter().partition(|i| is_known(i));
    if !unknown.is_empty() {
        body.set("input", &known);
    }
    unknown.iter().any(|item| item.get().contains("reasoning_text"))
}

/// OpenAI looks thoughts up that do not come with it in encrypted form, and ours are not there.
fn is_known(item: &RawValue) -> bool {
    let item: Object = serde_json::from_str(item.get()).unwrap_or_default();
    item.read::<String>("type").as_deref() != Some("reasoning") || item.has("encrypted_content")
}

/// Whether only lastword knows what the item stands for.
fn is_ours(item: &RawValue) -> bool {
    let item: Object = serde_json::from_str(item.get()).unwrap_or_default();
    match item.read::<String>("type").as_deref() {
        Some("item_reference") => true,
        Some("compaction") => {
            let content: Option<String> = item.read("encrypted_content");
            content.is_some_and(|content| content.starts_with(COMPACTED))
        }
        Some(_) | None => false,
    }
}

/// The input as a list of items.
fn items(body: &Object) -> Vec<Box<RawValue>> {
    if let Some(text) = body.read::<String>("input") {
        return to_raw_value(&tools::text(Role::User, text)).into_iter().collect();
    }
    body.read("input").unwrap_or_default()
}

/// Takes what was said off the limit of the answer; true if nothing is left.
fn count_down(body: &mut Object, said: u64) -> bool {
    let limit = body.read::<Value>(LIMIT).and_then(|value| value.as_u64());
    let Some(limit) = limit.filter(|_| said > 0) else { return false };
    body.set(LIMIT, &limit.saturating_sub(said).max(1));
    limit <= said
}

#[cfg(test)]
mod tests {
    use crate::domain::prompt::{Message, Prompt};
    use crate::domain::source::Source;
    use crate::providers::responses::body::*;

    fn body(source: &str, continuation: Continuation, so_far: &str) -> String {
        let messages = vec![Message::text(Role::System, "s"), Message::text(Role::User, "earlier")];
        let prompt = Prompt { messages, parameters: Parameters::default() };
        let source = Source {
            protocol: WireProtocol::OpenaiResponses,
            body: source.into(),
            betas: Vec::new(),
        };
        let attempt = Attempt {
            prompt,
            so_far: so_far.into(),
            resume: None,
            trace: None,
            source: Some(source),
            reasoning: String::new(),
            thinking: Vec::new(),
            spent: 3,
            given: 0,
        };
        let adjust = Adjust::default();
        let wanted =
            Wanted { model: "up", is_openai: true, mark: "m.", continuation, adjust: &adjust };
        serde_json::to_string(&Body::new(wanted, &attempt).object).unwrap()
    }

    #[test]
    fn the_clients_own_body_goes_up() {
        let own = r#"{"model":"m","input":[{"role":"user","x":1.0,"content":[{"type":"input_text","text":"q"}]},{"type":"reasoning","id":"rs_1","summary":[]}],"background":true,"top_logprobs":2,"max_output_tokens":9}"#;
        let sent = r#"{"model":"up","input":[{"role":"user","x":1.0,"content":[{"type":"input_text","text":"q"}]}],"top_logprobs":2,"max_output_tokens":6,"stream":true,"store":false}"#;
        assert_eq!(body(own, Continuation::None, ""), sent);
        let text = r#"{"model":"m","input":"q"}"#;
        let sent = body(text, Continuation::Instruct, "So");
        assert!(
            sent.contains(
                r#""input":[{"role":"user","content":"q"},{"role":"assistant","content":"So"}"#
            ),
            "{sent}"
        );
    }

    #[test]
    fn a_chain_is_written_out() {
        let chained =
            r#"{"model":"m","instructions":"s","input":"q","previous_response_id":"resp_1"}"#;
        let sent = r#"{"model":"up","instructions":"s","input":[{"role":"user","content":"earlier"}],"stream":true,"store":false}"#;
        assert_eq!(body(chained, Continuation::None, ""), sent);
    }
}
