//! Many viewers of one link: what they cost the log does not grow with their number.
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use lastword::domain::conversation::{NewConversation, ParentAsked};
use lastword::domain::id::{Seq, Tenant};
use lastword::domain::json::JsonObject;
use lastword::domain::share::ShareToken;
use lastword::engine::{Engine, Item, Session, VIEWERS, ViewError, Viewed, Viewing};
use lastword::ports::{Address, ConversationAt, Made};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::tenants::said;
use crate::client::PATIENCE;
use crate::database::TestDatabase;
use crate::fence::session;
use crate::remote::counted;
use crate::wrong::Reads;

/// A viewer that follows, with the number of events that it has.
type Viewer = (Box<Session>, Viewing, usize);

async fn first_event(engine: &Engine, token: &ShareToken, turn: &str) -> Viewer {
    let viewed = engine.view_shared(token, Seq::ZERO, Some(turn)).await.unwrap();
    let Viewed::Events(mut session, viewing) = viewed else { panic!("its answer is being made") };
    let Some(Item::Entries(entries)) = session.next().await else { panic!("it has begun") };
    (session, viewing, entries.len())
}

async fn rest((mut session, viewing, mut count): Viewer) -> usize {
    while let Some(item) = session.next().await {
        if let Item::Entries(entries) = item {
            count += entries.len();
        }
    }
    assert!(!viewing.is_over());
    count
}

async fn waiting(engine: &Engine, token: &ShareToken, turn: &str, cursor: Seq) -> Viewing {
    match engine.view_shared(token, cursor, Some(turn)).await.unwrap() {
        Viewed::Waiting(viewing) => viewing,
        Viewed::Events(..) | Viewed::Complete => panic!("it has all, and waits for more"),
    }
}

/// All viewers that a link may have on an instance, some at a time. All at once would wait too long
/// for a connection to the database.
async fn all_of<T, F: Future<Output = T>>(view: impl Fn() -> F) -> Vec<T> {
    stream::iter(0..VIEWERS).map(|_| view()).buffered(16).collect().await
}

fn alone(reads: &Reads) -> usize {
    reads.one.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_viewers_of_one_link_cost_one_tail() {
    let database = TestDatabase::create().await;
    let ((owner, here), (other, elsewhere)) = (counted(&database).await, counted(&database).await);
    let tenant = Tenant::anonymous();
    let new = NewConversation {
        tenant: tenant.clone(),
        title: None,
        system: None,
        metadata: JsonObject::default(),
        messages: Vec::new(),
        idempotency: None,
    };
    let Made::New(made) = owner.new_conversation(&new).await.unwrap() else { panic!("no key") };
    let at = ConversationAt { tenant: tenant.clone(), id: made.id };
    let turn = |text: &str| said(&tenant, made.id, ParentAsked::Active, text);
    // Slower than a tail is long, however long it takes until all are here.
    let prompt = "/demo tokens=100000 tps=2 ttft_ms=0";
    let started = owner.start(turn(prompt)).await.unwrap().generation;
    let token = owner.share(&at, true).await.unwrap();
    let end = owner.shared(&token).await.unwrap().unwrap().end.unwrap();
    let name = end.name(&token.hash(), true);

    let mut viewers = Vec::new();
    for engine in [&owner, &other] {
        viewers.extend(all_of(|| first_event(engine, &token, &name)).await);
        let refused = engine.view_shared(&token, Seq::ZERO, Some(&name)).await;
        assert!(matches!(refused, Err(ViewError::Crowded)), "a thousand and no more");
    }
    // From here on a tail has all that comes: one tail, or each viewer would read for itself.
    let before = [alone(&here.reads), alone(&elsewhere.reads)];
    let at = Address { tenant: tenant.clone(), id: started.id };
    let seen = owner.view(&at).await.unwrap().last_seq;
    let ending = async {
        let mut session = session(&owner, &at).await;
        let mut last = Seq::ZERO;
        while last.0 < seen.0 + 4 {
            let Some(Item::Entries(entries)) = session.next().await else { panic!("it goes on") };
            last = entries.last().unwrap().seq;
        }
        owner.cancel(&at).await.unwrap();
    };
    let (counts, ()) = tokio::join!(join_all(viewers.into_iter().map(rest)), ending);
    let at_end = [alone(&here.reads), alone(&elsewhere.reads)];
    println!("{VIEWERS} viewers on each: {before:?} reads to begin with, {at_end:?} at the end");
    let last = owner.view(&at).await.unwrap().last_seq;
    assert_eq!(counts, vec![usize::try_from(last.0).unwrap(); 2 * VIEWERS]);
    assert_eq!(before[0], 0, "the tail of the owner has the beginning, too");
    assert!(before[1] <= 2 * VIEWERS, "each reads what was there once: {before:?}");
    assert!(at_end[0] + at_end[1] <= before[0] + before[1] + VIEWERS / 100, "{at_end:?}");

    // They wait for the next turn without reading anything, and one look lets all of them go.
    let mut all = Vec::new();
    for engine in [&owner, &other] {
        all.extend(all_of(|| waiting(engine, &token, &name, last)).await);
    }
    let reads = [alone(&here.reads), alone(&elsewhere.reads)];
    owner.start(turn("/demo tokens=1 tps=0")).await.unwrap();
    let over = join_all(all.iter().map(Viewing::over));
    timeout(PATIENCE, over).await.expect("all are let go");
    assert_eq!([alone(&here.reads), alone(&elsewhere.reads)], reads);
    drop(all);
    for engine in [owner, other] {
        engine.drain(PATIENCE, &CancellationToken::new()).await;
    }
}
