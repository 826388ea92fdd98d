//! One lane: a connection that appends, and what keeps it from appending what is not its to append.
//!
//! A lane is a row that its appends hold for their time. A take-over closes the lanes of the old
//! owner: it waits for an append under way, and every later one is refused. A lane lives as long as
//! its connection. The next lane closes it when it opens, which decides an append whose outcome is
//! unknown.
use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection, PgConnection, Row};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::append::append;
use super::append_cache::AppendCache;
use super::rows::{answered, error, seq};
use super::supply::Supply;
use crate::domain::id::{Epoch, GenerationId, InstanceId, Seq};
use crate::ports::{Append, LogError, LogWriter, RowChange, Tail};

/// Generations that a lane remembers; those that it has forgotten are looked up again.
const KNOWN: usize = 16 * 1024;

/// A lane that is older is replaced. Each fold leaves a version of its row, up to four a second.
/// While a session elsewhere keeps its transaction open, each append walks past all of them.
const OLD: Duration = Duration::from_secs(120);

/// A lane looks up rows by their keys, and few of them. A planner that saw an empty table scans it
/// from end to end, until its statistics show the real size.
const BY_KEY: [(&str, &str); 3] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];

/// One lane of an instance, with a connection of its own.
pub(super) struct PgWriter {
    supply: Supply,
    owner: InstanceId,
    append_cache: AppendCache,
    open: Option<Open>,
    /// Connected, before there is anything to append.
    spare: Option<PgConnection>,
    /// The lane of a connection that was lost: its last append may still be under way.
    left: Option<Uuid>,
}

/// A lane while it is open.
struct Open {
    connection: PgConnection,
    lane: LanePosition,
}

/// Where the next append goes.
pub(super) struct LanePosition {
    pub(super) id: Uuid,
    began: Instant,
    /// The row of the journal that is written next, or was last.
    pub(super) n: i64,
    pub(super) append_cache: AppendCache,
    /// The generations that were appended here.
    known: HashMap<GenerationId, Known>,
}

/// A generation that a lane has appended to.
struct Known {
    /// The seq that comes next.
    next: Seq,
    /// Whether this lane has looked up its epoch: a take-over after that closes the lane.
    checked: bool,
    spoke: Spoke,
}

/// When the first content of a generation became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoke {
    /// There is none yet.
    Not,
    /// Then, by the database's clock.
    At(OffsetDateTime),
    /// Maybe before this lane began: the log knows.
    Unknown,
}

impl PgWriter {
    pub(super) fn new(supply: Supply, owner: InstanceId, append_cache: AppendCache) -> Self {
        Self { supply, owner, append_cache, open: None, spare: None, left: None }
    }

    /// The open lane, out of `self`: a call that is dropped half-way must not leave it in use.
    async fn take(&mut self) -> Result<Open, LogError> {
        if let Some(open) = self.open.take() {
            // Until it is given back.
            self.left = Some(open.lane.id);
            return Ok(open);
        }
        answered(self.begin()).await.inspect_err(|_| self.supply.appended(false))
    }

    async fn begin(&mut self) -> Result<Open, LogError> {
        let mut connection = match self.spare.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let id = open(&mut connection, self.owner, self.left).await?;
        self.left = Some(id);
        Ok(Open { connection, lane: self.place(id) })
    }

    async fn connect(&self) -> Result<PgConnection, LogError> {
        let sessions = self.supply.sessions().with(&BY_KEY);
        Ok(self.supply.open_first(&sessions).await.map_err(error)?.connection)
    }

    /// The beginning of a lane.
    fn place(&self, id: Uuid) -> LanePosition {
        LanePosition {
            id,
            began: Instant::now(),
            n: 0,
            append_cache: self.append_cache.clone(),
            known: HashMap::new(),
        }
    }

    /// Replaces a lane that is old.
    async fn renew(&mut self, own: &mut Open) -> Result<(), LogError> {
        if own.lane.began.elapsed() < OLD {
            return Ok(());
        }
        let id = open(&mut own.connection, self.owner, Some(own.lane.id)).await?;
        self.left = Some(id);
        let known = std::mem::take(&mut own.lane.known);
        own.lane = LanePosition { known, ..self.place(id) };
        own.lane.known.values_mut().for_each(|known| known.checked = false);
        Ok(())
    }

    /// Only a connection whose last call succeeded, or was refused for what it said, is in a
    /// known state.
    fn keep<T>(&mut self, open: Open, result: &Result<T, LogError>) {
        self.supply.appended(!matches!(result, Err(LogError::Unavailable(_))));
        match result {
            Ok(_) | Err(LogError::Conflict) => {
                self.left = None;
                self.open = Some(open);
            }
            Err(LogError::Unavailable(_) | LogError::Broken(_) | LogError::Doubled(_)) => {
                drop(open);
            }
        }
    }
}

#[async_trait]
impl LogWriter for PgWriter {
    async fn open(&mut self) -> Result<(), LogError> {
        if self.open.is_none() && self.spare.is_none() {
            self.spare = Some(answered(self.connect()).await?);
        }
        Ok(())
    }

    async fn register(&mut self) -> Result<(), LogError> {
        let own = self.take().await?;
        self.keep(own, &Ok(()));
        Ok(())
    }

    async fn append(&mut self, batch: &[&Append]) -> Result<(), LogError> {
        // A first connection is silent; a lost one was reported by the call that lost it.
        let mut own = self.take().await?;
        let mut result = answered(async {
            self.renew(&mut own).await?;
            append(&mut own.connection, &mut own.lane, batch).await
        })
        .await;
        if let Err(LogError::Conflict) = result {
            // Open before the tails are looked at, so that a take-over after that closes it.
            let next = open(&mut own.connection, self.owner, Some(own.lane.id));
            match answered(next).await {
                Ok(id) => own.lane = self.place(id),
                Err(error) => result = Err(error),
            }
        }
        self.keep(own, &result);
        result
    }

    async fn tails(&mut self, ids: &[GenerationId]) -> Result<Vec<Tail>, LogError> {
        let mut own = self.take().await?;
        let result = answered(tails(&mut own.connection, ids)).await;
        self.keep(own, &result);
        result
    }
}

/// Closes `left` and opens a lane. Take-overs from `owner` are over when it is open, or see it.
async fn open(
    connection: &mut PgConnection,
    owner: InstanceId,
    left: Option<Uuid>,
) -> Result<Uuid, LogError> {
    let mut transaction = connection.begin().await.map_err(error)?;
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(lock_of(owner))
        .execute(&mut *transaction)
        .await
        .map_err(error)?;
    close(&mut transaction, "id = $1", left.unwrap_or_default()).await?;
    let new = "with new as (insert into lanes (id, owner, backend, backend_start) \
                 select gen_random_uuid(), $1, pid, backend_start from pg_stat_activity \
                 where pid = pg_backend_pid() returning id) select id from new";
    let id =
        sqlx::query_scalar(new).bind(owner.0).fetch_one(&mut *transaction).await.map_err(error)?;
    transaction.commit().await.map_err(error)?;
    Ok(id)
}

/// Closes the lanes that `which` names by `$1`, when their appends under way are decided.
pub(super) async fn close(
    connection: &mut PgConnection,
    which: &'static str,
    id: Uuid,
) -> Result<(), LogError> {
    // In two statements: the lock that waits for appends is stronger than the update's.
    for statement in [
        format!("select id from lanes where {which} and open order by id for update"),
        format!("update lanes set open = false where {which} and open"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(id)
            .execute(&mut *connection)
            .await
            .map_err(error)?;
    }
    Ok(())
}

/// Takes turns with the lanes that `owner` opens, until the transaction ends.
pub(super) async fn beside_new_lanes(
    connection: &mut PgConnection,
    owner: InstanceId,
) -> Result<(), LogError> {
    sqlx::query("select pg_advisory_xact_lock_shared($1)")
        .bind(lock_of(owner))
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}

/// The number of an instance among advisory locks: two of the same only wait for each other.
fn lock_of(owner: InstanceId) -> i64 {
    let (_, low) = owner.0.as_u64_pair();
    low.cast_signed()
}

/// The facts about a batch that a lane needs.
#[derive(Default)]
pub(super) struct Admitted {
    /// Generations whose epochs it has not looked up, and the epochs of their appends.
    pub(super) fresh: Vec<Uuid>,
    pub(super) epochs: Vec<i32>,
    /// Those whose first content is in it.
    speaking: Vec<GenerationId>,
}

impl LanePosition {
    /// Takes note of `batch`, which is about to be appended; `None` if one of it does not go on
    /// where its generation is. Any later failure ends the lane, and its notes with it.
    pub(super) fn admit(&mut self, batch: &[&Append]) -> Option<Admitted> {
        if self.known.len() > KNOWN {
            self.known.clear();
        }
        let mut admitted = Admitted::default();
        for &append in batch {
            let (Some(first), Some(last)) = (append.entries.first(), append.entries.last()) else {
                continue;
            };
            let known = self.known.entry(append.at.id).or_insert_with(|| {
                // Before its second event it has said no more than that it has started.
                let silent = first.seq == Seq::ZERO.next().next();
                let spoke = if silent { Spoke::Not } else { Spoke::Unknown };
                Known { next: first.seq, checked: false, spoke }
            });
            if !known.checked {
                admitted.fresh.push(append.at.id.0);
                admitted.epochs.push(append.epoch.0);
                known.checked = true;
            }
            if known.next != first.seq {
                return None;
            }
            known.next = last.seq.next();
            if known.spoke == Spoke::Not && append.entries.iter().any(|e| e.kind.is_content()) {
                admitted.speaking.push(append.at.id);
            }
        }
        self.n += 1;
        Some(admitted)
    }

    /// The admitted batch is written, `at` this time.
    pub(super) fn note(&mut self, admitted: &Admitted, at: OffsetDateTime) {
        for id in &admitted.speaking {
            let Some(known) = self.known.get_mut(id) else { continue };
            known.spoke = Spoke::At(at);
        }
    }

    /// When a generation spoke.
    pub(super) fn spoke(&self, id: GenerationId) -> Spoke {
        self.known.get(&id).map_or(Spoke::Unknown, |known| known.spoke)
    }

    /// Forgets what ends in `batch`.
    pub(super) fn forget_ended(&mut self, batch: &[&Append]) {
        for append in batch {
            if matches!(append.row, RowChange::Ended(_)) {
                self.known.remove(&append.at.id);
            }
        }
    }
}

async fn tails(connection: &mut PgConnection, ids: &[GenerationId]) -> Result<Vec<Tail>, LogError> {
    let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query(
        "with newest as (select generation_id as id, max(seq) as seq from unfolded \
           where generation_id = any($1) group by 1) \
         select w.id, coalesce(g.epoch, 0) as epoch, greatest(coalesce(newest.seq, 0), \
           coalesce((select s.last from segments s where s.generation_id = w.id \
             order by s.seq desc limit 1), 0)) as seq \
         from unnest($1::uuid[]) as w (id) left join generations g on g.id = w.id \
         left join newest on newest.id = w.id",
    )
    .bind(&wanted)
    .fetch_all(connection)
    .await
    .map_err(error)?;
    rows.iter()
        .map(|row| {
            Ok(Tail {
                id: GenerationId(row.try_get("id").map_err(error)?),
                seq: seq(row.try_get("seq").map_err(error)?),
                epoch: Epoch(row.try_get("epoch").map_err(error)?),
            })
        })
        .collect()
}
