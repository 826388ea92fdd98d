//! Signatures of thinking that no vendor signed.
//!
//! Clients send a thinking block back only with its signature, so every block has one. Ours is a
//! checksum of the text: it tells a block that came back whole from one that was changed. It is
//! no secret and proves nothing to anybody else.
use sha2::{Digest, Sha256};

/// The prefix of our signatures; the API's own are base64, which has no underscore.
pub(super) const PREFIX: &str = "lastword_";
/// Changes with the way of making them.
const CONTEXT: &[u8] = b"lastword thinking 1\n";

/// Makes the signature of a text that comes in pieces.
#[derive(Clone, Debug)]
pub(super) struct Signer(Sha256);

impl Default for Signer {
    fn default() -> Self {
        Self(Sha256::new_with_prefix(CONTEXT))
    }
}

impl Signer {
    /// More of the text.
    pub(super) fn push(&mut self, text: &str) {
        self.0.update(text.as_bytes());
    }

    /// The signature of the text so far.
    pub(super) fn signature(&self) -> String {
        let digest = self.0.clone().finalize();
        digest.iter().fold(PREFIX.to_owned(), |text, byte| text + &format!("{byte:02x}"))
    }
}

/// The origin of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// Ours, and of this text.
    Ours,
    /// It says that it is ours, and is not of this text.
    Broken,
    /// Somebody else's.
    Foreign,
}

/// Checks the signature of a thinking block that came back.
pub(super) fn check(text: &str, signature: &str) -> Worth {
    if !signature.starts_with(PREFIX) {
        return Worth::Foreign;
    }
    let mut signer = Signer::default();
    signer.push(text);
    if signer.signature() == signature { Worth::Ours } else { Worth::Broken }
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::anthropic::signature::*;

    #[test]
    fn a_signature_is_of_its_text_however_that_was_cut() {
        let mut signer = Signer::default();
        signer.push("Hm");
        signer.push(", well");
        let signature = signer.signature();
        assert_eq!(check("Hm, well", &signature), Worth::Ours);
        assert_eq!(check("Hm, wel", &signature), Worth::Broken);
        assert_eq!(check("Hm, well", "EqQBCgIYAhIM"), Worth::Foreign);
        assert_eq!(check("", &Signer::default().signature()), Worth::Ours);
    }
}
