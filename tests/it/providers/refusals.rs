//! Every way in which an upstream refuses, or does not answer.
use super::*;

use ErrorCode::{
    UpstreamProtocol as Protocol, UpstreamRateLimited as Limited, UpstreamRejected as Rejected,
    UpstreamUnavailable as Unavailable,
};

/// The answer; code, retryable and seconds to wait of the loss; words in its message.
type Refusal = (Answer, ErrorCode, bool, Option<u64>, &'static str);

async fn all_lost(cases: Vec<Refusal>) {
    for (answer, code, retryable, seconds, words) in cases {
        let name = format!("{:.150}", format!("{answer:?}"));
        let upstream = Upstream::start(answer).await;
        let (deltas, loss) = ask(&upstream).await;
        let loss = loss.unwrap_or_else(|| panic!("{name}: no loss"));
        assert_eq!(deltas, [], "{name}");
        assert_eq!((loss.code, loss.retryable), (code, retryable), "{name}: {loss}");
        assert_eq!(loss.retry_after, seconds.map(Duration::from_secs), "{name}");
        assert!(loss.message.contains(words), "{name}: {loss}");
        assert!(!loss.message.contains(KEY), "{name}: {loss}");
        assert!(!loss.message.contains("secret prompt"), "{name}: {loss}");
        assert_eq!(upstream.requests().len(), 1, "{name}: no hidden retry");
    }
}

fn status(status: u16, body: &str) -> Answer {
    Answer::status(status).raw(body)
}

fn json_200(body: &str) -> Answer {
    status(200, body).header("content-type", "application/json")
}

#[tokio::test]
async fn a_status_keeps_its_meaning() {
    let vllm = r#"{"object":"error","message":"too long","code":400}"#;
    let vllm_nested = r#"{"error":{"message":"too long","code":400}}"#;
    let quota = r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#;
    all_lost(vec![
        (status(429, "{}").header("retry-after", "1"), Limited, true, Some(1), "429"),
        (status(429, "slow down").header("retry-after", "3600"), Limited, true, Some(3600), "slow"),
        (status(429, quota), Limited, false, None, "pay"),
        (status(529, r#"{"error":"overloaded"}"#), Limited, true, None, "overloaded"),
        (status(400, vllm), Rejected, false, None, "too long"),
        (status(400, vllm_nested), Rejected, false, None, "too long"),
        (status(401, r#"{"error":"bad key sk-very-secret-0123"}"#), Rejected, false, None, "[…]"),
        (status(403, ""), Rejected, false, None, "403"),
        (status(404, r#"{"error":{"message":"no model"}}"#), Rejected, false, None, "no model"),
        (status(422, r#"{"detail":"the secret prompt is odd"}"#), Rejected, false, None, "[…] is"),
        (status(500, ""), Unavailable, false, None, "500"),
        (status(502, "<html>Bad\r\nGateway"), Unavailable, false, None, "<html>Bad Gateway"),
        (status(503, "").header("x-request-id", "req_7"), Unavailable, true, None, "req_7"),
        (status(307, "").header("location", "/x"), Rejected, false, None, "redirect"),
    ])
    .await;
}

#[tokio::test]
async fn a_no_behind_a_200_is_a_no() {
    all_lost(vec![
        (
            status(200, "<html>\n<title>Login").header("content-type", "text/html"),
            Protocol,
            false,
            None,
            "text/html, not with a stream; it begins: <html> <title>Login",
        ),
        (
            Answer::sse().header("content-encoding", "gzip").raw("zip"),
            Protocol,
            false,
            None,
            "compressed",
        ),
        (
            json_200(r#"{"type":"message","content":[{"type":"text","text":"hi"}]}"#),
            Protocol,
            false,
            None,
            "in one piece",
        ),
        (json_200(r#"{"error":{"message":"no","code":429}}"#), Limited, true, None, "no"),
        (Answer::sse().data(r#"{"error":{"message":"cuda"}}"#), Unavailable, false, None, "cuda"),
        (Answer::sse().data(r#"{"error":"cuda"}"#).done(), Unavailable, false, None, "cuda"),
        (Answer::sse().data(r#"{"detail":"cuda"}"#).done(), Unavailable, false, None, "cuda"),
        (Answer::sse().raw("error: {\"message\":\"old\"}\n\n"), Unavailable, false, None, "old"),
        (
            Answer::sse().raw("event: error\ndata: {\"message\":\"x\",\"code\":503}\n\n"),
            Unavailable,
            true,
            None,
            "x",
        ),
        (Answer::sse().finish("error").done(), Protocol, false, None, "error"),
        (
            Answer::sse().raw(format!("data: {}\n\n", "x".repeat(17 << 20))).done(),
            Protocol,
            false,
            None,
            "16777216",
        ),
    ])
    .await;
}

#[tokio::test]
async fn nobody_is_there() {
    let gone = settings(&Upstream::start(Answer::none()).await);
    // The listener closes with its task, a moment after the drop.
    let loss = loop {
        let provider = OpenAi::new(gone.clone()).unwrap();
        let (_, loss) = drain(provider.start(attempt("x", "")).await).await;
        if let Some(loss) = loss.filter(|loss| loss.message.contains("refused")) {
            break loss;
        }
    };
    assert_eq!((loss.code, loss.retryable), (Unavailable, true));
    assert!(loss.message.starts_with("cannot connect: "), "{loss}");
}

#[tokio::test]
async fn a_connection_lost_before_the_answer_is_not_tried_again() {
    for answer in [Answer::none().cut(), Answer::none().reset(), Answer::none().write("HTTP/1.1")] {
        let upstream = Upstream::start(answer).await;
        let (_, loss) = ask(&upstream).await;
        let loss = loss.unwrap();
        assert_eq!((loss.code, loss.retryable), (Unavailable, false), "{loss}");
        assert_eq!(upstream.requests().len(), 1);
    }
}

/// The right clock ends a stream that hangs.
#[tokio::test]
async fn silence_has_an_end() {
    use ErrorCode::{UpstreamStalled as Stalled, UpstreamTimeout as Timeout};
    // Every 25 ms: in all longer than the limit for events, never as long as that for bytes.
    let pinged = hello().paced_raw(vec![b": ping\n\n".to_vec(); 200], 40.0);
    let cases = [
        ("never answers", Answer::none().stall(), Timeout, false, ""),
        ("only headers", Answer::sse().stall(), Timeout, false, ""),
        ("falls silent", hello().stall(), Stalled, true, "Hello"),
        ("only pings", pinged, Stalled, true, "Hello"),
    ];
    for (name, answer, code, retryable, text) in cases {
        let upstream = Upstream::start(answer).await;
        let (deltas, loss) = ask(&upstream).await;
        let loss = loss.unwrap_or_else(|| panic!("{name}: no loss"));
        assert_eq!((loss.code, loss.retryable), (code, retryable), "{name}: {loss}");
        assert_eq!(text_of(&deltas), text, "{name}");
        upstream.closed().await;
    }
}
