//! A pool runs a statement on any of its connections, as sqlx's own pool does.
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Error, Execute, Executor, Postgres, SqlStr};

use super::{Pool, Transaction};

impl Pool {
    /// A transaction on a connection of its own.
    pub(in super::super) async fn begin(&self) -> Result<Transaction, Error> {
        self.acquire().await?.begin().await
    }

    /// The same for lookups by key alone.
    pub(in super::super) async fn begin_by_key(&self) -> Result<Transaction, Error> {
        self.acquire().await?.begin_by_key().await
    }
}

impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    /// Results are small, so they are fetched whole, and the connection is free for others.
    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let whole = async move {
            let mut held = self.acquire().await?;
            let result: Result<Vec<_>, Error> = held.fetch_many(query).try_collect().await;
            held.done(&result);
            Ok::<_, Error>(stream::iter(result?.into_iter().map(Ok)))
        };
        stream::once(whole).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        async move {
            let mut held = self.acquire().await?;
            let result = held.fetch_optional(query).await;
            held.done(&result);
            result
        }
        .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        async move {
            let mut held = self.acquire().await?;
            let result = held.prepare_with(sql, parameters).await;
            held.done(&result);
            result
        }
        .boxed()
    }
}
