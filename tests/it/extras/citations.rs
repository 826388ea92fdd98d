//! Citations of web pages through another protocol than that of the model.
use serde_json::{Value, json};

use super::Pair;
use crate::upstream::Answer;

fn messages() -> Answer {
    let text = |citations: Value| json!({ "type": "text", "text": "", "citations": citations });
    let says = |text: &str| json!({ "type": "text_delta", "text": text });
    let page = json!({ "type": "web_search_result_location", "cited_text": "c", "title": "A",
        "url": "https://a.example/", "encrypted_index": "RW5j" });
    let document = json!({ "type": "char_location", "cited_text": "c", "document_index": 0,
        "document_title": "D", "start_char_index": 0, "end_char_index": 1 });
    let cites = |citation: &Value| json!({ "type": "citations_delta", "citation": citation });
    Answer::sse()
        .message_start()
        .block(0, text(json!([])))
        .piece(0, says("Größe"))
        .piece(0, cites(&page))
        .piece(0, cites(&document))
        .piece(0, says(" 5"))
        .block_stop(0)
        .stop_reason("end_turn")
        .message_stop()
}

fn citation(more: Value) -> Value {
    let mut all =
        json!({ "start_index": 5, "end_index": 5, "url": "https://a.example/", "title": "A" });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_cites_in_a_completion_and_in_a_response() {
    let pair = Pair::start("/v1/chat/completions", "anthropic", messages()).await;
    let body = json!({ "messages": [{ "role": "user", "content": "hi" }] });
    let id = |frames: &[Value]| frames[0]["id"].as_str().unwrap().to_owned();
    let (live, whole) = pair.all_ways(id, &body).await;
    let expected = json!([{ "type": "url_citation", "url_citation": citation(json!({})) }]);
    let told: Vec<&Value> =
        live.iter().filter_map(|f| f.pointer("/choices/0/delta/annotations")).collect();
    assert_eq!(told, [&expected]);
    assert_eq!(whole["choices"][0]["message"]["annotations"], expected);
    pair.stop().await;

    let pair = Pair::start("/v1/responses", "anthropic", messages()).await;
    let id = |frames: &[Value]| frames[0]["response"]["id"].as_str().unwrap().to_owned();
    let (live, whole) = pair.all_ways(id, &json!({ "input": "hi" })).await;
    let expected = citation(json!({ "type": "url_citation" }));
    let kind = "response.output_text.annotation.added";
    let told: Vec<&Value> =
        live.iter().filter(|f| f["type"] == kind).map(|f| &f["annotation"]).collect();
    assert_eq!(told, [&expected]);
    assert_eq!(whole["output"][0]["content"][0]["annotations"], json!([expected]));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_two_protocols_have_each_others_citations() {
    let flat = citation(json!({ "type": "url_citation" }));
    let nested = json!({ "type": "url_citation", "url_citation": citation(json!({})) });
    let chat = Answer::sse().text("Hello").delta(&json!({ "annotations": [nested] })).complete();
    let pair = Pair::start("/v1/responses", "openai", chat).await;
    let id = |frames: &[Value]| frames[0]["response"]["id"].as_str().unwrap().to_owned();
    let (_, whole) = pair.all_ways(id, &json!({ "input": "hi" })).await;
    assert_eq!(whole["output"][0]["content"][0]["annotations"], json!([flat]));
    pair.stop().await;
}
