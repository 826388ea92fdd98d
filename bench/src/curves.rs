//! Growth: the cost of an event and its lateness, over generations and over readers of each.
use std::path::Path;
use std::time::Duration;

use crate::Failure;
use crate::args::Args;
use crate::figure::Figure;
use crate::ours::{Watched, alone, watched};
use crate::pairs::Round;
use crate::server::Server;
use crate::svg::{Chart, Series};

/// One reader each.
const GENERATIONS: [u64; 5] = [10, 100, 500, 1000, 2000];
/// The readers of each of a few generations. The generations are fewer where two cores could not
/// deliver all events.
const READERS: [u64; 6] = [1, 3, 10, 30, 100, 1000];
/// Beyond so many events per second, the machine is measured and not the program.
const MOST: u64 = 50_000;
const FEW: u64 = 10;
const LEAD: Duration = Duration::from_millis(1500);

/// Both curves; the pictures go to `docs/images`.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    let (by_generations, by_readers) =
        Server::during(args, async |server| measure(args, server).await).await?;
    let mut figures = draw(args, "generations", "generations, one reader each", &by_generations)?;
    figures.extend(draw(args, "readers", "readers per generation", &by_readers)?);
    Ok(figures)
}

type Curve = Vec<(u64, Round)>;

async fn measure(args: &Args, server: &Server) -> Result<(Curve, Curve), Failure> {
    let (mut by_generations, mut by_readers) = (Vec::new(), Vec::new());
    for generations in GENERATIONS.into_iter().filter(|n| *n <= args.generations) {
        let args = Args { generations, ..args.clone() };
        let load = alone(&args, server).await;
        by_generations.push((generations, Round::of(&load, args.tokens())));
    }
    for readers in READERS.into_iter().filter(|n| *n <= args.readers) {
        let generations = FEW.min(MOST / args.tps / readers).max(1);
        let work = Watched { generations, readers, lead: LEAD };
        let load = watched(args, server, work).await?;
        by_readers.push((readers, Round::of(&load, args.tokens())));
    }
    Ok((by_generations, by_readers))
}

fn draw(
    args: &Args,
    name: &str,
    across: &'static str,
    curve: &Curve,
) -> Result<Vec<Figure>, Failure> {
    let of = |measure: fn(&Round) -> f64| {
        curve.iter().map(|(n, round)| (*n as f64, measure(round))).collect::<Vec<_>>()
    };
    let series = |name, measure| Series { name, points: of(measure) };
    let latency = Chart {
        title: format!("From making to reading, {} events/s each", args.tps),
        across,
        unit: "ms",
        series: vec![series("p50", |r| r.p50_ms), series("p99", |r| r.p99_ms)],
    };
    let cpu = Chart {
        title: format!("CPU per delivered event, PostgreSQL included, {} events/s each", args.tps),
        across,
        unit: "us",
        series: vec![series("CPU", |r| r.cpu_us)],
    };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    for (what, chart) in [("latency", latency), ("cpu", cpu)] {
        let path = dir.join(format!("{what}-by-{name}.svg"));
        std::fs::write(&path, chart.draw()).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let figures = curve.iter().flat_map(|(n, round)| {
        let at = |what| format!("{n} {across}: {what}");
        [
            Figure::new(at("CPU per event"), round.cpu_us, "us"),
            Figure::new(at("p50"), round.p50_ms, "ms"),
            Figure::new(at("p99"), round.p99_ms, "ms"),
            Figure::new(at("streams not complete"), round.broken as f64, "").at_most(0.0),
        ]
    });
    Ok(figures.collect())
}
