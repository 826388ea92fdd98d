//! The windows of Ollama's models. Its list does not tell them, and a prompt above the window loses
//! its beginning there without a word.
use std::num::NonZeroU32;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Found, body, sight};

/// Models that are asked about; each is a request.
const MOST: usize = 32;

/// Fills in the windows that the server at `address` tells.
pub(super) async fn fill(http: &reqwest::Client, address: &str, models: &mut [Found]) {
    let asked = join_all(models.iter().take(MOST).map(|model| shown(http, address, &model.name)));
    let loaded = body(http.get(format!("{address}/api/ps")));
    let (set, loaded) = tokio::join!(asked, loaded);
    let loaded = loaded.unwrap_or_default();
    for (model, shown) in models.iter_mut().zip(set) {
        let shown = shown.unwrap_or_default();
        model.context_tokens = of_loaded(&loaded, &model.name).or(of_file(&shown));
        model.pictures = sight::of_ollama(&shown);
    }
}

/// The window of a loaded model, whatever set it.
fn of_loaded(loaded: &Value, name: &str) -> Option<NonZeroU32> {
    let mut models = loaded.get("models")?.as_array()?.iter();
    tokens(
        models.find(|model| model.get("name").is_some_and(|n| n == name))?.get("context_length")?,
    )
}

/// The window in the model's own file. Without it the server's default holds, which is nowhere
/// told. The largest possible window of the model (`model_info`) is not the one that it gets.
fn of_file(shown: &Value) -> Option<NonZeroU32> {
    let lines = shown.get("parameters")?.as_str()?.lines();
    let mut words = lines.map(str::split_whitespace);
    words.find_map(|mut words| {
        (words.next()? == "num_ctx").then_some(())?;
        NonZeroU32::new(words.next()?.parse().ok()?)
    })
}

async fn shown(http: &reqwest::Client, address: &str, name: &str) -> Option<Value> {
    body(http.post(format!("{address}/api/show")).json(&json!({ "model": name }))).await
}

fn tokens(value: &Value) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(value.as_u64()?).ok()?)
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::local::windows::*;

    #[test]
    fn a_window_is_what_is_loaded_or_what_the_file_sets() {
        let loaded = json!({ "models": [{ "name": "a:latest", "context_length": 8192 }] });
        assert_eq!(of_loaded(&loaded, "a:latest").map(u32::from), Some(8192));
        assert_eq!(of_loaded(&loaded, "b"), None);
        let info = json!({ "llama.context_length": 131_072 });
        let shown = |parameters: &str| json!({ "parameters": parameters, "model_info": info });
        let set = shown("stop    \"<|end|>\"\nnum_ctx                        4096");
        assert_eq!(of_file(&set).map(u32::from), Some(4096));
        assert_eq!(of_file(&shown("stop    \"num_ctx 1\"")), None);
        assert_eq!(of_file(&json!({})), None);
    }
}
