//! What a stranger with access to the NATS server, or an instance gone wrong, does to readers
//! elsewhere: nothing but a look into the log.
use std::time::Duration;

use futures_util::future::join_all;
use lastword::config::NatsConfig;
use lastword::domain::entry::Entry;
use lastword::domain::event::Event;
use lastword::domain::id::{Epoch, GenerationId, InstanceId, Seq};
use lastword::domain::key::SigningKey;
use lastword::nats::{NatsOptions, NatsPace, NatsSignals};
use lastword::ports::{Carried, Signal, Signals, To};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::server::NatsServer;
use super::tap::Tap;
use crate::client::{PATIENCE, Reader, Received, assert_whole, text};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config};
use crate::upstream::{Answer, Gate, Upstream};

/// Much longer than a test: what happens at this pace does not happen.
const NEVER: Duration = Duration::from_secs(3600);

/// A generation that says a word, and the next when its gate opens; read on another instance.
struct Scene {
    server: NatsServer,
    owner: TestApp,
    other: TestApp,
    _upstream: Upstream,
    gates: [Gate; 2],
    id: String,
    reader: Reader,
    seen: Vec<Received>,
    /// Hears everything that both say.
    tap: Tap,
}

impl Scene {
    /// It has said `one `, and waits.
    async fn start() -> Self {
        let server = NatsServer::start().await;
        let gates = [Gate::default(), Gate::default()];
        let answer = Answer::sse().text("one ").wait(&gates[0]).text("two ").wait(&gates[1]);
        let url = server.url();
        let over = move |config: &mut lastword::config::Config| {
            config.nats = Some(NatsConfig::of(&url));
        };
        let script = vec![answer.text("three").complete()];
        let (owner, upstream) = TestApp::scripted(script, over).await;
        let other = TestApp::on(owner.database.clone(), owner.config.clone()).await;
        let tap = tap(&owner.database, &server).await;
        let id = owner.client.start_prompt("hi").await;
        let reader = other.client.events(&id, 0).await;
        let (_upstream, seen) = (upstream, Vec::new());
        let mut scene = Self { server, owner, other, _upstream, gates, id, reader, seen, tap };
        scene.until("one ").await;
        scene
    }

    async fn until(&mut self, said: &str) {
        while text(&self.seen) != said {
            self.seen.extend(self.reader.take(1).await);
        }
    }

    /// Everything else is said; the readers of both instances have what is in the log.
    async fn ends_well(mut self) {
        self.gates.iter().for_each(Gate::open);
        self.seen.extend(self.reader.rest().await);
        assert_whole(&self.seen);
        assert_eq!(text(&self.seen), "one two three");
        assert_eq!(self.seen, self.owner.client.all(&self.id, 0).await);
        assert_eq!(self.seen, self.other.client.all(&self.id, 0).await);
        self.owner.stop().await;
        self.other.stop().await;
    }
}

/// An instance's end of the hints, with the database's own key; it does not run.
async fn insider(database: &TestDatabase, server: &NatsServer) -> NatsSignals {
    let key: Vec<u8> = sqlx::query_scalar("select key from signing_key")
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap();
    let options =
        NatsOptions { servers: server.url(), subject: "lastword".into(), ..NatsOptions::default() };
    let key = SigningKey(key.try_into().unwrap());
    NatsSignals::new(options, &key, InstanceId::random(), NatsPace::default()).unwrap()
}

/// Hears everything that the instances on this database say.
async fn tap(database: &TestDatabase, server: &NatsServer) -> Tap {
    let all = insider(database, server).await.subject(To::All);
    Tap::on(server, all.strip_suffix(".all").unwrap()).await
}

/// Everything that was said up to now, at least one message.
async fn recorded(tap: &mut Tap, server: &NatsServer) -> Vec<(String, Vec<u8>)> {
    let end = format!("{}.end", tap.prefix());
    let mut all = Vec::new();
    let said = async {
        while all.is_empty() {
            server.publish(&end, b"").await;
            loop {
                let (subject, message) = tap.message().await;
                if subject == end {
                    break;
                }
                all.push((subject, message));
            }
        }
    };
    timeout(PATIENCE, said).await.expect("a reader elsewhere follows by NATS");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_is_played_again_in_any_order_and_shows_nothing() {
    let mut scene = Box::pin(Scene::start()).await;
    scene.gates[0].open();
    scene.until("one two ").await;
    let heard = recorded(&mut scene.tap, &scene.server).await;
    for (subject, message) in heard.iter().rev().chain(&heard).chain(&heard) {
        scene.server.publish(subject, message).await;
        // Meant for somebody else.
        let all = subject.rsplit_once('.').unwrap().0.to_owned() + ".all";
        scene.server.publish(&all, message).await;
        // Changed on the way: a bit of the seal, a bit of the text, cut off.
        for at in [0, message.len() - 4] {
            let mut changed = message.clone();
            changed[at] ^= 1;
            scene.server.publish(subject, &changed).await;
        }
        scene.server.publish(subject, &message[..message.len() / 2]).await;
    }
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_do_not_follow_what_a_reader_has_are_read_from_the_log() {
    let scene = Box::pin(Scene::start()).await;
    let epoch: i32 = sqlx::query_scalar("select epoch from generations")
        .fetch_one(&mut scene.owner.database.connect().await)
        .await
        .unwrap();
    let node = std::sync::Arc::new(insider(&scene.owner.database, &scene.server).await);
    let mut tasks = JoinSet::new();
    tasks.spawn(std::sync::Arc::clone(&node).run());
    let has = scene.seen.last().unwrap().id;
    let delta = |seq: u64, epoch: i32| {
        Entry::encode(Seq(seq), &Event::Delta { text: "wrong ".into() }).by(Epoch(epoch))
    };
    let generation = GenerationId(scene.id.parse().unwrap());
    for entries in [
        vec![delta(has + 2, epoch)],
        vec![delta(has + 1, epoch + 1)],
        vec![delta(has + 1, epoch - 1)],
        vec![delta(has, epoch), delta(has - 1, epoch)],
        vec![delta(has + 2, epoch), delta(has + 1, epoch)],
        vec![delta(has + 1, epoch), delta(has + 3, epoch)],
        vec![delta(has + 1, epoch), delta(has + 1, epoch)],
        vec![delta(has, epoch)],
        vec![delta(0, epoch), delta(u64::MAX >> 1, epoch)],
    ] {
        let entries = Carried::all(&entries, usize::MAX);
        assert!(!entries.is_empty());
        node.send(To::All, Signal::Grown { generation, entries });
    }
    // Sent, and heard by everybody before what the next entries are carried in.
    node.close().await;
    while tasks.join_next().await.is_some() {}
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_a_deleted_generation_bring_nothing_back() {
    let mut scene = Box::pin(Scene::start()).await;
    scene.gates.iter().for_each(Gate::open);
    scene.seen.extend(scene.reader.rest().await);
    let heard = recorded(&mut scene.tap, &scene.server).await;
    let (app, id) = (&scene.other, &scene.id);
    let path = format!("{}/v1/generations/{id}", app.client.base);
    assert_eq!(app.client.http.delete(&path).send().await.unwrap().status(), 204);
    for (subject, message) in heard {
        scene.server.publish(&subject, &message).await;
    }
    for app in [&scene.owner, &scene.other] {
        assert_eq!(app.client.try_events(id, 0).await.unwrap().status(), 404);
    }
    scene.owner.stop().await;
    scene.other.stop().await;
}

/// Instances on one database, all on this server.
async fn instances(
    server: &NatsServer,
    count: usize,
    change: impl Fn(&mut lastword::config::Config),
) -> Vec<TestApp> {
    let database = TestDatabase::create().await;
    let mut config = config(&database);
    config.nats = Some(NatsConfig::of(&server.url()));
    change(&mut config);
    join_all((0..count).map(|_| TestApp::on(database.clone(), config.clone()))).await
}

/// A generation of each, read everywhere.
async fn all_see_the_same(apps: &[TestApp], prompt: &str) {
    for owner in apps {
        let id = owner.client.start_prompt(prompt).await;
        let seen = join_all(apps.iter().map(|app| app.client.all(&id, 0))).await;
        assert_whole(&seen[0]);
        assert!(seen.iter().all(|events| *events == seen[0]), "byte for byte");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_no_message_holds_come_by_the_log_and_their_hint_by_nats() {
    let server = NatsServer::configured("max_payload: 1024").await;
    let gate = Gate::default();
    let (first, large) = ("small ", "x".repeat(5000));
    let answer = Answer::sse().text(first).wait(&gate).text(&large).text(" small").complete();
    let (owner, _upstream) = TestApp::scripted(vec![answer], |config| {
        config.nats = Some(NatsConfig::of(&server.url()));
        config.limits.poll = NEVER;
        config.limits.poll_with_hints = NEVER;
    })
    .await;
    let other = TestApp::on(owner.database.clone(), owner.config.clone()).await;
    let id = owner.client.start_prompt("hi").await;
    let mut reader = other.client.events(&id, 0).await;
    let mut seen = Vec::new();
    while text(&seen) != first {
        seen.extend(reader.take(1).await);
    }
    gate.open();
    seen.extend(reader.rest().await);
    assert_whole(&seen);
    assert_eq!(text(&seen), format!("{first}{large} small"));
    assert_eq!(seen, owner.client.all(&id, 0).await);
    owner.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_key_is_changed_instances_find_everything_in_the_log() {
    let server = NatsServer::start().await;
    let mut apps = instances(&server, 2, |_| {}).await;
    let changed = sqlx::query("update signing_key set key = sha256(key)")
        .execute(&mut apps[0].database.connect().await)
        .await
        .unwrap();
    assert_eq!(changed.rows_affected(), 1);
    apps.push(TestApp::on(apps[0].database.clone(), apps[0].config.clone()).await);
    all_see_the_same(&apps, "/demo tokens=40 tps=40 ttft_ms=0 unicode seed=6").await;
    join_all(apps.into_iter().map(TestApp::stop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_on_one_server_share_no_subject_and_no_message() {
    let server = NatsServer::start().await;
    let (ours, theirs) = (instances(&server, 2, |_| {}).await, instances(&server, 2, |_| {}).await);
    let names = [
        insider(&ours[0].database, &server).await.subject(To::All),
        insider(&theirs[0].database, &server).await.subject(To::All),
    ];
    let [our, their] = names.map(|all| all.strip_suffix("all").unwrap().to_owned());
    assert_ne!(our, their);
    let mut tap = Tap::on(&server, "lastword").await;
    all_see_the_same(&theirs, "/demo tokens=20 tps=40 ttft_ms=0 seed=1").await;
    // A reader of ours is there while theirs is said to us.
    let id = ours[0].client.start_prompt("/demo tokens=60 tps=40 ttft_ms=0 seed=2").await;
    let mut reader = ours[1].client.events(&id, 0).await;
    let mut seen = reader.take(10).await;
    for _ in 0..20 {
        let (subject, message) = tap.message().await;
        assert!(subject.starts_with(&our) || subject.starts_with(&their), "{subject}");
        let here = subject.replace(&their, &our);
        server.publish(&here, &message).await;
        server.publish(&format!("{our}all"), &message).await;
    }
    seen.extend(reader.rest().await);
    assert_whole(&seen);
    assert_eq!(seen, ours[0].client.all(&id, 0).await);
    join_all(ours.into_iter().chain(theirs).map(TestApp::stop)).await;
}
