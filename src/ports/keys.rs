//! Where keys are kept, and what is derived from them.
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{Address, LogError};
use crate::domain::id::{GenerationId, KeyId};
use crate::domain::key::{Digest, Key, SecretKind, SigningKey};
use crate::domain::sealed::SealingKeys;

/// The keys of one database, and their sessions and tickets. It knows hashes only.
#[async_trait]
pub trait Keys: Send + Sync + 'static {
    /// Stores a new key; its id and its digest must be new.
    async fn create(&self, new: &NewKey) -> Result<(), LogError>;

    /// Every key, oldest first, revoked ones too.
    async fn list(&self) -> Result<Vec<KeyRow>, LogError>;

    /// Ends a key; `false` if there is none of that id that is not yet revoked.
    async fn revoke(&self, id: KeyId) -> Result<bool, LogError>;

    /// The signing key of all instances: `new` where there is none yet.
    async fn signing_key(&self, new: SigningKey) -> Result<SigningKey, LogError>;

    /// The sealing keys of all instances. `new` becomes the next one where one is due, and keys
    /// that no longer open anything are dropped.
    async fn sealing_keys(&self, new: SigningKey) -> Result<SealingKeys, LogError>;

    /// Whether there is a key that opens anything.
    async fn any(&self) -> Result<bool, LogError>;

    /// Those of these credentials that are known: keys and sessions, ended ones too.
    async fn look_up(&self, credentials: &[Digest]) -> Result<Vec<Found>, LogError>;

    /// Notes that these keys were used just now.
    async fn used(&self, keys: &[KeyId]) -> Result<(), LogError>;

    /// Begins a session of `key` that ends after `lasts`.
    async fn sign_in(&self, session: Digest, key: KeyId, lasts: Duration) -> Result<(), LogError>;

    /// Ends a session, if there is one.
    async fn sign_out(&self, session: Digest) -> Result<(), LogError>;

    /// Stores a ticket for `credential`, the hash of a key or of a session; `None` for a caller
    /// without one.
    async fn issue(
        &self,
        ticket: Digest,
        credential: Option<Digest>,
        lasts: Duration,
    ) -> Result<(), LogError>;

    /// Takes a ticket: the second try finds none. The credential that it stands for.
    async fn redeem(&self, ticket: Digest) -> Result<Option<Option<Digest>>, LogError>;

    /// Stores a ticket that reads one generation for as long as `credential` is good; `false` if
    /// there is no such generation.
    async fn issue_for(
        &self,
        ticket: Digest,
        credential: Option<Digest>,
        at: &Address,
    ) -> Result<bool, LogError>;

    /// The credential that a ticket of [`Keys::issue_for`] stands for, if it is of this generation.
    async fn behind(
        &self,
        ticket: Digest,
        generation: GenerationId,
    ) -> Result<Option<Option<Digest>>, LogError>;

    /// Drops sessions and tickets whose time is over.
    async fn sweep(&self) -> Result<(), LogError>;
}

/// A key to be stored.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The key itself.
    pub key: Key,
    /// The hash of its secret.
    pub digest: Digest,
    /// How its secret begins.
    pub hint: String,
    /// How long it is good; `None` for ever.
    pub lasts: Option<Duration>,
}

/// A key as it is listed.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// The key itself.
    pub key: Key,
    /// How its secret begins.
    pub hint: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it ends by itself.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was ended.
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, to a minute or so.
    pub last_used_at: Option<OffsetDateTime>,
}

/// A credential that is known.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its hash.
    pub credential: Digest,
    /// A key or a session.
    pub kind: SecretKind,
    /// The key that it is, or that it stands for.
    pub key: Key,
    /// Whether the key was ended.
    pub revoked: bool,
    /// How long it is still good, by the database's clock: zero when it no longer is, `None` for
    /// ever.
    pub left: Option<Duration>,
}
