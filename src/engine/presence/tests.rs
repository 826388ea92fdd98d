//! How long typing and presence last, with a clock that moves when nothing else does.
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{advance, timeout};
use uuid::Uuid;

use super::*;
use crate::ports::Received;

/// A bound for events that must not happen; it takes no time here.
const HOUR: Duration = Duration::from_secs(3600);

/// The way from one instance to the other, which can be cut.
struct Wire {
    whole: AtomicBool,
    out: mpsc::Sender<Signal>,
}

#[async_trait]
impl Signals for Wire {
    fn send(&self, _: To, signal: Signal) {
        if self.whole.load(Ordering::Relaxed) {
            self.out.try_send(signal).unwrap();
        }
    }

    fn receive(&self) -> BoxStream<'static, Received> {
        stream::pending().boxed()
    }

    fn work(&self) -> bool {
        true
    }

    fn room(&self) -> usize {
        0
    }

    async fn run(self: Arc<Self>) {}

    async fn close(&self) {}
}

/// An instance's presence, and what it tells the others.
struct Instance {
    presence: Presence,
    wire: Arc<Wire>,
    told: mpsc::Receiver<Signal>,
}

impl Instance {
    fn new(n: u128) -> Self {
        let (out, told) = mpsc::channel(10_000);
        let wire = Arc::new(Wire { whole: AtomicBool::new(true), out });
        let presence = Presence::new(InstanceId(Uuid::from_u128(n)), wire.clone());
        Self { presence, wire, told }
    }

    /// Lives until `scenario` has ended, and hears nothing.
    async fn alone<T>(&self, scenario: impl Future<Output = T>) -> T {
        tokio::select! {
            () = self.presence.clone().keep_up(CancellationToken::new()) => unreachable!(),
            done = timeout(HOUR, scenario) => done.unwrap(),
        }
    }

    /// How many signs of typing it has passed on.
    fn typing_told(&mut self) -> usize {
        let all = std::iter::from_fn(|| self.told.try_recv().ok());
        let typing = |s: &Signal| {
            matches!(s, Signal::Room { hint: RoomHint::Typing { active: true, .. }, .. })
        };
        all.filter(typing).count()
    }
}

/// Two that live and hear each other until `scenario` has ended.
async fn both<T>(one: &mut Instance, two: &mut Instance, scenario: impl Future<Output = T>) -> T {
    let never = CancellationToken::new;
    let (a, b) = (one.presence.clone(), two.presence.clone());
    tokio::select! {
        () = a.clone().keep_up(never()) => unreachable!(),
        () = b.clone().keep_up(never()) => unreachable!(),
        () = deliver(&mut one.told, &b) => unreachable!(),
        () = deliver(&mut two.told, &a) => unreachable!(),
        done = timeout(HOUR, scenario) => done.unwrap(),
    }
}

async fn deliver(told: &mut mpsc::Receiver<Signal>, to: &Presence) {
    while let Some(signal) = told.recv().await {
        match signal {
            Signal::Room { from, tenant, conversation, hint } => {
                to.heard(from, (tenant, conversation), &hint);
            }
            Signal::RoomsAlive { from } => to.alive(from),
            Signal::Cancel { .. }
            | Signal::Follow { .. }
            | Signal::Grown { .. }
            | Signal::TakenOver { .. }
            | Signal::Released { .. }
            | Signal::KeyChanged
            | Signal::ReadersCut => panic!("{signal:?} is not about presence"),
        }
    }
}

fn at() -> RoomAt {
    (Tenant::anonymous(), ConversationId(Uuid::from_u128(1)))
}

fn who(id: &str) -> Participant {
    Participant::user(id.into(), id.into()).unwrap()
}

/// Waits until the participants, or those who type, are these; when that was.
async fn until_there(changes: &mut Changes, expected: &[&str]) -> Instant {
    until(changes, |change| change.participants, expected).await
}

async fn until_typing(changes: &mut Changes, expected: &[&str]) -> Instant {
    until(changes, |change| change.typing, expected).await
}

async fn until(
    changes: &mut Changes,
    list: impl Fn(Change) -> Option<Vec<Participant>>,
    expected: &[&str],
) -> Instant {
    loop {
        let change = changes.next().await.unwrap();
        let ids = |list: Vec<Participant>| list.into_iter().map(|p| p.id).collect::<Vec<_>>();
        if list(change).map(ids).is_some_and(|ids| ids == expected) {
            return Instant::now();
        }
    }
}

fn assert_about(took: Duration, limit: Duration) {
    assert!((limit..=limit + TICK).contains(&took), "{took:?} instead of {limit:?}");
}

#[tokio::test(start_paused = true)]
async fn typing_ends_six_seconds_behind_its_last_sign() {
    let here = Instance::new(1);
    let (ana, _) = here.presence.join(at(), who("ana"));
    let (_ben, mut seen) = here.presence.join(at(), who("ben"));
    here.alone(async {
        ana.typing(true);
        until_typing(&mut seen, &["ana"]).await;
        advance(RENEWAL).await;
        ana.typing(true);
        // A renewal is told, too: clients count by themselves.
        let last = until_typing(&mut seen, &["ana"]).await;
        assert_about(until_typing(&mut seen, &[]).await - last, TYPING);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_passed_on_once_in_three_seconds() {
    let mut here = Instance::new(1);
    let (ana, _) = here.presence.join(at(), who("ana"));
    let (again, _) = here.presence.join(at(), who("ana"));
    for n in 0..=90 {
        // Two connections of one participant are one sender.
        if n % 2 == 0 {
            ana.typing(true)
        } else {
            again.typing(true)
        }
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(here.typing_told(), 4, "at 0, 3, 6 and 9 s");
}

#[tokio::test(start_paused = true)]
async fn who_was_on_an_instance_that_died_is_gone_and_comes_back_with_it() {
    let (mut one, mut two) = (Instance::new(1), Instance::new(2));
    let (_ana, _) = one.presence.join(at(), who("ana"));
    let (_ben, mut seen) = two.presence.join(at(), who("ben"));
    let wire = one.wire.clone();
    both(&mut one, &mut two, async {
        until_there(&mut seen, &["ana", "ben"]).await;
        // Silence is no death as long as the instance lives.
        let nothing = timeout(6 * LOST, seen.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        wire.whole.store(false, Ordering::Relaxed);
        let cut = Instant::now();
        let took = until_there(&mut seen, &["ben"]).await - cut;
        // Its last sign of life may be as old as the time between two.
        assert!((LOST - RENEWAL - TICK..=LOST + TICK).contains(&took), "{took:?}");
        wire.whole.store(true, Ordering::Relaxed);
        let mended = Instant::now();
        let took = until_there(&mut seen, &["ana", "ben"]).await - mended;
        assert!(took <= AGAIN * (RENEWAL + TICK), "found again without anybody's asking: {took:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_model_types_as_long_as_it_answers_and_no_longer_than_its_instance() {
    let (mut one, mut two) = (Instance::new(1), Instance::new(2));
    let (_ben, mut seen) = two.presence.join(at(), who("ben"));
    let id = |n| GenerationId(Uuid::from_u128(n));
    let (presence, wire) = (one.presence.clone(), one.wire.clone());
    both(&mut one, &mut two, async {
        let answering = presence.answers(at(), id(1), "demo");
        until_typing(&mut seen, &["assistant"]).await;
        let mut minute = pin!(tokio::time::sleep(10 * TYPING));
        loop {
            tokio::select! {
                () = &mut minute => break,
                change = seen.next() => {
                    let typing = change.unwrap().typing.unwrap();
                    assert_eq!(typing, [Participant::assistant("demo")], "it goes on");
                }
            }
        }
        let ended = Instant::now();
        drop(answering);
        let told = until_typing(&mut seen, &[]).await;
        assert_eq!(told, ended, "the end is told, not waited for");

        let _second = presence.answers(at(), id(2), "demo");
        let last = until_typing(&mut seen, &["assistant"]).await;
        wire.whole.store(false, Ordering::Relaxed);
        assert_about(until_typing(&mut seen, &[]).await - last, TYPING);
    })
    .await;
}
