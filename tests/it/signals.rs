//! Hints between instances, at the port: their receivers, and the cost of a lost listener.
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lastword::domain::id::{GenerationId, InstanceId};
use lastword::ports::{Received, Signal, Signals, To};
use lastword::store::{Durability, Pace, PgSignals, connect};
use sqlx::Row;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::database::TestDatabase;
use crate::proxy::Proxy;

/// One instance's end of the hints.
struct Node {
    me: InstanceId,
    signals: PgSignals,
    received: BoxStream<'static, Received>,
    tasks: JoinSet<()>,
}

impl Node {
    /// Listening, with its own notifications coming back.
    async fn start(url: &str) -> Self {
        let log = connect(url.parse().unwrap(), Durability::Required).await.unwrap();
        let me = InstanceId::random();
        let pace = Pace { beat: Duration::from_millis(100), ..Pace::default() };
        let signals = PgSignals::new(&log, me, pace);
        let received = signals.receive();
        let mut tasks = JoinSet::new();
        tasks.spawn(signals.listen());
        tasks.spawn(signals.deliver());
        let mut node = Self { me, signals, received, tasks };
        assert_eq!(node.next().await, Received::Gap, "from here on nothing is missed");
        node
    }

    async fn next(&mut self) -> Received {
        timeout(PATIENCE, self.received.next()).await.expect("a hint in time").unwrap()
    }

    /// The next hint; gaps may come at any time.
    async fn signal(&mut self) -> Signal {
        loop {
            if let Received::Signal(signal) = self.next().await {
                return signal;
            }
        }
    }

    async fn gap(&mut self) {
        while self.next().await != Received::Gap {}
    }

    async fn stop(mut self) {
        self.signals.close().await;
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        timeout(PATIENCE, ended).await.expect("its tasks end");
    }
}

fn hint() -> Signal {
    Signal::Cancel { generation: GenerationId::random() }
}

async fn two() -> (Node, Node, TestDatabase) {
    let database = TestDatabase::create().await;
    (Node::start(&database.url).await, Node::start(&database.url).await, database)
}

#[tokio::test]
async fn a_hint_reaches_whom_it_is_for_and_never_its_sender() {
    let (mut one, mut two, database) = two().await;
    let mut three = Node::start(&database.url).await;
    let (all, private, back) = (hint(), hint(), hint());
    one.signals.send(To::All, all.clone());
    assert_eq!((two.signal().await, three.signal().await), (all.clone(), all));
    one.signals.send(To::One(two.me), private.clone());
    assert_eq!(two.signal().await, private);
    two.signals.send(To::All, back.clone());
    // Neither its own hints nor those for others came before.
    assert_eq!((one.signal().await, three.signal().await), (back.clone(), back));
    one.stop().await;
    two.stop().await;
    three.stop().await;
}

#[tokio::test]
async fn many_hints_arrive_in_order_and_what_waits_at_the_end_goes_out() {
    let (one, mut two, _database) = two().await;
    let sent: Vec<Signal> = (0..1000).map(|_| hint()).collect();
    for signal in &sent {
        one.signals.send(To::All, signal.clone());
    }
    one.stop().await;
    for signal in sent {
        assert_eq!(two.signal().await, signal);
    }
    two.stop().await;
}

#[tokio::test]
async fn a_listener_whose_backend_is_ended_listens_anew_and_says_that_there_is_a_gap() {
    let (one, mut two, database) = two().await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity \
               where application_name = 'lastword listener' and datname = current_database()";
    let ended = sqlx::query(end).fetch_all(&mut database.connect().await).await.unwrap();
    assert_eq!(ended.iter().filter(|row| row.get::<bool, _>(0)).count(), 2);
    two.gap().await;
    let signal = hint();
    one.signals.send(To::All, signal.clone());
    assert_eq!(two.signal().await, signal);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_black_hole_is_noticed_on_both_sides() {
    let database = TestDatabase::create().await;
    let proxy = Proxy::start(&database);
    let mut one = Node::start(&proxy.url(&database)).await;
    let mut two = Node::start(&database.url).await;
    let first = hint();
    one.signals.send(To::All, first.clone());
    assert_eq!(two.signal().await, first);
    proxy.black_hole();
    one.gap().await;
    let (there, back) = (hint(), hint());
    two.signals.send(To::All, there.clone());
    assert_eq!(one.signal().await, there, "the listener came back by another connection");
    one.signals.send(To::All, back.clone());
    // The sender reconnected, too. It may have sent the first one twice, because it never learned
    // that it was taken.
    while two.signal().await != back {}
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn deployments_in_two_schemas_of_one_database_hear_nothing_of_each_other() {
    let (mut one, mut two, database) = two().await;
    let create = "create schema other";
    sqlx::query(create).execute(&mut database.connect().await).await.unwrap();
    let joint = if database.url.contains('?') { '&' } else { '?' };
    let other = format!("{}{joint}options[search_path]=other", database.url);
    let (there, mut here) = (Node::start(&other).await, Node::start(&other).await);
    let (stray, own, ours) = (hint(), hint(), hint());
    there.signals.send(To::All, stray.clone());
    assert_eq!(here.signal().await, stray, "within a schema they hear each other");
    one.signals.send(To::All, own.clone());
    assert_eq!(two.signal().await, own, "what another schema said before did not come");
    there.signals.send(To::All, ours.clone());
    assert_eq!(here.signal().await, ours);
    two.signals.send(To::All, ours.clone());
    assert_eq!(one.signal().await, ours);
    for node in [one, two, there, here] {
        node.stop().await;
    }
}
