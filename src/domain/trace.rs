//! The place of a request in somebody's trace: W3C Trace Context.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::GenerationId;

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// A `traceparent`, checked. <https://www.w3.org/TR/trace-context/#traceparent-header>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TraceParent {
    trace: u128,
    parent: u64,
    flags: u8,
}

impl TraceParent {
    /// A generation's own span: in the trace of who asked for it, or in one of its own. It is the
    /// same on every instance.
    #[must_use]
    pub fn of_generation(id: GenerationId, asked: Option<Self>) -> Self {
        let own = id.0.as_u128();
        // The lower half of an id is random.
        let (_, parent) = id.0.as_u64_pair();
        let (trace, flags) = asked.map_or((own, SAMPLED), |asked| (asked.trace, asked.flags));
        Self { trace, parent, flags }
    }

    /// The trace's id, the span's id, and the flags.
    #[must_use]
    pub fn parts(&self) -> (u128, u64, u8) {
        (self.trace, self.parent, self.flags)
    }

    /// The trace's id: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

/// As version 00 writes it.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.parent, self.flags)
    }
}

/// A malformed value is ignored by its readers, as the specification says.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a traceparent")]
pub struct InvalidTraceParent;

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let mut parts = text.split('-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let number = u128::from_str_radix(part, 16).ok()?;
            part.bytes().all(hex).then_some(number)
        };
        let fields = (next(2), next(32), next(16), next(2));
        let (Some(version), Some(trace), Some(parent), Some(flags)) = fields else {
            return Err(InvalidTraceParent);
        };
        // Later versions may add parts; this one has none.
        let known = version != 0xff && (version != 0 || parts.next().is_none());
        let parent = u64::try_from(parent).map_err(|_| InvalidTraceParent)?;
        let flags = u8::try_from(flags).map_err(|_| InvalidTraceParent)?;
        if !known || trace == 0 || parent == 0 {
            return Err(InvalidTraceParent);
        }
        // Of a later version's flags only those of this one are understood.
        Ok(Self { trace, parent, flags: if version == 0 { flags } else { flags & 1 } })
    }
}

impl From<TraceParent> for String {
    fn from(trace: TraceParent) -> Self {
        trace.to_string()
    }
}

impl TryFrom<String> for TraceParent {
    type Error = InvalidTraceParent;
    fn try_from(text: String) -> Result<Self, InvalidTraceParent> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_one() {
        for text in [GOOD, "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00"] {
            let trace: TraceParent = text.parse().unwrap();
            assert_eq!(trace.to_string(), text);
            assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
            let json = serde_json::to_string(&trace).unwrap();
            assert_eq!(serde_json::from_str::<TraceParent>(&json).unwrap(), trace);
        }
        for later in ["cc-", "01-"] {
            for more in ["", "-what-the-future-will-be-like", "-"] {
                let text = GOOD.replacen("00-", later, 1) + more;
                assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), GOOD, "{text}");
            }
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "00",
            "x",
            &GOOD.to_uppercase(),
            &GOOD[..54],
            &GOOD[1..],
            &format!("{GOOD}-"),
            &format!("{GOOD}-00"),
            &format!(" {GOOD}"),
            &GOOD.replacen("00-", "ff-", 1),
            &GOOD.replacen("00-", "0-0", 1),
            &GOOD.replacen("0a", "+a", 1),
            &GOOD.replacen('-', "_", 1),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent), "{text}");
        }
    }
}
