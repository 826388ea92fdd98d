//! What Postgres does, one transaction at a time: the rules of `src/store/append.rs` and
//! `src/store/takeover.rs`.
use super::Variant;

/// An event, as far as the protocol cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Started,
    /// The answer's nth token: a repeat or a hole in the text shows.
    Token(u8),
    Resumed,
    Done(Ending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ending {
    Completed,
    Cancelled,
}

/// One entry of one generation by one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Append {
    pub(crate) generation: usize,
    pub(crate) epoch: u8,
    pub(crate) seq: usize,
    pub(crate) kind: Kind,
}

/// A take-over: the first entry of `by`, and the row as `by` expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) by: usize,
    pub(crate) from: usize,
    pub(crate) first: Append,
}

/// A transaction on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Statement {
    Append(Vec<Append>),
    Claim(Claim),
}

/// A generation's row and its events; `events[seq - 1]` with the epoch that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rows {
    pub(crate) events: Vec<Option<(u8, Kind)>>,
    pub(crate) owner: usize,
    pub(crate) epoch: u8,
    pub(crate) cancel: bool,
    pub(crate) ended: Option<Ending>,
}

impl Rows {
    pub(crate) fn started() -> Self {
        let events = vec![Some((1, Kind::Started))];
        Self { events, owner: 0, epoch: 1, cancel: false, ended: None }
    }

    pub(crate) fn last(&self) -> usize {
        self.events.len()
    }

    /// Tokens of the answer, as a fold of the log counts them.
    pub(crate) fn tokens(&self) -> u8 {
        let tokens = self.events.iter().flatten().filter(|(_, k)| matches!(k, Kind::Token(_)));
        tokens.count().try_into().unwrap()
    }

    pub(crate) fn at(&self, seq: usize) -> Option<Kind> {
        self.events.get(seq - 1).copied().flatten().map(|(_, kind)| kind)
    }

    /// The primary key, and the partial unique index on `done`. Nothing else: a seq behind a hole
    /// is free to be taken, and nobody compares the epoch with the row's.
    fn takes(&self, append: Append) -> bool {
        let done = |kind: &Kind| matches!(kind, Kind::Done(_));
        let second = done(&append.kind) && self.events.iter().flatten().any(|(_, k)| done(k));
        self.at(append.seq).is_none() && !second
    }

    fn put(&mut self, append: Append) {
        if self.events.len() < append.seq {
            self.events.resize(append.seq, None);
        }
        self.events[append.seq - 1] = Some((append.epoch, append.kind));
        if let Kind::Done(ending) = append.kind {
            self.ended = Some(ending);
        }
    }
}

/// `false`: it collided, and nothing of it was written.
pub(crate) fn append(log: &mut [Rows], batch: &[Append], variant: Variant) -> bool {
    let mut after = log.to_vec();
    for one in batch {
        let rows = &mut after[one.generation];
        let mut one = *one;
        if variant == Variant::NoFence {
            one.seq = rows.last() + 1;
        }
        if !rows.takes(one) {
            return false;
        }
        rows.put(one);
    }
    log.clone_from_slice(&after);
    true
}

/// `false`: somebody was faster.
pub(crate) fn claim(log: &mut [Rows], claim: &Claim, expired: bool, variant: Variant) -> bool {
    let rows = &mut log[claim.first.generation];
    let entry = variant != Variant::SilentClaim;
    let ours = rows.epoch + 1 == claim.first.epoch && rows.owner == claim.from;
    let free = claim.by == claim.from || expired;
    if (entry && !rows.takes(claim.first)) || !ours || !free || rows.ended.is_some() {
        return false;
    }
    if entry {
        rows.put(claim.first);
    }
    rows.owner = claim.by;
    rows.epoch += 1;
    true
}
