//! Signatures of thinking that no vendor signed.
//!
//! Clients send a thinking block back only with its signature, so every block has one. Ours is an
//! HMAC of the text with a key of the database. Every instance can tell a block that came back
//! whole from one that was changed or made up.
use ring::hmac::{self, Context, HMAC_SHA256, Key};

use crate::domain::key::SigningKey;

/// The prefix of our signatures; the API's own are base64, which has no underscore.
pub(super) const PREFIX: &str = "lastword_";
/// Changes with the way of making them.
const CONTEXT: &[u8] = b"lastword thinking 2\n";

fn key(signing: &SigningKey) -> Key {
    Key::new(HMAC_SHA256, &signing.0)
}

/// Makes the signature of a text that comes in pieces. In a box: few blocks are thinking.
#[derive(Clone, Debug)]
pub(super) struct Signer(Box<Context>);

impl Signer {
    /// Of an empty text.
    pub(super) fn new(signing: &SigningKey) -> Self {
        let mut context = Context::with_key(&key(signing));
        context.update(CONTEXT);
        Self(Box::new(context))
    }

    /// More of the text.
    pub(super) fn push(&mut self, text: &str) {
        self.0.update(text.as_bytes());
    }

    /// The signature of the text so far.
    pub(super) fn signature(&self) -> String {
        let tag = Context::clone(&self.0).sign();
        tag.as_ref().iter().fold(PREFIX.to_owned(), |text, byte| text + &format!("{byte:02x}"))
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
pub(super) fn check(signing: &SigningKey, text: &str, signature: &str) -> Worth {
    let Some(hex) = signature.strip_prefix(PREFIX) else { return Worth::Foreign };
    let signed = [CONTEXT, text.as_bytes()].concat();
    let tag = bytes(hex).filter(|tag| hmac::verify(&key(signing), &signed, tag).is_ok());
    tag.map_or(Worth::Broken, |_| Worth::Ours)
}

/// The bytes of lower-case hexadecimal digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let is_hex = hex.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    let byte = |pair: Option<&str>| u8::from_str_radix(pair?, 16).ok();
    is_hex.then(|| pairs.map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::anthropic::signature::*;

    #[test]
    fn a_signature_is_of_its_text_however_that_was_cut() {
        let signing = SigningKey([7; 32]);
        let mut signer = Signer::new(&signing);
        signer.push("Hm");
        signer.push(", well");
        let signature = signer.signature();
        assert_eq!(check(&signing, "Hm, well", &signature), Worth::Ours);
        assert_eq!(check(&signing, "Hm, wel", &signature), Worth::Broken);
        assert_eq!(check(&signing, "Hm, well", "EqQBCgIYAhIM"), Worth::Foreign);
        assert_eq!(check(&signing, "", &Signer::new(&signing).signature()), Worth::Ours);
        for odd in
            ["lastword_", "lastword_0", "lastword_zz", &signature[..40], &signature.to_uppercase()]
        {
            assert_ne!(check(&signing, "Hm, well", odd), Worth::Ours, "{odd}");
        }
    }

    #[test]
    fn nobody_else_can_make_one() {
        let mut signer = Signer::new(&SigningKey([7; 32]));
        signer.push("Hm");
        let other = SigningKey([8; 32]);
        assert_eq!(check(&other, "Hm", &signer.signature()), Worth::Broken);
    }
}
