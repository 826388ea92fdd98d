//! OpenAI's Responses.
use serde_json::{Value, json};

use super::Pair;
use crate::harness::TestApp;
use crate::upstream::{Answer, Events};

const PATH: &str = "/v1/responses";

fn body() -> Value {
    let tools = json!([
        { "type": "web_search" }, { "type": "custom", "name": "sh" },
        { "type": "namespace", "name": "fs", "description": "d",
            "tools": [{ "type": "function", "name": "f", "parameters": { "type": "object" } }] },
    ]);
    json!({ "input": "hi", "tools": tools, "include": ["reasoning.encrypted_content"],
        "top_logprobs": 1, "service_tier": "auto", "truncation": "auto" })
}

fn citation() -> Value {
    json!({ "type": "url_citation", "start_index": 0, "end_index": 3, "url": "https://a.example/",
        "title": "A" })
}

fn token(word: &str) -> Value {
    json!({ "token": word, "logprob": -0.5, "bytes": [1], "top_logprobs": [] })
}

fn search(status: &str) -> Value {
    json!({ "id": "ws_68_1", "type": "web_search_call", "status": status,
        "action": { "type": "search", "query": "a" } })
}

/// An event of a part of an item.
fn of(events: Events, kind: &str, item: &str, place: u32, mut fields: Value) -> Events {
    fields["item_id"] = json!(item);
    fields["output_index"] = json!(place);
    events.event(kind, fields)
}

fn item(events: Events, place: u32, end: &str, item: &Value) -> Events {
    let fields = json!({ "output_index": place, "item": item });
    events.event(&format!("response.output_item.{end}"), fields)
}

/// Thoughts in two parts that only the upstream can read.
fn thinks(mut events: Events) -> Events {
    let begun = json!({ "id": "rs_68_0", "type": "reasoning", "summary": [] });
    events = item(events, 0, "added", &begun);
    for (n, text) in [(0, "First"), (1, "Then")] {
        let at = |more: Value| {
            let mut fields = json!({ "summary_index": n });
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            fields
        };
        let part = |text: &str| at(json!({ "part": { "type": "summary_text", "text": text } }));
        events = of(events, "response.reasoning_summary_part.added", "rs_68_0", 0, part(""));
        let delta = at(json!({ "delta": text, "obfuscation": "x" }));
        events = of(events, "response.reasoning_summary_text.delta", "rs_68_0", 0, delta);
        let done = at(json!({ "text": text }));
        events = of(events, "response.reasoning_summary_text.done", "rs_68_0", 0, done);
        events = of(events, "response.reasoning_summary_part.done", "rs_68_0", 0, part(text));
    }
    item(events, 0, "done", &thought())
}

fn thought() -> Value {
    let part = |text: &str| json!({ "type": "summary_text", "text": text });
    json!({ "id": "rs_68_0", "type": "reasoning", "summary": [part("First"), part("Then")],
        "encrypted_content": "Z0FB" })
}

fn searches(mut events: Events) -> Events {
    let begun = json!({ "id": "ws_68_1", "type": "web_search_call", "status": "in_progress" });
    events = item(events, 1, "added", &begun);
    for step in ["in_progress", "searching", "completed"] {
        let kind = format!("response.web_search_call.{step}");
        events = of(events, &kind, "ws_68_1", 1, json!({}));
    }
    item(events, 1, "done", &search("completed"))
}

/// A message of two words with log probabilities, and a citation between them.
fn says(mut events: Events) -> Events {
    let message = |content: Value, status: &str| {
        json!({ "id": "msg_68_2", "type": "message", "status": status, "role": "assistant",
            "phase": "final_answer", "content": content })
    };
    events = item(events, 2, "added", &message(json!([]), "in_progress"));
    let part = json!({ "type": "output_text", "text": "", "annotations": [], "logprobs": [] });
    let at = json!({ "content_index": 0, "part": part });
    events = of(events, "response.content_part.added", "msg_68_2", 2, at);
    for word in ["Hel", "lo"] {
        let fields = json!({ "content_index": 0, "delta": word, "logprobs": [token(word)] });
        events = of(events, "response.output_text.delta", "msg_68_2", 2, fields);
        if word == "Hel" {
            let fields =
                json!({ "content_index": 0, "annotation_index": 0, "annotation": citation() });
            events = of(events, "response.output_text.annotation.added", "msg_68_2", 2, fields);
        }
    }
    let logprobs = json!([token("Hel"), token("lo")]);
    let done = json!({ "content_index": 0, "text": "Hello", "logprobs": logprobs });
    events = of(events, "response.output_text.done", "msg_68_2", 2, done);
    let part = json!({ "type": "output_text", "text": "Hello", "annotations": [citation()],
        "logprobs": logprobs });
    let at = json!({ "content_index": 0, "part": part });
    events = of(events, "response.content_part.done", "msg_68_2", 2, at);
    item(events, 2, "done", &message(json!([part]), "completed"))
}

/// The call of a tool that takes a text, and that of a function of a namespace.
fn calls(mut events: Events) -> Events {
    let call = |input: &str| {
        json!({ "id": "ctc_68_3", "type": "custom_tool_call", "status": "completed",
            "call_id": "call_1", "name": "sh", "input": input })
    };
    events = item(events, 3, "added", &call(""));
    for piece in ["echo \"", "é\n\""] {
        let kind = "response.custom_tool_call_input.delta";
        events = of(events, kind, "ctc_68_3", 3, json!({ "delta": piece }));
    }
    let done = json!({ "input": "echo \"é\n\"" });
    events = of(events, "response.custom_tool_call_input.done", "ctc_68_3", 3, done);
    events = item(events, 3, "done", &call("echo \"é\n\""));
    let call = |arguments: &str| {
        json!({ "id": "fc_68_4", "type": "function_call", "status": "completed", "call_id": "call_2",
            "namespace": "fs", "name": "f", "arguments": arguments, "caller": { "type": "direct" } })
    };
    events = item(events, 4, "added", &call(""));
    let delta = json!({ "delta": "{}" });
    events = of(events, "response.function_call_arguments.delta", "fc_68_4", 4, delta);
    let done = json!({ "arguments": "{}" });
    events = of(events, "response.function_call_arguments.done", "fc_68_4", 4, done);
    item(events, 4, "done", &call("{}"))
}

fn everything() -> Answer {
    let events = calls(says(searches(thinks(Events::begin("resp_up")))));
    let held = json!({ "object": "response", "service_tier": "flex", "truncation": "disabled",
        "reasoning": { "effort": "high", "summary": "detailed" }, "billing": { "payer": "me" } });
    events.end("resp_up", "completed", held).all()
}

fn id(frames: &[Value]) -> String {
    frames[0]["response"]["id"].as_str().unwrap().to_owned()
}

/// The frames of one kind.
fn kind<'a>(frames: &'a [Value], kind: &str) -> Vec<&'a Value> {
    frames.iter().filter(|frame| frame["type"] == kind).collect()
}

/// The output without our part of its ids.
fn plain(output: &Value, of: &str) -> Value {
    let of = of.strip_prefix("resp_").unwrap();
    let mut text = output.to_string();
    for n in 0..9 {
        text = text.replace(&format!("_{of}_{n}_"), "_");
    }
    // The mark of the server that encrypted it.
    if let Some(at) = text.find("lastword-v1.") {
        text.replace_range(at..at + "lastword-v1.0123456789abcdef.".len(), "");
    }
    serde_json::from_str(&text).unwrap()
}

fn expected() -> Value {
    let part = json!({ "type": "output_text", "text": "Hello", "annotations": [citation()],
        "logprobs": [token("Hel"), token("lo")] });
    json!([
        thought(),
        search("completed"),
        { "id": "msg_68_2", "type": "message", "status": "completed", "role": "assistant",
            "phase": "final_answer", "content": [part] },
        { "id": "ctc_68_3", "type": "custom_tool_call", "status": "completed", "call_id": "call_1",
            "name": "sh", "input": "echo \"é\n\"" },
        { "id": "fc_68_4", "type": "function_call", "status": "completed", "call_id": "call_2",
            "namespace": "fs", "name": "f", "arguments": "{}", "caller": { "type": "direct" } },
    ])
}

/// The last event, which the end mark follows.
fn ended(live: &[Value]) -> &Value {
    live.iter().rfind(|frame| frame.is_object()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_response_says_comes_out_again() {
    let pair = Pair::over_responses(everything()).await;
    let (live, whole) = pair.all_ways(id, &body()).await;
    let of = id(&live);
    let output = &ended(&live)["response"]["output"];
    assert_eq!(plain(output, &of), expected(), "{output:#}");
    for (step, place) in [("in_progress", 1), ("searching", 1), ("completed", 1)] {
        let told = kind(&live, &format!("response.web_search_call.{step}"));
        assert_eq!((told.len(), &told[0]["output_index"]), (1, &json!(place)));
        assert_eq!(told[0]["item_id"], output[1]["id"], "under the id of the item");
    }
    let at = |name: &str, field: &str| -> Vec<Value> {
        kind(&live, name).iter().map(|frame| frame[field].clone()).collect()
    };
    let told = at("response.output_text.annotation.added", "annotation");
    assert_eq!(told, [citation()]);
    let logprobs = at("response.output_text.delta", "logprobs");
    assert_eq!(logprobs, [json!([token("Hel")]), json!([token("lo")])]);
    let parts = at("response.reasoning_summary_part.added", "summary_index");
    assert_eq!(parts, [json!(0), json!(1)]);
    let input = at("response.custom_tool_call_input.delta", "delta");
    assert_eq!(input, [json!("echo \""), json!("é\n\"")]);
    let done = at("response.custom_tool_call_input.done", "input");
    assert_eq!(done, [json!("echo \"é\n\"")]);
    assert_eq!((whole["service_tier"].as_str(), &whole["output"]), (Some("flex"), output));
    assert_eq!(whole["truncation"], "disabled", "what held, not what was asked");
    assert_eq!(whole["reasoning"]["summary"], "detailed");
    assert_eq!(whole["billing"]["payer"], "me");
    assert_eq!((&whole["tools"], &whole["status"]), (&body()["tools"], &json!("completed")));
    pair.forget().await;
    let kept: Value = serde_json::from_slice(&pair.get(&of, "").await).unwrap();
    assert_eq!(kept, whole, "when its events are gone");
    pair.stop().await;
}

/// Items that come back from the client go up under the ids that the upstream gave.
#[tokio::test(flavor = "multi_thread")]
async fn items_go_up_again_under_the_ids_that_they_came_with() {
    let pair = Pair::over_responses(everything()).await;
    let (live, whole) = pair.all_ways(id, &body()).await;
    let mut asked = body();
    (asked["model"], asked["input"]) = (json!("scripted"), whole["output"].clone());
    pair.ask(&asked).await;
    let sent = pair.upstream.requests().pop().unwrap().body;
    assert_eq!(sent["input"], expected());
    // An item is also known by its id alone.
    let thought = json!({ "type": "item_reference", "id": whole["output"][2]["id"] });
    asked["input"] = json!([thought, { "role": "user", "content": "go on" }]);
    pair.ask(&asked).await;
    assert_ne!(id(&live), "");
    pair.stop().await;
}

/// A void attempt loses its items with it. One that breaks off in the middle of a tool of the
/// provider leaves the item incomplete.
#[tokio::test(flavor = "multi_thread")]
async fn items_of_a_void_attempt_are_not_told_again() {
    let begun = json!({ "id": "ws_1", "type": "web_search_call", "status": "in_progress" });
    let cut = item(Events::begin("resp_1"), 0, "added", &begun).all().cut();
    let scripts = vec![cut, everything()];
    let (app, _upstream) = TestApp::scripted(scripts, |config| {
        let model = config.models.last_mut().unwrap();
        model.max_attempts = 2;
        model.wire = serde_json::from_value(json!("responses")).unwrap();
        model.continuation = serde_json::from_value(json!("none")).unwrap();
    })
    .await;
    let mut asked = body();
    asked["model"] = json!("scripted");
    let whole: Value = app.client.post(PATH, &asked).await.json().await.unwrap();
    let of = whole["id"].as_str().unwrap();
    assert_eq!(whole["output"].as_array().unwrap().len(), 5, "{whole:#}");
    assert!(!whole["output"].to_string().contains("in_progress") && of.starts_with("resp_"));
    app.stop().await;
}

/// Events of a shell's commands name their item by its place alone.
#[tokio::test(flavor = "multi_thread")]
async fn commands_of_a_shell_come_out_with_their_item() {
    let call = |status: &str| json!({ "id": "sh_1", "type": "shell_call", "status": status, "call_id": "c" });
    let at = |more: Value| {
        let mut fields = json!({ "output_index": 1, "command_index": 0 });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields
    };
    let steps = [("added", json!({ "command": "" })), ("delta", json!({ "delta": "ls" }))];
    let steps = steps.into_iter().chain([("done", json!({ "command": "ls" }))]);
    let begun = Events::begin("resp_up").says(0, ["Hi"].into_iter());
    let begun = item(begun, 1, "added", &call("in_progress"));
    let events = steps.fold(begun, |events, (step, more)| {
        events.event(&format!("response.shell_call_command.{step}"), at(more))
    });
    let events = item(events, 1, "done", &call("completed"));
    let pair = Pair::over_responses(events.end("resp_up", "completed", json!({})).all()).await;
    let (live, _) = pair.all_ways(id, &body()).await;
    for step in ["added", "delta", "done"] {
        let told = kind(&live, &format!("response.shell_call_command.{step}"));
        assert_eq!((told.len(), &told[0]["output_index"]), (1, &json!(1)), "{step}");
        assert_eq!(told[0]["command_index"], 0);
        assert!(told[0].get("item_id").is_none());
    }
    pair.stop().await;
}
