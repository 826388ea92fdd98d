//! `GET /api/chat/ws`: the AI SDK's chat over a WebSocket, as its `WebSocketChatTransport` speaks
//! it. The same wire, limits and patience as `/v1/ws`; other words.
mod frames;
mod work;

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;

use actix_web::body::BodyStream;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::{self, AbortHandle, Abortable, BoxStream, FuturesUnordered, SelectAll};
use futures_util::{FutureExt, StreamExt};
use serde_json::value::RawValue;
use tokio::task::JoinError;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tokio_util::task::AbortOnDropHandle;

use super::frames::CloseCode;
use super::inbound::Inbound;
use super::outbox::Outbox;
use super::rate_limit::Rate;
use super::session::{MISSED, code};
use super::wire::{Fault, Message};
use super::{not_ours, offered, shake_hands};
use crate::http::problem::Problem;
use crate::http::{EngineData, caller, trace};
use crate::metrics::Counted;
use crate::ports::Address;
use frames::{ClientFrame, ServerFrame, parse};
use work::{Opened, Outcome, Worker};

/// Enough for one write; what is ready beyond it waits where it is.
const CHUNK: usize = 32 * 1024;
/// Tasks of one socket at a time. A client that asks for more waits: nothing more is read from it.
const TASKS: usize = 16;

/// Opens one. Who may not have it is refused as on any route: the transport tells no codes apart.
pub(in crate::http) async fn open(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    if let Some(response) = not_ours(&request) {
        return Ok(response);
    }
    // The subprotocol is the application's own, and says nothing here.
    let response = shake_hands(&request, offered(&request).first().map_or("", String::as_str))?;
    let (engine, trace) = (engine.get_ref().clone(), trace::of(&request));
    let worker = Worker { engine, caller: caller(&request)?, trace };
    let chat = Chat::new(worker, payload);
    let bytes = stream::unfold(chat, |mut chat| async move {
        let next = chat.next().await?;
        Some((Ok::<_, Infallible>(next), chat))
    });
    Ok(response.set_body(BodyStream::new(bytes.boxed_local())).map_into_boxed_body())
}

/// Where a request stands.
enum Request {
    /// Its answer is being started or found; `true` if it was aborted meanwhile.
    Opening(bool),
    Reading(Address, AbortHandle, u64),
}

/// The next parts of a request's answer; `None` behind the last.
type Parts = (String, Option<Bytes>);

enum Event {
    Heard(Option<Result<Message, Fault>>),
    Done(Result<Outcome, JoinError>),
    Parts(Parts),
    Alarm,
    Close(CloseCode),
}

/// One connection, as the body of its response.
struct Chat {
    worker: Worker,
    inbound: Inbound,
    rate: Rate,
    tasks: FuturesUnordered<AbortOnDropHandle<Outcome>>,
    requests: HashMap<String, Request>,
    reading: SelectAll<Abortable<BoxStream<'static, Parts>>>,
    unanswered: u32,
    alarm: Pin<Box<Sleep>>,
    too_old: Pin<Box<Sleep>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    out: Outbox,
    /// Since when the last bytes have been waiting to be taken.
    handed: Option<Instant>,
    closed: bool,
    _open: Counted,
}

impl Chat {
    fn new(worker: Worker, payload: web::Payload) -> Self {
        let (engine, now) = (&worker.engine, Instant::now());
        let limits = engine.limits().socket;
        Self {
            inbound: Inbound::new(payload, limits.frame_bytes),
            rate: Rate::new(limits.frames_per_s, now),
            tasks: FuturesUnordered::new(),
            requests: HashMap::new(),
            reading: SelectAll::new(),
            unanswered: 0,
            alarm: Box::pin(sleep_until(now + limits.ping)),
            too_old: Box::pin(sleep_until(now + engine.connection_age())),
            stop: Box::pin(engine.closing().cancelled_owned()),
            over: Box::pin(worker.caller.over()),
            out: Outbox::default(),
            handed: None,
            closed: false,
            _open: Counted::new(engine.metrics().sockets.clone()),
            worker,
        }
    }

    /// Everything that is ready to go out, when there is something; `None` after the last of it.
    async fn next(&mut self) -> Option<Bytes> {
        let stuck = self.worker.engine.limits().stuck;
        if self.handed.take().is_some_and(|since| since.elapsed() >= stuck) {
            self.worker.engine.metrics().slow_cut.inc();
            self.close(CloseCode::TooSlow);
        }
        while self.out.len() == 0 {
            if self.closed {
                return None;
            }
            self.step().await;
        }
        while self.out.len() < CHUNK && !self.closed {
            let Some(Some(parts)) = self.reading.next().now_or_never() else { break };
            self.told(parts);
        }
        self.handed = Some(Instant::now());
        Some(self.out.take())
    }

    async fn step(&mut self) {
        let event = tokio::select! {
            heard = self.inbound.next(), if self.tasks.len() < TASKS => Event::Heard(heard),
            Some(done) = self.tasks.next() => Event::Done(done),
            Some(parts) = self.reading.next() => Event::Parts(parts),
            () = self.alarm.as_mut() => Event::Alarm,
            () = self.too_old.as_mut() => Event::Close(CloseCode::TooOld),
            () = self.stop.as_mut() => Event::Close(CloseCode::Draining),
            () = self.over.as_mut() => Event::Close(CloseCode::Credential),
        };
        match event {
            Event::Heard(Some(Ok(message))) => self.heard(message),
            Event::Heard(Some(Err(fault))) => self.close(code(fault)),
            // Nobody is there to be told.
            Event::Heard(None) => self.let_go(),
            Event::Done(Ok((request, opened))) => self.opened(request, opened),
            Event::Done(Err(error)) => tracing::error!(%error, "a task of a socket failed"),
            Event::Parts(parts) => self.told(parts),
            Event::Alarm if self.unanswered >= MISSED => self.close(CloseCode::NoPong),
            Event::Alarm => {
                self.unanswered += 1;
                self.alarm.as_mut().reset(Instant::now() + self.worker.engine.limits().socket.ping);
                self.out.ping();
            }
            Event::Close(code) => self.close(code),
        }
    }

    fn heard(&mut self, message: Message) {
        self.unanswered = 0;
        let bytes = if let Message::Text(text) = &message { text.len() } else { 0 };
        if !self.rate.allows(bytes, Instant::now()) {
            return self.close(CloseCode::Rate);
        }
        match message {
            Message::Text(text) => match parse(&text) {
                Ok((request, frame)) => self.asked(request, frame),
                Err((Some(request), problem)) => self.fail(&request, *problem),
                // The transport sends none: there is nobody whom an answer would reach.
                Err((None, _)) => self.close(CloseCode::BadFrames),
            },
            Message::Part | Message::Pong => {}
            Message::Ping(payload) => self.out.pong(&payload),
            Message::Close(code) => {
                self.let_go();
                self.out.echo(code);
            }
        }
    }

    fn asked(&mut self, request: String, frame: ClientFrame) {
        if let ClientFrame::Abort = frame {
            return self.abort(&request);
        }
        let most = self.worker.engine.limits().socket.subscriptions;
        if self.requests.contains_key(&request) || self.requests.len() >= most {
            let detail = format!("a `requestId` is used once, and {most} run at a time");
            return self.fail(&request, Problem::bad_request("too_many_subscriptions", detail));
        }
        self.requests.insert(request.clone(), Request::Opening(false));
        let work = self.worker.clone().run(request, frame);
        self.tasks.push(self.worker.engine.aside(work));
    }

    /// Unlike a page that goes away, this ends the answer.
    fn abort(&mut self, request: &str) {
        match self.requests.remove(request) {
            Some(Request::Reading(at, handle, _)) => {
                handle.abort();
                self.cancel(at);
            }
            Some(Request::Opening(_)) => {
                self.requests.insert(request.to_owned(), Request::Opening(true));
            }
            None => {}
        }
    }

    /// Goes on when the connection ends.
    fn cancel(&self, at: Address) {
        drop(self.worker.engine.aside(self.worker.clone().cancel(at)).detach());
    }

    fn opened(&mut self, request: String, opened: Result<Option<Opened>, Problem>) {
        let aborted = matches!(self.requests.remove(&request), Some(Request::Opening(true)));
        let Opened { at, resumed, first, parts } = match opened {
            Ok(Some(opened)) if aborted => return self.cancel(opened.at),
            Ok(Some(opened)) => opened,
            Ok(None) => return self.out.frame(&ServerFrame::NoActive { request_id: &request }),
            Err(problem) => return self.fail(&request, problem),
        };
        if resumed {
            self.out.frame(&ServerFrame::Start { request_id: &request });
        }
        let (handle, registration) = AbortHandle::new_pair();
        let name = request.clone();
        let end = stream::once(async { None });
        let parts = parts.map(Some).chain(end).map(move |bytes| (name.clone(), bytes));
        self.reading.push(Abortable::new(parts.boxed(), registration));
        self.requests.insert(request, Request::Reading(at, handle, first));
    }

    fn told(&mut self, (request, bytes): Parts) {
        let Some(Request::Reading(_, _, number)) = self.requests.get_mut(&request) else { return };
        let Some(bytes) = bytes else {
            self.requests.remove(&request);
            return self.out.frame(&ServerFrame::End { request_id: &request });
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        for data in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
            // The end of the parts says the same.
            let Ok(chunk) = serde_json::from_str::<&RawValue>(data).map_err(drop) else { continue };
            if chunk.get().starts_with('{') {
                let chunk = ServerFrame::Chunk { request_id: &request, sequence: *number, chunk };
                self.out.frame(&chunk);
                *number += 1;
            }
        }
    }

    fn fail(&mut self, request: &str, problem: Problem) {
        let (_, text, _) = problem.into_parts();
        self.out.frame(&ServerFrame::Error { request_id: request, error_text: &text });
    }

    fn close(&mut self, code: CloseCode) {
        self.let_go();
        self.out.close(code);
    }

    /// The connection is over: nobody reads any more, and nothing is waited for.
    fn let_go(&mut self) {
        self.closed = true;
        self.reading.clear();
        self.tasks.clear();
        self.requests.clear();
    }
}
