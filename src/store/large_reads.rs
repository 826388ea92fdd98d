//! Values of megabytes: whoever reads one while somebody else has it gets the same memory.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::lines;
use super::postgres::PgLog;
use super::rows::{self, answered, error, seq};
use crate::domain::entry::{Entry, WeakEntry};
use crate::domain::extra::{Extra, Placed};
use crate::domain::id::{Epoch, GenerationId, Seq};
use crate::domain::json::{JsonObject, WeakJson};
use crate::ports::{Address, LogError};

/// Values that are read at a time: each takes three times its size for that moment.
const AT_ONCE: usize = 1;
/// A shorter text beside others is kept with them; bytes.
const SHORT: usize = 256 * 1024;

/// A generation, the seq that a row of its log begins with, and the epoch that wrote it. A log that
/// was restored has other epochs.
type Place = (Uuid, i64, i32);

/// The large values that readers of this process have. Cheap to clone.
#[derive(Clone)]
pub(super) struct LargeReads<T: Sharable> {
    rows: Arc<Mutex<HashMap<Place, Arc<Values<T>>>>>,
    reading: Arc<Semaphore>,
}

/// The values of a row, while it is read and as long as somebody has them.
type Values<T> = tokio::sync::Mutex<Vec<Held<T, <T as Sharable>::Weak>>>;

enum Held<T, W> {
    Small(T),
    Large(W),
}

/// A part of a row that may be large.
pub(super) trait Sharable: Clone {
    /// A way back to it for as long as somebody has it.
    type Weak;

    /// None of a small one.
    fn weak(&self) -> Option<Self::Weak>;

    /// The value, if it is still there.
    fn of(weak: &Self::Weak) -> Option<Self>;
}

impl Sharable for Entry {
    type Weak = WeakEntry;

    fn weak(&self) -> Option<WeakEntry> {
        self.is_large().then(|| self.downgrade())
    }

    fn of(weak: &WeakEntry) -> Option<Self> {
        weak.upgrade()
    }
}

impl Sharable for Placed {
    type Weak = (Self, WeakJson);

    fn weak(&self) -> Option<Self::Weak> {
        let data = &self.extra.data;
        let without = Extra { data: JsonObject::default(), ..self.extra.clone() };
        (data.text().len() > SHORT)
            .then(|| (Self { extra: without, ..self.clone() }, data.downgrade()))
    }

    fn of((placed, data): &Self::Weak) -> Option<Self> {
        let extra = Extra { data: data.upgrade()?, ..placed.extra.clone() };
        Some(Self { extra, ..placed.clone() })
    }
}

impl<T: Sharable> Default for LargeReads<T> {
    fn default() -> Self {
        Self { rows: Arc::default(), reading: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl<T: Sharable> fmt::Debug for LargeReads<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeReads").finish_non_exhaustive()
    }
}

impl<T: Sharable> LargeReads<T> {
    /// The values of the row at `place`: those that somebody has, or what `read` reads. Empty if
    /// the row is no longer there.
    pub(super) async fn get(
        &self,
        place: Place,
        read: impl Future<Output = Result<Vec<T>, LogError>>,
    ) -> Result<Vec<T>, LogError> {
        let row = Arc::clone(self.rows.lock().entry(place).or_default());
        let mut held = row.lock().await;
        if let Some(values) = all(&held) {
            return Ok(values);
        }
        let _turn = self.reading.acquire().await.map_err(|_| error(sqlx::Error::PoolClosed))?;
        let values = read.await?;
        *held = values.iter().any(|value| value.weak().is_some()).then_some(&values).map_or_else(
            Vec::new,
            |values| {
                let hold = |value: &T| value.weak().map_or(Held::Small(value.clone()), Held::Large);
                values.iter().map(hold).collect()
            },
        );
        drop(held);
        self.forget_unread();
        Ok(values)
    }

    /// Forgets the rows that nobody has any more.
    fn forget_unread(&self) {
        let in_use =
            |row: &Arc<Values<T>>| row.try_lock().map_or(true, |held| all::<T>(&held).is_some());
        self.rows.lock().retain(|_, row| in_use(row));
    }
}

/// All values of a row, if there are any and somebody has each.
fn all<T: Sharable>(held: &[Held<T, T::Weak>]) -> Option<Vec<T>> {
    let get = |held: &Held<T, T::Weak>| match held {
        Held::Small(value) => Some(value.clone()),
        Held::Large(weak) => T::of(weak),
    };
    if held.is_empty() { None } else { held.iter().map(get).collect() }
}

impl PgLog {
    /// Adds the at most `limit` events behind `after` of a row of the log, as [`rows::unpack`]
    /// does.
    /// A long row is without its lines, and read by itself.
    pub(super) async fn unpack(
        &self,
        row: &PgRow,
        id: GenerationId,
        (after, limit): (Seq, u32),
        page: &mut Vec<Entry>,
    ) -> Result<(), LogError> {
        if row.try_get::<Option<&str>, _>("lines").map_err(error)?.is_some() {
            return rows::unpack(row, id, after, limit, page);
        }
        let first: i64 = row.try_get("seq").map_err(error)?;
        let place = (id.0, first, row.try_get("epoch").map_err(error)?);
        let entries = self.large_events.get(place, answered(self.long_row(id, first))).await?;
        if entries.is_empty() {
            return Err(LogError::Unavailable("a row of the log was just folded".into()));
        }
        let last = after.0.saturating_add(limit.into());
        let within = entries.into_iter().filter(|entry| entry.seq > after && entry.seq.0 <= last);
        rows::put(row, id, within.map(Ok), page)
    }

    /// The entries of the row that begins at `first`.
    async fn long_row(&self, id: GenerationId, first: i64) -> Result<Vec<Entry>, LogError> {
        let row = sqlx::query(
            "select s.epoch, s.lines from segments s where s.generation_id = $1 and s.seq = $2 \
             union all select u.epoch, concat_ws(' ', 0, u.type, u.data) \
             from waiting j, unpacked(j.ids, j.lines) u \
             where $1 = any(j.ids) and u.generation_id = $1 and u.seq = $2 limit 1",
        )
        .bind(id.0)
        .bind(first)
        .fetch_optional(&self.readers)
        .await
        .map_err(error)?;
        let Some(row) = row else { return Ok(Vec::new()) };
        let epoch = Epoch(row.try_get("epoch").map_err(error)?);
        let text = row.try_get("lines").map_err(error)?;
        lines::entries(seq(first), epoch, text, &(Seq::ZERO..=Seq(u64::MAX))).collect()
    }

    /// The extras of a generation that has many bytes of them.
    pub(super) async fn long_extras(
        &self,
        at: &Address,
        epoch: Epoch,
    ) -> Result<Vec<Placed>, LogError> {
        let read = async {
            let sql = "select extras::text from generations where id = $1 and tenant = $2";
            let row = sqlx::query(sql)
                .bind(at.id.0)
                .bind(at.tenant.as_str())
                .fetch_optional(&self.readers)
                .await
                .map_err(error)?;
            let Some(row) = row else { return Ok(Vec::new()) };
            let extras: Option<&str> = row.try_get(0).map_err(error)?;
            let extras = extras.map(rows::placed).transpose();
            Ok(extras.map_err(|e| LogError::Broken(format!("extras: {e}")))?.unwrap_or_default())
        };
        self.large_extras.get((at.id.0, 0, epoch.0), answered(read)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::domain::event::Event;

    fn row() -> Vec<Entry> {
        let said = |seq, bytes| Entry::encode(Seq(seq), &Event::Delta { text: "x".repeat(bytes) });
        vec![said(1, 1), said(2, 1 << 20), said(3, 1)]
    }

    #[tokio::test]
    async fn those_who_read_a_row_beside_each_other_share_it() {
        let (reads, made) = (LargeReads::default(), AtomicUsize::new(0));
        let read = || async {
            made.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(row())
        };
        let one = (Uuid::nil(), 1, 1);
        let some = (0..20).map(|_| reads.get(one, read()));
        let all: Vec<Vec<Entry>> =
            futures_util::future::join_all(some).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(made.load(Ordering::Relaxed), 1);
        for entries in &all {
            assert_eq!(*entries, row());
            assert_eq!(entries[1].json().as_ptr(), all[0][1].json().as_ptr());
        }
        // The small ones alone are not the row.
        drop(all);
        assert_eq!(reads.get(one, read()).await.unwrap(), row());
        assert_eq!(made.load(Ordering::Relaxed), 2);
        let other = reads.get((Uuid::nil(), 1, 9), read()).await.unwrap();
        assert_eq!(reads.rows.lock().len(), 1, "the first is forgotten");
        drop(other);
    }

    #[tokio::test]
    async fn a_row_without_a_large_entry_is_not_kept() {
        let reads = LargeReads::default();
        let some = async { Ok(row().drain(..1).collect()) };
        assert_eq!(reads.get((Uuid::nil(), 1, 1), some).await.unwrap().len(), 1);
        assert!(reads.rows.lock().is_empty());
    }

    #[tokio::test]
    async fn a_row_that_could_not_be_read_is_read_again() {
        let reads = LargeReads::default();
        let lost = async { Err(LogError::Unavailable("no".into())) };
        assert!(reads.get((Uuid::nil(), 1, 1), lost).await.is_err());
        let gone = reads.get((Uuid::nil(), 1, 1), async { Ok(Vec::new()) }).await.unwrap();
        assert!(gone.is_empty());
        let there = reads.get((Uuid::nil(), 1, 1), async { Ok(row()) }).await.unwrap();
        assert_eq!(there, row());
    }
}
