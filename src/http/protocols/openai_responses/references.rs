//! Items of earlier responses that an input names by their ids.
use std::collections::HashMap;

use actix_web::http::StatusCode;
use serde_json::Value;

use super::input::{Input, Item};
use crate::domain::id::{GenerationId, Tenant};
use crate::domain::nearest;
use crate::domain::prompt::PromptError;
use crate::domain::thinking::CARRIED;
use crate::engine::{Engine, EngineError};
use crate::http::body;
use crate::http::problem::Problem;
use crate::http::protocols::openai::ids::item_of;
use crate::ports::Address;

/// Responses that the references of one input lead to: each is a look into the log.
const MOST_RESPONSES: usize = 1000;

/// The input with each `item_reference` replaced by what it names, out of the tenant's own log.
///
/// # Errors
/// 404 for an id that is nobody's or somebody else's, in the same words. 409 for an item that is
/// still being said. 400 for more than a body could say.
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
    let mut outputs = Outputs { engine, tenant, read: HashMap::new(), room: body::limit(engine) };
    for (n, item) in items.into_iter().enumerate() {
        match item.refers(n)? {
            Some(id) => all.push(outputs.item(n, &id).await?),
            None => all.push(item),
        }
    }
    Ok(Input::List(all))
}

/// The output of each response that was named, as far as there is room for them.
struct Outputs<'a> {
    engine: &'a Engine,
    tenant: &'a Tenant,
    read: HashMap<GenerationId, Vec<Value>>,
    /// Bytes that may still be read or written out.
    room: usize,
}

impl Outputs<'_> {
    /// The item of that id, for the place `n` of the input.
    async fn item(&mut self, n: usize, id: &str) -> Result<Item, Problem> {
        let unknown = || unknown(n, id);
        let generation = item_of(id).ok_or_else(unknown)?;
        if !self.read.contains_key(&generation) {
            self.look(generation).await?;
        }
        let output = self.read.get(&generation).ok_or_else(unknown)?;
        let named = output.iter().find(|item| item["id"] == id).ok_or_else(unknown)?;
        if named["status"] == "in_progress" {
            let detail = format!("the item `{}` is still being said", nearest::shown(id));
            return Err(Problem::new(StatusCode::CONFLICT, "generation_running", detail)
                .with("field", format!("input[{n}].id")));
        }
        let text = named.to_string();
        let mut item: Item = serde_json::from_str(&text).map_err(|_| unknown())?;
        item.thought = thought(named);
        self.take(text.len())?;
        Ok(item)
    }

    /// Reads the response of that id, if the tenant has one.
    async fn look(&mut self, id: GenerationId) -> Result<(), Problem> {
        if self.read.len() >= MOST_RESPONSES {
            let detail = format!("`input` refers to more than {MOST_RESPONSES} responses");
            let problem = Problem::bad_request("out_of_range", detail).with("field", "input");
            return Err(problem.with("max", MOST_RESPONSES));
        }
        let output = output(self.engine, self.tenant, id).await?.unwrap_or_default();
        self.take(output.iter().map(|item| item.to_string().len()).sum())?;
        self.read.insert(id, output);
        Ok(())
    }

    /// Takes some of the room.
    fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let limit = body::limit(self.engine);
        self.room = self.room.checked_sub(bytes).ok_or_else(|| {
            let problem = Problem::from(PromptError::TooLong { bytes: limit + bytes, limit });
            problem.with("field", "input")
        })?;
        Ok(())
    }
}

/// The thinking of a model whose server says it as it is: it is told as a summary.
fn thought(item: &Value) -> Option<String> {
    let content = item["encrypted_content"].as_str();
    let is_theirs = content.is_some_and(|content| !content.starts_with(CARRIED));
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
    let reader = super::written_out(engine, &row).await?;
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
