//! Keys, sessions and tickets, by their hashes.
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::postgres::PgLog;
use super::rows::{answered, error, json};
use super::sealing_keys;
use crate::domain::generation::NewGeneration;
use crate::domain::id::{GenerationId, KeyId, Tenant};
use crate::domain::key::{Digest, Key, Scope, SecretKind, SigningKey};
use crate::domain::sealed::SealingKeys;
use crate::ports::{Address, Found, KeyRow, Keys, LogError, NewKey};

/// A key's and a session's credential alike. A session ends with its key at the latest.
const LOOK_UP: &str = "select k.digest as credential, false as session, k.id, k.name, k.tenant, \
      k.scopes, k.limits::text as limits, k.revoked_at is not null as revoked, \
      extract(epoch from k.expires_at - clock_timestamp())::float8 as left \
    from keys k where k.digest = any($1) \
    union all \
    select s.digest, true, k.id, k.name, k.tenant, k.scopes, k.limits::text, \
      k.revoked_at is not null, \
      extract(epoch from least(k.expires_at, s.expires_at) - clock_timestamp())::float8 \
    from sessions s join keys k on k.id = s.key_id where s.digest = any($1)";

#[async_trait]
impl Keys for PgLog {
    async fn create(&self, new: &NewKey) -> Result<(), LogError> {
        let scopes: Vec<&str> = new.key.scopes.iter().map(|scope| scope.as_str()).collect();
        answered(async {
            sqlx::query(
                "insert into keys (id, name, tenant, digest, hint, scopes, limits, expires_at) \
                 values ($1, $2, $3, $4, $5, $6, $7::json, \
                   clock_timestamp() + make_interval(secs => $8))",
            )
            .bind(new.key.id.0)
            .bind(&new.key.name)
            .bind(new.key.tenant.as_str())
            .bind(new.digest.0.as_slice())
            .bind(&new.hint)
            .bind(scopes)
            .bind(json(&new.key.limits)?)
            .bind(new.lasts.map(|lasts| lasts.as_secs_f64()))
            .execute(&self.workers)
            .await
            .map(drop)
            .map_err(error)
        })
        .await
    }

    async fn list(&self) -> Result<Vec<KeyRow>, LogError> {
        answered(async {
            let rows = sqlx::query(
                "select id, name, tenant, hint, scopes, limits::text as limits, created_at, \
                 expires_at, revoked_at, last_used_at from keys order by id",
            )
            .fetch_all(&self.workers)
            .await
            .map_err(error)?;
            Ok(self.all_readable("keys", &rows, listed))
        })
        .await
    }

    async fn revoke(&self, id: KeyId) -> Result<bool, LogError> {
        answered(async {
            sqlx::query(
                "update keys set revoked_at = clock_timestamp() \
                 where id = $1 and revoked_at is null",
            )
            .bind(id.0)
            .execute(&self.workers)
            .await
            .map(|done| done.rows_affected() > 0)
            .map_err(error)
        })
        .await
    }

    async fn signing_key(&self, new: SigningKey) -> Result<SigningKey, LogError> {
        answered(async {
            let made = "insert into signing_key (key) values ($1) on conflict do nothing";
            let made = sqlx::query(made).bind(new.0.as_slice()).execute(&self.workers);
            made.await.map_err(error)?;
            // A statement of its own: of two that start at once, the later one sees the other's.
            let key = sqlx::query_scalar("select key from signing_key");
            let key: Vec<u8> = key.fetch_one(&self.workers).await.map_err(error)?;
            let key = key.try_into();
            key.map(SigningKey).map_err(|_| LogError::Broken("the signing key is not one".into()))
        })
        .await
    }

    async fn sealing_keys(&self, new: SigningKey) -> Result<SealingKeys, LogError> {
        answered(sealing_keys::kept(&self.workers, new)).await
    }

    async fn any(&self) -> Result<bool, LogError> {
        answered(async {
            sqlx::query_scalar(
                "select exists (select from keys where revoked_at is null \
                 and (expires_at is null or expires_at > clock_timestamp()))",
            )
            .fetch_one(&self.workers)
            .await
            .map_err(error)
        })
        .await
    }

    async fn look_up(&self, credentials: &[Digest]) -> Result<Vec<Found>, LogError> {
        let digests: Vec<&[u8]> = credentials.iter().map(|digest| digest.0.as_slice()).collect();
        answered(async {
            let rows = sqlx::query(LOOK_UP).bind(digests).fetch_all(&self.workers).await;
            rows.map_err(error)?.iter().map(found).collect()
        })
        .await
    }

    async fn used(&self, keys: &[KeyId]) -> Result<(), LogError> {
        let ids: Vec<_> = keys.iter().map(|id| id.0).collect();
        answered(async {
            sqlx::query("update keys set last_used_at = clock_timestamp() where id = any($1)")
                .bind(ids)
                .execute(&self.workers)
                .await
                .map(drop)
                .map_err(error)
        })
        .await
    }

    async fn sign_in(&self, session: Digest, key: KeyId, lasts: Duration) -> Result<(), LogError> {
        answered(async {
            sqlx::query(
                "insert into sessions (digest, key_id, expires_at) \
                 values ($1, $2, clock_timestamp() + make_interval(secs => $3))",
            )
            .bind(session.0.as_slice())
            .bind(key.0)
            .bind(lasts.as_secs_f64())
            .execute(&self.workers)
            .await
            .map(drop)
            .map_err(error)
        })
        .await
    }

    async fn sign_out(&self, session: Digest) -> Result<(), LogError> {
        answered(async {
            sqlx::query("delete from sessions where digest = $1")
                .bind(session.0.as_slice())
                .execute(&self.workers)
                .await
                .map(drop)
                .map_err(error)
        })
        .await
    }

    async fn issue(
        &self,
        ticket: Digest,
        credential: Option<Digest>,
        lasts: Duration,
    ) -> Result<(), LogError> {
        answered(async {
            sqlx::query(
                "insert into tickets (digest, credential, expires_at) \
                 values ($1, $2, clock_timestamp() + make_interval(secs => $3))",
            )
            .bind(ticket.0.as_slice())
            .bind(credential.map(|credential| credential.0.to_vec()))
            .bind(lasts.as_secs_f64())
            .execute(&self.workers)
            .await
            .map(drop)
            .map_err(error)
        })
        .await
    }

    async fn redeem(&self, ticket: Digest) -> Result<Option<Option<Digest>>, LogError> {
        answered(async {
            let taken: Option<(bool, Option<Vec<u8>>)> = sqlx::query_as(
                "delete from tickets where digest = $1 \
                 returning expires_at > clock_timestamp(), credential",
            )
            .bind(ticket.0.as_slice())
            .fetch_optional(&self.workers)
            .await
            .map_err(error)?;
            let Some((true, credential)) = taken else { return Ok(None) };
            credential.map(|bytes| digest(&bytes)).transpose().map(Some)
        })
        .await
    }

    async fn issue_for(
        &self,
        ticket: Digest,
        credential: Option<Digest>,
        at: &Address,
    ) -> Result<bool, LogError> {
        answered(async {
            sqlx::query(
                "insert into generation_tickets (digest, credential, generation) \
                 select $1, $2, id from generations where id = $3 and tenant = $4",
            )
            .bind(ticket.0.as_slice())
            .bind(credential.map(|credential| credential.0.to_vec()))
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .execute(&self.workers)
            .await
            .map(|done| done.rows_affected() > 0)
            .map_err(error)
        })
        .await
    }

    async fn behind(
        &self,
        ticket: Digest,
        generation: GenerationId,
    ) -> Result<Option<Option<Digest>>, LogError> {
        answered(async {
            let found: Option<Option<Vec<u8>>> = sqlx::query_scalar(
                "select credential from generation_tickets where digest = $1 and generation = $2",
            )
            .bind(ticket.0.as_slice())
            .bind(generation.0)
            .fetch_optional(&self.workers)
            .await
            .map_err(error)?;
            let Some(credential) = found else { return Ok(None) };
            credential.map(|bytes| digest(&bytes)).transpose().map(Some)
        })
        .await
    }

    async fn sweep(&self) -> Result<(), LogError> {
        answered(async {
            for statement in [
                "delete from sessions where expires_at < clock_timestamp()",
                "delete from tickets where expires_at < clock_timestamp()",
                "delete from generation_tickets t where \
                 not exists (select from generations g where g.id = t.generation) \
                 or (credential is not null \
                   and not exists (select from sessions s where s.digest = t.credential) \
                   and not exists (select from keys k where k.digest = t.credential \
                     and k.revoked_at is null \
                     and (k.expires_at is null or k.expires_at > clock_timestamp())))",
            ] {
                sqlx::query(statement).execute(&self.workers).await.map_err(error)?;
            }
            Ok(())
        })
        .await
    }
}

/// Whether the key that asks may have one generation more. Of two that ask at once, on whatever
/// instance, the second waits until the first one's transaction is over.
pub(super) async fn has_room(
    connection: &mut PgConnection,
    new: &NewGeneration,
) -> Result<bool, LogError> {
    let Some((key, Some(most))) = new.key else { return Ok(true) };
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1::uuid::text, 0))")
        .bind(key.0)
        .execute(&mut *connection)
        .await
        .map_err(error)?;
    // A try of this very start whose reply was lost does not count.
    let running: i64 = sqlx::query_scalar(
        "select count(*) from generations where key_id = $1 and id <> $2 \
         and status in ('queued', 'running', 'cancelling')",
    )
    .bind(key.0)
    .bind(new.id.0)
    .fetch_one(connection)
    .await
    .map_err(error)?;
    Ok(running < i64::from(most))
}

fn listed(row: &PgRow) -> Result<KeyRow, LogError> {
    Ok(KeyRow {
        key: key(row)?,
        hint: row.try_get("hint").map_err(error)?,
        created_at: row.try_get("created_at").map_err(error)?,
        expires_at: row.try_get("expires_at").map_err(error)?,
        revoked_at: row.try_get("revoked_at").map_err(error)?,
        last_used_at: row.try_get("last_used_at").map_err(error)?,
    })
}

fn found(row: &PgRow) -> Result<Found, LogError> {
    let session: bool = row.try_get("session").map_err(error)?;
    let left: Option<f64> = row.try_get("left").map_err(error)?;
    Ok(Found {
        credential: digest(row.try_get("credential").map_err(error)?)?,
        kind: if session { SecretKind::Session } else { SecretKind::Key },
        key: key(row)?,
        revoked: row.try_get("revoked").map_err(error)?,
        // More than a Duration holds is as good as for ever.
        left: left.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok()),
    })
}

fn key(row: &PgRow) -> Result<Key, LogError> {
    let id = KeyId(row.try_get("id").map_err(error)?);
    let bad = |what: String| LogError::Broken(format!("key {id}: {what}"));
    let scopes: Vec<String> = row.try_get("scopes").map_err(error)?;
    let limits: &str = row.try_get("limits").map_err(error)?;
    Ok(Key {
        id,
        name: row.try_get("name").map_err(error)?,
        tenant: Tenant::named(row.try_get("tenant").map_err(error)?),
        scopes: scopes
            .iter()
            .map(|scope| scope.parse::<Scope>().map_err(|e| bad(e.to_string())))
            .collect::<Result<_, _>>()?,
        limits: serde_json::from_str(limits).map_err(|e| bad(format!("limits: {e}")))?,
    })
}

fn digest(bytes: &[u8]) -> Result<Digest, LogError> {
    let bytes = bytes.try_into().map_err(|_| LogError::Broken("a digest of odd size".into()))?;
    Ok(Digest(bytes))
}
