//! The socket, as a client sees it.
mod chaos;
mod closing;
mod conformance;
mod frames;
mod rooms;
mod slow;
