//! Rows to conversations and messages.
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::conversations::PgConversations;
use super::rows::{error, placed, readable, unreadable_ending};
use crate::domain::conversation::{AnswerDetails, Content, Conversation, MadeParts, Message};
use crate::domain::event::{Done, Status};
use crate::domain::id::{ConversationId, GenerationId, MessageId};
use crate::domain::prompt::{self, Role};
use crate::domain::thinking;
use crate::domain::transcript::Answer;
use crate::ports::LogError;

/// The columns that [`conversation`] reads, of `conversations c`.
pub(super) const CONVERSATION: &str = "c.id, c.title, c.system, c.metadata::text as metadata, \
    c.active_leaf, c.created_at, c.updated_at, \
    array(select g.id from generations g where g.conversation_id = c.id and g.tenant = c.tenant \
      and g.status in ('queued', 'running', 'cancelling') order by g.id) as running";

/// The columns that [`message`] reads, of `messages m`, and where they come from.
pub(super) const MESSAGE: &str = "m.id, m.parent_id, m.role, m.created_at, \
    coalesce(m.content::text, to_json(coalesce(g.text, m.text))::text) as content, \
    g.id as generation, g.model, g.reasoning, g.refusal, g.tool_calls::text as tool_calls, \
    g.done::text as done, g.status, m.text, m.said::text as said, \
    array(select s.id from messages s where s.conversation_id = m.conversation_id and \
      coalesce(s.parent_id, s.conversation_id) = coalesce(m.parent_id, m.conversation_id) \
      order by s.id) as siblings";

/// The generation that made a message.
pub(super) const MADE_BY: &str = "left join generations g on g.id = m.id and g.tenant = m.tenant";

impl PgConversations {
    /// The conversation in `row`, as far as it can be read.
    pub(super) fn conversation_in(&self, row: &PgRow) -> Result<Conversation, LogError> {
        let mut unreadable = None;
        let conversation = conversation(row, &mut unreadable)?;
        if let Some(why) = unreadable {
            self.log.unreadable.note("conversations", conversation.id.0, &why);
        }
        Ok(conversation)
    }

    /// The message in `row`, as far as it can be read.
    pub(super) fn message_in(&self, row: &PgRow) -> Result<Message, LogError> {
        let mut unreadable = None;
        let message = message(row, &mut unreadable)?;
        if let Some(why) = unreadable {
            self.log.unreadable.note("messages", message.id.0, &why);
        }
        Ok(message)
    }
}

fn conversation(row: &PgRow, unreadable: &mut Why) -> Result<Conversation, LogError> {
    let running: Vec<Uuid> = row.try_get("running").map_err(error)?;
    let leaf: Option<Uuid> = row.try_get("active_leaf").map_err(error)?;
    Ok(Conversation {
        id: ConversationId(row.try_get("id").map_err(error)?),
        title: row.try_get("title").map_err(error)?,
        system: row.try_get("system").map_err(error)?,
        metadata: json(row, "metadata", unreadable)?.unwrap_or_default(),
        active_leaf: leaf.map(MessageId),
        created_at: row.try_get("created_at").map_err(error)?,
        updated_at: row.try_get("updated_at").map_err(error)?,
        running: running.into_iter().map(GenerationId).collect(),
    })
}

fn message(row: &PgRow, unreadable: &mut Why) -> Result<Message, LogError> {
    let generation: Option<Uuid> = row.try_get("generation").map_err(error)?;
    let parent: Option<Uuid> = row.try_get("parent_id").map_err(error)?;
    let siblings: Vec<Uuid> = row.try_get("siblings").map_err(error)?;
    let said = whole(row)?.map(Box::new);
    let mut content = content(row, unreadable)?;
    let mut answer = generation.map(|id| answer(row, id, unreadable).map(Box::new)).transpose()?;
    let made = said.as_deref().zip(answer.as_deref_mut());
    let made = made.map(|(said, answer)| Box::new(leave(said, &mut content, answer)));
    Ok(Message {
        id: MessageId(row.try_get("id").map_err(error)?),
        parent_id: parent.map(MessageId),
        role: role(row)?,
        content,
        said,
        answer,
        made,
        siblings: siblings.into_iter().map(MessageId).collect(),
        created_at: row.try_get("created_at").map_err(error)?,
    })
}

/// Leaves of an answer what was not taken out, and tells what it was made of.
fn leave(said: &prompt::Message, content: &mut Content, answer: &mut AnswerDetails) -> MadeParts {
    let made = MadeParts {
        thought: !answer.reasoning.is_empty(),
        spoke: !content.text().is_empty() || !answer.refusal.is_empty(),
        calls: answer.tool_calls.iter().map(|call| call.id.clone()).collect(),
    };
    *content = Content::Text(said.content.clone());
    answer.reasoning.clear();
    answer.refusal.clear();
    answer.tool_calls.clone_from(&said.tool_calls);
    made
}

/// The content of a message; if its parts cannot be read, its text.
fn content(row: &PgRow, unreadable: &mut Why) -> Result<Content, LogError> {
    if let Some(content) = json(row, "content", unreadable)? {
        return Ok(content);
    }
    row.try_get("text").map(Content::Text).map_err(error)
}

fn answer(row: &PgRow, id: Uuid, unreadable: &mut Why) -> Result<AnswerDetails, LogError> {
    let status: &str = row.try_get("status").map_err(error)?;
    let done: Option<Done> = json(row, "done", unreadable)?;
    let done =
        done.unwrap_or_else(|| unreadable_ending(Status::parse(status).unwrap_or(Status::Failed)));
    let text = |column| {
        row.try_get::<Option<String>, _>(column).map(Option::unwrap_or_default).map_err(error)
    };
    Ok(AnswerDetails {
        generation_id: GenerationId(id),
        model: row.try_get("model").map_err(error)?,
        status: done.status,
        finish_reason: done.finish_reason,
        error: done.error,
        usage: done.usage,
        reasoning: text("reasoning")?,
        refusal: text("refusal")?,
        tool_calls: json(row, "tool_calls", unreadable)?.unwrap_or_default(),
    })
}

/// A message as a model gets it.
pub(super) fn said(row: &PgRow) -> Result<prompt::Message, LogError> {
    if let Some(whole) = whole(row)? {
        return Ok(whole);
    }
    let text: String = row.try_get("text").map_err(error)?;
    let calls: Option<&str> = row.try_get("tool_calls").map_err(error)?;
    let mut message = prompt::Message::text(role(row)?, text);
    message.tool_calls = calls.and_then(|c| serde_json::from_str(c).ok()).unwrap_or_default();
    let extras: Option<&str> = row.try_get("extras").map_err(error)?;
    if let Some(extras) = extras.and_then(|extras| placed(extras).ok()) {
        let reasoning: Option<String> = row.try_get("reasoning").map_err(error)?;
        let reasoning = reasoning.unwrap_or_default();
        message.thinking = thinking::of_answer(&Answer { reasoning, extras, ..Answer::default() });
    }
    Ok(message)
}

/// A message that is more than a text. If it cannot be read, its text is all there is.
fn whole(row: &PgRow) -> Result<Option<prompt::Message>, LogError> {
    let whole: Option<&str> = row.try_get("said").map_err(error)?;
    Ok(whole.and_then(|whole| serde_json::from_str(whole).ok()))
}

fn role(row: &PgRow) -> Result<Role, LogError> {
    let role: &str = row.try_get("role").map_err(error)?;
    Role::parse(role).ok_or_else(|| LogError::Broken(format!("a message's role: {role}")))
}

/// Why something in a row could not be read.
type Why = Option<String>;

fn json<T: DeserializeOwned>(
    row: &PgRow,
    column: &str,
    unreadable: &mut Why,
) -> Result<Option<T>, LogError> {
    let text: &str = row.try_get(column).map_err(error)?;
    Ok(readable(column, text, unreadable))
}
