//! The thin loop: what comes in, what was read, what has been done, time; and out it goes.
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Payload;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::AbortOnDropHandle;

use super::frames::CloseCode;
use super::inbound::Inbound;
use super::outbox::Outbox;
use super::presence::Presence;
use super::reading::{Read, Reading};
use super::session::{Effect, Session, Slot, refuse};
use super::wire::{Fault, Message};
use super::work::{Outcome, Reader, Worker};
use super::{CHUNK, TASKS};
use crate::domain::coalesce::coalesce;
use crate::domain::entry::Kind;
use crate::domain::id::{ConversationId, GenerationId};
use crate::engine::{Caller, Change, Engine, Item, PollGate};
use crate::metrics::Counted;

enum Event {
    /// `None` when the client is gone.
    Heard(Option<Result<Message, Fault>>),
    Done(Result<Outcome, JoinError>),
    Read(Read),
    Room(ConversationId, Change),
    Alarm,
    Stop,
    Over,
}

/// One connection, as the body of its response.
pub(super) struct Drive {
    worker: Worker,
    session: Session,
    inbound: Inbound,
    tasks: FuturesUnordered<AbortOnDropHandle<Outcome>>,
    reading: Reading,
    /// Whether what comes in has its turn before what is read, which may always be ready.
    hears_first: bool,
    presence: Presence,
    /// One future, for what happens seldom: the next alarm, the server's end, the credential's.
    seldom: PollGate<dyn Future<Output = Event>>,
    alarm_at: Instant,
    stop: CancellationToken,
    out: Outbox,
    /// When it is too late for the last bytes to be taken.
    stuck_at: Option<Instant>,
    _open: Counted,
}

impl Drive {
    pub(super) fn new(worker: Worker, payload: Payload) -> Self {
        let limits = worker.engine.limits().socket;
        let who = (worker.connection.clone(), worker.guest());
        let lasts = (worker.caller.is_some(), worker.engine.connection_age());
        let (session, effects) = Session::open(who, limits, lasts, Instant::now());
        let stop = worker.engine.closing();
        let mut drive = Self {
            inbound: Inbound::new(payload, limits.frame_bytes),
            tasks: FuturesUnordered::new(),
            reading: Reading::default(),
            presence: Presence::default(),
            hears_first: false,
            seldom: seldom(session.alarm_at(), &worker.engine, worker.caller.as_ref()),
            alarm_at: session.alarm_at(),
            stop,
            out: Outbox::default(),
            stuck_at: None,
            _open: Counted::new(worker.engine.metrics().sockets.clone()),
            worker,
            session,
        };
        drive.follow(effects);
        drive
    }

    /// Everything that is ready to go out, when there is something; `None` after the last of it.
    /// Called again as soon as the socket has room.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // One look at the clock for all that is asked of it.
        let now = Instant::now();
        if self.stuck_at.take().is_some_and(|stuck_at| stuck_at <= now) {
            self.worker.engine.metrics().slow_cut.inc();
            let effects = self.session.close(CloseCode::TooSlow);
            self.follow(effects);
        }
        while self.out.len() == 0 {
            if self.session.is_closed() {
                return Poll::Ready(None);
            }
            let event = ready!(self.poll_event(now, cx));
            self.on(event, now);
        }
        self.gather(cx);
        self.stuck_at = Some(now + self.worker.engine.limits().stuck);
        Poll::Ready(Some(self.out.take()))
    }

    fn poll_event(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<Event> {
        let hears_first = self.hears_first;
        for hears in [hears_first, !hears_first] {
            let event = if hears {
                self.poll_heard(cx)
            } else {
                self.reading.poll_next(cx).map(Event::Read)
            };
            if event.is_ready() {
                self.hears_first = !hears;
                return event;
            }
        }
        // To ask a set costs as much when it is empty, and mostly these are.
        if !self.tasks.is_empty()
            && let Poll::Ready(Some(done)) = self.tasks.poll_next_unpin(cx)
        {
            return Poll::Ready(Event::Done(done));
        }
        if let Poll::Ready(Some((conversation, change))) = self.presence.poll_next(cx) {
            return Poll::Ready(Event::Room(conversation, change));
        }
        let is_over = self.worker.caller.as_ref().is_some_and(Caller::is_over);
        let due = self.alarm_at <= now || self.stop.is_cancelled() || is_over;
        self.seldom.poll(due, cx)
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.tasks.len() >= TASKS || !self.session.hears() {
            return Poll::Pending;
        }
        self.inbound.poll_next(cx).map(Event::Heard)
    }

    /// Looks out for the next alarm, and for the end of another caller's credential.
    fn watch(&mut self) {
        self.alarm_at = self.session.alarm_at();
        self.seldom = seldom(self.alarm_at, &self.worker.engine, self.worker.caller.as_ref());
    }

    /// Takes the rest that is ready: the next call waits for more.
    fn gather(&mut self, cx: &mut Context<'_>) {
        while self.out.len() < CHUNK && !self.session.is_closed() {
            let Poll::Ready(read) = self.reading.poll_next(cx) else {
                self.hears_first = false;
                return;
            };
            self.read(read);
        }
        self.hears_first = true;
    }

    fn on(&mut self, event: Event, now: Instant) {
        let effects = match event {
            Event::Heard(Some(heard)) => self.session.hear(heard, now),
            Event::Heard(None) => {
                // Nobody is there to be told.
                self.session.close(CloseCode::NoPong);
                Vec::new()
            }
            Event::Done(Ok(outcome)) => return self.done(outcome),
            Event::Done(Err(error)) => {
                tracing::error!(%error, "a task of a socket failed");
                Vec::new()
            }
            Event::Read(read) => return self.read(read),
            Event::Room(conversation, change) if self.session.is_in(conversation) => {
                Session::changed(conversation, change)
            }
            Event::Room(..) => Vec::new(),
            Event::Alarm => {
                let effects = self.session.alarm(now);
                self.watch();
                effects
            }
            Event::Stop => self.session.close(CloseCode::Draining),
            Event::Over => self.session.close(CloseCode::Credential),
        };
        self.follow(effects);
    }

    fn read(&mut self, read: Read) {
        let Read { generation, slot, item, coalesce: joined } = read;
        let over = match item {
            Some(Item::Heartbeat) => None,
            Some(Item::Entries(entries)) => {
                let whole = entries.last().is_some_and(|entry| entry.kind == Kind::Done);
                let entries = if joined { coalesce(entries) } else { entries };
                self.out.events(generation, &entries);
                whole.then_some(true)
            }
            None if self.worker.engine.is_draining() => {
                let effects = self.session.close(CloseCode::Draining);
                return self.follow(effects);
            }
            None => Some(false),
        };
        if let Some(whole) = over {
            self.reading.end(slot);
            let effects = self.session.ended(generation, whole);
            self.follow(effects);
        }
    }

    fn done(&mut self, outcome: Outcome) {
        let effects = match outcome {
            Outcome::Identified(reference, caller) => {
                let caller = caller.filter(|caller| self.may_become(caller));
                let known = caller.is_some();
                self.worker.caller = caller;
                self.watch();
                self.session.identified(reference, known)
            }
            Outcome::Started(reference, Ok((found, reader))) => {
                let generation = found.generation;
                let (effects, slot) = self.session.started(reference, found);
                if let Some(slot) = slot {
                    self.begin(generation, slot, reader);
                }
                effects
            }
            Outcome::Opened(reference, place, Ok((standing, reader))) => {
                if self.session.follows(place.0, place.1) {
                    self.begin(place.0, place.1, reader);
                }
                self.session.subscribed(reference, place, standing)
            }
            Outcome::Opened(reference, place, Err(problem)) => {
                self.session.not_subscribed(reference, place, problem)
            }
            Outcome::Joined(reference, conversation, found) => {
                if found.is_ok() && self.session.is_in(conversation) {
                    let who = self.session.participant().clone();
                    let room = self.worker.engine.enter(&self.worker.room(conversation), who);
                    self.presence.enter(conversation, room);
                }
                self.session.joined(reference, conversation, found)
            }
            Outcome::Cancelled(reference, Ok(receipt)) => Session::cancelled(reference, receipt),
            Outcome::Started(reference, Err(problem))
            | Outcome::Cancelled(reference, Err(problem)) => refuse(reference, problem),
        };
        self.follow(effects);
    }

    /// A socket that one tenant opened does not change to another tenant. The other's key would
    /// keep it open when the first one's is revoked.
    fn may_become(&self, caller: &Caller) -> bool {
        let known = self.worker.caller.as_ref();
        let other = known.is_some_and(|known| known.tenant() != caller.tenant());
        !other || (self.tasks.is_empty() && !self.session.holds())
    }

    fn begin(&mut self, generation: GenerationId, slot: Slot, reader: Reader) {
        if let Some(session) = reader.session {
            self.reading.begin((generation, slot), session, reader.coalesce);
        }
    }

    fn follow(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(frame) => self.out.frame(&frame),
                Effect::Ping => self.out.ping(),
                Effect::Pong(payload) => self.out.pong(&payload),
                Effect::Do(task) => {
                    let worker = self.worker.clone();
                    let engine = worker.engine.clone();
                    self.tasks.push(engine.aside(worker.run(task)));
                }
                Effect::Drop(slot) => self.reading.end(slot),
                Effect::Leave(conversation) => self.presence.leave(conversation),
                Effect::Type(conversation, active) => self.presence.types(conversation, active),
                Effect::Close(code) => {
                    self.let_go();
                    self.out.close(code);
                }
                Effect::Echo(code) => {
                    self.let_go();
                    self.out.echo(code);
                }
            }
        }
    }

    /// The connection is over: nobody reads any more, and nothing is waited for.
    fn let_go(&mut self) {
        self.reading = Reading::default();
        self.tasks.clear();
        self.presence = Presence::default();
    }
}

impl MessageBody for Drive {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        self.get_mut().poll(cx).map(|bytes| bytes.map(Ok))
    }
}

/// The alarm, the server's end, or that of the caller's credential.
fn seldom(
    alarm_at: Instant,
    engine: &Engine,
    caller: Option<&Caller>,
) -> PollGate<dyn Future<Output = Event>> {
    let (alarm, leave, over) = (sleep_until(alarm_at), engine.leave(), over(caller));
    PollGate::new(Box::pin(async move {
        tokio::select! {
            () = alarm => Event::Alarm,
            () = leave => Event::Stop,
            () = over => Event::Over,
        }
    }))
}

/// Ends with the caller's credential; never, without a caller.
fn over(caller: Option<&Caller>) -> WaitForCancellationFutureOwned {
    caller.map_or_else(|| CancellationToken::new().cancelled_owned(), Caller::over)
}
