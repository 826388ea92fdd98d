//! A client that is cut again and again, in the middle of everything.
use serde_json::{Value, json};

use crate::client::{Received, assert_whole, text};
use crate::harness::TestApp;
use crate::socket::{Socket, event};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % below
    }
}

/// The client's memory across its connections.
#[derive(Default)]
struct Memory {
    /// The generation that it follows, and what it saw of it.
    current: Option<(String, Vec<Received>)>,
    whole: Vec<(String, Vec<Received>)>,
    prompts: u64,
}

/// One connection: joins, types, resumes or prompts, maybe cancels, reads a little, and is cut.
async fn connection(app: &TestApp, room: &str, memory: &mut Memory, dice: &mut Dice) {
    let mut socket = Socket::open(app.address).await;
    let client = json!({"id": "ana", "name": "Ana"});
    socket.send(&json!({"type": "hello", "client": client})).await;
    socket.send(&json!({"type": "join", "ref": "j", "conversation": room})).await;
    socket.send(&json!({"type": "typing", "conversation": room, "state": "active"})).await;
    let number = memory.prompts;
    match &memory.current {
        Some((id, seen)) => {
            let after = seen.len();
            let again = json!({"type": "subscribe", "ref": "s", "generation": id, "after": after});
            socket.send(&again).await;
            if dice.roll(6) == 0 {
                socket.send(&json!({"type": "cancel", "ref": "c", "generation": id})).await;
            }
        }
        None => {
            let prompt = format!("/demo tokens=40 tps=400 ttft_ms=0 seed={number}");
            let generate = json!({"type": "generate", "ref": "g", "prompt": prompt,
                "conversation_id": room, "idempotency_key": format!("key-{number}")});
            socket.send(&generate).await;
        }
    }
    for _ in 0..dice.roll(40) {
        let said = socket.text().await.expect("it goes on");
        let frame: Value = serde_json::from_str(&said).unwrap();
        match frame["type"].as_str().unwrap() {
            "ack" if frame["ref"] == "g" => {
                memory.current = Some((frame["generation"].as_str().unwrap().into(), Vec::new()));
            }
            "event" => {
                let (id, seen) = memory.current.as_mut().unwrap();
                assert_eq!(frame["generation"], **id);
                seen.push(event(&said).unwrap());
            }
            "error" => panic!("{frame}"),
            _ => {}
        }
        if frame["event"]["type"] == "done" {
            memory.whole.extend(memory.current.take());
            memory.prompts += 1;
            return;
        }
        if frame["complete"] == true {
            panic!("the end was not seen: {frame}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_cut_a_hundred_times_ends_with_the_transcript() {
    let app = TestApp::start().await;
    let made = app.client.post("/v1/conversations", &json!({})).await;
    let room = made.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let (mut memory, mut dice) = (Memory::default(), Dice(23));
    let mut drops = 0;
    while drops < 100 || memory.current.is_some() {
        connection(&app, &room, &mut memory, &mut dice).await;
        drops += 1;
        assert!(drops < 1000, "it comes to an end");
    }
    assert!(memory.whole.len() > 5, "{} turns", memory.whole.len());
    let messages = app.client.get(&format!("/v1/conversations/{room}/messages")).await;
    let messages: Value = messages.json().await.unwrap();
    let said: Vec<(&str, &str)> = messages["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|m| m["role"] == "assistant")
        .map(|m| (m["generation_id"].as_str().unwrap(), m["content"].as_str().unwrap()))
        .collect();
    let seen: Vec<(&str, String)> =
        memory.whole.iter().map(|(id, events)| (id.as_str(), text(events))).collect();
    assert_eq!(said, seen.iter().map(|(id, text)| (*id, text.as_str())).collect::<Vec<_>>());
    for (id, events) in &memory.whole {
        assert_whole(events);
        assert_eq!(*events, app.client.all(id, 0).await);
    }
    app.stop().await;
}
