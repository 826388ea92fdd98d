//! Rounds of ours and of a peer in turn, so that a slow moment of the machine hits both.
use crate::figure::{Figure, permille};
use crate::load::Load;
use crate::sse::Seen;

/// The cost of one round, and the lateness of its events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Round {
    /// CPU of all that serves, per event that came; microseconds.
    pub(crate) cpu_us: f64,
    /// The share of all processes below the server: of ours, its PostgreSQL.
    pub(crate) postgres_us: f64,
    /// From making to reading; milliseconds.
    pub(crate) p50_ms: f64,
    /// The same, 99th percentile.
    pub(crate) p99_ms: f64,
    /// Events in the window, per second.
    pub(crate) per_s: f64,
    /// Streams that broke off or came short.
    pub(crate) broken: usize,
}

impl Round {
    /// Adds a load up; each of its streams should have had `tokens`.
    pub(crate) fn of(load: &Load, tokens: u64) -> Self {
        Self::by(load, |seen| seen.tokens == tokens)
    }

    /// The same of streams whose events have numbers and an end, which should be as they must.
    pub(crate) fn of_ours(load: &Load, tokens: u64) -> Self {
        Self::by(load, |seen| seen.is_whole(tokens))
    }

    fn by(load: &Load, is_whole: impl Fn(&Seen) -> bool) -> Self {
        let mut all: Vec<u32> = load.streams.iter().flat_map(|s| &s.latencies).copied().collect();
        all.sort_unstable();
        let events = all.len().max(1) as f64;
        let short = load.streams.iter().filter(|s| !is_whole(s)).count();
        if let Some(failure) = load.failures.first() {
            eprintln!("bench: {} streams failed: {failure}", load.failures.len());
        }
        Self {
            cpu_us: load.spent.serving() as f64 / 1e3 / events,
            postgres_us: load.spent.postgres as f64 / 1e3 / events,
            p50_ms: f64::from(permille(&all, 500)) / 1e3,
            p99_ms: f64::from(permille(&all, 990)) / 1e3,
            per_s: all.len() as f64 / load.window.as_secs_f64(),
            broken: short + load.failures.len(),
        }
    }
}

/// The figure to take of a round.
pub(crate) type Measure = fn(&Round) -> f64;

/// The figures of each side.
pub(crate) const MEASURES: [(&str, &str, Measure); 4] = [
    ("CPU per event", "us", |r| r.cpu_us),
    ("p50", "ms", |r| r.p50_ms),
    ("p99", "ms", |r| r.p99_ms),
    ("delivered", "/s", |r| r.per_s),
];

/// The median of the rounds' ratios. Where one side's streams broke there is no ratio: less work is
/// not cheaper work.
pub(crate) fn ratio(name: String, measure: Measure, rounds: &[(Round, Round)]) -> Figure {
    let broken: usize = rounds.iter().map(|(a, b)| a.broken + b.broken).sum();
    if broken > 0 || rounds.is_empty() {
        return Figure::missing(name, format!("{broken} streams were not complete"));
    }
    let ratios = rounds.iter().map(|(a, b)| measure(a) / measure(b));
    Figure::median(name, ratios.collect(), "")
}

/// Rounds in pairs.
pub(crate) struct Pairs {
    /// The load of both, for the table.
    pub(crate) load: String,
    /// The name of the other one.
    pub(crate) peer: String,
    /// Ours, then the peer's.
    pub(crate) rounds: Vec<(Round, Round)>,
}

impl Pairs {
    /// Prints its progress, because it takes minutes.
    pub(crate) fn push(&mut self, ours: Round, peer: Round) {
        let ratio = ours.cpu_us / peer.cpu_us;
        let n = self.rounds.len() + 1;
        eprintln!(
            "{}, pair {n}: ours {:.1} us, {} {:.1} us, ratio {ratio:.2}",
            self.load, ours.cpu_us, self.peer, peer.cpu_us
        );
        self.rounds.push((ours, peer));
    }

    /// The ratio of CPU per delivered event first; `aim` is its highest.
    pub(crate) fn figures(&self, aim: Option<f64>) -> Vec<Figure> {
        let (load, peer) = (&self.load, &self.peer);
        let name = format!("{load}: CPU per event, ours / {peer}");
        let first = ratio(name, |r| r.cpu_us, &self.rounds);
        let mut figures = vec![aim.into_iter().fold(first, Figure::at_most)];
        for (what, unit, measure) in MEASURES {
            let ours = self.rounds.iter().map(|(ours, _)| measure(ours)).collect();
            let theirs = self.rounds.iter().map(|(_, peer)| measure(peer)).collect();
            figures.push(Figure::median(format!("{load}: {what}, ours"), ours, unit));
            figures.push(Figure::median(format!("{load}: {what}, {peer}"), theirs, unit));
        }
        let broken =
            |of: fn(&(Round, Round)) -> usize| self.rounds.iter().map(of).sum::<usize>() as f64;
        let ours =
            Figure::new(format!("{load}: streams not complete, ours"), broken(|r| r.0.broken), "");
        figures.push(ours.at_most(0.0));
        let theirs = format!("{load}: streams not complete, {peer}");
        figures.push(Figure::new(theirs, broken(|r| r.1.broken), ""));
        figures
    }
}
