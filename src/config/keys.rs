//! `lastword keys`.
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::domain::id::Tenant;
use crate::domain::key::Scope;

/// The commands about keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key. It is shown this once, alone on standard output.
    Create(Box<NewKeyFlags>),
    /// List all keys, ended ones too; the keys themselves are not known any more.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// End a key now: what it has open ends within 5 s, on every instance.
    Revoke {
        /// Its id, or its name if only one key has it.
        key: String,
    },
}

/// A key to be made.
#[derive(Args, Debug)]
pub struct NewKeyFlags {
    /// Its name: its holder or its purpose.
    #[arg(long, value_parser = name)]
    pub name: String,
    /// The tenant that it opens; `default` is also the tenant of callers without a key.
    #[arg(long, default_value = "default")]
    pub tenant: Tenant,
    /// Its permissions: read, write, metrics. May be repeated [default: read and write].
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    pub scopes: Vec<Scope>,
    /// How long it is good, such as 12h, 90d or 1y [default: until it is revoked].
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub expires: Option<Duration>,
    /// Generations that it may have at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_concurrent: Option<u32>,
    /// Requests a minute, at each instance.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rpm: Option<u32>,
    /// Bytes of a prompt.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_prompt_bytes: Option<u32>,
    /// Tokens of an answer.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_output_tokens: Option<u32>,
    /// Seconds of a generation.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_wall_s: Option<u32>,
    /// Seconds that an answer goes on without a reader, over the vendors' protocols [default: 10
    /// for chat completions and Messages, to its end for Responses].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    pub disconnect_grace_s: Option<u32>,
    /// The same request takes the answer over also where its client had closed by itself.
    #[arg(long)]
    pub attach_after_close: bool,
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 100 || text.chars().any(char::is_control) {
        return Err("a name is 1 to 100 bytes without control characters".into());
    }
    Ok(text.into())
}

/// A whole number with its unit. A year is 365 days.
fn span(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 6] =
        [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800), ("y", 31_536_000)];
    // Longer than anybody means, and all that a timestamp takes.
    const MOST: u64 = 100 * 31_536_000;
    let seconds = UNITS.iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*seconds)
    });
    match seconds {
        Some(seconds @ 1..=MOST) => Ok(Duration::from_secs(seconds)),
        Some(_) | None => {
            Err("write a number and a unit: 30s, 10m, 12h, 90d, 4w, 1y (at most 100y)".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        assert_eq!(span("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(span("3s"), Ok(Duration::from_secs(3)));
        for bad in ["", "90", "d", "-1d", "1.5h", "0d", "101y", "99999999999999999999y", "1 d"] {
            assert!(span(bad).is_err(), "{bad:?}");
        }
    }
}
