//! The disk is full: a small file system below a tablespace, as only root can make one.
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lastword::store::{Durability, connect};
use sqlx::AssertSqlSafe;

use crate::database::{TestDatabase, own_server};
use crate::fleet::Fleet;
use crate::history::History;
use crate::watch::{Follower, assert_kept, begin, body, demo, undisturbed, watch};

/// A file system of 8 MB; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount one.
    fn mount(at: &Path, owner: u32) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let options = format!("size=8m,mode=0700,uid={owner}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "none"]).arg(at);
        let mounted = mount.output().is_ok_and(|done| done.status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut size = 8 << 20;
        for n in 0.. {
            let wrote = std::fs::write(self.0.join(format!("filler-{n}")), vec![1; size]).is_ok();
            if !wrote && size == 1 {
                return;
            }
            size = if wrote { size } else { size / 2 };
        }
    }

    fn free(&self) {
        for file in std::fs::read_dir(&self.0).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its server has ended, or ends with this process: the directory goes in any case.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_generations_wait_and_loses_nothing() {
    let (server, dir) = own_server().await;
    let owner = std::fs::metadata(dir.path().join("postgres/data")).unwrap().uid();
    let place = std::env::temp_dir().join(format!("lastword-disk-{}", server.pid()));
    let Some(disk) = SmallDisk::mount(&place, owner) else {
        let _ = std::fs::remove_dir(&place);
        println!("NOT RUN: only root may mount the small file system that this test fills");
        server.stop().await;
        return;
    };
    let database = TestDatabase::create_on(&server).await;
    // Its tables are moved before anybody uses them.
    connect(database.url.parse().unwrap(), Durability::Required).await.unwrap().close().await;
    let mut admin = database.connect().await;
    let location = format!("create tablespace small location '{}'", place.display());
    sqlx::query(AssertSqlSafe(location)).execute(&mut admin).await.unwrap();
    let tables = "alter table all in tablespace pg_default set tablespace small";
    sqlx::query(tables).execute(&mut admin).await.unwrap();
    let fleet = Fleet::on(database, 2, None).await;
    let prompt = demo(600, 150, 6);
    let start = begin(&fleet.client(0), "full", &body(&prompt)).await;
    let mut readers =
        [Follower::new(&fleet.client(0), &start.id), Follower::new(&fleet.client(1), &start.id)];
    for reader in &mut readers {
        reader.take(50).await;
    }
    disk.fill();
    // Postgres says so by refusing a larger table.
    let url = format!("{}/v1/generations", fleet.client(1).base);
    let big = body(&"x".repeat(100_000));
    let refused = loop {
        let answer = fleet.client(1).http.post(&url).json(&big).send().await.unwrap();
        if !answer.status().is_success() {
            break answer;
        }
    };
    assert_eq!(refused.status(), 503);
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "storage_unavailable");
    disk.free();
    let [near, far] = readers;
    let readers = vec![near.finish().await, far.finish().await];
    let (id, text) = (start.id.clone(), Some(undisturbed(&prompt).await));
    let mut histories =
        vec![History { id, starts: vec![start], readers, text, ..History::default() }];
    histories.push(watch(fleet.any(), "after", &body(&demo(5, 100, 1)), 1).await);
    assert_kept(fleet.any(), histories).await;
    fleet.stop().await;
    server.stop().await;
    drop(disk);
    std::fs::remove_dir(&place).unwrap();
}
