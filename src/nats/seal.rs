//! An HMAC says that a message comes from an instance on the same database. Its key is derived from
//! the database's, so that nobody else on the NATS server can make one.
use ring::hmac::{HMAC_SHA256, Key, sign, verify};

use crate::domain::key::SigningKey;

/// Bytes in front of a payload.
pub(super) const TAG: usize = 32;

/// Seals and opens messages.
pub(super) struct Seal(Key);

/// A message as it arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened<'a> {
    /// An instance on this database sent it on this subject.
    Genuine(&'a [u8]),
    /// Somebody else did, or it was changed.
    Forged(&'a [u8]),
}

impl Seal {
    pub(super) fn new(key: &SigningKey) -> Self {
        // A key of its own: clients get signatures of the database's key over texts that they
        // choose.
        let derived = sign(&Key::new(HMAC_SHA256, &key.0), b"lastword hints 1\n");
        Self(Key::new(HMAC_SHA256, derived.as_ref()))
    }

    /// A name for the database, of 16 hexadecimal digits, which tells nothing of the key.
    pub(super) fn deployment(&self) -> String {
        let name = sign(&self.0, b"lastword deployment 1\n");
        name.as_ref().iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// The message with `payload` on `subject`.
    pub(super) fn seal(&self, subject: &str, payload: &str) -> Vec<u8> {
        let signed = [subject, "\n", payload].concat();
        let mut message = sign(&self.0, signed.as_bytes()).as_ref().to_vec();
        message.extend_from_slice(payload.as_bytes());
        message
    }

    /// The payload of a message that arrived on `subject`.
    pub(super) fn open<'a>(&self, subject: &str, message: &'a [u8]) -> Opened<'a> {
        let Some((tag, payload)) = message.split_at_checked(TAG) else {
            return Opened::Forged(message);
        };
        let signed = [subject.as_bytes(), b"\n", payload].concat();
        match verify(&self.0, &signed, tag) {
            Ok(()) => Opened::Genuine(payload),
            Err(_) => Opened::Forged(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_key_can_make_a_message_and_only_for_its_subject() {
        let (ours, theirs) = (Seal::new(&SigningKey([1; 32])), Seal::new(&SigningKey([2; 32])));
        let message = ours.seal("a.b", "payload");
        assert_eq!(ours.open("a.b", &message), Opened::Genuine(b"payload"));
        assert_eq!(ours.open("a.c", &message), Opened::Forged(b"payload"));
        assert_eq!(theirs.open("a.b", &message), Opened::Forged(b"payload"));
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert!(matches!(ours.open("a.b", &changed), Opened::Forged(_)), "byte {at}");
        }
        assert_eq!(ours.open("a.b", b"short"), Opened::Forged(b"short"));
        assert_eq!(ours.deployment().len(), 16);
        assert_ne!(ours.deployment(), theirs.deployment());
    }
}
