//! Durable Streams in JSON mode, read by `live=sse`. Without a mapping the tool writes the stream
//! itself; with one, a server's own start makes it.
use serde_json::{Value, json};

use super::{Ask, Prompt, Reading, Template, Wire, Writes, json as parsed};
use crate::history::{self, Ending, Event, View};
use crate::sse::Frame;

pub(crate) struct Durable {
    pub(crate) map: Option<Template>,
}

impl Wire for Durable {
    fn name(&self) -> &'static str {
        "durable"
    }

    fn start(&self, prompt: &Prompt) -> Ask {
        match &self.map {
            Some(map) => map.start(prompt),
            None => self.create(&prompt.name),
        }
    }

    fn apart(&self) -> bool {
        true
    }

    fn id(&self, headers: &[(String, String)], body: &Value) -> Option<String> {
        self.map.as_ref().and_then(|map| map.id(headers, body))
    }

    fn named(&self, name: &str) -> Option<String> {
        self.map.is_none().then(|| name.to_owned())
    }

    fn read(&self, frame: &Frame, reading: &mut Reading) -> Vec<Event> {
        let data = parsed(frame);
        if frame.event == "control" {
            let offset = Event {
                raw: "control".into(),
                cursor: data["streamNextOffset"].as_str().map(str::to_owned),
                transient: true,
                ..Event::default()
            };
            if data["streamClosed"] != true {
                return vec![offset];
            }
            // All readers learn that it is closed, also behind the last offset.
            let ending = Some(reading.pending.take().unwrap_or(Ending::Success));
            return vec![offset, Event { raw: "closed".into(), ending, ..Event::default() }];
        }
        let items = data.as_array().cloned().unwrap_or_else(|| vec![data]);
        items.iter().map(|item| self.item(item, reading)).collect()
    }

    fn resume(&self, id: &str, cursor: Option<&str>) -> Option<Ask> {
        let offset = cursor.unwrap_or("-1");
        Some(Ask::get(format!("{}?offset={offset}&live=sse", self.path(id))))
    }

    /// A catch-up read: what there is, in one answer.
    fn view(&self, id: &str) -> Option<Ask> {
        Some(Ask::get(format!("{}?offset=-1", self.path(id))))
    }

    fn seen(&self, body: &Value) -> View {
        let mut reading = Reading::default();
        let items = body.as_array().into_iter().flatten();
        let events: Vec<Event> = items.map(|item| self.item(item, &mut reading)).collect();
        View {
            // Without a mapping, only a header says that the stream is closed.
            ending: reading.pending,
            text: Some(history::text(events.iter())),
            used: events.iter().find_map(|event| event.used),
            raw: body.to_string(),
            ..View::default()
        }
    }

    fn impossible(&self) -> Option<String> {
        Some("not%20an%20offset".into())
    }

    fn cancel(&self, id: &str) -> Option<Ask> {
        self.map.as_ref().and_then(|map| map.cancel(id))
    }

    fn receipt(&self, body: &Value) -> Option<Ending> {
        self.map.as_ref().and_then(|map| map.receipt(body))
    }

    fn writes(&self) -> Option<&dyn Writes> {
        self.map.is_none().then_some(self as &dyn Writes)
    }
}

impl Durable {
    fn path(&self, id: &str) -> String {
        match &self.map {
            Some(map) => map.read_path(id),
            None => path(id),
        }
    }

    fn item(&self, item: &Value, reading: &mut Reading) -> Event {
        let mut event = Event { raw: item.to_string(), ..Event::default() };
        let frame = Frame { data: item.to_string(), ..Frame::default() };
        match &self.map {
            Some(map) => {
                let read = map.meaning(&frame, &mut Reading::default());
                event.text = read.text;
                event.void = read.void;
                event.used = read.used;
                // The stream's own closing follows; this event gives its meaning.
                reading.pending = read.ending.or(reading.pending);
            }
            None => event.text = super::text(&item["text"]),
        }
        event
    }
}

fn path(name: &str) -> String {
    format!("/v1/stream/streamproof-{name}")
}

fn put(method: &str, name: &str, body: Option<Value>) -> Ask {
    let ask = Ask { method: method.into(), path: path(name), body, ..Ask::default() };
    ask.header("content-type", "application/json")
}

impl Writes for Durable {
    fn create(&self, name: &str) -> Ask {
        put("PUT", name, None)
    }

    fn append(&self, name: &str, at: usize, text: &str) -> Ask {
        put("POST", name, Some(json!({ "text": text })))
            .header("producer-id", name)
            .header("producer-epoch", "0")
            .header("producer-seq", &at.to_string())
    }

    fn close(&self, name: &str) -> Ask {
        put("POST", name, None).header("stream-closed", "true")
    }
}
