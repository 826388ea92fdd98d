//! Everything, one after the other. A scenario that fails or takes too long is a line of the table,
//! and the rest goes on.
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::args::{Args, Scenario};
use crate::figure::Figure;
use crate::figures;

/// The longest that a scenario may take; on two cores, none takes four minutes.
const EACH: Duration = Duration::from_secs(300);
/// A scenario that has not begun by then is left out: with the ends of the running ones, that is 25
/// minutes.
const ALL: Duration = Duration::from_secs(1430);

/// Connections at rest: a common figure, and the rest of 20,000 open files on either side.
const AT_REST: [u64; 2] = [10_000, 19_000];

/// How long each of several rounds lasts; the first two are not counted.
const SECONDS: u64 = 7;

/// A part of everything: its name for a failure, and its load.
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
        let measured = timeout(limit, figures(&part.args)).await;
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
    for part in &mut parts {
        part.args.seconds = SECONDS;
    }
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
        Scenario::Agent,
        Scenario::Short,
        Scenario::Fanout,
        Scenario::Resumable,
        Scenario::Gateways,
        Scenario::DurableStreams,
        Scenario::Price,
        Scenario::Websocket,
        Scenario::Growth,
        Scenario::Curves,
    ];
    parts.extend(others.map(part));
    parts
}
