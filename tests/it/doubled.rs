//! The second line of defence: two events under one seq are never folded or read without an alarm.
//! Nothing else suffers from them.
use std::time::Duration;

use lastword::domain::id::{InstanceId, Seq};
use lastword::engine::{Engine, EngineError};
use lastword::ports::{Address, Doubled, Log, LogError};
use sqlx::AssertSqlSafe;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::PATIENCE;
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::fence::{SILENCE, engine, session, start, until};
use crate::log_contract::{Bench, append, bench, claim, deltas, ending};
use crate::wrong::{Mistake, wrong_log};

const ASIDE: &str = "select count(*) from doubled";

/// A row of the journal of `owner`, with an event of each of these under `seq`, by `epoch`.
async fn write_again(bench: &Bench, owner: InstanceId, of: &[&Address], epoch: i32, seq: u64) {
    let ids = of.iter().map(|at| format!("'{}'", at.id)).collect::<Vec<_>>().join(", ");
    let line = format!("{seq} {epoch} delta \"text\":\"again\"}}");
    let lines = vec![line.as_str(); of.len()].join("\n");
    let sql = format!(
        "insert into journal (lane, n, ids, lines) \
         select id, 1000 + {seq}, array[{ids}]::uuid[], '{lines}' from lanes where owner = '{}'",
        owner.0
    );
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut bench.database.connect().await).await;
    assert_eq!(done.unwrap().rows_affected(), 1);
}

fn is_doubled<T>(result: Result<T, LogError>, at: &Address, seq: u64) -> bool {
    let wanted = Doubled { generation: at.id, seq: Seq(seq) };
    matches!(result, Err(LogError::Doubled(found)) if found == [wanted])
}

#[tokio::test]
async fn a_doubled_seq_is_neither_read_nor_folded_and_its_neighbours_are() {
    let bench = bench().await;
    let (torn, whole) = (bench.generation().await, bench.generation().await);
    let mut writer = bench.log.events.writer(bench.owner);
    writer.append(&[&deltas(&torn, 1, 2..=20), &deltas(&whole, 1, 2..=17)]).await.unwrap();
    assert_eq!(bench.log.upkeep.compact(bench.owner).await.unwrap(), 35);
    // One event that follows, and one whose seq is taken.
    write_again(&bench, bench.owner, &[&whole, &torn], 1, 18).await;
    assert!(
        is_doubled(bench.log.events.read(&torn, Seq::ZERO, 100).await, &torn, 18),
        "in the journal"
    );
    assert!(is_doubled(bench.log.events.read(&torn, Seq(17), 100).await, &torn, 18));
    let both = [(torn.clone(), Seq(1)), (whole.clone(), Seq(1))];
    assert!(is_doubled(bench.log.events.read_many(&both, 100).await, &torn, 18));
    assert_eq!(bench.log.events.read(&whole, Seq::ZERO, 100).await.unwrap().len(), 18);

    assert!(is_doubled(bench.log.upkeep.compact(bench.owner).await, &torn, 18), "it is told once");
    assert_eq!(
        bench.log.upkeep.compact(bench.owner).await.unwrap(),
        0,
        "and then the journal is empty"
    );
    assert_eq!(bench.database.number("select count(*) from journal").await, 0);
    assert_eq!(bench.database.number(ASIDE).await, 1, "nothing is lost");
    assert!(is_doubled(bench.log.events.read(&torn, Seq::ZERO, 100).await, &torn, 18), "put aside");
    assert!(
        is_doubled(bench.log.events.read(&torn, Seq(19), 100).await, &torn, 18),
        "whatever the cursor"
    );
    assert_eq!(bench.log.events.read(&whole, Seq::ZERO, 100).await.unwrap().len(), 18);

    append(writer.as_mut(), &ending(&torn, 1, 21)).await.unwrap();
    bench.log.generations.delete(&torn).await.unwrap();
    assert_eq!(bench.database.number(ASIDE).await, 0, "it goes with its generation");
}

#[tokio::test]
async fn segments_that_overlap_in_one_fold_are_told_apart() {
    let bench = bench().await;
    let (torn, whole) = (bench.generation().await, bench.generation().await);
    let mut writer = bench.log.events.writer(bench.owner);
    writer.append(&[&deltas(&torn, 1, 2..=9), &deltas(&whole, 1, 2..=2)]).await.unwrap();
    // By another owner, and by the same one.
    write_again(&bench, bench.owner, &[&torn], 2, 5).await;
    write_again(&bench, bench.owner, &[&torn], 1, 3).await;
    let Err(LogError::Doubled(found)) = bench.log.upkeep.compact(bench.owner).await else {
        panic!("not seen")
    };
    let mut seqs: Vec<u64> = found.iter().map(|one| one.seq.0).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [3, 5]);
    assert_eq!(bench.database.number(ASIDE).await, 2);
    assert_eq!(bench.log.events.read(&whole, Seq::ZERO, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_claim_for_a_seq_that_is_taken_is_refused_by_the_segments_too() {
    let bench = bench().await;
    let at = bench.generation().await;
    append(bench.log.events.writer(bench.owner).as_mut(), &deltas(&at, 1, 2..=5)).await.unwrap();
    bench.log.leases.release(bench.owner).await.unwrap();
    // `last_seq` lies, as it would with an old snapshot.
    let lie = "create or replace function last_seq(generation uuid) returns bigint language sql stable as \
               $$ select 3::bigint $$";
    sqlx::query(lie).execute(&mut bench.database.connect().await).await.unwrap();
    let refused = bench.log.ownership.take_over(&claim(&at, bench.owner, 2, 4)).await;
    assert!(is_doubled(refused, &at, 4));
    assert_eq!(
        bench.log.events.read(&at, Seq::ZERO, 100).await.unwrap().len(),
        5,
        "and nothing was written"
    );
}

async fn alarmed(engine: &Engine) {
    eventually("an alarm", async || engine.metrics().doubled.get() > 0).await;
}

/// With the fence switched off, an owner that seemed dead and its successor both write.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_fence_the_alarm_is_raised() {
    let database = TestDatabase::create().await;
    let old_log = wrong_log(&database.url, Mistake::None).await;
    let new_log = wrong_log(&database.url, Mistake::OldSnapshot).await;
    let (old, instance) = engine(old_log.clone());
    old_log.leases.heartbeat(instance, Duration::from_secs(60)).await.unwrap();
    let at = start(&old, "/demo tokens=400 tps=100 seed=1").await;
    let mut reader = session(&old, &at).await;
    assert!(until(&mut reader, "delta").await);
    old_log.leases.release(instance).await.unwrap();
    let (new, _) = engine(new_log.clone());
    new.take_up().await.unwrap();
    new.keep_up();
    let beside = start(&new, "/demo tokens=50 tps=100 seed=2").await;
    alarmed(&new).await;

    assert!(until(&mut session(&new, &beside).await, "done").await, "others go on");
    database.folded().await;
    let there: [Log; 2] = [old_log, new_log];
    for log in there {
        let read = log.events.read(&at, Seq::ZERO, 512).await;
        assert!(matches!(read, Err(LogError::Doubled(_))), "on both instances: {read:?}");
        assert!(log.events.read(&beside, Seq::ZERO, 512).await.unwrap().len() > 50);
    }
    assert!(database.number(ASIDE).await > 0, "what was written is kept");
    let before = new.metrics().doubled.get();
    let opened = timeout(PATIENCE, new.open(&at, Seq(1))).await.unwrap();
    let told = match opened {
        Err(EngineError::Log(LogError::Doubled(_))) => true,
        Err(_) => false,
        Ok(_) => !until(&mut session(&new, &at).await, "nothing").await,
    };
    assert!(told && new.metrics().doubled.get() >= before);
    for engine in [old, new] {
        engine.drain(SILENCE, &CancellationToken::new()).await;
    }
}
