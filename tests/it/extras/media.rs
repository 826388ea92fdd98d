//! Sound and pictures that a model makes.
use serde_json::{Value, json};

use super::Pair;
use crate::harness::TestApp;
use crate::upstream::{Answer, Events, Gate};

const CHAT: &str = "/v1/chat/completions";

fn completion(frames: &[Value]) -> String {
    frames[0]["id"].as_str().unwrap().to_owned()
}

fn response(frames: &[Value]) -> String {
    frames[0]["response"]["id"].as_str().unwrap().to_owned()
}

fn asked() -> Value {
    json!({ "messages": [{ "role": "user", "content": "say it" }], "model": "scripted",
        "modalities": ["text", "audio"], "audio": { "voice": "alloy", "format": "pcm16" } })
}

/// As OpenAI speaks: an id, pieces of the transcript and of the sound, an end.
fn sound() -> Answer {
    let audio = |fields: Value| json!({ "audio": fields });
    Answer::sse()
        .delta(&json!({ "role": "assistant", "content": null }))
        .delta(&audio(json!({ "id": "audio_1", "transcript": "Hel" })))
        .delta(&audio(json!({ "id": "audio_1", "data": "AAAA" })))
        .delta(&audio(json!({ "id": "audio_1", "transcript": "lo" })))
        .delta(&audio(json!({ "id": "audio_1", "data": "BBBB" })))
        .delta(&audio(json!({ "expires_at": 1_800_000_000 })))
        .complete()
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_is_asked_for_streamed_and_kept() {
    let pair = Pair::start(CHAT, "openai", sound()).await;
    let (live, whole) = pair.all_ways(completion, &asked()).await;
    let sent = pair.upstream.requests().remove(0).body;
    assert_eq!((&sent["modalities"], &sent["audio"]), (&asked()["modalities"], &asked()["audio"]));
    let pieces = |name: &str| -> Vec<Value> {
        let at = |frame: &Value| Some(frame.pointer("/choices/0/delta/audio")?.get(name)?.clone());
        live.iter().filter_map(at).collect()
    };
    assert_eq!(pieces("data"), ["AAAA", "BBBB"], "each in a chunk of its own");
    assert_eq!(pieces("transcript"), ["Hel", "lo"]);
    let expected = json!({ "id": "audio_1", "transcript": "Hello", "data": "AAAABBBB",
        "expires_at": 1_800_000_000 });
    assert_eq!(whole["choices"][0]["message"]["audio"], expected);
    pair.forget().await;
    let kept: Value = serde_json::from_slice(&pair.get(&completion(&live), "").await).unwrap();
    assert_eq!(kept, whole, "when its events are gone");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_is_told_while_it_comes() {
    let gate = Gate::default();
    let first = json!({ "audio": { "id": "audio_1", "data": "AAAA" } });
    let script = Answer::sse().delta(&first).wait(&gate).complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let mut body = asked();
    body["stream"] = json!(true);
    let mut answer = app.client.post(CHAT, &body).await;
    let mut seen = String::new();
    while !seen.contains("AAAA") {
        let piece = answer.chunk().await.unwrap().expect("the sound comes before the end");
        seen.push_str(std::str::from_utf8(&piece).unwrap());
    }
    gate.open();
    while answer.chunk().await.unwrap().is_some() {}
    app.stop().await;
}

/// As OpenRouter sends a picture: in a delta, with its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_picture_is_one_event_and_comes_out_whole() {
    let url = format!("data:image/png;base64,{}", "QUJD".repeat(1_000_000));
    let picture = json!({ "type": "image_url", "image_url": { "url": url }, "index": 0 });
    let script = Answer::sse().text("Here.").delta(&json!({ "images": [picture] })).complete();
    let pair = Pair::start(CHAT, "openai", script).await;
    let body = json!({ "messages": [{ "role": "user", "content": "draw" }] });
    let (live, whole) = pair.all_ways(completion, &body).await;
    let shown: Vec<&Value> =
        live.iter().filter_map(|f| f.pointer("/choices/0/delta/images/0")).collect();
    assert!(shown == [&picture], "once, and whole");
    assert!(whole["choices"][0]["message"]["images"] == json!([picture]));
    assert_eq!(whole["choices"][0]["message"]["content"], "Here.");
    pair.forget().await;
    let kept: Value = serde_json::from_slice(&pair.get(&completion(&live), "").await).unwrap();
    assert!(kept == whole, "when its events are gone");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_has_the_picture_that_its_server_made() {
    let result = "QUJD".repeat(500_000);
    let call = |result: Value| {
        json!({ "type": "image_generation_call", "status": "completed",
        "result": result, "output_format": "png" })
    };
    let partial = json!({ "output_index": 0, "item_id": "item_0", "partial_image_index": 0,
        "partial_image_b64": "QUJD" });
    let output = json!([call(json!(result))]);
    let script = Events::begin("resp_up")
        .item(0, "added", call(Value::Null))
        .event("response.image_generation_call.partial_image", partial)
        .item(0, "done", call(json!(result)))
        .end("resp_up", "completed", json!({ "output": output }))
        .all();
    let pair = Pair::over_responses(script).await;
    let body = json!({ "input": "draw", "tools": [{ "type": "image_generation" }] });
    let (live, whole) = pair.all_ways(response, &body).await;
    assert!(whole["output"][0]["result"] == result.as_str());
    assert!(live.iter().any(|f| f["partial_image_b64"] == "QUJD"));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_beside_an_answer_has_a_limit_and_so_has_an_event() {
    let url = format!("data:image/png;base64,{}", "QUJD".repeat(5_000));
    let picture = json!({ "images": [{ "type": "image_url", "image_url": { "url": url } }] });
    let script = Answer::sse().text("a").delta(&picture).text("b").complete();
    let (app, _upstream) = TestApp::scripted(script.clone(), |config| {
        config.limits.extras_bytes = 10_000;
    })
    .await;
    let body = json!({ "model": "scripted", "messages": [{ "role": "user", "content": "draw" }] });
    let whole: Value = app.client.post(CHAT, &body).await.json().await.unwrap();
    assert_eq!(whole["choices"][0]["finish_reason"], "length", "it ends where it is full");
    app.stop().await;

    let (app, _upstream) = TestApp::scripted(script, |config| {
        let model = config.models.last_mut().unwrap();
        model.max_event_bytes = std::num::NonZeroUsize::new(10_000);
    })
    .await;
    let answer = app.client.post(CHAT, &body).await;
    assert_eq!(answer.status(), 502);
    let said = answer.text().await.unwrap();
    assert!(said.contains("more than 10000 bytes"), "{said}");
    app.stop().await;
}
