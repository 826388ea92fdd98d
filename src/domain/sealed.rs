//! Texts that clients keep for us and cannot read: sealed with a key of the database, for one
//! tenant and one model.
//!
//! The nonce is an HMAC of all that is sealed. The same text of the same place therefore becomes
//! the same bytes, and every instance tells a reader the same frames.
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use time::OffsetDateTime;

use super::id::{GenerationId, Tenant};
use super::key::SigningKey;

/// How sealed content of ours begins.
pub const SEALED: &str = "lastword-s1.";
/// The bytes of a key's number.
const NUMBER: usize = 4;

/// A key, and from when on it seals. `Debug` does not show the key.
#[derive(Clone, Copy, Debug)]
pub struct SealingKey {
    /// Its number, from 1 on.
    pub number: i32,
    /// The key itself; both of the keys that are used are derived from it.
    pub key: SigningKey,
    /// From when on it seals, by the database's clock.
    pub seals_from: OffsetDateTime,
}

/// The keys that are there, oldest first. Cheap to clone.
#[derive(Clone, Default)]
pub struct SealingKeys(Arc<[SealingKey]>);

/// The one that a sealed text is for: for others it does not open.
#[derive(Clone, Debug)]
pub struct SealedFor {
    /// The tenant.
    pub tenant: Tenant,
    /// The model, by the name that clients know.
    pub model: String,
}

/// Why a text does not open. It is one for all reasons: nobody learns which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was not sealed here, or not for this, or too long ago")]
pub struct NotOpened;

impl SealingKeys {
    /// These keys, in any order.
    #[must_use]
    pub fn new(mut keys: Vec<SealingKey>) -> Self {
        keys.sort_by_key(|key| key.number);
        Self(keys.into())
    }

    /// Seals a text that was said in `place` of a generation of that time; `None` without a key.
    #[must_use]
    pub fn seal(
        &self,
        made_for: &SealedFor,
        (generation, at, place): (GenerationId, OffsetDateTime, usize),
        text: &str,
    ) -> Option<String> {
        let key = self.of(at)?;
        let number = u32::try_from(key.number).ok()?.to_be_bytes();
        let bound = made_for.bytes();
        let of_place = [generation.0.as_bytes().as_slice(), &place.to_be_bytes()].concat();
        let nonce = derived(key, &[b"nonce", &bound, &of_place, text.as_bytes()]);
        let nonce: [u8; NONCE_LEN] = nonce.as_ref().get(..NONCE_LEN)?.try_into().ok()?;
        let mut sealed = text.as_bytes().to_vec();
        let cipher = cipher(key)?;
        let once = Nonce::assume_unique_for_key(nonce);
        cipher.seal_in_place_append_tag(once, Aad::from(&bound), &mut sealed).ok()?;
        let bytes = [number.as_slice(), &nonce, &sealed].concat();
        Some(format!("{SEALED}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Opens what [`SealingKeys::seal`] made.
    ///
    /// # Errors
    /// It is not ours, was changed, is for another tenant or model, or its key is no longer there.
    pub fn open(&self, made_for: &SealedFor, sealed: &str) -> Result<String, NotOpened> {
        self.opened(made_for, sealed).ok_or(NotOpened)
    }

    fn opened(&self, made_for: &SealedFor, sealed: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed.strip_prefix(SEALED)?).ok()?;
        let (number, rest) = bytes.split_first_chunk::<NUMBER>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
        let number = i32::try_from(u32::from_be_bytes(*number)).ok()?;
        let key = self.0.iter().find(|key| key.number == number)?;
        let mut text = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let bound = made_for.bytes();
        let text = cipher(key)?.open_in_place(nonce, Aad::from(&bound), &mut text).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }

    /// The key of a time: the newest that sealed then, else the oldest that is left.
    fn of(&self, at: OffsetDateTime) -> Option<&SealingKey> {
        self.0.iter().rev().find(|key| key.seals_from <= at).or(self.0.first())
    }
}

impl SealedFor {
    /// Both names, with the length of the first: no two pairs have the same bytes.
    fn bytes(&self) -> Vec<u8> {
        let tenant = self.tenant.as_str();
        let length = tenant.len().to_be_bytes();
        [SEALED.as_bytes(), &length, tenant.as_bytes(), self.model.as_bytes()].concat()
    }
}

fn cipher(key: &SealingKey) -> Option<LessSafeKey> {
    let key = derived(key, &[b"seal"]);
    UnboundKey::new(&AES_256_GCM, key.as_ref()).ok().map(LessSafeKey::new)
}

/// An HMAC of `parts`, each with its length.
fn derived(key: &SealingKey, parts: &[&[u8]]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.key.0);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    context.sign()
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    const DAY: Duration = Duration::days(1);

    fn key(number: i32, day: i32) -> SealingKey {
        let byte = u8::try_from(number).unwrap();
        let seals_from = OffsetDateTime::UNIX_EPOCH + DAY * day;
        SealingKey { number, key: SigningKey([byte; 32]), seals_from }
    }

    fn whom(tenant: &str, model: &str) -> SealedFor {
        SealedFor { tenant: Tenant::named(tenant.into()), model: model.into() }
    }

    fn sealed(keys: &SealingKeys, day: i32, place: usize) -> String {
        let at = OffsetDateTime::UNIX_EPOCH + DAY * day;
        let generation = GenerationId(uuid::Uuid::from_u128(7));
        keys.seal(&whom("a", "m"), (generation, at, place), "Hm, wéll").unwrap()
    }

    #[test]
    fn it_opens_for_its_tenant_and_model_and_no_other() {
        let keys = SealingKeys::new(vec![key(1, 0)]);
        let sealed = sealed(&keys, 3, 0);
        assert_eq!(keys.open(&whom("a", "m"), &sealed).unwrap(), "Hm, wéll");
        for other in [whom("b", "m"), whom("a", "n"), whom("am", ""), whom("", "am")] {
            assert_eq!(keys.open(&other, &sealed), Err(NotOpened), "{other:?}");
        }
        assert!(!sealed.contains("Hm"));
        assert!(SealingKeys::default().open(&whom("a", "m"), &sealed).is_err());
        let other = SealingKeys::new(vec![SealingKey { key: SigningKey([9; 32]), ..key(1, 0) }]);
        assert!(other.open(&whom("a", "m"), &sealed).is_err(), "the same number, another key");
    }

    #[test]
    fn any_change_of_it_is_seen() {
        let keys = SealingKeys::new(vec![key(1, 0)]);
        let good = sealed(&keys, 3, 0);
        let bytes = URL_SAFE_NO_PAD.decode(good.strip_prefix(SEALED).unwrap()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = format!("{SEALED}{}", URL_SAFE_NO_PAD.encode(&bytes));
            assert!(keys.open(&whom("a", "m"), &changed).is_err(), "bit {bit}");
        }
        for end in 0..good.len() {
            assert!(keys.open(&whom("a", "m"), &good[..end]).is_err(), "{end} bytes of it");
        }
        for odd in ["", "x", "lastword-1.x", "gAAAAABn", SEALED, &format!("{good}A")] {
            assert!(keys.open(&whom("a", "m"), odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn the_newest_key_of_that_time_seals_and_older_ones_still_open() {
        let both = SealingKeys::new(vec![key(2, 10), key(1, 0)]);
        let first = SealingKeys::new(vec![key(1, 0)]);
        let old = sealed(&first, 3, 0);
        assert_eq!(sealed(&both, 3, 0), old, "an instance that has the next key says the same");
        assert_ne!(sealed(&both, 3, 1), old, "another place");
        assert_eq!(both.open(&whom("a", "m"), &old).unwrap(), "Hm, wéll");
        let new = sealed(&both, 10, 0);
        assert!(first.open(&whom("a", "m"), &new).is_err());
        let second = SealingKeys::new(vec![key(2, 10)]);
        assert!(second.open(&whom("a", "m"), &old).is_err(), "its key is gone");
        assert_eq!(sealed(&second, 3, 0).len(), old.len(), "the oldest that is left seals");
    }
}
