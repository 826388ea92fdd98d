//! Reads a generation to its last word, over cuts, restarts and other instances: each event once.
use std::time::Duration;

use eventsource_stream::EventStreamError;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{Client, ClientError};
use crate::domain::event::Event;

/// How long a server may be gone before it is given up: longer than a restart or a deploy.
const PATIENCE: Duration = Duration::from_secs(120);
/// The first pause before another try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Events as they come over one connection.
pub(super) type Body =
    BoxStream<'static, Result<eventsource_stream::Event, EventStreamError<reqwest::Error>>>;

/// A generation whose events are being read.
pub(super) struct Opened {
    pub(super) id: String,
    /// `None` to connect first.
    pub(super) body: Option<Body>,
}

/// The next step.
#[expect(clippy::large_enum_variant, reason = "one at a time")]
pub(super) enum Told {
    /// An event: its object as the server wrote it, and what it is, if this build knows it.
    Event(String, Option<Event>),
    /// The server is gone; it is asked again until it is back.
    Gone(String),
}

/// One reader.
pub(super) struct Following<'a> {
    client: &'a Client,
    opened: Opened,
    /// The seq of the last event that was told.
    last: u64,
    ended: bool,
    /// Since when there is no server, and the pause before the next try.
    gone: Option<(Instant, Duration)>,
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
    from: Option<u64>,
    r#type: String,
}

impl<'a> Following<'a> {
    pub(super) fn new(client: &'a Client, opened: Opened, last: u64) -> Self {
        Self { client, opened, last, ended: false, gone: None }
    }

    pub(super) fn id(&self) -> &str {
        &self.opened.id
    }

    /// The next thing; `None` behind the ending.
    ///
    /// # Errors
    /// The server refuses, or was gone for longer than [`PATIENCE`].
    pub(super) async fn next(&mut self) -> Result<Option<Told>, ClientError> {
        while !self.ended {
            let Some(body) = &mut self.opened.body else {
                if let Some(told) = self.connect().await? {
                    return Ok(Some(told));
                }
                continue;
            };
            match body.next().await {
                Some(Ok(event)) => {
                    if let Some(told) = self.take(event.data) {
                        return Ok(Some(told));
                    }
                }
                // A stream that ends before `done` asks its reader to come back.
                Some(Err(_)) | None => self.opened.body = None,
            }
        }
        Ok(None)
    }

    async fn connect(&mut self) -> Result<Option<Told>, ClientError> {
        if let Some((_, pause)) = &mut self.gone {
            sleep(*pause).await;
            *pause = (*pause * 2).min(LONGEST_PAUSE);
        }
        let first = self.gone.is_none();
        // Forgotten with the next event: a server that ends every stream at once is not there.
        let (since, _) = *self.gone.get_or_insert_with(|| (Instant::now(), FIRST_PAUSE));
        match self.client.events(&self.opened.id, self.last).await {
            Ok(Some(body)) => self.opened.body = Some(body),
            Ok(None) => self.ended = true,
            Err(error) if error.may_pass() && since.elapsed() < PATIENCE => {
                return Ok(first.then(|| Told::Gone(error.to_string())));
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// Applies the rules of the protocol. The next event counts and an old one is dropped. Behind a
    /// gap the reader comes back with its cursor.
    fn take(&mut self, json: String) -> Option<Told> {
        let numbered: Numbered = serde_json::from_str(&json).ok()?;
        if numbered.seq <= self.last {
            return None;
        }
        let follows = numbered.from.unwrap_or(numbered.seq) == self.last + 1;
        if !follows && numbered.r#type != "snapshot" {
            self.opened.body = None;
            return None;
        }
        self.last = numbered.seq;
        self.gone = None;
        self.ended = numbered.r#type == "done";
        let event = serde_json::from_str(&json).ok();
        Some(Told::Event(json, event))
    }
}
