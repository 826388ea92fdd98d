//! The recipe of two events under one seq: a take-over waits for an append under way. Its role has
//! transactions that see the log as it was before the wait.
use std::time::Duration;

use lastword::domain::entry::Entry;
use lastword::domain::event::Event;
use lastword::domain::id::{InstanceId, Seq};
use lastword::ports::{Address, Claimed, Log};
use sqlx::{AssertSqlSafe, Connection};

use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::log_contract::{Bench, append, claim, deltas};
use crate::wrong::{Mistake, wrong_log};

const ROUNDS: i64 = 20;
const LEASE: Duration = Duration::from_secs(60);

/// The uncommitted part of an append: one event at `seq`.
fn under_way(at: &Address, owner: InstanceId, n: i64, seq: u64) -> String {
    let entry = Entry::encode(Seq(seq), &Event::Delta { text: "late".into() });
    format!(
        "with lane as (select id from lanes where owner = '{}' and open for key share) \
         insert into journal (lane, n, ids, lines) \
         select id, {n}, array['{}']::uuid[], '{seq} 1 delta {}' from lane",
        owner.0,
        at.id,
        entry.data()
    )
}

async fn seqs(log: &Log, at: &Address) -> Vec<u64> {
    let read = log.events.read(at, Seq::ZERO, 100).await.unwrap();
    read.iter().map(|entry| entry.seq.0).collect()
}

async fn round(bench: &Bench, n: i64) {
    let at = bench.generation().await;
    bench.log.leases.heartbeat(bench.owner, LEASE).await.unwrap();
    let mut writer = bench.log.events.writer(bench.owner);
    append(writer.as_mut(), &deltas(&at, 1, 2..=3)).await.unwrap();
    bench.log.leases.heartbeat(bench.owner, Duration::ZERO).await.unwrap();
    let mut old_owner = bench.database.connect().await;
    let mut transaction = old_owner.begin().await.unwrap();
    let late = under_way(&at, bench.owner, 1000 + n, 4);
    assert!(
        sqlx::raw_sql(AssertSqlSafe(late))
            .execute(&mut *transaction)
            .await
            .unwrap()
            .rows_affected()
            > 0
    );
    let (log, wanted) = (bench.log.clone(), claim(&at, bench.owner, 2, 4));
    #[expect(clippy::disallowed_methods, reason = "a test waits for it by itself")]
    let claiming = tokio::spawn(async move { log.ownership.take_over(&wanted).await });
    let waits = "select count(*) from pg_stat_activity where datname = current_database() \
                 and wait_event_type = 'Lock'";
    eventually("it waits", async || bench.database.number(waits).await > 0).await;
    transaction.commit().await.unwrap();
    let claimed = claiming.await.unwrap().unwrap();
    assert_eq!(claimed, Claimed::No, "round {n}: the seq was taken while it waited");
    // Two instances read the same.
    let elsewhere = wrong_log(&bench.database.url, Mistake::None).await;
    assert_eq!(seqs(&elsewhere, &at).await, [1, 2, 3, 4]);
    let next = bench.log.ownership.take_over(&claim(&at, bench.owner, 2, 5)).await.unwrap();
    assert_eq!(next, Claimed::Ours { cancel_requested: false });
    assert_eq!(seqs(&bench.log, &at).await, [1, 2, 3, 4, 5]);
    assert_eq!(seqs(&elsewhere, &at).await, [1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_sees_what_was_appended_while_it_waited() {
    for level in ["'repeatable read'", "serializable"] {
        let database = TestDatabase::empty().await;
        let database = database.for_role("", &[("default_transaction_isolation", level)]).await;
        let log = wrong_log(&database.url, Mistake::None).await;
        let bench = Bench { database, log, owner: InstanceId::random() };
        for n in 0..ROUNDS {
            round(&bench, n).await;
        }
        // The test's own connections are at that level, or nothing is tested.
        let found: String = sqlx::query_scalar("show default_transaction_isolation")
            .fetch_one(&mut bench.database.connect().await)
            .await
            .unwrap();
        assert_eq!(found, level.trim_matches('\''));
        let doubled = "select count(*) from (select from events group by generation_id, seq \
                       having count(*) > 1) twice";
        assert_eq!(bench.database.number(doubled).await, 0);
    }
}
