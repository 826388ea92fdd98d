//! A replay: an answer that its upstream keeps is heard again from its beginning, and the part in
//! the log is left out. It must be the same piece by piece, so that nothing is repeated or missing,
//! and no other answer is taken for it.
use futures_util::{StreamExt, future, stream};

use crate::domain::event::ToolCallDelta;
use crate::domain::transcript::{Answer, ToolCall};
use crate::ports::{Delta, Deltas, ProviderError};
use crate::providers::upstream::guard::truncated;

/// The deltas of the whole answer without those that add up to `heard`.
pub(crate) fn behind(deltas: Deltas, heard: Answer) -> Deltas {
    let mut replay = Replay::new(heard);
    let checked = deltas.scan(false, move |over, item| {
        if *over {
            return future::ready(None);
        }
        let items = replay.item(item).unwrap_or_else(|Other| {
            *over = true;
            let other = "the answer that the model keeps is not the one that was heard";
            vec![Ok(Delta::Forgotten), Err(truncated(other))]
        });
        future::ready(Some(stream::iter(items)))
    });
    checked.flatten().boxed()
}

/// The replay differs from the earlier text.
struct Other;

/// A text of which the beginning was said again.
#[derive(Default)]
struct Heard {
    text: String,
    again: usize,
}

impl Heard {
    fn new(text: String) -> Self {
        Self { text, again: 0 }
    }

    fn is_over(&self) -> bool {
        self.again == self.text.len()
    }

    /// The new part of `said`.
    fn new_of(&mut self, mut said: String) -> Result<String, Other> {
        let left = self.text.get(self.again..).unwrap_or_default();
        if left.is_empty() {
            return Ok(said);
        }
        let same = left.len().min(said.len());
        if left.as_bytes().get(..same) != said.as_bytes().get(..same) {
            return Err(Other);
        }
        self.again += same;
        Ok(said.split_off(same))
    }
}

struct Replay {
    text: Heard,
    reasoning: Heard,
    refusal: Heard,
    calls: Vec<(ToolCall, Heard)>,
    /// Extras that were told before: the same answer has the same again.
    extras: usize,
}

impl Replay {
    fn new(heard: Answer) -> Self {
        let call = |mut call: ToolCall| {
            let arguments = Heard::new(std::mem::take(&mut call.arguments));
            (call, arguments)
        };
        Self {
            text: Heard::new(heard.text),
            reasoning: Heard::new(heard.reasoning),
            refusal: Heard::new(heard.refusal),
            calls: heard.tool_calls.into_iter().map(call).collect(),
            extras: heard.extras.len(),
        }
    }

    fn is_over(&self) -> bool {
        let texts = [&self.text, &self.reasoning, &self.refusal];
        texts.into_iter().chain(self.calls.iter().map(|(_, heard)| heard)).all(Heard::is_over)
    }

    fn item(
        &mut self,
        item: Result<Delta, ProviderError>,
    ) -> Result<Vec<Result<Delta, ProviderError>>, Other> {
        let new = match item {
            Ok(Delta::Text(text)) => text_only(self.text.new_of(text)?, Delta::Text),
            Ok(Delta::Reasoning(text)) => text_only(self.reasoning.new_of(text)?, Delta::Reasoning),
            Ok(Delta::Refusal(text)) => text_only(self.refusal.new_of(text)?, Delta::Refusal),
            Ok(Delta::ToolCall(call)) => self.call(call)?.map(Delta::ToolCall),
            Ok(Delta::Extra(_)) if self.extras > 0 => {
                self.extras -= 1;
                None
            }
            // Told before.
            Ok(Delta::Notice { .. }) if !self.is_over() => None,
            Ok(Delta::Finish { .. }) if !self.is_over() => return Err(Other),
            Ok(
                other @ (Delta::Notice { .. }
                | Delta::Extra(_)
                | Delta::Usage(_)
                | Delta::Background(_)
                | Delta::Forgotten
                | Delta::Repeated(_)
                | Delta::AskedAgain
                | Delta::Finish { .. }),
            ) => Some(other),
            Err(loss) => return Ok(vec![Err(loss)]),
        };
        Ok(new.map(Ok).into_iter().collect())
    }

    fn call(&mut self, mut call: ToolCallDelta) -> Result<Option<ToolCallDelta>, Other> {
        let place = usize::try_from(call.index).unwrap_or(usize::MAX);
        let Some((known, arguments)) = self.calls.get_mut(place) else { return Ok(Some(call)) };
        for (word, known) in [(&mut call.id, &mut known.id), (&mut call.name, &mut known.name)] {
            if word.as_ref().is_some_and(|word| word == known) {
                *word = None;
            } else if word.is_some() && !known.is_empty() {
                return Err(Other);
            }
        }
        call.arguments = arguments.new_of(call.arguments)?;
        let empty = call.id.is_none() && call.name.is_none() && call.arguments.is_empty();
        Ok((!empty).then_some(call))
    }
}

fn text_only(text: String, delta: fn(String) -> Delta) -> Option<Delta> {
    (!text.is_empty()).then(|| delta(text))
}

#[cfg(test)]
mod tests {
    use crate::domain::event::FinishReason;
    use crate::providers::responses::replay::*;

    const FINISH: Delta = Delta::Finish { reason: FinishReason::Stop, raw: None };

    fn call(index: u32, id: Option<&str>, arguments: &str) -> Delta {
        let (id, name) = (id.map(Into::into), id.map(|_| "f".into()));
        Delta::ToolCall(ToolCallDelta {
            index,
            id,
            name,
            arguments: arguments.into(),
            ..ToolCallDelta::default()
        })
    }

    async fn heard(again: Vec<Delta>, heard: Answer) -> Vec<Result<Delta, ProviderError>> {
        behind(stream::iter(again.into_iter().map(Ok)).boxed(), heard).collect().await
    }

    #[tokio::test]
    async fn what_was_heard_is_left_out_wherever_it_is_cut() {
        let whole = "Once 🦀 upon";
        for (at, _) in whole.char_indices() {
            for (cut, _) in whole.char_indices() {
                let again = vec![
                    Delta::Reasoning("hm".into()),
                    Delta::Notice { code: "x", message: String::new() },
                    Delta::Text(whole[..cut].into()),
                    Delta::Text(whole[cut..].into()),
                    FINISH,
                ];
                let said = Answer {
                    text: whole[..at].into(),
                    reasoning: "hm".into(),
                    ..Answer::default()
                };
                let rest = heard(again, said).await;
                let text = rest.iter().filter_map(|d| match d {
                    Ok(Delta::Text(text)) => Some(text.as_str()),
                    _ => None,
                });
                assert_eq!(text.collect::<String>(), whole[at..], "{at} {cut}");
                assert_eq!(rest.last(), Some(&Ok(FINISH)));
                assert!(!rest.iter().any(|d| matches!(d, Ok(Delta::Reasoning(_)))));
            }
        }
    }

    #[tokio::test]
    async fn another_answer_is_not_taken_for_it() {
        let said = Answer { text: "Once upon".into(), ..Answer::default() };
        for again in [
            vec![Delta::Text("Twice".into()), Delta::Text("more".into())],
            vec![Delta::Text("Once".into()), FINISH],
        ] {
            let rest = heard(again, said.clone()).await;
            let [Ok(Delta::Forgotten), Err(loss)] = rest.as_slice() else { panic!("{rest:?}") };
            assert!(loss.retryable);
        }
    }

    #[tokio::test]
    async fn tool_calls_go_on_too() {
        let known = ToolCall {
            id: "a".into(),
            name: "f".into(),
            arguments: "{\"x\"".into(),
            ..ToolCall::default()
        };
        let said = Answer { tool_calls: vec![known], ..Answer::default() };
        let again =
            vec![call(0, Some("a"), ""), call(0, None, "{\"x\":1}"), call(1, Some("b"), "{}")];
        let rest: Vec<Delta> = heard(again, said).await.into_iter().flatten().collect();
        assert_eq!(rest, [call(0, None, ":1}"), call(1, Some("b"), "{}")]);
    }
}
