//! Items of earlier responses that an input names by their ids.
use serde_json::Value;

use super::input::{Input, Item};
use crate::domain::id::{GenerationId, Tenant};
use crate::domain::nearest;
use crate::engine::{Engine, EngineError};
use crate::http::problem::Problem;
use crate::http::protocols::openai::ids::item_of;
use crate::ports::Address;

/// The input with each `item_reference` replaced by what it names, out of the tenant's own log.
///
/// # Errors
/// 404 for an id that is nobody's or somebody else's, in the same words.
pub(super) async fn resolved(
    engine: &Engine,
    tenant: &Tenant,
    input: Input,
) -> Result<Input, Problem> {
    let items = match input {
        Input::Text(text) => return Ok(Input::Text(text)),
        Input::List(items) => items,
    };
    let mut all = Vec::with_capacity(items.len());
    // References to one response usually come in a row.
    let mut last: Option<(GenerationId, Vec<Value>)> = None;
    for (n, item) in items.into_iter().enumerate() {
        let Some(id) = item.refers(n)? else {
            all.push(item);
            continue;
        };
        let unknown = || unknown(n, &id);
        let generation = item_of(&id).ok_or_else(unknown)?;
        let output = match last.take().filter(|(of, _)| *of == generation) {
            Some((_, output)) => output,
            None => output(engine, tenant, generation).await?.ok_or_else(unknown)?,
        };
        let named = output.iter().find(|item| item["id"] == id.as_str()).ok_or_else(unknown)?;
        let mut item: Item = serde_json::from_str(&named.to_string()).map_err(|_| unknown())?;
        item.thought = thought(named);
        all.push(item);
        last = Some((generation, output));
    }
    Ok(Input::List(all))
}

/// The thinking of a model whose server says it as it is: it is told as a summary.
fn thought(item: &Value) -> Option<String> {
    let is_theirs = item["encrypted_content"].is_string();
    let parts = item["summary"].as_array().filter(|_| item["type"] == "reasoning" && !is_theirs)?;
    let text: String = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    (!text.is_empty()).then_some(text)
}

/// The items of a response as far as they have come; `None` if the tenant has no such response.
async fn output(
    engine: &Engine,
    tenant: &Tenant,
    id: GenerationId,
) -> Result<Option<Vec<Value>>, Problem> {
    let row = match engine.generation(&Address { tenant: tenant.clone(), id }).await {
        Err(EngineError::NotFound) => return Ok(None),
        row => row?,
    };
    let reader = super::unsealed(engine, &row).await?;
    let mut object = reader.dialect.object(row.status);
    Ok(match object["output"].take() {
        Value::Array(items) => Some(items),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            None
        }
    })
}

fn unknown(n: usize, id: &str) -> Problem {
    let detail = format!("there is no item of the id `{}`", nearest::shown(id));
    Problem::not_found(detail).with("field", format!("input[{n}].id"))
}
