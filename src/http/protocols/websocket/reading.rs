//! The subscriptions of one socket. The first is asked itself, for most sockets have no other. Of
//! the others only those that are ready are polled, and each keeps its waker. Waiting anew for
//! every event would cost more than the event.
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use futures_util::stream::{AbortHandle, Abortable, FuturesUnordered};

use super::session::Slot;
use crate::domain::id::GenerationId;
use crate::engine::{Item, Session};

/// Items that wait to be sent; who has more waits with them.
const MOST: usize = 64;

/// The output of a subscription.
pub(super) struct Read {
    pub(super) generation: GenerationId,
    pub(super) slot: Slot,
    /// `None` when it is over.
    pub(super) item: Option<Item>,
    pub(super) coalesce: bool,
}

/// All subscriptions of a socket.
#[derive(Default)]
pub(super) struct Reading {
    first: Option<Subscription>,
    others: Option<Box<Others>>,
    /// The next turn.
    others_first: bool,
}

/// A subscription; it ends when its generation does.
struct Subscription {
    generation: GenerationId,
    slot: Slot,
    session: Box<Session>,
    coalesce: bool,
}

#[derive(Default)]
struct Others {
    speaking: FuturesUnordered<Abortable<Speaking>>,
    handles: HashMap<Slot, AbortHandle>,
    said: Pending,
}

/// Their output that was not taken yet.
type Pending = Rc<RefCell<VecDeque<Read>>>;

/// One of the others, until its end.
struct Speaking {
    subscription: Subscription,
    said: Pending,
}

impl Reading {
    /// Reads from `session` from now on.
    pub(super) fn begin(
        &mut self,
        (generation, slot): (GenerationId, Slot),
        session: Box<Session>,
        coalesce: bool,
    ) {
        let subscription = Subscription { generation, slot, session, coalesce };
        match self.first {
            None => self.first = Some(subscription),
            Some(_) => self.others.get_or_insert_default().begin(subscription),
        }
    }

    /// Reads no more of this one, and forgets what it has said.
    pub(super) fn end(&mut self, slot: Slot) {
        if self.first.as_ref().is_some_and(|first| first.slot == slot) {
            self.first = None;
        } else if let Some(others) = &mut self.others {
            others.end(slot);
        }
    }

    /// The next output of any of them.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        self.others_first = !self.others_first;
        for others in [self.others_first, !self.others_first] {
            let read = if others { self.poll_others(cx) } else { self.poll_first(cx) };
            if read.is_ready() {
                return read;
            }
        }
        Poll::Pending
    }

    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let Some(first) = &mut self.first else { return Poll::Pending };
        let read = ready!(first.poll(cx));
        if read.item.is_none() {
            self.first = None;
        }
        Poll::Ready(read)
    }

    fn poll_others(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let Some(others) = &mut self.others else { return Poll::Pending };
        others.poll(cx)
    }
}

impl Others {
    fn begin(&mut self, subscription: Subscription) {
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert(subscription.slot, handle);
        let speaking = Speaking { subscription, said: Rc::clone(&self.said) };
        self.speaking.push(Abortable::new(speaking, registration));
    }

    fn end(&mut self, slot: Slot) {
        let Some(handle) = self.handles.remove(&slot) else { return };
        handle.abort();
        self.said.borrow_mut().retain(|read| read.slot != slot);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let said = self.said.borrow_mut().pop_front();
        if let Some(read) = said {
            return Poll::Ready(read);
        }
        // Those that have ended are of no interest: they have said so.
        while let Poll::Ready(Some(_)) = self.speaking.poll_next_unpin(cx) {}
        self.said.borrow_mut().pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Subscription {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let Self { generation, slot, coalesce, .. } = *self;
        self.session.poll_next(cx).map(|item| Read { generation, slot, item, coalesce })
    }
}

impl Future for Speaking {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            if this.said.borrow().len() >= MOST {
                // In its turn, when there is room.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let read = ready!(this.subscription.poll(cx));
            let over = read.item.is_none();
            this.said.borrow_mut().push_back(read);
            if over {
                return Poll::Ready(());
            }
        }
    }
}
