//! Pictures that people send: kept once, told to models by every wire, served to nobody else.
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;
use crate::conversation::{Talk, request, told};
use crate::database::TestDatabase;
use crate::harness::{TestApp, model_config};
use crate::keys::{locked, make_key};
use crate::process::{Server, command};
use crate::upstream::{Answer, Events, Upstream};

/// The smallest GIFs, of so many columns, as a camera makes them: with a note where.
fn taken(columns: u8) -> Vec<u8> {
    [&b"GIF89a"[..], &[columns, 0, 1, 0, 0, 0, 0], b"\x21\xfe\x06secret\0;"].concat()
}

/// The same as they are kept, for a model.
fn whole(columns: u8) -> String {
    let end = ["AQABAAAAADs=", "AgABAAAAADs="][usize::from(columns) - 1];
    format!("data:image/gif;base64,R0lGODlh{end}")
}

async fn try_keep(client: &Client, key: Option<&str>, bytes: Vec<u8>) -> (u16, Value) {
    let request = client.http.post(format!("{}/v1/pictures", client.base)).body(bytes);
    let request = key.into_iter().fold(request, |request, key| request.bearer_auth(key));
    told(request.send().await.unwrap()).await
}

async fn keep(client: &Client, columns: u8) -> String {
    let (status, kept) = try_keep(client, None, taken(columns)).await;
    assert!(matches!(status, 200 | 201), "{kept}");
    assert_eq!((&kept["media_type"], &kept["bytes"]), (&json!("image/gif"), &json!(14)));
    kept["id"].as_str().unwrap().to_owned()
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn image(id: &str) -> Value {
    json!({ "type": "image", "picture": id })
}

fn asks(model: &str, content: &Value) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": content }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_reach_every_wire_in_order_and_are_kept_once() {
    let chat = Upstream::start(vec![Answer::sse().text("ok").complete(); 3]).await;
    let responses = Upstream::start(Events::whole("resp_up", "ok").all()).await;
    let messages = Upstream::start(Answer::whole_message(&["ok"])).await;
    let app = TestApp::with(|config| {
        let host = messages.base_url();
        let host = host.trim_end_matches("/v1");
        for more in [
            format!("name = 'chat'\nprovider = 'openai'\nbase_url = '{}'", chat.base_url()),
            format!(
                "name = 'responses'\nprovider = 'openai'\nwire = 'responses'\n\
                 continuation = 'none'\nbase_url = '{}'",
                responses.base_url()
            ),
            format!("name = 'messages'\nprovider = 'anthropic'\nbase_url = '{host}'"),
            format!(
                "name = 'blind'\nprovider = 'openai'\npictures = false\nbase_url = '{}'",
                chat.base_url()
            ),
        ] {
            config.models.push(model_config(&format!("{more}\nmax_attempts = 1")));
        }
    })
    .await;
    let (one, two) = (keep(&app.client, 1).await, keep(&app.client, 2).await);
    assert_eq!(keep(&app.client, 1).await, one, "the same bytes are the same picture");
    let content = json!([text("before"), image(&one), text("between"), image(&two)]);
    let talk = Talk::open(&app.client, &json!({})).await;
    let turn = talk.say(asks("chat", &content)).await;
    let up = chat.requests().pop().unwrap().body;
    let url = |n| json!({ "type": "image_url", "image_url": { "url": whole(n) } });
    let expected = json!([text("before"), url(1), text("between"), url(2)]);
    assert_eq!(up["messages"][0]["content"], expected);
    // The next ones are told of them, too, and so is another answer to the same question.
    for model in ["responses", "messages"] {
        talk.say(json!({ "model": model, "prompt": "and?" })).await;
    }
    let seen = |n| json!({ "type": "input_image", "image_url": whole(n) });
    let says = |text: &str| json!({ "type": "input_text", "text": text });
    let up = responses.requests().pop().unwrap().body;
    let expected = json!([says("before"), seen(1), says("between"), seen(2)]);
    assert_eq!(up["input"][0]["content"], expected);
    let up = messages.requests().pop().unwrap().body;
    let source = |n| {
        let data = whole(n).split_once(',').unwrap().1.to_owned();
        let source = json!({ "type": "base64", "media_type": "image/gif", "data": data });
        json!({ "type": "image", "source": source })
    };
    let expected = json!([text("before"), source(1), text("between"), source(2)]);
    assert_eq!(up["messages"][0]["content"], expected);
    talk.say(json!({ "model": "chat", "parent_id": turn.parent })).await;
    assert_eq!(chat.requests().pop().unwrap().body["messages"][0]["content"][1], url(1));
    assert_eq!(talk.get("/messages?all=true").await["data"][0]["content"], content);
    assert_eq!(talk.get("").await["title"], "before between");
    assert_eq!(app.database.number("select count(*) from pictures").await, 2);
    let copies = "select count(*) from generations where request::text like '%R0lGOD%'";
    assert_eq!(app.database.number(copies).await, 0, "requests name them only");
    // Outside of conversations, too.
    let id = app.client.start(&asks("chat", &json!([image(&two)]))).await;
    app.client.all(&id, 0).await;
    assert_eq!(chat.requests().pop().unwrap().body["messages"][0]["content"], json!([url(2)]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_cannot_see_is_said() {
    let (app, upstream) =
        TestApp::scripted(vec![Answer::sse().text("ok").complete(); 3], |config| {
            config.default_model = Some("scripted".into());
            let base = "name = 'blind'\nprovider = 'openai'\npictures = false\nmax_attempts = 1";
            let url = config.models[0].base_url.clone().unwrap();
            config.models.push(model_config(&format!("{base}\nbase_url = '{url}'")));
        })
        .await;
    let one = keep(&app.client, 1).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    for model in ["blind", "demo"] {
        let (status, problem) = talk.try_start(asks(model, &json!([image(&one)]))).await;
        assert_eq!((status, &problem["code"]), (422, &json!("pictures_not_supported")));
        assert!(problem["detail"].as_str().unwrap().contains(model), "{problem}");
    }
    let unknown = "0".repeat(64);
    let (status, problem) = talk.try_start(asks("scripted", &json!([image(&unknown)]))).await;
    assert_eq!((status, &problem["code"]), (422, &json!("picture_not_found")));
    let (status, _) = talk.try_start(asks("scripted", &json!([image("../../etc")]))).await;
    assert_eq!(status, 422);
    let system = json!({ "messages": [{ "role": "system", "content": [image(&one)] }] });
    let (status, problem) = talk.try_start(system).await;
    assert_eq!((status, &problem["code"]), (422, &json!("unsupported_value")), "{problem}");
    assert_eq!(talk.get("/messages").await["data"], json!([]), "nothing of it was stored");
    // One that was seen before is told as a word.
    talk.say(asks("scripted", &json!([text("look"), image(&one)]))).await;
    let turn = talk.start(json!({ "model": "blind", "prompt": "and now?" })).await;
    let events = talk.end(&turn).await;
    let notice = events.iter().find(|e| e.name == "notice").unwrap().json();
    assert_eq!(notice["code"], "pictures_left_out");
    let said = upstream.requests().pop().unwrap().body["messages"][0]["content"].to_string();
    assert!(said.contains("[picture]") && !said.contains("base64"), "{said}");
    // A vendor's client sends its pictures to the model's server, which may refuse them itself.
    let url = "data:image/png;base64,AAAA";
    let content = json!([{ "type": "image_url", "image_url": { "url": url } }]);
    let body = json!({ "model": "blind", "messages": [{ "role": "user", "content": content }] });
    let to = format!("{}/v1/chat/completions", app.client.base);
    let answer = app.client.http.post(to).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(upstream.requests().pop().unwrap().body["messages"][0]["content"], content);
    let models: Value = app.client.get("/v1/models").await.json().await.unwrap();
    let sees = models["data"].as_array().unwrap().iter().map(|m| (&m["id"], &m["pictures"]));
    for (id, sees) in sees {
        assert_eq!(*sees, if id == "scripted" { Value::Null } else { json!(false) }, "{id}");
    }
    for (bytes, status, code) in [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), 422, "unsupported_picture"),
        (b"\x89PNG\r\n\x1a\ncut".to_vec(), 422, "broken_picture"),
        (Vec::new(), 422, "unsupported_picture"),
        (vec![0; 10 * 1024 * 1024 + 1], 413, "payload_too_large"),
    ] {
        let (got, problem) = try_keep(&app.client, None, bytes).await;
        assert_eq!((got, &problem["code"]), (status, &json!(code)));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_for_its_tenant_and_for_bearers_of_a_link_to_its_branch() {
    let (app, upstream) =
        TestApp::scripted(vec![Answer::sse().text("ok").complete(); 3], |_| {}).await;
    let (one, two) = (keep(&app.client, 1).await, keep(&app.client, 2).await);
    let talk = Talk::open(&app.client, &json!({})).await;
    talk.say(asks("scripted", &json!([image(&one)]))).await;
    assert_eq!(talk.get("").await["title"], "Picture");
    let (_, shared) = told(talk.client.post(&talk.path("/shares"), &json!({})).await).await;
    let link = shared["url"].as_str().unwrap().to_owned();
    // Said later, and on another branch: no part of the link.
    talk.say(asks("scripted", &json!([text("more"), image(&two)]))).await;
    let (_, shown) = told(talk.client.get(&link).await).await;
    assert_eq!(shown["messages"][0]["content"], json!([image(&one)]));
    let path = |id: &str| format!("{link}/pictures/{id}");
    for (path, status) in [
        (format!("/v1/pictures/{one}"), 200),
        (format!("/v1/pictures/{two}"), 200),
        (path(&one), 200),
        (path(&two), 404),
        (path("x"), 404),
        (format!("/v1/shared/lws_x/pictures/{one}"), 404),
    ] {
        let response = app.client.get(&path).await;
        assert_eq!(response.status(), status, "{path}");
        if status == 404 {
            continue;
        }
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(header("content-type"), "image/gif");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(header("cache-control"), "private, no-cache");
        let tag = header("etag").to_owned();
        let bytes = response.bytes().await.unwrap();
        assert!(bytes.len() == 14 && !bytes.windows(6).any(|w| w == b"secret"), "{bytes:?}");
        let again = app.client.http.get(format!("{}{path}", app.client.base));
        let again = again.header("if-none-match", tag).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
    request(&app.client, Method::DELETE, &talk.path("/shares"), None).await;
    assert_eq!(app.client.get(&path(&one)).await.status(), 404, "revoked");
    // Erased with the last message that names it.
    let other = Talk::open(&app.client, &json!({})).await;
    other.say(asks("scripted", &json!([image(&two)]))).await;
    assert_eq!(upstream.requests().len(), 3);
    talk.delete().await;
    assert_eq!(app.client.get(&format!("/v1/pictures/{one}")).await.status(), 404);
    assert_eq!(app.client.get(&format!("/v1/pictures/{two}")).await.status(), 200);
    other.delete().await;
    assert_eq!(app.database.number("select count(*) from pictures").await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_picture_of_another_tenant_is_another() {
    let (app, owner) = locked(&["--tenant", "owner"]).await;
    let stranger = make_key(&app.database, &["--tenant", "stranger"]).await;
    let (status, kept) = try_keep(&app.client, Some(&owner), taken(1)).await;
    assert_eq!(status, 201);
    let path = format!("/v1/pictures/{}", kept["id"].as_str().unwrap());
    let look = async |key: &str| {
        let url = format!("{}{path}", app.client.base);
        let seen = app.client.http.get(url).bearer_auth(key).send().await.unwrap();
        seen.status().as_u16()
    };
    assert_eq!((look(&owner).await, look(&stranger).await, look("no").await), (200, 404, 401));
    let (status, again) = try_keep(&app.client, Some(&stranger), taken(1)).await;
    assert_eq!((status, &again["id"]), (201, &kept["id"]), "nobody is told that it is known");
    assert_eq!(look(&stranger).await, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_told_again_after_a_kill() {
    let script = vec![Answer::sse().stall(), Answer::sse().text("a cat").complete()];
    let upstream = Upstream::start(script).await;
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let serve = || {
        let mut serve = command(dir.path());
        serve.args(["--database-url", &database.url]);
        serve.env("OPENAI_BASE_URL", upstream.base_url()).env("OPENAI_MODEL", "scripted");
        serve
    };
    let server = Server::start(serve()).await;
    let one = keep(&server.client, 1).await;
    let talk = Talk::open(&server.client, &json!({})).await;
    let turn = talk.start(asks("scripted", &json!([text("what?"), image(&one)]))).await;
    upstream.arrived(1).await;
    server.kill().await;
    let server = Server::start(serve()).await;
    let talk = talk.at(&server.client);
    talk.end(&turn).await;
    let told = upstream.requests();
    let content = |n: usize| &told[n].body["messages"][0]["content"];
    assert_eq!(content(1), content(0));
    assert_eq!(content(1)[1]["image_url"]["url"], json!(whole(1)));
    assert_eq!(talk.lines("").await[1], "assistant: a cat");
    server.kill().await;
}
