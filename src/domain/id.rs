//! Identities and positions: generation, instance, tenant, and the position in a log.
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One prompt's run. A UUIDv7, so that ids sort by the time of their creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GenerationId(pub Uuid);

impl GenerationId {
    /// A new id.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for GenerationId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}

/// A conversation. A UUIDv7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConversationId(pub Uuid);

impl ConversationId {
    /// A new id.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ConversationId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}

/// A message of a conversation. A UUIDv7; an answer's is its generation's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub Uuid);

impl MessageId {
    /// A new id.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}

/// One running server process, as the database sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub Uuid);

impl InstanceId {
    /// The owner of what its owner has given up: nobody, whose lease has run out for ever.
    pub const NOBODY: Self = Self(Uuid::nil());

    /// A new id.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub Uuid);

impl ConnectionId {
    /// A new id.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One request, to whoever looks for it in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub Uuid);

impl RequestId {
    /// A new id.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a key, to people too; it opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Uuid);

impl KeyId {
    /// A new id.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The owner of data. Every row and every query carries one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The tenant of everything that is done without a key.
    #[must_use]
    pub fn anonymous() -> Self {
        Self("default".into())
    }

    /// A tenant by its stored name.
    #[must_use]
    pub fn named(name: String) -> Self {
        Self(name.into())
    }

    /// Nobody's tenant: it has nothing, and nothing can be stored for it by a route.
    #[must_use]
    pub fn nobody() -> Self {
        Self("".into())
    }

    /// The name as it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As an operator writes one: it shows up in commands and tables.
impl FromStr for Tenant {
    type Err = InvalidTenant;
    fn from_str(text: &str) -> Result<Self, InvalidTenant> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let good = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        if good { Ok(Self(text.into())) } else { Err(InvalidTenant) }
    }
}

/// Not the name of a tenant.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a tenant is 1 to 64 letters, digits, dots, hyphens and underscores")]
pub struct InvalidTenant;

/// The position of an event in its generation: 1, 2, 3 … n. Zero is "before the first".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The position right behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A reader's cursor: the seq of the last event that it has seen.
///
/// The grammar is the plain decimal number that the `id:` lines carry.
impl FromStr for Seq {
    type Err = InvalidCursor;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let digits = !s.is_empty() && s.len() <= 18 && s.bytes().all(|b| b.is_ascii_digit());
        if !digits {
            return Err(InvalidCursor);
        }
        s.parse().map(Self).map_err(|_| InvalidCursor)
    }
}

/// A cursor that is not a whole number of at most 18 digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a cursor is the whole number of the last event seen, such as 17")]
pub struct InvalidCursor;

/// An owner of a generation, later ones higher; an event's epoch says which of them wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub i32);

impl Epoch {
    /// The owner that started the generation.
    pub const FIRST: Self = Self(1);

    /// The epoch of the next owner, higher by a random step. Owners of two histories, before and
    /// after the database was restored to an older state, therefore differ.
    #[must_use]
    pub fn next(self) -> Self {
        // The low bits of a UUIDv7 are random.
        let [.., high, low] = GenerationId::random().0.into_bytes();
        Self(self.0.saturating_add(1 + i32::from(u16::from_be_bytes([high, low]))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_plain_whole_number() {
        assert_eq!("17".parse(), Ok(Seq(17)));
        assert_eq!("0".parse(), Ok(Seq::ZERO));
        for bad in ["", "-1", "+5", "1.5", " 1", "1 ", "0x10", "abc", "9999999999999999999", "é"] {
            assert_eq!(bad.parse::<Seq>(), Err(InvalidCursor), "{bad:?}");
        }
    }
}
