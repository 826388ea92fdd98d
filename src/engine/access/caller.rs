//! One who is in, until its key ends.
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use strum::IntoEnumIterator as _;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::domain::id::{KeyId, Tenant};
use crate::domain::key::{Digest, Key, KeyLimits, Scope};
use crate::ports::Found;

/// Why a credential opens nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its time is over.
    Expired,
    /// It was revoked, or signed out.
    Revoked,
}

/// Counts the requests of a key.
type Rate = Arc<DefaultDirectRateLimiter>;

/// The client behind a request. Cheap to clone; all clones end together.
#[derive(Clone, Debug)]
pub struct Caller {
    grant: Arc<Grant>,
}

#[derive(Debug)]
struct Grant {
    tenant: Tenant,
    /// `None` for the caller without a credential, who may do everything but what is for
    /// operators.
    key: Option<Key>,
    credential: Option<Digest>,
    until: Option<Instant>,
    /// One for all credentials of a key.
    rate: Option<Rate>,
    over: CancellationToken,
    ended: AtomicU8,
    /// Whether it was used since the upkeep last asked.
    used: AtomicBool,
}

impl Grant {
    /// Of one who is in for as long as its key, without a limit a minute.
    fn of(tenant: Tenant, key: Option<Key>) -> Self {
        Self {
            tenant,
            key,
            credential: None,
            until: None,
            rate: None,
            over: CancellationToken::new(),
            ended: AtomicU8::new(0),
            used: AtomicBool::new(true),
        }
    }
}

fn rate(key: &Key) -> Option<Rate> {
    let a_minute = NonZeroU32::new(key.limits.requests_per_minute?)?;
    Some(Arc::new(RateLimiter::direct(Quota::per_minute(a_minute))))
}

const REVOKED: u8 = 1;
const EXPIRED: u8 = 2;

impl Caller {
    /// The caller without a credential.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::keyless(Tenant::anonymous())
    }

    /// A caller of `tenant` that no key bounds.
    #[must_use]
    pub fn keyless(tenant: Tenant) -> Self {
        Self::new(Grant::of(tenant, None))
    }

    /// The caller of a credential that was just looked up. `sibling` came with another credential
    /// of the same key: a key that signs in often has not more requests.
    pub(super) fn found(found: Found, sibling: Option<&Self>) -> Result<Self, Ended> {
        if found.revoked {
            return Err(Ended::Revoked);
        }
        if found.left == Some(Duration::ZERO) {
            return Err(Ended::Expired);
        }
        let until = found.left.and_then(|left| Instant::now().checked_add(left));
        let tenant = found.key.tenant.clone();
        let rate = match sibling {
            Some(sibling) => sibling.grant.rate.clone(),
            None => rate(&found.key),
        };
        let credential = Some(found.credential);
        Ok(Self::new(Grant { rate, until, credential, ..Grant::of(tenant, Some(found.key)) }))
    }

    fn new(grant: Grant) -> Self {
        Self { grant: Arc::new(grant) }
    }

    /// The tenant whose data it sees.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.grant.tenant
    }

    /// The key that it came with, or that its session or ticket stands for.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        self.grant.key.as_ref().map(|key| key.id)
    }

    /// The owner's name for the key.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.grant.key.as_ref().map(|key| key.name.as_str())
    }

    /// Whether it may do what needs `scope`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.grant.key.as_ref().is_none_or(|key| key.scopes.contains(&scope))
    }

    /// The scopes that it has.
    #[must_use]
    pub fn scopes(&self) -> Vec<Scope> {
        Scope::iter().filter(|scope| self.may(*scope)).collect()
    }

    /// The limits that it has.
    #[must_use]
    pub fn limits(&self) -> KeyLimits {
        self.grant.key.as_ref().map(|key| key.limits).unwrap_or_default()
    }

    /// How long its credential is still good; `None` for ever.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.grant.until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Counts a request against its limit a minute.
    ///
    /// # Errors
    /// There were too many; how long to wait.
    pub fn count(&self) -> Result<(), Duration> {
        let Some(rate) = &self.grant.rate else { return Ok(()) };
        rate.check().map_err(|not_yet| not_yet.wait_time_from(DefaultClock::default().now()))
    }

    /// Whether its credential has ended. Cheap: asked with every event of a stream.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.grant.ended.load(Ordering::Relaxed) != 0
    }

    /// Why its credential has ended; `None` while it has not.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        match self.grant.ended.load(Ordering::Relaxed) {
            0 => None,
            EXPIRED => Some(Ended::Expired),
            _ => Some(Ended::Revoked),
        }
    }

    /// Ends when its credential does, at most 5 s later.
    pub fn over(&self) -> WaitForCancellationFutureOwned {
        self.grant.over.clone().cancelled_owned()
    }

    /// Whether it may still come in.
    pub(super) fn check(&self) -> Result<(), Ended> {
        self.grant.used.store(true, Ordering::Relaxed);
        if let Some(why) = self.ended() {
            return Err(why);
        }
        if self.grant.until.is_some_and(|until| until <= Instant::now()) {
            self.end(Ended::Expired);
            return Err(Ended::Expired);
        }
        Ok(())
    }

    /// From now on it opens nothing, and what it opened ends.
    pub(super) fn end(&self, why: Ended) {
        let why = match why {
            Ended::Revoked => REVOKED,
            Ended::Expired => EXPIRED,
        };
        self.grant.ended.store(why, Ordering::Relaxed);
        self.grant.over.cancel();
    }

    pub(super) fn credential(&self) -> Option<Digest> {
        self.grant.credential
    }

    /// Whether a request, a stream or a socket of it is open.
    pub(super) fn is_elsewhere(&self) -> bool {
        Arc::strong_count(&self.grant) > 1
    }

    /// Whether it was used since this was last asked.
    pub(super) fn was_used(&self) -> bool {
        self.grant.used.swap(false, Ordering::Relaxed)
    }
}
