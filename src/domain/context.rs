//! The part of a conversation that a model gets: all that fits, cut at whole turns.
use std::collections::HashSet;

use super::prompt::{IMAGE_TOKENS, Message, Role, estimate_tokens};

/// The messages for the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// In their order.
    pub messages: Vec<Message>,
    /// How many messages of the branch were left out.
    pub left_out: u64,
}

/// The newest turns of `branch` that fit into `tokens`, by the rough count of
/// [`estimate_tokens`].
///
/// A turn is a user's message with what follows it up to the next one. The oldest turns go first,
/// each as a whole. The newest one stays, however long, and so do `system` and every system message
/// within the branch. `missing` messages, all older, are left out already.
#[must_use]
pub fn fit(system: Option<String>, branch: Vec<Message>, missing: u64, tokens: u64) -> Context {
    // An answer that ended before its first word is left out. A tool's result stays, however short:
    // its call waits for it.
    let says = |m: &Message| !m.is_empty() || m.tool_call_id.is_some();
    let branch: Vec<Message> = with_thoughts(branch).into_iter().filter(says).collect();
    let from = first_kept(&branch, missing, tokens.saturating_sub(always(&system, &branch)));
    let kept = |n: usize, m: &Message| n >= from || is_system(m);
    let all = branch.len();
    let rest = branch.into_iter().enumerate().filter(|(n, m)| kept(*n, m)).map(|(_, m)| m);
    let rest = without_lost_results(rest.collect());
    let left_out = missing + (all - rest.len()) as u64;
    let system = system.map(|content| Message::text(Role::System, content));
    Context { messages: system.into_iter().chain(rest).collect(), left_out }
}

/// Joins thinking that stands alone with what it led to, which comes behind it.
fn with_thoughts(branch: Vec<Message>) -> Vec<Message> {
    let mut joined: Vec<Message> = Vec::with_capacity(branch.len());
    for mut message in branch {
        if message.role == Role::Assistant
            && let Some(thought) = joined.pop_if(|last| last.is_only_thought())
        {
            message.reasoning.insert_str(0, &thought.reasoning);
            message.thinking.splice(0..0, thought.thinking);
        }
        joined.push(message);
    }
    joined
}

/// Takes out results of tools whose calls were cut off: no model's server takes these.
fn without_lost_results(branch: Vec<Message>) -> Vec<Message> {
    let mut calls = HashSet::new();
    let mut kept = Vec::with_capacity(branch.len());
    for message in branch {
        if message.tool_call_id.as_ref().is_some_and(|id| !calls.contains(id)) {
            continue;
        }
        calls.extend(message.tool_calls.iter().map(|call| call.id.clone()));
        kept.push(message);
    }
    kept
}

/// Tokens of what stays in any case, but for the newest turn.
fn always(system: &Option<String>, branch: &[Message]) -> u64 {
    let inside: u64 = branch.iter().filter(|m| is_system(m)).map(cost).sum();
    inside + system.as_deref().map_or(0, estimate_tokens)
}

/// Where the oldest turn begins that stays.
fn first_kept(branch: &[Message], missing: u64, mut room: u64) -> usize {
    let mut starts: Vec<usize> =
        (0..branch.len()).filter(|n| branch[*n].role == Role::User).collect();
    // Messages before the first question are the rest of a turn that was cut, or a greeting.
    if missing == 0 && starts.first() != Some(&0) {
        starts.insert(0, 0);
    }
    let mut end = branch.len();
    let mut from = starts.last().copied().unwrap_or_default();
    for start in starts.into_iter().rev() {
        let turn: u64 = branch[start..end].iter().filter(|m| !is_system(m)).map(cost).sum();
        if turn > room && end < branch.len() {
            break;
        }
        room = room.saturating_sub(turn);
        (from, end) = (start, start);
    }
    from
}

fn cost(message: &Message) -> u64 {
    let pictures = message.images.len() as u64;
    estimate_tokens(&message.content) + pictures * IMAGE_TOKENS
}

fn is_system(message: &Message) -> bool {
    match message.role {
        Role::System | Role::Developer => true,
        Role::User | Role::Assistant | Role::Tool => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::transcript::ToolCall;

    /// `u3` is a user's message of three tokens; s, a likewise.
    fn branch(words: &str) -> Vec<Message> {
        let one = |word: &str| {
            let role = match &word[..1] {
                "s" => Role::System,
                "a" => Role::Assistant,
                _ => Role::User,
            };
            let tokens: usize = word[1..].parse().unwrap();
            Message::text(role, "xxxx".repeat(tokens))
        };
        words.split_whitespace().map(one).collect()
    }

    fn shown(context: &Context) -> String {
        let one = |m: &Message| {
            let role = serde_json::to_value(m.role).unwrap();
            format!("{}{}", &role.as_str().unwrap()[..1], cost(m))
        };
        context.messages.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn whole_turns_go_oldest_first() {
        let all = "u2 a2 u2 a2 u1";
        let rows =
            [(9, all, 0), (8, "u2 a2 u1", 2), (5, "u2 a2 u1", 2), (4, "u1", 4), (0, "u1", 4)];
        for (tokens, expected, left_out) in rows {
            let context = fit(None, branch(all), 0, tokens);
            assert_eq!((shown(&context).as_str(), context.left_out), (expected, left_out));
        }
    }

    #[test]
    fn system_and_the_newest_question_stay() {
        let context = fit(Some("xxxx".repeat(3)), branch("u1 s2 a1 u9"), 0, 1);
        assert_eq!((shown(&context).as_str(), context.left_out), ("s3 s2 u9", 2));
        let context = fit(Some("xxxx".repeat(3)), branch("u1 s2 a1 u1"), 0, 8);
        assert_eq!((shown(&context).as_str(), context.left_out), ("s3 u1 s2 a1 u1", 0));
    }

    #[test]
    fn a_tools_result_goes_with_its_call() {
        let call = |id: &str| {
            let mut message = Message::text(Role::Assistant, "");
            message.tool_calls.push(ToolCall {
                id: id.into(),
                name: "f".into(),
                arguments: "{}".into(),
                ..ToolCall::default()
            });
            message
        };
        let result = |id: &str| {
            let mut message = Message::text(Role::Tool, "xxxx");
            message.tool_call_id = Some(id.into());
            message
        };
        let user = || Message::text(Role::User, "xxxx");
        // The store has cut off the call of the first result, and the question before it.
        let branch = vec![result("c1"), call("c2"), result("c2")];
        let context = fit(None, branch.clone(), 2, 100);
        assert_eq!((context.messages, context.left_out), (branch[1..].to_vec(), 3));
        // A question between a call and its result is where the branch is cut.
        let branch = vec![user(), call("c1"), user(), result("c1"), user()];
        let context = fit(None, branch.clone(), 0, 3);
        assert_eq!((context.messages, context.left_out), (vec![user(), user()], 3));
        assert_eq!(fit(None, branch.clone(), 0, 100).messages, branch);
    }

    #[test]
    fn half_a_turn_goes_too_and_silence_is_no_message() {
        let context = fit(None, branch("a1 u1 a1 u1"), 5, 100);
        assert_eq!((shown(&context).as_str(), context.left_out), ("u1 a1 u1", 6));
        let context = fit(None, branch("a1 u1 a0 u1"), 0, 100);
        assert_eq!((shown(&context).as_str(), context.left_out), ("a1 u1 u1", 0), "a greeting");
    }

    proptest! {
        /// It fits, or is as short as the rule allows; and one turn more would not fit.
        #[test]
        fn as_much_as_fits(sizes in prop::collection::vec(0u64..9, 1..12), tokens in 0u64..60) {
            let words: Vec<String> = sizes.iter().enumerate()
                .map(|(n, size)| format!("{}{}", ["u", "a"][n % 2], size + 1)).collect();
            let whole = branch(&words.join(" "));
            let context = fit(None, whole.clone(), 0, tokens);
            let cost_of = |m: &[Message]| m.iter().map(cost).sum::<u64>();
            let turns = context.messages.iter().filter(|m| m.role == Role::User).count();
            prop_assert!(cost_of(&context.messages) <= tokens || turns == 1);
            prop_assert!(whole.ends_with(&context.messages));
            let left = whole.len() - context.messages.len();
            prop_assert_eq!(left as u64, context.left_out);
            if left > 0 {
                prop_assert!(cost_of(&whole[left - 2..]) > tokens);
            }
        }
    }
}
