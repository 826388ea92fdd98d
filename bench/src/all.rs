//! Everything, one after the other: what fails or takes too long is a line of the table, and the rest goes on.
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::args::{Args, Scenario};
use crate::figure::Figure;
use crate::report::Report;
use crate::{Failure, figures, report};

/// The longest that a scenario may take; on two cores, none takes four minutes.
const EACH: Duration = Duration::from_secs(300);
/// What is not measured by then is not measured: with the ends of what runs, that is 20 minutes.
const ALL: Duration = Duration::from_secs(1150);

/// Connections at rest: a common figure, and as many as 20,000 open files leave beside models and the database.
const AT_REST: [u64; 2] = [10_000, 14_500];

/// A part of everything: a name for when it fails, and its load.
struct Part {
    name: String,
    args: Args,
}

/// All figures. The options for a single scenario do not count, but `rounds` and places do.
pub(crate) async fn run(args: &Args) -> Vec<Figure> {
    let begun = Instant::now();
    let mut all = Vec::new();
    for part in parts(args) {
        eprintln!("bench: {} ({:.0} s)", part.name, begun.elapsed().as_secs_f64());
        let limit = EACH.min(ALL.saturating_sub(begun.elapsed()));
        let measured = timeout(limit, measure(&part.args)).await;
        let measured =
            measured.unwrap_or_else(|_| Err(format!("it was not done in {} s", limit.as_secs())));
        all.extend(measured.unwrap_or_else(|why| vec![Figure::missing(part.name, why)]));
    }
    eprintln!("bench: all measured in {:.0} s", begun.elapsed().as_secs_f64());
    all
}

fn parts(args: &Args) -> Vec<Part> {
    let part = |scenario: Scenario| Part { name: scenario.name().into(), args: args.of(scenario) };
    let mut parts = vec![part(Scenario::Durable), part(Scenario::Durable), part(Scenario::Gateway)];
    parts[1].args.generations = 2000;
    parts.extend([Scenario::Multiplex, Scenario::Sockets, Scenario::Sockets].map(part));
    for (part, connections) in parts[4..].iter_mut().zip(AT_REST) {
        part.args.connections = connections;
    }
    // Its three kinds take turns three times.
    parts[3].args.seconds = 5;
    let others = [
        Scenario::Active,
        Scenario::Resume,
        Scenario::Start,
        Scenario::Fanout,
        Scenario::Resumable,
        Scenario::Gateways,
        Scenario::DurableStreams,
        Scenario::Price,
        Scenario::Websocket,
        Scenario::Curves,
    ];
    parts.extend(others.map(part));
    parts
}

async fn measure(args: &Args) -> Result<Vec<Figure>, Failure> {
    match args.scenario {
        Scenario::Durable | Scenario::Gateway | Scenario::Sockets | Scenario::Multiplex => {
            Ok(beside_aims(args, &report(args).await?))
        }
        _ => figures(args).await,
    }
}

/// Those figures of a report that have an aim.
fn beside_aims(args: &Args, report: &Report) -> Vec<Figure> {
    let figure = |name: String, row: &str, part: f64, unit| {
        Figure::new(name, report.value(row) / part, unit)
    };
    match args.scenario {
        Scenario::Sockets => {
            let at = |kind: &str| {
                format!("{kind} at rest, memory of the server, at {}", args.connections)
            };
            vec![
                figure(at("an SSE reader"), "rss_kib_each_sse_reader", 1.0, "KiB").at_most(8.0),
                figure(at("a WebSocket"), "rss_kib_each_socket", 1.0, "KiB").at_most(10.0),
                figure(at("a WebSocket that follows"), "rss_kib_each_following_socket", 1.0, "KiB"),
            ]
        }
        Scenario::Multiplex => {
            let name = format!(
                "{} generations on one socket, CPU of the readers / SSE streams",
                args.generations
            );
            vec![figure(name, "readers_socket_to_sse", 1.0, "").at_most(0.2)]
        }
        scenario => {
            let rate = args.generations * args.tps;
            let of = |what: &str| format!("{} {rate}/s: {what}", scenario.name());
            let both = figure(
                of("CPU per event, PostgreSQL included"),
                "cpu_us_per_event_both",
                1.0,
                "us",
            );
            let delivered = figure(of("delivered"), "events_per_second", 1.0, "/s");
            let missing = figure(of("tokens missing"), "tokens_missing", 1.0, "");
            let p50 = figure(of("p50"), "latency_us_p50", 1e3, "ms");
            let p99 = figure(of("p99"), "latency_us_p99", 1e3, "ms");
            let mut figures = vec![delivered.at_least(rate as f64 * 0.98), missing.at_most(0.0)];
            if scenario == Scenario::Gateway {
                let added = figure(of("added time to first token"), "ttft_us_added", 1e3, "ms");
                figures.extend([added.at_most(1.0), both.at_most(20.0), p50, p99]);
            } else if rate > 50_000 {
                figures.extend([p50, p99.at_most(50.0), both]);
            } else {
                figures.extend([p50.at_most(1.0), p99.at_most(10.0), both]);
            }
            figures
        }
    }
}
