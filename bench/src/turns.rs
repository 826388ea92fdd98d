//! The same load in several kinds in turn, so that a slow moment of the machine hits all of them.
use crate::Failure;
use crate::figure::Figure;
use crate::pairs::{MEASURES, Measure, Round, ratio};

/// Rounds of `N` kinds.
pub(crate) struct Turns<const N: usize> {
    /// The load of all, for the table.
    load: String,
    kinds: [String; N],
    rounds: Vec<[Round; N]>,
}

impl<const N: usize> Turns<N> {
    pub(crate) fn new(load: String, kinds: [impl Into<String>; N]) -> Self {
        Self { load, kinds: kinds.map(Into::into), rounds: Vec::new() }
    }

    /// Measures each kind once a round. Another one begins each time, so that no kind always comes
    /// behind the same one. Prints its progress, because it takes minutes.
    pub(crate) async fn take(
        &mut self,
        rounds: u64,
        mut measure: impl AsyncFnMut(usize) -> Result<Round, Failure>,
    ) -> Result<(), Failure> {
        for n in 0..usize::try_from(rounds).unwrap_or(0) {
            let mut taken = [Round::default(); N];
            for turn in 0..N {
                let kind = (n + turn) % N;
                taken[kind] = measure(kind).await?;
            }
            let said: Vec<String> = self.kinds.iter().zip(&taken).map(said).collect();
            eprintln!("{}, round {}: {}", self.load, n + 1, said.join(", "));
            self.rounds.push(taken);
        }
        Ok(())
    }

    /// The ratio of one kind's `measure` to another's.
    pub(crate) fn ratio(&self, what: &str, measure: Measure, [a, b]: [usize; 2]) -> Figure {
        let Self { load, kinds, .. } = self;
        let name = format!("{load}: {what}, {} / {}", kinds[a], kinds[b]);
        let rounds: Vec<_> = self.rounds.iter().map(|round| (round[a], round[b])).collect();
        ratio(name, measure, &rounds)
    }

    /// The ratio of one kind's CPU per delivered event to another's.
    pub(crate) fn cpu(&self, kinds: [usize; 2]) -> Figure {
        self.ratio("CPU per event", |r| r.cpu_us, kinds)
    }

    /// Medians of each kind. All of them are ours, so all have to be complete.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let load = &self.load;
        let mut figures = Vec::new();
        for (what, unit, measure) in MEASURES {
            for (n, kind) in self.kinds.iter().enumerate() {
                let values = self.rounds.iter().map(|round| measure(&round[n])).collect();
                figures.push(Figure::median(format!("{load}: {what}, {kind}"), values, unit));
            }
        }
        let broken: usize = self.rounds.iter().flatten().map(|round| round.broken).sum();
        let name = format!("{load}: streams not complete");
        figures.push(Figure::new(name, broken as f64, "").at_most(0.0));
        figures
    }
}

fn said((kind, round): (&String, &Round)) -> String {
    format!("{kind} {:.1} us", round.cpu_us)
}
