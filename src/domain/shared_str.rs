//! A piece of a text that is shared.
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;

/// A piece of a shared text: cloning it copies nothing. Shorter than 4 GiB.
#[derive(Clone)]
pub(super) struct SharedStr {
    whole: Arc<str>,
    from: u32,
    to: u32,
}

impl SharedStr {
    /// Copies the texts of `pieces` side by side, into one allocation that all of them share from
    /// then on.
    pub(super) fn pack<'a>(pieces: impl Iterator<Item = &'a mut Self>) {
        let pieces: Vec<&mut Self> = pieces.collect();
        let mut whole = String::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
        pieces.iter().for_each(|piece| whole.push_str(piece));
        let (whole, mut end) = (Arc::<str>::from(whole), 0);
        for piece in pieces {
            let from = end;
            end += piece.to - piece.from;
            *piece = Self { whole: Arc::clone(&whole), from, to: end };
        }
    }

    /// The piece of this text that `part` is, by its address; `None` if it lies elsewhere.
    pub(super) fn part(&self, part: &str) -> Option<Self> {
        let begin = part.as_ptr().addr().checked_sub(self.as_ptr().addr())?;
        self.get(begin..begin.checked_add(part.len())?)?;
        let from = self.from + u32::try_from(begin).ok()?;
        let to = from + u32::try_from(part.len()).ok()?;
        Some(Self { whole: Arc::clone(&self.whole), from, to })
    }

    /// Writes the JSON that this text is, as it stands.
    pub(super) fn serialize_as_json<S: Serializer>(
        &self,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }

    /// A way back to it for as long as somebody else has it.
    pub(super) fn downgrade(&self) -> WeakStr {
        WeakStr { whole: Arc::downgrade(&self.whole), from: self.from, to: self.to }
    }
}

/// A shared text that this does not keep.
#[derive(Clone, Debug)]
pub(super) struct WeakStr {
    whole: Weak<str>,
    from: u32,
    to: u32,
}

impl WeakStr {
    pub(super) fn upgrade(&self) -> Option<SharedStr> {
        let whole = self.whole.upgrade()?;
        Some(SharedStr { whole, from: self.from, to: self.to })
    }
}

impl From<&str> for SharedStr {
    fn from(text: &str) -> Self {
        let to = u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self { whole: text.into(), from: 0, to }
    }
}

impl Deref for SharedStr {
    type Target = str;

    fn deref(&self) -> &str {
        self.whole.get(self.from as usize..self.to as usize).unwrap_or_default()
    }
}

impl PartialEq for SharedStr {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedStr {}

impl fmt::Debug for SharedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
