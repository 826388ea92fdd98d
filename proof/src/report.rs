//! The results, for people and for machines.
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::checks::{Finding, Verdict};
use crate::history::History;

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::NotOffered => "not offered",
    }
}

/// At most so many violations of a check are shown in the table.
const MOST_SHOWN: usize = 3;

/// A table for people.
pub(crate) fn table(history: &History, findings: &[Finding], facts: &[(&str, String)]) -> String {
    let mut text = format!(
        "{} at {}, seed {}, {} streams\n\n",
        history.protocol,
        history.targets.join(" and "),
        history.seed,
        history.runs.len()
    );
    for finding in findings {
        let _ =
            writeln!(text, "{:<12} {:<18} {}", word(finding.verdict), finding.id, finding.sentence);
        for violation in finding.violations.iter().take(MOST_SHOWN) {
            let _ = writeln!(text, "{:>31} {violation}", "");
        }
        let more = finding.violations.len().saturating_sub(MOST_SHOWN);
        if more > 0 {
            let _ = writeln!(text, "{:>31} and {more} more", "");
        }
    }
    if !facts.is_empty() {
        text.push_str("\nfor information\n");
    }
    for (name, fact) in facts {
        let _ = writeln!(text, "  {name}: {fact}");
    }
    let count = |verdict| findings.iter().filter(|f| f.verdict == verdict).count();
    let (passed, failed) = (count(Verdict::Pass), count(Verdict::Fail));
    let none = count(Verdict::NotOffered);
    let _ = writeln!(text, "\n{passed} passed, {failed} failed, {none} not offered");
    text
}

/// The same for machines.
pub(crate) fn json(history: &History, findings: &[Finding], facts: &[(&str, String)]) -> Value {
    json!({
        "protocol": history.protocol,
        "targets": history.targets,
        "seed": history.seed,
        "begun_at": history.begun_at,
        "checks": findings,
        "information": facts,
    })
}

/// A report that continuous integration understands.
pub(crate) fn junit(history: &History, findings: &[Finding]) -> String {
    let failed = findings.iter().filter(|f| f.verdict == Verdict::Fail).count();
    let skipped = findings.iter().filter(|f| f.verdict == Verdict::NotOffered).count();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"streamproof {}\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\">\n",
        escaped(&history.protocol),
        findings.len()
    );
    for finding in findings {
        let _ = write!(
            xml,
            "  <testcase classname=\"{}\" name=\"{}: {}\"",
            escaped(&history.protocol),
            finding.id,
            escaped(finding.sentence)
        );
        let _ = match finding.verdict {
            Verdict::Pass => writeln!(xml, "/>"),
            Verdict::NotOffered => writeln!(xml, "><skipped message=\"not offered\"/></testcase>"),
            Verdict::Fail => writeln!(
                xml,
                "><failure message=\"{}\"/></testcase>",
                escaped(&finding.violations.join("; "))
            ),
        };
    }
    xml + "</testsuite>\n"
}

fn escaped(text: &str) -> String {
    let allowed = |c: &char| *c >= ' ' || *c == '\n';
    let text: String = text.chars().filter(allowed).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
