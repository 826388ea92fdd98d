//! Pure data and rules: no async, no I/O, no clock.
pub mod coalesce;
pub mod context;
pub mod conversation;
pub mod entry;
pub mod event;
pub mod fleet;
pub mod generation;
pub mod id;
pub mod json;
pub mod key;
pub mod nearest;
mod piece;
pub mod prompt;
pub mod room;
pub mod share;
pub mod trace;
pub mod transcript;
pub mod utf8;
