//! A request of OpenAI's becomes a generation, or the one that an earlier try made.
use actix_web::HttpRequest;
use serde::Deserialize;
use serde_json::Value;

use super::elsewhere::Elsewhere;
use super::fields::{Fields, unsupported};
use super::texts::TextOr;
use crate::domain::conversation::TurnAsked;
use crate::domain::generation::{Generation, Request};
use crate::domain::id::GenerationId;
use crate::domain::json::JsonObject;
use crate::domain::nearest::shown;
use crate::domain::prompt::{Image, Parameters};
use crate::engine::{Engine, Start, Started};
use crate::http::problem::Problem;
use crate::http::protocols::native::generations::{idempotency, idempotency_key, unknown_model};
use crate::http::protocols::native::prompt::check_metadata;
use crate::http::repeats::Sent;
use crate::http::{caller, leaving, repeats, tenant, trace};
use crate::ports::Address;

/// Starts a request, in a conversation where there is a turn. Returns the row, and whether a repeat
/// under the same key would be the same start.
pub(crate) async fn start(
    engine: &Engine,
    request: &HttpRequest,
    (asked, turn): (Request, Option<TurnAsked>),
    elsewhere: Elsewhere,
) -> Result<(Generation, bool), Problem> {
    check(engine, &asked, elsewhere)?;
    let key = idempotency_key(request)?;
    let idempotency = key.map(|key| idempotency(key, &asked, turn.as_ref()));
    let repeatable = idempotency.is_some();
    let asked = Request { trace: trace::of(request), ..leaving::bounded(engine, request, asked)? };
    let sent = Sent::of(asked.source.as_ref(), &asked.model);
    let repeat = repeats::repeat(engine, request, sent, repeatable)?;
    let start = Start { caller: caller(request)?, request: asked, idempotency, turn, repeat };
    let Started { generation, attached, read, .. } = engine.start(start).await?;
    repeats::begin(request, read, attached);
    Ok((generation, repeatable))
}

/// Whether its model is here and can do what is asked of it.
pub(crate) fn check(engine: &Engine, asked: &Request, elsewhere: Elsewhere) -> Result<(), Problem> {
    let models = engine.models();
    let Some(model) = models.find(Some(&asked.model)) else {
        return Err(unknown_model(engine, &asked.model));
    };
    let speaks = asked.source.as_ref().map(|source| source.protocol);
    elsewhere.check(model.provider.speaks() == speaks)?;
    only_for_openai(&asked.prompt.parameters, model.provider.name())
}

/// A field that would change the meaning if it was left out is refused.
fn only_for_openai(parameters: &Parameters, provider: &str) -> Result<(), Problem> {
    let format = parameters.openai.response_format.as_ref();
    let has_it = provider.starts_with("openai") || provider == "demo";
    let Some(format) = format.filter(|_| !has_it) else { return Ok(()) };
    if provider == "anthropic" && format["type"] == "json_schema" {
        return Ok(());
    }
    Err(unsupported("response_format", &format!("models of `{provider}` do not have it")))
}

/// The generation in the path, by its dialect's id. An improper id names nothing.
pub(crate) fn address(request: &HttpRequest, prefix: &str) -> Result<Address, Problem> {
    let id = request.match_info().get("id").and_then(|id| super::ids::parse(prefix, id));
    let id: GenerationId = id.ok_or_else(Problem::no_such_generation)?;
    Ok(Address { tenant: tenant(request), id })
}

/// The client's notes; OpenAI's are texts, ours may be more.
pub(crate) fn metadata(fields: &mut Fields) -> Result<JsonObject, Problem> {
    let metadata = fields.take("metadata")?.unwrap_or_default();
    check_metadata(&metadata)?;
    Ok(metadata)
}

/// A message's content: a text, or parts.
pub(crate) type Content = TextOr<ContentPart>;

/// A part of it, in the words of both APIs.
#[derive(Debug, Deserialize)]
pub(crate) struct ContentPart {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<Value>,
    detail: Option<String>,
    file_id: Option<String>,
}

impl Content {
    /// The text and the pictures in it; `field` is its name in the request.
    /// Another part is noted in `elsewhere`, and its type stands in its place.
    pub(crate) fn read(
        self,
        field: &str,
        elsewhere: &mut Elsewhere,
    ) -> Result<(String, Vec<Image>), Problem> {
        let parts = match self {
            Self::Text(text) => return Ok((text, Vec::new())),
            Self::List(parts) => parts,
        };
        let (mut texts, mut images) = (Vec::new(), Vec::new());
        for (n, part) in parts.into_iter().enumerate() {
            let missing = |name: &str| super::fields::missing(&format!("{field}[{n}].{name}"));
            match part.kind.as_str() {
                "text" | "input_text" | "output_text" => {
                    texts.push(part.text.ok_or_else(|| missing("text"))?);
                }
                "refusal" => texts.push(part.refusal.ok_or_else(|| missing("refusal"))?),
                "image_url" | "input_image" => {
                    let is_file = part.file_id.is_some();
                    match image(part) {
                        Some(image) => images.push(image),
                        None if is_file => {
                            let what = format!("{field}[{n}].file_id");
                            let why = "this model gets pictures by URL only";
                            elsewhere.refuse(unsupported(&what, why));
                            texts.push("[input_image]".to_owned());
                        }
                        None => return Err(missing("image_url")),
                    }
                }
                other => {
                    let what = format!("{field}[{n}].type");
                    let why = format!("this model gets no parts of type `{}`", shown(other));
                    elsewhere.refuse(unsupported(&what, &why));
                    texts.push(format!("[{}]", shown(other)));
                }
            }
        }
        Ok((texts.join("\n"), images))
    }
}

fn image(part: ContentPart) -> Option<Image> {
    let wire = part.image_url?;
    let url = wire.as_str().or_else(|| wire.get("url")?.as_str())?.to_owned();
    let inner = wire.get("detail").and_then(Value::as_str).map(str::to_owned);
    Some(Image { url, detail: part.detail.or(inner) })
}
