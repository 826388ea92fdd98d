//! `models`: what a prompt can name.
use std::io::{self, Write};

use http::header;
use serde_json::Value;

use super::{Client, ClientError, Output};

/// Lists the models, a name each line, the default first; or each as the server describes it.
///
/// # Errors
/// See [`ClientError`].
pub async fn models(client: &Client, output: Output) -> Result<u8, ClientError> {
    let request = client.http.get(format!("{}/v1/models", client.server));
    let response = client.send(request.header(header::ACCEPT, "application/json")).await?;
    let listed: Value = response.json().await.map_err(|error| client.unreachable(error))?;
    let listed = listed.get("data").and_then(Value::as_array);
    let mut all: Vec<&Value> = listed.into_iter().flatten().collect();
    all.sort_by_key(|model| model.get("default") != Some(&Value::Bool(true)));
    let mut out = io::stdout().lock();
    for model in all {
        if output.json {
            writeln!(out, "{model}")?;
        } else if let Some(name) = model.get("id").and_then(Value::as_str) {
            writeln!(out, "{name}")?;
        }
    }
    Ok(0)
}
