//! Keys of what clients keep for us: signatures, and texts that they cannot read.
use std::sync::OnceLock;

use parking_lot::RwLock;

use crate::domain::key::SigningKey;
use crate::domain::sealed::SealingKeys;

/// The keys of this deployment; all of its instances have the same.
#[derive(Default)]
pub struct Secrets {
    signing: OnceLock<SigningKey>,
    /// Replaced as a whole when one is added or dropped.
    sealing: RwLock<SealingKeys>,
}

impl Secrets {
    /// Signs with `key` from now on; only the first one counts.
    pub fn sign_with(&self, key: SigningKey) {
        self.signing.get_or_init(|| key);
    }

    /// The key of signatures that clients carry back unread.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        self.signing.get().copied().unwrap_or_default()
    }

    /// Seals and opens with `keys` from now on.
    pub fn seal_with(&self, keys: SealingKeys) {
        *self.sealing.write() = keys;
    }

    /// The keys of texts that clients keep for us and cannot read.
    #[must_use]
    pub fn sealing_keys(&self) -> SealingKeys {
        self.sealing.read().clone()
    }
}
