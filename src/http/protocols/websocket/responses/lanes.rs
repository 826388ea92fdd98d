//! The lanes of one connection: in each, one frame after the other.
use std::collections::{HashMap, VecDeque};

use super::frames::{ClientFrame, Lane};
use crate::http::problem::Problem;
use crate::ports::Address;

/// The work of a lane.
#[derive(Debug)]
enum Busy {
    /// A response is started, prepared or found; `true` once it was cancelled.
    Opening(bool),
    /// A response is read; `None` for one that was only prepared.
    Reading(Option<Address>),
}

#[derive(Debug)]
struct Turn {
    busy: Busy,
    /// Frames that wait, each with its size in bytes.
    waiting: VecDeque<(ClientFrame, usize)>,
}

/// All lanes that are busy.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: HashMap<Lane, Turn>,
    /// Frames that are worked on or wait, at most so many.
    most: usize,
    count: usize,
    /// Bytes of frames that wait, at most so many.
    most_bytes: usize,
    bytes: usize,
}

/// The action on a cancel.
#[derive(Debug)]
pub(super) enum ToCancel {
    /// The lane reads it.
    Now(Address),
    /// It is still being started, and is cancelled when it is there.
    Later,
    /// Nothing runs in the lane.
    Nothing,
}

impl Lanes {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self { lanes: HashMap::new(), most, count: 0, most_bytes, bytes: 0 }
    }

    /// Takes a frame of `bytes`: back if its turn is now.
    ///
    /// # Errors
    /// Too many frames wait.
    pub(super) fn enter(
        &mut self,
        lane: &Lane,
        frame: ClientFrame,
        bytes: usize,
    ) -> Result<Option<ClientFrame>, Problem> {
        let turn = self.lanes.get_mut(lane);
        let waits = turn.is_some();
        if self.count >= self.most || (waits && self.bytes + bytes > self.most_bytes) {
            let detail = format!(
                "{} responses at a time, and {} bytes that wait",
                self.most, self.most_bytes
            );
            return Err(Problem::bad_request("too_many_subscriptions", detail));
        }
        self.count += 1;
        if let Some(turn) = turn {
            self.bytes += bytes;
            turn.waiting.push_back((frame, bytes));
            return Ok(None);
        }
        let turn = Turn { busy: Busy::Opening(false), waiting: VecDeque::new() };
        self.lanes.insert(lane.clone(), turn);
        Ok(Some(frame))
    }

    /// The lane reads a response from now on; whether it was cancelled meanwhile.
    pub(super) fn reads(&mut self, lane: &Lane, at: Option<Address>) -> bool {
        let Some(turn) = self.lanes.get_mut(lane) else { return false };
        let before = std::mem::replace(&mut turn.busy, Busy::Reading(at));
        matches!(before, Busy::Opening(true))
    }

    /// The lane has done what it was busy with; the frame whose turn is next.
    pub(super) fn done(&mut self, lane: &Lane) -> Option<ClientFrame> {
        self.count = self.count.saturating_sub(1);
        let turn = self.lanes.get_mut(lane)?;
        turn.busy = Busy::Opening(false);
        let Some((frame, bytes)) = turn.waiting.pop_front() else {
            self.lanes.remove(lane);
            return None;
        };
        self.bytes -= bytes;
        Some(frame)
    }

    /// Cancels what the lane is busy with.
    pub(super) fn cancel(&mut self, lane: &Lane) -> ToCancel {
        match self.lanes.get_mut(lane).map(|turn| &mut turn.busy) {
            Some(Busy::Opening(cancelled)) => {
                *cancelled = true;
                ToCancel::Later
            }
            Some(Busy::Reading(Some(at))) => ToCancel::Now(at.clone()),
            Some(Busy::Reading(None)) | None => ToCancel::Nothing,
        }
    }

    /// Whether one of the lanes reads this response.
    pub(super) fn has(&self, of: &Address) -> bool {
        self.lanes.values().any(|turn| match &turn.busy {
            Busy::Reading(at) => at.as_ref().is_some_and(|at| at.id == of.id),
            Busy::Opening(_) => false,
        })
    }
}
