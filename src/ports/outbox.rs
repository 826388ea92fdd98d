//! Hints that wait to be sent: handed in without waiting, taken together.
use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::signals::{Signal, To};

/// Hints that wait; more are dropped, as hints may be: only a carrier that is away makes so many.
const WAITING: usize = 16_384;
/// Bytes of entries that wait in them; more are dropped, too.
const WAITING_BYTES: usize = 16 << 20;

/// The hints that wait to be sent.
#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Each with the number of its last coming, which is its order.
    signals: HashMap<(To, Signal), u64>,
    count: u64,
    bytes: usize,
}

impl Outbox {
    /// Hands one in. Of two equal ones that wait, the later stays.
    pub fn put(&self, to: To, signal: Signal) {
        let mut waiting = self.waiting();
        let bytes = signal.entry_bytes();
        let key = (to, signal);
        let full =
            waiting.signals.len() >= WAITING || waiting.bytes.saturating_add(bytes) > WAITING_BYTES;
        let known = waiting.signals.contains_key(&key);
        if full && !known {
            return;
        }
        waiting.count += 1;
        let order = waiting.count;
        waiting.signals.insert(key, order);
        waiting.bytes += if known { 0 } else { bytes };
        drop(waiting);
        self.more.notify_one();
    }

    /// Ends when something was handed in since it ended last.
    pub async fn more(&self) {
        self.more.notified().await;
    }

    /// Everything that waits, in order, by whom it is for.
    #[must_use]
    pub fn take(&self) -> HashMap<To, Vec<Signal>> {
        let signals = {
            let mut waiting = self.waiting();
            waiting.bytes = 0;
            std::mem::take(&mut waiting.signals)
        };
        let mut signals: Vec<((To, Signal), u64)> = signals.into_iter().collect();
        signals.sort_unstable_by_key(|(_, order)| *order);
        let mut by_target: HashMap<To, Vec<Signal>> = HashMap::new();
        for ((to, signal), _) in signals {
            by_target.entry(to).or_default().push(signal);
        }
        by_target
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::Entry;
    use crate::domain::event::Event;
    use crate::domain::id::{Epoch, GenerationId, InstanceId, Seq};
    use crate::ports::Carried;

    #[test]
    fn of_equal_hints_the_later_stays_and_the_order_with_it() {
        let (outbox, me) = (Outbox::default(), InstanceId::random());
        let of = |generation| Signal::Cancel { generation };
        let (one, two) = (GenerationId::random(), GenerationId::random());
        for id in [one, two, one] {
            outbox.put(To::All, of(id));
        }
        outbox.put(To::One(me), of(one));
        let taken = outbox.take();
        assert_eq!(taken[&To::All], [of(two), of(one)]);
        assert_eq!(taken[&To::One(me)], [of(one)]);
        assert!(outbox.take().is_empty());
    }

    #[test]
    fn the_box_is_bounded_in_hints_and_bytes() {
        let outbox = Outbox::default();
        for _ in 0..WAITING + 10 {
            outbox.put(To::All, Signal::Cancel { generation: GenerationId::random() });
        }
        assert_eq!(outbox.take()[&To::All].len(), WAITING);
        let large = Event::Delta { text: "x".repeat(1 << 20) };
        for seq in 1..=20 {
            let entry = Entry::encode(Seq(seq), &large).by(Epoch(1));
            let entries = Carried::all(&[entry], usize::MAX);
            let generation = GenerationId::random();
            outbox.put(To::All, Signal::Grown { generation, entries });
        }
        assert_eq!(outbox.take()[&To::All].len(), 15, "each a little larger than a MiB");
    }
}
