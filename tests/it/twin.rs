//! One reader over SSE and one over a WebSocket, of one generation, as one. Both see the same, byte
//! for byte. So each scenario that reads is run over both.
use tokio::time::Instant;

use crate::client::{Client, PATIENCE, Reader, Received, Transport};

/// Both readers, side by side.
pub(crate) struct Twin {
    client: Client,
    id: String,
    /// The last event that both have.
    cursor: u64,
    sides: [Side; 2],
}

/// One of them.
struct Side {
    over: Transport,
    /// `None` once it has ended.
    reader: Option<Reader>,
    /// Its next event, until the other one has that, too.
    ready: Option<Received>,
}

impl Side {
    /// Waits for its next event, or its end. Cancel safe.
    async fn fill(&mut self) {
        if self.ready.is_none()
            && let Some(reader) = &mut self.reader
        {
            self.ready = Box::pin(reader.next()).await;
            if self.ready.is_none() {
                self.reader = None;
            }
        }
    }
}

impl Twin {
    /// Opens both behind `after`.
    pub(crate) async fn open(client: &Client, id: &str, after: u64) -> Self {
        let side = async |over| {
            let reader = Box::pin(client.over(over).events(id, after)).await;
            Side { over, reader: Some(reader), ready: None }
        };
        let sides = [side(Transport::Sse).await, side(Transport::WebSocket).await];
        Self { client: client.clone(), id: id.to_owned(), cursor: after, sides }
    }

    /// The next event; `None` when both have ended. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Received> {
        let [sse, socket] = &mut self.sides;
        tokio::join!(sse.fill(), socket.fill());
        // A cut of both, as by the death of a server, may cut one of them earlier.
        if let [Side { ready: None, .. }, Side { ready: Some(_), .. }]
        | [Side { ready: Some(_), .. }, Side { ready: None, .. }] = self.sides
        {
            self.come_back().await;
        }
        let events: Vec<Received> = self.sides.iter_mut().filter_map(|s| s.ready.take()).collect();
        if let [sse, socket] = &events[..] {
            assert_eq!(sse, socket, "the same bytes over both");
        }
        let event = events.into_iter().next()?;
        self.cursor = event.id;
        Some(event)
    }

    /// The one that has ended resumes where it is, as long as there is a server that lets it. If
    /// there is none, the following events were on their way to the other one.
    async fn come_back(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        for side in &mut self.sides {
            while side.ready.is_none() {
                assert!(Instant::now() < give_up, "{:?} sees less than the other", side.over);
                let client = self.client.over(side.over);
                let asked = Box::pin(client.ask_events(&self.id, self.cursor)).await;
                let Some((_, Some(reader))) = asked else { break };
                side.reader = Some(reader);
                side.fill().await;
            }
        }
    }
}
