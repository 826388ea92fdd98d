//! The durable log in Postgres, and the private Postgres.
pub mod embedded;
