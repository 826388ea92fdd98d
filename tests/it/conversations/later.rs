//! Links that show later turns, where their maker chose so.
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::answers;
use super::followed::two;
use super::shares::{look, share};
use crate::client::{Client, PATIENCE, Reader};
use crate::conversation::{Talk, Turn, request, told};
use crate::harness::TestApp;
use crate::upstream::{Answer, Gate, Upstream};

async fn share_later(talk: &Talk) -> String {
    let body = json!({ "later_turns": true });
    let (status, shared) = told(talk.client.post(&talk.path("/shares"), &body).await).await;
    assert_eq!(status, 201, "{shared}");
    shared["token"].as_str().unwrap().to_owned()
}

async fn ask(client: &Client, token: &str, turn: &str, after: u64) -> reqwest::Response {
    let path = format!("/v1/shared/{token}/events?turn={turn}&after={after}");
    let asked = client.http.get(format!("{}{path}", client.base));
    asked.header("accept", "text/event-stream").send().await.unwrap()
}

async fn follow(client: &Client, token: &str, turn: &str, after: u64) -> Reader {
    let response = ask(client, token, turn, after).await;
    assert_eq!(response.status(), StatusCode::OK, "{turn}");
    assert_eq!(response.headers()["x-robots-tag"], "noindex");
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    assert!(!response.headers().contains_key("lastword-generation"));
    Reader::new(response)
}

/// The stream ends without an event.
async fn let_go(mut viewer: Reader) {
    let rest = tokio::time::timeout(PATIENCE, viewer.rest()).await.expect("it ends");
    assert!(rest.is_empty(), "{rest:?}");
}

async fn number(app: &TestApp, sql: String) -> i64 {
    let mut connection = app.database.connect().await;
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap()
}

/// A link as its bearer sees it.
struct Branch {
    lines: Vec<String>,
    answering: bool,
    turn: String,
    all: String,
}

async fn branch(talk: &Talk, token: &str) -> Branch {
    let (status, shown) = look(talk, token).await;
    assert_eq!(status, 200, "{shown}");
    let line = |m: &Value| m["content"].as_str().unwrap().to_owned();
    Branch {
        lines: shown["messages"].as_array().unwrap().iter().map(line).collect(),
        answering: shown["answering"].as_bool().unwrap(),
        turn: shown["turn"].as_str().unwrap_or_default().to_owned(),
        all: shown.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn later_turns_come_live_on_every_instance_where_the_maker_chose_so() {
    let gate = Gate::default();
    let script = vec![
        Answer::sse().text("one").complete(),
        Answer::sse().text("before").complete(),
        Answer::sse().text("two ").wait(&gate).text("three").complete(),
        Answer::sse().text("elsewhere").complete(),
    ];
    let upstream = Upstream::start(script).await;
    let apps = two(&upstream).await;
    let talk = Talk::open(&apps[0].client, &json!({ "system": "secret", "title": "t" })).await;
    let first = talk.prompt("hi").await;
    // Below what is shared, but of before: it is no later turn.
    talk.prompt("rewound").await;
    assert_eq!(talk.patch(&json!({ "active_leaf": first.id })).await.0, 200);
    let (plain, token) = (share(&talk).await, share_later(&talk).await);

    let mut viewers = Vec::new();
    for app in &apps {
        let shown = branch(&talk.at(&app.client), &token).await;
        assert_eq!((shown.lines, shown.answering), (vec!["hi".into(), "one".into()], false));
        assert_eq!(shown.turn.len(), 32);
        viewers.push(follow(&app.client, &token, &shown.turn, 0).await);
    }
    let turn = talk.start(json!({ "prompt": "next" })).await;
    for viewer in viewers {
        let_go(viewer).await;
    }
    let mut viewers = Vec::new();
    for app in &apps {
        let shown = branch(&talk.at(&app.client), &token).await;
        assert_eq!(shown.lines, ["hi", "one", "next"]);
        assert!(shown.answering);
        let mut viewer = follow(&app.client, &token, &shown.turn, 0).await;
        let begun = viewer.take(2).await;
        assert_eq!(begun[1].json()["text"], "two ");
        viewers.push((viewer, begun, shown));
    }
    gate.open();
    let mut names = Vec::new();
    let mut waiting = Vec::new();
    for ((mut viewer, mut seen, shown), app) in viewers.into_iter().zip(&apps) {
        seen.extend(viewer.rest().await);
        assert_eq!(seen.last().unwrap().json()["status"], "completed");
        let secrets = [&turn.id, &turn.parent, &first.id, &talk.id, "secret", "usage", "provider"];
        for text in seen.iter().map(|event| &event.data).chain([&shown.all]) {
            assert!(secrets.iter().all(|word| !text.contains(*word)), "{text}");
        }
        // Its viewer stays under the name that it knows, and so does one who reads the branch anew.
        waiting.push(follow(&app.client, &token, &shown.turn, seen.len() as u64).await);
        let whole = branch(&talk.at(&app.client), &token).await;
        assert_eq!(whole.lines, ["hi", "one", "next", "two three"]);
        assert_ne!(whole.turn, shown.turn);
        waiting.push(follow(&app.client, &token, &whole.turn, 0).await);
        names.push((shown.turn, whole.turn));
    }
    assert_eq!(names[0], names[1], "the same on every instance");

    unrelated(&apps, &talk, [&plain, &token], &names[0]).await;
    erased_and_revoked(&apps, &talk, &token, &turn, waiting).await;
    for app in apps {
        app.stop().await;
    }
}

/// A turn on another branch is shown by neither link.
async fn unrelated(
    apps: &[TestApp; 2],
    talk: &Talk,
    [plain, token]: [&str; 2],
    names: &(String, String),
) {
    talk.say(json!({ "prompt": "an edit of the first", "parent_id": null })).await;
    for app in apps {
        let shown = branch(&talk.at(&app.client), token).await;
        assert_eq!(shown.lines, ["hi", "one", "next", "two three"], "an unrelated branch");
        assert_eq!(shown.turn, names.1);
        let shown = branch(&talk.at(&app.client), plain).await;
        assert_eq!((shown.lines, shown.turn), (vec!["hi".into(), "one".into()], String::new()));
        // A name helps nobody whose link does not show later turns.
        for name in ["", names.0.as_str(), names.1.as_str()] {
            let refused = ask(&app.client, plain, name, 0).await;
            assert_eq!(refused.status(), StatusCode::NO_CONTENT, "{name}");
        }
        let unknown = ask(&app.client, token, "0123456789abcdef0123456789abcdef", 0).await;
        assert_eq!(unknown.status(), StatusCode::NO_CONTENT, "read the branch again");
    }
}

/// An erased turn goes from the link, and a void link from its viewers, on every instance.
async fn erased_and_revoked(
    apps: &[TestApp; 2],
    talk: &Talk,
    token: &str,
    turn: &Turn,
    waiting: Vec<Reader>,
) {
    let path = format!("/v1/generations/{}", turn.id);
    let erased = request(&talk.client, Method::DELETE, &path, None).await;
    assert_eq!(erased.status(), StatusCode::NO_CONTENT);
    for viewer in waiting {
        let_go(viewer).await;
    }
    let mut waiting = Vec::new();
    for app in apps {
        let shown = branch(&talk.at(&app.client), token).await;
        assert_eq!(shown.lines, ["hi", "one", "next"], "what is erased disappears");
        waiting.push(follow(&app.client, token, &shown.turn, 0).await);
    }
    let revoked = request(&talk.client, Method::DELETE, &talk.path("/shares"), None).await;
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    for viewer in waiting {
        let_go(viewer).await;
    }
    for app in apps {
        let void = ask(&app.client, token, "", 0).await;
        assert_eq!(void.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_branches_below_a_link_the_newest_is_shown() {
    let (app, _upstream) =
        TestApp::scripted(answers(&["a", "b", "c", "d", "e", "f", "g"]), |_| {}).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let empty = talk.client.post(&talk.path("/shares"), &json!({ "later_turns": true })).await;
    let (status, refused) = told(empty).await;
    assert_eq!((status, &refused["code"]), (409, &json!("nothing_said")));
    for (body, code) in [("{\"later_turn\":true}", "unknown_field"), ("[]", "invalid_type")] {
        let sent = talk.client.http.post(format!("{}{}", talk.client.base, talk.path("/shares")));
        let sent = sent.header("content-type", "application/json").body(body).send().await.unwrap();
        let (status, refused) = told(sent).await;
        assert_eq!((status, &refused["code"]), (422, &json!(code)));
    }

    let first = talk.prompt("one").await;
    let token = share_later(&talk).await;
    let shown = async || branch(&talk, &token).await.lines;
    // Another answer to the last question is one of them; the answers of before are not.
    let again = talk.say(json!({ "parent_id": first.parent })).await;
    assert_eq!(shown().await, ["one", "b"]);
    let second = talk.say(json!({ "prompt": "two", "parent_id": first.id })).await;
    assert_eq!(shown().await, ["one", "a", "two", "c"]);
    // The branch that its owner looks at changes nothing.
    assert_eq!(talk.patch(&json!({ "active_leaf": again.id })).await.0, 200);
    assert_eq!(shown().await, ["one", "a", "two", "c"]);
    talk.say(json!({ "prompt": "two, edited", "parent_id": first.id })).await;
    assert_eq!(shown().await, ["one", "a", "two, edited", "d"]);
    talk.say(json!({ "prompt": "three", "parent_id": second.id })).await;
    assert_eq!(shown().await, ["one", "a", "two", "c", "three", "e"]);

    // The message of its making is erased: what was said below it moved up, and nothing else came.
    let path = format!("/v1/generations/{}", first.id);
    let erased = request(&talk.client, Method::DELETE, &path, None).await;
    assert_eq!(erased.status(), StatusCode::NO_CONTENT);
    assert_eq!(shown().await, ["one", "two", "c", "three", "e"]);

    // As a version before this one reads and makes links: less, never more.
    let read = format!(
        "select count(*) from shares s left join messages m on m.id = s.generation_id \
         where coalesce(m.id, s.leaf) = '{}'",
        first.parent
    );
    assert_eq!(number(&app, read).await, 1, "the branch of the making");
    let made = format!(
        "with made as (insert into shares (token_hash, tenant, conversation_id, leaf, generation_id) \
         select sha256('lws_old'), c.tenant, c.id, c.active_leaf, null from conversations c \
         where c.id = '{}' returning 1) select count(*) from made",
        talk.id
    );
    assert_eq!(number(&app, made).await, 1);
    let old = branch(&talk, "lws_old").await;
    talk.prompt("later").await;
    let now = branch(&talk, "lws_old").await;
    assert_eq!((now.all, now.turn), (old.all, String::new()));
    app.stop().await;
}
