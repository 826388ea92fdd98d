//! The common part of all providers that ask over HTTP, whatever their servers speak.
//!
//! - [`endpoint`], [`local`]: where to ask, and which servers run on this machine
//! - [`adjust`], `json_body`, `rest`: the changes of a model's configuration, JSON that stays as it
//!   came, and fields of an answer that nothing here reads
//! - [`guard`], `events`, `framer`, `answer`, `refusal`, `probe`: sane events when they are asked
//!   for, timeouts, an upstream's "no", and what the guard tells beside the events
//! - `cut_back`: going on behind a text without its last word
//! - `client_calls`, `custom_input`, `item_ids`: calls and items in the form that the client knows
//! - `delta_stream`, `overlap`, `text`, `think_tags`: pulling deltas, going on behind a text, text
//!   out of pieces, thoughts that a server leaves in the text
pub mod adjust;
pub(super) mod answer;
pub(super) mod client_calls;
pub(super) mod custom_input;
pub(super) mod cut_back;
pub(super) mod delta_stream;
pub mod endpoint;
pub(super) mod events;
pub(super) mod framer;
pub mod guard;
pub(super) mod item_ids;
pub(super) mod json_body;
pub mod local;
pub(super) mod overlap;
pub(super) mod probe;
pub(super) mod refusal;
pub(super) mod rest;
pub(super) mod text;
pub(super) mod think_tags;
pub(super) mod vendor_content;
