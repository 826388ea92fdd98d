//! The rows of generations: starts, cancels, erasures.
use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::contents::{CutRequest, LISTED, WHOLE};
use super::postgres::PgLog;
use super::rows::{self, GENERATION, GENERATION_LIGHT, answered, error};
use super::starts::insert_generation;
use super::{compact, turns};
use crate::domain::generation::{Generation, Idempotency, NewGeneration};
use crate::domain::id::{InstanceId, Seq, Tenant};
use crate::ports::{Address, Created, Deleted, Events, Filter, Generations, LogError};

#[async_trait]
impl Generations for PgLog {
    // The rows behind `conflict do nothing` tell a repeat from a reused key.
    async fn create(&self, new: &NewGeneration) -> Result<Created, LogError> {
        let cut = CutRequest::of(new)?;
        answered(async {
            let process = self.process;
            let inserted = match new.key {
                Some((_, Some(_))) => {
                    if let Some(known) = self.repeat_of(new).await? {
                        return Ok(known);
                    }
                    let stored = self.stored_request(new, cut).await?;
                    let mut transaction = self.workers.begin().await.map_err(error)?;
                    if !super::keys::has_room(&mut transaction, new).await? {
                        return Ok(Created::KeyBusy);
                    }
                    let inserted =
                        insert_generation(&mut *transaction, new, &stored, process).await?;
                    transaction.commit().await.map_err(error)?;
                    inserted
                }
                Some((_, None)) | None => {
                    let stored = self.stored_request(new, cut).await?;
                    insert_generation(&self.workers, new, &stored, process).await?
                }
            };
            let at = Address { tenant: new.tenant.clone(), id: new.id };
            let first = match inserted {
                Some(first) => Some(first),
                // Perhaps a try of this very start whose reply was lost.
                None => self.read(&at, Seq::ZERO, 1).await?.pop(),
            };
            if let Some(first) = first {
                let entries = vec![first];
                return Ok(Created::New(Box::new(rows::fresh(new, &entries)?), entries));
            }
            let Some(key) = &new.idempotency else {
                return Err(LogError::Broken(format!("generation {} was not stored", new.id)));
            };
            // Erased between the two statements: trying again stores it.
            self.repeated(&new.tenant, key)
                .await?
                .ok_or_else(|| LogError::Unavailable("the earlier start was just erased".into()))
        })
        .await
    }

    async fn repeated(
        &self,
        tenant: &Tenant,
        key: &Idempotency,
    ) -> Result<Option<Created>, LogError> {
        answered(async {
            let sql = format!(
                "select g.fingerprint, {GENERATION_LIGHT} from generations g \
                 where g.tenant = $1 and g.idempotency_key = $2"
            );
            let earlier = sqlx::query(AssertSqlSafe(sql))
                .bind(tenant.as_str())
                .bind(&key.key)
                .fetch_optional(&self.workers)
                .await
                .map_err(error)?;
            let Some(row) = earlier else { return Ok(None) };
            let fingerprint: Vec<u8> = row.try_get("fingerprint").map_err(error)?;
            if fingerprint != key.fingerprint {
                return Ok(Some(Created::KeyReused));
            }
            let (light, long) = self.light_in(&row)?;
            Ok(Some(Created::Replayed(Box::new(self.with_extras(light, long).await?))))
        })
        .await
    }

    async fn generation(&self, at: &Address) -> Result<Option<Generation>, LogError> {
        match answered(self.one(GENERATION_LIGHT, at)).await? {
            Some(row) => {
                let (light, long) = self.light_in(&row)?;
                self.with_extras(light, long).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn standing(&self, at: &Address) -> Result<Option<Generation>, LogError> {
        let row = answered(self.one(GENERATION, at)).await?;
        row.map(|row| self.generation_in(&row)).transpose()
    }

    async fn newest_of(&self, tenant: &Tenant, chat: &str) -> Result<Option<Generation>, LogError> {
        answered(async {
            let sql = format!(
                "select {GENERATION} from generations g where g.tenant = $1 \
                 and g.request ->> 'chat' = $2 order by g.id desc limit 1"
            );
            sqlx::query(AssertSqlSafe(sql))
                .bind(tenant.as_str())
                .bind(chat)
                .fetch_optional(&self.readers)
                .await
                .map_err(error)?
                .as_ref()
                .map(|row| self.generation_in(row))
                .transpose()
        })
        .await
    }

    async fn list(&self, tenant: &Tenant, filter: &Filter) -> Result<Vec<Generation>, LogError> {
        answered(async {
            // A page of long requests is megabytes, and none of it is shown.
            let columns = GENERATION_LIGHT.replace(WHOLE, LISTED);
            let sql = format!(
                "select {columns} from generations g where g.tenant = $1 \
                 and ($2::text is null or g.status = $2) and ($3::uuid is null or g.id < $3) \
                 and ($5::uuid is null or g.conversation_id = $5) order by g.id desc limit $4"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(tenant.as_str())
                .bind(filter.status.map(|s| s.as_str()))
                .bind(filter.before.map(|id| id.0))
                .bind(i64::from(filter.limit))
                .bind(filter.conversation.map(|id| id.0))
                .fetch_all(&self.readers)
                .await
                .map_err(error)?;
            Ok(self.all_readable("generations", &rows, |row| self.generation_in(row)))
        })
        .await
    }

    async fn delete(&self, at: &Address) -> Result<Deleted, LogError> {
        let deleted = answered(self.erase(at)).await?;
        if deleted == Deleted::Gone {
            self.forget_now().await;
        }
        Ok(deleted)
    }

    async fn request_cancel(&self, at: &Address) -> Result<Option<InstanceId>, LogError> {
        answered(async {
            sqlx::query_scalar(
                "update generations set status = 'cancelling', \
                 cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()) \
                 where id = $1 and tenant = $2 and status in ('queued', 'running', 'cancelling') \
                 returning owner",
            )
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .fetch_optional(&self.workers)
            .await
            .map(|owner| owner.map(InstanceId))
            .map_err(error)
        })
        .await
    }
}

impl PgLog {
    /// The row at `at` with these columns.
    async fn one(&self, columns: &'static str, at: &Address) -> Result<Option<PgRow>, LogError> {
        let sql = format!("select {columns} from generations g where g.id = $1 and g.tenant = $2");
        sqlx::query(AssertSqlSafe(sql))
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(error)
    }

    /// The generation in `row` without large extras, and whether it has some.
    fn light_in(&self, row: &PgRow) -> Result<(Generation, bool), LogError> {
        Ok((self.generation_in(row)?, row.try_get("long").map_err(error)?))
    }

    /// The same with them. All who read them at a time share them.
    async fn with_extras(&self, light: Generation, long: bool) -> Result<Generation, LogError> {
        let mut generation = light;
        let at = Address { tenant: generation.tenant.clone(), id: generation.id };
        if let Some(result) = generation.result.as_mut().filter(|_| long) {
            result.answer.extras = self.long_extras(&at, generation.epoch).await?;
        }
        Ok(generation)
    }

    /// The outcome of an earlier start with the same idempotency key.
    async fn repeat_of(&self, new: &NewGeneration) -> Result<Option<Created>, LogError> {
        let Some(key) = &new.idempotency else { return Ok(None) };
        self.repeated(&new.tenant, key).await
    }

    /// Erases an ended generation; the contents that nothing else uses stay for the next look.
    pub(super) async fn erase(&self, at: &Address) -> Result<Deleted, LogError> {
        let mut transaction = self.workers.begin().await.map_err(error)?;
        let conversation = turns::lock_conversation(&mut transaction, at).await?;
        let ended: Option<bool> = sqlx::query_scalar(
            "select done is not null from generations where id = $1 and tenant = $2 for update",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(error)?;
        match ended {
            None => return Ok(Deleted::Absent),
            Some(false) => return Ok(Deleted::Running),
            Some(true) => {}
        }
        if let Some(conversation) = conversation {
            turns::take_out(&mut transaction, at, conversation).await?;
        }
        compact::fold_all_of(&mut transaction, &[at.id.0]).await?;
        let statements = [
            "delete from doubled where generation_id in \
             (select id from generations where id = $1 and tenant = $2)",
            "delete from segments where generation_id in \
             (select id from generations where id = $1 and tenant = $2)",
            "delete from generations where id = $1 and tenant = $2",
        ];
        for statement in statements {
            sqlx::query(statement)
                .bind(at.id.0)
                .bind(at.tenant.as_str())
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
        }
        transaction.commit().await.map_err(error)?;
        Ok(Deleted::Gone)
    }
}
