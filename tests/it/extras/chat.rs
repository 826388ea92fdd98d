//! Chat completions.
use serde_json::{Value, json};

use super::Pair;
use crate::harness::TestApp;
use crate::upstream::Answer;

const PATH: &str = "/v1/chat/completions";

fn body() -> Value {
    json!({
        "messages": [{ "role": "user", "content": "hi" }], "logprobs": true, "top_logprobs": 1,
        "stream_options": { "include_usage": true },
    })
}

/// A chunk of OpenAI's, with the other fields of `choice` and `more`.
fn chunk(choice: Value, more: Value) -> String {
    let mut all = json!({
        "id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "up",
        "service_tier": "flex", "system_fingerprint": "fp_1", "obfuscation": "x",
    });
    let mut one = json!({ "index": 0, "delta": {}, "logprobs": null, "finish_reason": null });
    for (object, fields) in [(&mut one, choice), (&mut all, more)] {
        for (name, value) in fields.as_object().unwrap() {
            object[name] = value.clone();
        }
    }
    if all.get("choices").is_none() {
        all["choices"] = json!([one]);
    }
    all.to_string()
}

/// The log probability of one token, with a number in a form of its own.
fn token(word: &str) -> String {
    format!(
        r#"{{"token":"{word}","logprob":-1.230E-4,"bytes":[1],"top_logprobs":[{{"token":"{word}","logprob":-0.50}}]}}"#
    )
}

fn says(word: &str) -> String {
    let said = chunk(json!({ "delta": { "content": word }, "logprobs": "HERE" }), json!({}));
    said.replace("\"HERE\"", &format!(r#"{{"content":[{}],"refusal":null}}"#, token(word)))
}

fn citation() -> Value {
    json!({ "type": "url_citation", "url_citation":
        { "start_index": 0, "end_index": 3, "url": "https://a.example/", "title": "A" } })
}

fn usage() -> Value {
    json!({
        "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "cost": 0.25,
        "prompt_tokens_details": { "cached_tokens": 4, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 1, "accepted_prediction_tokens": 2 },
    })
}

fn everything() -> Answer {
    let call = json!({
        "index": 0, "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{}" },
        "extra_content": { "google": { "thought_signature": "c2ln" } },
    });
    let thought = |text: &str| json!([{ "type": "reasoning.text", "text": text, "index": 0 }]);
    let delta = |delta: Value| chunk(json!({ "delta": delta }), json!({}));
    let ends = json!({ "finish_reason": "tool_calls", "matched_stop": 7, "stop_reason": null });
    Answer::sse()
        .data(&delta(json!({ "role": "assistant", "content": "", "refusal": null })))
        .data(&delta(json!({ "reasoning": "Hm", "reasoning_details": thought("H") })))
        .data(&delta(json!({ "reasoning": "m", "reasoning_details": thought("m") })))
        .data(&says("Hel"))
        .data(&says("lo"))
        .data(&delta(json!({ "annotations": [citation()] })))
        .data(&delta(json!({ "annotations": [citation()] })))
        .data(&delta(json!({ "tool_calls": [call] })))
        .data(&chunk(ends, json!({ "timings": { "predicted_ms": 1.5 } })))
        .data(&chunk(json!({}), json!({ "choices": [], "usage": usage() })))
        .done()
}

fn id(frames: &[Value]) -> String {
    frames[0]["id"].as_str().unwrap().to_owned()
}

/// All values of the frames at a place, lists joined.
fn joined(frames: &[Value], place: &str) -> Vec<Value> {
    let lists = frames.iter().filter_map(|frame| frame.pointer(place)?.as_array());
    lists.flatten().cloned().collect()
}

fn tokens(words: &[&str]) -> Vec<Value> {
    words.iter().map(|word| serde_json::from_str(&token(word)).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_completion_says_comes_out_again() {
    let pair = Pair::start(PATH, "openai", everything()).await;
    let (live, whole) = pair.all_ways(id, &body()).await;
    let at = |place: &str| joined(&live, place);
    assert_eq!(at("/choices/0/logprobs/content"), tokens(&["Hel", "lo"]));
    for frame in live.iter().filter(|frame| frame.pointer("/choices/0/logprobs/content").is_some())
    {
        let token = &frame["choices"][0]["logprobs"]["content"][0]["token"];
        assert_eq!(&frame["choices"][0]["delta"]["content"], token, "beside its text");
    }
    assert_eq!(at("/choices/0/delta/annotations"), [citation(), citation()]);
    assert_eq!(at("/choices/0/delta/reasoning_details").len(), 2);
    let call = live.iter().find_map(|f| f.pointer("/choices/0/delta/tool_calls/0")).unwrap();
    assert_eq!(call["extra_content"]["google"]["thought_signature"], "c2ln");
    assert_eq!(call["function"]["name"], "f", "with the call itself");
    for frame in &live[1..live.len() - 1] {
        assert_eq!(
            (&frame["system_fingerprint"], &frame["service_tier"]),
            (&json!("fp_1"), &json!("flex"))
        );
        assert!(frame.get("obfuscation").is_none());
    }
    let [.., last, reported, end] = live.as_slice() else { panic!("{live:?}") };
    assert_eq!(
        (&last["timings"]["predicted_ms"], &last["choices"][0]["matched_stop"]),
        (&json!(1.5), &json!(7))
    );
    assert_eq!((&reported["usage"], end), (&usage(), &json!("[DONE]")));

    let choice = &whole["choices"][0];
    assert_eq!(choice["logprobs"], json!({ "content": tokens(&["Hel", "lo"]), "refusal": null }));
    assert_eq!(choice["message"]["annotations"], json!([citation(), citation()]));
    assert_eq!(choice["message"]["reasoning_details"][0]["text"], "Hm", "one thought");
    assert_eq!(choice["message"]["tool_calls"][0]["extra_content"], call["extra_content"]);
    assert_eq!((&choice["matched_stop"], &whole["usage"]), (&json!(7), &usage()));
    assert_eq!(
        (&whole["system_fingerprint"], &whole["service_tier"]),
        (&json!("fp_1"), &json!("flex"))
    );
    let mut asked = body();
    asked["model"] = json!("scripted");
    let mut at_once = pair.ask(&asked).await.remove(0);
    pair.forget().await;
    let mut kept: Value = serde_json::from_slice(&pair.get(&id(&live), "").await).unwrap();
    assert_eq!(kept, whole, "when its events are gone");
    for name in ["id", "created", "status"] {
        at_once[name] = Value::Null;
        kept[name] = Value::Null;
    }
    assert_eq!(at_once, kept, "asked for in one piece");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_keep_their_form_and_a_native_reader_has_the_fields() {
    let (app, _upstream) = TestApp::scripted(everything(), |_| {}).await;
    let native = app.client.start_prompt("hi").await;
    let events = app.client.all(&native, 0).await;
    crate::client::assert_whole(&events);
    let extras: Vec<&str> =
        events.iter().filter(|e| e.name == "extra").map(|e| e.data.as_str()).collect();
    let logprobs = extras.iter().find(|data| data.contains("logprobs")).unwrap();
    assert!(
        logprobs.contains(r#""protocol":"openai_chat","at":"choice","data":{"logprobs""#),
        "{logprobs}"
    );
    assert!(logprobs.contains("-1.230E-4") && logprobs.contains("-0.50"), "{logprobs}");
    let told = extras.iter().filter(|data| data.contains("fp_1")).count();
    assert_eq!(told, 1, "what does not change is told once");
    app.stop().await;
}

/// The tokens of an attempt that broke off and of the one that goes on are each there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_continuation_doubles_nothing() {
    let cut = Answer::sse().data(&says("Hel")).data(&says("lo, what a day")).cut();
    // The text is sent without its last word, and goes on from that word.
    let more = Answer::sse().data(&says(" day")).data(&says(" it")).data(&says(" is")).complete();
    let again =
        Answer::sse().data(&says("what a day")).data(&says(" it")).data(&says(" is")).complete();
    for (continuation, rest) in [("prefix", more), ("instruct", again)] {
        let scripts = vec![cut.clone(), rest];
        let (app, upstream) = TestApp::scripted(scripts, |config| {
            let model = config.models.last_mut().unwrap();
            model.max_attempts = 2;
            model.continuation = serde_json::from_value(json!(continuation)).unwrap();
        })
        .await;
        let mut asked = body();
        (asked["model"], asked["stream"]) = (json!("scripted"), json!(true));
        let answer = app.client.post(PATH, &asked).await.bytes().await.unwrap();
        let frames = super::frames(&answer);
        let expected = tokens(&["Hel", "lo, what a day", " it", " is"]);
        assert_eq!(joined(&frames, "/choices/0/logprobs/content"), expected, "{continuation}");
        assert_eq!(upstream.requests().len(), 2);
        app.stop().await;
    }
}

/// A void attempt loses its fields with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_void_is_not_told_again() {
    let scripts = vec![
        Answer::sse().data(&says("Once")).cut(),
        Answer::sse().data(&says("Hel")).data(&says("lo")).complete(),
    ];
    let (app, _upstream) = TestApp::scripted(scripts, |config| {
        let model = config.models.last_mut().unwrap();
        model.max_attempts = 2;
        model.continuation = serde_json::from_value(json!("none")).unwrap();
    })
    .await;
    let mut asked = body();
    asked["model"] = json!("scripted");
    let whole: Value = app.client.post(PATH, &asked).await.json().await.unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], "Hello");
    assert_eq!(whole["choices"][0]["logprobs"]["content"], json!(tokens(&["Hel", "lo"])));
    app.stop().await;
}
