//! Log lines: readable on a terminal, JSON otherwise; levels by `RUST_LOG`. With the feature
//! `otel`, spans of generations for a collector.
#[cfg(feature = "otel")]
mod otel;

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, variable};
use crate::engine::Export;

/// The log filter unless `RUST_LOG` says otherwise. async-openai logs what an upstream sends, which
/// may hold a prompt's words, so it stays silent whatever is asked for.
const USUAL: &str = "info,sqlx=warn,hyper=warn,actix_server=warn,mio=warn,opentelemetry=warn";
const NEVER: &str = "async_openai=off";

/// Starts logging to standard error; a second call changes nothing.
pub fn start(format: Option<LogFormat>) {
    let wanted = variable("RUST_LOG").unwrap_or_else(|| USUAL.into());
    let filter = EnvFilter::builder().parse_lossy(format!("{wanted},{NEVER}"));
    let format =
        format.unwrap_or(if stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json });
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // Only a second subscriber is refused, and the first one serves.
    let _ = match format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// Where spans go: `None` unless there is a collector, and the feature `otel` to speak to it.
#[must_use]
pub fn spans() -> Option<Export> {
    #[cfg(feature = "otel")]
    return otel::start();
    #[cfg(not(feature = "otel"))]
    None
}

/// Hands out the spans that wait for it. Blocks.
pub fn stop() {
    #[cfg(feature = "otel")]
    otel::stop();
}
