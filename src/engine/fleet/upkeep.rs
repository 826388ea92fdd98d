//! The upkeep of this instance: its lease, cancels from elsewhere, what it has lost to others, and
//! what others have left.
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::recover::ROUND;
use crate::engine::Engine;
use crate::ports::{LogError, MOST_ERASED};

/// Between two looks at the days' tables.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);
/// The same after one that could not do all.
const AGAIN: Duration = Duration::from_secs(60);
/// Between two looks at other sessions on the database.
const AROUND: Duration = Duration::from_secs(60);
/// Between two warnings about the same thing.
const REPEAT: Duration = Duration::from_secs(600);
/// Between two looks at what was appended.
const FOLD: Duration = Duration::from_millis(250);
/// Events that are folded at the next look. A fold costs a commit and five round trips, however
/// little there is. With one generation that was more than a tenth of an event's cost.
const MANY: u64 = 2048;
/// The same for each running generation. A fold makes it a segment, which takes some 200 bytes of
/// WAL beside its text. PostgreSQL compresses a segment above two kilobytes.
const OF_EACH: u64 = 64;
/// So many are folded in any case: a journal that is read, or folded after a crash, stays small.
const PLENTY: u64 = 65_536;
/// Looks after which fewer are folded, too.
const OVERDUE: u32 = 8;
/// Looks after which others' leavings are looked for, even if nothing was appended here.
const IDLE: u32 = 40;
/// When a cancel was asked for of what is ours and does not run here yet: it is just beginning.
const SOON: Duration = Duration::from_millis(250);

impl Engine {
    /// Takes up what an earlier process of this instance left, before the first request.
    ///
    /// # Errors
    /// The log is out of reach or broken.
    pub async fn take_up(&self) -> Result<usize, LogError> {
        let inner = &self.inner;
        inner.log.leases.acquire_lease(inner.instance, inner.limits.lease).await?;
        inner.log.leases.advertise_models(inner.instance, &self.models().names()).await?;
        let mut taken = 0;
        loop {
            let left = inner.log.ownership.orphans(&self.unattended(), ROUND).await?;
            let now = self.adopt_all(left, Instant::now() + inner.limits.lease / 4).await;
            taken += now;
            // None left, or none that can be taken: the upkeep goes on trying.
            if now == 0 {
                inner.runs.recorder.register();
                return Ok(taken);
            }
            inner.log.leases.heartbeat(inner.instance, inner.limits.lease).await?;
        }
    }

    /// Spawns the upkeep; it ends at the hard stop.
    pub fn keep_up(&self) {
        let engine = self.clone();
        self.inner.tasks.spawn_service(async move {
            let hard = engine.inner.tasks.hard().clone();
            hard.run_until_cancelled(engine.upkeep()).await;
        });
        let engine = self.clone();
        self.inner.tasks.spawn_service(async move {
            let hard = engine.inner.tasks.hard().clone();
            hard.run_until_cancelled(engine.fold()).await;
        });
        let engine = self.clone();
        self.inner.tasks.spawn_service(async move {
            let hard = engine.inner.tasks.hard().clone();
            hard.run_until_cancelled(engine.look_around()).await;
        });
        self.heed_hints();
        let hard = self.inner.tasks.hard().clone();
        self.inner.tasks.spawn_service(self.inner.presence.clone().keep_up(hard));
    }

    async fn upkeep(&self) {
        let inner = &self.inner;
        let lease = inner.limits.lease;
        let mut pause = lease / 4;
        let mut housekeeping = Instant::now();
        let mut sight = Sight::Clear;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = inner.fleet.look.notified() => {}
            }
            // One slow answer must not cost the lease, and with it every generation.
            let round = timeout(lease / 2, self.round()).await;
            sight = sight.after(matches!(round, Ok(Ok(_))), Instant::now());
            pause = match round {
                Ok(Ok(pause)) => pause,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "upkeep");
                    lease / 4
                }
                Err(_) => {
                    tracing::warn!("upkeep: the log does not answer in time");
                    lease / 4
                }
            };
            self.take_over_orphans(sight.is_clear(lease, Instant::now())).await;
            if Instant::now() >= housekeeping {
                housekeeping = Instant::now() + self.keep_house().await;
            }
        }
    }

    /// Erases events, prompts and answers that are too old. Returns when to come again.
    async fn keep_house(&self) -> Duration {
        let (upkeep, limits) = (&self.inner.log.upkeep, &self.inner.limits);
        if let Err(error) = upkeep.retain(limits.retention_days).await {
            tracing::warn!(%error, "retention");
            return AGAIN;
        }
        let Some(days) = limits.prompt_retention_days else { return HOUSEKEEPING };
        // The lease waits for it.
        match timeout(limits.lease / 2, upkeep.erase_old(days)).await {
            Ok(Ok(erased)) if erased >= u64::from(MOST_ERASED) => Duration::ZERO,
            Ok(Ok(_)) => HOUSEKEEPING,
            Ok(Err(error)) => {
                tracing::warn!(%error, "retention of prompts");
                AGAIN
            }
            Err(_) => {
                tracing::warn!("retention of prompts: the log does not answer in time");
                AGAIN
            }
        }
    }

    /// Looks at other sessions on the database: one whose transaction never ends is told of.
    async fn look_around(&self) {
        let mut told: Option<Instant> = None;
        loop {
            sleep(AROUND).await;
            let found = match self.inner.log.upkeep.look_around().await {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(%error, "other sessions were not looked at");
                    continue;
                }
            };
            let seconds = found.as_ref().and_then(|held| held.open_for).unwrap_or_default();
            self.metrics().oldest_transaction.set(seconds.as_secs_f64());
            let Some(held) = found.filter(|_| told.is_none_or(|at| at.elapsed() >= REPEAT)) else {
                continue;
            };
            told = Some(Instant::now());
            tracing::warn!(
                kind = held.kind.as_str(),
                pid = held.pid,
                name = held.name,
                user = held.user,
                open_s = held.open_for.map(|age| age.as_secs()),
                transactions = held.age,
                "it is open for long: PostgreSQL cannot clean up, and the journal grows"
            );
        }
    }

    /// Has the log put in order what was appended, so that there is always little to be put in
    /// order.
    async fn fold(&self) {
        let mut pace = FoldPace::default();
        loop {
            sleep(FOLD).await;
            // Readers elsewhere look through all of the journal.
            let read_elsewhere = Arc::strong_count(&self.inner.fleet.read_elsewhere) > 1;
            let running = if read_elsewhere { 0 } else { self.inner.runs.live.len() as u64 };
            if !pace.is_due(self.metrics().appended.get(), running) {
                continue;
            }
            match self.inner.log.upkeep.compact(self.inner.instance).await {
                Ok(folded) => pace.folded(folded, self.metrics().appended.get()),
                // They were put aside, and the rest was folded.
                Err(error @ LogError::Doubled(_)) => {
                    self.note_doubled(&error);
                    pace.again();
                }
                Err(error) => {
                    tracing::warn!(%error, "the journal is not folded");
                    self.metrics().fold_failures.inc();
                    sleep(FOLD * IDLE).await;
                    pace.again();
                }
            }
        }
    }

    /// Lease, cancels, losses; when to come again.
    async fn round(&self) -> Result<Duration, LogError> {
        let inner = &self.inner;
        inner.log.leases.heartbeat(inner.instance, inner.limits.lease).await?;
        // Each time, for servers of models come and go.
        inner.log.leases.advertise_models(inner.instance, &self.models().names()).await?;
        let mut pause = inner.limits.lease / 4;
        for id in inner.log.ownership.cancel_requests(inner.instance).await? {
            if !inner.runs.live.cancel(id) {
                pause = pause.min(SOON);
            }
        }
        let running = inner.runs.live.ids();
        if !running.is_empty() {
            // An instance that was paused for longer than its lease finds out here, even if its
            // models say nothing any more. The fence only stops writers.
            for id in inner.log.ownership.owned_elsewhere(inner.instance, &running).await? {
                if let Some(tail) = inner.runs.live.get(id) {
                    tracing::warn!(generation = %id, "another owner has taken over; this one stops");
                    tail.detach();
                }
            }
        }
        Ok(pause)
    }
}

/// When to fold: what many say soon, what few say a little later, and all of it when it is quiet.
#[derive(Default)]
struct FoldPace {
    /// Events that were appended here and are folded.
    folded: u64,
    /// Events that were appended at the last look.
    seen: u64,
    /// Looks since the last fold.
    looks: u32,
    again: bool,
}

impl FoldPace {
    /// Whether to fold now that so many events were `appended`, and so many generations run.
    fn is_due(&mut self, appended: u64, running: u64) -> bool {
        let waiting = appended.saturating_sub(self.folded);
        let quiet = std::mem::replace(&mut self.seen, appended) == appended;
        self.looks += 1;
        let most = if waiting == 0 { IDLE } else { OVERDUE };
        let many = (OF_EACH * running).clamp(MANY, PLENTY);
        self.again || waiting >= many || (waiting > 0 && quiet) || self.looks >= most
    }

    /// So many events were `folded`, and `appended` are there by now.
    fn folded(&mut self, folded: u64, appended: u64) {
        let own = self.seen.saturating_sub(self.folded)..=appended.saturating_sub(self.folded);
        // A backlog is left, or others have left some; nothing at all says that all is done.
        self.again = folded > 0 && !own.contains(&folded);
        self.folded = if folded == 0 { self.seen } else { appended.min(self.folded + folded) };
        self.looks = 0;
    }

    /// There may be more.
    fn again(&mut self) {
        (self.again, self.looks) = (true, 0);
    }
}

/// How this instance sees the database. After an outage all leases have expired. The first instance
/// to return could take everything from live owners, so nobody takes over for the time of one
/// lease.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sight {
    /// Nothing was amiss for as long as a lease.
    Clear,
    /// It did not answer.
    Lost,
    /// It answers, since then.
    Back(Instant),
}

impl Sight {
    fn after(self, answered: bool, now: Instant) -> Self {
        match (self, answered) {
            (_, false) => Self::Lost,
            (Self::Lost, true) => Self::Back(now),
            (Self::Clear | Self::Back(_), true) => self,
        }
    }

    fn is_clear(self, lease: Duration, now: Instant) -> bool {
        match self {
            Self::Clear => true,
            Self::Lost => false,
            Self::Back(since) => now.duration_since(since) >= lease,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_events_are_folded_together_and_many_at_once() {
        fn looks(pace: &mut FoldPace, mut appended: impl Iterator<Item = u64>) -> usize {
            appended.position(|appended| pace.is_due(appended, 1)).unwrap()
        }
        let mut pace = FoldPace::default();
        assert_eq!(looks(&mut pace, (1..).map(|n| n * 12)), 7, "few, after two seconds");
        pace.folded(96, 96);
        assert_eq!(looks(&mut pace, (1..).map(|n| 96 + n * 12_500)), 0, "many");
        pace.folded(12_510, 12_610);
        assert_eq!(looks(&mut pace, [12_630, 12_630].into_iter()), 1, "when it is quiet");
        pace.folded(24, 12_630);
        assert_eq!(looks(&mut pace, std::iter::repeat(12_630)), 39, "for others");
        pace.folded(500, 12_630);
        assert!(pace.is_due(12_630, 1), "others have left more");
        pace.folded(0, 12_630);
        assert!(!pace.is_due(12_631, 1));
    }

    #[test]
    fn many_generations_are_folded_when_each_has_a_segment() {
        let mut pace = FoldPace::default();
        assert!(!pace.is_due(2048, 100), "twenty of each");
        assert!(pace.is_due(6400, 100), "sixty-four of each");
        pace.folded(6400, 6400);
        assert!(!pace.is_due(70_000, 10_000));
        assert!(pace.is_due(80_000, 10_000), "however many run");
    }

    #[test]
    fn a_backlog_is_folded_until_it_is_gone() {
        let mut pace = FoldPace::default();
        assert!(pace.is_due(100_000, 1));
        pace.folded(60_000, 100_000);
        assert!(pace.is_due(100_000, 1), "a fold takes so many rows at a time");
        pace.folded(40_000, 100_000);
        assert!(!pace.is_due(100_000, 1));
        // Somebody else folded what was appended here.
        assert!(!pace.is_due(100_005, 1) && pace.is_due(100_005, 1));
        pace.folded(0, 100_005);
        assert!(!pace.is_due(100_005, 1));
    }

    #[test]
    fn after_an_outage_nobody_takes_over_for_the_time_of_a_lease() {
        let (lease, start) = (Duration::from_secs(10), Instant::now());
        let clear = |sight: Sight, s: u64| sight.is_clear(lease, start + Duration::from_secs(s));
        assert!(clear(Sight::Clear.after(true, start), 0), "a fresh process need not wait");
        let lost = Sight::Clear.after(false, start);
        assert!(!clear(lost, 1000));
        let back = lost.after(true, start).after(true, start + lease);
        assert!(!clear(back, 9) && clear(back, 10));
        assert!(!clear(back.after(false, start), 10), "a second outage");
    }
}
