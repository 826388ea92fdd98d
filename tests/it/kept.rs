//! An answer that its upstream keeps. Every part of it is read once after every fault. An answer
//! that is not wanted any more is ended there.
use futures_util::future::join_all;
use lastword::config::{Config, ModelConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, Received, assert_whole, text};
use crate::eventually::eventually;
use crate::harness::{TestApp, model_config};
use crate::process::{Server, command};
use crate::upstream::{Answer, Break, Events, Gate, Keeper, Model, Script, Upstream};

mod chain;
mod crash;
mod streams;

const TOKENS: usize = 12;
/// Five events are before the text; after so many, the text has begun.
const BREAK: usize = 10;
/// The number of pieces that are read then.
const HEARD: usize = 5;

const CLEAN: Break = |answer| answer;
const CUT: Break = Answer::cut;
const STALL: Break = Answer::stall;
const LOSSES: [(&str, Break); 5] = [
    ("clean end", CLEAN),
    ("cut", CUT),
    ("reset", Answer::reset),
    ("stall", STALL),
    ("error", |answer| answer.data(r#"{"type":"error","code":"server_error","message":"x"}"#)),
];

fn toml(name: &str, upstream: &Upstream, settings: &str) -> String {
    format!(
        "name = '{name}'\nprovider = 'openai'\nwire = 'responses'\nbase_url = '{}'\n\
         continuation = 'provider_resume'\nidle_bytes_timeout_s = 0.5\n{settings}",
        upstream.base_url()
    )
}

/// A keeper's server and the model that it serves.
struct Kept {
    name: String,
    keeper: Keeper,
    upstream: Upstream,
    settings: String,
}

impl Kept {
    async fn new(name: &str, keeper: Keeper, settings: &str) -> Self {
        let upstream = Upstream::start(keeper.script()).await;
        Self { name: name.into(), keeper, upstream, settings: settings.into() }
    }

    fn config(&self) -> ModelConfig {
        model_config(&toml(&self.name, &self.upstream, &self.settings))
    }

    async fn ask(&self, client: &Client) -> Vec<Received> {
        let id = client.start(&json!({ "model": self.name, "prompt": "go" })).await;
        let events = client.all(&id, 0).await;
        assert_whole(&events);
        assert_eq!(client.view(&id).await["text"], json!(text(&events)), "{}", self.name);
        events
    }

    /// The log, once the upstream has been asked so often.
    async fn log(&self, requests: usize) -> Vec<String> {
        self.upstream.arrived(requests).await;
        self.keeper.log()
    }
}

fn names(events: &[Received]) -> Vec<String> {
    let told = events.iter().filter(|e| !["delta", "tool_call"].contains(&e.name.as_str()));
    told.map(|e| match e.json()["code"].as_str() {
        Some(code) => format!("notice {code}"),
        None => e.name.clone(),
    })
    .collect()
}

fn exact() -> Value {
    json!({
        "input_tokens": 7, "output_tokens": 40, "reasoning_tokens": 4, "cached_input_tokens": 1,
        "exact": true,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_at_every_event_costs_nothing() {
    let whole = Model::text(TOKENS);
    let events = Events::whole("resp_1", &whole).len();
    let mut all = Vec::new();
    for at in 0..events {
        let name = format!("cut at {at}");
        all.push(Kept::new(&name, Keeper::new(&whole, &[(at, CUT)]), "").await);
        let twice = Keeper::new(&whole, &[(at, CUT), (at + 2, CUT)]);
        all.push(Kept::new(&format!("{name} and on"), twice, "").await);
    }
    let app = TestApp::with(|c| c.models = all.iter().map(Kept::config).collect()).await;
    join_all(all.iter().map(async |kept| {
        let name = &kept.name;
        let events = kept.ask(&app.client).await;
        assert_eq!(text(&events), whole, "{name}");
        let done = events.last().unwrap().json();
        assert_eq!(done["status"], "completed", "{name}: {done}");
        let log = kept.keeper.log();
        // Without its name nobody can ask for the first answer. No event of it was read either.
        let begun = log.iter().filter(|entry| *entry == "new").count();
        assert_eq!(begun, if name.starts_with("cut at 0") { 2 } else { 1 }, "{name}: {log:?}");
        assert!(!log.contains(&"cancel".into()), "{name}: {log:?}");
        if begun == 1 {
            assert_eq!(done["usage"], exact(), "{name}: one answer, reported as one");
        }
        assert!(!names(&events).contains(&"superseded".into()), "{name}: {events:#?}");
    }))
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_for_every_loss_of_a_kept_answer() {
    let whole = Model::text(TOKENS);
    let mut all = Vec::new();
    for on_loss in ["continue", "restart", "interrupt"] {
        for (loss, breaks) in LOSSES {
            let keeper = Keeper::new(&whole, &[(BREAK, breaks)]);
            let settings = format!("on_loss = '{on_loss}'");
            let kept = Kept::new(&format!("{on_loss}, {loss}"), keeper, &settings).await;
            all.push((on_loss, loss, kept));
        }
    }
    let app = TestApp::with(|c| c.models = all.iter().map(|(.., k)| k.config()).collect()).await;
    join_all(all.iter().map(async |(on_loss, loss, kept)| {
        let name = &kept.name;
        let events = kept.ask(&app.client).await;
        let done = events.last().unwrap().json();
        // A reset may overtake all earlier bytes.
        if *loss == "reset" && names(&events).contains(&"notice retrying".into()) {
            return;
        }
        match *on_loss {
            "continue" => {
                assert_eq!(names(&events), ["started", "resumed", "done"], "{name}");
                assert_eq!((text(&events), &done["usage"]), (whole.clone(), &exact()), "{name}");
                assert_eq!(kept.keeper.log(), ["new", "rest after 0"], "{name}");
            }
            "restart" => {
                assert_eq!(names(&events), ["started", "superseded", "done"], "{name}");
                assert_eq!(
                    (text(&events), &done["usage"]["exact"]),
                    (whole.clone(), &json!(false))
                );
                let mut log = kept.log(3).await;
                log.sort();
                assert_eq!(log, ["cancel", "new", "new"], "{name}: the void one is ended");
            }
            _ => {
                assert_eq!(names(&events), ["started", "done"], "{name}");
                let status = if *loss == "error" { "failed" } else { "interrupted" };
                assert_eq!(done["status"], status, "{name}");
                let log = kept.keeper.log();
                if *loss != "reset" || log.len() > 1 {
                    assert_eq!(log, ["new", "cancel"], "{name}: nobody hears it any more");
                }
            }
        }
    }))
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_upstream_forgot_is_begun_again_or_left() {
    let whole = Model::text(TOKENS);
    let mut all = Vec::new();
    for (name, settings, refusal) in [
        ("forgot", "", Answer::status(404).raw(r#"{"error":{"message":"no"}}"#)),
        ("too late", "", Answer::status(400).raw("{}")),
        ("failed", "", Events::begin("resp_1").end("resp_1", "failed", json!({})).all()),
        ("other", "", Events::whole("resp_1", "something else").all()),
        ("once", "max_attempts = 2", Answer::status(404)),
        ("busy", "reconnect_for_s = 1", Answer::status(503)),
    ] {
        let mut keeper = Keeper::new(&whole, &[(BREAK, CUT)]);
        keeper.refuses = Some(refusal);
        all.push(Kept::new(name, keeper, settings).await);
    }
    let app = TestApp::with(|c| c.models = all.iter().map(Kept::config).collect()).await;
    for kept in &all {
        let name = &kept.name;
        let events = kept.ask(&app.client).await;
        let done = events.last().unwrap().json();
        let log = kept.keeper.log();
        if name == "busy" {
            assert_eq!(names(&events), ["started", "resumed", "notice waiting", "done"], "{name}");
            assert_eq!(done["error"]["code"], "upstream_unavailable", "{name}: {done}");
            let (first, last) = (log.first().unwrap(), log.last().unwrap());
            assert_eq!((first.as_str(), last.as_str()), ("new", "cancel"), "{name}");
            assert!(log[1..log.len() - 1].iter().all(|asked| asked == "rest after 0"), "{log:?}");
            continue;
        }
        assert_eq!(names(&events), ["started", "resumed", "superseded", "done"], "{name}: {done}");
        assert_eq!(text(&events), whole, "{name}");
        assert_eq!(log, ["new", "rest after 0", "new"], "{name}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_thoughts_go_on_too() {
    let events = Events::begin("resp_1")
        .of(0, "response.reasoning_text.delta", json!({ "delta": "hm 🦀" }))
        .says(1, ["Let me "].into_iter())
        .calls(2, "call_a", &["{\"x\"", ":1}"])
        .calls(3, "call_b", &["[", "]"])
        .end("resp_1", "completed", json!({}));
    let mut all = Vec::new();
    for at in 3..events.len() {
        let keeper = Keeper::of(events.clone(), &[(at, CUT)]);
        all.push(Kept::new(&format!("cut at {at}"), keeper, "").await);
    }
    let app = TestApp::with(|c| c.models = all.iter().map(Kept::config).collect()).await;
    join_all(all.iter().map(async |kept| {
        let id = app.client.start(&json!({ "model": kept.name, "prompt": "go" })).await;
        let events = app.client.all(&id, 0).await;
        assert_whole(&events);
        let view = app.client.view(&id).await;
        let expected = json!([
            { "id": "call_a", "name": "f", "arguments": "{\"x\":1}" },
            { "id": "call_b", "name": "f", "arguments": "[]" },
        ]);
        assert_eq!(view["tool_calls"], expected, "{}: {events:#?}", kept.name);
        assert_eq!((&view["reasoning"], &view["text"]), (&json!("hm 🦀"), &json!("Let me ")));
        assert_eq!(view["finish_reason"], "tool_calls");
    }))
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_the_upstream_before_its_receipt() {
    let keeper = Keeper::new(&Model::text(TOKENS), &[(BREAK, STALL)]);
    let kept = Kept::new("m", keeper, "idle_events_timeout_s = 60").await;
    let patient = |config: &mut Config| {
        let model = toml("m", &kept.upstream, "").replace("idle_bytes_timeout_s = 0.5", "");
        config.models = vec![model_config(&model)];
    };
    let app = TestApp::with(patient).await;
    let id = app.client.start_prompt("go").await;
    app.client.events(&id, 0).await.take(1 + HEARD).await;
    let receipt = app.client.cancel(&id).await;
    assert_eq!(kept.keeper.log(), ["new", "cancel"], "as the receipt says");
    assert_eq!((&receipt["status"], &receipt["cancelled"]), (&json!("cancelled"), &json!(true)));
    assert_eq!(receipt["text"], Model::text(HEARD));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_waits_for_the_name_of_what_it_ends() {
    let keeper = Keeper::new(&Model::text(TOKENS), &[]);
    let (log, gates) = (keeper.script(), [Gate::default(), Gate::default()]);
    let late = gates.clone();
    let script = Script::with(move |request, number| {
        let answer = (log.0)(request, number);
        if !request.line.ends_with("/responses HTTP/1.1") {
            return answer;
        }
        let named = Events::begin("resp_1").frames(0, 1);
        Answer::sse().wait(&late[0]).raw(named).wait(&late[1]).stall()
    });
    let upstream = Upstream::start(script).await;
    let model = toml("m", &upstream, "").replace("idle_bytes_timeout_s = 0.5", "");
    let app = TestApp::with(|c| c.models = vec![model_config(&model)]).await;
    let id = app.client.start_prompt("go").await;
    upstream.arrived(1).await;
    let asked = async {
        eventually("asked", async || app.client.view(&id).await["status"] == "cancelling").await;
        gates[0].open();
    };
    let (receipt, ()) = tokio::join!(app.client.cancel(&id), asked);
    assert_eq!(receipt["status"], "cancelled");
    assert_eq!(keeper.log(), ["new", "cancel"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_leaves_nothing_behind() {
    let keeper = Keeper::new(&Model::text(TOKENS), &[(BREAK, CUT)]);
    let kept = Kept::new("one", keeper, "max_attempts = 1\nfallback = 'two'").await;
    let second = Upstream::start(Answer::sse().text("anew").complete()).await;
    let two = format!("name = 'two'\nprovider = 'openai'\nbase_url = '{}'", second.base_url());
    let app = TestApp::with(|c| c.models = vec![kept.config(), model_config(&two)]).await;
    let events = kept.ask(&app.client).await;
    assert_eq!(names(&events), ["started", "notice fallback", "superseded", "done"]);
    assert_eq!(
        (text(&events), kept.log(2).await),
        ("anew".into(), vec!["new".into(), "cancel".into()])
    );
    app.stop().await;
}
