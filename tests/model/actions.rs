//! The possible next steps, and their effects.
use super::instance::{Instance, Lane, Process, Stop, Taking};
use super::log::{self, Append, Claim, Ending, Kind, Statement};
use super::{Protocol, State};

/// One step; the first number is the instance's, the second the generation's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The model says a token or ends, or the cancel takes effect.
    Say(usize, usize),
    /// Postgres carries out the lane's transaction, or refuses it, and the lane learns the outcome.
    Commit(usize),
    /// The lane reads the tails.
    Compare(usize),
    /// An instance finds a generation that no instance runs.
    Look(usize, usize),
    /// Its log is read.
    Read(usize),
    /// The claim's transaction begins, and has to wait for appends under way.
    Begin(usize),
    /// Postgres carries the claim out, or refuses it, and the claimant learns the outcome.
    Claim(usize),
    /// The owner sees the request to cancel.
    Poll(usize, usize),
    /// The lease is renewed.
    Renew(usize),
    /// Everything is written: a draining process ends.
    Leave(usize),
    Wake(usize),
    Restart(usize),
    /// A cancel comes to this instance.
    Cancel(usize, usize),
    Fault(Fault),
    /// A transaction whose sender has gone is carried out after all.
    Arrive(usize),
    /// It never is.
    Vanish(usize),
}

/// Faults of this instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The lane's connection is lost: after the commit, or with the transaction under way.
    LoseCommit(usize, bool),
    LoseClaim(usize, bool),
    /// The lane is old: the next append goes over one that replaces it.
    OldLane(usize),
    Kill(usize),
    Pause(usize),
    Drain(usize),
    /// The lease runs out although the process works.
    Lapse(usize),
}

impl Protocol {
    /// Generations and the lane.
    pub(crate) fn work(&self, state: &State, i: usize, actions: &mut Vec<Action>) {
        let instance = &state.instances[i];
        match (&instance.lane, instance.works()) {
            (Lane::Doubtful { .. }, true) => actions.push(Action::Compare(i)),
            (Lane::Flying(..), true) => actions.push(Action::Commit(i)),
            _ => {}
        }
        if instance.process != Process::Up {
            return;
        }
        for (g, run) in instance.runs.iter().enumerate() {
            if run.as_ref().is_some_and(|run| !run.over) {
                actions.push(Action::Say(i, g));
            }
        }
    }

    /// The steps of `recover.rs`, and the events of a process.
    pub(crate) fn upkeep(&self, state: &State, i: usize, actions: &mut Vec<Action>) {
        let instance = &state.instances[i];
        match (&instance.taking, instance.process) {
            (Taking::Claiming { claim, .. }, Process::Up)
                if self.snapshots && claim.snapshot.is_none() =>
            {
                actions.push(Action::Begin(i));
            }
            (Taking::Claiming { .. }, Process::Up) => actions.push(Action::Claim(i)),
            (Taking::Looked { .. }, Process::Up) => actions.push(Action::Read(i)),
            (Taking::Nothing, Process::Up) => {
                actions.extend(
                    (0..self.generations)
                        .filter(|g| looks(state, i, *g))
                        .map(|g| Action::Look(i, g)),
                );
            }
            _ => {}
        }
        match instance.process {
            Process::Up => {
                if instance.lapsed {
                    actions.push(Action::Renew(i));
                }
                actions.extend(
                    (0..self.generations)
                        .filter(|g| polls(state, i, *g))
                        .map(|g| Action::Poll(i, g)),
                );
            }
            Process::Draining if instance.lane == Lane::Idle && instance.waiting.is_empty() => {
                actions.push(Action::Leave(i));
            }
            Process::Paused if self.comes_back => actions.push(Action::Wake(i)),
            Process::Down if self.comes_back => actions.push(Action::Restart(i)),
            Process::Paused | Process::Draining | Process::Down => {}
        }
    }

    /// Cancels, and faults as long as there are any left.
    pub(crate) fn misfortune(&self, state: &State, i: usize, actions: &mut Vec<Action>) {
        let instance = &state.instances[i];
        let up = instance.process == Process::Up;
        if up && state.cancels > 0 {
            actions.extend((0..self.generations).map(|g| Action::Cancel(i, g)));
        }
        if state.faults == 0 || instance.process == Process::Down {
            return;
        }
        let mut faults = vec![Fault::Kill(i)];
        if matches!(instance.lane, Lane::Flying(..)) && instance.works() {
            faults.extend([Fault::LoseCommit(i, true), Fault::LoseCommit(i, false)]);
            if self.renewals {
                faults.push(Fault::OldLane(i));
            }
        }
        if matches!(instance.taking, Taking::Claiming { .. }) && up {
            faults.extend([Fault::LoseClaim(i, true), Fault::LoseClaim(i, false)]);
        }
        if up {
            faults.extend([Fault::Pause(i), Fault::Drain(i)]);
            if !instance.lapsed {
                faults.push(Fault::Lapse(i));
            }
        }
        actions.extend(faults.into_iter().map(Action::Fault));
    }

    pub(crate) fn apply(&self, state: &mut State, action: Action) {
        match action {
            Action::Say(i, g) => self.say(&mut state.instances[i], g),
            Action::Commit(i) => self.commit(state, i),
            Action::Compare(i) => {
                // A lost connection's lane is closed by the one that is opened now.
                if state.database.lanes[i].as_ref().map(|l| l.number)
                    != Some(state.instances[i].opened)
                {
                    log::open(&mut state.database, i, state.instances[i].opened);
                }
                let State { database, instances, puzzled, .. } = state;
                *puzzled |= !instances[i].compare(&database.log, self.variant);
            }
            Action::Look(i, g) => look(state, i, g),
            Action::Read(i) => self.read(state, i),
            Action::Begin(i) => begin(state, i),
            Action::Claim(i) => self.claim(state, i),
            Action::Poll(i, g) => stop(&mut state.instances[i], g, Stop::Cancelled),
            Action::Renew(i) => state.instances[i].lapsed = false,
            Action::Leave(i) => {
                state.database.lanes[i] = None;
                let opened = state.instances[i].opened;
                state.instances[i] = Instance { opened, ..Instance::down(self.generations) };
            }
            Action::Restart(i) => {
                let opened = state.instances[i].opened + 1;
                state.instances[i] = Instance { opened, ..Instance::up(self.generations) };
                log::open(&mut state.database, i, opened);
            }
            Action::Wake(i) => {
                state.instances[i].process = Process::Up;
                state.instances[i].lapsed = true;
            }
            Action::Arrive(n) => {
                let statement = state.stray.remove(n);
                self.arrive(state, &statement);
            }
            Action::Vanish(n) => drop(state.stray.remove(n)),
            Action::Cancel(i, g) => cancel(state, i, g),
            Action::Fault(fault) => {
                state.faults -= 1;
                self.fault(state, fault);
            }
        }
        // An idle lane takes all waiting entries at once; later ones form the next batch.
        for instance in state.instances.iter_mut().filter(|i| i.works()) {
            instance.take();
        }
    }

    fn fault(&self, state: &mut State, fault: Fault) {
        match fault {
            Fault::LoseCommit(i, carried_out) => self.lose_commit(state, i, carried_out),
            Fault::LoseClaim(i, carried_out) => self.lose_claim(state, i, carried_out),
            Fault::OldLane(i) => {
                state.instances[i].opened += 1;
                log::open(&mut state.database, i, state.instances[i].opened);
            }
            Fault::Pause(i) => state.instances[i].process = Process::Paused,
            Fault::Lapse(i) => state.instances[i].lapsed = true,
            Fault::Kill(i) => {
                let opened = state.instances[i].opened;
                if let Lane::Flying(batch, _) = &state.instances[i].lane {
                    state.stray.push(Statement::Append((i, opened), batch.clone()));
                }
                self.lose_claim(state, i, false);
                state.instances[i] = Instance { opened, ..Instance::down(self.generations) };
            }
            Fault::Drain(i) => {
                self.lose_claim(state, i, false);
                let instance = &mut state.instances[i];
                instance.process = Process::Draining;
                (0..self.generations).for_each(|g| stop(instance, g, Stop::LetGo));
            }
        }
    }

    fn say(&self, instance: &mut Instance, g: usize) {
        let Some(run) = &mut instance.runs[g] else { return };
        let kind = match run.stop {
            Some(Stop::Cancelled) => Kind::Done(Ending::Cancelled),
            Some(Stop::LetGo) => return,
            None if run.said == self.tokens => Kind::Done(Ending::Completed),
            None => {
                run.said += 1;
                Kind::Token(run.said)
            }
        };
        instance.hand_in(g, kind);
    }

    fn commit(&self, state: &mut State, i: usize) {
        let instance = &mut state.instances[i];
        let lane = std::mem::replace(&mut instance.lane, Lane::Idle);
        let Lane::Flying(batch, refused) = lane else { return };
        if log::append(&mut state.database, (i, instance.opened), &batch, self.variant) {
            batch.into_iter().for_each(|append| instance.publish(append));
        } else {
            instance.runs.iter_mut().flatten().for_each(|run| run.compared = false);
            instance.opened += 1;
            log::open(&mut state.database, i, instance.opened);
            instance.lane = Lane::Doubtful { batch, all: true, refused: refused + 1, lost: false };
        }
    }

    /// A transaction under way is still carried out, later or never.
    fn lose_commit(&self, state: &mut State, i: usize, carried_out: bool) {
        let instance = &mut state.instances[i];
        instance.runs.iter_mut().flatten().for_each(|run| run.compared = false);
        let lane = std::mem::replace(&mut instance.lane, Lane::Idle);
        let Lane::Flying(batch, refused) = lane else { return };
        let lane = (i, instance.opened);
        if carried_out {
            log::append(&mut state.database, lane, &batch, self.variant);
        } else {
            state.stray.push(Statement::Append(lane, batch.clone()));
        }
        instance.opened += 1;
        instance.lane = Lane::Doubtful { batch, all: true, refused, lost: true };
    }

    fn lose_claim(&self, state: &mut State, i: usize, carried_out: bool) {
        let taking = std::mem::replace(&mut state.instances[i].taking, Taking::Nothing);
        let Taking::Claiming { claim, .. } = taking else { return };
        if carried_out {
            self.carry_out(state, &claim);
        } else {
            state.stray.push(Statement::Claim(claim));
        }
    }

    /// `adopt`: the state of the log, and the first entry behind it.
    fn read(&self, state: &mut State, i: usize) {
        let taking = std::mem::replace(&mut state.instances[i].taking, Taking::Nothing);
        let Taking::Looked { generation, from, epoch, cancel } = taking else { return };
        let rows = &state.database.log[generation];
        if rows.ended.is_some() {
            return;
        }
        let kind = if cancel { Kind::Done(Ending::Cancelled) } else { Kind::Resumed };
        let first = Append { generation, epoch: epoch + 1, seq: rows.last() + 1, kind };
        let claim = Claim { by: i, from, first, snapshot: None };
        state.instances[i].taking = Taking::Claiming { claim, said: rows.tokens() };
    }

    fn claim(&self, state: &mut State, i: usize) {
        let taking = std::mem::replace(&mut state.instances[i].taking, Taking::Nothing);
        let Taking::Claiming { claim, said } = taking else { return };
        if !self.carry_out(state, &claim) || matches!(claim.first.kind, Kind::Done(_)) {
            return;
        }
        let instance = &mut state.instances[i];
        instance.run(claim.first, said);
    }

    fn carry_out(&self, state: &mut State, claim: &Claim) -> bool {
        let expired = state.instances[claim.from].expired();
        let taken = log::claim(&mut state.database, claim, expired, self.variant);
        if taken && claim.by != claim.from {
            // A lapse lasts for one take-over: the next renewal is never far.
            state.instances[claim.from].lapsed = false;
        }
        taken
    }

    fn arrive(&self, state: &mut State, statement: &Statement) {
        match statement {
            Statement::Append(lane, batch) => {
                let _ = log::append(&mut state.database, *lane, batch, self.variant);
            }
            Statement::Claim(claim) => drop(self.carry_out(state, claim)),
        }
    }
}

/// `Orphans`: this instance does not run it, and it is on record for it, or for nobody alive.
fn looks(state: &State, i: usize, g: usize) -> bool {
    let rows = &state.database.log[g];
    let orphan = rows.owner == i || state.instances[rows.owner].expired();
    rows.ended.is_none() && state.instances[i].runs[g].is_none() && orphan
}

/// `cancel_requests`, where one would change something.
fn polls(state: &State, i: usize, g: usize) -> bool {
    let rows = &state.database.log[g];
    let run = state.instances[i].runs[g].as_ref();
    rows.cancel
        && rows.ended.is_none()
        && rows.owner == i
        && run.is_some_and(|r| r.stop.is_none() && !r.over)
}

fn look(state: &mut State, i: usize, generation: usize) {
    let rows = &state.database.log[generation];
    let (from, epoch, cancel) = (rows.owner, rows.epoch, rows.cancel);
    state.instances[i].taking = Taking::Looked { generation, from, epoch, cancel };
}

fn begin(state: &mut State, i: usize) {
    let State { instances, database, .. } = state;
    if let Taking::Claiming { claim, .. } = &mut instances[i].taking {
        claim.snapshot = Some(database.log[claim.first.generation].last());
    }
}

fn stop(instance: &mut Instance, g: usize, why: Stop) {
    if let Some(run) = &mut instance.runs[g]
        && run.stop.is_none()
        && !run.over
    {
        run.stop = Some(why);
    }
}

fn cancel(state: &mut State, i: usize, g: usize) {
    state.cancels -= 1;
    state.database.log[g].cancel |= state.database.log[g].ended.is_none();
    stop(&mut state.instances[i], g, Stop::Cancelled);
}
