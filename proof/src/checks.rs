//! The checks: pure rules over a history. Each has an id, a sentence, and its source.
use serde::Serialize;

use crate::history::{Ending, History, Run, Scenario};

mod breaks;
mod calls;
mod endings;
mod resume;

/// What a rule says of one run: nothing, if it has no say in it.
pub(crate) type Word = Option<Result<(), String>>;

/// A rule.
pub(crate) struct Check {
    pub(crate) id: &'static str,
    pub(crate) sentence: &'static str,
    /// Where the rule comes from.
    pub(crate) source: &'static str,
    judge: fn(&History, &Run) -> Word,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Pass,
    Fail,
    NotOffered,
}

/// A check's verdict over all runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) id: &'static str,
    pub(crate) sentence: &'static str,
    pub(crate) source: &'static str,
    pub(crate) verdict: Verdict,
    /// Runs that the rule had a say in.
    pub(crate) runs: usize,
    /// The runs that broke it.
    pub(crate) violations: Vec<String>,
}

const OURS: &str = "no protocol says it; a reader relies on it";
const SSE: &str = "WHATWG HTML, server-sent events: the last event ID";

/// All checks, in the order of the table.
pub(crate) const ALL: [Check; 23] = [
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
        sentence: "the body ends within 2 s of its ending",
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
        sentence: "a success says what was used",
        source: "OpenAI `stream_options.include_usage`, `response.completed`; Anthropic `message_delta`",
        judge: endings::usage,
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
        sentence: "a reader that stops reading for a while loses nothing",
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
pub(crate) fn judge(history: &History) -> Vec<Finding> {
    ALL.iter().map(|check| finding(check, history)).collect()
}

fn finding(check: &Check, history: &History) -> Finding {
    let mut violations = Vec::new();
    let mut runs = 0;
    for run in &history.runs {
        match (check.judge)(history, run) {
            None => continue,
            Some(Ok(())) => {}
            Some(Err(violation)) => {
                let word = crate::scenarios::word(run.scenario);
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

/// Scenarios that do nothing to the server or its upstream that could cost an ending.
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
        | Scenario::UpstreamBack => false,
    }
}

/// Figures for information: no rule is behind them.
pub(crate) fn facts(history: &History) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let mut first: Vec<u64> = history
        .runs
        .iter()
        .filter(|run| run.scenario == Scenario::Whole)
        .flat_map(|run| run.readers.iter().flat_map(|reader| &reader.connections))
        .filter_map(|connection| connection.first_ms)
        .collect();
    first.sort_unstable();
    if let Some(median) = first.get(first.len() / 2) {
        facts.push(("first event after", format!("{median} ms")));
    }
    for run in &history.runs {
        if let Some(closed) = run.cancel.as_ref().and_then(|cancel| cancel.upstream_closed_ms) {
            let how = if run.cancellable { "a cancel" } else { "the reader went away" };
            facts.push(("upstream closed", format!("{closed} ms after {how}")));
        }
        if run.scenario == Scenario::Kill {
            facts.push(("killed", breaks::outcome(run).into()));
        }
        if let (Scenario::Retry, Some(saw)) = (run.scenario, run.upstream) {
            facts.push(("a request sent twice", format!("{} at the upstream", saw.requests)));
        }
        let upstream = run.scenario == Scenario::UpstreamReset
            || run.scenario == Scenario::UpstreamTruncated
            || run.scenario == Scenario::UpstreamBack;
        if let (true, Some(reader)) = (upstream, run.readers.last()) {
            let ending = reader.last().and_then(crate::history::Connection::ending);
            let word = ending.map_or("no ending", ending_word);
            facts.push(("upstream", format!("{}: {word}", crate::scenarios::word(run.scenario))));
        }
        if let Some(problem) = &run.problem {
            let word = crate::scenarios::word(run.scenario);
            facts.push(("could not be done", format!("{word}: {problem}")));
        }
    }
    facts
}

fn ending_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Success => "success",
        Ending::Incomplete => "incomplete",
        Ending::Failed => "failed",
        Ending::Cancelled => "cancelled",
    }
}
