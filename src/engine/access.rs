//! Access: keys, sessions and tickets become callers, and are remembered while they are valid.
mod caller;
mod upkeep;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::domain::id::GenerationId;
use crate::domain::key::{Digest, NoRandomness, Secret, SecretKind};
use crate::engine::Engine;
use crate::ports::{Address, Found, Keys, LogError, Signal, Signals, To};
use crate::tasks::Tasks;
pub use caller::{Caller, Ended};

/// Looked up at a time: guesses must not use up the connections that callers with keys need.
const LOOK_UPS: usize = 2;
/// How long a caller waits for its turn.
const TURN: Duration = Duration::from_secs(3);
/// Callers that are remembered, each about 500 bytes: more are looked up anew.
const REMEMBERED: usize = 10_000;
/// How long a browser stays signed in.
pub const SESSION: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a ticket waits for its use.
pub const TICKET: Duration = Duration::from_secs(30);

/// The callers that are let in without a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Nobody.
    Refused,
    /// Callers on this machine: only the loopback is listened on.
    Here,
    /// Everybody: the operator said so.
    Everywhere,
}

/// The door. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Arc<dyn Keys>,
    signals: Arc<dyn Signals>,
    anonymous: Anonymous,
    /// The caller without a credential; one for all.
    nobody: Caller,
    known: Mutex<HashMap<Digest, Caller>>,
    /// Whether there is a key at all, as it was at the last look; `None` before the first.
    any: Mutex<Option<bool>>,
    turns: Semaphore,
}

/// Why a caller does not come in.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// It brought nothing.
    #[error("a key is needed: send it as `Authorization: Bearer lw_…`")]
    Missing,
    /// The credential is not known here.
    #[error("this key is not known here")]
    Invalid,
    /// Its time is over.
    #[error("this key has expired")]
    Expired,
    /// It was ended.
    #[error("this key was revoked")]
    Revoked,
    /// Its key has made as many requests as it may; how long to wait.
    #[error("too many requests of this key")]
    TooMany(Duration),
    /// Too many are looked up.
    #[error("too many keys are looked up at once")]
    Busy,
    /// There is no randomness for a session or a ticket.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Whether it is known cannot be found out.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<Ended> for Denied {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Expired => Self::Expired,
            Ended::Revoked => Self::Revoked,
        }
    }
}

impl Access {
    /// A door whose keys are in `keys`; `signals` tell when one changes.
    #[must_use]
    pub fn new(keys: Arc<dyn Keys>, signals: Arc<dyn Signals>, anonymous: Anonymous) -> Self {
        let inner = Inner {
            keys,
            signals,
            anonymous,
            nobody: Caller::anonymous(),
            known: Mutex::default(),
            any: Mutex::new(None),
            turns: Semaphore::new(LOOK_UPS),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Looks after those who are in, for as long as the process lives.
    /// `engine` learns of new sealing keys.
    pub fn keep_up(&self, tasks: &Tasks, engine: &Engine) {
        let all = (self.clone(), engine.clone());
        tasks.spawn_service(upkeep::keep_up(all, tasks.hard().clone()));
    }

    /// The callers that are let in without a credential.
    #[must_use]
    pub fn anonymous(&self) -> Anonymous {
        self.inner.anonymous
    }

    /// The caller without a credential.
    ///
    /// # Errors
    /// There must be one.
    pub fn without(&self) -> Result<Caller, Denied> {
        match self.inner.anonymous {
            Anonymous::Refused => Err(Denied::Missing),
            Anonymous::Here | Anonymous::Everywhere => Ok(self.inner.nobody.clone()),
        }
    }

    /// The caller that brings `key`.
    ///
    /// Some clients cannot do without a key and send a placeholder such as `unused`. It counts as
    /// no key where nobody needs one and none was ever made.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn with_key(&self, key: &str) -> Result<Caller, Denied> {
        match Secret::parse(key) {
            Some(secret) => self.with(&secret, SecretKind::Key).await,
            None if self.any().await? => Err(Denied::Invalid),
            None => self.without().map_err(|_| Denied::Invalid),
        }
    }

    /// Learns whether there is a key at all, before anybody asks to come in.
    ///
    /// # Errors
    /// The keys cannot be read.
    pub async fn learn(&self) -> Result<(), LogError> {
        let any = self.inner.keys.any().await?;
        self.note_any(any);
        Ok(())
    }

    /// Whether there is a key at all. Nobody is refused because that is not known yet.
    async fn any(&self) -> Result<bool, Denied> {
        let known = *self.inner.any.lock();
        if let Some(any) = known {
            return Ok(any);
        }
        let any = self.in_turn(async { self.inner.keys.any().await }).await?;
        self.note_any(any);
        Ok(any)
    }

    fn note_any(&self, any: bool) {
        *self.inner.any.lock() = Some(any);
    }

    /// The caller whose browser signed in.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn with_session(&self, session: &str) -> Result<Caller, Denied> {
        let secret = Secret::parse(session).ok_or(Denied::Invalid)?;
        self.with(&secret, SecretKind::Session).await
    }

    /// The caller that asked for this ticket. One of a generation counts as often as it comes where
    /// that one is `read`; any other is used up.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn with_ticket(
        &self,
        ticket: &str,
        read: Option<GenerationId>,
    ) -> Result<Caller, Denied> {
        let secret = Secret::parse(ticket).filter(|s| s.kind() == SecretKind::Ticket);
        let secret = secret.ok_or(Denied::Invalid)?;
        let keys = &self.inner.keys;
        let behind = async {
            if let Some(generation) = read
                && let Some(behind) = keys.behind(secret.digest(), generation).await?
            {
                return Ok(Some(behind));
            }
            keys.redeem(secret.digest()).await
        };
        match self.in_turn(behind).await?.ok_or(Denied::Invalid)? {
            Some(credential) => self.known(credential).await,
            None => self.without(),
        }
    }

    /// Begins a session for a browser that has a key.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn sign_in(&self, key: &str) -> Result<(Secret, Caller), Denied> {
        let secret = Secret::parse(key).ok_or(Denied::Invalid)?;
        let caller = self.with(&secret, SecretKind::Key).await?;
        let id = caller.key().ok_or(Denied::Invalid)?;
        // Its route is open to all, and each session is a row.
        caller.count().map_err(Denied::TooMany)?;
        let session = Secret::random(SecretKind::Session)?;
        self.inner.keys.sign_in(session.digest(), id, SESSION).await?;
        Ok((session, caller))
    }

    /// Ends a session, and with it the streams that it opened.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn sign_out(&self, session: &str) -> Result<(), LogError> {
        let Some(secret) = Secret::parse(session) else { return Ok(()) };
        self.inner.keys.sign_out(secret.digest()).await?;
        if let Some(caller) = self.remembered().remove(&secret.digest()) {
            caller.end(Ended::Revoked);
        }
        self.inner.signals.send(To::All, Signal::KeyChanged);
        Ok(())
    }

    /// A ticket that `caller` can hand to a connection, once.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn ticket(&self, caller: &Caller) -> Result<Secret, Denied> {
        let ticket = Secret::random(SecretKind::Ticket)?;
        self.inner.keys.issue(ticket.digest(), caller.credential(), TICKET).await?;
        Ok(ticket)
    }

    /// A ticket that reads one generation for as long as `caller` may come in; `None` if there is
    /// no such generation.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn ticket_for(
        &self,
        caller: &Caller,
        at: &Address,
    ) -> Result<Option<Secret>, Denied> {
        let ticket = Secret::random(SecretKind::Ticket)?;
        let issued = self.inner.keys.issue_for(ticket.digest(), caller.credential(), at).await?;
        Ok(issued.then_some(ticket))
    }

    async fn with(&self, secret: &Secret, kind: SecretKind) -> Result<Caller, Denied> {
        if secret.kind() != kind {
            return Err(Denied::Invalid);
        }
        self.known(secret.digest()).await
    }

    async fn known(&self, credential: Digest) -> Result<Caller, Denied> {
        if let Some(caller) = self.remembered().get(&credential) {
            return caller.check().map(|()| caller.clone()).map_err(Denied::from);
        }
        let found = self.in_turn(async { self.inner.keys.look_up(&[credential]).await }).await?;
        self.remember(found.into_iter().next().ok_or(Denied::Invalid)?)
    }

    /// Two that come at once with the same credential become one caller.
    fn remember(&self, found: Found) -> Result<Caller, Denied> {
        let mut known = self.remembered();
        if let Some(caller) = known.get(&found.credential) {
            return caller.check().map(|()| caller.clone()).map_err(Denied::from);
        }
        let credential = found.credential;
        let sibling = known.values().find(|caller| caller.key() == Some(found.key.id));
        let caller = Caller::found(found, sibling)?;
        if known.len() >= REMEMBERED {
            known.retain(|_, caller| caller.is_elsewhere());
        }
        if known.len() >= REMEMBERED {
            return Err(Denied::Busy);
        }
        known.insert(credential, caller.clone());
        Ok(caller)
    }

    async fn in_turn<T>(
        &self,
        work: impl Future<Output = Result<T, LogError>>,
    ) -> Result<T, Denied> {
        let turn = timeout(TURN, self.inner.turns.acquire()).await;
        let _turn = turn.map_err(|_| Denied::Busy)?.map_err(|_| Denied::Busy)?;
        Ok(work.await?)
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<Digest, Caller>> {
        self.inner.known.lock()
    }
}
