//! How many connections this instance may have: what the server has, shared with the other
//! instances.
use sqlx::Row;

use super::postgres::PgLog;
use super::rows::error;
use crate::ports::LogError;

/// Connections of the readers, and as many of the workers, where there is room.
pub(super) const MOST: usize = 10;
/// The same where there is little.
const FEWEST: usize = 2;
/// A lane, a listener, a sender, two for the upkeep, and one that watches.
const FIXED: usize = 6;

/// The connections that the server has for all of us.
#[derive(Debug)]
struct Room {
    /// Connections that our role may have to our database.
    available: usize,
    /// The setting behind that limit.
    by: &'static str,
    /// Instances that are alive, this one included.
    instances: usize,
}

impl Room {
    /// The connections of the readers, and as many of the workers.
    fn share(&self) -> usize {
        let mine = self.available / self.instances.max(1);
        (mine.saturating_sub(FIXED) / 2).clamp(FEWEST, MOST)
    }

    fn needed(&self) -> usize {
        self.instances * (FIXED + 2 * FEWEST)
    }
}

impl PgLog {
    /// Connects what this instance cannot do without, and says what there is for the rest.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn reserve(&self) -> Result<(), LogError> {
        for pool in [&self.upkeep, &self.watch, &self.readers, &self.workers] {
            // A connection that is refused now is tried again when it is needed.
            if let Err(why) = pool.fill().await {
                tracing::warn!(%why, pool = pool.name(), "a connection is missing at the start");
            }
        }
        let mut room = self.room().await?;
        // This one has no lease yet.
        room.instances += 1;
        self.take(&room);
        let Room { available, by, instances } = room;
        let most = FIXED + 2 * room.share();
        if available < room.needed() {
            tracing::warn!(
                available,
                limited_by = by,
                instances,
                needed = room.needed(),
                "too few connections to PostgreSQL: an instance needs 10; raise {by}, or run fewer instances"
            );
        } else {
            tracing::info!(
                available,
                limited_by = by,
                instances,
                most,
                "connections to PostgreSQL"
            );
        }
        Ok(())
    }

    /// Takes this instance's share of the connections: less when others come, more when they go.
    pub(super) async fn fit(&self) -> Result<(), LogError> {
        let room = self.room().await?;
        self.take(&room);
        Ok(())
    }

    fn take(&self, room: &Room) {
        let share = room.share();
        self.readers.resize(share);
        self.workers.resize(share);
    }

    async fn room(&self) -> Result<Room, LogError> {
        let row = sqlx::query(
            "select current_setting('max_connections')::int as most, \
               current_setting('superuser_reserved_connections')::int \
                 + coalesce(current_setting('reserved_connections', true), '0')::int as reserved, \
               r.rolsuper, r.rolconnlimit, d.datconnlimit, \
               (select count(*) from instances where lease_until >= clock_timestamp())::int as instances \
             from pg_roles r, pg_database d \
             where r.rolname = session_user and d.datname = current_database()",
        )
        .fetch_one(&self.upkeep)
        .await
        .map_err(error)?;
        let number = |name| row.try_get::<i32, _>(name).map_err(error);
        let superuser: bool = row.try_get("rolsuper").map_err(error)?;
        let reserved = if superuser { 0 } else { number("reserved")? };
        let mut found = (number("most")? - reserved, "max_connections");
        // Neither holds for a superuser; -1 is no limit.
        for (limit, name) in
            [("rolconnlimit", "the role's limit"), ("datconnlimit", "the database's limit")]
        {
            let limit = number(limit)?;
            if !superuser && limit >= 0 && limit < found.0 {
                found = (limit, name);
            }
        }
        let (available, by) = (usize::try_from(found.0).unwrap_or_default(), found.1);
        let instances = usize::try_from(number("instances")?).unwrap_or_default();
        Ok(Room { available, by, instances })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_share_what_there_is_and_need_ten() {
        let room = |available, instances| Room { available, by: "", instances };
        for (available, instances, share) in
            [(97, 1, 10), (97, 3, 10), (97, 5, 6), (17, 1, 5), (10, 1, 2), (3, 1, 2)]
        {
            assert_eq!(room(available, instances).share(), share, "{available} for {instances}");
        }
        assert_eq!(room(97, 5).needed(), 50);
        let all = 5 * (FIXED + 2 * room(97, 5).share());
        assert!(all <= 97, "{all}");
    }
}
