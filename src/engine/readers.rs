//! Readers of a generation: what a cursor gets, how it is followed, and what a cut means.
pub(super) mod closing;
pub(super) mod following;
pub(super) mod open;
pub(super) mod pages;
pub(super) mod poll_gate;
pub(super) mod request_reads;
pub(super) mod session;
pub(super) mod unsettled_reads;
pub(super) mod view;

use std::sync::atomic::AtomicBool;

use closing::Closing;
use pages::Pages;
use request_reads::Ends;

/// State that all readers of this process share.
pub(super) struct Readers {
    /// Set before the soft stop: what readers look at with every event.
    pub(super) draining: AtomicBool,
    /// When each of them leaves then.
    pub(super) closing: Closing,
    /// Ends of readers on their way to the log.
    pub(super) request_reads: request_reads::Queue,
    /// Pages that readers wait for.
    pages: Pages,
}

impl Readers {
    /// Nobody reads yet; the ends of those that will.
    pub(super) fn new() -> (Self, Ends) {
        let (request_reads, ends) = request_reads::queue();
        let draining = AtomicBool::new(false);
        let (closing, pages) = (Closing::default(), Pages::default());
        (Self { draining, closing, request_reads, pages }, ends)
    }
}
