//! The same when our own process dies.
use super::*;
use crate::database::TestDatabase;
use crate::harness::config;

/// A model whose first stream stalls in the middle, in a file that two processes read.
async fn stalling(settings: &str) -> (Kept, TempDir) {
    let keeper = Keeper::new(&Model::text(TOKENS), &[(BREAK, STALL)]);
    let kept = Kept::new("m", keeper, settings).await;
    let dir = TempDir::new().unwrap();
    let model = toml("m", &kept.upstream, settings).replace("idle_bytes_timeout_s = 0.5", "");
    std::fs::write(dir.path().join("lastword.toml"), format!("[[models]]\n{model}")).unwrap();
    (kept, dir)
}

fn serve(dir: &TempDir) -> tokio::process::Command {
    let mut command = command(dir.path());
    command.arg("--config").arg(dir.path().join("lastword.toml"));
    command
}

async fn heard(server: &Server, id: &str) -> Vec<Received> {
    server.client.events(id, 0).await.take(1 + HEARD).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_goes_on_with_the_same_answer() {
    for (on_loss, boundary, log) in [
        ("continue", "resumed", ["new", "rest after 0"].as_slice()),
        ("restart", "superseded", &["cancel", "new", "new"]),
    ] {
        let (kept, dir) = stalling(&format!("on_loss = '{on_loss}'")).await;
        let server = Server::start(serve(&dir)).await;
        let id = server.client.start_prompt("go").await;
        let mut seen = heard(&server, &id).await;
        server.kill().await;
        let server = Server::start(serve(&dir)).await;
        seen.extend(server.client.all(&id, seen.len() as u64).await);
        assert_whole(&seen);
        assert_eq!(names(&seen), ["started", boundary, "done"], "{on_loss}");
        assert_eq!(text(&seen), Model::text(TOKENS), "{on_loss}");
        let mut asked = kept.log(log.len()).await;
        asked.sort();
        assert_eq!(asked, log, "{on_loss}");
        let usage = &seen.last().unwrap().json()["usage"];
        assert_eq!(usage["exact"], on_loss == "continue", "{usage}");
        assert!(server.terminate().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_leaves_the_answer_to_the_next() {
    let (kept, dir) = stalling("").await;
    let mut first = serve(&dir);
    first.args(["--shutdown-grace-s", "0"]);
    let server = Server::start(first).await;
    let id = server.client.start_prompt("go").await;
    let mut seen = heard(&server, &id).await;
    assert!(server.terminate().await.success());
    let server = Server::start(serve(&dir)).await;
    seen.extend(server.client.all(&id, seen.len() as u64).await);
    assert_whole(&seen);
    assert_eq!(text(&seen), Model::text(TOKENS));
    assert_eq!(kept.keeper.log(), ["new", "rest after 0"], "not cancelled");
    assert!(server.terminate().await.success());
}

/// Another instance, on the same database and with the same models.
async fn heir(database: &TestDatabase, kept: &Kept) -> TestApp {
    let mut config = config(database);
    config.models = vec![kept.config()];
    TestApp::on(database.clone(), config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_goes_on_or_cancels_in_its_place() {
    let database = TestDatabase::create().await;
    for cancelled in [false, true] {
        let (kept, dir) = stalling("").await;
        let mut command = serve(&dir);
        command.args(["--database-url", &database.url, "--lease-s", "2"]);
        let doomed = Server::start(command).await;
        let id = doomed.client.start_prompt("go").await;
        let mut seen = heard(&doomed, &id).await;
        let heir = heir(&database, &kept).await;
        doomed.kill().await;
        if cancelled {
            let receipt = heir.client.cancel(&id).await;
            assert_eq!(receipt["status"], "cancelled");
            assert_eq!(receipt["text"], Model::text(HEARD));
            assert_eq!(kept.log(2).await, ["new", "cancel"], "in place of its owner");
        } else {
            seen.extend(heir.client.all(&id, seen.len() as u64).await);
            assert_whole(&seen);
            assert_eq!(names(&seen), ["started", "resumed", "done"]);
            assert_eq!(text(&seen), Model::text(TOKENS));
            assert_eq!(kept.keeper.log(), ["new", "rest after 0"]);
        }
        heir.stop().await;
    }
}
