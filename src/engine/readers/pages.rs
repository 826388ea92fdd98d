//! Pages of the log on their way: readers that come together share one.
//!
//! After a restart, or a break of a proxy, all readers of a generation come back within a second.
//! Their cursors differ by some events, and their pages begin at the same places. So one read
//! serves all that wait for it.
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;

use crate::domain::entry::Entry;
use crate::domain::id::Seq;
use crate::engine::{Engine, PAGE};
use crate::ports::{Address, EventPage, LogError};

/// Events between two places at which pages begin: few are read in vain.
const STEP: u64 = 64;
/// Notes of reads, of which those that are over are thrown away then.
const NOTES: usize = 1024;

/// Entries behind a cursor.
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    /// Whether the log had no more.
    pub(super) at_end: bool,
}

/// The part of the log that a read takes.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Stretch {
    at: Address,
    after: Seq,
    events: u32,
}

type Read = BoxFuture<'static, Result<Arc<EventPage>, LogError>>;

/// Reads that somebody waits for.
#[derive(Default)]
pub(super) struct Pages(Mutex<HashMap<Stretch, WeakShared<Read>>>);

impl Engine {
    /// The entries behind `cursor`: a page, or those up to about `until` if these are fewer.
    pub(super) async fn page(
        self,
        at: Address,
        cursor: Seq,
        until: Option<Seq>,
    ) -> Result<Page, LogError> {
        let mut stretch = Stretch::of(at, cursor, until);
        loop {
            let most = stretch.events as usize;
            let read = self.inner.readers.pages.join(stretch.clone(), |stretch| {
                let engine = self.clone();
                async move {
                    let Stretch { at, after, events } = stretch;
                    engine.inner.log.events.page(&at, after, events).await.map(Arc::new)
                }
                .boxed()
            });
            let page = read.await?;
            let new = page.entries.iter().filter(|entry| entry.seq > cursor);
            let entries: Vec<Entry> = new.cloned().collect();
            // The page is full of what the reader has.
            if entries.is_empty() && page.cut && stretch.after < cursor {
                stretch = stretch.behind(cursor);
                continue;
            }
            return Ok(Page { entries, at_end: !page.cut && page.entries.len() < most });
        }
    }
}

impl Stretch {
    fn of(at: Address, cursor: Seq, until: Option<Seq>) -> Self {
        let after = cursor.0 - cursor.0 % STEP;
        let events = until.map(|until| {
            let even = until.0 - until.0 % STEP;
            let last = if even > cursor.0 { even } else { until.0.max(cursor.0 + 1) };
            u32::try_from(last - after).unwrap_or(PAGE)
        });
        Self { at, after: Seq(after), events: events.map_or(PAGE, |events| events.min(PAGE)) }
    }

    /// The rest of it behind `cursor`.
    fn behind(self, cursor: Seq) -> Self {
        let had = u32::try_from(cursor.0.saturating_sub(self.after.0)).unwrap_or(PAGE);
        Self { after: cursor, events: self.events.saturating_sub(had).max(1), ..self }
    }
}

impl Pages {
    /// The read of `stretch` that is under way, or the one that `begin` makes.
    fn join(&self, stretch: Stretch, begin: impl FnOnce(Stretch) -> Read) -> Shared<Read> {
        let mut notes = self.0.lock();
        if let Some(read) = notes.get(&stretch).and_then(WeakShared::upgrade) {
            return read;
        }
        if notes.len() >= NOTES {
            notes.retain(|_, read| read.upgrade().is_some());
        }
        let read = begin(stretch.clone()).shared();
        if let Some(note) = read.downgrade() {
            notes.insert(stretch, note);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::event::Event;
    use crate::domain::id::{GenerationId, Tenant};

    fn stretch(cursor: u64, until: Option<u64>) -> Stretch {
        let at = Address { tenant: Tenant::anonymous(), id: GenerationId(Uuid::nil()) };
        Stretch::of(at, Seq(cursor), until.map(Seq))
    }

    #[test]
    fn pages_begin_and_end_at_the_same_places_and_bring_something_new() {
        let of = |cursor, until| {
            let stretch = stretch(cursor, until);
            (stretch.after.0, stretch.events)
        };
        assert_eq!(of(0, None), (0, PAGE));
        assert_eq!((of(700, None), of(703, None)), ((640, PAGE), (640, PAGE)));
        assert_eq!((of(700, Some(1000)), of(720, Some(1020))), ((640, 320), (704, 256)));
        assert_eq!(of(0, Some(5000)), (0, PAGE));
        assert_eq!((of(70, Some(80)), of(70, Some(70))), ((64, 16), (64, 7)), "what is near");
        let rest = stretch(70, Some(80)).behind(Seq(70));
        assert_eq!((rest.after.0, rest.events), (70, 10), "of a page that is full before");
    }

    #[tokio::test]
    async fn readers_that_wait_for_the_same_share_a_read_and_later_ones_begin_another() {
        let reads = Pages::default();
        let begun = Arc::new(Mutex::new(0));
        let join = |stretch| {
            let begun = Arc::clone(&begun);
            reads.join(stretch, |_| {
                *begun.lock() += 1;
                let entry = Entry::encode(Seq(1), &Event::Delta { text: "x".into() });
                async move { Ok(Arc::new(EventPage { entries: vec![entry], cut: false })) }.boxed()
            })
        };
        let (one, two) = (join(stretch(3, None)), join(stretch(5, None)));
        let other = join(stretch(5, Some(40)));
        assert!(Arc::ptr_eq(&one.await.unwrap(), &two.await.unwrap()));
        assert_eq!(*begun.lock(), 2, "another stretch is another read");
        assert_eq!(join(stretch(5, None)).await.unwrap().entries.len(), 1);
        assert_eq!(*begun.lock(), 3);
        drop(other);
        for n in 0..4 * NOTES as u64 {
            drop(join(stretch(n * STEP, None)));
        }
        assert!(reads.0.lock().len() <= NOTES);
    }
}
