//! What a flush is in the database, and who looks at it.
use std::time::Duration;

use lastword::domain::id::Seq;
use lastword::ports::Claimed;

use crate::log_contract::{append, bench, claim, deltas};

/// A reader far behind takes many pages, and a storm of them would search the journal as often.
#[tokio::test]
async fn a_page_that_is_folded_is_read_without_a_look_at_the_journal() {
    let bench = bench().await;
    let at = bench.generation().await;
    let mut writer = bench.log.events.writer(bench.owner);
    append(writer.as_mut(), &deltas(&at, 1, 2..=40)).await.unwrap();
    bench.log.upkeep.compact(bench.owner).await.unwrap();
    append(writer.as_mut(), &deltas(&at, 1, 41..=42)).await.unwrap();
    let search = "alter function unpacked(uuid[], text) rename to kept; \
        create function unpacked(ids uuid[], lines text) \
          returns table (generation_id uuid, seq bigint, epoch integer, type text, data text) \
          language plpgsql as $$ begin raise exception 'the journal is searched'; end $$";
    let mut connection = bench.database.connect().await;
    sqlx::raw_sql(search).execute(&mut connection).await.unwrap();
    let read = async |after, limit| bench.log.events.read(&at, Seq(after), limit).await;
    for (after, limit) in [(0, 20), (20, 20), (39, 1)] {
        assert_eq!(read(after, limit).await.unwrap().len(), limit as usize);
    }
    for (after, limit) in [(20, 21), (40, 1)] {
        let said = read(after, limit).await.unwrap_err().to_string();
        assert!(said.contains("the journal is searched"), "{said}");
    }
}

/// A large flush is compressed in its page; a small one costs nothing.
#[tokio::test]
async fn a_large_flush_is_compressed_and_read_as_it_was() {
    let bench = bench().await;
    let at = bench.generation().await;
    let mut writer = bench.log.events.writer(bench.owner);
    append(writer.as_mut(), &deltas(&at, 1, 2..=9)).await.unwrap();
    append(writer.as_mut(), &deltas(&at, 1, 10..=500)).await.unwrap();
    let mut connection = bench.database.connect().await;
    let stored: Vec<(i64, bool, i32, i32)> = sqlx::query_as(
        "select n, pg_column_compression(lines) is not null, pg_column_size(lines), \
           octet_length(lines) from journal order by n",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let [(_, small, ..), (_, large, size, length)] = stored[..] else { panic!("{stored:?}") };
    assert!(!small && large && size * 2 < length, "{stored:?}");
    let beside = "select coalesce(pg_relation_size(nullif(reltoastrelid, 0)), 0) from pg_class \
                  where oid = 'journal'::regclass";
    assert_eq!(bench.database.number(beside).await, 0, "it is in its page");
    let before = bench.log.events.read(&at, Seq::ZERO, 512).await.unwrap();
    assert_eq!(before.len(), 500);
    bench.log.upkeep.compact(bench.owner).await.unwrap();
    assert_eq!(bench.log.events.read(&at, Seq::ZERO, 512).await.unwrap(), before);
}

/// The entry of a take-over is a segment at once. What comes before it may still be in the journal.
#[tokio::test]
async fn a_page_with_a_hole_in_its_segments_is_whole() {
    let bench = bench().await;
    let at = bench.generation().await;
    let mut writer = bench.log.events.writer(bench.owner);
    append(writer.as_mut(), &deltas(&at, 1, 2..=10)).await.unwrap();
    bench.log.upkeep.compact(bench.owner).await.unwrap();
    append(writer.as_mut(), &deltas(&at, 1, 11..=20)).await.unwrap();
    bench.log.leases.heartbeat(bench.owner, Duration::ZERO).await.unwrap();
    let claimed = bench.log.ownership.take_over(&claim(&at, bench.owner, 2, 21)).await.unwrap();
    assert_eq!(claimed, Claimed::Ours { cancel_requested: false });
    for after in 0..21 {
        for limit in 1..=22 {
            let page = bench.log.events.read(&at, Seq(after), limit).await.unwrap();
            let seqs: Vec<u64> = page.iter().map(|entry| entry.seq.0).collect();
            let last = 21.min(after + u64::from(limit));
            assert_eq!(seqs, (after + 1..=last).collect::<Vec<_>>(), "{limit} behind {after}");
        }
    }
}
