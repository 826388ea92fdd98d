//! The conversation that a question goes on in.
use http::header;
use serde_json::{Value, json};

use super::{Client, ClientError};

/// Where a question is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskIn {
    /// In no conversation.
    Nowhere,
    /// In a new one.
    New,
    /// In the one that was last used.
    Last,
    /// In this one.
    Conversation(String),
}

impl Client {
    /// The id of the conversation at `place`; `None` for no conversation.
    ///
    /// # Errors
    /// There is none yet, or see [`ClientError`].
    pub async fn conversation(&self, place: AskIn) -> Result<Option<String>, ClientError> {
        let url = format!("{}/v1/conversations", self.server);
        let request = match place {
            AskIn::Nowhere => return Ok(None),
            AskIn::Conversation(id) => return Ok(Some(id)),
            AskIn::New => self.http.post(url).json(&json!({})),
            AskIn::Last => self.http.get(url + "?limit=1"),
        };
        let response = self.send(request.header(header::ACCEPT, "application/json")).await?;
        let answer: Value = response.json().await.map_err(|error| self.unreachable(error))?;
        let id = answer.get("id").or_else(|| answer.pointer("/data/0/id"));
        let id = id.and_then(Value::as_str).map(str::to_owned);
        let none = "there is no conversation yet: `--conversation new` opens one";
        id.map(Some).ok_or_else(|| ClientError::Flag(none.into()))
    }
}
