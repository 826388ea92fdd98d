//! Readers on another instance than the one that writes.
use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Response;
use tempfile::TempDir;

use super::{forget_most, most, picture, serve, url};
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::process::Server;
use crate::upstream::{Answer, Gate, Upstream};

const READERS: usize = 3;
/// Events that are each a part of what a page may have.
const EVENTS: usize = 30;
const BYTES: usize = 900_000;
/// The memory that the process may take beyond its memory at rest, MiB. While one query had all
/// that was new, it took 60, and takes 19.
const MORE: u64 = 40;

/// All that a reader gets, without signs of life.
async fn rest((reader, mut told): (Response, Vec<u8>)) -> String {
    told.extend_from_slice(&reader.bytes().await.unwrap());
    let all = String::from_utf8(told).unwrap().replace(": keep-alive\n\n", "");
    all.split_once("id: 1\n").unwrap().1.to_owned()
}

/// The instance with the readers stands still while all of the answer is written: what is new to it
/// is many pages.
#[tokio::test(flavor = "multi_thread")]
async fn readers_elsewhere_get_a_large_answer_by_pages() {
    let (gate, url) = (Gate::default(), url());
    let part = |n: usize| format!("{}{n}", &url[..BYTES]);
    let begun = Answer::sse().text("Here.").wait(&gate).delta(&picture(&url));
    let answer = (0..EVENTS).fold(begun, |answer, n| answer.delta(&picture(&part(n))));
    let upstream = Upstream::start(answer.complete()).await;
    let database = TestDatabase::create().await;
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let owner = Server::start(serve(&dirs[0], &database, &upstream)).await;
    let mut elsewhere = serve(&dirs[1], &database, &upstream);
    // A hint that comes late would have the readers turn to the log themselves.
    elsewhere.env("LASTWORD_NOTIFY", "off");
    let elsewhere = Server::start(elsewhere).await;
    let id = owner.client.start_prompt("draw").await;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = elsewhere.client.try_events(&id, 0).await.unwrap();
        let mut told = Vec::new();
        while !String::from_utf8_lossy(&told).contains("Here.") {
            told.extend_from_slice(&reader.chunk().await.unwrap().expect("it goes on"));
        }
        readers.push((reader, told));
    }
    let before = forget_most(&elsewhere);
    let pid = Pid::from_raw(elsewhere.pid().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    gate.open();
    eventually("all of it is written", async || {
        database.number("select count(*) from generations where done is not null").await == 1
    })
    .await;
    kill(pid, Signal::SIGCONT).unwrap();
    let all = join_all(readers.into_iter().map(rest)).await;
    let took = most(&elsewhere) - before;
    let first = &all[0];
    assert!(all.iter().all(|read| read == first), "each has the same");
    assert!(first.contains("event: done"));
    assert_eq!(first.matches(&url).count(), 1);
    assert!((0..EVENTS).all(|n| first.contains(&part(n))));
    println!("{took} MiB");
    assert!(took < MORE, "{took} MiB");
    elsewhere.kill().await;
    owner.kill().await;
}
