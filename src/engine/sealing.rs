//! Keys of what clients keep for us: signatures, and texts that they cannot read.
use std::sync::PoisonError;

use super::Engine;
use crate::domain::key::SigningKey;
use crate::domain::sealed::SealingKeys;

impl Engine {
    /// Signs with `key` from now on; only the first one counts.
    pub fn sign_with(&self, key: SigningKey) {
        self.inner.signing.get_or_init(|| key);
    }

    /// The key of signatures that clients carry back unread.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        self.inner.signing.get().copied().unwrap_or_default()
    }

    /// Seals and opens with `keys` from now on.
    pub fn seal_with(&self, keys: SealingKeys) {
        *self.inner.sealing.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The keys of texts that clients keep for us and cannot read.
    #[must_use]
    pub fn sealing_keys(&self) -> SealingKeys {
        self.inner.sealing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
