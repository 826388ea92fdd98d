//! lastword: durable LLM token streaming. In the order of the data's way:
//!
//! - [`config`]: one typed configuration, validated once
//! - [`app`]: connects the leaves, binds, wires, runs, drains
//! - [`tasks`]: the only spawner, with a soft and a hard stop
//! - [`http`]: a prompt comes in, events go out
//! - [`engine`]: start, cancel, read: one generation from its prompt to its last word
//! - [`providers`]: prompt in, model tokens out
//! - [`store`]: the durable log in Postgres, and the private Postgres
//! - [`nats`]: hints between instances by NATS, where an operator wants that
//! - [`ports`]: the traits between the engine and these leaves: log, conversations, keys, readers
//!   of requests, operations, providers, signals
//! - [`domain`]: events, their fold, ids, prompts
//!
//! At the other end of the wire: [`client`], for the terminal.
//!
//! Beside it: [`telemetry`], the log lines, and [`metrics`], what is counted.
pub mod app;
pub mod client;
pub mod config;
pub mod domain;
pub mod engine;
#[cfg(test)]
mod fuzz;
pub mod http;
pub mod metrics;
pub mod nats;
pub mod ports;
pub mod providers;
pub mod store;
pub mod tasks;
pub mod telemetry;
