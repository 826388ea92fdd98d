//! The same over the Responses API.
use super::*;
use crate::upstream::Events;

fn begun() -> Events {
    Events::begin("resp_1").says(0, ["Hel", "lo é🦀"].into_iter())
}

const TEXT: &str = "Hello é🦀";

fn whole(status: &str, response: serde_json::Value) -> Answer {
    begun().end("resp_1", status, response).all()
}

fn rows() -> Vec<Row> {
    let events = begun().end("resp_1", "completed", json!({}));
    let wire = events.frames(0, events.len());
    let stop = |name, answer| (name, answer, TEXT, "completed", "stop");
    let reason = |reason: &str| json!({ "incomplete_details": { "reason": reason } });
    let error = |code: &str| json!({ "error": { "code": code, "message": "x" } });
    let said = events.len() - 1;
    let cut = |name, answer| (name, answer, TEXT, "interrupted", "upstream_truncated");
    let failed = |name, answer, code| (name, answer, TEXT, "failed", code);
    let no = |name, answer, code| (name, answer, "", "failed", code);
    let no_names: String =
        wire.lines().filter(|l| !l.starts_with("event:")).map(|l| format!("{l}\n")).collect();
    vec![
        stop("as it should be", Answer::sse().raw(&wire)),
        stop("split at every byte", everywhere(wire.as_bytes())),
        stop("a BOM and lone CR", Answer::sse().raw("\u{FEFF}").raw(wire.replace('\n', "\r"))),
        stop("CRLF", Answer::sse().raw(wire.replace('\n', "\r\n"))),
        stop("without event names", Answer::sse().raw(no_names)),
        stop("the last event without its blank line", Answer::sse().raw(wire.trim_end())),
        stop("[DONE] behind it", Answer::sse().raw(&wire).done()),
        stop("silence behind it", Answer::sse().raw(&wire).stall()),
        stop("a cut behind it", Answer::sse().raw(&wire).cut()),
        stop("keep-alives", Answer::sse().raw(": ka\n\nevent: keepalive\ndata: {}\n\n").raw(&wire)),
        stop(
            "unknown events and JSON that is none",
            Answer::sse()
                .data(r#"{"type":"response.brand_new","delta":[7]}"#)
                .data("{oops}")
                .data("7")
                .raw(&wire),
        ),
        ("max_output_tokens", whole("incomplete", reason("max_output_tokens")), TEXT, "incomplete", "length"),
        ("content_filter", whole("incomplete", reason("content_filter")), TEXT, "incomplete", "content_filter"),
        ("a reason that is new", whole("incomplete", reason("max_messages")), TEXT, "incomplete", "pause"),
        ("[DONE] without a last event", events.first(said).done(), TEXT, "completed", "other"),
        ("U+0000", Answer::sse().data(r#"{"type":"response.output_text.delta","delta":"a\u0000"}"#).raw(events.frames(said, said + 1)), "a\u{FFFD}", "completed", "stop"),
        cut("a clean end", events.first(said)),
        cut("a cut", events.first(said).cut()),
        cut("half an event", events.first(said).raw("event: response.completed\ndata: {\"ty")),
        cut("cancelled there", whole("cancelled", json!({}))),
        ("silence", events.first(said).stall(), TEXT, "interrupted", "upstream_stalled"),
        failed("failed", whole("failed", error("server_error")), "upstream_unavailable"),
        failed("failed for too many", whole("failed", error("rate_limit_exceeded")), "upstream_rate_limited"),
        failed("failed for the prompt", whole("failed", error("invalid_prompt")), "upstream_rejected"),
        failed("failed for nothing", whole("failed", json!({})), "upstream_unavailable"),
        failed(
            "an error in the middle",
            events.first(said).data(r#"{"type":"error","code":"server_error","message":"x","param":null}"#),
            "upstream_unavailable",
        ),
        failed(
            "a nested error by name",
            events.first(said).raw("event: error\ndata: {\"type\":\"error\",\"error\":{\"code\":\"rate_limit_exceeded\"}}\n\n"),
            "upstream_rate_limited",
        ),
        no("400", status(400, r#"{"error":{"message":"no","code":"unsupported_value"}}"#), "upstream_rejected"),
        no("401", status(401, "{}"), "upstream_rejected"),
        no("404: a server without this API", status(404, "404 page not found"), "upstream_rejected"),
        no("429", status(429, "{}").header("retry-after", "1"), "upstream_rate_limited"),
        no("500", status(500, "{}"), "upstream_unavailable"),
        no(
            "an answer in one piece",
            status(200, r#"{"id":"r","error":null,"output":[{"content":"hi"}]}"#)
                .header("content-type", "application/json"),
            "upstream_protocol",
        ),
        no("never answers", Answer::none().stall(), "upstream_timeout"),
        ("nothing at all", Answer::sse(), "", "interrupted", "upstream_truncated"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_responses_ends_as_it_should() {
    all_rows(&rows(), "wire = 'responses'").await;
}
