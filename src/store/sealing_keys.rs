//! The keys of `domain::sealed`: each seals for 30 days, and opens for 90 more.
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::pool::Pool;
use super::rows::error;
use crate::domain::key::SigningKey;
use crate::domain::sealed::{SealingKey, SealingKeys};
use crate::ports::LogError;

/// The first key seals at once, a later one an hour after it was made. Each instance looks for new
/// keys every minute, and must know one before another instance seals with it.
const NEXT: &str = "insert into sealing_keys (number, key, seals_from) \
    select coalesce(max(number), 0) + 1, $1, \
      clock_timestamp() + case when max(number) is null then interval '0' else interval '1 hour' end \
    from sealing_keys \
    having max(number) is null or max(seals_from) < clock_timestamp() - interval '30 days' \
    on conflict (number) do nothing";

/// A key is over 90 days after the next one began to seal.
const OVER: &str = "delete from sealing_keys old using sealing_keys next \
    where next.number = old.number + 1 \
      and next.seals_from < clock_timestamp() - interval '90 days'";

/// The keys that are there, with `new` among them where the next one is due.
pub(super) async fn kept(pool: &Pool, new: SigningKey) -> Result<SealingKeys, LogError> {
    sqlx::query(NEXT).bind(new.0.as_slice()).execute(pool).await.map_err(error)?;
    sqlx::query(OVER).execute(pool).await.map_err(error)?;
    // A statement of its own: of two that start at once, the later one sees the other's.
    let rows = sqlx::query("select number, key, seals_from from sealing_keys");
    let rows = rows.fetch_all(pool).await.map_err(error)?;
    rows.iter().map(key).collect::<Result<_, _>>().map(SealingKeys::new)
}

fn key(row: &PgRow) -> Result<SealingKey, LogError> {
    let number = row.try_get("number").map_err(error)?;
    let key: Vec<u8> = row.try_get("key").map_err(error)?;
    let key = key.try_into().map(SigningKey);
    let key = key.map_err(|_| LogError::Broken(format!("sealing key {number} is not one")))?;
    Ok(SealingKey { number, key, seals_from: row.try_get("seals_from").map_err(error)? })
}
