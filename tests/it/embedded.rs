//! The private PostgreSQL: it is kept, guarded and killed, and it spares foreign processes and
//! files.
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lastword_postgres::{Embedded, EmbeddedError, Search};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, Uid, User};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

/// Rows that the killed process commits one by one before it is killed.
const ROWS: i64 = 200;

#[tokio::test]
async fn a_restart_keeps_the_data() {
    let dir = TempDir::new().unwrap();
    let first = start(dir.path()).await;
    assert!(Embedded::attach(dir.path()).is_some(), "a tool finds the running one");
    let mut connection = connect(&first).await;
    sqlx::query("CREATE TABLE kept AS SELECT 7 AS n").execute(&mut connection).await.unwrap();
    drop(connection);
    println!("first start {:?} with {}", first.started_in(), first.bin_version());
    first.stop().await;
    assert!(Embedded::attach(dir.path()).is_none(), "nothing runs after the stop");

    let again = start(dir.path()).await;
    let mut connection = connect(&again).await;
    let kept = sqlx::query_scalar::<_, i32>("SELECT n FROM kept").fetch_one(&mut connection).await;
    assert_eq!(kept.unwrap(), 7);
    println!("later start {:?}", again.started_in());
}

#[tokio::test]
async fn it_is_durable_and_closed_to_others() {
    let dir = TempDir::new().unwrap();
    // As `mktemp -d` makes it. Also then root's server reaches its own files.
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let server = start(dir.path()).await;
    let mut connection = connect(&server).await;
    let settings = [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("max_connections", "100"),
    ];
    for (name, expected) in settings {
        let query = sqlx::query_scalar::<_, String>("SELECT current_setting($1)").bind(name);
        assert_eq!(query.fetch_one(&mut connection).await.unwrap(), expected, "{name}");
    }
    for private in ["postgres/run", "postgres/data"] {
        let mode = dir.path().join(private).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{private}");
    }
}

#[tokio::test]
async fn a_second_start_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let _first = start(dir.path()).await;
    let refused = Embedded::start(dir.path(), &search()).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
}

#[tokio::test]
async fn kill_9_leaves_no_server_and_loses_no_committed_row() {
    let dir = TempDir::new().unwrap();
    let mut child = start_in_child(dir.path(), None);
    // Open until the kill: a child that cannot print would end in good order.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let count = |line: String| line.strip_prefix("committed ")?.parse::<i64>().ok();
    let committed = lines.by_ref().filter_map(count).find(|n| *n >= ROWS).unwrap();
    let options = Embedded::attach(dir.path()).unwrap();
    let mut witness = PgConnection::connect_with(&options).await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(lines);

    // The kernel tells the server, before another one starts: the witness is thrown out.
    let thrown_out = sqlx::query("SELECT pg_sleep(60)").execute(&mut witness);
    let thrown_out = tokio::time::timeout(Duration::from_secs(30), thrown_out).await;
    assert!(thrown_out.expect("the server outlives its parent").is_err());

    let again = start(dir.path()).await;
    println!("start after kill -9 {:?}", again.started_in());
    let mut connection = connect(&again).await;
    let kept = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM rows").fetch_one(&mut connection);
    assert!(kept.await.unwrap() >= committed);
}

#[tokio::test]
async fn a_server_that_a_predecessor_left_is_waited_for() {
    let dir = TempDir::new().unwrap();
    let mut child = start_in_child(dir.path(), None);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.by_ref().find(|line| line.starts_with("committed ")).unwrap();
    let options = Embedded::attach(dir.path()).unwrap();
    let mut witness = PgConnection::connect_with(&options).await.unwrap();
    let backend = sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()");
    let backend = Pid::from_raw(backend.fetch_one(&mut witness).await.unwrap());
    // A server does not end before all its processes have ended.
    kill(backend, Signal::SIGSTOP).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    let mut starting = pin!(start(dir.path()));
    let waits = tokio::time::timeout(Duration::from_millis(300), &mut starting).await;
    assert!(waits.is_err(), "two servers on the same data");
    kill(backend, Signal::SIGCONT).unwrap();
    connect(&starting.await).await;
}

#[tokio::test]
async fn a_crash_during_initdb_leaves_nothing_half_made() {
    let dir = TempDir::new().unwrap();
    let bin = TempDir::new().unwrap();
    fs::set_permissions(bin.path(), Permissions::from_mode(0o755)).unwrap();
    let reached = bin.path().join("reached");
    nix::unistd::mkfifo(&reached, Mode::empty()).unwrap();
    fs::set_permissions(&reached, Permissions::from_mode(0o666)).unwrap();
    // It is half done when it prints that line, and never gets further.
    let script = format!(
        "#!/bin/sh\nwhile [ \"$1\" != --pgdata ]; do shift; done\n\
         echo 15 >\"$2/PG_VERSION\"\necho half >{}\nexec sleep 600\n",
        reached.display()
    );
    program(bin.path(), "initdb", &script);
    program(bin.path(), "postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 15.0'\n");

    let mut child = start_in_child(dir.path(), Some(bin.path()));
    assert_eq!(fs::read_to_string(&reached).unwrap(), "half\n");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!dir.path().join("postgres/data").exists());

    let server = start(dir.path()).await;
    connect(&server).await;
    let names = fs::read_dir(dir.path().join("postgres")).unwrap();
    let left = names.filter(|e| e.as_ref().unwrap().file_name().as_encoded_bytes().contains(&b'-'));
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn a_number_that_is_somebody_elses_now_does_not_stop_it() {
    let dir = TempDir::new().unwrap();
    start(dir.path()).await.stop().await;
    let stale = format!("{}\n/nowhere\n1\n5432\n\n\n\nready\n", std::process::id());
    fs::write(dir.path().join("postgres/data/postmaster.pid"), stale).unwrap();
    connect(&start(dir.path()).await).await;
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_works_all_the_same() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("long".repeat(30));
    let server = start(&dir).await;
    connect(&server).await;
    let socket = server.options().get_socket().cloned().unwrap();
    assert!(socket.as_os_str().len() < 80, "{}", socket.display());
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert!(Embedded::attach(&dir).is_some());
    server.stop().await;

    // In a directory that all may write to, a stranger may have been there before.
    fs::remove_dir(&socket).unwrap();
    std::os::unix::fs::symlink(parent.path(), &socket).unwrap();
    let refused = Embedded::start(&dir, &search()).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::SocketDirectory { .. }), "{refused}");
    fs::remove_file(socket).unwrap();
}

#[tokio::test]
async fn data_of_another_major_version_is_named_and_left_alone() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("postgres/data")).unwrap();
    fs::write(dir.path().join("postgres/data/PG_VERSION"), "9\n").unwrap();
    let refused = Embedded::start(dir.path(), &search()).await.unwrap_err().to_string();
    assert!(refused.contains("made by PostgreSQL 9,") && refused.contains("pg_upgrade"));

    // Beside a newer one, the server of the data's version is the one that is run.
    let old = TempDir::new().unwrap();
    fs::set_permissions(old.path(), Permissions::from_mode(0o755)).unwrap();
    program(old.path(), "initdb", "#!/bin/sh\n");
    program(old.path(), "postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.1'\n");
    let first = search().path.unwrap_or_default();
    let path = std::env::split_paths(&first).chain([old.path().to_owned()]);
    let both = Search { bin_dir: None, path: Some(std::env::join_paths(path).unwrap()) };
    let ended = Embedded::start(dir.path(), &both).await.unwrap_err();
    assert!(
        matches!(&ended, EmbeddedError::Exited { log, .. } if log.contains("9.6.1")),
        "{ended}"
    );
}

#[tokio::test]
async fn a_parent_that_the_server_cannot_pass_is_named() {
    if !Uid::effective().is_root() {
        return; // Only root steps down to somebody who may see less.
    }
    let parent = TempDir::new().unwrap();
    fs::set_permissions(parent.path(), Permissions::from_mode(0o700)).unwrap();
    let refused = Embedded::start(&parent.path().join("data"), &search()).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::Blocked { .. }), "{refused}");
    let advice = format!("chmod o+x {}", parent.path().canonicalize().unwrap().display());
    assert!(refused.to_string().contains(&advice), "{refused}");
}

#[tokio::test]
async fn root_runs_a_cluster_as_whoever_owns_it() {
    let Some(nobody) = User::from_name("nobody").unwrap().filter(|_| Uid::effective().is_root())
    else {
        return; // Others run it as themselves.
    };
    let dir = TempDir::new().unwrap();
    start(dir.path()).await.stop().await;
    let data = dir.path().join("postgres/data");
    let chown = Command::new("chown").args(["-R", "nobody"]).arg(&data).status().unwrap();
    assert!(chown.success());
    connect(&start(dir.path()).await).await;
    assert_eq!(data.metadata().unwrap().uid(), nobody.uid.as_raw());

    // As a backup brought it back: root's, which PostgreSQL would refuse.
    assert!(Command::new("chown").args(["-R", "root"]).arg(&data).status().unwrap().success());
    connect(&start(dir.path()).await).await;
    assert_ne!(data.metadata().unwrap().uid(), 0);
}

#[tokio::test]
async fn without_binaries_it_says_where_they_come_from() {
    let dir = TempDir::new().unwrap();
    let nowhere = Search { bin_dir: Some(dir.path().join("bin")), path: None };
    let refused = Embedded::start(&dir.path().join("data"), &nowhere).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::NotBinaries(_)), "{refused}");
    assert!(!dir.path().join("data").exists(), "nothing is made for nothing");
    let advice = EmbeddedError::NoBinaries.to_string();
    assert!(["apt-get", "dnf", "brew"].iter().all(|tool| advice.contains(tool)));
}

#[tokio::test]
async fn a_server_that_ends_early_is_reported_with_its_last_words() {
    let dir = TempDir::new().unwrap();
    start(dir.path()).await.stop().await;
    let conf = dir.path().join("postgres/data/postgresql.conf");
    let mut file = fs::File::options().append(true).open(conf).unwrap();
    writeln!(file, "shared_buffers = 'nonsense'").unwrap();
    let refused = Embedded::start(dir.path(), &search()).await.unwrap_err();
    assert!(refused.to_string().contains("nonsense"), "{refused}");
}

/// Not a test: the process that the tests above kill. Its directories come by standard input.
#[tokio::test]
#[ignore = "a helper process, started by other tests"]
async fn child() {
    let mut lines = std::io::stdin().lines().map(Result::unwrap);
    let Some(dir) = lines.next() else { return };
    let bin_dir = lines.next().filter(|line| !line.is_empty()).map(Into::into);
    let search = Search { bin_dir, ..search() };
    let server = Embedded::start(Path::new(&dir), &search).await.unwrap();
    let mut connection = connect(&server).await;
    sqlx::query("CREATE TABLE rows (n int8)").execute(&mut connection).await.unwrap();
    for n in 1.. {
        let insert = sqlx::query("INSERT INTO rows VALUES ($1)").bind(n);
        insert.execute(&mut connection).await.unwrap();
        // The test runner has begun a line of its own.
        println!("\ncommitted {n}");
    }
}

fn start_in_child(dir: &Path, bin_dir: Option<&Path>) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::child", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let bin_dir = bin_dir.unwrap_or(Path::new(""));
    writeln!(child.stdin.take().unwrap(), "{}\n{}", dir.display(), bin_dir.display()).unwrap();
    child
}

/// Another process writes it. While this one has a file open for writing, a server that another
/// test starts at that moment inherits it. Nobody can run the file then.
fn program(dir: &Path, name: &str, script: &str) {
    let mut shell = Command::new("/bin/sh")
        .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
        .arg(dir.join(name))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}

#[expect(clippy::disallowed_methods, reason = "what config.rs does for the program")]
fn search() -> Search {
    Search { bin_dir: None, path: std::env::var_os("PATH") }
}

async fn start(dir: &Path) -> Embedded {
    Embedded::start(dir, &search()).await.unwrap()
}

async fn connect(server: &Embedded) -> PgConnection {
    PgConnection::connect_with(&server.options()).await.unwrap()
}
