//! A lane is replaced from time to time, since each fold makes its row longer to find while a session
//! elsewhere keeps its transaction open. What it writes goes on, and the fence holds.
use std::time::Duration;

use lastword::domain::id::{InstanceId, Seq};
use lastword::ports::{Address, Claimed, LogError};
use lastword::store::{Durability, connect};

use crate::client::PATIENCE;
use crate::database::TestDatabase;
use crate::log_contract::{Bench, append, bench, claim, deltas};

/// Longer than a lane lives.
const LONG: Duration = Duration::from_secs(200);

/// Has this time pass for the program, and not for the database.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

async fn seqs(bench: &Bench, at: &Address) -> Vec<u64> {
    let read = bench.log.events.read(at, Seq::ZERO, 100).await.unwrap();
    read.iter().map(|entry| entry.seq.0).collect()
}

#[tokio::test]
async fn an_old_lane_is_replaced_and_its_generations_go_on() {
    let bench = bench().await;
    let (one, two) = (bench.generation().await, bench.generation().await);
    let mut writer = bench.log.events.writer(bench.owner);
    writer.append(&[&deltas(&one, 1, 2..=3), &deltas(&two, 1, 2..=2)]).await.unwrap();
    // As after four minutes of folds under an open transaction.
    bench.log.upkeep.compact(bench.owner).await.unwrap();
    let open = "select count(*) from lanes where open and folded > 0";
    assert_eq!(bench.database.number(open).await, 1);
    pass(LONG).await;
    writer.append(&[&deltas(&one, 1, 4..=5), &deltas(&two, 1, 3..=3)]).await.unwrap();
    assert_eq!(bench.database.number(open).await, 0, "another lane, from its beginning");
    assert_eq!(bench.database.number("select count(*) from lanes where open").await, 1);
    let again = append(writer.as_mut(), &deltas(&one, 1, 4..=5)).await;
    assert!(matches!(again, Err(LogError::Conflict)), "it knows where they are: {again:?}");
    while bench.log.upkeep.compact(bench.owner).await.unwrap() > 0 {}
    assert_eq!(bench.database.number("select count(*) from lanes").await, 1, "the old one is gone");
    assert_eq!(seqs(&bench, &one).await, [1, 2, 3, 4, 5]);
    assert_eq!(seqs(&bench, &two).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_lane_that_replaces_a_closed_one_is_fenced_as_that_one() {
    let bench = bench().await;
    let (taken, left) = (bench.generation().await, bench.generation().await);
    let mut writer = bench.log.events.writer(bench.owner);
    writer.append(&[&deltas(&taken, 1, 2..=3), &deltas(&left, 1, 2..=3)]).await.unwrap();
    bench.log.leases.heartbeat(bench.owner, Duration::ZERO).await.unwrap();
    let claimed = bench.log.ownership.take_over(&claim(&taken, bench.owner, 2, 4)).await.unwrap();
    assert_eq!(claimed, Claimed::Ours { cancel_requested: false });
    pass(LONG).await;
    let refused = append(writer.as_mut(), &deltas(&taken, 1, 4..=4)).await;
    assert!(matches!(refused, Err(LogError::Conflict)), "{refused:?}");
    append(writer.as_mut(), &deltas(&left, 1, 4..=4)).await.expect("its owner is still this one");
    assert_eq!(seqs(&bench, &taken).await, [1, 2, 3, 4]);
    assert_eq!(seqs(&bench, &left).await, [1, 2, 3, 4]);
}

/// Each version of a lane's row stays until the session ends, and readers walk past all of them.
#[tokio::test]
async fn folds_beside_an_open_transaction_spare_the_row_of_their_lane() {
    let database = TestDatabase::create().await;
    let log = connect(database.url.parse().unwrap(), Durability::Required).await.unwrap();
    let bench = Bench { database, log: log.log(), owner: InstanceId::random() };
    bench.log.leases.heartbeat(bench.owner, LONG).await.unwrap();
    let at = bench.generation().await;
    let mut writer = bench.log.events.writer(bench.owner);
    let mut session = bench.database.connect().await;
    sqlx::raw_sql("begin isolation level repeatable read; select 1")
        .execute(&mut session)
        .await
        .unwrap();
    assert!(log.holder(Duration::ZERO).await.unwrap().is_some());
    append(writer.as_mut(), &deltas(&at, 1, 2..=2)).await.unwrap();
    let version = "select xmin::text::bigint from lanes where open";
    let before = bench.database.number(version).await;
    for n in 3..=6 {
        append(writer.as_mut(), &deltas(&at, 1, n..=n)).await.unwrap();
        assert!(bench.log.upkeep.compact(bench.owner).await.unwrap() > 0);
        assert_eq!(bench.database.number("select count(*) from waiting").await, 0);
        assert_eq!(seqs(&bench, &at).await, (1..=n).collect::<Vec<_>>());
    }
    assert_eq!(bench.database.number(version).await, before, "the row was not written");
    sqlx::raw_sql("commit").execute(&mut session).await.unwrap();
    let over = async { while log.holder(Duration::ZERO).await.unwrap().is_some() {} };
    tokio::time::timeout(PATIENCE, over).await.expect("nobody holds it");
    append(writer.as_mut(), &deltas(&at, 1, 7..=7)).await.unwrap();
    bench.log.upkeep.compact(bench.owner).await.unwrap();
    assert_eq!(bench.database.number("select folded from lanes where open").await, 6);
    assert_eq!(seqs(&bench, &at).await, [1, 2, 3, 4, 5, 6, 7]);
    log.close().await;
}
