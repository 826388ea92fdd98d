//! Several instances of the real program on one Postgres, behind a dumb balancer. Each has its own
//! way to the database, its own directory and its own faults.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, interval};

use crate::balancer::Balancer;
use crate::client::Client;
use crate::database::TestDatabase;
use crate::process::{Server, command_of};
use crate::program;
use crate::proxy::Proxy;

/// Starts that fail for longer mean that something is wrong with the program.
const IN_VAIN: Duration = Duration::from_secs(60);
/// The pause between two of them, as a supervisor has it.
const PAUSE: Duration = Duration::from_millis(100);

/// The instances. All end when it is dropped.
pub(crate) struct Fleet {
    pub(crate) database: TestDatabase,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) members: Vec<Member>,
}

/// Settings of only some of them.
type Change = Arc<dyn Fn(usize, &mut Command) + Send + Sync>;

/// One instance, which may be gone for a while.
pub(crate) struct Member {
    n: usize,
    dir: TempDir,
    pub(crate) proxy: Proxy,
    server: Option<Server>,
    balancer: Arc<Balancer>,
    /// The database that its next start uses.
    pub(crate) url: String,
    config: Option<PathBuf>,
    change: Change,
    /// Each start uses the next of these builds.
    builds: Arc<[PathBuf]>,
    boots: usize,
}

impl Fleet {
    /// So many on a database of their own, with the demo model.
    pub(crate) async fn start(size: usize) -> Self {
        Self::on(TestDatabase::create().await, size, None).await
    }

    pub(crate) async fn on(database: TestDatabase, size: usize, config: Option<&Path>) -> Self {
        Self::with(database, size, config, |_, _| {}).await
    }

    pub(crate) async fn with(
        database: TestDatabase,
        size: usize,
        config: Option<&Path>,
        change: impl Fn(usize, &mut Command) + Send + Sync + 'static,
    ) -> Self {
        let builds = vec![program::path().into()];
        Self::of_builds(database, size, config, builds, change).await
    }

    /// The same, whose instances start with the first build, and change to the next at each start.
    pub(crate) async fn of_builds(
        database: TestDatabase,
        size: usize,
        config: Option<&Path>,
        builds: Vec<PathBuf>,
        change: impl Fn(usize, &mut Command) + Send + Sync + 'static,
    ) -> Self {
        let builds: Arc<[PathBuf]> = builds.into();
        let balancer = Arc::new(Balancer::start(size).await);
        let change: Change = Arc::new(change);
        let mut members = Vec::new();
        for n in 0..size {
            let proxy = Proxy::start(&database);
            let mut member = Member {
                n,
                dir: TempDir::new().unwrap(),
                url: proxy.url(&database),
                proxy,
                server: None,
                balancer: balancer.clone(),
                config: config.map(Path::to_owned),
                change: change.clone(),
                builds: builds.clone(),
                boots: 0,
            };
            member.boot().await;
            members.push(member);
        }
        Self { database, balancer, members }
    }

    /// Talks to any of them.
    pub(crate) fn any(&self) -> &Client {
        &self.balancer.client
    }

    /// Talks to this one.
    pub(crate) fn client(&self, n: usize) -> Client {
        self.members[n].server().client.clone()
    }

    /// All of them, in order; nothing may be left behind.
    pub(crate) async fn stop(mut self) {
        for member in self.members.iter_mut().filter(|member| member.server.is_some()) {
            member.terminate().await;
        }
    }
}

impl Member {
    /// Starts it, again and again as a supervisor does: the database may just be away.
    pub(crate) async fn boot(&mut self) {
        let begun = Instant::now();
        let mut tries = interval(PAUSE);
        self.boots += 1;
        while self.server.is_none() && begun.elapsed() < IN_VAIN {
            tries.tick().await;
            self.server = Server::try_start(self.command()).await;
        }
        self.balancer.set(self.n, Some(self.server().address));
    }

    fn command(&self) -> Command {
        let build = &self.builds[(self.boots - 1) % self.builds.len()];
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut serve = command_of(build, self.dir.path(), any_port);
        serve.args(["--database-url", &self.url]);
        serve.args(["--lease-s", "2", "--heartbeat-s", "1", "--shutdown-grace-s", "30"]);
        if let Some(file) = &self.config {
            serve.arg("--config").arg(file);
        }
        (self.change)(self.n, &mut serve);
        serve
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    fn gone(&mut self) -> Server {
        self.balancer.set(self.n, None);
        self.server.take().expect("it runs")
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.gone().kill().await;
    }

    /// SIGTERM, and waits until it has ended by itself.
    pub(crate) async fn terminate(&mut self) {
        assert!(self.gone().terminate().await.success(), "it stops in order");
    }

    /// Stops it where it stands, until it is woken.
    pub(crate) fn pause(&self) {
        self.send(Signal::SIGSTOP);
    }

    pub(crate) fn wake(&self) {
        self.send(Signal::SIGCONT);
    }

    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.server().pid().try_into().unwrap()), signal).unwrap();
    }
}
