//! The socket, as a client sees it.
mod chaos;
mod chat;
mod closing;
mod conformance;
mod continued;
mod frames;
mod keys;
mod lanes;
mod responses;
mod rooms;
mod slow;
