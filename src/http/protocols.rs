//! The protocols that clients speak. Each protocol has its requests, its encoder, its errors and
//! its routes.
//!
//! - `native`: generations, conversations, shared links, models
//! - `openai_chat`, `openai_responses`, `openai_completions`: OpenAI's APIs; `openai` is what they
//!   have in common
//! - `anthropic`: the Messages API
//! - `ai_sdk`: the chat of the AI SDK
//! - `durable_streams`: a generation as a stream of that protocol
//! - `websocket`: the native protocol, the AI SDK's chat and the Responses API over a socket
pub(super) mod ai_sdk;
pub(super) mod anthropic;
pub(super) mod durable_streams;
pub(super) mod error_shape;
pub(super) mod native;
pub(super) mod openai;
pub(super) mod openai_chat;
pub(super) mod openai_completions;
pub(super) mod openai_responses;
pub(super) mod websocket;

use actix_web::web;

/// The routes of all of them.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .configure(native::configure)
        .configure(websocket::configure)
        .configure(openai::configure)
        .configure(anthropic::configure)
        .configure(ai_sdk::configure)
        .configure(durable_streams::configure);
}
