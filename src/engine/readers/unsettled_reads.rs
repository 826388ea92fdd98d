//! Readers of answers whose start or end is on its way to the log.
//!
//! Until it is there the log says the old state. A repeat of their request waits for it here.
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

/// Requests of this process with a write on its way, by the hash of the request.
#[derive(Clone, Default)]
pub(in crate::engine) struct UnsettledReads(Arc<Mutex<HashMap<Vec<u8>, watch::Sender<Writes>>>>);

/// The writes of one request that are on their way.
#[derive(Clone, Copy, Default)]
struct Writes {
    all: usize,
    /// Ends of readers that the server cut: a repeat needs no sign to take these over.
    cut: usize,
}

impl UnsettledReads {
    /// A write begins; it is over when the guard is dropped. `cut` says that the server cut the
    /// reader.
    pub(in crate::engine) fn begin(&self, hash: &[u8], cut: bool) -> UnsettledRead {
        let mut requests = self.lock();
        let writes = requests.entry(hash.to_vec()).or_default();
        writes.send_modify(|writes| {
            writes.all += 1;
            writes.cut += usize::from(cut);
        });
        UnsettledRead { of: self.clone(), hash: hash.to_vec(), cut }
    }

    /// The next change of the writes that a repeat waits for, if there are any now.
    pub(super) fn next_change(&self, hash: &[u8], is_retry: bool) -> Option<NextChange> {
        let requests = self.lock();
        let writes = requests.get(hash)?;
        let concerns = is_retry || writes.borrow().cut > 0;
        concerns.then(|| NextChange(writes.subscribe()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, watch::Sender<Writes>>> {
        self.0.lock()
    }
}

/// A write on its way.
pub(in crate::engine) struct UnsettledRead {
    of: UnsettledReads,
    hash: Vec<u8>,
    cut: bool,
}

impl Drop for UnsettledRead {
    fn drop(&mut self) {
        let mut requests = self.of.lock();
        let Some(writes) = requests.get(&self.hash) else { return };
        writes.send_modify(|writes| {
            writes.all -= 1;
            writes.cut -= usize::from(self.cut);
        });
        if writes.borrow().all == 0 {
            requests.remove(&self.hash);
        }
    }
}

/// A change that is waited for.
pub(super) struct NextChange(watch::Receiver<Writes>);

impl NextChange {
    /// Waits for it. The last write of a request takes its sender along, which is a change, too.
    pub(in crate::engine) async fn wait(mut self) {
        let _none_is_left = self.0.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_repeat_waits_for_what_concerns_it() {
        let reads = UnsettledReads::default();
        assert!(reads.next_change(b"q", true).is_none());
        let left = reads.begin(b"q", false);
        assert!(reads.next_change(b"q", false).is_none(), "the client closed: no sign, no wait");
        assert!(reads.next_change(b"r", true).is_none(), "another request");
        let cut = reads.begin(b"q", true);
        let change = reads.next_change(b"q", false).unwrap();
        drop(cut);
        assert_eq!(change.wait().now_or_never(), Some(()));
        let change = reads.next_change(b"q", true).unwrap();
        drop(left);
        assert_eq!(change.wait().now_or_never(), Some(()));
        assert!(reads.lock().is_empty());
    }
}
