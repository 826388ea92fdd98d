//! Read-only links: a secret that is shown once and kept as a hash.
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::id::MessageId;

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

/// The end of the branch that a link with later turns shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchEnd {
    /// The last message, or the answer that is being made behind it.
    pub id: MessageId,
    /// How many messages below the one that the link was made at.
    pub depth: u32,
    /// Whether it is an answer that is being made.
    pub answering: bool,
}

impl BranchEnd {
    /// The name of this end for bearers of the link, who are told no ids: 32 hexadecimal digits.
    /// `growing` is whether its bearer reads the answer as it comes, or has all of the end.
    #[must_use]
    pub fn name(&self, token_hash: &[u8], growing: bool) -> String {
        let hash = Sha256::new()
            .chain_update(token_hash)
            .chain_update(self.id.0.as_bytes())
            .chain_update(self.depth.to_be_bytes())
            .chain_update([u8::from(growing)])
            .finalize();
        hash.iter().take(16).fold(String::new(), |mut name, byte| {
            // Cannot fail: it is a string.
            let _ = write!(name, "{byte:02x}");
            name
        })
    }

    /// Whether both are the same end, grown or not.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (self.id, self.depth) == (other.id, other.depth)
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

    #[test]
    fn an_end_is_named_for_one_link_and_without_its_id() {
        let end = BranchEnd { id: MessageId::random(), depth: 2, answering: true };
        let name = end.name(b"one", true);
        assert_eq!(name.len(), 32);
        assert!(!name.contains(&end.id.0.simple().to_string()[..8]));
        let whole = BranchEnd { answering: false, ..end };
        assert_eq!(whole.name(b"one", true), name, "the answer under its name, once it is whole");
        assert!(whole.is(&end));
        let others = [
            end.name(b"one", false),
            end.name(b"two", true),
            BranchEnd { depth: 1, ..end }.name(b"one", true),
            BranchEnd { id: MessageId::random(), ..end }.name(b"one", true),
        ];
        assert!(others.iter().all(|other| *other != name));
    }
}
