//! The mistakes that a durable log invites, kept alive: tests that use them must fail.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lastword::domain::entry::Entry;
use lastword::domain::id::{Epoch, GenerationId, InstanceId, Seq};
use lastword::ports::{
    Address, Append, Claim, Claimed, EventPage, Events, Log, LogError, LogWriter, Orphan, Orphans,
    Ownership, Tail,
};
use sqlx::{Connection, PgConnection};

/// Which mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// None: the real writer.
    None,
    /// Every writer appends at the end.
    NoFence,
    /// An append whose outcome is unknown is simply made again, at the end.
    BlindRetry,
    /// A take-over closes no lane, and looks at the log as it was before it began.
    OldSnapshot,
}

/// The real log with parts that make a mistake.
pub(crate) struct WrongLog {
    pub(crate) log: Log,
    pub(crate) late: Late,
    pub(crate) reads: Arc<Reads>,
    pub(crate) weights: Arc<Weights>,
}

/// Orphans that are found once more, whatever has become of them.
type Late = Arc<Mutex<Option<Vec<Orphan>>>>;

/// Reads by one reader, and reads for many.
#[derive(Default)]
pub(crate) struct Reads {
    pub(crate) one: AtomicUsize,
    pub(crate) many: AtomicUsize,
}

struct WrongEvents {
    real: Arc<dyn Events>,
    mistake: Mistake,
    reads: Arc<Reads>,
}

struct WrongOwnership {
    real: Arc<dyn Ownership>,
    mistake: Mistake,
    url: String,
    late: Late,
    weights: Arc<Weights>,
}

/// The stored size of each orphan, as it is told if it is not zero, and how many are taken over at
/// a time.
#[derive(Default)]
pub(crate) struct Weights {
    pub(crate) told: AtomicU64,
    now: AtomicUsize,
    pub(crate) most: AtomicUsize,
}

struct WrongWriter {
    real: Box<dyn LogWriter>,
    mistake: Mistake,
}

impl WrongWriter {
    /// The same events behind whatever the log has now.
    async fn at_the_end(&mut self, batch: &[&Append]) -> Result<Vec<Append>, LogError> {
        let mut moved: Vec<Append> = batch.iter().copied().cloned().collect();
        for append in &mut moved {
            let tails = self.real.tails(&[append.at.id]).await?;
            let mut seq = tails[0].seq;
            // The owner of the moment.
            append.epoch = tails[0].epoch;
            for entry in &mut append.entries {
                seq = seq.next();
                *entry = Entry::encode(seq, &entry.decode().unwrap()).by(append.epoch);
            }
        }
        Ok(moved)
    }
}

#[async_trait]
impl LogWriter for WrongWriter {
    async fn append(&mut self, batch: &[&Append]) -> Result<(), LogError> {
        match self.mistake {
            Mistake::None | Mistake::OldSnapshot => self.real.append(batch).await,
            Mistake::NoFence => {
                let moved = self.at_the_end(batch).await?;
                self.real.append(&moved.iter().collect::<Vec<_>>()).await
            }
            Mistake::BlindRetry => match self.real.append(batch).await {
                Err(LogError::Unavailable(_)) => {
                    let moved = self.at_the_end(batch).await?;
                    self.real.append(&moved.iter().collect::<Vec<_>>()).await
                }
                other => other,
            },
        }
    }

    async fn tails(&mut self, ids: &[GenerationId]) -> Result<Vec<Tail>, LogError> {
        let mut tails = self.real.tails(ids).await?;
        if self.mistake == Mistake::NoFence {
            // Nobody looks whose turn it is.
            for tail in &mut tails {
                tail.epoch = Epoch::FIRST;
            }
        }
        Ok(tails)
    }
}

impl WrongOwnership {
    /// The first entry goes in where the claim was made for, whatever is there by now.
    async fn take_over_blindly(&self, claim: &Claim) -> Claimed {
        let Claim { owner, from, append } = claim;
        let entry = &append.entries[0];
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        sqlx::query(
            "insert into segments (generation_id, seq, last, epoch, at, lines) \
             values ($1, $2, $2, $3, clock_timestamp(), $4)",
        )
        .bind(append.at.id.0)
        .bind(i64::try_from(entry.seq.0).unwrap())
        .bind(append.epoch.0)
        .bind(format!("0 {} {}", entry.name(), entry.data()))
        .execute(&mut *transaction)
        .await
        .unwrap();
        let sql = "update generations set owner = $2, epoch = $3 where id = $1 and epoch = $4";
        sqlx::query(sql)
            .bind(append.at.id.0)
            .bind(owner.0)
            .bind(append.epoch.0)
            .bind(from.1.0)
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        Claimed::Ours { cancel_requested: false }
    }
}

#[async_trait]
impl Events for WrongEvents {
    fn writer(&self, owner: InstanceId) -> Box<dyn LogWriter> {
        Box::new(WrongWriter { real: self.real.writer(owner), mistake: self.mistake })
    }
    async fn read(&self, at: &Address, after: Seq, limit: u32) -> Result<Vec<Entry>, LogError> {
        self.reads.one.fetch_add(1, Ordering::Relaxed);
        self.real.read(at, after, limit).await
    }
    async fn read_many(
        &self,
        wanted: &[(Address, Seq)],
        limit: u32,
    ) -> Result<HashMap<GenerationId, EventPage>, LogError> {
        self.reads.many.fetch_add(1, Ordering::Relaxed);
        self.real.read_many(wanted, limit).await
    }
}

#[async_trait]
impl Ownership for WrongOwnership {
    async fn orphans(
        &self,
        which: &Orphans,
        limit: u32,
    ) -> Result<Vec<(GenerationId, Epoch)>, LogError> {
        if let Some(late) = &*self.late.lock().unwrap() {
            return Ok(late.iter().map(|orphan| (orphan.row.id, orphan.row.epoch)).collect());
        }
        self.real.orphans(which, limit).await
    }
    async fn stored_bytes(
        &self,
        generations: &[GenerationId],
    ) -> Result<HashMap<GenerationId, u64>, LogError> {
        let told = self.weights.told.load(Ordering::SeqCst);
        if told > 0 {
            return Ok(generations.iter().map(|id| (*id, told)).collect());
        }
        self.real.stored_bytes(generations).await
    }
    async fn orphan(&self, listed: (GenerationId, Epoch)) -> Result<Option<Orphan>, LogError> {
        if let Some(late) = self.late.lock().unwrap().take() {
            return Ok(late.into_iter().find(|orphan| orphan.row.id == listed.0));
        }
        // Claims that nobody listed count, too.
        let now = self.weights.now.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        self.weights.most.fetch_max(now, Ordering::SeqCst);
        self.real.orphan(listed).await
    }
    async fn take_over(&self, claim: &Claim) -> Result<Claimed, LogError> {
        if self.mistake == Mistake::OldSnapshot {
            return Ok(self.take_over_blindly(claim).await);
        }
        let claimed = self.real.take_over(claim).await;
        self.weights.now.fetch_sub(1, Ordering::SeqCst);
        claimed
    }
    async fn give_up(&self, at: &Address, owner: InstanceId, epoch: Epoch) -> Result<(), LogError> {
        self.real.give_up(at, owner, epoch).await
    }
    async fn owned_elsewhere(
        &self,
        owner: InstanceId,
        running: &[GenerationId],
    ) -> Result<Vec<GenerationId>, LogError> {
        self.real.owned_elsewhere(owner, running).await
    }
    async fn cancel_requests(&self, owner: InstanceId) -> Result<Vec<GenerationId>, LogError> {
        self.real.cancel_requests(owner).await
    }
    async fn renew_readers(
        &self,
        which: &[Address],
        lasting: Duration,
    ) -> Result<HashMap<GenerationId, InstanceId>, LogError> {
        self.real.renew_readers(which, lasting).await
    }
    async fn unread_elsewhere(&self, at: &Address) -> Result<Option<Duration>, LogError> {
        self.real.unread_elsewhere(at).await
    }
}

/// The log at `url` with that mistake.
pub(crate) async fn wrong_log(url: &str, mistake: Mistake) -> Log {
    watched_log(url, mistake).await.log
}

/// The same, and what a test may want to know or change of it.
pub(crate) async fn watched_log(url: &str, mistake: Mistake) -> WrongLog {
    let durability = lastword::store::Durability::Required;
    let real = lastword::store::connect(url.parse().unwrap(), durability).await.unwrap().log();
    let (late, reads) = (Late::default(), Arc::<Reads>::default());
    let events = WrongEvents { real: real.events.clone(), mistake, reads: reads.clone() };
    let (url, ownership) = (url.to_owned(), real.ownership.clone());
    let weights = Arc::<Weights>::default();
    let ownership = WrongOwnership {
        real: ownership,
        mistake,
        url,
        late: late.clone(),
        weights: weights.clone(),
    };
    let log = Log { events: Arc::new(events), ownership: Arc::new(ownership), ..real };
    WrongLog { log, late, reads, weights }
}
