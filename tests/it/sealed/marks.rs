//! Content whose mark is of another version, and keys that several instances rotate at once.
use serde_json::json;

use super::{agent, answered, encrypted, first, is_told, next, sealed, two_models};
use crate::harness::{TestApp, model_config};
use crate::upstream::{Answer, Upstream};

/// During a rolling deploy an instance may meet what a newer one has written.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_a_version_that_is_not_known_goes_to_nobody_and_is_told() {
    let native = Upstream::start(encrypted()).await;
    let chat = Upstream::start(Answer::sse().text("Hello").complete()).await;
    let model = |name: &str, upstream: &Upstream, wire: &str| {
        let url = upstream.base_url();
        let toml = format!("name = '{name}'\nprovider = 'openai'\nbase_url = '{url}'");
        model_config(&format!("{toml}\nwire = '{wire}'"))
    };
    let app = TestApp::with(|config| {
        config.models.push(model("native", &native, "responses"));
        config.models.push(model("chat", &chat, "chat"));
    })
    .await;
    for content in ["lastword-s2.AAAA", "lastword-v2.0011.Z0FB", "lastword-x", "lastword-v1.Z0FB"] {
        for (name, upstream) in [("native", &native), ("chat", &chat)] {
            let mut body = first(name);
            body["input"] = json!([
                { "type": "reasoning", "summary": [], "encrypted_content": content },
                { "role": "user", "content": "more" },
            ]);
            let answer = answered(&app, &body).await;
            let sent = upstream.requests().pop().unwrap();
            assert!(!sent.text().contains("lastword-"), "{content}: {}", sent.text());
            assert!(sent.text().contains("more") && is_told(&app, &answer).await, "{content}");
        }
    }
    // A chain is written out, and has no place for it.
    let mut body = first("native");
    let before = answered(&app, &body).await;
    body["previous_response_id"] = before["id"].clone();
    let thought = json!({ "type": "reasoning", "summary": [], "encrypted_content": "gAAAA" });
    body["input"] = json!([thought, { "role": "user", "content": "more" }]);
    let chained = answered(&app, &body).await;
    let sent = native.requests().pop().unwrap();
    assert!(!sent.text().contains("gAAAA") && sent.text().contains("Hello"), "{}", sent.text());
    assert!(is_told(&app, &chained).await, "content that cannot stand in it is told");
    app.stop().await;
}

/// The next key is one, however many instances see at once that it is due.
#[tokio::test(flavor = "multi_thread")]
async fn instances_that_rotate_at_once_agree_on_the_key() {
    let upstream = Upstream::start(agent()).await;
    let app = two_models(&upstream).await;
    let before = answered(&app, &first("one")).await;
    let mut connection = app.database.connect().await;
    let age = "update sealing_keys set seals_from = seals_from - interval '31 days'";
    sqlx::query(age).execute(&mut connection).await.unwrap();
    let (database, config, _dir) = app.stop().await;
    let on = || TestApp::on(database.clone(), config.clone());
    let (one, two, three) = tokio::join!(on(), on(), on());
    let apps = [&one, &two, &three];
    assert_eq!(database.number("select count(*) from sealing_keys").await, 2);
    for maker in apps {
        let whole = answered(maker, &first("one")).await;
        for app in apps {
            for thought in [sealed(&whole), sealed(&before)] {
                answered(app, &next("one", thought)).await;
            }
        }
    }
    for app in [one, two, three] {
        app.stop().await;
    }
}
