//! The checks: pure rules over a history. Each has an id, a sentence, and its source.
use serde::Serialize;

use crate::history::{Ending, History, Run, Scenario};

mod breaks;
mod calls;
mod endings;
mod facts;
mod resume;
mod watched;

pub use facts::facts;

/// A rule's verdict on one run: `None` if the rule does not apply to it.
type Word = Option<Result<(), String>>;

/// A rule.
pub struct Check {
    /// Its name, such as `resume.gap`.
    pub id: &'static str,
    /// The demand of the rule.
    pub sentence: &'static str,
    /// Where the rule comes from.
    pub source: &'static str,
    judge: fn(&History, &Run) -> Word,
}

/// A check's verdict on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Some run was judged by it, and none broke it.
    Pass,
    /// A run broke it.
    Fail,
    /// No run had the situation of the rule.
    NotOffered,
}

/// A check's verdict over all runs.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// As in [`Check`].
    pub id: &'static str,
    /// As in [`Check`].
    pub sentence: &'static str,
    /// As in [`Check`].
    pub source: &'static str,
    /// Over all runs.
    pub verdict: Verdict,
    /// Runs to which the rule applies.
    pub runs: usize,
    /// The runs that broke it.
    pub violations: Vec<String>,
}

const OURS: &str = "no protocol says it; a reader relies on it";
const SSE: &str = "WHATWG HTML, server-sent events: the last event ID";

/// All checks, in the order of the table.
pub const ALL: [Check; 26] = [
    Check {
        id: "ending.one",
        sentence: "an undisturbed stream ends in exactly one ending",
        source: "OpenAI `[DONE]`, `response.completed`; Anthropic `message_stop`; AI SDK `[DONE]`; Durable Streams `streamClosed`",
        judge: endings::one,
    },
    Check {
        id: "ending.last",
        sentence: "nothing follows an ending",
        source: "the same",
        judge: endings::last,
    },
    Check {
        id: "ending.closes",
        sentence: "the body ends within 5 s of its ending",
        source: OURS,
        judge: endings::closes,
    },
    Check {
        id: "ending.true",
        sentence: "a stream that ends as a success has the whole text, and no other text",
        source: OURS,
        judge: endings::whole,
    },
    Check {
        id: "usage.told",
        sentence: "where one success says what was used, each does",
        source: "OpenAI `stream_options.include_usage`, `response.completed`; Anthropic `message_delta`",
        judge: endings::usage,
    },
    Check {
        id: "usage.true",
        sentence: "the output tokens that a success tells are those that the model told",
        source: "the same",
        judge: endings::used,
    },
    Check {
        id: "events.numbered",
        sentence: "the numbers of events go up by one, where none is left out as void",
        source: "OpenAI Responses: `sequence_number`; else ours",
        judge: watched::numbered,
    },
    Check {
        id: "resume.gap",
        sentence: "a client that was cut and resumed misses no event",
        source: SSE,
        judge: resume::gap,
    },
    Check {
        id: "resume.repeat",
        sentence: "a client that was cut and resumed gets no event twice",
        source: SSE,
        judge: resume::repeat,
    },
    Check {
        id: "resume.prefix",
        sentence: "what was shown before a cut is the beginning of what is shown after it",
        source: OURS,
        judge: resume::prefix,
    },
    Check {
        id: "resume.after_end",
        sentence: "a stream that is over can be resumed and read again",
        source: "OpenAI: stored responses; Durable Streams: catch-up reads",
        judge: resume::after_end,
    },
    Check {
        id: "resume.later",
        sentence: "the same after some time",
        source: "the same",
        judge: resume::later,
    },
    Check {
        id: "resume.impossible",
        sentence: "a cursor that never was is refused, or answered with the whole stream",
        source: "Durable Streams: 400; OpenAI: 400; else ours",
        judge: resume::impossible,
    },
    Check {
        id: "readers.agree",
        sentence: "two readers of one stream get the same events, byte for byte",
        source: OURS,
        judge: resume::agree,
    },
    Check {
        id: "readers.slow",
        sentence: "a reader that stops reading until another one is done loses nothing",
        source: OURS,
        judge: resume::slow,
    },
    Check {
        id: "readers.held_up",
        sentence: "a reader that stops reading holds no other reader up",
        source: OURS,
        judge: resume::held_up,
    },
    Check {
        id: "instances.resume",
        sentence: "a stream is resumed on another instance without gap or repeat",
        source: OURS,
        judge: resume::instances,
    },
    Check {
        id: "views.true",
        sentence: "what the server says of a stream when asked is what the stream says, and stays so",
        source: "OpenAI: the retrieved response; else ours",
        judge: watched::views,
    },
    Check {
        id: "cancel.receipt",
        sentence: "what a cancel's receipt says is how the stream ends",
        source: "OpenAI: the cancelled response; else ours",
        judge: calls::receipt,
    },
    Check {
        id: "cancel.ending",
        sentence: "a cancelled stream ends once, and not as a success",
        source: OURS,
        judge: calls::ending,
    },
    Check {
        id: "cancel.upstream",
        sentence: "a cancel closes the connection to the model in time",
        source: OURS,
        judge: calls::upstream,
    },
    Check {
        id: "retry.generation",
        sentence: "a request that is repeated with its idempotency key is one generation",
        source: "IETF draft-ietf-httpapi-idempotency-key-header",
        judge: calls::generation,
    },
    Check {
        id: "retry.upstream",
        sentence: "a repeated request that is one generation asks the model once",
        source: "the same",
        judge: calls::asked_once,
    },
    Check {
        id: "kill.shown",
        sentence: "what was shown before the server was killed is still there, or declared void",
        source: OURS,
        judge: breaks::shown,
    },
    Check {
        id: "kill.ending",
        sentence: "a stream whose server was killed ends once, and not as a success it is not",
        source: OURS,
        judge: breaks::ending,
    },
    Check {
        id: "upstream.cut",
        sentence: "an answer whose upstream broke off never ends as a success",
        source: "OpenAI: `finish_reason` ends a choice; RFC 9112, section 8: incomplete messages",
        judge: breaks::upstream_cut,
    },
];

/// The verdict of each check.
pub fn judge(history: &History) -> Vec<Finding> {
    ALL.iter().map(|check| finding(check, history)).collect()
}

fn finding(check: &Check, history: &History) -> Finding {
    let mut violations = Vec::new();
    let mut runs = 0;
    for run in history.runs.iter().filter(|run| run.problem.is_none()) {
        match (check.judge)(history, run) {
            None => continue,
            Some(Ok(())) => {}
            Some(Err(violation)) => {
                let word = word(run.scenario);
                violations.push(format!("{word} {}: {violation}", run.n + 1));
            }
        }
        runs += 1;
    }
    if runs == 0 && history.expected.iter().any(|id| id == check.id) {
        violations.push("not offered, but expected".into());
    }
    let verdict = match (violations.is_empty(), runs) {
        (false, _) => Verdict::Fail,
        (true, 0) => Verdict::NotOffered,
        (true, _) => Verdict::Pass,
    };
    let Check { id, sentence, source, .. } = *check;
    Finding { id, sentence, source, verdict, runs, violations }
}

/// Scenarios that leave the server and its upstream unharmed, so that they cannot cost an ending.
fn undisturbed(run: &Run) -> bool {
    match run.scenario {
        Scenario::Whole
        | Scenario::Cut
        | Scenario::AfterEnd
        | Scenario::Later
        | Scenario::Impossible
        | Scenario::TwoReaders
        | Scenario::Slow
        | Scenario::Retry
        | Scenario::RoundRobin => true,
        Scenario::Cancel
        | Scenario::Kill
        | Scenario::UpstreamReset
        | Scenario::UpstreamTruncated
        | Scenario::UpstreamBack
        | Scenario::Idle
        | Scenario::Watched => false,
    }
}

fn ending_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Success => "success",
        Ending::Incomplete => "incomplete",
        Ending::Failed => "failed",
        Ending::Cancelled => "cancelled",
    }
}

/// The scenario's name, as the history file has it.
pub(crate) fn word(scenario: Scenario) -> String {
    let json = serde_json::to_value(scenario).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}
