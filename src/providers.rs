//! The models: a prompt goes in, deltas come out. Each provider is a leaf behind
//! [`crate::ports::Provider`]; only the app names them.
//!
//! - [`openai`]: any endpoint for OpenAI chat completions, through async-openai
//!   - `chat_wire`, `chat_map`, `chat_stream`: its JSON, the mapping to deltas, the pulling
//! - [`demo`]: the built-in model without AI
//!   - `demo_directives`, `demo_script`, `demo_text`: what a prompt may ask of it, the order of
//!     what comes, and the words
//! - [`guard`]: under every HTTP provider: sane events, back-pressure, timeouts, what was lost
//!   - `answer`, `refusal`, `framer`, `text`, `probe`: the head of an answer, an upstream's "no",
//!     events out of bytes, text out of pieces, what the guard and the consumer tell each other
mod answer;
mod chat_map;
mod chat_stream;
mod chat_wire;
pub mod demo;
mod demo_directives;
mod demo_script;
mod demo_text;
mod framer;
pub mod guard;
pub mod openai;
mod probe;
mod refusal;
mod text;
