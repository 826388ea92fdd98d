//! Permissions: keys, the secrets derived from them, and their limits.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr, VariantNames};
use subtle::ConstantTimeEq;

use super::id::{KeyId, Tenant};
use super::nearest;

/// The kind of access that a secret opens. Each has a beginning of its own, so that none passes for
/// another, and so that scanners for leaked secrets know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// An API key, `lw_…`.
    Key,
    /// A browser's session, `lws_…`.
    Session,
    /// A ticket for one connection or one generation, `lwt_…`.
    Ticket,
}

impl SecretKind {
    const ALL: [Self; 3] = [Self::Key, Self::Session, Self::Ticket];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Key => "lw_",
            Self::Session => "lws_",
            Self::Ticket => "lwt_",
        }
    }
}

/// 256 random bits that somebody holds. `Debug` does not show them.
#[derive(Clone)]
pub struct Secret {
    kind: SecretKind,
    text: String,
}

/// The system has no randomness, so no secret can be made.
#[derive(Debug, thiserror::Error)]
#[error("this system gives no random numbers")]
pub struct NoRandomness;

/// Letters and digits only: a double click selects all of it, and no shell minds it.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 43 letters of 62 hold 256 bits.
const LETTERS: usize = 43;

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn random(kind: SecretKind) -> Result<Self, NoRandomness> {
        let mut text = String::from(kind.prefix());
        while text.len() < kind.prefix().len() + LETTERS {
            let mut bytes = [0; LETTERS];
            getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
            // 248 is the last multiple of 62 in a byte: above it some letters were likelier.
            let fair = bytes.iter().filter(|byte| **byte < 248).map(|byte| usize::from(*byte) % 62);
            let room = kind.prefix().len() + LETTERS - text.len();
            text.extend(fair.take(room).filter_map(|n| ALPHABET.get(n)).map(|c| char::from(*c)));
        }
        Ok(Self { kind, text })
    }

    /// The secret in a text, if it looks like one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kind = SecretKind::ALL.into_iter().find(|kind| {
            text.strip_prefix(kind.prefix()).is_some_and(|rest| {
                rest.len() == LETTERS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
        })?;
        Some(Self { kind, text: text.to_owned() })
    }

    /// Whether a key or a session stands anywhere in `text`; a ticket may, it opens little.
    #[must_use]
    pub fn lasts_in(text: &str) -> bool {
        let lasting = [SecretKind::Key, SecretKind::Session];
        lasting
            .iter()
            .flat_map(|kind| text.split(kind.prefix()).skip(1))
            .any(|rest| rest.bytes().take_while(u8::is_ascii_alphanumeric).count() >= LETTERS)
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> SecretKind {
        self.kind
    }

    /// The stored form.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.text.as_bytes()).into())
    }

    /// How it begins: enough to find it again, far too little to guess the rest.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.text.get(..self.kind.prefix().len() + 5).unwrap_or_default()
    }

    /// The text itself, for whom it is made.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.kind.prefix())
    }
}

/// The key of signatures that clients carry back unread. `Debug` does not show it; the default is
/// of an engine without a database, whose signatures are checksums.
#[derive(Clone, Copy, Default)]
pub struct SigningKey(pub [u8; 32]);

impl SigningKey {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut key = Self::default();
        getrandom::fill(&mut key.0).map_err(|_| NoRandomness)?;
        Ok(key)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// SHA-256 of a secret. Compared in a time that does not depend on where two differ.
#[derive(Clone, Copy, Debug, Eq)]
pub struct Digest(pub [u8; 32]);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// A permission of a key.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumIter, IntoStaticStr, VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Look at what the tenant has: every GET.
    Read,
    /// Start, change, cancel, erase: every other method.
    Write,
    /// The server's figures, which are of all tenants.
    Metrics,
    /// See and stop what all tenants run; never what it says.
    Admin,
}

impl Scope {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::iter().find(|scope| scope.as_str() == text).ok_or_else(|| {
            let names = Self::VARIANTS;
            UnknownScope(format!("one of {}.{}", names.join(", "), nearest::hint(text, names)))
        })
    }
}

/// Not the name of a scope.
#[derive(Debug, thiserror::Error)]
#[error("a scope is {0}")]
pub struct UnknownScope(String);

/// The limits of a key; `None` is the server's own limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyLimits {
    /// Requests a minute, at each instance.
    pub requests_per_minute: Option<u32>,
    /// Generations that wait or run, on all instances together.
    pub concurrent_generations: Option<u32>,
    /// A prompt's text, in bytes.
    pub prompt_bytes: Option<u32>,
    /// An answer, in tokens.
    pub output_tokens: Option<u32>,
    /// A generation's time, in seconds.
    pub wall_s: Option<u32>,
    /// How long an answer goes on without a reader, in seconds.
    pub disconnect_grace_s: Option<u32>,
    /// Whether the same request takes the answer over also where the client had closed by itself.
    pub attach_after_close: Option<bool>,
}

/// A key without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// The owner's name for it.
    pub name: String,
    /// The tenant that it opens.
    pub tenant: Tenant,
    /// Its permissions.
    pub scopes: Vec<Scope>,
    /// Its limits.
    pub limits: KeyLimits,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_secret_is_ours_and_never_the_same() {
        for kind in SecretKind::ALL {
            let made: HashSet<String> =
                (0..1000).map(|_| Secret::random(kind).unwrap().text).collect();
            assert_eq!(made.len(), 1000);
            for text in made {
                assert_eq!(text.len(), kind.prefix().len() + LETTERS);
                let parsed = Secret::parse(&text).unwrap();
                assert_eq!(parsed.kind(), kind);
                assert!(!format!("{parsed:?}").contains(&text[4..]));
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_not_looked_up() {
        let good = format!("lw_{}", "a".repeat(LETTERS));
        assert!(Secret::parse(&good).is_some());
        for bad in [
            "",
            "lw_",
            "sk-123",
            "unused",
            &good[1..],
            &good[..45],
            &format!("{good}a"),
            &good.replace('a', "é"),
            &good.replace("lw_", "lwx_"),
            &format!(" {good}"),
        ] {
            assert!(Secret::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_is_the_sha_256_of_the_text() {
        let secret = Secret::parse(&format!("lw_{}", "a".repeat(LETTERS))).unwrap();
        let whole: [u8; 32] = Sha256::digest(secret.reveal()).into();
        assert_eq!(secret.digest(), Digest(whole));
        assert_ne!(secret.digest(), Digest([0; 32]));
        assert_eq!(secret.hint(), "lw_aaaaa");
    }

    #[test]
    fn a_scope_has_a_name() {
        assert_eq!("read".parse::<Scope>().unwrap(), Scope::Read);
        let error = "wrte".parse::<Scope>().unwrap_err().to_string();
        assert!(error.contains("Did you mean `write`?"), "{error}");
    }
}
