//! Every known behaviour of an upstream, through the real server: each row names the result for a
//! reader. First the whole answers in every form; then those that break off; then every refusal.
use futures_util::future::join_all;
use lastword::config::ModelConfig;
use serde_json::json;

use crate::client::{Client, Received, assert_whole, text};
use crate::harness::{TestApp, model_config};
use crate::upstream::{Answer, Upstream};

mod dialects;
mod responses;

/// Its name, the upstream's behaviour, the text, the status, and the finish reason or error code.
type Row = (&'static str, Answer, &'static str, &'static str, &'static str);

const CHUNK: &str = r#"data: {"choices":[{"delta":{"content":"Hello é🦀"}}]}"#;
const END: &str = r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
const CRAB: &str = "Hello é🦀";

fn hello() -> Answer {
    Answer::sse().text("Hel").text("lo")
}

fn status(status: u16, body: &str) -> Answer {
    Answer::status(status).raw(body)
}

fn wire(end_of_line: &str) -> String {
    format!("{CHUNK}\n\n{END}\n\n").replace('\n', end_of_line)
}

fn everywhere(bytes: &[u8]) -> Answer {
    let cuts: Vec<usize> = (1..bytes.len()).collect();
    Answer::sse().split(bytes, &cuts)
}

/// Answers that are whole, in every form.
fn whole() -> Vec<Row> {
    let stop = |name, answer, text| (name, answer, text, "completed", "stop");
    let chunk = |fields: &str| Answer::sse().data(&format!("{{{fields}}}"));
    let choice = r#""choices":[{"index":0,"delta":{"content":"Hello"}}]"#;
    let big = "x".repeat(200_000);
    let big: &'static str = big.leak();
    vec![
        stop("[DONE]", hello().complete(), "Hello"),
        stop("a finish without [DONE]", hello().finish("stop"), "Hello"),
        stop("[DONE] without its blank line", hello().finish("stop").raw("data: [DONE]"), "Hello"),
        stop("the last event without its blank line", hello().raw(END), "Hello"),
        stop("the end by close", hello().finish("stop").close_delimited(), "Hello"),
        stop("a cut behind the finish", hello().finish("stop").cut(), "Hello"),
        stop("usage with choices: []", hello().finish("stop").usage(1, 2).done(), "Hello"),
        stop("float created, no id", chunk(&format!(r#""created":1.5,{choice}"#)).complete(), "Hello"),
        stop(
            "service_tier: on_demand",
            chunk(&format!(r#""service_tier":"on_demand","id":7,{choice}"#)).complete(),
            "Hello",
        ),
        stop("an empty finish reason before the real one", hello().finish("").complete(), "Hello"),
        stop(
            "an answer in one piece",
            Answer::status(200).header("content-type", "application/json").raw(
                r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#,
            ),
            "hi",
        ),
        stop("malformed JSON between", hello().data("{oops}").text("!").complete(), "Hello!"),
        stop("a BOM", Answer::sse().raw("\u{FEFF}").raw(wire("\n")), CRAB),
        stop("a BOM in pieces", everywhere(format!("\u{FEFF}{}", wire("\n")).as_bytes()), CRAB),
        stop("CRLF", Answer::sse().raw(wire("\r\n")), CRAB),
        stop("CRLF and UTF-8 split at every byte", everywhere(wire("\r\n").as_bytes()), CRAB),
        stop("lone CR", Answer::sse().raw(wire("\r")), CRAB),
        stop("lone CR split at every byte", everywhere(wire("\r").as_bytes()), CRAB),
        stop("no space behind data:", Answer::sse().raw(wire("\n").replace("data: ", "data:")), CRAB),
        stop(
            "comments, ids, retries and empty events",
            Answer::sse().raw(": OPENROUTER PROCESSING\n\nid: 7\n\nretry: +5\n\n:\n\n").raw(wire("\n")),
            CRAB,
        ),
        stop("a byte that is no UTF-8", Answer::sse().raw(b"data: {\"choices\":[{\"delta\":{\"content\":\"caf\xE9\"}}]}\n\n").complete(), "caf\u{FFFD}"),
        stop("an emoji in two surrogates", hello().raw("data: {\"choices\":[{\"delta\":{\"content\":\"\\ud83e\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"\\udd80\"}}]}\n\n").complete(), "Hello🦀"),
        stop("U+0000", Answer::sse().text("a\0b").complete(), "a\u{FFFD}b"),
        stop("one large event", Answer::sse().text(big).complete(), big),
        stop("many events in one piece", Answer::sse().raw(format!("{CHUNK}\n\n")).raw(wire("\n")), "Hello é🦀Hello é🦀"),
        stop("no content type", Answer::status(200).raw(wire("\n")), CRAB),
        (
            "U+0000 in names and words",
            Answer::sse()
                .data(r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c\u0000","function":{"name":"f\u0000","arguments":"{\u0000}"}}]}}]}"#)
                .finish("odd\0word")
                .done(),
            "",
            "completed",
            "other",
        ),
        ("[DONE] without a reason", hello().done(), "Hello", "completed", "other"),
        ("length", hello().finish("length").done(), "Hello", "incomplete", "length"),
        ("content_filter", hello().finish("content_filter").done(), "Hello", "incomplete", "content_filter"),
    ]
}

/// Answers that break off.
fn broken() -> Vec<Row> {
    let cut = |name, answer| (name, answer, "Hello", "interrupted", "upstream_truncated");
    let pings = vec![b": ping\n\n".to_vec(); 400];
    vec![
        cut("a clean end without [DONE]", hello()),
        cut("a clean end by close", hello().close_delimited()),
        cut("an end in the middle of an event", hello().raw(r#"data: {"choices":[{"delta":{"con"#)),
        cut("a truncated chunked body", hello().cut()),
        cut("a chunk that is none", hello().write("nonsense\r\n")),
        cut("vLLM's abort", hello().finish("abort").done()),
        cut("DeepSeek's out of resources", hello().finish("insufficient_system_resource").done()),
        ("silence", hello().stall(), "Hello", "interrupted", "upstream_stalled"),
        ("only pings", hello().paced_raw(pings, 100.0), "Hello", "interrupted", "upstream_stalled"),
        (
            "an error in the middle",
            hello().data(r#"{"error":{"message":"cuda"}}"#),
            "Hello",
            "failed",
            "upstream_unavailable",
        ),
        (
            "OpenRouter's finish reason error",
            hello().data(r#"{"choices":[{"delta":{},"finish_reason":"error","error":{"code":502,"message":"x"}}]}"#),
            "Hello",
            "failed",
            "upstream_unavailable",
        ),
        (
            "an event without end",
            hello().raw("data: ").raw("z".repeat(17 << 20)),
            "Hello",
            "failed",
            "upstream_protocol",
        ),
    ]
}

/// Every refusal.
fn refusals() -> Vec<Row> {
    let no = |name, answer, code| (name, answer, "", "failed", code);
    let (limited, rejected) = ("upstream_rate_limited", "upstream_rejected");
    let (unavailable, protocol) = ("upstream_unavailable", "upstream_protocol");
    let page = |kind: &str, body: &str| status(200, body).header("content-type", kind);
    vec![
        no("429 with a wait", status(429, "{}").header("retry-after", "1"), limited),
        no("429 with an hour's wait", status(429, "{}").header("retry-after", "3600"), limited),
        no("429 in plain text", status(429, "slow down"), limited),
        no("402", status(402, "pay"), limited),
        no("500", status(500, "{}"), unavailable),
        no("502 as a page", status(502, "<html>Bad\r\nGateway"), unavailable),
        no("503", status(503, ""), unavailable),
        no("529", status(529, r#"{"error":"overloaded"}"#), limited),
        no(
            "400 with an integer code",
            status(400, r#"{"object":"error","message":"x","code":400}"#),
            rejected,
        ),
        no("400 with a text", status(400, r#"{"error":"text"}"#), rejected),
        no("422 with a detail", status(422, r#"{"detail":[{"msg":"x"}]}"#), rejected),
        no("401", status(401, "{}"), rejected),
        no("404", status(404, "{}"), rejected),
        no("a redirect", status(302, "").header("location", "/elsewhere"), rejected),
        no("a page in place of a stream", page("text/html", "<html>Login"), protocol),
        no(
            "an error behind a 200",
            page("application/json", r#"{"error":{"message":"no","code":429}}"#),
            limited,
        ),
        no("compression", Answer::sse().header("content-encoding", "gzip").raw("zip"), protocol),
        no(
            "an error as a field",
            Answer::sse().raw("error: {\"code\":500,\"message\":\"old\"}\n\n"),
            unavailable,
        ),
        no(
            "an error as an event",
            Answer::sse().raw("event: error\ndata: {\"message\":\"x\",\"code\":503}\n\n"),
            unavailable,
        ),
        no("an error as a text", Answer::sse().data(r#"{"error":"boom"}"#).done(), unavailable),
        no(
            "a detail in the stream",
            Answer::sse().data(r#"{"detail":"boom"}"#).done(),
            unavailable,
        ),
        no("never answers", Answer::none().stall(), "upstream_timeout"),
        no("only a head", Answer::sse().stall(), "upstream_timeout"),
        no("closes before the answer", Answer::none().cut(), unavailable),
        no("resets before the answer", Answer::none().reset(), unavailable),
        ("nothing at all", Answer::sse(), "", "interrupted", "upstream_truncated"),
    ]
}

/// The model `m{n}`, asked once and with short patience.
fn numbered(numbered: (usize, &Upstream)) -> ModelConfig {
    numbered_with("")(numbered)
}

fn numbered_with(settings: &str) -> impl Fn((usize, &Upstream)) -> ModelConfig {
    move |(n, upstream)| {
        model_config(&format!(
            "name = 'm{n}'\nprovider = 'openai'\nbase_url = '{}'\nmax_attempts = 1\n{settings}\n\
             first_byte_timeout_s = 3\nfirst_event_timeout_s = 3\n\
             idle_bytes_timeout_s = 1.5\nidle_events_timeout_s = 2.5",
            upstream.base_url()
        ))
    }
}

async fn row(client: &Client, n: usize, row: &Row, upstream: &Upstream) -> Option<String> {
    let (name, _, said, status, why) = row;
    let id = client.start(&json!({ "model": format!("m{n}"), "prompt": "the secret" })).await;
    let events = client.all(&id, 0).await;
    assert_whole(&events);
    let done = events.last().unwrap().json();
    let (reason, code) = (&done["finish_reason"], &done["error"]["code"]);
    let ended = done["status"] == *status && (reason == why || code == why);
    let view = client.view(&id).await;
    let same = view["text"] == json!(text(&events)) && view["status"] == done["status"];
    let quiet = !done.to_string().contains("the secret");
    let asked = upstream.requests().len();
    let right = ended && text(&events) == *said && same && quiet && asked == 1;
    (!right).then(|| format!("{name}: asked {asked}, {:.80}, {done}", text(&events)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_ends_as_it_should() {
    all_rows(&[whole(), broken(), refusals()].concat(), "").await;
}

async fn all_rows(rows: &[Row], settings: &str) {
    let mut upstreams = Vec::new();
    for row in rows {
        upstreams.push(Upstream::start(row.1.clone()).await);
    }
    let app = TestApp::with(|c| {
        let numbered = upstreams.iter().enumerate().map(numbered_with(settings));
        c.models = numbered.collect();
    })
    .await;
    let ends = rows.iter().zip(&upstreams).enumerate();
    let wrong = join_all(ends.map(|(n, (one, upstream))| row(&app.client, n, one, upstream))).await;
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    println!("{} rows", rows.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    app.stop().await;
}
