//! Compaction: what was said before as one item, which clients keep and send back. Its text is
//! the client's own, so nothing hides it.
use crate::domain::left_out::COMPACTED;
use crate::domain::prompt::{Message, Role};

/// The most of a tool's output or of a call's arguments that is kept, in characters.
const MOST: usize = 2000;

/// The messages of the model and of the tools, as the content of an item.
pub(super) fn write(messages: &[Message]) -> String {
    let told: Vec<String> = messages.iter().flat_map(lines).collect();
    format!("{COMPACTED}{}", told.join("\n"))
}

fn lines(message: &Message) -> Vec<String> {
    let said = match message.role {
        Role::User | Role::System | Role::Developer => return Vec::new(),
        Role::Assistant => message.content.clone(),
        Role::Tool => format!("[tool result] {}", cut(&message.content)),
    };
    let called = |call: &crate::domain::transcript::ToolCall| {
        format!("[called {}] {}", call.name, cut(&call.arguments))
    };
    let said = (!said.is_empty()).then_some(said);
    said.into_iter().chain(message.tool_calls.iter().map(called)).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// The messages in an item's content; `None` if there is none or it is not ours.
pub(super) fn read(content: &str) -> Option<Message> {
    let text = content.strip_prefix(COMPACTED).filter(|text| !text.is_empty())?;
    Some(Message::text(Role::Assistant, text))
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::openai_responses::compaction::*;

    #[test]
    fn what_was_said_comes_back_and_what_is_not_ours_is_nothing() {
        let mut tool = Message::text(Role::Tool, "é".repeat(3000));
        tool.tool_call_id = Some("c".into());
        let messages = [Message::text(Role::User, "q"), Message::text(Role::Assistant, "a"), tool];
        let back = read(&write(&messages)).unwrap();
        assert_eq!(back.role, Role::Assistant);
        assert!(back.content.starts_with("a\n[tool result] é") && back.content.ends_with('…'));
        assert!(read(&write(&messages[..1])).is_none());
        for other in ["", "x", "gAAAA", "lastword-2.a"] {
            assert!(read(other).is_none(), "{other}");
        }
    }
}
