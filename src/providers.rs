//! The models: a prompt goes in, deltas come out. Each provider is a leaf behind
//! [`crate::ports::Provider`]; only the app names them.
//!
//! - [`openai`]: any endpoint for OpenAI chat completions, asked by async-openai
//!   - `chat_body`, `chat_messages`: what is sent, which is the client's own body where it speaks the same protocol
//!   - `think_tags`: thoughts that a server leaves in the text
//!   - `chat_wire`, `chat_map`, `chat_calls`: its JSON, the mapping to deltas, tool calls in it
//! - [`responses`]: the Responses API of OpenAI and of those who speak it
//!   - `responses_body`, `responses_wire`, `responses_tools`, `responses_map`: the same of it; `replay`: an answer that the upstream
//!     keeps, behind what was heard of it
//! - [`anthropic`]: the Messages API, through reqwest
//!   - `messages_body`, `messages_wire`, `messages_map`: the same of it; `messages_source`: what a client that speaks
//!     it adds
//! - `delta_stream`, `overlap`, [`endpoint`]: what both do: pulling deltas, going on behind a text,
//!   and where to ask
//! - [`adjust`], `json_body`: what a model's configuration changes; JSON that stays as it came where nobody edits it
//! - [`demo`]: the built-in model without AI
//!   - `demo_directives`, `demo_script`, `demo_text`: what a prompt may ask of it, the order of
//!     what comes, and the words
//! - [`local`]: looks for servers on this machine
//! - [`guard`], `events`: under every HTTP provider: sane events when they are asked for, timeouts, what was lost
//!   - `answer`, `refusal`, `framer`, `text`, `probe`: the head of an answer, an upstream's "no",
//!     events out of bytes, text out of pieces, what the guard tells beside the events
pub mod adjust;
mod answer;
pub mod anthropic;
mod chat_body;
mod chat_calls;
mod chat_extras;
mod chat_map;
mod chat_messages;
mod chat_tools;
mod chat_wire;
mod delta_stream;
pub mod demo;
mod demo_directives;
mod demo_script;
mod demo_text;
pub mod endpoint;
mod events;
mod framer;
pub mod guard;
mod json_body;
pub mod local;
mod messages_body;
mod messages_extras;
mod messages_map;
mod messages_source;
mod messages_wire;
pub mod openai;
mod overlap;
mod probe;
mod refusal;
mod replay;
pub mod responses;
mod responses_body;
mod responses_map;
mod responses_tools;
mod responses_wire;
mod rest;
mod text;
mod think_tags;
