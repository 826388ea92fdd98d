//! The scenarios of ours alone: one run with its report, or several on one server and their
//! medians.
use crate::args::{Args, Scenario};
use crate::figure::Figure;
use crate::report::Report;
use crate::server::Server;
use crate::upstream::Upstream;
use crate::{Failure, http, load, multiplex, sockets, ttft};

/// The reports of so many rounds; scenarios that take turns by themselves have one.
pub(crate) async fn reports(args: &Args, rounds: u64) -> Result<Vec<Report>, Failure> {
    match args.scenario {
        Scenario::Sockets => return Ok(vec![sockets::run(args).await?]),
        Scenario::Multiplex => return Ok(vec![multiplex::run(args).await?]),
        _ => {}
    }
    let upstream = (args.scenario == Scenario::Gateway).then(Upstream::start).transpose()?;
    let server = Server::start(args, upstream.as_ref().map(|u| u.address)).await?;
    let measured = measure_all(args, rounds, &server, upstream.as_ref()).await;
    server.stop(measured.is_err()).await;
    measured
}

async fn measure_all(
    args: &Args,
    rounds: u64,
    server: &Server,
    upstream: Option<&Upstream>,
) -> Result<Vec<Report>, Failure> {
    let mut reports = Vec::new();
    for _ in 0..rounds {
        reports.push(measure(args, server, upstream).await?);
    }
    Ok(reports)
}

async fn measure(
    args: &Args,
    server: &Server,
    upstream: Option<&Upstream>,
) -> Result<Report, Failure> {
    let preferred = if upstream.is_some() { crate::upstream::MODEL } else { http::BUILT_IN };
    let model = http::model(server.address, preferred).await?;
    let ttft = match upstream {
        Some(u) => Some(ttft::compare(u.address, server.address, model.as_deref()).await?),
        None => None,
    };
    let load = load::run(args, server, model.as_deref()).await?;
    Ok(Report::new(args, server, load, ttft))
}

/// The figures of all rounds that have an aim, and those beside them.
pub(crate) async fn figures(args: &Args) -> Result<Vec<Figure>, Failure> {
    let reports = reports(args, args.rounds).await?;
    let median = |name: String, row: &str, part: f64, unit| {
        let values = reports.iter().map(|report| report.value(row) / part);
        Figure::median(name, values.collect(), unit)
    };
    Ok(match args.scenario {
        Scenario::Sockets => {
            let at = |kind: &str| {
                format!("{kind} at rest, memory of the server, at {}", args.connections)
            };
            vec![
                median(at("an SSE reader"), "rss_kib_each_sse_reader", 1.0, "KiB").at_most(8.0),
                median(at("a WebSocket"), "rss_kib_each_socket", 1.0, "KiB").at_most(10.0),
                median(at("a WebSocket that follows"), "rss_kib_each_following_socket", 1.0, "KiB"),
            ]
        }
        Scenario::Multiplex => {
            let name = format!(
                "{} generations on one socket, CPU of the readers / SSE streams",
                args.generations
            );
            vec![median(name, "readers_socket_to_sse", 1.0, "").at_most(0.2)]
        }
        _ => of_load(args, &reports, median),
    })
}

/// Tokens that are made and read as fast as the model makes them.
fn of_load(
    args: &Args,
    reports: &[Report],
    median: impl Fn(String, &str, f64, &'static str) -> Figure,
) -> Vec<Figure> {
    let rate = args.generations * args.tps;
    let of = |what: &str| format!("{} {rate}/s: {what}", args.scenario.name());
    let delivered = median(of("delivered"), "events_per_second", 1.0, "/s");
    // Of all rounds together: nothing may be missing in any.
    let all = |row: &str| reports.iter().map(|report| report.value(row)).sum::<f64>();
    let missing = Figure::new(of("tokens missing"), all("tokens_missing"), "").at_most(0.0);
    let broken = (args.generations * reports.len() as u64) as f64 - all("streams_complete");
    let broken = Figure::new(of("streams not complete"), broken, "").at_most(0.0);
    let mut figures = vec![delivered.at_least(rate as f64 * 0.98), missing, broken];
    let what = of("CPU per event, PostgreSQL included");
    let cpu = median(what, "cpu_us_per_event_both", 1.0, "us");
    let p50 = median(of("p50"), "latency_us_p50", 1e3, "ms");
    let p99 = median(of("p99"), "latency_us_p99", 1e3, "ms");
    if args.scenario == Scenario::Gateway {
        let added = median(of("added time to first token"), "ttft_us_added", 1e3, "ms");
        figures.extend([added.at_most(1.0), cpu.at_most(20.0), p50, p99]);
    } else if rate > 50_000 {
        figures.extend([p50, p99.at_most(50.0), cpu]);
    } else {
        figures.extend([p50.at_most(1.0), p99.at_most(10.0), cpu]);
    }
    figures
}
