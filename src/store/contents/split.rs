//! A long JSON text is cut into contents: long strings, runs of elements, and what is made of
//! these.
//!
//! The cuts depend on the text in front of them only, up to the bracket that opens their list. A
//! list that grows at its end keeps its contents, all but the last.
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

/// A text below this is kept whole: it is not worth a second look into the database; bytes.
const TEXT: usize = 4096;
/// A string of this length is a content, with its quotation marks; so is the end of a long list.
/// Below it, a row and its index would be a large part of what is kept; bytes.
const STRING: usize = 1024;
/// A run of elements that weighs so much is closed; bytes.
const RUN: usize = 2048;
/// The weight of a reference in its run: with its row it takes about as much; bytes.
const REFERENCE: usize = 256;
/// Contents of a list that become one content.
const GROUP: usize = 8;
/// Contents within contents. Each level is one more pass over the text for whoever reads it.
const DEPTH: u32 = 12;
/// It stands around a hash. No JSON text has it: strings escape it.
const MARK: char = '\u{1}';

/// The name of a content.
pub(super) type Hash = [u8; 32];

/// A content to be kept.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) body: String,
    /// The contents that its body names.
    pub(super) parts: Vec<Hash>,
    depth: u32,
}

/// A text in contents.
#[derive(Debug)]
pub(super) struct Split {
    /// The text, with hashes in the place of contents.
    pub(super) packed: String,
    /// The contents that `packed` names.
    pub(super) used: Vec<Hash>,
    /// These, and all that they are made of.
    pub(super) contents: BTreeMap<Hash, Content>,
}

/// Cuts the JSON text of a `tenant`. `None` if nothing in it is long.
pub(super) fn split(tenant: &str, text: &str) -> Option<Split> {
    if text.len() < TEXT || text.contains(MARK) {
        return None;
    }
    let mut cutter = Cutter { tenant, contents: BTreeMap::new(), open: Vec::new() };
    let packed = cutter.cut(text);
    let Run { body, mut parts, .. } = packed;
    parts.sort_unstable();
    parts.dedup();
    let contents = cutter.contents;
    (!parts.is_empty()).then_some(Split { packed: body, used: parts, contents })
}

/// Elements side by side.
#[derive(Default)]
struct Run {
    body: String,
    parts: Vec<Hash>,
    weight: usize,
    depth: u32,
}

impl Run {
    fn say(&mut self, text: &str) {
        self.body.push_str(text);
        self.weight += text.len();
    }

    fn append(&mut self, other: Self) {
        self.body.push_str(&other.body);
        self.parts.extend(other.parts);
        self.weight += other.weight;
        self.depth = self.depth.max(other.depth);
    }

    fn may_be_kept(&self) -> bool {
        self.depth < DEPTH
    }
}

/// An array or an object whose end was not met yet.
#[derive(Default)]
struct List {
    /// Its runs so far, each a content.
    closed: Vec<Hash>,
    run: Run,
}

struct Cutter<'a> {
    tenant: &'a str,
    contents: BTreeMap<Hash, Content>,
    /// The innermost is the last; the first is around the whole text.
    open: Vec<List>,
}

impl Cutter<'_> {
    fn cut(&mut self, text: &str) -> Run {
        let mut list = List::default();
        let (bytes, mut at) = (text.as_bytes(), 0);
        while at < bytes.len() {
            let end = token(bytes, at);
            let said = &text[at..end];
            match bytes[at] {
                b'"' if said.len() >= STRING => {
                    let string = Run { body: said.into(), weight: said.len(), ..Run::default() };
                    let hash = self.keep(string);
                    self.refer(&mut list.run, hash);
                }
                b'[' | b'{' => {
                    self.open.push(std::mem::take(&mut list));
                    list.run.say(said);
                }
                b']' | b'}' => {
                    list.run.say(said);
                    let around = self.open.pop().unwrap_or_default();
                    let inner = std::mem::replace(&mut list, around);
                    self.close(inner, &mut list.run);
                }
                b',' => {
                    if list.run.weight >= RUN && list.run.may_be_kept() {
                        let run = std::mem::take(&mut list.run);
                        list.closed.push(self.keep(run));
                    }
                    list.run.say(said);
                }
                _ => list.run.say(said),
            }
            at = end;
        }
        // Brackets without an end; no JSON text has any.
        while let Some(mut around) = self.open.pop() {
            self.close(list, &mut around.run);
            list = around;
        }
        let mut whole = Run::default();
        self.close(list, &mut whole);
        whole
    }

    /// Adds what is left of a list to the run around it.
    fn close(&mut self, list: List, around: &mut Run) {
        let List { closed, run } = list;
        let least = if closed.is_empty() { RUN } else { STRING };
        for hash in self.grouped(closed) {
            self.refer(around, hash);
        }
        if run.weight >= least && run.may_be_kept() {
            let hash = self.keep(run);
            self.refer(around, hash);
        } else {
            around.append(run);
        }
    }

    /// The same contents in few: every eight are one, and every eight of these.
    fn grouped(&mut self, mut hashes: Vec<Hash>) -> Vec<Hash> {
        let mut behind = Vec::new();
        while hashes.len() > GROUP {
            let rest = hashes.split_off(hashes.len() / GROUP * GROUP);
            let mut groups = Vec::new();
            for group in hashes.chunks(GROUP) {
                let mut run = Run::default();
                group.iter().for_each(|hash| self.refer(&mut run, *hash));
                if !run.may_be_kept() {
                    // As they are: their readers have passes enough.
                    hashes.extend(rest);
                    hashes.extend(behind.into_iter().rev().flatten());
                    return hashes;
                }
                groups.push(self.keep(run));
            }
            behind.push(rest);
            hashes = groups;
        }
        hashes.extend(behind.into_iter().rev().flatten());
        hashes
    }

    fn refer(&self, run: &mut Run, hash: Hash) {
        run.body.push(MARK);
        for byte in hash {
            let _ = write!(run.body, "{byte:02x}");
        }
        run.body.push(MARK);
        run.weight += REFERENCE;
        run.depth = run.depth.max(self.contents.get(&hash).map_or(0, |content| content.depth));
        run.parts.push(hash);
    }

    fn keep(&mut self, run: Run) -> Hash {
        let Run { body, mut parts, depth, .. } = run;
        let mut digest = Sha256::new();
        digest.update(self.tenant);
        digest.update([0]);
        digest.update(&body);
        let hash = digest.finalize().into();
        parts.sort_unstable();
        parts.dedup();
        self.contents.entry(hash).or_insert(Content { body, parts, depth: depth + 1 });
        hash
    }
}

/// The end of what begins at `at`: a string, a sign, or all that is neither.
fn token(bytes: &[u8], at: usize) -> usize {
    let sign = |byte: &u8| matches!(byte, b'"' | b'[' | b']' | b'{' | b'}' | b',');
    let rest = &bytes[at + 1..];
    if bytes[at] == b'"' {
        let mut escaped = false;
        let end = rest.iter().position(|byte| match (escaped, byte) {
            (true, _) => {
                escaped = false;
                false
            }
            (false, b'\\') => {
                escaped = true;
                false
            }
            (false, byte) => *byte == b'"',
        });
        return end.map_or(bytes.len(), |end| at + end + 2);
    }
    if sign(&bytes[at]) {
        return at + 1;
    }
    rest.iter().position(sign).map_or(bytes.len(), |end| at + 1 + end)
}
