//! Every implementation of the log must keep this contract: the engine relies on nothing else.
mod many;
mod owners;

use std::slice::from_ref;
use std::time::Duration;

use lastword::domain::entry::Entry;
use lastword::domain::event::{Done, Event, Status, Usage};
use lastword::domain::generation::{
    BackgroundResponse, Idempotency, NewGeneration, OnDisconnect, Outcome, Request,
};
use lastword::domain::id::{Epoch, GenerationId, InstanceId, Seq, Tenant};
use lastword::domain::json::JsonObject;
use lastword::domain::prompt::{Message, Parameters, Prompt, Role};
use lastword::domain::transcript::{Answer, ToolCall};
use lastword::ports::{
    Address, Append, Claim, Claimed, Created, Deleted, Filter, Log, LogError, LogWriter, Orphans,
    RowChange, Tail,
};

use crate::database::TestDatabase;
use crate::wrong::{Mistake, wrong_log};

const LEASE: Duration = Duration::from_secs(60);

pub(crate) struct Bench {
    pub(crate) database: TestDatabase,
    pub(crate) log: Log,
    pub(crate) owner: InstanceId,
}

pub(crate) async fn bench() -> Bench {
    let database = TestDatabase::create().await;
    let log = wrong_log(&database.url, Mistake::None).await;
    let owner = InstanceId::random();
    log.leases.heartbeat(owner, LEASE).await.unwrap();
    Bench { database, log, owner }
}

impl Bench {
    pub(crate) fn fresh(&self, key: Option<(&str, u8)>) -> NewGeneration {
        let message = Message::text(Role::User, "hi");
        NewGeneration {
            key: None,
            id: GenerationId::random(),
            tenant: Tenant::anonymous(),
            request: Request {
                model: "demo".into(),
                prompt: Prompt::parse(vec![message], Parameters::default(), 100).unwrap(),
                metadata: JsonObject::default(),
                on_disconnect: OnDisconnect::Continue,
                echo: serde_json::Map::new(),
                chat: None,
                wall_s: None,
                continues: None,
                trace: None,
                source: None,
            },
            provider: "demo".into(),
            owner: self.owner,
            queued: false,
            idempotency: key
                .map(|(k, hash)| Idempotency { key: k.into(), fingerprint: vec![hash] }),
            place: None,
            request_hash: None,
        }
    }

    /// A generation with its `started` event.
    pub(crate) async fn generation(&self) -> Address {
        let new = self.fresh(None);
        let created = self.log.generations.create(&new).await.unwrap();
        assert!(matches!(created, Created::New(_, first) if first[0].seq == Seq(1)));
        Address { tenant: new.tenant, id: new.id }
    }

    async fn tail(&self, at: &Address) -> Tail {
        self.log.events.writer(self.owner).tails(&[at.id]).await.unwrap()[0]
    }

    async fn orphans(&self, which: &Orphans) -> Vec<GenerationId> {
        let listed = self.log.ownership.orphans(which, 10).await.unwrap();
        listed.into_iter().map(|(id, _)| id).collect()
    }
}

pub(crate) fn deltas(at: &Address, epoch: i32, seqs: std::ops::RangeInclusive<u64>) -> Append {
    let delta = |n: u64| Event::Delta { text: format!("\"{n}\n\u{1F600}") };
    let entry = |n: u64| Entry::encode(Seq(n), &delta(n)).by(Epoch(epoch));
    let entries = seqs.map(entry).collect();
    Append { at: at.clone(), epoch: Epoch(epoch), entries, row: RowChange::None }
}

/// Only the row changes: no entry that could collide.
fn keeping(at: &Address, epoch: i32, answer: &str) -> Append {
    let kept = BackgroundResponse { model: "m".into(), answer: answer.into(), attempt: 1 };
    let row = RowChange::Background(Some(kept));
    Append { at: at.clone(), epoch: Epoch(epoch), entries: Vec::new(), row }
}

pub(crate) fn ending(at: &Address, epoch: i32, seq: u64) -> Append {
    let done = Done {
        status: Status::Completed,
        finish_reason: None,
        provider_finish_reason: None,
        usage: Usage::default(),
        error: None,
    };
    let entries = vec![Entry::encode(Seq(seq), &Event::Done(done.clone()))];
    let answer = Answer { text: "all".into(), ..Answer::default() };
    let outcome = Outcome { answer, done, attempts: 1 };
    let row = RowChange::Ended(Box::new(outcome));
    Append { at: at.clone(), epoch: Epoch(epoch), entries, row }
}

pub(crate) async fn append(writer: &mut dyn LogWriter, append: &Append) -> Result<(), LogError> {
    writer.append(&[append]).await
}

#[tokio::test]
async fn what_is_appended_is_read_back_byte_for_byte() {
    let bench = bench().await;
    let at = bench.generation().await;
    let mut writer = bench.log.events.writer(bench.owner);
    let written = deltas(&at, 1, 2..=40);
    append(writer.as_mut(), &written).await.unwrap();
    assert_eq!(bench.log.events.read(&at, Seq(1), 100).await.unwrap(), written.entries);
    assert_eq!(bench.log.events.read(&at, Seq(10), 5).await.unwrap(), written.entries[9..14]);
    assert_eq!(bench.log.events.read(&at, Seq(40), 5).await.unwrap(), []);
    assert_eq!(bench.tail(&at).await, Tail { id: at.id, seq: Seq(40), epoch: Epoch(1) });
}

#[tokio::test]
async fn a_batch_is_written_whole_or_not_at_all() {
    let bench = bench().await;
    let (one, two) = (bench.generation().await, bench.generation().await);
    let mut writer = bench.log.events.writer(bench.owner);
    append(writer.as_mut(), &deltas(&one, 1, 2..=3)).await.unwrap();
    let (clash, innocent) = (deltas(&one, 1, 3..=4), deltas(&two, 1, 2..=3));
    let outcome = writer.append(&[&innocent, &clash]).await;
    assert!(matches!(outcome, Err(LogError::Conflict)), "{outcome:?}");
    assert_eq!(bench.tail(&two).await.seq, Seq(1), "nothing of it was written");
    append(writer.as_mut(), &innocent).await.expect("the writer can go on");
}

#[tokio::test]
async fn there_is_one_ending() {
    let bench = bench().await;
    let at = bench.generation().await;
    let mut writer = bench.log.events.writer(bench.owner);
    append(writer.as_mut(), &ending(&at, 1, 2)).await.unwrap();
    let second = append(writer.as_mut(), &ending(&at, 1, 3)).await;
    assert!(matches!(second, Err(LogError::Conflict)), "the database itself refuses it");
    let row = bench.log.generations.generation(&at).await.unwrap().unwrap();
    assert_eq!((row.status, row.last_seq), (Status::Completed, Seq(2)));
    assert_eq!(row.result.unwrap().answer.text, "all");
    bench.log.generations.request_cancel(&at).await.unwrap();
    let row = bench.log.generations.generation(&at).await.unwrap().unwrap();
    assert_eq!(row.status, Status::Completed, "a cancel comes too late");
}

#[tokio::test]
async fn endings_that_come_together_are_each_their_own_and_stand_or_fall_together() {
    let bench = bench().await;
    let mut ends = Vec::new();
    let call = ToolCall {
        id: "c".into(),
        name: "f".into(),
        arguments: r#"{"nul":"\u0000"}"#.into(),
        ..ToolCall::default()
    };
    for (n, text) in (0_u8..).zip(["one", "two", ""]) {
        let at = bench.generation().await;
        let mut end = ending(&at, 1, 2);
        let RowChange::Ended(outcome) = &mut end.row else { unreachable!() };
        outcome.answer.text = text.into();
        outcome.attempts = u32::from(n) + 1;
        outcome.answer.tool_calls = vec![call.clone(); n.into()];
        ends.push((at, end));
    }
    let mut writer = bench.log.events.writer(bench.owner);
    append(writer.as_mut(), &ends[2].1).await.unwrap();
    let outcome = writer.append(&[&ends[0].1, &ending(&ends[2].0, 1, 3)]).await;
    assert!(matches!(outcome, Err(LogError::Conflict)), "{outcome:?}");
    let row = bench.log.generations.generation(&ends[0].0).await.unwrap().unwrap();
    assert_eq!((row.status, row.last_seq), (Status::Running, Seq(1)), "nothing was written");
    writer.append(&[&ends[0].1, &ends[1].1]).await.unwrap();
    for (at, end) in &ends {
        let row = bench.log.generations.generation(at).await.unwrap().unwrap();
        let RowChange::Ended(outcome) = &end.row else { unreachable!() };
        assert_eq!((row.status, row.last_seq), (Status::Completed, Seq(2)));
        assert_eq!(row.result.as_ref(), Some(outcome.as_ref()));
    }
}

#[tokio::test]
async fn a_start_is_stored_once() {
    let bench = bench().await;
    let first = bench.fresh(Some(("key", 1)));
    assert!(matches!(bench.log.generations.create(&first).await.unwrap(), Created::New(..)));
    let again = bench.log.generations.create(&first).await.unwrap();
    assert!(matches!(again, Created::New(row, _) if row.id == first.id), "a lost reply");
    let repeat = bench.log.generations.create(&bench.fresh(Some(("key", 1)))).await.unwrap();
    assert!(matches!(repeat, Created::Replayed(row) if row.id == first.id));
    let other = bench.log.generations.create(&bench.fresh(Some(("key", 2)))).await.unwrap();
    assert!(matches!(other, Created::KeyReused));
    let mut elsewhere = bench.fresh(Some(("key", 2)));
    elsewhere.tenant = Tenant::named("other".into());
    assert!(matches!(bench.log.generations.create(&elsewhere).await.unwrap(), Created::New(..)));
    assert_eq!(bench.database.number("select count(*) from generations").await, 2);
    assert_eq!(bench.database.number("select count(*) from events").await, 2);
}

pub(crate) fn claim(at: &Address, from: InstanceId, epoch: i32, seq: u64) -> Claim {
    let from = (from, Epoch(epoch - 1));
    Claim { owner: InstanceId::random(), from, append: deltas(at, epoch, seq..=seq) }
}

#[tokio::test]
async fn a_take_over_needs_an_expired_lease_and_happens_once() {
    let bench = bench().await;
    let at = bench.generation().await;
    let (one, two) = (claim(&at, bench.owner, 2, 2), claim(&at, bench.owner, 2, 2));
    assert_eq!(
        bench.log.ownership.take_over(&one).await.unwrap(),
        Claimed::No,
        "the owner is alive"
    );
    assert!(bench.orphans(&Orphans::LeaseExpired).await.is_empty());
    assert_eq!(bench.tail(&at).await.seq, Seq(1), "a refused claim leaves nothing");

    bench.log.leases.release(bench.owner).await.unwrap();
    assert_eq!(bench.orphans(&Orphans::LeaseExpired).await, [at.id]);
    let (a, b) =
        tokio::join!(bench.log.ownership.take_over(&one), bench.log.ownership.take_over(&two));
    let ours = |claimed| matches!(claimed, Claimed::Ours { .. });
    assert!(ours(a.unwrap()) ^ ours(b.unwrap()), "one of two is faster");
    assert_eq!(bench.tail(&at).await, Tail { id: at.id, seq: Seq(2), epoch: Epoch(2) });

    let mut old = bench.log.events.writer(bench.owner);
    let stale = append(old.as_mut(), &deltas(&at, 1, 2..=5)).await;
    assert!(matches!(stale, Err(LogError::Conflict)), "the old owner is fenced");
}

#[tokio::test]
async fn a_take_over_loses_to_an_append_that_was_faster() {
    let bench = bench().await;
    let at = bench.generation().await;
    bench.log.leases.release(bench.owner).await.unwrap();
    append(bench.log.events.writer(bench.owner).as_mut(), &deltas(&at, 1, 2..=2)).await.unwrap();
    let late = bench.log.ownership.take_over(&claim(&at, bench.owner, 2, 2)).await.unwrap();
    assert_eq!(late, Claimed::No);
    let next = bench.log.ownership.take_over(&claim(&at, bench.owner, 2, 3)).await.unwrap();
    assert_eq!(next, Claimed::Ours { cancel_requested: false });
}

#[tokio::test]
async fn what_nobody_runs_is_found() {
    let bench = bench().await;
    let (mine, running) = (bench.generation().await, bench.generation().await);
    let unattended = Orphans::Unattended { owner: bench.owner, attended: vec![running.id] };
    assert_eq!(bench.orphans(&unattended).await, [mine.id]);
    bench.log.generations.request_cancel(&mine).await.unwrap();
    assert_eq!(bench.log.ownership.cancel_requests(bench.owner).await.unwrap(), [mine.id]);
    let found = bench.log.ownership.orphan((mine.id, Epoch(1))).await.unwrap().unwrap();
    assert!(found.cancel_requested);
}

#[tokio::test]
async fn another_tenant_sees_and_changes_nothing() {
    let bench = bench().await;
    let at = bench.generation().await;
    append(bench.log.events.writer(bench.owner).as_mut(), &ending(&at, 1, 2)).await.unwrap();
    let tenant = Tenant::named("other".into());
    let foreign = Address { tenant: tenant.clone(), id: at.id };
    let filter = Filter { limit: 10, ..Filter::default() };
    assert!(bench.log.generations.generation(&foreign).await.unwrap().is_none());
    assert_eq!(bench.log.events.read(&foreign, Seq::ZERO, 10).await.unwrap(), []);
    assert!(bench.log.generations.list(&tenant, &filter).await.unwrap().is_empty());
    assert_eq!(bench.log.generations.delete(&foreign).await.unwrap(), Deleted::Absent);
    bench.log.generations.request_cancel(&foreign).await.unwrap();
    assert_eq!(bench.log.events.read(&at, Seq::ZERO, 10).await.unwrap().len(), 2);
    assert_eq!(bench.log.generations.list(&at.tenant, &filter).await.unwrap().len(), 1);
}

#[tokio::test]
async fn old_days_go_and_what_they_came_to_stays() {
    let bench = bench().await;
    let at = bench.generation().await;
    append(bench.log.events.writer(bench.owner).as_mut(), &ending(&at, 1, 2)).await.unwrap();
    // The day of this generation becomes a day long gone.
    let rename = "do $$ declare day text := to_char((now() at time zone 'utc')::date, 'YYYYMMDD'); \
                  begin execute 'alter table segments_' || day || ' rename to segments_20200101'; end $$";
    sqlx::query(rename).execute(&mut bench.database.connect().await).await.unwrap();
    assert_eq!(bench.log.upkeep.retain(7).await.unwrap(), 1);
    let row = bench.log.generations.generation(&at).await.unwrap().unwrap();
    assert!(!row.events_retained);
    assert_eq!((row.last_seq, row.result.unwrap().answer.text.as_str()), (Seq(2), "all"));
}

#[tokio::test]
async fn many_logs_are_read_at_once_each_behind_its_own_cursor() {
    let bench = bench().await;
    let (one, two, three) =
        (bench.generation().await, bench.generation().await, bench.generation().await);
    let mut writer = bench.log.events.writer(bench.owner);
    let (first, second) = (deltas(&one, 1, 2..=9), deltas(&two, 1, 2..=4));
    writer.append(&[&first, &second]).await.unwrap();
    let foreign = Address { tenant: Tenant::named("other".into()), id: two.id };
    let wanted = [(one.clone(), Seq(3)), (two.clone(), Seq(1)), (three, Seq(1))];
    let found = bench.log.events.read_many(&wanted, 4).await.unwrap();
    assert_eq!(found.len(), 2, "those without news are missing");
    assert_eq!(found[&one.id].entries, first.entries[2..6], "no more than the limit of each");
    assert_eq!(found[&two.id].entries, second.entries);
    assert!(!found[&one.id].cut && !found[&two.id].cut, "for its bytes");
    assert!(bench.log.events.read_many(&[(foreign, Seq(0))], 4).await.unwrap().is_empty());
}

#[tokio::test]
async fn readers_elsewhere_count_where_it_matters() {
    let bench = bench().await;
    let kept = bench.generation().await;
    let mut new = bench.fresh(None);
    new.request.on_disconnect = OnDisconnect::CancelAfter(5);
    bench.log.generations.create(&new).await.unwrap();
    let left = Address { tenant: new.tenant, id: new.id };
    let ended = bench.generation().await;
    append(bench.log.events.writer(bench.owner).as_mut(), &ending(&ended, 1, 2)).await.unwrap();
    assert_eq!(bench.log.ownership.unread_elsewhere(&left).await.unwrap(), None, "never read");
    let all = [kept.clone(), left.clone(), ended];
    let owners = bench.log.ownership.renew_readers(&all, LEASE).await.unwrap();
    assert_eq!(owners.len(), 2, "of what goes on");
    assert!(owners.values().all(|owner| *owner == bench.owner));
    assert_eq!(bench.log.ownership.unread_elsewhere(&left).await.unwrap(), Some(Duration::ZERO));
    assert_eq!(
        bench.log.ownership.unread_elsewhere(&kept).await.unwrap(),
        None,
        "nothing to write there"
    );
    let foreign = Address { tenant: Tenant::named("other".into()), id: left.id };
    assert!(bench.log.ownership.renew_readers(from_ref(&foreign), LEASE).await.unwrap().is_empty());
    bench.log.ownership.renew_readers(&all, Duration::ZERO).await.unwrap();
    let unread = bench.log.ownership.unread_elsewhere(&left).await.unwrap().unwrap();
    assert!(unread > Duration::ZERO && unread < LEASE, "{unread:?}");
}

#[tokio::test]
async fn what_an_upstream_keeps_is_told_by_the_owner_alone() {
    let bench = bench().await;
    let at = bench.generation().await;
    let mut writer = bench.log.events.writer(bench.owner);
    writer.append(&[&keeping(&at, 1, "resp_1")]).await.unwrap();
    writer.append(&[&keeping(&at, 2, "of another owner")]).await.unwrap();
    let mine = Orphans::Unattended { owner: bench.owner, attended: vec![] };
    let orphan = bench.orphans(&mine).await.remove(0);
    let orphan = bench.log.ownership.orphan((orphan, Epoch(1))).await.unwrap().unwrap();
    assert_eq!(orphan.kept.unwrap().answer, "resp_1");
    let forgotten = Append { row: RowChange::Background(None), ..deltas(&at, 1, 2..=2) };
    writer.append(&[&keeping(&at, 1, "resp_2"), &forgotten]).await.unwrap();
    let orphan = bench.log.ownership.orphan((at.id, Epoch(1))).await.unwrap().unwrap();
    assert_eq!(orphan.kept, None, "in their order");
}
