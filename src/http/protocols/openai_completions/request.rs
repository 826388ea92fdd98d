//! The body of `POST /v1/completions`, and the chat completion that asks the same.
use actix_web::http::StatusCode;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::domain::prompt::PromptError;
use crate::http::problem::Problem;
use crate::http::protocols::openai::fields::{Body, missing, read, unsupported};
use crate::http::protocols::openai::texts::TextOr;

/// Fields of chat completions, which a prompt stands in for or whose answer has no place here.
const OF_CHAT: [&str; 4] = ["messages", "tools", "functions", "audio"];

/// The body as one of a chat completion: the prompt is a message of the user's, and every other
/// field stays as it came.
///
/// # Errors
/// 422 for what a chat model cannot be asked, by its name.
pub(super) fn as_chat(mut body: Body) -> Result<Body, Problem> {
    body.retain(|_, value| value.get() != "null");
    if let Some(name) = OF_CHAT.into_iter().find(|name| body.contains_key(*name)) {
        return Err(unsupported(name, "this is for /v1/chat/completions"));
    }
    let prompt = prompt(&mut body)?;
    refuse_more_than_text(&mut body)?;
    if let Some(count) = take::<Value>(&mut body, "logprobs")? {
        log_probabilities(&mut body, &count)?;
    }
    let messages = json!([{ "role": "user", "content": prompt }]);
    body.insert("messages".into(), raw(&messages)?);
    Ok(body)
}

fn prompt(body: &mut Body) -> Result<String, Problem> {
    let prompt = match take(body, "prompt")?.ok_or_else(|| missing("prompt"))? {
        TextOr::Text(text) => text,
        TextOr::List(list) => match <[Value; 1]>::try_from(list) {
            Ok([Value::String(text)]) => text,
            Ok([Value::Number(_) | Value::Array(_)]) => return Err(numbers()),
            Ok([Value::Null | Value::Bool(_) | Value::Object(_)]) => {
                return Err(unsupported("prompt", "it is a text"));
            }
            Err(list) if list.first().is_some_and(Value::is_number) => return Err(numbers()),
            Err(_) => return Err(unsupported("prompt", "one prompt a request")),
        },
    };
    if prompt.trim().is_empty() {
        return Err(PromptError::Empty { field: "prompt".into() }.into());
    }
    Ok(prompt)
}

fn numbers() -> Problem {
    unsupported("prompt", "numbers of tokens mean nothing to a chat model: send the text")
}

/// Refuses fields that change the answer and have no place in a chat completion.
fn refuse_more_than_text(body: &mut Body) -> Result<(), Problem> {
    if take::<String>(body, "suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        let why = "a chat model does not fill in a gap: put both sides into the prompt";
        return Err(unsupported("suffix", why));
    }
    if take::<bool>(body, "echo")? == Some(true) {
        return Err(unsupported("echo", "the answer is what the model says: you have the prompt"));
    }
    if take::<u64>(body, "best_of")?.is_some_and(|count| count > 1) {
        return Err(unsupported("best_of", "one answer is made"));
    }
    Ok(())
}

/// `logprobs: 2` is `logprobs: true` and `top_logprobs: 2` there.
fn log_probabilities(body: &mut Body, count: &Value) -> Result<(), Problem> {
    if *count == Value::Bool(false) {
        return Ok(());
    }
    let count = count.as_u64().ok_or_else(|| {
        let detail = "`logprobs`: it is a number of alternatives";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_type", detail)
            .with("field", "logprobs")
    })?;
    body.insert("logprobs".into(), raw(&json!(true))?);
    body.insert("top_logprobs".into(), raw(&json!(count))?);
    Ok(())
}

fn take<T: serde::de::DeserializeOwned>(body: &mut Body, name: &str) -> Result<Option<T>, Problem> {
    body.remove(name).map(|value| read(name, &value)).transpose()
}

fn raw(value: &Value) -> Result<Box<RawValue>, Problem> {
    to_raw_value(value).map_err(|_| Problem::internal())
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::openai_completions::request::*;

    fn chat(body: &str) -> Result<String, Problem> {
        let body = as_chat(serde_json::from_str(body).unwrap())?;
        Ok(serde_json::to_string(&body).unwrap())
    }

    #[test]
    fn a_prompt_is_a_message_and_the_rest_stays_as_it_came() {
        let messages = r#""messages":[{"role":"user","content":"hi"}]"#;
        for prompt in [r#""hi""#, r#"["hi"]"#] {
            let body = format!(
                r#"{{"prompt":{prompt},"ignore_eos":true,"temperature":1.0,"suffix":"","echo":false,
                "best_of":1,"logprobs":null,"max_tokens":5}}"#
            );
            let chat = chat(&body).unwrap();
            assert_eq!(
                chat,
                format!(r#"{{"ignore_eos":true,"max_tokens":5,{messages},"temperature":1.0}}"#)
            );
        }
        let chat = chat(r#"{"prompt":"hi","logprobs":2}"#).unwrap();
        assert_eq!(chat, format!(r#"{{"logprobs":true,{messages},"top_logprobs":2}}"#));
    }

    #[test]
    fn what_a_chat_model_cannot_be_asked_is_refused_by_name() {
        for (body, field) in [
            (r"{}", "prompt"),
            (r#"{"prompt":null}"#, "prompt"),
            (r#"{"prompt":""}"#, "prompt"),
            (r#"{"prompt":[]}"#, "prompt"),
            (r#"{"prompt":["a","b"]}"#, "prompt"),
            (r#"{"prompt":[1,2]}"#, "prompt"),
            (r#"{"prompt":[[1,2]]}"#, "prompt"),
            (r#"{"prompt":[{}]}"#, "prompt"),
            (r#"{"prompt":7}"#, "prompt"),
            (r#"{"prompt":"a","suffix":"b"}"#, "suffix"),
            (r#"{"prompt":"a","echo":true}"#, "echo"),
            (r#"{"prompt":"a","best_of":2}"#, "best_of"),
            (r#"{"prompt":"a","logprobs":"x"}"#, "logprobs"),
            (r#"{"prompt":"a","messages":[]}"#, "messages"),
            (r#"{"prompt":"a","tools":[]}"#, "tools"),
        ] {
            assert_eq!(chat(body).unwrap_err().field(), Some(field), "{body}");
        }
    }
}
