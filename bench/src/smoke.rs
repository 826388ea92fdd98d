//! A minute for CI: each way of an event once, under a small load. Only completeness counts, never
//! time, so that no busy machine makes it fail.
use crate::Failure;
use crate::args::{Args, Scenario};
use crate::figure::Figure;

/// Each with its generations.
const PARTS: [(Scenario, u64); 5] = [
    (Scenario::Durable, 20),
    (Scenario::Gateway, 20),
    (Scenario::Websocket, 20),
    (Scenario::Short, 50),
    (Scenario::Resume, 4),
];
/// The least that a load takes.
const SECONDS: u64 = 4;
const READERS: u64 = 10;

/// The counts of what is missing in each part. A part that fails is not complete.
pub(crate) async fn run(args: &Args) -> Vec<Figure> {
    let mut all = Vec::new();
    for (scenario, generations) in PARTS {
        eprintln!("bench: {}", scenario.name());
        let part = Args {
            generations,
            readers: READERS,
            seconds: SECONDS,
            rounds: 1,
            ..args.of(scenario)
        };
        all.extend(complete(scenario, crate::figures(&part).await));
    }
    all
}

/// The counts among a part's figures. A part without counts fails where something is missing.
pub(crate) fn complete(scenario: Scenario, figures: Result<Vec<Figure>, Failure>) -> Vec<Figure> {
    let name = scenario.name();
    let failed = match figures {
        Ok(figures) => {
            let counts = figures.into_iter().filter(Figure::is_of_completeness);
            let counts: Vec<Figure> = counts.collect();
            if !counts.is_empty() {
                return counts;
            }
            Figure::new(format!("{name}: failed"), 0.0, "")
        }
        Err(why) => Figure::missing(format!("{name}: failed"), why),
    };
    vec![failed.at_most(0.0)]
}
