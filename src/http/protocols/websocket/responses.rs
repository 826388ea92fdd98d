//! `GET /v1/responses` as a WebSocket: OpenAI's Responses over one connection, and resumed there.
//! <https://platform.openai.com/docs/guides/websocket-mode>
//!
//! The wire, the close codes and the patience of `/v1/ws`; a frame may be as large as the body of a
//! request.
pub(super) mod asyncapi;
mod frames;
mod lanes;
mod prepared;
mod read_here;
mod work;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, FuturesUnordered, SelectAll};
use futures_util::{FutureExt, StreamExt};
use serde_json::value::RawValue;
use tokio_util::task::AbortOnDropHandle;

use super::connection::{Clients, Connection};
use super::inbound::Inbound;
use super::{Socket, TASKS, opened};
use crate::http::body::{self, Share};
use crate::http::dialect::frames_in;
use crate::http::large;
use crate::http::problem::Problem;
use crate::http::protocols::openai_responses::socket::{Before, END, parse_id, refusal};
use crate::http::{EngineData, caller, trace};
use crate::ports::Address;
use frames::{ClientFrame, Lane, in_lane, named, not_steered, parse};
use lanes::{Lanes, ToCancel};
use prepared::BackgroundResponse;
use read_here::ReadHere;
use work::{Opened, Outcome, Worker};

/// A larger frame is parsed off the worker, in bytes.
const AT_ONCE: usize = 256 * 1024;

/// Opens one.
pub(in crate::http) async fn open(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (engine, trace) = (engine.get_ref().clone(), trace::of(&request));
    let inbound = Inbound::new(payload, body::limit(&engine)).sharing(Share::of(&request));
    let worker = Worker { engine, caller: caller(&request)?, trace };
    opened(&request, Responses::new(worker, inbound))
}

/// The next events of a lane, and whether they are the last.
type Parts = (Lane, Bytes, bool);

/// One connection, as the body of its response.
struct Responses {
    worker: Worker,
    connection: Connection,
    tasks: FuturesUnordered<AbortOnDropHandle<Outcome>>,
    lanes: Lanes,
    reading: SelectAll<BoxStream<'static, Parts>>,
    kept: BackgroundResponse,
    read: ReadHere,
}

impl Responses {
    fn new(worker: Worker, inbound: Inbound) -> Self {
        let engine = &worker.engine;
        let most_bytes = body::limit(engine);
        Self {
            connection: Connection::new(engine, &worker.caller, inbound, Clients::OpenAi),
            tasks: FuturesUnordered::new(),
            lanes: Lanes::new(engine.limits().socket.subscriptions, most_bytes),
            reading: SelectAll::new(),
            kept: BackgroundResponse::new(most_bytes),
            read: ReadHere::default(),
            worker,
        }
    }
}

impl Socket for Responses {
    async fn step(&mut self) {
        let listens = self.tasks.len() < TASKS;
        tokio::select! {
            heard = self.connection.heard(listens) => if let Some(text) = heard {
                self.heard(text).await;
            },
            Some(done) = self.tasks.next() => match done {
                Ok(outcome) => self.done(outcome),
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

impl Responses {
    async fn heard(&mut self, text: String) {
        let bytes = text.len();
        let parsed = if bytes <= AT_ONCE {
            parse(&text)
        } else {
            let parsed = web::block(move || parse(&text)).await;
            parsed.unwrap_or_else(|_| Err((None, Box::new(Problem::internal()))))
        };
        match parsed {
            Ok((lane, frame)) => self.asked(lane, frame, bytes),
            Err((lane, problem)) => {
                self.fail(&lane, &problem);
                self.connection.mistake();
            }
        }
    }

    fn asked(&mut self, lane: Lane, frame: ClientFrame, bytes: usize) {
        match &frame {
            ClientFrame::Steer { previous_response_id, input } => {
                let answer = not_steered(&lane, previous_response_id, input);
                return self.connection.out.frame(&answer);
            }
            ClientFrame::Cancel { response_id } => {
                if self.cancels(&lane, response_id.as_deref()) {
                    return;
                }
            }
            ClientFrame::Create(_) | ClientFrame::Retrieve { .. } => {}
        }
        match self.lanes.enter(&lane, frame, bytes) {
            Ok(Some(frame)) => self.begin(lane, frame),
            Ok(None) => {}
            Err(problem) => self.fail(&lane, &problem),
        }
    }

    /// Cancels what this connection is busy with; false for another response.
    fn cancels(&mut self, lane: &Lane, response: Option<&str>) -> bool {
        let Some(id) = response else {
            match self.lanes.cancel(lane) {
                ToCancel::Now(at) => self.cancel(lane.clone(), at),
                ToCancel::Later => {}
                ToCancel::Nothing => {
                    let detail = "no response runs here: name one by `response_id`";
                    let problem = Problem::bad_request("response_not_active", detail);
                    self.fail(lane, &problem.with("field", "response_id"));
                }
            }
            return true;
        };
        let tenant = self.worker.caller.tenant().clone();
        let at = parse_id(id).ok().map(|id| Address { tenant, id });
        let Some(at) = at.filter(|at| self.lanes.has(at)) else { return false };
        self.cancel(lane.clone(), at);
        true
    }

    fn cancel(&self, lane: Lane, at: Address) {
        self.tasks.push(self.worker.engine.aside(self.worker.clone().cancel(lane, at)));
    }

    /// A frame's turn has come.
    fn begin(&mut self, lane: Lane, frame: ClientFrame) {
        let continues = match &frame {
            ClientFrame::Create(create) => create.continues(),
            ClientFrame::Retrieve { .. }
            | ClientFrame::Cancel { .. }
            | ClientFrame::Steer { .. } => None,
        };
        let prepared = continues.as_ref().and_then(|id| self.kept.find(id));
        let here = self.read.continues(&lane, continues.as_deref());
        let before = match prepared {
            Some(messages) => Before::Prepared(messages),
            None if here => Before::InLog,
            None => Before::IfStored,
        };
        let work = self.worker.clone().run(lane, frame, before);
        self.tasks.push(self.worker.engine.aside(work));
    }

    fn done(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Opened(lane, Ok(opened)) => self.opened(lane, opened),
            Outcome::Opened(lane, Err(problem)) => {
                self.read.failed(&lane, &problem);
                self.fail(&lane, &problem);
                self.go_on(lane);
            }
            Outcome::Cancelled(_, Ok(())) => {}
            Outcome::Cancelled(lane, Err(problem)) => self.fail(&lane, &problem),
        }
    }

    fn opened(&mut self, lane: Lane, Opened { at, prepared, parts }: Opened) {
        if let Some(prepared) = prepared {
            self.kept.keep(prepared);
        }
        self.read.opened(&lane, at.as_ref().map(|at| at.id));
        if self.lanes.reads(&lane, at.clone())
            && let Some(at) = at
        {
            self.cancel(lane.clone(), at);
        }
        // A client that has the last event finds the lane free.
        let parts = stream::unfold(Some((parts, lane)), |reading| async move {
            let (mut parts, lane) = reading?;
            let bytes = parts.next().await.unwrap_or(Bytes::from_static(END));
            let over = bytes.ends_with(END);
            Some(((lane.clone(), bytes, over), (!over).then_some((parts, lane))))
        });
        self.reading.push(parts.boxed());
    }

    fn told(&mut self, (lane, bytes, over): Parts) {
        for data in frames_in(&bytes) {
            let named = lane.as_deref().and_then(|lane| named(lane, data));
            let event = named.as_deref().unwrap_or(data);
            if serde_json::from_str::<&RawValue>(event).is_err() {
                continue;
            }
            self.connection.out.text(match &named {
                Some(named) => large::shared(Bytes::copy_from_slice(named.as_bytes())),
                None => bytes.slice_ref(data.as_bytes()),
            });
        }
        if over {
            self.go_on(lane);
        }
    }

    /// The lane's next frame.
    fn go_on(&mut self, lane: Lane) {
        if let Some(frame) = self.lanes.done(&lane) {
            self.begin(lane, frame);
        }
    }

    fn fail(&mut self, lane: &Lane, problem: &Problem) {
        self.connection.out.frame(&in_lane(lane, refusal(problem)));
    }
}
