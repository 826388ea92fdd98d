//! Read-only links: a secret that is shown once and kept as a hash.
use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Random bytes of a token: nobody guesses one.
const BYTES: usize = 20;

/// The secret of a link.
#[derive(Clone, PartialEq, Eq)]
pub struct ShareToken(String);

/// This machine has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("no random numbers")]
pub struct NoRandomness;

impl ShareToken {
    /// A new one, of 160 random bits.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
        let mut token = String::from("lws_");
        for byte in bytes {
            // Cannot fail: it is a string.
            let _ = write!(token, "{byte:02x}");
        }
        Ok(Self(token))
    }

    /// The one that somebody shows; whether it is known is for the store to say.
    #[must_use]
    pub fn shown(text: &str) -> Self {
        Self(text.into())
    }

    /// As it goes into the link.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is stored.
    #[must_use]
    pub fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.0.as_bytes()).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_new() {
        let (a, b) = (ShareToken::random().unwrap(), ShareToken::random().unwrap());
        assert_eq!(a.as_str().len(), 4 + 2 * BYTES);
        assert_ne!(a.as_str(), b.as_str());
        assert_eq!(ShareToken::shown(a.as_str()).hash(), a.hash());
    }
}
