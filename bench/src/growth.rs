//! The cost of a log's size. The same small load, resumes and old answers run on a log of many
//! events. They also run on one that holds hardly more than the measured ones.
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Failure;
use crate::args::Args;
use crate::figure::{Figure, permille};
use crate::fill::{EACH, Filled, fill};
use crate::http::events;
use crate::ours::alone;
use crate::pairs::Round;
use crate::resume::{BEHIND, first_events, read_events};
use crate::server::Server;
use crate::turns::Turns;

/// Old generations in the log that counts as empty, so that there are some to fetch.
const FEW: u64 = 100;
/// Resumes of each round.
const RESUMES: usize = 100;

/// Measures `args.events` events next to none.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    if args.database_url.is_some() {
        return Err("growth fills logs of its own: it goes without --database-url".into());
    }
    let large = Server::start(args, None).await?;
    let empty = Server::start(args, None).await?;
    let measured = measure(args, [&large, &empty]).await;
    large.stop(measured.is_err()).await;
    empty.stop(measured.is_err()).await;
    measured
}

/// Milliseconds of one kind, a median for each round.
#[derive(Default)]
struct Reads {
    resume: Vec<f64>,
    fetch: Vec<f64>,
}

async fn measure(args: &Args, servers: [&Server; 2]) -> Result<Vec<Figure>, Failure> {
    let generations = (args.events / EACH).max(FEW);
    let (large, empty) = tokio::try_join!(fill(servers[0], generations), fill(servers[1], FEW))?;
    let filled = [large, empty];
    let kinds = [format!("{} events", short(generations * EACH)), "empty".into()];
    let load = format!("size of the log, {} x {}/s", args.generations, args.tps);
    let mut turns = Turns::new(load, kinds.clone());
    let mut reads = [Reads::default(), Reads::default()];
    turns
        .take(args.rounds, async |kind| {
            let load = alone(args, servers[kind]).await;
            read(servers[kind], &filled[kind], args.rounds, &mut reads[kind]).await?;
            Ok(Round::of_ours(&load, args.tokens()))
        })
        .await?;
    let mut figures = vec![turns.cpu([0, 1]).at_most(1.1)];
    figures.push(turns.ratio("p50", |r| r.p50_ms, [0, 1]));
    figures.push(turns.ratio("p99", |r| r.p99_ms, [0, 1]));
    figures.extend(turns.figures());
    let [large, empty] = &reads;
    let what = format!("size of the log, resume {BEHIND} events behind from Postgres, p50");
    figures.extend(beside(&what, &kinds, [&large.resume, &empty.resume], Some(1.3)));
    let what = format!("size of the log, all of an old answer of {EACH} events, p50");
    figures.extend(beside(&what, &kinds, [&large.fetch, &empty.fetch], None));
    let bytes = format!("size of the log, {}: bytes for each, with indexes", kinds[0]);
    figures.push(Figure::new(bytes, filled[0].bytes_per_event, ""));
    let took = format!("size of the log, {}: time to fill it", kinds[0]);
    figures.push(Figure::new(took, filled[0].took.as_secs_f64(), "s"));
    Ok(figures)
}

/// One round of reading from the database.
async fn read(
    server: &Server,
    filled: &Filled,
    rounds: u64,
    reads: &mut Reads,
) -> Result<(), Failure> {
    let p50 = |times: &[u32]| f64::from(permille(times, 500)) / 1e3;
    reads.resume.push(p50(&first_events(server, &filled.streamed, EACH, RESUMES).await?));
    // Other generations in each round, because those that were read before are in memory.
    let share = (filled.old.len() / usize::try_from(rounds).unwrap_or(1)).max(1);
    let mut times = Vec::new();
    for id in filled.old.iter().cycle().skip(reads.fetch.len() * share).take(share) {
        let stream = TcpStream::connect(server.address).await.map_err(|e| e.to_string())?;
        let begun = Instant::now();
        read_events(stream, &events(id, 0), EACH).await?;
        times.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    times.sort_unstable();
    reads.fetch.push(p50(&times));
    Ok(())
}

/// The median of the rounds' ratios, and both sides.
fn beside(
    what: &str,
    kinds: &[String; 2],
    values: [&Vec<f64>; 2],
    aim: Option<f64>,
) -> Vec<Figure> {
    let ratios = values[0].iter().zip(values[1]).map(|(a, b)| a / b).collect();
    let ratio = Figure::median(format!("{what}, {} / {}", kinds[0], kinds[1]), ratios, "");
    let mut figures = vec![aim.into_iter().fold(ratio, Figure::at_most)];
    for (kind, values) in kinds.iter().zip(values) {
        figures.push(Figure::median(format!("{what}, {kind}"), values.clone(), "ms"));
    }
    figures
}

/// A number of events for a table.
fn short(events: u64) -> String {
    match events {
        1_000_000.. => format!("{:.0} million", events as f64 / 1e6),
        _ => format!("{events}"),
    }
}
