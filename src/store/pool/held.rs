//! A connection at work, and what becomes of it afterwards.
use std::ops::{Deref, DerefMut};

use sqlx::{Connection, PgConnection, raw_sql};
use tokio::time::timeout;

use super::super::supply::{Opened, is_read_only};
use super::{PoolPermit, SETTLE};

/// A connection at work.
pub(crate) struct Held {
    /// Until it is given back.
    inner: Option<(Opened, PoolPermit)>,
    after: After,
}

/// The step that a connection needs before its next use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// Nothing: its last call was answered.
    Nothing,
    /// Its last call may still be under way.
    Wait,
    /// The same in a transaction, which is rolled back.
    RollBack,
    /// It does not work any more.
    Drop,
}

impl Held {
    pub(super) fn new(opened: Opened, place: PoolPermit) -> Self {
        Self { inner: Some((opened, place)), after: After::Wait }
    }

    /// Gives it back in order.
    pub(in super::super) fn clean(mut self) {
        self.after = After::Nothing;
    }

    /// Gives it back after a call with this outcome.
    pub(super) fn done<T>(mut self, result: &Result<T, sqlx::Error>) {
        self.after = match result {
            Ok(_) => After::Nothing,
            Err(error) if is_read_only(error) => {
                self.give_all_up();
                After::Drop
            }
            Err(error) if error.as_database_error().is_some() => After::Wait,
            Err(_) => After::Drop,
        };
    }

    /// The server takes no writes any more: another one may.
    fn give_all_up(&self) {
        if let Some((_, place)) = &self.inner {
            place.pool.inner.supply.turn();
        }
    }

    /// Begins a transaction, which is rolled back when it is dropped. Each statement of it sees
    /// what was committed before that statement: the fence of take-overs depends on it.
    pub(super) async fn begin(self) -> Result<Transaction, sqlx::Error> {
        self.begin_by("begin isolation level read committed").await
    }

    /// The same for lookups by key, also where a planner saw the tables when they were empty.
    pub(super) async fn begin_by_key(self) -> Result<Transaction, sqlx::Error> {
        let begin = "begin isolation level read committed; set local enable_seqscan = off";
        self.begin_by(begin).await
    }

    async fn begin_by(mut self, begin: &'static str) -> Result<Transaction, sqlx::Error> {
        self.after = After::RollBack;
        raw_sql(begin).execute(&mut *self).await?;
        Ok(Transaction { held: self })
    }
}

impl Deref for Held {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match &self.inner {
            Some((opened, _)) => &opened.connection,
            None => unreachable!("it is held until it is dropped"),
        }
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.inner {
            Some((opened, _)) => &mut opened.connection,
            None => unreachable!("it is held until it is dropped"),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some((opened, place)) = self.inner.take() else { return };
        match self.after {
            After::Nothing => place.put(opened),
            After::Drop => place.pool.inner.gone(),
            After::Wait | After::RollBack => {
                let supply = place.pool.inner.supply.clone();
                supply.aside(settle(opened, place, self.after == After::RollBack));
            }
        }
    }
}

/// Waits until the server is done with what was left half-way, and gives the connection back.
async fn settle(mut opened: Opened, place: PoolPermit, roll_back: bool) {
    let supply = place.pool.inner.supply.clone();
    loop {
        match timeout(SETTLE, in_order(&mut opened.connection, roll_back)).await {
            Ok(Ok(true)) => return place.put(opened),
            Ok(Ok(false)) => supply.turn(),
            Ok(Err(_)) => {}
            // Its place stays taken: the server has not let go of the call.
            Err(_) if supply.still_works_on(opened.pid).await => continue,
            Err(_) => {}
        }
        return place.pool.inner.gone();
    }
}

/// Whether it can go on: a server that became read-only is left.
async fn in_order(connection: &mut PgConnection, roll_back: bool) -> Result<bool, sqlx::Error> {
    if !roll_back {
        connection.ping().await?;
        return Ok(true);
    }
    raw_sql("rollback").execute(&mut *connection).await?;
    let sql = "select not pg_is_in_recovery()";
    sqlx::query_scalar(sql).fetch_one(connection).await
}

/// A transaction, rolled back when it is dropped.
pub(crate) struct Transaction {
    held: Held,
}

impl Transaction {
    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        let result = raw_sql("commit").execute(&mut *self.held).await.map(drop);
        self.held.done(&result);
        result
    }

    pub(crate) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        let result = raw_sql("rollback").execute(&mut *self.held).await.map(drop);
        self.held.done(&result);
        result
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.held
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.held
    }
}
