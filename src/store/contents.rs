//! Requests are kept by content, once for a tenant (`split` cuts them). The database puts them
//! together again, so that whoever reads a row has the whole request.
mod split;

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::Row;

use self::split::{Hash, Split, split};
use super::postgres::PgLog;
use super::rows::{checked_json, error, json};
use crate::domain::generation::{Continues, NewGeneration, OnDisconnect, Request};
use crate::domain::json::JsonObject;
use crate::ports::LogError;

/// A packed request of `generations g`, put together.
pub(super) const WHOLE: &str = "whole(g.tenant, g.packed)";
/// The same without its prompt, for those who show many.
pub(super) const LISTED: &str = "left(g.request::text, -1) || ',\"prompt\":{\"messages\":[]}}'";

/// Contents that are looked through at a time.
const PORTION: i64 = 1000;
/// Portions of one look, a second's work: the lease waits for it. The next one goes on.
const PORTIONS: u32 = 20;

/// A request as it is stored.
pub(super) struct StoredRequest {
    /// For the column `request`: all of it, or what is looked for and listed.
    pub(super) request: String,
    /// The rest, where it is long.
    pub(super) packed: Option<Packed>,
}

/// The fields of a long request that are looked for and listed. Without a prompt it is unreadable
/// to an earlier version, and not another request.
#[derive(Serialize)]
struct Head<'a> {
    model: &'a str,
    metadata: &'a JsonObject,
    on_disconnect: OnDisconnect,
    chat: Option<&'a str>,
    continues: Option<Continues>,
}

impl<'a> Head<'a> {
    fn of(request: &'a Request) -> Self {
        Self {
            model: &request.model,
            metadata: &request.metadata,
            on_disconnect: request.on_disconnect,
            chat: request.chat.as_deref(),
            continues: request.continues,
        }
    }
}

/// A long request: columns of a start's statement.
pub(super) struct Packed {
    pub(super) text: String,
    /// The contents that `text` names.
    pub(super) used: Vec<Hash>,
    /// Those that are not there yet, in order, so that no two starts wait for each other.
    pub(super) hashes: Vec<Hash>,
    pub(super) bodies: Vec<String>,
    /// Pairs of a content and a part of it.
    pub(super) wholes: Vec<Hash>,
    pub(super) parts: Vec<Hash>,
}

/// The JSON of a request, and its contents if it is long.
pub(super) struct CutRequest {
    request: String,
    split: Option<Split>,
}

impl CutRequest {
    /// The request of `new`. A long one takes this machine a while, which is not the database's
    /// time to answer.
    pub(super) fn of(new: &NewGeneration) -> Result<Self, LogError> {
        let request = checked_json(&new.request)?;
        let split = split(new.tenant.as_str(), &request);
        Ok(Self { request, split })
    }
}

impl PgLog {
    /// The request of `new`, which is `cut`, as it is to be stored. For a long one, the database is
    /// asked once what it has.
    pub(super) async fn stored_request(
        &self,
        new: &NewGeneration,
        cut: CutRequest,
    ) -> Result<StoredRequest, LogError> {
        let CutRequest { request, split: Some(split) } = cut else {
            return Ok(StoredRequest { request: cut.request, packed: None });
        };
        let hashes: Vec<&[u8]> = split.contents.keys().map(<[u8; 32]>::as_slice).collect();
        let row = sqlx::query(
            "select array(select hash from contents where hash = any($1)) as known, \
             exists (select from instances where lease_until >= clock_timestamp() \
               and (reads_packed = process) is not true) as older",
        )
        .bind(hashes)
        .fetch_one(&self.workers)
        .await
        .map_err(error)?;
        // An instance of an earlier version may have to take it over.
        if row.try_get("older").map_err(error)? {
            return Ok(StoredRequest { request, packed: None });
        }
        let known: Vec<Vec<u8>> = row.try_get("known").map_err(error)?;
        let request = json(&Head::of(&new.request))?;
        Ok(StoredRequest { request, packed: Some(Packed::new(split, &known)) })
    }

    /// Erases contents that have lost their last use. Returns how many.
    ///
    /// A start that names one of them at this moment fails on its foreign key, and is tried again.
    pub(super) async fn forget_contents(&self) -> Result<u64, LogError> {
        let mut forgotten = 0;
        for _ in 0..PORTIONS {
            let (looked_at, erased) = self.forget_portion().await?;
            forgotten += erased;
            // An erased content may have been the last use of its parts.
            if erased == 0 && looked_at < PORTION.unsigned_abs() {
                break;
            }
        }
        Ok(forgotten)
    }

    /// The same behind an erasure, which is done whether this succeeds or not.
    pub(super) async fn forget_now(&self) {
        if let Err(error) = self.forget_contents().await {
            tracing::warn!(%error, "contents of what was erased stay until the next upkeep");
        }
    }

    /// How many contents were looked at, and how many of them erased.
    async fn forget_portion(&self) -> Result<(u64, u64), LogError> {
        let mut transaction = self.workers.begin().await.map_err(error)?;
        let mut loose: Vec<Vec<u8>> = sqlx::query_scalar(
            "delete from loose_contents where ctid = any(array( \
               select ctid from loose_contents limit $1 for update skip locked)) returning hash",
        )
        .bind(PORTION)
        .fetch_all(&mut *transaction)
        .await
        .map_err(error)?;
        let looked_at = loose.len() as u64;
        loose.sort_unstable();
        loose.dedup();
        // A start that uses one has it locked until its commit: that one is looked at again.
        let locked: Vec<Vec<u8>> = sqlx::query_scalar(
            "select hash from contents where hash = any($1) for update skip locked",
        )
        .bind(&loose)
        .fetch_all(&mut *transaction)
        .await
        .map_err(error)?;
        // A statement of its own: it sees every use that was there before the locks.
        let erased = sqlx::query(
            "delete from contents c where c.hash = any($1) \
             and not exists (select from content_uses u where u.hash = c.hash) \
             and not exists (select from content_parts p where p.part = c.hash)",
        )
        .bind(&locked)
        .execute(&mut *transaction)
        .await
        .map_err(error)?
        .rows_affected();
        loose.retain(|hash| !locked.contains(hash));
        sqlx::query("insert into loose_contents select hash from contents where hash = any($1)")
            .bind(&loose)
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        transaction.commit().await.map_err(error)?;
        Ok((looked_at, erased))
    }
}

impl Packed {
    /// The columns of what is not `known`.
    fn new(split: Split, known: &[Vec<u8>]) -> Self {
        let Split { packed, used, contents } = split;
        let known: BTreeSet<&[u8]> = known.iter().map(Vec::as_slice).collect();
        let mut columns = Self {
            text: packed,
            used,
            hashes: Vec::new(),
            bodies: Vec::new(),
            wholes: Vec::new(),
            parts: Vec::new(),
        };
        for (hash, content) in contents {
            if known.contains(hash.as_slice()) {
                continue;
            }
            columns.hashes.push(hash);
            columns.bodies.push(content.body);
            for part in content.parts {
                columns.wholes.push(hash);
                columns.parts.push(part);
            }
        }
        columns
    }
}

/// A start named a content that was erased at that moment: tried again, it stores it.
pub(super) fn retried(failed: sqlx::Error) -> LogError {
    let names_content = |database: &dyn sqlx::error::DatabaseError| {
        database.is_foreign_key_violation()
            && database.table().is_some_and(|table| table.starts_with("content_"))
    };
    if failed.as_database_error().is_some_and(names_content) {
        return LogError::Unavailable("a content was just erased".into());
    }
    error(failed)
}
