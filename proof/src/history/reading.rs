//! The sum of connections.
use super::{Connection, Ending, Event, Reader, SILENT_END};

impl Connection {
    /// The events that all readers have to agree in.
    pub fn lasting(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| !event.transient)
    }

    /// Its first ending.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.events.iter().find_map(|event| event.ending)
    }

    /// Only the end of the body marks its end, without a status.
    #[must_use]
    pub fn ended_silently(&self) -> bool {
        self.events.last().is_some_and(|event| event.raw == SILENT_END)
    }

    /// The text as a reader has it at the end of this connection alone.
    #[must_use]
    pub fn text(&self) -> String {
        text(self.lasting())
    }

    /// The server answered with a stream, or with 204.
    #[must_use]
    pub fn let_in(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The text of these events, without what was declared void.
#[must_use]
pub fn text<'a>(events: impl Iterator<Item = &'a Event>) -> String {
    let mut text = String::new();
    for event in events {
        if event.void {
            text.clear();
        }
        text.push_str(&event.text);
    }
    text
}

impl Reader {
    /// The state of this reader after all its connections. Each goes on behind the cursor of the
    /// one before. Where a resume replays, only the last connection that was let in counts.
    #[must_use]
    pub fn assembled(&self, replays: bool) -> Vec<&Event> {
        let mut have: Vec<&Event> = Vec::new();
        for connection in self.connections.iter().filter(|c| c.let_in() && !c.events.is_empty()) {
            match (&connection.cursor, replays) {
                (None, _) | (_, true) => have.clear(),
                (Some(cursor), false) => {
                    let behind = have.iter().rposition(|e| e.cursor.as_ref() == Some(cursor));
                    have.truncate(behind.map_or(0, |at| at + 1));
                }
            }
            have.extend(&connection.events);
        }
        have.retain(|event| !event.transient);
        have
    }

    /// Its last connection.
    #[must_use]
    pub fn last(&self) -> Option<&Connection> {
        self.connections.last()
    }
}
