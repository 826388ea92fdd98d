//! The work of Postgres, one transaction at a time: the rules of `src/store/lane.rs`,
//! `src/store/append.rs` and `src/store/takeover.rs`.
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
    /// The end of the log when the transaction began; none before it has begun.
    pub(crate) snapshot: Option<usize>,
}

/// A lane of an instance, and its number among those that it opened.
pub(crate) type LaneId = (usize, u8);

/// A transaction on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Statement {
    Append(LaneId, Vec<Append>),
    Claim(Claim),
}

/// An open lane, and the last seqs of the generations that it has appended to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Open {
    pub(crate) number: u8,
    known: Vec<Option<usize>>,
}

/// The content of the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    pub(crate) log: Vec<Rows>,
    /// Of each instance; `None` while it has none that is open.
    pub(crate) lanes: Vec<Option<Open>>,
}

/// A generation's row and its events; `events[seq - 1]` with the epoch that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rows {
    pub(crate) events: Vec<Option<(u8, Kind)>>,
    pub(crate) owner: usize,
    pub(crate) epoch: u8,
    pub(crate) cancel: bool,
    pub(crate) ended: Option<Ending>,
    /// Whether a seq was written twice.
    pub(crate) torn: bool,
}

impl Rows {
    pub(crate) fn started() -> Self {
        let events = vec![Some((1, Kind::Started))];
        Self { events, owner: 0, epoch: 1, cancel: false, ended: None, torn: false }
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

    /// No key refuses a seq that is taken: then one of the two is torn out.
    fn put(&mut self, append: Append) {
        if self.events.len() < append.seq {
            self.events.resize(append.seq, None);
        }
        self.torn |= self.events[append.seq - 1].is_some();
        self.events[append.seq - 1] = Some((append.epoch, append.kind));
        if let Kind::Done(ending) = append.kind {
            self.ended = Some(ending);
        }
    }
}

/// `false`: it was refused, and nothing of it was written. A lane knows the last seq of each
/// generation that it has appended to. For the others, the epoch has to be the row's. An ending is
/// written once.
pub(crate) fn append(
    database: &mut Database,
    (by, number): LaneId,
    batch: &[Append],
    variant: Variant,
) -> bool {
    let Database { log, lanes } = database;
    let mut after = log.clone();
    let lane = lanes[by].as_mut().filter(|lane| lane.number == number);
    if variant == Variant::NoFence {
        for one in batch {
            let rows = &mut after[one.generation];
            rows.put(Append { seq: rows.last() + 1, ..*one });
        }
        *log = after;
        return true;
    }
    let Some(lane) = lane else { return false };
    let mut known = lane.known.clone();
    for one in batch {
        let rows = &mut after[one.generation];
        let ending = matches!(one.kind, Kind::Done(_));
        let unchecked = variant == Variant::UncheckedLane;
        let (own, on_record) = (known[one.generation], unchecked || rows.epoch == one.epoch);
        let goes_on = own.map_or(on_record, |last| last + 1 == one.seq);
        if !goes_on || (ending && (rows.ended.is_some() || !on_record)) {
            return false;
        }
        rows.put(*one);
        known[one.generation] = Some(one.seq);
    }
    lane.known = known;
    *log = after;
    true
}

/// Opens a lane for `by`, which closes its earlier one: the transactions under way there are
/// decided.
pub(crate) fn open(database: &mut Database, by: usize, number: u8) {
    let known = vec![None; database.log.len()];
    database.lanes[by] = Some(Open { number, known });
}

/// `false`: another one was faster.
pub(crate) fn claim(
    database: &mut Database,
    claim: &Claim,
    expired: bool,
    variant: Variant,
) -> bool {
    let Database { log, lanes } = database;
    let rows = &mut log[claim.first.generation];
    let ours = rows.epoch + 1 == claim.first.epoch && rows.owner == claim.from;
    let free = claim.by == claim.from || expired;
    // Each statement sees everything that was committed before it. Only in the mistake the look is
    // before the wait.
    let last = match (variant, claim.snapshot) {
        (Variant::OldSnapshot, Some(last)) => last,
        _ => rows.last(),
    };
    let next = last + 1 == claim.first.seq;
    if !next || !ours || !free || rows.ended.is_some() {
        return false;
    }
    if claim.by != claim.from && variant != Variant::OpenLanes {
        lanes[claim.from] = None;
    }
    rows.put(claim.first);
    rows.owner = claim.by;
    rows.epoch += 1;
    true
}
