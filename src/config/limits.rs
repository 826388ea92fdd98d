//! `[limits]` of `lastword.toml`. A value that no clock and no counter can hold is refused by its
//! name.
use std::fmt::Display;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use crate::engine::{Limits, SocketLimits};

/// A year is for ever: what is longer is a mistake.
const MOST_S: u64 = 365 * 24 * 3600;
/// Nobody says more to a model, or hears more of it.
const MOST_BYTES: usize = 1 << 30;
/// More than a process can have of anything.
const MOST: usize = 1 << 24;

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileLimits {
    prompt_bytes: Option<usize>,
    media_bytes: Option<usize>,
    bodies_bytes: Option<usize>,
    context_bytes: Option<usize>,
    generation_wall_s: Option<u64>,
    output_bytes: Option<usize>,
    extras_bytes: Option<usize>,
    running: Option<usize>,
    waiting: Option<usize>,
    cancel_wait_s: Option<u64>,
    write_outage_s: Option<u64>,
    read_outage_s: Option<u64>,
    poll_ms: Option<u64>,
    connections: Option<usize>,
    idle_s: Option<NonZeroU64>,
    connection_age_s: Option<u64>,
    stuck_s: Option<NonZeroU64>,
    socket: FileSocket,
}

/// `[limits.socket]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileSocket {
    frame_bytes: Option<NonZeroUsize>,
    frames_per_s: Option<NonZeroU32>,
    mistakes_per_minute: Option<NonZeroU32>,
    subscriptions: Option<NonZeroUsize>,
    joins: Option<NonZeroUsize>,
    hello_s: Option<NonZeroU64>,
    ping_s: Option<NonZeroU64>,
}

/// `value`, or what there is without it; more than `most` is refused.
fn at_most<T: PartialOrd + Display>(
    name: &str,
    value: Option<T>,
    or: T,
    most: T,
) -> Result<T, ConfigError> {
    match value {
        Some(value) if value > most => {
            Err(ConfigError(format!("limits.{name} is {value}, and may be {most} at most")))
        }
        Some(value) => Ok(value),
        None => Ok(or),
    }
}

fn seconds(name: &str, value: Option<u64>, or: Duration) -> Result<Duration, ConfigError> {
    match value {
        None => Ok(or),
        Some(_) => at_most(name, value, 0, MOST_S).map(Duration::from_secs),
    }
}

fn some(
    name: &str,
    value: Option<NonZeroUsize>,
    or: usize,
    most: usize,
) -> Result<usize, ConfigError> {
    at_most(name, value.map(NonZeroUsize::get), or, most)
}

impl FileSocket {
    /// These limits over `base`.
    fn over(&self, base: SocketLimits) -> Result<SocketLimits, ConfigError> {
        let time =
            |name, value: Option<NonZeroU64>, or| seconds(name, value.map(NonZeroU64::get), or);
        let mistakes = self.mistakes_per_minute.map_or(base.mistakes_per_minute, NonZeroU32::get);
        Ok(SocketLimits {
            frame_bytes: some(
                "socket.frame_bytes",
                self.frame_bytes,
                base.frame_bytes,
                MOST_BYTES,
            )?,
            frames_per_s: self.frames_per_s.map_or(base.frames_per_s, NonZeroU32::get),
            mistakes_per_minute: mistakes,
            subscriptions: some(
                "socket.subscriptions",
                self.subscriptions,
                base.subscriptions,
                MOST,
            )?,
            joins: some("socket.joins", self.joins, base.joins, MOST)?,
            hello: time("socket.hello_s", self.hello_s, base.hello)?,
            ping: time("socket.ping_s", self.ping_s, base.ping)?,
        })
    }
}

impl FileLimits {
    /// These limits over `base`.
    pub(super) fn over(&self, base: Limits) -> Result<Limits, ConfigError> {
        let bytes = |name, value, or| at_most(name, value, or, MOST_BYTES);
        let count = |name, value, or| at_most(name, value, or, MOST);
        let poll = at_most("poll_ms", self.poll_ms, 0, MOST_S * 1000)?;
        let age = seconds("connection_age_s", self.connection_age_s, base.connection_age)?;
        Ok(Limits {
            prompt_bytes: bytes("prompt_bytes", self.prompt_bytes, base.prompt_bytes)?,
            media_bytes: bytes("media_bytes", self.media_bytes, base.media_bytes)?,
            bodies_bytes: bytes("bodies_bytes", self.bodies_bytes, base.bodies_bytes)?,
            context_bytes: bytes("context_bytes", self.context_bytes, base.context_bytes)?,
            generation_wall: seconds(
                "generation_wall_s",
                self.generation_wall_s,
                base.generation_wall,
            )?,
            output_bytes: bytes("output_bytes", self.output_bytes, base.output_bytes)?,
            extras_bytes: bytes("extras_bytes", self.extras_bytes, base.extras_bytes)?,
            running: count("running", self.running, base.running)?.max(1),
            waiting: count("waiting", self.waiting, base.waiting)?,
            cancel_wait: seconds("cancel_wait_s", self.cancel_wait_s, base.cancel_wait)?,
            write_outage: seconds("write_outage_s", self.write_outage_s, base.write_outage)?,
            read_outage: seconds("read_outage_s", self.read_outage_s, base.read_outage)?,
            poll: self.poll_ms.map_or(base.poll, |_| Duration::from_millis(poll.max(1))),
            connections: count("connections", self.connections, base.connections)?.max(1),
            idle: seconds("idle_s", self.idle_s.map(NonZeroU64::get), base.idle)?,
            connection_age: age.max(Duration::from_secs(1)),
            stuck: seconds("stuck_s", self.stuck_s.map(NonZeroU64::get), base.stuck)?,
            socket: self.socket.over(base.socket)?,
            ..base
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_nothing_can_hold_is_refused_by_its_name() {
        let limits = |line: &str| {
            let file: FileLimits = toml::from_str(line).unwrap();
            file.over(Limits::default())
        };
        for name in [
            "generation_wall_s",
            "cancel_wait_s",
            "write_outage_s",
            "read_outage_s",
            "connection_age_s",
            "stuck_s",
            "idle_s",
            "poll_ms",
            "prompt_bytes",
            "media_bytes",
            "bodies_bytes",
            "context_bytes",
            "output_bytes",
            "extras_bytes",
            "running",
            "waiting",
            "connections",
            "socket.hello_s",
            "socket.ping_s",
            "socket.frame_bytes",
            "socket.subscriptions",
            "socket.joins",
        ] {
            let error = limits(&format!("{name} = 9223372036854775807")).unwrap_err().to_string();
            assert!(error.contains(&format!("limits.{name} is 9223372036854775807")), "{error}");
            assert!(error.contains("at most"), "{error}");
            limits(&format!("{name} = 1")).unwrap();
        }
        let year = limits("generation_wall_s = 31536000").unwrap();
        assert_eq!(year.generation_wall, Duration::from_secs(MOST_S));
        assert!(limits("generation_wall_s = 31536001").is_err());
    }
}
