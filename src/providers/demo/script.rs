//! One attempt of the demo model, line by line, without its pace.
use std::str::SplitInclusive;

use super::directives::Directives;
use super::partner::{Call, Wanted, wanted};
use super::text::{Chance, DemoText, Style, seed_of};
use crate::domain::event::{ErrorCode, FinishReason, ToolCallDelta, Usage};
use crate::ports::{Attempt, Delta, ProviderError};
use crate::providers::upstream::guard::{lost, truncated};

/// Without a directive the answer ends with the first paragraph that reaches so many tokens.
const USUAL_TOKENS: u64 = 90;

/// The length of a stamp in bytes: `@`, 16 digits, a space.
const STAMP: usize = 18;

const REASONING: &str = "Let me see what was asked. There are words in it that I can use. \
    First I say what I am, then the prepared sentences, one token after the other. ";

const REFUSAL: &str = "I would rather not, said the demo, because its prompt asked it to decline. ";

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DemoStep {
    /// This comes.
    Say(Delta),
    /// The time when it is due comes, but not its first bytes.
    Stamp {
        /// How many were said before.
        skip: usize,
    },
    /// Nothing, for the directives' `stall_s`.
    Stall,
    /// The attempt is lost.
    Lose(ProviderError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reasoning,
    Answer,
    Refusal,
    ToolCall { fragment: usize },
    Lost,
    Usage,
    Finish,
    Over,
}

/// The output of one attempt, and the position in it.
#[derive(Debug)]
pub(crate) struct Script {
    directives: Directives,
    phase: Phase,
    text: DemoText,
    reasoning: SplitInclusive<'static, char>,
    refusal: SplitInclusive<'static, char>,
    /// The rest of a token that the text so far ends in.
    head: Option<String>,
    stamp_head: usize,
    /// Tokens of answer, of earlier attempts included.
    answered: u64,
    /// Of these, the tokens that another generation has said: a limit does not count them.
    given: u64,
    max_tokens: Option<u64>,
    /// The call that its client wants.
    call: Option<Call>,
    /// The text is JSON, and over where that is.
    json: bool,
    usage: Usage,
    spoken: u32,
    chance: Chance,
}

impl Script {
    /// The script that answers `attempt`, from behind its text so far.
    ///
    /// # Errors
    /// The text so far is not the beginning of what this script says.
    pub(crate) fn new(attempt: &Attempt, directives: Directives) -> Result<Self, ProviderError> {
        let prompt = &attempt.prompt;
        let asked = prompt.last_user_text();
        let style = match (directives.markdown, directives.unicode) {
            (true, _) => Style::Markdown,
            (false, true) => Style::Unicode,
            (false, false) => Style::Prose,
        };
        let seed = directives.seed.or_else(|| prompt.parameters.seed.map(i64::cast_unsigned));
        let seed = seed.unwrap_or_else(|| seed_of(prompt));
        let topics = if Directives::are_in(asked) { "" } else { asked };
        let (mut call, mut json, mut text) = (None, false, DemoText::new(seed, style, topics));
        match wanted(prompt) {
            Some(Wanted::Call(wanted)) => call = Some(wanted),
            Some(Wanted::Json(form)) => {
                json = true;
                text = text.behind(form);
            }
            Some(Wanted::Lead(lead)) => text = text.behind(lead),
            None => {}
        }
        let mut script = Self {
            phase: Phase::Answer,
            text,
            call,
            json,
            reasoning: REASONING.split_inclusive(' '),
            refusal: REFUSAL.split_inclusive(' '),
            head: None,
            stamp_head: 0,
            answered: 0,
            given: 0,
            max_tokens: prompt.parameters.max_output_tokens.map(u64::from),
            usage: Usage {
                input_tokens: prompt.estimated_tokens(),
                exact: true,
                ..Usage::default()
            },
            spoken: 0,
            chance: Chance(seed),
            directives,
        };
        if attempt.so_far.is_empty() {
            script.phase = script.first_phase();
        } else {
            script.skip(&attempt.so_far, attempt.given)?;
        }
        Ok(script)
    }

    /// The next line; `None` after the last.
    pub(crate) fn next_step(&mut self) -> Option<DemoStep> {
        loop {
            match self.phase {
                Phase::Reasoning => match self.reasoning.next() {
                    Some(word) => return Some(self.think(word)),
                    None => self.phase = self.answer_phase(),
                },
                Phase::Answer => {
                    if let Some(line) = self.answer() {
                        return Some(line);
                    }
                }
                Phase::Refusal => match self.refusal.next() {
                    Some(word) => return Some(self.speak(Delta::Refusal(word.into()))),
                    None => self.phase = Phase::Usage,
                },
                Phase::ToolCall { fragment } => match self.fragment(fragment) {
                    Some(call) => {
                        self.phase = Phase::ToolCall { fragment: fragment + 1 };
                        return Some(self.speak(Delta::ToolCall(call)));
                    }
                    None => self.phase = Phase::Usage,
                },
                Phase::Lost if self.usage.output_tokens == 0 => return self.lose(),
                Phase::Lost => {
                    let usage = std::mem::take(&mut self.usage);
                    return Some(DemoStep::Say(Delta::Usage(usage)));
                }
                Phase::Usage => {
                    self.phase = Phase::Finish;
                    return Some(DemoStep::Say(Delta::Usage(self.usage)));
                }
                Phase::Finish => {
                    self.phase = Phase::Over;
                    let reason = self.finish_reason();
                    return Some(DemoStep::Say(Delta::Finish { reason, raw: None }));
                }
                Phase::Over => return None,
            }
        }
    }

    /// How many tokens this attempt has said.
    pub(crate) fn spoken(&self) -> u32 {
        self.spoken
    }

    /// A number from 0 to 1, for the jitter.
    pub(crate) fn chance(&mut self) -> f64 {
        if self.directives.jitter == 0.0 {
            return 0.5;
        }
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let part = (self.chance.next() >> 11) as f64 / (1u64 << 53) as f64;
        part
    }

    fn first_phase(&self) -> Phase {
        if self.directives.reasoning { Phase::Reasoning } else { self.answer_phase() }
    }

    fn answer_phase(&self) -> Phase {
        match (self.directives.refusal, &self.call) {
            (true, _) => Phase::Refusal,
            (false, Some(_)) => Phase::ToolCall { fragment: 0 },
            (false, None) => Phase::Answer,
        }
    }

    fn fragment(&self, number: usize) -> Option<ToolCallDelta> {
        match &self.call {
            Some(call) => call.piece(number),
            None => tool_call(number),
        }
    }

    fn answer(&mut self) -> Option<DemoStep> {
        let d = &self.directives;
        if d.fail_at.is_some_and(|at| self.answered >= at) {
            self.phase = Phase::Lost;
            return None;
        }
        if d.stall_at == Some(self.answered) {
            self.directives.stall_at = None;
            return Some(DemoStep::Stall);
        }
        if self.is_over() {
            self.phase = if d.tool_call { Phase::ToolCall { fragment: 0 } } else { Phase::Usage };
            return None;
        }
        self.answered += 1;
        if self.directives.stamp {
            let skip = std::mem::take(&mut self.stamp_head);
            self.count_token();
            return Some(DemoStep::Stamp { skip });
        }
        let token = self.head.take().unwrap_or_else(|| self.text.next_token().to_owned());
        Some(self.speak(Delta::Text(token)))
    }

    fn is_over(&self) -> bool {
        if self.json {
            let said = self.head.is_none() && self.text.is_at_end_of_block();
            return (said && self.answered > 0) || self.is_cut();
        }
        let enough = match self.directives.tokens {
            Some(tokens) if self.directives.length => self.answered - self.given >= tokens,
            Some(tokens) => self.answered >= tokens,
            None if self.directives.stamp => self.answered >= USUAL_TOKENS,
            // With a head there is still the rest of a token to be said.
            None => {
                let said = self.head.is_none() && self.text.is_at_end_of_block();
                said && self.answered >= USUAL_TOKENS
            }
        };
        enough || self.is_cut()
    }

    fn is_cut(&self) -> bool {
        self.max_tokens.is_some_and(|max| self.answered - self.given >= max)
    }

    fn think(&mut self, word: &str) -> DemoStep {
        self.usage.reasoning_tokens = Some(self.usage.reasoning_tokens.unwrap_or(0) + 1);
        self.speak(Delta::Reasoning(word.into()))
    }

    fn speak(&mut self, delta: Delta) -> DemoStep {
        self.count_token();
        DemoStep::Say(delta)
    }

    fn count_token(&mut self) {
        self.spoken += 1;
        self.usage.output_tokens += 1;
    }

    fn lose(&mut self) -> Option<DemoStep> {
        self.phase = Phase::Over;
        Some(DemoStep::Lose(truncated("the demo broke off, as its prompt asked it to")))
    }

    fn finish_reason(&self) -> FinishReason {
        let d = &self.directives;
        if d.refusal {
            FinishReason::Refusal
        } else if d.length || (self.is_cut() && d.tokens.is_none_or(|n| self.answered < n)) {
            FinishReason::Length
        } else if d.tool_call || self.call.is_some() {
            FinishReason::ToolCalls
        } else {
            FinishReason::Stop
        }
    }

    /// Says `so_far` again, silently.
    fn skip(&mut self, so_far: &str, given: usize) -> Result<(), ProviderError> {
        // The loss and the silence are seen once, also by a text that is cut back to before them.
        self.directives.fail_at = None;
        self.directives.stall_at = None;
        let fits = !self.directives.refusal
            && if self.directives.stamp {
                self.skip_stamps(so_far, given)
            } else {
                self.skip_text(so_far, given)
            };
        if fits {
            return Ok(());
        }
        let message = "the text so far is not the demo's own, so it cannot be continued";
        Err(lost(ErrorCode::UpstreamProtocol, message.into(), false))
    }

    /// Whether there is no more to be said, when `behind` bytes of the text so far were skipped.
    fn is_over_at(&mut self, behind: usize, given: usize) -> bool {
        if behind < given {
            return false;
        }
        if self.given == 0 && given > 0 {
            self.given = self.answered;
        }
        self.is_over()
    }

    fn skip_text(&mut self, so_far: &str, given: usize) -> bool {
        let mut rest = so_far;
        while !rest.is_empty() {
            if self.is_over_at(so_far.len() - rest.len(), given) {
                return false;
            }
            let token = self.text.next_token();
            if let Some(head) = token.strip_prefix(rest).filter(|head| !head.is_empty()) {
                self.head = Some(head.to_owned());
                return true;
            }
            let Some(behind) = rest.strip_prefix(token) else { return false };
            rest = behind;
            self.answered += 1;
        }
        self.is_over_at(so_far.len(), given);
        true
    }

    fn skip_stamps(&mut self, so_far: &str, given: usize) -> bool {
        for (n, stamp) in so_far.as_bytes().chunks(STAMP).enumerate() {
            let fits = |(n, byte): (usize, &u8)| match n {
                0 => *byte == b'@',
                n if n == STAMP - 1 => *byte == b' ',
                _ => byte.is_ascii_digit(),
            };
            if self.is_over_at(n * STAMP, given) || !stamp.iter().enumerate().all(fits) {
                return false;
            }
            if stamp.len() < STAMP {
                self.stamp_head = stamp.len();
            } else {
                self.answered += 1;
            }
        }
        self.is_over_at(so_far.len(), given);
        true
    }
}

/// The fragments of the one tool call that the demo knows.
fn tool_call(fragment: usize) -> Option<ToolCallDelta> {
    const ARGUMENTS: [&str; 4] = ["", "{\"about\":", "\"the last word\"", "}"];
    let first = fragment == 0;
    Some(ToolCallDelta {
        index: 0,
        id: first.then(|| "call_demo_1".into()),
        name: first.then(|| "look_up".into()),
        arguments: (*ARGUMENTS.get(fragment)?).into(),
        ..ToolCallDelta::default()
    })
}
