//! A response in a conversation: its input is added at the end of the active branch, and its answer
//! behind that.
use serde_json::{Value, json};

use crate::domain::conversation::{ParentAsked, TurnAsked};
use crate::domain::id::{ConversationId, Tenant};
use crate::domain::nearest;
use crate::domain::prompt::Message;
use crate::engine::{ConverseError, Engine};
use crate::http::conversation_id;
use crate::http::problem::Problem;
use crate::http::protocols::openai::conversations::new_message;
use crate::http::protocols::openai::fields::{Fields, unsupported};
use crate::ports::ConversationAt;

/// The conversation that a body names, and how its response shows it.
///
/// # Errors
/// 404 for one that is nobody's or somebody else's, in the same words; 422 beside a
/// `previous_response_id`.
pub(super) async fn named(
    engine: &Engine,
    tenant: &Tenant,
    fields: &mut Fields,
) -> Result<Option<(ConversationId, Value)>, Problem> {
    let Some(value) = fields.take::<Value>("conversation")? else { return Ok(None) };
    if fields.has("previous_response_id") {
        let why = "give either this or `previous_response_id`";
        return Err(unsupported("conversation", why));
    }
    let id = value.as_str().or_else(|| value["id"].as_str());
    let id = id.ok_or_else(|| unsupported("conversation", "an id, or an object with an `id`"))?;
    let unknown = || {
        let detail = format!("there is no conversation of the id `{}`", nearest::shown(id));
        Problem::not_found(detail).with("field", "conversation")
    };
    let conversation = conversation_id(id).ok_or_else(unknown)?;
    let at = ConversationAt { tenant: tenant.clone(), id: conversation };
    match engine.conversation(&at).await {
        Ok(_) => Ok(Some((conversation, json!({ "id": id })))),
        Err(ConverseError::NotFound) => Err(unknown()),
        Err(error) => Err(error.into()),
    }
}

/// The messages that a request adds to the conversation. Its instructions are for this one answer.
pub(super) fn turn(
    conversation: ConversationId,
    instructions: Option<String>,
    messages: &[Message],
) -> TurnAsked {
    let said = messages.iter().skip(usize::from(instructions.is_some())).cloned();
    TurnAsked {
        conversation,
        parent: ParentAsked::Active,
        concurrent: false,
        system: instructions,
        messages: said.map(new_message).collect(),
        earlier: None,
    }
}
