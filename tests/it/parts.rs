//! Pictures, files and sounds of each client's protocol over each wire, in their order: what is
//! read here are the bodies that reached the models.
use serde_json::{Value, json};

use crate::harness::{TestApp, model_config};
use crate::upstream::{Answer, Events, Upstream};

const PNG: &str = "data:image/png;base64,iVBORw0KGgo=";
const PDF: &str = "data:application/pdf;base64,JVBERg==";

/// One instance with a model for each wire.
struct Wires {
    app: TestApp,
    chat: Upstream,
    responses: Upstream,
    messages: Upstream,
}

impl Wires {
    async fn start() -> Self {
        let chat = Upstream::start(Answer::sse().text("ok").complete()).await;
        let responses = Upstream::start(Events::whole("resp_up", "ok").all()).await;
        let messages = Upstream::start(Answer::whole_message(&["ok"])).await;
        let app = TestApp::with(|config| {
            for (name, more, upstream) in [
                ("chat", "provider = 'openai'", &chat),
                (
                    "responses",
                    "provider = 'openai'\nwire = 'responses'\ncontinuation = 'none'",
                    &responses,
                ),
                ("messages", "provider = 'anthropic'", &messages),
            ] {
                let base = upstream.base_url();
                let base = if name == "messages" { base.trim_end_matches("/v1") } else { &base };
                config.models.push(model_config(&format!(
                    "name = '{name}'\n{more}\nbase_url = '{base}'\nmax_attempts = 1"
                )));
            }
        });
        Self { app: app.await, chat, responses, messages }
    }

    async fn post(&self, path: &str, model: &str, mut body: Value) -> (u16, Value) {
        body["model"] = json!(model);
        let answer = self.app.client.post(path, &body).await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// What reached the model of that name.
    async fn sent(&self, path: &str, model: &str, body: Value) -> Value {
        let (status, said) = self.post(path, model, body).await;
        assert_eq!(status, 200, "{said}");
        let upstream = match model {
            "chat" => &self.chat,
            "responses" => &self.responses,
            _ => &self.messages,
        };
        upstream.requests().pop().unwrap().body
    }

    async fn chat(&self, model: &str, content: &Value) -> Value {
        let body = json!({ "messages": [{ "role": "user", "content": content }] });
        self.sent("/v1/chat/completions", model, body).await
    }
}

fn image_in_messages() -> Value {
    let source = json!({ "type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo=" });
    json!({ "type": "image", "source": source })
}

fn pdf_in_messages(title: &str) -> Value {
    let source = json!({ "type": "base64", "media_type": "application/pdf", "data": "JVBERg==" });
    json!({ "type": "document", "source": source, "title": title })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completions_parts_keep_their_order_over_other_wires() {
    let wires = Wires::start().await;
    let text = "data:text/plain;base64,R3LDvMOfZQ==";
    let content = json!([
        { "type": "text", "text": "before" },
        { "type": "image_url", "image_url": { "url": PNG, "detail": "low" } },
        { "type": "text", "text": "between" },
        { "type": "file", "file": { "filename": "a.pdf", "file_data": PDF } },
        { "type": "file", "file": { "filename": "a.txt", "file_data": text } },
        { "type": "text", "text": "after" },
    ]);
    let up = wires.chat("responses", &content).await;
    let expected = json!([
        { "type": "input_text", "text": "before" },
        { "type": "input_image", "image_url": PNG, "detail": "low" },
        { "type": "input_text", "text": "between" },
        { "type": "input_file", "filename": "a.pdf", "file_data": PDF },
        { "type": "input_file", "filename": "a.txt", "file_data": text },
        { "type": "input_text", "text": "after" },
    ]);
    assert_eq!(up["input"][0]["content"], expected);
    let up = wires.chat("messages", &content).await;
    let source = json!({ "type": "text", "media_type": "text/plain", "data": "Grüße" });
    let expected = json!([
        { "type": "text", "text": "before" },
        image_in_messages(),
        { "type": "text", "text": "between" },
        pdf_in_messages("a.pdf"),
        { "type": "document", "source": source, "title": "a.txt" },
        { "type": "text", "text": "after" },
    ]);
    assert_eq!(up["messages"][0]["content"], expected);
    let sound =
        json!([{ "type": "input_audio", "input_audio": { "data": "AA==", "format": "wav" } }]);
    let up = wires.chat("responses", &sound).await;
    assert_eq!(up["input"][0]["content"], sound);
    wires.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_responses_parts_reach_every_wire_also_out_of_tools() {
    let wires = Wires::start().await;
    let parts = json!([
        { "type": "input_image", "image_url": PNG, "detail": "auto" },
        { "type": "input_text", "text": "seen" },
        { "type": "input_file", "filename": "a.pdf", "file_data": PDF },
    ]);
    let call = json!({ "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" });
    let output = json!({ "type": "function_call_output", "call_id": "c1", "output": parts });
    let body = json!({ "input": [{ "role": "user", "content": parts }, call, output] });
    let up = wires.sent("/v1/responses", "chat", body.clone()).await;
    let expected = json!([
        { "type": "image_url", "image_url": { "url": PNG, "detail": "auto" } },
        { "type": "text", "text": "seen" },
        { "type": "file", "file": { "filename": "a.pdf", "file_data": PDF } },
    ]);
    assert_eq!(
        (&up["messages"][0]["content"], &up["messages"][2]["content"]),
        (&expected, &expected)
    );
    let up = wires.sent("/v1/responses", "messages", body.clone()).await;
    let expected =
        json!([image_in_messages(), { "type": "text", "text": "seen" }, pdf_in_messages("a.pdf")]);
    assert_eq!(up["messages"][0]["content"], expected);
    assert_eq!(up["messages"][2]["content"][0]["content"], expected);

    // A tool of another protocol answers with a picture.
    let call =
        json!({ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let shot = json!([{ "type": "image_url", "image_url": { "url": PNG } }]);
    let body = json!({ "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c1", "content": shot },
    ] });
    let up = wires.sent("/v1/chat/completions", "responses", body).await;
    let expected = json!([{ "type": "input_image", "image_url": PNG }]);
    assert_eq!(up["input"][2]["output"], expected, "{up}");
    wires.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_messages_documents_reach_other_wires() {
    let wires = Wires::start().await;
    let result = json!({ "type": "tool_result", "tool_use_id": "t1",
        "content": [{ "type": "text", "text": "shot" }, image_in_messages()] });
    let body = json!({ "max_tokens": 9, "messages": [
        { "role": "user", "content": [pdf_in_messages("a.pdf"), { "type": "text", "text": "read" }, image_in_messages()] },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t1", "name": "f", "input": {} }] },
        { "role": "user", "content": [result] },
    ] });
    let up = wires.sent("/v1/messages", "chat", body.clone()).await;
    let content = &up["messages"][0]["content"];
    let file = json!({ "type": "file", "file": { "filename": "a.pdf", "file_data": PDF } });
    assert_eq!(
        (&content[0], &content[1]["text"], &content[2]["image_url"]["url"]),
        (&file, &json!("read"), &json!(PNG))
    );
    assert_eq!(up["messages"][2]["content"], "shot");
    assert_eq!(up["messages"][3]["content"][0]["image_url"]["url"], PNG, "behind the results");
    let up = wires.sent("/v1/messages", "responses", body).await;
    let file = json!({ "type": "input_file", "filename": "a.pdf", "file_data": PDF });
    assert_eq!(up["input"][0]["content"][0], file);
    let output = json!([{ "type": "input_text", "text": "shot" }, { "type": "input_image", "image_url": PNG }]);
    assert_eq!(up["input"][2]["output"], output, "inside the result");
    wires.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_without_a_place_are_refused_by_the_clients_path() {
    let wires = Wires::start().await;
    let user = |part: &Value| json!({ "messages": [{ "role": "user", "content": [part] }] });
    let sound =
        json!({ "type": "input_audio", "input_audio": { "data": "AA==", "format": "wav" } });
    let stored = json!({ "type": "file", "file": { "file_id": "file-1" } });
    for (part, model, path) in [
        (&sound, "messages", "messages[0].content[0].type"),
        (&stored, "messages", "messages[0].content[0].file.file_id"),
        (&stored, "responses", "messages[0].content[0].file.file_id"),
    ] {
        let (status, said) = wires.post("/v1/chat/completions", model, user(part)).await;
        assert_eq!((status, &said["error"]["param"]), (400, &json!(path)), "{said}");
    }
    let address = json!({ "type": "input_file", "file_url": "https://a.example/a.pdf" });
    let body = json!({ "input": [{ "role": "user", "content": [address] }] });
    let (status, said) = wires.post("/v1/responses", "chat", body.clone()).await;
    assert_eq!((status, &said["error"]["param"]), (400, &json!("input[0].content[0].file_url")));
    let up = wires.sent("/v1/responses", "messages", body).await;
    let source = json!({ "type": "url", "url": "https://a.example/a.pdf" });
    assert_eq!(up["messages"][0]["content"][0], json!({ "type": "document", "source": source }));
    wires.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_keeps_its_parts_and_its_forms() {
    let wires = Wires::start().await;
    let parts = json!([
        { "type": "input_file", "filename": "a.pdf", "file_data": PDF },
        { "type": "input_text", "text": "read" },
        { "type": "input_file", "file_id": "file-1", "x": 1.5 },
    ]);
    let call = json!({ "type": "custom_tool_call", "call_id": "c1", "name": "sh", "input": "ls" });
    let output = json!({ "type": "custom_tool_call_output", "call_id": "c1", "output": "a" });
    let body = json!({ "input": [{ "role": "user", "content": parts }, call, output] });
    let (_, first) = wires.post("/v1/responses", "responses", body).await;
    let id = first["id"].as_str().unwrap();
    let next = json!({ "input": "and now?", "previous_response_id": id });
    let up = wires.sent("/v1/responses", "responses", next.clone()).await;
    assert_eq!(up["input"][0]["content"], parts, "{up}");
    assert_eq!(up["input"][1], call);

    let path = format!("/v1/responses/{id}/input_items?order=asc");
    let list: Value = wires.app.client.get(&path).await.json().await.unwrap();
    let items = list["data"].as_array().unwrap();
    assert_eq!(items[0]["content"], parts);
    assert_eq!((&items[1]["type"], &items[1]["input"]), (&json!("custom_tool_call"), &json!("ls")));
    assert_eq!(items[2]["type"], "custom_tool_call_output");

    // In another protocol the file goes along, and what only its own server knows has its name.
    let up = wires.sent("/v1/responses", "messages", next).await;
    let content = &up["messages"][0]["content"];
    assert_eq!(
        (&content[0], &content[2]["text"]),
        (&pdf_in_messages("a.pdf"), &json!("[input_file]"))
    );
    wires.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_keeps_its_parts_and_its_forms() {
    let wires = Wires::start().await;
    let parts = json!([
        { "type": "input_text", "text": "one" },
        { "type": "input_image", "image_url": PNG, "detail": "auto" },
        { "type": "input_text", "text": "two" },
        { "type": "input_file", "filename": "a.pdf", "file_data": PDF },
    ]);
    let call = json!({ "type": "custom_tool_call", "call_id": "c1", "name": "sh", "input": "ls" });
    let output = json!({ "type": "custom_tool_call_output", "call_id": "c1", "output": "a" });
    let items = json!([{ "type": "message", "role": "user", "content": parts }, call, output]);
    let opened = wires.app.client.post("/v1/conversations", &json!({ "items": items })).await;
    let opened: Value = opened.json().await.unwrap();
    let id = opened["id"].as_str().unwrap();
    let list: Value = wires
        .app
        .client
        .get(&format!("/v1/conversations/{id}/items?order=asc"))
        .await
        .json()
        .await
        .unwrap();
    let kinds: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|i| &i["type"]).collect();
    assert_eq!(kinds, ["message", "custom_tool_call", "custom_tool_call_output"]);
    assert_eq!(list["data"][0]["content"], parts);
    let body = json!({ "input": "and now?", "conversation": id });
    let up = wires.sent("/v1/responses", "messages", body).await;
    let expected = json!([
        { "type": "text", "text": "one" },
        image_in_messages(),
        { "type": "text", "text": "two" },
        pdf_in_messages("a.pdf"),
    ]);
    assert_eq!(up["messages"][0]["content"], expected);
    wires.app.stop().await;
}

/// llama.cpp and vLLM take a temperature of 3 and penalties beyond 2; OpenAI refuses them itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_ranges_of_numbers_are_the_servers_own() {
    let wires = Wires::start().await;
    let hot = json!({
        "messages": [{ "role": "user", "content": "hi" }], "temperature": 3.0, "top_p": 1.5,
        "presence_penalty": 5.0, "frequency_penalty": -3.0, "stop": vec!["x"; 20],
    });
    for (model, temperature) in [("chat", 3.0), ("responses", 3.0), ("messages", 1.0)] {
        let sent = wires.sent("/v1/chat/completions", model, hot.clone()).await;
        assert_eq!(sent["temperature"], temperature, "{model}: {sent}");
    }
    let sent = wires.sent("/v1/chat/completions", "chat", hot.clone()).await;
    for (name, value) in hot.as_object().unwrap() {
        assert_eq!(sent[name], *value, "{name}");
    }
    let input = json!({ "input": "hi", "temperature": 3.0, "top_p": 1.5 });
    assert_eq!(wires.sent("/v1/responses", "responses", input).await["temperature"], 3.0);
    let mut messages = json!({ "messages": hot["messages"], "max_tokens": 9, "temperature": 3.0 });
    let sent = wires.sent("/v1/messages", "messages", messages.clone()).await;
    assert_eq!(sent["temperature"], 3.0);
    messages["temperature"] = json!(-1.0);
    assert_eq!(wires.sent("/v1/messages", "chat", messages).await["temperature"], -1.0);
    wires.app.stop().await;
}
