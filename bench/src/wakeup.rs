//! The cost for a reader on another instance to learn of an event, next to a bare commit.
//!
//! Two instances on one database, in this process: one runs the demo model, both have a reader.
//! Between two tokens one row is committed by a connection of its own. So every round has the
//! commit, the reader on the owner and the reader elsewhere, and a slow moment hits all of them.
use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lastword::domain::entry::Entry;
use lastword::domain::event::Event;
use lastword::domain::generation::{OnDisconnect, Request};
use lastword::domain::id::{Epoch, InstanceId, Seq, Tenant};
use lastword::domain::json::JsonObject;
use lastword::domain::prompt::{Message, Parameters, Prompt, Role};
use lastword::engine::{
    Caller, Engine, Item, Leaves, Limits, Model, Models, OnLoss, Opened, Session, Start,
};
use lastword::ports::{Address, Append, Events, RowChange};
use lastword::providers::demo::Demo;
use lastword::store::{Durability, Pace, PgLog, PgSignals, connect};
use lastword::tasks::Tasks;
use lastword_postgres::{Embedded, Search};
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::{Failure, now_us};

/// Longer than a stop takes.
const STOP: Duration = Duration::from_secs(10);
/// Rounds that are not counted: connections are made, statements are prepared.
const WARM_UP: usize = 20;

/// Measures with hints; whether every event came.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let args = args.clone();
    // Its own threads, as a server has them; this one only waits.
    let measured = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map_err(|e| e.to_string())?.block_on(measure(&args))
    });
    measured.join().map_err(|_| "the measurement failed".to_owned())?
}

async fn measure(args: &Args) -> Result<bool, Failure> {
    let dir = args.dir.join(format!("lastword-bench-{}", std::process::id()));
    let (embedded, first, second) = open(args, &dir).await?;
    let owner = engine(&first).await?;
    let other = engine(&second).await?;
    let rounds = rounds(args, &owner, &other, &first).await;
    for engine in [owner, other] {
        engine.drain(STOP, &CancellationToken::new()).await;
    }
    if let Some(embedded) = embedded {
        embedded.stop().await;
        let _ = std::fs::remove_dir_all(&dir);
    }
    let rounds = rounds?;
    let _ = write!(io::stdout(), "{}", table(args, &rounds));
    Ok(rounds.len() == usize::try_from(args.tokens()).unwrap_or_default())
}

async fn open(args: &Args, dir: &Path) -> Result<(Option<Embedded>, PgLog, PgLog), Failure> {
    let durability = Durability::Required;
    let (embedded, options) = match &args.database_url {
        Some(url) => (None, url.parse().map_err(|_| format!("{url} is no database"))?),
        None => {
            let search = Search { bin_dir: None, path: std::env::var_os("PATH") };
            let started = Embedded::start(&dir.join("data"), &search).await;
            let embedded = started.map_err(|e| e.to_string())?;
            let options = embedded.options();
            (Some(embedded), options)
        }
    };
    let first = connect(options.clone(), durability).await.map_err(|e| e.to_string())?;
    let second = connect(options, durability).await.map_err(|e| e.to_string())?;
    Ok((embedded, first, second))
}

async fn engine(log: &PgLog) -> Result<Engine, Failure> {
    let (me, tasks) = (InstanceId::random(), Tasks::new());
    let signals = PgSignals::new(log, me, Pace::default());
    tasks.spawn_service(signals.listen());
    tasks.spawn_service(signals.deliver());
    let demo = Model {
        name: "demo".into(),
        provider: Arc::new(Demo),
        on_loss: OnLoss::Continue,
        max_attempts: 1,
        fallback: None,
        context_tokens: None,
        pictures: None,
        recovery: lastword::engine::Recovery::default(),
        disconnect: lastword::engine::DisconnectPolicy::default(),
    };
    let models = Models::new(vec![demo], "demo".into());
    let leaves = Leaves { log: log.log(), signals: Arc::new(signals), models };
    let engine = Engine::new(leaves, Limits::default(), me, tasks);
    engine.take_up().await.map_err(|e| e.to_string())?;
    engine.keep_up();
    Ok(engine)
}

/// One token: the bare commit beside it, and when each reader had it after its making;
/// microseconds.
struct Round {
    commit: u64,
    near: u64,
    far: u64,
}

async fn rounds(
    args: &Args,
    owner: &Engine,
    other: &Engine,
    log: &PgLog,
) -> Result<Vec<Round>, Failure> {
    let tokens = args.tokens();
    let prompt = format!("/demo tokens={tokens} tps={} stamp ttft_ms=500", args.tps);
    let watched = start(owner, &prompt).await?;
    let bare = start(owner, "/demo tokens=1 tps=0").await?;
    let mut near = Reader::open(owner, &watched).await?;
    let mut far = Reader::open(other, &watched).await?;
    // The bare commits belong to a generation that has said all its tokens.
    let mut said = Reader::open(owner, &bare).await?;
    while said.next().await.is_some() {}
    let mut writer = log.writer(InstanceId::random());
    let mut rounds = Vec::new();
    for seq in 1000.. {
        let (near, far) = tokio::join!(near.next(), far.next());
        let (Some((stamp, near)), Some((_, far))) = (near, far) else { break };
        let entry = Entry::encode(Seq(seq), &Event::Delta { text: "token".into() });
        let row = Append {
            at: bare.clone(),
            epoch: Epoch::FIRST,
            entries: vec![entry],
            row: RowChange::None,
        };
        let begun = now_us();
        writer.append(&[&row]).await.map_err(|e| e.to_string())?;
        let commit = now_us() - begun;
        rounds.push(Round { commit, near: near - stamp, far: far - stamp });
    }
    Ok(rounds)
}

async fn start(engine: &Engine, prompt: &str) -> Result<Address, Failure> {
    let messages = vec![Message::text(Role::User, prompt.to_owned())];
    let prompt = Prompt { messages, parameters: Parameters::default() };
    let request = Request {
        model: "demo".into(),
        prompt,
        metadata: JsonObject::default(),
        on_disconnect: OnDisconnect::Continue,
        echo: serde_json::Map::new(),
        chat: None,
        wall_s: None,
        continues: None,
        trace: None,
        source: None,
    };
    let tenant = Tenant::anonymous();
    let start =
        Start { caller: Caller::anonymous(), request, idempotency: None, turn: None, repeat: None };
    let started = engine.start(start).await.map_err(|e| e.to_string())?;
    Ok(Address { tenant, id: started.generation.id })
}

/// A reader, and the tokens that came together and were not read yet.
struct Reader {
    session: Session,
    ready: VecDeque<(u64, u64)>,
}

impl Reader {
    async fn open(engine: &Engine, at: &Address) -> Result<Self, Failure> {
        match engine.open(at, Seq::ZERO).await.map_err(|e| e.to_string())? {
            Opened::Events(session) => Ok(Self { session: *session, ready: VecDeque::new() }),
            Opened::Complete => Err("the generation has ended already".into()),
        }
    }

    /// The stamp of the next token and when it came; `None` at the end.
    async fn next(&mut self) -> Option<(u64, u64)> {
        loop {
            if let Some(token) = self.ready.pop_front() {
                return Some(token);
            }
            let item = self.session.next().await?;
            let now = now_us();
            let Item::Entries(entries) = item else { continue };
            let stamps = entries.iter().filter_map(|e| e.json().split_once('@')?.1.get(..16));
            self.ready.extend(stamps.filter_map(|s| Some((s.parse().ok()?, now))));
        }
    }
}

fn table(args: &Args, rounds: &[Round]) -> String {
    let counted = rounds.get(WARM_UP..).unwrap_or_default();
    let of = |measure: &dyn Fn(&Round) -> u64| {
        let mut all: Vec<u64> = counted.iter().map(measure).collect();
        all.sort_unstable();
        let at = |percent: usize| all.get(all.len() * percent / 100).copied().unwrap_or_default();
        (at(50), at(99))
    };
    let commit = of(&|r| r.commit);
    let lines = [
        ("a bare commit", commit),
        ("made to reader on the owner", of(&|r| r.near)),
        ("made to reader elsewhere", of(&|r| r.far)),
        ("from the one to the other", of(&|r| r.far.saturating_sub(r.near))),
    ];
    let head = format!("{} tokens at {} a second", counted.len(), args.tps);
    let mut table = format!("{head:<30}{:>10}{:>10}{:>14}\n", "p50 us", "p99 us", "p50 / commit");
    for (name, (p50, p99)) in lines {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let ratio = p50 as f64 / commit.0.max(1) as f64;
        table.push_str(&format!("{name:<30}{p50:>10}{p99:>10}{ratio:>14.2}\n"));
    }
    table
}
