//! The models: a prompt goes in, deltas come out. Each provider is a leaf behind
//! [`crate::ports::Provider`]; only the app names them.
//!
//! - [`chat`]: any endpoint for OpenAI chat completions, asked by async-openai
//! - [`responses`]: the Responses API of OpenAI and of those who speak it
//! - [`messages`]: Anthropic's Messages API, through reqwest
//! - [`demo`]: the built-in model without AI
//! - [`upstream`]: what the first three share
//!
//! In a wire's room `body` is what is sent, `wire` is its JSON, and `map` makes deltas of it.
pub mod chat;
pub mod demo;
pub mod messages;
pub mod responses;
pub mod upstream;
