//! The subscriptions of one socket. Only those that have something are looked at, and each keeps its
//! waker: to wait anew for every event would cost more than the event.
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::{AbortHandle, Abortable, FuturesUnordered};

use super::session::Slot;
use crate::domain::id::GenerationId;
use crate::engine::{Item, Session};

/// Items that wait to be sent; who has more waits with them.
const MOST: usize = 64;

/// What a subscription has to say.
pub(super) struct Read {
    pub(super) generation: GenerationId,
    pub(super) slot: Slot,
    /// `None` when it is over.
    pub(super) item: Option<Item>,
    pub(super) coalesce: bool,
}

/// What all of them have said and was not taken yet.
type Said = Rc<RefCell<VecDeque<Read>>>;

/// All subscriptions of a socket.
#[derive(Default)]
pub(super) struct Reading {
    subscriptions: FuturesUnordered<Abortable<Subscription>>,
    handles: HashMap<Slot, AbortHandle>,
    said: Said,
}

/// A subscription; it ends when its generation does.
struct Subscription {
    generation: GenerationId,
    slot: Slot,
    session: Box<Session>,
    coalesce: bool,
    said: Said,
}

impl Reading {
    /// Reads from `session` from now on.
    pub(super) fn begin(
        &mut self,
        (generation, slot): (GenerationId, Slot),
        session: Box<Session>,
        coalesce: bool,
    ) {
        let said = Rc::clone(&self.said);
        let subscription = Subscription { generation, slot, session, coalesce, said };
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert(slot, handle);
        self.subscriptions.push(Abortable::new(subscription, registration));
    }

    /// Reads no more of this one. What it has said may still come.
    pub(super) fn end(&mut self, slot: Slot) {
        if let Some(handle) = self.handles.remove(&slot) {
            handle.abort();
        }
    }

    /// What one of them says next.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let said = self.said.borrow_mut().pop_front();
        if let Some(read) = said {
            return Poll::Ready(read);
        }
        // Those that have ended are of no interest: they have said so.
        while let Poll::Ready(Some(_)) = self.subscriptions.poll_next_unpin(cx) {}
        self.said.borrow_mut().pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Future for Subscription {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            if this.said.borrow().len() >= MOST {
                // In its turn, when there is room.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Poll::Ready(item) = this.session.poll_next(cx) else { return Poll::Pending };
            let over = item.is_none();
            let Self { generation, slot, coalesce, .. } = *this;
            this.said.borrow_mut().push_back(Read { generation, slot, item, coalesce });
            if over {
                return Poll::Ready(());
            }
        }
    }
}
