//! The list of conversations: newest first, page by page, and searched.
use serde_json::{Value, json};

use crate::client::Client;
use crate::conversation::{Talk, told};
use crate::harness::TestApp;
use crate::upstream::Answer;

async fn page(client: &Client, query: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
    let request = client.http.get(format!("{}/v1/conversations", client.base)).query(query);
    let (status, page) = told(request.send().await.unwrap()).await;
    assert_eq!(status, 200, "{page}");
    let ids = page["data"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned());
    (ids.collect(), page["next_cursor"].as_str().map(str::to_owned))
}

async fn titled(client: &Client, titles: &[&str]) -> Vec<Talk> {
    let mut talks = Vec::new();
    for title in titles {
        talks.push(Talk::open(client, &json!({ "title": title })).await);
    }
    talks
}

fn ids(talks: &[&Talk]) -> Vec<String> {
    talks.iter().map(|talk| talk.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn newest_first_and_no_page_repeats_another() {
    let app = TestApp::start().await;
    let client = &app.client;
    let talks = titled(client, &["a", "b", "c", "d", "e", "f", "g"]).await;
    let mut expected: Vec<&Talk> = talks.iter().rev().collect();
    assert_eq!(page(client, &[]).await, (ids(&expected), None));
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("limit", "2")];
        query.extend(cursor.as_deref().map(|c| ("cursor", c)));
        let (more, next) = page(client, &query).await;
        seen.extend(more);
        // Two become the newest while pages are turned: one that was seen, and one that was not.
        talks[6].patch(&json!({"title": "moved"})).await;
        talks[0].patch(&json!({"title": "moved"})).await;
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    expected.retain(|talk| talk.id != talks[0].id);
    assert_eq!(seen, ids(&expected), "each once; what moved up is on a new first page");
    assert_eq!(page(client, &[("limit", "2")]).await.0, ids(&[&talks[0], &talks[6]]));
    talks[3].prompt("/demo tokens=1 tps=0").await;
    assert_eq!(page(client, &[("limit", "1")]).await.0, ids(&[&talks[3]]), "said something");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn found_by_title_by_words_and_by_characters() {
    let app = TestApp::start().await;
    let client = &app.client;
    let talks = titled(client, &["Holidays", "100% sure", "x"]).await;
    let say = |n: usize, text: &'static str| {
        let talk = talks[n].clone();
        async move {
            let messages = json!([
                {"role": "user", "content": text},
                {"role": "user", "content": "/demo tokens=1 tps=0"},
            ]);
            talk.say(json!({ "messages": messages })).await
        }
    };
    say(0, "Where is the Lighthouse of Zürich?").await;
    say(1, "a snake_case_name and 东京塔很高").await;
    say(2, "The lighthouse keeper's log").await;
    let found = |q: &'static str| async move { page(client, &[("q", q)]).await.0 };
    let (one, two, three) = (&talks[0], &talks[1], &talks[2]);
    let rows = [
        ("holi", ids(&[one]), "a title"),
        ("LIGHTHOUSE", ids(&[three, one]), "a word in either case"),
        ("zürich light", ids(&[one]), "words in any order, the last begun"),
        ("keeper lighthouse", ids(&[three]), "all of them"),
        ("ouse kee", ids(&[three]), "characters, where no word is found"),
        ("东京", ids(&[two]), "a script without spaces"),
        ("京塔", ids(&[two]), "in the middle of it"),
        ("%", ids(&[two]), "a sign that means something to SQL"),
        ("_case_", ids(&[two]), "and another"),
        ("nowhere", vec![], "nothing"),
        ("' or 1=1 --", vec![], "no SQL"),
        ("<->", vec![], "no query language"),
        ("  ", ids(&[three, two, one]), "nothing asked"),
    ];
    for (q, expected, why) in rows {
        assert_eq!(found(q).await, expected, "{why}");
    }
    let (first, cursor) = page(client, &[("q", "ouse"), ("limit", "1")]).await;
    let query = [("q", "ouse"), ("limit", "1"), ("cursor", cursor.as_deref().unwrap())];
    let (second, end) = page(client, &query).await;
    assert_eq!((first, second, end), (ids(&[three]), ids(&[one]), None), "by characters, too");
    app.stop().await;
}

/// An answer may be longer than what can be indexed: it is stored all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_long_for_the_index_is_stored() {
    let words: Vec<String> = (0..200_000).map(|n| format!("w{n} ")).collect();
    let pieces = words.chunks(5000).map(<[String]>::concat);
    let answer = pieces.fold(Answer::sse(), |answer, piece| answer.text(&piece)).complete();
    let (app, _upstream) = TestApp::scripted(answer, |_| {}).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let turn = talk.prompt("hi").await;
    let messages = talk.get("/messages").await;
    assert!(messages["data"][1]["content"] == words.concat(), "all of it");
    assert_eq!(messages["data"][1]["status"], Value::from("completed"));
    assert_eq!(page(&app.client, &[("q", "w199998")]).await.0, ids(&[&talk]));
    assert_eq!(talk.leaf().await, turn.id.as_str());
    app.stop().await;
}
