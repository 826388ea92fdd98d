//! The durable log in Postgres, and the private Postgres for those who have none.
mod append;
mod connect;
pub mod embedded;
mod partitions;
mod postgres;
mod rows;
mod takeover;

pub use connect::{ConnectError, Durability, connect};
pub use postgres::PgLog;
