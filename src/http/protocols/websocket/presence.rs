//! The conversations that a connection is in.
use std::collections::HashMap;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::{self, AbortHandle, Abortable, BoxStream, SelectAll};

use crate::domain::id::ConversationId;
use crate::engine::{Change, Changes, Membership};

/// Those, and what changes in them.
#[derive(Default)]
pub(super) struct Presence {
    memberships: HashMap<ConversationId, (Membership, AbortHandle)>,
    changes: SelectAll<Abortable<BoxStream<'static, (ConversationId, Change)>>>,
}

impl Presence {
    /// Enters one, or enters it anew, as another participant maybe.
    pub(super) fn enter(
        &mut self,
        conversation: ConversationId,
        (membership, changes): (Membership, Changes),
    ) {
        let changes = stream::unfold(changes, move |mut changes| async move {
            Some(((conversation, changes.next().await?), changes))
        });
        let (handle, registration) = AbortHandle::new_pair();
        self.changes.push(Abortable::new(changes.boxed(), registration));
        if let Some((_, old)) = self.memberships.insert(conversation, (membership, handle)) {
            old.abort();
        }
    }

    /// Leaves one, if it is in it.
    pub(super) fn leave(&mut self, conversation: ConversationId) {
        if let Some((_, handle)) = self.memberships.remove(&conversation) {
            handle.abort();
        }
    }

    /// Its participant types, or has stopped.
    pub(super) fn types(&self, conversation: ConversationId, active: bool) {
        if let Some((membership, _)) = self.memberships.get(&conversation) {
            membership.typing(active);
        }
    }

    /// The next change; `None` while it is in no room.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(ConversationId, Change)>> {
        if self.changes.is_empty() {
            return Poll::Ready(None);
        }
        self.changes.poll_next_unpin(cx)
    }
}
