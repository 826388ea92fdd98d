//! Events of the journal in order of their generations.
//!
//! The second line of defence is here: what would be a second event under a seq is not put among
//! them.
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::append_cache::Flush;
use super::lines::{Noted, add, noted};
use super::rows::{error, seq};
use crate::domain::id::GenerationId;
use crate::ports::{Doubled, LogError};

/// Events of a segment at the most, which is a page: whoever reads a page unpacks no more than two
/// of them.
const LONGEST: i64 = 512;

/// Bytes behind which a segment takes no more events: a page has it whole, and is bounded by bytes.
const FULL: usize = 256 * 1024;

/// Segments in one statement: a millisecond's work, here and in the database, between others'.
const AT_ONCE: usize = 16;

/// Segments in the making, by generation, epoch and page, and what does not go on where they are.
#[derive(Default)]
pub(super) struct Segments {
    made: HashMap<(Uuid, i32, i64), Segment>,
    astray: Vec<(Uuid, i32, Segment)>,
}

/// Events of one generation by one owner, right behind each other; the table sees to it that they
/// are.
struct Segment {
    first: i64,
    last: i64,
    at: OffsetDateTime,
    lines: String,
}

/// As the table has them, side by side.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    seqs: Vec<i64>,
    lasts: Vec<i64>,
    epochs: Vec<i32>,
    at: Vec<OffsetDateTime>,
    lines: Vec<&'a str>,
    /// Whether it overlaps with one that comes before it here.
    taken: Vec<bool>,
}

impl Segments {
    /// Adds a row of the journal, which was written at `at`; rows come in their order.
    pub(super) fn add(&mut self, at: OffsetDateTime, flush: &Flush) -> Result<(), LogError> {
        let mut ids = flush.ids.iter();
        for noted in noted(&flush.lines) {
            let noted = noted?;
            let id = ids.next().ok_or_else(mismatch)?;
            let place = (*id, noted.epoch, noted.seq / LONGEST);
            match self.made.entry(place) {
                Entry::Occupied(mut made) if made.get().last + 1 == noted.seq => {
                    if made.get().lines.len() < FULL {
                        made.get_mut().add(at, noted);
                    } else {
                        let full = made.insert(Segment::of(at, noted));
                        self.astray.push((*id, noted.epoch, full));
                    }
                }
                Entry::Occupied(_) => {
                    self.astray.push((*id, noted.epoch, Segment::of(at, noted)));
                }
                Entry::Vacant(free) => drop(free.insert(Segment::of(at, noted))),
            }
        }
        if ids.next().is_none() { Ok(()) } else { Err(mismatch()) }
    }

    /// Ends all that are in the making: what follows begins new ones.
    pub(super) fn cut(&mut self) {
        let made = self.made.drain().map(|((id, epoch, _), segment)| (id, epoch, segment));
        self.astray.extend(made);
    }

    /// How many events they are, and which of them have a seq that another event has: these are put
    /// aside.
    pub(super) async fn insert(
        self,
        connection: &mut PgConnection,
    ) -> Result<(u64, Vec<Doubled>), LogError> {
        let made = self.made.into_iter().map(|((id, epoch, _), segment)| (id, epoch, segment));
        let mut segments: Vec<_> = made.chain(self.astray).collect();
        segments.sort_unstable_by_key(|(id, epoch, segment)| (*id, segment.first, *epoch));
        let (mut events, mut doubled) = (0, Vec::new());
        let mut reached: Option<(Uuid, i64)> = None;
        for some in segments.chunks(AT_ONCE) {
            let mut columns = Columns::default();
            for (id, epoch, segment) in some {
                let before = reached.filter(|(of, _)| of == id).map_or(0, |(_, last)| last);
                columns.ids.push(*id);
                columns.seqs.push(segment.first);
                columns.lasts.push(segment.last);
                columns.epochs.push(*epoch);
                columns.at.push(segment.at);
                columns.lines.push(&segment.lines);
                columns.taken.push(segment.first <= before);
                reached = Some((*id, segment.last.max(before)));
                events += (segment.last - segment.first + 1).unsigned_abs();
            }
            doubled.extend(columns.insert(connection).await?);
        }
        Ok((events, doubled))
    }
}

impl Segment {
    fn of(at: OffsetDateTime, noted: Noted<'_>) -> Self {
        let (first, last) = (noted.seq, noted.seq);
        let mut segment = Self { first, last, at, lines: String::new() };
        segment.add(at, noted);
        segment
    }

    fn add(&mut self, at: OffsetDateTime, noted: Noted<'_>) {
        self.last = noted.seq;
        let behind = (at - self.at).whole_microseconds();
        add(&mut self.lines, u64::try_from(behind).unwrap_or_default(), noted.event);
    }
}

impl Columns<'_> {
    /// Of segments that do not overlap, the last one that begins no later than another one ends is
    /// the only one to look at.
    async fn insert(self, connection: &mut PgConnection) -> Result<Vec<Doubled>, LogError> {
        let doubled: Vec<(Uuid, i64)> = sqlx::query_as(
            "with judged as materialized ( \
               select n.*, n.astray or n.seq <= coalesce((select s.last from segments s \
                 where s.generation_id = n.id and s.seq <= n.last order by s.seq desc limit 1), 0) as taken \
               from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::integer[], $5::timestamptz[], \
                 $6::text[], $7::boolean[]) as n (id, seq, last, epoch, at, lines, astray)), \
             made as (insert into segments (generation_id, seq, last, epoch, at, lines) \
               select id, seq, last, epoch, at, lines from judged where not taken) \
             insert into doubled (generation_id, seq, last, epoch, at, lines) \
               select id, seq, last, epoch, at, lines from judged where taken \
             returning generation_id, seq",
        )
        .bind(self.ids)
        .bind(self.seqs)
        .bind(self.lasts)
        .bind(self.epochs)
        .bind(self.at)
        .bind(self.lines)
        .bind(self.taken)
        .fetch_all(connection)
        .await
        .map_err(error)?;
        Ok(doubled
            .into_iter()
            .map(|(id, first)| Doubled { generation: GenerationId(id), seq: seq(first) })
            .collect())
    }
}

/// Forgets what was put aside of generations begun more than `days` days ago, as their events are.
pub(super) async fn forget_doubled(
    connection: &mut PgConnection,
    days: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from doubled where generation_id \
         < first_uuid_of_day((now() at time zone 'utc')::date - $1)",
    )
    .bind(i32::try_from(days).unwrap_or(i32::MAX))
    .execute(connection)
    .await
    .map(drop)
}

fn mismatch() -> LogError {
    LogError::Broken("a row of the journal has more generations than lines, or fewer".into())
}
