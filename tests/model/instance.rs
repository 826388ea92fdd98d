//! The knowledge of one process: the rules of `src/engine/run/recorder/lane.rs` and
//! `src/engine/fleet/recover.rs`.
use super::Variant;
use super::log::{Append, Claim, Kind, Rows};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Process {
    Up,
    /// Stopped by SIGSTOP: its lease runs out, its transactions go on.
    Paused,
    /// After SIGTERM: it lets go of its models and writes what waits.
    Draining,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stop {
    Cancelled,
    LetGo,
}

/// A generation that this process runs: `engine::generate`, its writer and its tail.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) epoch: u8,
    /// The seq before the first one in `shown`.
    pub(crate) before: usize,
    /// The entries that readers here have seen.
    pub(crate) shown: Vec<Kind>,
    /// The last seq handed in.
    pub(crate) handed: usize,
    /// Tokens that the model has said.
    pub(crate) said: u8,
    pub(crate) stop: Option<Stop>,
    /// `done` is handed in.
    pub(crate) over: bool,
    /// Whether the log was compared since the connection was last lost.
    pub(crate) compared: bool,
}

impl Run {
    pub(crate) fn head(&self) -> usize {
        self.before + self.shown.len()
    }
}

/// The state of a lane's batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Idle,
    /// The tails must be read: of all of it, or of those not compared since the last loss.
    Doubtful {
        batch: Vec<Append>,
        all: bool,
        /// The number of refusals without a reason in its own log.
        refused: u8,
        lost: bool,
    },
    /// On its way to Postgres and back. No other instance sees the change that an answer makes
    /// here: only its loss is a step of its own.
    Flying(Vec<Append>, u8),
}

/// The state of a take-over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Taking {
    Nothing,
    /// The row was read.
    Looked {
        generation: usize,
        from: usize,
        epoch: u8,
        cancel: bool,
    },
    /// The log was read, and the claim is on its way; `said`: the tokens found there.
    Claiming {
        claim: Claim,
        said: u8,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instance {
    pub(crate) process: Process,
    /// Its lease has run out although it runs.
    pub(crate) lapsed: bool,
    pub(crate) runs: Vec<Option<Run>>,
    pub(crate) waiting: Vec<Append>,
    pub(crate) lane: Lane,
    /// The last lane that it opened; it opens one before it looks at the tails.
    pub(crate) opened: u8,
    pub(crate) taking: Taking,
}

impl Instance {
    pub(crate) fn up(generations: usize) -> Self {
        Self {
            process: Process::Up,
            lapsed: false,
            runs: vec![None; generations],
            waiting: Vec::new(),
            lane: Lane::Idle,
            opened: 0,
            taking: Taking::Nothing,
        }
    }

    pub(crate) fn down(generations: usize) -> Self {
        Self { process: Process::Down, ..Self::up(generations) }
    }

    /// Whether its writers still write.
    pub(crate) fn works(&self) -> bool {
        matches!(self.process, Process::Up | Process::Draining)
    }

    pub(crate) fn expired(&self) -> bool {
        self.lapsed || matches!(self.process, Process::Paused | Process::Down)
    }

    /// `start::run`: it owns the generation from the entry at `seq` on.
    pub(crate) fn run(&mut self, first: Append, said: u8) {
        self.runs[first.generation] = Some(Run {
            epoch: first.epoch,
            before: first.seq - 1,
            shown: vec![first.kind],
            handed: first.seq,
            said,
            stop: None,
            over: false,
            compared: true,
        });
    }

    /// `Writer::submit`.
    pub(crate) fn hand_in(&mut self, generation: usize, kind: Kind) {
        let Some(run) = &mut self.runs[generation] else { return };
        run.handed += 1;
        run.over = matches!(kind, Kind::Done(_));
        let append = Append { generation, epoch: run.epoch, seq: run.handed, kind };
        self.waiting.push(append);
    }

    /// `Lane::commit`'s beginning: the waiting entries, without those of lost writers.
    pub(crate) fn take(&mut self) {
        if self.lane != Lane::Idle || self.waiting.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.waiting);
        batch.retain(|a| self.writer(a).is_some());
        if batch.is_empty() {
            return;
        }
        let doubt = batch.iter().any(|a| self.writer(a).is_some_and(|run| !run.compared));
        self.lane = if doubt {
            Lane::Doubtful { batch, all: false, refused: 0, lost: false }
        } else {
            Lane::Flying(batch, 0)
        };
    }

    /// The run whose entry it is; `None` once it has lost its generation.
    fn writer(&self, append: &Append) -> Option<&Run> {
        self.runs[append.generation].as_ref().filter(|run| run.epoch == append.epoch)
    }

    /// `lane::publish`; a run that has shown its `done` is over.
    pub(crate) fn publish(&mut self, append: Append) {
        let slot = &mut self.runs[append.generation];
        let Some(run) = slot.as_mut().filter(|run| run.epoch == append.epoch) else { return };
        run.shown.push(append.kind);
        if matches!(append.kind, Kind::Done(_)) {
            *slot = None;
        }
    }

    /// `lane::lose`.
    fn lose(&mut self, append: Append) {
        if self.writer(&append).is_some() {
            self.runs[append.generation] = None;
        }
    }

    /// `Lane::compare`, and the append of what is missing. False: a refusal stays unexplained.
    pub(crate) fn compare(&mut self, log: &[Rows], variant: Variant) -> bool {
        let lane = std::mem::replace(&mut self.lane, Lane::Idle);
        let Lane::Doubtful { batch, all, refused, lost } = lane else { return true };
        let before = batch.len();
        if variant == Variant::BlindRetry && lost {
            self.lane = Lane::Flying(at_the_end(batch, log), 0);
            return true;
        }
        let mut missing = Vec::new();
        let doubtful: Vec<bool> =
            batch.iter().map(|a| all || self.writer(a).is_some_and(|r| !r.compared)).collect();
        for (append, doubtful) in batch.into_iter().zip(doubtful) {
            if doubtful {
                self.judge(append, log, variant, &mut missing)
            } else {
                missing.push(append)
            }
        }
        let refused = if missing.len() < before { 0 } else { refused };
        if !missing.is_empty() {
            self.lane = Lane::Flying(missing, refused);
        }
        // The first unexplained refusal may be for the whole lane.
        refused < 2
    }

    /// `lane::verdict`.
    fn judge(&mut self, append: Append, log: &[Rows], variant: Variant, missing: &mut Vec<Append>) {
        let rows = &log[append.generation];
        let epoch = if variant == Variant::NoFence { append.epoch } else { rows.epoch };
        let Some(run) = self.runs[append.generation].as_mut() else { return };
        run.compared = true;
        let head = run.head();
        if epoch != append.epoch || rows.last() < head {
            self.lose(append);
        } else if rows.last() >= append.seq {
            self.publish(append);
        } else {
            missing.push(append);
        }
    }
}

/// The mistake: the same entries behind whatever the log has now.
fn at_the_end(mut batch: Vec<Append>, log: &[Rows]) -> Vec<Append> {
    let mut last: Vec<usize> = log.iter().map(Rows::last).collect();
    for append in &mut batch {
        last[append.generation] += 1;
        append.seq = last[append.generation];
    }
    batch
}
