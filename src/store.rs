//! The durable log in Postgres, and the private Postgres for those who have none.
mod append;
mod connect;
mod conversation_rows;
mod conversations;
pub mod embedded;
mod endings;
mod fold;
mod follow;
mod keys;
mod lane;
mod lines;
mod messages;
mod operations;
mod partitions;
mod postgres;
mod request_reads;
mod rows;
mod segments;
mod shares;
mod signals;
mod starts;
mod takeover;
mod turns;
mod unfolded;

pub use connect::{ConnectError, Durability, connect};
pub use postgres::PgLog;
pub use signals::{Pace, PgSignals};
