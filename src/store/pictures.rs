//! Pictures, and who names them.
use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::postgres::PgLog;
use super::rows::{answered, error};
use super::shares::LATER_TURNS;
use crate::domain::conversation::NewMessage;
use crate::domain::generation::NewGeneration;
use crate::domain::id::{MessageId, Tenant};
use crate::domain::picture::{Picture, PictureId, PictureKind};
use crate::ports::{ConversationAt, LogError, Pictures};

/// The most messages of a shared branch that are looked through, as many as a link shows.
const SHOWN: i32 = 10_000;

/// Pictures in the database of the log.
#[derive(Clone, Debug)]
pub(super) struct PgPictures {
    pub(super) log: PgLog,
}

#[async_trait]
impl Pictures for PgPictures {
    async fn keep(&self, tenant: &Tenant, picture: &Picture) -> Result<bool, LogError> {
        answered(async {
            let id = picture.id();
            // One that is there is not sent to the database again.
            let known = sqlx::query(
                "update pictures set sent_at = clock_timestamp() where tenant = $1 and hash = $2",
            )
            .bind(tenant.as_str())
            .bind(id.0.as_slice())
            .execute(&self.log.workers)
            .await
            .map_err(error)?;
            if known.rows_affected() > 0 {
                return Ok(false);
            }
            sqlx::query(
                "insert into pictures (tenant, hash, media_type, bytes) values ($1, $2, $3, $4) \
                 on conflict (tenant, hash) do update set sent_at = excluded.sent_at",
            )
            .bind(tenant.as_str())
            .bind(id.0.as_slice())
            .bind(picture.kind.media_type())
            .bind(&picture.bytes)
            .execute(&self.log.workers)
            .await
            .map_err(error)?;
            Ok(true)
        })
        .await
    }

    async fn find(&self, tenant: &Tenant, id: PictureId) -> Result<Option<Picture>, LogError> {
        answered(async {
            let row = sqlx::query(
                "select media_type, bytes from pictures where tenant = $1 and hash = $2",
            )
            .bind(tenant.as_str())
            .bind(id.0.as_slice())
            .fetch_optional(&self.log.readers)
            .await
            .map_err(error)?;
            row.as_ref().map(picture).transpose()
        })
        .await
    }

    async fn sizes(
        &self,
        tenant: &Tenant,
        ids: &[PictureId],
    ) -> Result<Vec<(PictureId, u64)>, LogError> {
        answered(async {
            let hashes: Vec<&[u8]> = ids.iter().map(|id| id.0.as_slice()).collect();
            let rows: Vec<(Vec<u8>, i32)> = sqlx::query_as(
                "select hash, octet_length(bytes) from pictures \
                 where tenant = $1 and hash = any($2)",
            )
            .bind(tenant.as_str())
            .bind(hashes)
            .fetch_all(&self.log.readers)
            .await
            .map_err(error)?;
            let sized = |(hash, bytes): (Vec<u8>, i32)| {
                Some((PictureId(hash.try_into().ok()?), bytes.unsigned_abs().into()))
            };
            Ok(rows.into_iter().filter_map(sized).collect())
        })
        .await
    }

    /// The branch is the one that the link shows. It ends with the last turn, with the answer that
    /// was being made, or with the leaf of its making.
    async fn shared(&self, token_hash: &[u8], id: PictureId) -> Result<Option<Picture>, LogError> {
        answered(async {
            let sql = format!(
                "with recursive {LATER_TURNS}, up as (\
                   select m.id, m.parent_id, m.conversation_id, m.tenant, 1 as depth from link s \
                   left join branch_end e on true \
                   left join messages a on a.id = s.generation_id \
                     and a.conversation_id = s.conversation_id and a.tenant = s.tenant \
                   join messages m on m.id = coalesce(e.message, a.id, s.leaf) \
                     and m.conversation_id = s.conversation_id and m.tenant = s.tenant \
                   union all select m.id, m.parent_id, m.conversation_id, m.tenant, up.depth + 1 \
                   from up join messages m on m.id = up.parent_id \
                     and m.conversation_id = up.conversation_id and m.tenant = up.tenant \
                   where up.depth < $3) \
                 select p.media_type, p.bytes from pictures p where p.hash = $2 and exists \
                   (select from up join picture_uses u on u.message_id = up.id \
                    where u.hash = p.hash and u.tenant = p.tenant and up.tenant = p.tenant)"
            );
            let row = sqlx::query(AssertSqlSafe(sql))
                .bind(token_hash)
                .bind(id.0.as_slice())
                .bind(SHOWN)
                .fetch_optional(&self.log.readers)
                .await
                .map_err(error)?;
            row.as_ref().map(picture).transpose()
        })
        .await
    }
}

fn picture(row: &PgRow) -> Result<Picture, LogError> {
    let media_type: &str = row.try_get("media_type").map_err(error)?;
    let kind = PictureKind::parse(media_type)
        .ok_or_else(|| LogError::Broken(format!("a picture's type: {media_type}")))?;
    Ok(Picture { kind, bytes: row.try_get("bytes").map_err(error)? })
}

impl PgLog {
    /// Erases what was sent a day ago and is named nowhere.
    pub(super) async fn forget_pictures(&self) -> Result<(), LogError> {
        let forgotten = sqlx::query(
            "delete from pictures where (tenant, hash) in (\
               select p.tenant, p.hash from pictures p \
               where p.sent_at < clock_timestamp() - interval '1 day' and not exists \
                 (select from picture_uses u where u.tenant = p.tenant and u.hash = p.hash) \
               limit 1000 for update skip locked)",
        )
        .execute(&self.workers)
        .await;
        match forgotten {
            Ok(_) => Ok(()),
            // One was named at this very moment; the next upkeep looks again.
            Err(sqlx::Error::Database(e)) if e.is_foreign_key_violation() => Ok(()),
            Err(other) => Err(error(other)),
        }
    }
}

/// Notes the pictures that a message names.
pub(super) async fn name(
    connection: &mut PgConnection,
    at: &ConversationAt,
    message: MessageId,
    said: &NewMessage,
) -> Result<(), LogError> {
    let hashes: Vec<Vec<u8>> =
        said.said.iter().flat_map(|m| m.kept_pictures()).map(|id| id.0.to_vec()).collect();
    if hashes.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into picture_uses (tenant, hash, message_id) \
         select $1, hash, $2 from unnest($3::bytea[]) hash on conflict do nothing",
    )
    .bind(at.tenant.as_str())
    .bind(message.0)
    .bind(hashes)
    .execute(connection)
    .await
    .map(drop)
    .map_err(error)
}

/// The pictures that a generation outside of conversations names; in one its messages do.
pub(super) fn named_outside(new: &NewGeneration) -> Vec<Vec<u8>> {
    let messages = new.request.prompt.messages.iter().filter(|_| new.place.is_none());
    let mut hashes: Vec<Vec<u8>> =
        messages.flat_map(|m| m.kept_pictures()).map(|id| id.0.to_vec()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}
