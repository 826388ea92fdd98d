//! Events of the journal in order of their generations.
use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::lines::{add, noted};
use super::rows::error;
use super::unfolded::Flush;
use crate::ports::LogError;

/// Events of a segment at the most, which is a page: whoever reads a page unpacks no more than two of them.
const LONGEST: i64 = 512;

/// Segments in one statement: a millisecond's work, here and in the database, between others'.
const AT_ONCE: usize = 16;

/// Segments in the making, by generation, epoch and page.
#[derive(Default)]
pub(super) struct Segments(HashMap<(Uuid, i32, i64), Segment>);

/// Events of one generation by one owner, right behind each other; the table sees to it that they are.
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
}

impl Segments {
    /// Adds a row of the journal, which was written at `at`; rows come in their order.
    pub(super) fn add(&mut self, at: OffsetDateTime, flush: &Flush) -> Result<(), LogError> {
        let mut ids = flush.ids.iter();
        for noted in noted(&flush.lines) {
            let noted = noted?;
            let id = ids.next().ok_or_else(mismatch)?;
            let page = noted.seq / LONGEST;
            let segment = self.0.entry((*id, noted.epoch, page)).or_insert_with(|| Segment {
                first: noted.seq,
                last: noted.seq,
                at,
                lines: String::new(),
            });
            segment.last = noted.seq;
            let behind = (at - segment.at).whole_microseconds();
            add(&mut segment.lines, u64::try_from(behind).unwrap_or_default(), noted.event);
        }
        if ids.next().is_none() { Ok(()) } else { Err(mismatch()) }
    }

    /// How many events they are.
    pub(super) async fn insert(self, connection: &mut PgConnection) -> Result<u64, LogError> {
        let mut segments: Vec<_> = self.0.into_iter().collect();
        segments.sort_unstable_by_key(|(place, _)| *place);
        let mut events = 0;
        for some in segments.chunks(AT_ONCE) {
            let mut columns = Columns::default();
            for ((id, epoch, _), segment) in some {
                columns.ids.push(*id);
                columns.seqs.push(segment.first);
                columns.lasts.push(segment.last);
                columns.epochs.push(*epoch);
                columns.at.push(segment.at);
                columns.lines.push(&segment.lines);
                events += (segment.last - segment.first + 1).unsigned_abs();
            }
            columns.insert(connection).await?;
        }
        Ok(events)
    }
}

impl Columns<'_> {
    async fn insert(self, connection: &mut PgConnection) -> Result<(), LogError> {
        sqlx::query(
            "insert into segments (generation_id, seq, last, epoch, at, lines) select * from unnest( \
               $1::uuid[], $2::bigint[], $3::bigint[], $4::integer[], $5::timestamptz[], $6::text[])",
        )
        .bind(self.ids)
        .bind(self.seqs)
        .bind(self.lasts)
        .bind(self.epochs)
        .bind(self.at)
        .bind(self.lines)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
    }
}

fn mismatch() -> LogError {
    LogError::Broken("a row of the journal has more generations than lines, or fewer".into())
}
