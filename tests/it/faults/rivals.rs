//! Clients that want different things of different instances at the same moment.
use futures_util::future::join_all;
use serde_json::json;

use crate::fleet::Fleet;
use crate::history::History;
use crate::watch::{Follower, assert_kept, begin, body, cancel, demo, undisturbed, view, watch};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_on_two_instances_at_once_is_one_start() {
    let fleet = Fleet::start(2).await;
    let clients = [fleet.client(0), fleet.client(1)];
    let starts = (0..20).map(|n| {
        let clients = &clients;
        async move {
            let prompt = demo(5, 200, n);
            let key = format!("rivals-{n}");
            let body = body(&prompt);
            let one = begin(&clients[n % 2], &key, &body);
            let two = begin(&clients[(n + 1) % 2], &key, &body);
            let starts = <[_; 2]>::from(tokio::join!(one, two)).to_vec();
            assert_eq!(starts.iter().filter(|s| s.replayed).count(), 1, "one of them is the start");
            let mut history = watch(&clients[0], &key, &body, 1).await;
            history.starts.extend(starts);
            history
        }
    });
    let histories = join_all(starts).await;
    let rows = fleet.database.number("select count(*) from generations").await;
    assert_eq!(rows, 20);
    assert_kept(fleet.any(), histories).await;
    fleet.stop().await;
}

/// A cancel by one or two others, after so many events; one reader on either side.
async fn cancelled(fleet: &Fleet, n: usize) -> History {
    let (near, far) = (fleet.client(n % 2), fleet.client((n + 1) % 2));
    let prompt = demo(40, 100, n);
    let start = begin(&near, &format!("cancel-{n}"), &body(&prompt)).await;
    let id = start.id.clone();
    let mut reader = Follower::new(&near, &id);
    reader.take(25 + n).await;
    let both = async { tokio::join!(cancel(&near, &id), cancel(&far, &id)) };
    let ((one, two), earlier, readers) = tokio::join!(
        both,
        view(&far, &id),
        join_all([reader.finish(), Follower::new(&far, &id).finish()])
    );
    let (receipts, views) = (vec![one, two], vec![earlier]);
    let text = Some(undisturbed(&prompt).await);
    History { id, starts: vec![start], readers, views, receipts, text, ..History::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_races_the_end_and_all_agree_who_won() {
    let fleet = Fleet::start(2).await;
    // From well before the end to right at it.
    let histories = join_all((0..16).map(|n| cancelled(&fleet, n))).await;
    let histories = assert_kept(fleet.any(), histories).await;
    let count = |status| histories.iter().filter(|h| h.view["status"] == status).count();
    println!("{} cancelled, {} completed", count("cancelled"), count("completed"));
    assert_eq!(count("cancelled") + count("completed"), 16);
    for receipt in histories.iter().flat_map(|h| &h.receipts) {
        assert_eq!(receipt["cancelled"], json!(receipt["status"] == "cancelled"));
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_what_has_just_lost_its_owner_is_heeded_by_the_next() {
    let mut fleet = Fleet::start(2).await;
    let prompt = demo(10_000, 50, 9);
    let start = begin(&fleet.client(0), "orphan", &body(&prompt)).await;
    let mut reader = Follower::new(fleet.any(), &start.id);
    reader.take(10).await;
    fleet.members[0].kill().await;
    let heir = fleet.client(1);
    let (receipt, reader) = tokio::join!(cancel(&heir, &start.id), reader.finish());
    assert_eq!((&receipt["status"], &receipt["cancelled"]), (&json!("cancelled"), &json!(true)));
    let id = start.id.clone();
    let (starts, readers, receipts) = (vec![start], vec![reader], vec![receipt]);
    let history = History { id, starts, readers, receipts, ..History::default() };
    assert_kept(fleet.any(), vec![history]).await;
    fleet.stop().await;
}
