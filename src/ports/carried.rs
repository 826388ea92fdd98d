//! A durable entry on its way to another instance, inside a hint.
use serde::{Deserialize, Serialize};

use crate::domain::entry::{BadEntry, Entry};
use crate::domain::id::{Epoch, Seq};

/// An [`Entry`] as a hint carries it: with the columns of its row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Carried {
    seq: Seq,
    epoch: i32,
    kind: String,
    data: String,
}

impl Carried {
    /// The entries as a hint carries them; none if that is more than `most` bytes, or one of them
    /// was never stored.
    #[must_use]
    pub fn all(entries: &[Entry], most: usize) -> Vec<Self> {
        let bytes: usize = entries.iter().map(|entry| entry.json().len()).sum();
        let carried: Option<Vec<Self>> = entries.iter().map(Self::one).collect();
        carried.filter(|_| bytes <= most).unwrap_or_default()
    }

    /// Its length as JSON, roughly: what its name and its text take.
    pub(super) fn bytes(&self) -> usize {
        self.kind.len() + self.data.len()
    }

    fn one(entry: &Entry) -> Option<Self> {
        let (kind, data) = (entry.name().into(), entry.data().into());
        Some(Self { seq: entry.seq, epoch: entry.epoch?.0, kind, data })
    }

    /// The entry that it was made of.
    ///
    /// # Errors
    /// It is none: another version's, perhaps.
    pub fn entry(&self) -> Result<Entry, BadEntry> {
        let entry = Entry::from_stored(self.seq, &self.kind, &self.data)?;
        Ok(entry.by(Epoch(self.epoch)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Event;

    #[test]
    fn what_is_carried_arrives_byte_for_byte() {
        let event = Event::Delta { text: "\"1\n\u{1F600}".into() };
        let entry = Entry::encode(Seq(12), &event).by(Epoch(7));
        let carried = Carried::all(std::slice::from_ref(&entry), 100);
        let json = serde_json::to_string(&carried).unwrap();
        let back: Vec<Carried> = serde_json::from_str(&json).unwrap();
        assert_eq!(back[0].entry().unwrap(), entry);
        assert_eq!(Carried::all(std::slice::from_ref(&entry), 10), [], "too long for a hint");
        let unowned = Entry::encode(Seq(12), &event);
        assert_eq!(Carried::all(&[unowned], 100), [], "never stored");
    }
}
