//! Texts that agents send again and again are stored once for a tenant. They come back as they came, and
//! go with their last generation.
mod race;
mod versions;

use serde_json::{Value, json};

use crate::database::TestDatabase;
use crate::harness::TestApp;
use crate::keys::make_key;
use crate::raw::{Answer, exchange, request};

/// Bytes of all that is kept of requests, rows' heads and indexes included.
const STORED: &str = "select (select coalesce(sum(octet_length(request::text) \
      + coalesce(octet_length(packed), 0)), 0) from generations) \
    + (select coalesce(sum(octet_length(body) + 200), 0) from contents) \
    + (select 200 * count(*) from content_parts) + (select 200 * count(*) from content_uses)";

/// Contents that nothing uses.
const LEFT: &str = "select count(*) from contents c \
    where not exists (select from content_uses u where u.hash = c.hash) \
    and not exists (select from content_parts p where p.part = c.hash)";

/// A text of so many bytes that no other seed has, as a file's lines are.
pub(crate) fn file(seed: usize, bytes: usize) -> String {
    let line = |n: usize| format!("{seed:05} {:08x}\n", n.wrapping_mul(2_654_435_761) ^ seed);
    let mut text: String = (0..bytes / 15).map(line).collect();
    text.truncate(bytes);
    text
}

/// The body of an agent's turn: its tools, its system text, and everything so far.
pub(crate) fn body(turns: usize) -> String {
    let tool = |n: usize| {
        json!({ "type": "function", "function": { "name": format!("tool_{n}"),
            "description": file(1000 + n, 800), "parameters": { "type": "object", "properties": {
                "path": { "type": "string", "description": file(2000 + n, 300) } } } } })
    };
    let tools: Vec<Value> = (0..15).map(tool).collect();
    let mut messages = vec![
        json!({ "role": "system", "content": file(1, 20_000) }),
        json!({ "role": "user", "content": "/demo tokens=2 tps=0 ttft_ms=0" }),
    ];
    for n in 0..turns {
        let call = json!({ "id": format!("call_{n}"), "type": "function",
            "function": { "name": "tool_1", "arguments": format!("{{\"path\":\"{n}\"}}") } });
        messages.push(json!({ "role": "assistant", "content": null, "tool_calls": [call] }));
        let result = file(10 + n, 8000);
        messages.push(
            json!({ "role": "tool", "tool_call_id": format!("call_{n}"), "content": result }),
        );
    }
    json!({ "model": "demo", "messages": messages, "tools": tools, "odd": 1.50 }).to_string()
}

pub(crate) async fn post(app: &TestApp, key: Option<&str>, path: &str, body: &str) -> Answer {
    let bearer = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!("Content-Type: application/json\r\n{bearer}");
    exchange(app.address, &request(&format!("POST {path}"), &head, body.as_bytes())).await
}

/// The newest body as the database has it.
async fn newest(database: &TestDatabase) -> String {
    let sql = "select (coalesce(whole(tenant, packed)::json, request) #> '{source,body}')::text \
               from generations order by id desc limit 1";
    sqlx::query_scalar(sql).fetch_one(&mut database.connect().await).await.unwrap()
}

async fn forgotten(database: &TestDatabase) {
    for (what, sql) in [
        ("contents", "select count(*) from contents"),
        ("parts", "select count(*) from content_parts"),
        ("uses", "select count(*) from content_uses"),
        ("loose", "select count(*) from loose_contents"),
    ] {
        assert_eq!(database.number(sql).await, 0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_run_is_stored_once_and_comes_back_as_it_came() {
    let app = TestApp::start().await;
    let (mut sent, mut stored) = (0_i64, Vec::new());
    for turns in 0..=20 {
        let body = body(turns);
        sent += i64::try_from(body.len()).unwrap();
        let answer = post(&app, None, "/v1/chat/completions", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        assert_eq!(newest(&app.database).await, body);
        stored.push(app.database.number(STORED).await);
    }
    // A tenth of what it was before, which was each body twice.
    let (last, before) = (*stored.last().unwrap(), 2 * sent);
    assert!(last * 10 < before, "{last} bytes in place of {before}: {stored:?}");
    let (first, later) = (stored[10] - stored[0], stored[20] - stored[10]);
    assert!(later < first * 5 / 4, "it grows in a line: {stored:?}");
    // A pretty-printed body has its white space again.
    let pretty = serde_json::from_str::<Value>(&body(3)).unwrap();
    let pretty = serde_json::to_string_pretty(&pretty).unwrap();
    assert_eq!(post(&app, None, "/v1/chat/completions", &pretty).await.status, 200);
    assert_eq!(newest(&app.database).await, pretty);
    // All goes with the last generation that uses it.
    let ids: Vec<String> = sqlx::query_scalar("select id::text from generations")
        .fetch_all(&mut app.database.connect().await)
        .await
        .unwrap();
    for id in ids {
        assert_eq!(app.database.number(LEFT).await, 0);
        let path = format!("{}/v1/generations/{id}", app.client.base);
        assert_eq!(app.client.http.delete(path).send().await.unwrap().status(), 204);
    }
    forgotten(&app.database).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_and_conversations_grow_in_a_line() {
    let app = TestApp::start().await;
    let (mut previous, mut chain) = (Value::Null, Vec::new());
    for turn in 0..24 {
        let input = format!("/demo tokens=2 tps=0 ttft_ms=0 {}", file(turn, 4000));
        let body = json!({ "model": "demo", "input": input, "previous_response_id": previous });
        let answer = post(&app, None, "/v1/responses", &body.to_string()).await;
        previous = answer.json()["id"].clone();
        assert!(previous.is_string(), "{}", answer.json());
        chain.push(app.database.number(STORED).await);
    }
    let (first, later) = (chain[11], chain[23] - chain[11]);
    assert!(later < first * 5 / 4, "it grows in a line: {chain:?}");
    let path = format!("/v1/responses/{}/input_items?limit=100", previous.as_str().unwrap());
    let items: Value = app.client.get(&path).await.json().await.unwrap();
    let items = items["data"].as_array().unwrap().clone();
    assert_eq!(items.len(), 47, "all that it was told");
    let text = format!("/demo tokens=2 tps=0 ttft_ms=0 {}", file(0, 4000));
    assert_eq!(items.last().unwrap()["content"][0]["text"], text);

    let talk = crate::conversation::Talk::open(&app.client, &json!({})).await;
    let (before, mut branch) = (app.database.number(STORED).await, Vec::new());
    for turn in 100..116 {
        talk.prompt(&format!("/demo tokens=2 tps=0 ttft_ms=0 {}", file(turn, 4000))).await;
        branch.push(app.database.number(STORED).await - before);
    }
    let (first, later) = (branch[7], branch[15] - branch[7]);
    assert!(later < first * 5 / 4, "it grows in a line: {branch:?}");
    talk.delete().await;
    assert!(app.database.number(STORED).await <= before, "gone with the conversation");
    assert_eq!(app.database.number(LEFT).await, 0);
    app.stop().await;
}

/// The fields of an answer's head. Some have a value of their own in each.
fn head(answer: &Answer) -> Vec<&str> {
    let mut names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_share_nothing_and_no_answer_tells_what_was_there() {
    let app = TestApp::start().await;
    let one = make_key(&app.database, &["--tenant", "one"]).await;
    let two = make_key(&app.database, &["--tenant", "two"]).await;
    let body = body(2);
    let mut answers = Vec::new();
    for key in [&one, &one, &two] {
        answers.push(post(&app, Some(key), "/v1/chat/completions", &body).await);
    }
    assert_eq!(answers[0].status, 200);
    for later in &answers[1..] {
        assert_eq!((later.status, head(later)), (200, head(&answers[0])));
    }
    let each = "select count(*) from (select body from contents where tenant = 'one' \
                intersect select body from contents where tenant = 'two') same";
    let same = app.database.number(each).await;
    assert!(same > 5, "both have it");
    let other = "select count(*) from contents where tenant not in ('one', 'two')";
    assert_eq!(app.database.number(other).await, 0);
    // A text of one tenant that names a content of another is nothing.
    let foreign = "select count(*) from generations where tenant = 'one' \
                   and whole('two', packed) is not null";
    assert_eq!(app.database.number(foreign).await, 0);
    let all = "delete from generations where tenant = 'one'";
    sqlx::query(all).execute(&mut app.database.connect().await).await.unwrap();
    let log = crate::wrong::wrong_log(&app.database.url, crate::wrong::Mistake::None).await;
    while log.upkeep.retain(7).await.is_err() {}
    let left = "select count(*) from contents where tenant = 'one'";
    assert_eq!(app.database.number(left).await, 0);
    assert_eq!(newest(&app.database).await, body);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_and_many_messages_are_stored_as_they_came() {
    let app = TestApp::start().await;
    let directive = json!({ "role": "user", "content": "/demo tokens=1 tps=0 ttft_ms=0" });
    let long = json!({ "role": "system", "content": "long \"text\"\n".repeat(250_000) });
    let short = |n: usize| json!({ "role": "assistant", "content": format!("{n:060}") });
    let mut many: Vec<Value> = (0..5000).map(short).collect();
    many.push(directive.clone());
    for (messages, contents) in [(json!([long, directive]), 1..=6), (json!(many), 100..=700)] {
        let body = json!({ "model": "demo", "messages": messages }).to_string();
        let before = app.database.number("select count(*) from contents").await;
        let answer = post(&app, None, "/v1/chat/completions", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        assert!(newest(&app.database).await == body);
        let made = app.database.number("select count(*) from contents").await - before;
        assert!(contents.contains(&made), "{made} contents");
    }
    // A short request has no content, and is stored as before.
    app.client.start_prompt("/demo tokens=1 tps=0").await;
    let whole = "select count(*) from generations where packed is null";
    assert_eq!(app.database.number(whole).await, 1);
    // A list shows the notes of a long one.
    let noted = format!(
        "{{\"prompt\":\"/demo tokens=1 tps=0 {}\",\"metadata\":{{\"b\":1.50,\"a\":[]}}}}",
        "x".repeat(9000)
    );
    assert_eq!(post(&app, None, "/v1/generations", &noted).await.status, 201);
    let listed = app.client.get("/v1/generations?limit=1").await.text().await.unwrap();
    assert!(listed.contains(r#""metadata":{"b":1.5,"a":[]}"#), "{listed}");
    assert_eq!(app.database.number(whole).await, 1);
    app.stop().await;
}
