//! An instance whose clock is wrong by an hour: only the database decides about leases.
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::process::Command;

use super::taken_over;
use crate::database::TestDatabase;
use crate::fleet::Fleet;
use crate::history::History;
use crate::watch::{Follower, assert_kept, begin, body, demo, undisturbed};

/// Moves the wall clock of the program that loads it; the clock for durations stays.
const SHIFT: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long shift(void) { const char *s = getenv("SHIFT_S"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, at);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) at->tv_sec += shift();
    return result;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"#;

/// Rust links by a C compiler, so there is one.
async fn build(dir: &Path) -> PathBuf {
    let (source, library) = (dir.join("shift.c"), dir.join("shift.so"));
    std::fs::write(&source, SHIFT).unwrap();
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl");
    assert!(compile.status().await.unwrap().success(), "cc builds a library");
    library
}

/// The seconds by which the clock that made the id is ahead of the database's.
async fn ahead(fleet: &Fleet, id: &str) -> f64 {
    let made = u64::from_str_radix(&id.replace('-', "")[..12], 16).unwrap();
    let created = "select extract(epoch from created_at)::float8 from generations where id = $1";
    let created: f64 = sqlx::query_scalar(created)
        .bind(id.parse::<uuid::Uuid>().unwrap())
        .fetch_one(&mut fleet.database.connect().await)
        .await
        .unwrap();
    std::time::Duration::from_millis(made).as_secs_f64() - created
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_an_hour_off_neither_takes_nor_loses_a_lease() {
    let dir = TempDir::new().unwrap();
    let library = build(dir.path()).await;
    let shift = move |n: usize, command: &mut Command| {
        let by = if n == 0 { "3600" } else { "-3600" };
        command.env("LD_PRELOAD", &library).env("SHIFT_S", by);
    };
    let mut fleet = Fleet::with(TestDatabase::create().await, 2, None, shift).await;
    // Longer than the lease, twice over.
    let prompts = [demo(220, 50, 1), demo(220, 50, 2)];
    let mut starts = Vec::new();
    for (n, prompt) in prompts.iter().enumerate() {
        starts.push(begin(&fleet.client(n), &format!("clock-{n}"), &body(prompt)).await);
    }
    assert!((ahead(&fleet, &starts[0].id).await - 3600.0).abs() < 60.0, "its clock is ahead");
    assert!((ahead(&fleet, &starts[1].id).await + 3600.0).abs() < 60.0, "its clock is behind");
    let readers = starts.iter().map(|s| Follower::new(fleet.any(), &s.id).finish());
    let readers = join_all(readers).await;
    let mut histories = Vec::new();
    for ((start, reader), prompt) in starts.into_iter().zip(readers).zip(&prompts) {
        let (id, text) = (start.id.clone(), Some(undisturbed(prompt).await));
        let (starts, readers) = (vec![start], vec![reader]);
        histories.push(History { id, starts, readers, text, ..History::default() });
    }
    let histories = assert_kept(fleet.any(), histories).await;
    assert_eq!(taken_over(&histories), 0, "nobody took what was not his");
    // The instance whose clock is behind still sees when the other is gone.
    let prompt = demo(60, 50, 3);
    let start = begin(&fleet.client(0), "left", &body(&prompt)).await;
    let mut reader = Follower::new(fleet.any(), &start.id);
    reader.take(10).await;
    fleet.members[0].kill().await;
    let readers = vec![reader.finish().await];
    let (id, text) = (start.id.clone(), Some(undisturbed(&prompt).await));
    let history = History { id, starts: vec![start], readers, text, ..History::default() };
    let histories = assert_kept(fleet.any(), vec![history]).await;
    assert_eq!(taken_over(&histories), 1);
    fleet.stop().await;
}
