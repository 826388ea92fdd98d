//! An agent that sends its whole history with every turn: what its run takes in the database, and how
//! long its starts take. Another build beside it gets the same run, in turn.
use lastword_postgres::Embedded;
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Failure;
use crate::args::Args;
use crate::figure::{Figure, permille};
use crate::http::{BUILT_IN, Response, request};
use crate::server::Server;

/// Turns of a run.
const TURNS: usize = 60;
/// The system text, and the tools beside it; bytes.
const SYSTEM: usize = 38_000;
const TOOLS: usize = 20;
const TOOL: usize = 1_900;
/// The answer of a tool in each turn; bytes.
const TURN: usize = 7_800;
/// Words of which all texts are made: as varied as those of a program and its outputs.
const WORDS: u64 = 4_096;

/// One run of one build.
#[derive(Clone, Copy, Default)]
struct Run {
    sent_mb: f64,
    stored_mb: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// The figure to take of a run.
type Measure = fn(&Run) -> f64;

/// Measures this build, and `args.before` beside it.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    Server::beside_before(args, async |servers| measure(args, servers).await).await
}

async fn measure(args: &Args, servers: &[Server]) -> Result<Vec<Figure>, Failure> {
    let mut rounds = vec![Vec::new(); servers.len()];
    for round in 0..usize::try_from(args.rounds).unwrap_or(1) {
        for turn in 0..servers.len() {
            let kind = (round + turn) % servers.len();
            let run = agent(&servers[kind], round as u64).await?;
            let name = ["ours", "before"][kind];
            eprintln!(
                "agent, round {}, {name}: {:.2} MB stored, p50 {:.1} ms, p99 {:.1} ms",
                round + 1,
                run.stored_mb,
                run.p50_ms,
                run.p99_ms
            );
            rounds[kind].push(run);
        }
    }
    Ok(figures(&rounds))
}

fn figures(rounds: &[Vec<Run>]) -> Vec<Figure> {
    let of = |kind: usize, what: Measure| -> Vec<f64> { rounds[kind].iter().map(what).collect() };
    let measures: [(&str, &str, Measure); 4] = [
        ("sent", "MB", |run| run.sent_mb),
        ("stored", "MB", |run| run.stored_mb),
        ("start, p50", "ms", |run| run.p50_ms),
        ("start, p99", "ms", |run| run.p99_ms),
    ];
    let mut figures = Vec::new();
    for (what, unit, measure) in measures {
        for (kind, name) in ["ours", "before"].iter().enumerate().take(rounds.len()) {
            let name = format!("agent, {TURNS} turns: {what}, {name}");
            figures.push(Figure::median(name, of(kind, measure), unit));
        }
    }
    if rounds.len() > 1 {
        for (what, measure, aim) in [
            ("stored", measures[1].2, Some(0.1)),
            ("start, p50", measures[2].2, Some(1.0)),
            ("start, p99", measures[3].2, None),
        ] {
            let ratios = of(0, measure).iter().zip(of(1, measure)).map(|(a, b)| a / b).collect();
            let name = format!("agent, {TURNS} turns: {what}, ours / before");
            let ratio = Figure::median(name, ratios, "");
            figures.push(aim.into_iter().fold(ratio, Figure::at_most));
        }
    }
    figures
}

/// One run. Each round says other things, so that none finds what an earlier one has stored.
async fn agent(server: &Server, round: u64) -> Result<Run, Failure> {
    let before = bytes(server).await?;
    let mut texts = Texts(round + 1);
    let tools: Vec<Value> = (0..TOOLS).map(|n| tool(n, texts.next(TOOL))).collect();
    let mut messages = vec![
        json!({ "role": "system", "content": texts.next(SYSTEM) }),
        json!({ "role": "user", "content": "/demo tokens=1 tps=0 ttft_ms=0" }),
    ];
    let (mut sent, mut times) = (0, Vec::new());
    for turn in 0..TURNS {
        let id = format!("call_{turn}");
        let arguments = json!({ "path": format!("src/{turn}.rs") }).to_string();
        let call = json!({ "id": id, "type": "function",
            "function": { "name": "tool_1", "arguments": arguments } });
        messages.push(json!({ "role": "assistant", "content": null, "tool_calls": [call] }));
        let content = texts.next(TURN);
        messages.push(json!({ "role": "tool", "tool_call_id": id, "content": content }));
        let body =
            json!({ "model": BUILT_IN, "stream": true, "messages": messages, "tools": tools });
        let body = body.to_string();
        sent += body.len();
        times.push(start(server, &body).await?);
    }
    times.sort_unstable();
    let stored = bytes(server).await? - before;
    Ok(Run {
        sent_mb: sent as f64 / 1e6,
        stored_mb: stored as f64 / 1e6,
        p50_ms: f64::from(permille(&times, 500)) / 1e3,
        p99_ms: f64::from(permille(&times, 990)) / 1e3,
    })
}

fn tool(n: usize, description: String) -> Value {
    json!({ "type": "function", "function": { "name": format!("tool_{n}"),
        "description": description, "parameters": { "type": "object",
            "properties": { "path": { "type": "string" } } } } })
}

/// Microseconds until the head of the answer, which comes when the start is durable.
async fn start(server: &Server, body: &str) -> Result<u32, Failure> {
    let request = request("POST", "/v1/chat/completions", "text/event-stream", body);
    let failed = |e: std::io::Error| format!("a turn: {e}");
    let stream = TcpStream::connect(server.address).await.map_err(failed)?;
    let begun = Instant::now();
    let response = Response::to(stream, &request).await.map_err(failed)?;
    let took = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
    let status = response.status;
    let text = response.text().await.map_err(failed)?;
    if status != 200 || !text.contains("[DONE]") {
        return Err(format!("a turn was answered with {status}: {text}"));
    }
    Ok(took)
}

/// Bytes of all tables with their indexes and what is beside their pages.
async fn bytes(server: &Server) -> Result<i64, Failure> {
    let options =
        Embedded::attach(&server.data()).ok_or("its private PostgreSQL cannot be reached")?;
    let failed = |e: sqlx::Error| e.to_string();
    let mut connection = options.connect().await.map_err(failed)?;
    let sql = "select sum(pg_total_relation_size(oid))::bigint from pg_class \
               where relkind = 'r' and relnamespace = 'public'::regnamespace";
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.map_err(failed)
}

/// Texts that nobody has seen before, the same ones for every build.
struct Texts(u64);

impl Texts {
    fn next(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 16);
        while text.len() < bytes {
            // Knuth's generator of 64 bits; its high ones are good.
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let word = (self.0 >> 33) % WORDS;
            text.push_str(&format!("{:x}", word.wrapping_mul(2_654_435_761) % 0xffff_ffff));
            text.push(if word.is_multiple_of(11) { '\n' } else { ' ' });
        }
        text.truncate(bytes);
        text
    }
}
