//! Whether models see pictures, as their servers say it.
use serde_json::Value;

use super::{Found, body};

/// Fills in what llama.cpp tells of its one model. Other servers of its list do not tell.
pub(super) async fn fill(http: &reqwest::Client, address: &str, models: &mut [Found]) {
    let [model] = models else { return };
    if model.server == Some("llama.cpp") {
        let told = body(http.get(format!("{address}/props"))).await.unwrap_or_default();
        model.pictures = of_llama_cpp(&told);
    }
}

/// By the modalities of llama.cpp's `/props`.
fn of_llama_cpp(props: &Value) -> Option<bool> {
    props.pointer("/modalities/vision")?.as_bool()
}

/// By the capabilities of Ollama's `/api/show`, which servers of 2025 and later list.
pub(super) fn of_ollama(shown: &Value) -> Option<bool> {
    let capabilities = shown.get("capabilities")?.as_array()?;
    Some(capabilities.iter().any(|one| one == "vision"))
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::local::sight::*;
    use serde_json::json;

    #[test]
    fn a_model_sees_where_its_server_says_so() {
        let props = |vision: bool| json!({ "modalities": { "vision": vision, "audio": false } });
        assert_eq!(of_llama_cpp(&props(true)), Some(true));
        assert_eq!(of_llama_cpp(&props(false)), Some(false));
        assert_eq!(of_llama_cpp(&json!({})), None, "an older server does not say");
        assert_eq!(of_ollama(&json!({ "capabilities": ["completion", "vision"] })), Some(true));
        assert_eq!(of_ollama(&json!({ "capabilities": ["completion"] })), Some(false));
        assert_eq!(of_ollama(&json!({})), None);
    }
}
