//! Anthropic's Messages.
use serde_json::{Value, json};

use super::Pair;
use crate::harness::{TestApp, model};
use crate::upstream::{Answer, Upstream};

const PATH: &str = "/v1/messages";

fn body() -> Value {
    json!({ "max_tokens": 99, "messages": [{ "role": "user", "content": "hi" }] })
}

fn citation(text: &str) -> Value {
    json!({
        "type": "web_search_result_location", "cited_text": text, "url": "https://a.example/",
        "title": "A", "encrypted_index": "RW5j",
    })
}

fn cites(text: &str) -> Value {
    json!({ "type": "citations_delta", "citation": citation(text) })
}

fn says(text: &str) -> Value {
    json!({ "type": "text_delta", "text": text })
}

/// The results of the provider's search, which may be empty.
fn found() -> Value {
    json!({ "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [],
        "caller": { "type": "direct" } })
}

fn search() -> Value {
    json!({ "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {} })
}

fn input(piece: &str) -> Value {
    json!({ "type": "input_json_delta", "partial_json": piece })
}

/// A text, a search with its result, two texts of which one is cited, a call.
fn everything() -> Answer {
    let usage = json!({
        "input_tokens": 10, "output_tokens": 1, "service_tier": "standard",
        "cache_creation": { "ephemeral_5m_input_tokens": 0 },
    });
    let message = json!({ "id": "msg_up", "role": "assistant", "usage": usage });
    let text = json!({ "type": "text", "text": "" });
    let cited = json!({ "type": "text", "text": "", "citations": [] });
    let call = json!({ "type": "tool_use", "id": "toolu_1", "name": "f", "input": {},
        "caller": { "type": "direct" } });
    let delta = json!({ "stop_reason": "tool_use", "stop_sequence": null,
        "container": { "id": "c_1" } });
    let usage = json!({ "output_tokens": 7, "server_tool_use": { "web_search_requests": 1 } });
    Answer::sse()
        .message("message_start", json!({ "message": message }))
        .block(0, text.clone())
        .piece(0, says("I look."))
        .block_stop(0)
        .block(1, search())
        .piece(1, input("{\"query\":"))
        .piece(1, input("\"a\"}"))
        .block_stop(1)
        .block(2, found())
        .block_stop(2)
        .block(3, text)
        .piece(3, says("It is "))
        .block_stop(3)
        .block(4, cited)
        .piece(4, cites("a"))
        .piece(4, says("blue"))
        .piece(4, cites("b"))
        .block_stop(4)
        .block(5, call)
        .piece(5, input("{}"))
        .block_stop(5)
        .message("message_delta", json!({ "delta": delta, "usage": usage }))
        .message_stop()
}

fn id(frames: &[Value]) -> String {
    frames[0]["message"]["id"].as_str().unwrap().to_owned()
}

/// Starts, pieces and ends of blocks, without those of one kind joined.
fn blocks(frames: &[Value]) -> Vec<Value> {
    let of_blocks = frames.iter().filter(|f| f["type"].as_str().unwrap().contains("block"));
    of_blocks.cloned().collect()
}

fn expected() -> Value {
    let mut searched = search();
    searched["input"] = json!({ "query": "a" });
    json!([
        { "type": "text", "text": "I look." },
        searched,
        found(),
        { "type": "text", "text": "It is " },
        { "type": "text", "text": "blue", "citations": [citation("a"), citation("b")] },
        { "type": "tool_use", "id": "toolu_1", "name": "f", "input": {},
            "caller": { "type": "direct" } },
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_message_says_comes_out_again() {
    let pair = Pair::start(PATH, "anthropic", everything()).await;
    let (live, whole) = pair.all_ways(id, &body()).await;
    let told = blocks(&live);
    let starts: Vec<&Value> = told
        .iter()
        .filter(|f| f["type"] == "content_block_start")
        .map(|f| &f["content_block"])
        .collect();
    assert_eq!(starts.len(), 6);
    assert_eq!((starts[1], starts[2]), (&search(), &found()));
    assert_eq!(starts[4]["citations"], json!([]));
    assert_eq!(starts[5]["caller"]["type"], "direct");
    let pieces = |index: u64| {
        let of = told.iter().filter(move |f| f["index"] == index);
        of.filter_map(|f| f.get("delta").cloned()).collect::<Vec<_>>()
    };
    assert_eq!(pieces(1), [input("{\"query\":"), input("\"a\"}")]);
    assert_eq!(pieces(4), [cites("a"), says("blue"), cites("b")], "in their order");
    let last = live.iter().find(|f| f["type"] == "message_delta").unwrap();
    assert_eq!(last["delta"]["container"]["id"], "c_1");
    let usage = &last["usage"];
    assert_eq!(usage["server_tool_use"]["web_search_requests"], 1);
    assert_eq!((&usage["service_tier"], &usage["output_tokens"]), (&json!("standard"), &json!(7)));

    assert_eq!(whole["content"], expected());
    assert_eq!(whole["usage"]["cache_creation"], json!({ "ephemeral_5m_input_tokens": 0 }));
    assert_eq!(whole["container"]["id"], "c_1");
    pair.forget().await;
    let kept: Value = serde_json::from_slice(&pair.get(&id(&live), "").await).unwrap();
    assert_eq!(kept["content"], expected(), "when its events are gone");
    pair.stop().await;
}

/// A block of the provider may not be at its end when the answer breaks off. It is not sent then,
/// and earlier content is there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_breaks_off_is_not_told() {
    let text = json!({ "type": "text", "text": "" });
    let cut = Answer::sse()
        .message_start()
        .block(0, search())
        .piece(0, input("{}"))
        .block_stop(0)
        .block(1, text.clone())
        .piece(1, says("Hel"))
        .block_stop(1)
        .block(2, search())
        .piece(2, input("{\"que"))
        .cut();
    let rest = Answer::sse()
        .message_start()
        .block(0, text)
        .piece(0, says("lo"))
        .block_stop(0)
        .stop_reason("end_turn")
        .message_stop();
    let upstream = Upstream::start(vec![cut, rest]).await;
    let mut scripted = model(&upstream);
    scripted.provider = serde_json::from_value(json!("anthropic")).unwrap();
    scripted.max_attempts = 2;
    scripted.continuation = serde_json::from_value(json!("prefix")).unwrap();
    let app = TestApp::with(|config| config.models.push(scripted)).await;
    let mut asked = body();
    asked["model"] = json!("scripted");
    let whole: Value = app.client.post(PATH, &asked).await.json().await.unwrap();
    let expected = json!([search(), { "type": "text", "text": "Hello" }]);
    assert_eq!(whole["content"], expected, "{whole}");
    app.stop().await;
}
