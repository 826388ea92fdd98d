//! `GET /api/chat/ws`: the AI SDK's chat over a WebSocket, as its `WebSocketChatTransport` speaks
//! it. The same wire, limits and patience as `/v1/ws`; other words.
mod frames;
mod work;

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::{self, AbortHandle, Abortable, BoxStream, FuturesUnordered, SelectAll};
use futures_util::{FutureExt, StreamExt};
use serde_json::value::RawValue;
use tokio_util::task::AbortOnDropHandle;

use super::connection::{Clients, Connection};
use super::frames::CloseCode;
use super::inbound::Inbound;
use super::{Socket, TASKS, opened};
use crate::http::dialect::frames_in;
use crate::http::problem::Problem;
use crate::http::{EngineData, caller, trace};
use crate::ports::Address;
use frames::{ClientFrame, ServerFrame, parse};
use work::{Opened, Outcome, Worker};

/// Opens one.
pub(in crate::http) async fn open(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (engine, trace) = (engine.get_ref().clone(), trace::of(&request));
    let worker = Worker { engine, caller: caller(&request)?, trace };
    opened(&request, Chat::new(worker, payload))
}

/// Where a request stands.
enum Request {
    /// Its answer is being started or found; `true` if it was aborted meanwhile.
    Opening(bool),
    Reading(Address, AbortHandle, u64),
}

/// The next parts of a request's answer; `None` behind the last.
type Parts = (String, Option<Bytes>);

/// One connection, as the body of its response.
struct Chat {
    worker: Worker,
    connection: Connection,
    tasks: FuturesUnordered<AbortOnDropHandle<Outcome>>,
    requests: HashMap<String, Request>,
    reading: SelectAll<Abortable<BoxStream<'static, Parts>>>,
}

impl Chat {
    fn new(worker: Worker, payload: web::Payload) -> Self {
        let inbound = Inbound::new(payload, worker.engine.limits().socket.frame_bytes);
        let connection = Connection::new(&worker.engine, &worker.caller, inbound, Clients::Ours);
        Self {
            worker,
            connection,
            tasks: FuturesUnordered::new(),
            requests: HashMap::new(),
            reading: SelectAll::new(),
        }
    }
}

impl Socket for Chat {
    async fn step(&mut self) {
        let listens = self.tasks.len() < TASKS;
        tokio::select! {
            heard = self.connection.heard(listens) => if let Some(text) = heard {
                self.heard(&text);
            },
            Some(done) = self.tasks.next() => match done {
                Ok((request, opened)) => self.opened(request, opened),
                Err(error) => tracing::error!(%error, "a task of a socket failed"),
            },
            Some(parts) = self.reading.next() => self.told(parts),
        }
    }

    fn write_ready(&mut self) -> bool {
        let Some(Some(parts)) = self.reading.next().now_or_never() else { return false };
        self.told(parts);
        true
    }

    fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Chat {
    fn heard(&mut self, text: &str) {
        match parse(text) {
            Ok((request, frame)) => self.asked(request, frame),
            Err((Some(request), problem)) => self.fail(&request, *problem),
            // The transport sends none: there is nobody whom an answer would reach.
            Err((None, _)) => self.connection.close(CloseCode::BadFrames),
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
            Ok(None) => {
                return self.connection.out.frame(&ServerFrame::NoActive { request_id: &request });
            }
            Err(problem) => return self.fail(&request, problem),
        };
        if resumed {
            self.connection.out.frame(&ServerFrame::Start { request_id: &request });
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
            return self.connection.out.frame(&ServerFrame::End { request_id: &request });
        };
        for data in frames_in(&bytes) {
            // The end of the parts says the same.
            let Ok(chunk) = serde_json::from_str::<&RawValue>(data).map_err(drop) else { continue };
            if chunk.get().starts_with('{') {
                let chunk = ServerFrame::Chunk { request_id: &request, sequence: *number, chunk };
                self.connection.out.frame(&chunk);
                *number += 1;
            }
        }
    }

    fn fail(&mut self, request: &str, problem: Problem) {
        let (_, text, _) = problem.into_parts();
        self.connection.out.frame(&ServerFrame::Error { request_id: request, error_text: &text });
    }
}
