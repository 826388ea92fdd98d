//! Thinking that a client stores in a conversation as an item, and an answer whose events are gone.
use super::*;

impl Fleet {
    async fn send(&self, method: &str, path: &str, body: &Value) -> Response {
        let head = "Content-Type: application/json\r\n";
        let line = format!("{method} {path}");
        exchange(self.one.address, &request(&line, head, body.to_string().as_bytes())).await
    }

    /// The items of an answer, with the question before them.
    async fn answered(&self) -> Vec<Value> {
        let first = self.post("/v1/responses", &responses(&[asks()])).await.json();
        [asks()].into_iter().chain(first["output"].as_array().unwrap().iter().cloned()).collect()
    }

    async fn goes_on_in(&self, conversation: &str) {
        let mut next = responses(&[output()]);
        next["conversation"] = json!(conversation);
        let answer = self.post("/v1/responses", &next).await;
        assert_eq!(answer.json()["output"][0]["content"][0]["text"], "done");
        assert_eq!(self.told(&answer).await, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thinking_that_a_client_stores_in_a_conversation_goes_back_to_claude() {
    let fleet = Fleet::start().await;
    let items = fleet.answered().await;
    let opened = fleet.send("POST", "/v1/conversations", &json!({ "items": items })).await;
    assert_eq!(opened.status, 201, "{}", opened.json());
    let whole = opened.json()["id"].as_str().unwrap().to_owned();
    // The same, an item at a time.
    let single = fleet.one_conversation().await;
    let path = format!("/v1/conversations/{single}/items");
    for item in &items {
        let added = fleet.send("POST", &path, &json!({ "items": [item] })).await;
        assert_eq!(added.status, 200, "{}", added.json());
        assert_eq!(added.json()["data"][0]["encrypted_content"], item["encrypted_content"]);
    }
    for conversation in [whole, single] {
        let path = format!("/v1/conversations/{conversation}/items?order=asc");
        let list = fleet.get(&path).await.json();
        let kinds: Vec<&str> =
            list["data"].as_array().unwrap().iter().map(|i| i["type"].as_str().unwrap()).collect();
        let expected = ["message", "reasoning", "message", "reasoning", "function_call"];
        assert_eq!(kinds, expected);
        let thought = &list["data"][1];
        for field in ["encrypted_content", "summary"] {
            assert_eq!(thought[field], items[1][field], "{field}");
        }
        fleet.goes_on_in(&conversation).await;
        assert_eq!(fleet.sent(), whole_turn());

        // Taken out, it does not go up any more; the rest does.
        let item = format!("/v1/conversations/{conversation}/items/{}", text(&thought["id"]));
        assert_eq!(fleet.get(&item).await.json(), *thought);
        let taken = fleet.send("DELETE", &item, &Value::Null).await;
        assert_eq!(taken.status, 200, "{}", taken.json());
        let left = fleet.get(&path).await.json();
        assert!(left["data"].as_array().unwrap().iter().all(|left| left["id"] != thought["id"]));
    }
    fleet.stop().await;
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn thinking_for_nobody_is_no_turn_and_broken_thinking_is_refused() {
    let fleet = Fleet::start().await;
    let items = fleet.answered().await;
    // A thought that led to nothing, before a person speaks.
    let stored = json!({ "items": [items[0], items[1]] });
    let opened = fleet.send("POST", "/v1/conversations", &stored).await.json();
    let mut next = responses(&[asks()]);
    next["conversation"] = opened["id"].clone();
    fleet.post("/v1/responses", &next).await;
    let sent = fleet.claude.requests().pop().unwrap();
    let turns = sent.body["messages"].as_array().unwrap();
    assert!(turns.iter().all(|turn| turn["role"] == "user"), "{turns:#?}");

    let broken =
        json!({ "type": "reasoning", "summary": [], "encrypted_content": "lastword-t1.[" });
    let stored = json!({ "items": [asks(), broken] });
    let refused = fleet.send("POST", "/v1/conversations", &stored).await;
    assert_eq!(refused.status, 400);
    let body = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(body.contains("invalid_encrypted_content"), "{body}");
    assert!(body.contains("items[1].encrypted_content"), "{body}");
    // Another vendor's content has nothing that can be told.
    let theirs = json!({ "type": "reasoning", "summary": [], "encrypted_content": "gAAAA" });
    let path = format!("/v1/conversations/{}/items", text(&opened["id"]));
    let added = fleet.send("POST", &path, &json!({ "items": [theirs] })).await;
    assert_eq!((added.status, &added.json()["data"]), (200, &json!([])));
    fleet.stop().await;
}

/// Without its events an answer is told from what it came to, each thought behind the text before
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_events_are_gone_keeps_its_thinking_in_place() {
    let fleet = Fleet::start().await;
    let tool = json!({ "name": "f", "input_schema": { "type": "object" } });
    let body = json!({ "model": "claude", "max_tokens": 3000, "messages": [asks()],
        "tools": [tool] });
    let first = fleet.post("/v1/messages", &body).await.json();
    assert_eq!(first["content"], whole_turn());
    let answer = fleet.post("/v1/responses", &responses(&[asks()])).await.json();
    let ids = [text(&first["id"]).to_owned(), text(&answer["id"]).to_owned()];
    fleet.one.database.forget_events().await;
    let message = fleet.get(&format!("/v1/messages/{}", ids[0])).await.json();
    assert_eq!(message["content"], whole_turn());
    let response = fleet.get(&format!("/v1/responses/{}", ids[1])).await.json();
    assert_eq!(response["output"], answer["output"]);
    fleet.stop().await;
}
