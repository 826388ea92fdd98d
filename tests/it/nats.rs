//! Hints by NATS, at the port: who gets them, what a lost server costs, and what a stranger can do.
mod access;
mod attacks;
mod cluster;
mod instances;
pub(crate) mod relay;
pub(crate) mod server;
mod tap;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lastword::domain::entry::Entry;
use lastword::domain::event::Event;
use lastword::domain::id::{Epoch, GenerationId, InstanceId, Seq};
use lastword::domain::key::SigningKey;
use lastword::nats::{NatsOptions, NatsPace, NatsSignals};
use lastword::ports::{Carried, Received, Signal, Signals, To, envelope};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::eventually::eventually;
use server::NatsServer;

/// The key of the database that the nodes are on.
const KEY: SigningKey = SigningKey([7; 32]);

/// One instance's end of the hints.
struct Node {
    me: InstanceId,
    signals: Arc<NatsSignals>,
    received: BoxStream<'static, Received>,
    tasks: JoinSet<()>,
}

impl Node {
    /// Subscribed, with its own messages coming back.
    async fn start(url: &str) -> Self {
        Self::begin(options(url), KEY).subscribed().await
    }

    /// The same, which soon notices that hints do not arrive: on a busy machine also without a cause.
    async fn wary(url: &str) -> Self {
        let pace = NatsPace { beat: Duration::from_millis(100) };
        Self::at_pace(options(url), KEY, pace).subscribed().await
    }

    async fn with_key(url: &str, key: SigningKey) -> Self {
        Self::begin(options(url), key).subscribed().await
    }

    /// It runs, and may get nowhere.
    fn begin(options: NatsOptions, key: SigningKey) -> Self {
        Self::at_pace(options, key, NatsPace::default())
    }

    fn at_pace(options: NatsOptions, key: SigningKey, pace: NatsPace) -> Self {
        let me = InstanceId::random();
        let signals = Arc::new(NatsSignals::new(options, &key, me, pace).unwrap());
        let received = signals.receive();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&signals).run());
        Self { me, signals, received, tasks }
    }

    async fn subscribed(mut self) -> Self {
        assert_eq!(self.next().await, Received::Gap, "from here on nothing is missed");
        self.until_it_works(true).await;
        self
    }

    /// Says something until the other has heard something: what is said before a way is there is
    /// lost.
    async fn until_heard(&self, by: &mut Self) {
        /// Between two hints of which one has to arrive.
        const AGAIN: Duration = Duration::from_millis(100);
        let heard = async {
            loop {
                self.signals.send(To::One(by.me), hint());
                if timeout(AGAIN, by.signal()).await.is_ok() {
                    return;
                }
            }
        };
        timeout(PATIENCE, heard).await.expect("hints arrive");
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

    async fn until_it_works(&self, works: bool) {
        eventually("it is noticed", async || self.signals.work() == works).await;
    }

    async fn stop(mut self) {
        self.signals.close().await;
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        timeout(PATIENCE, ended).await.expect("its tasks end");
    }
}

/// The words of an operator about this server.
fn options(url: &str) -> NatsOptions {
    NatsOptions { servers: url.into(), subject: "test".into(), ..NatsOptions::default() }
}

fn hint() -> Signal {
    Signal::Cancel { generation: GenerationId::random() }
}

fn grown(text: &str) -> Signal {
    let entry = Entry::encode(Seq(4), &Event::Delta { text: text.into() }).by(Epoch(3));
    let entries = Carried::all(&[entry], usize::MAX);
    assert_eq!(entries.len(), 1);
    Signal::Grown { generation: GenerationId::random(), entries }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_reaches_whom_it_is_for_and_never_its_sender() {
    let server = NatsServer::start().await;
    let [mut one, mut two, mut three] = [
        Node::start(&server.url()).await,
        Node::start(&server.url()).await,
        Node::start(&server.url()).await,
    ];
    let (all, private, back) = (hint(), grown("x"), hint());
    one.signals.send(To::All, all.clone());
    assert_eq!((two.signal().await, three.signal().await), (all.clone(), all));
    one.signals.send(To::One(two.me), private.clone());
    assert_eq!(two.signal().await, private, "with its entries");
    two.signals.send(To::All, back.clone());
    assert_eq!((one.signal().await, three.signal().await), (back.clone(), back));
    let sent: Vec<Signal> = (0..1000).map(|_| hint()).collect();
    for signal in &sent {
        one.signals.send(To::All, signal.clone());
    }
    one.stop().await;
    for signal in sent {
        assert_eq!(two.signal().await, signal, "in order, and what waits at the end goes out");
    }
    two.stop().await;
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_that_share_a_server_hear_nothing_of_each_other() {
    let server = NatsServer::start().await;
    let url = server.url();
    let (one, mut two) = (Node::start(&url).await, Node::start(&url).await);
    let other = Node::with_key(&url, SigningKey([8; 32])).await;
    let ours = hint();
    other.signals.send(To::All, hint());
    other.signals.send(To::One(two.me), hint());
    other.stop().await;
    one.signals.send(To::All, ours.clone());
    assert_eq!(two.signal().await, ours);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_or_hangs_is_noticed_and_so_is_its_return() {
    let mut server = NatsServer::start().await;
    let (mut one, mut two) = (Node::wary(&server.url()).await, Node::wary(&server.url()).await);
    for killed in [true, false] {
        if killed {
            server.kill()
        } else {
            server.suspend()
        }
        one.until_it_works(false).await;
        two.until_it_works(false).await;
        // Nobody waits for what cannot be sent.
        one.signals.send(To::All, hint());
        if killed {
            server.again().await
        } else {
            server.resume()
        }
        one.gap().await;
        two.gap().await;
        two.until_it_works(true).await;
        one.until_heard(&mut two).await;
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_a_server_waits_for_nothing_and_ends_in_time() {
    let mut server = NatsServer::start().await;
    server.kill();
    let (options, me) = (options(&server.url()), InstanceId::random());
    let signals = Arc::new(NatsSignals::new(options, &KEY, me, NatsPace::default()).unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&signals).run());
    signals.send(To::All, hint());
    assert!(!signals.work());
    signals.close().await;
    timeout(PATIENCE, tasks.join_next()).await.expect("its task ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_message_brings_no_entries_and_no_command() {
    let server = NatsServer::start().await;
    let (one, mut two) = (Node::start(&server.url()).await, Node::start(&server.url()).await);
    let (all, own) = (two.signals.subject(To::All), two.signals.subject(To::One(two.me)));
    let stranger = InstanceId::random();
    let (entries, genuine) = (grown("forged"), grown("genuine"));
    let payload = envelope::pack(stranger, &[hint(), entries.clone()], 10_000).concat();
    let tagged = [&[0; 32][..], payload.as_bytes()].concat();
    for (subject, message) in [
        (&own, tagged.clone()),
        (&all, tagged),
        (&own, payload.clone().into_bytes()),
        (&all, b"\xff\x00 no JSON".to_vec()),
        (&all, Vec::new()),
    ] {
        server.publish(subject, &message).await;
    }
    one.signals.send(To::One(two.me), genuine.clone());
    // Two subjects, so in any order.
    let heard = [two.signal().await, two.signal().await, two.signal().await];
    let without = entries.without_entries();
    assert_eq!(heard.iter().filter(|signal| **signal == without).count(), 2, "the log is read");
    assert!(heard.contains(&genuine), "{heard:?}");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_above_the_largest_message_stay_in_the_log() {
    let server = NatsServer::configured("max_payload: 4096").await;
    let (one, mut two) = (Node::start(&server.url()).await, Node::start(&server.url()).await);
    let (small, large) = (grown("x"), grown(&"x".repeat(5000)));
    for signal in [&small, &large] {
        one.signals.send(To::One(two.me), signal.clone());
    }
    assert_eq!(two.signal().await, small);
    assert_eq!(two.signal().await, large.without_entries());
    assert!(one.signals.room() <= 2048, "it does not offer more: {}", one.signals.room());
    one.stop().await;
    two.stop().await;
}
