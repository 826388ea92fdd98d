//! The flow of an answer: requests, connections, back-pressure, and the end of the connection.
use super::*;

#[tokio::test]
async fn dropping_the_deltas_closes_the_upstream() {
    let gate = Gate::default();
    for answer in [hello().stall(), hello().wait(&gate).complete(), hello().flood(1 << 20, "x")] {
        let upstream = Upstream::start(answer).await;
        let mut deltas = patient(&upstream).start(attempt("x", "")).await.unwrap();
        assert!(deltas.next().await.is_some());
        drop(deltas);
        upstream.closed().await;
    }
    let upstream = Upstream::start(Answer::none().stall()).await;
    let provider = patient(&upstream);
    let started = provider.start(attempt("x", ""));
    tokio::select! {
        _ = started => panic!("nothing was answered"),
        () = upstream.arrived(1) => {}
    }
    upstream.closed().await;
}

#[tokio::test]
async fn a_delta_comes_before_the_next_is_made() {
    let gate = Gate::default();
    let upstream = Upstream::start(Answer::sse().text("a").wait(&gate).text("b").complete()).await;
    let mut deltas = patient(&upstream).start(attempt("x", "")).await.unwrap();
    assert_eq!(deltas.next().await, Some(Ok(Delta::Text("a".into()))));
    gate.open();
    assert_eq!(deltas.next().await, Some(Ok(Delta::Text("b".into()))));
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let upstream = Upstream::start(hello().complete()).await;
    let provider = patient(&upstream);
    for _ in 0..5 {
        let (_, loss) = drain(provider.start(attempt("x", "")).await).await;
        assert_eq!(loss, None);
    }
    assert_eq!((upstream.requests().len(), upstream.connections()), (5, 1));
}

#[tokio::test]
async fn the_request() {
    let upstream = Upstream::start(hello().complete()).await;
    let mut first = attempt("hi", "Once upon");
    first.prompt.parameters = Parameters {
        max_output_tokens: Some(9),
        temperature: Some(0.5),
        top_p: Some(0.9),
        stop: vec!["END".into()],
        seed: Some(7),
        ..Parameters::default()
    };
    drain(patient(&upstream).start(first).await).await;
    let request = upstream.requests().remove(0);
    assert_eq!(request.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(request.header("openai-organization"), None);
    let expected = json!({
        "model": "llama",
        "messages": [
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": "Once", "prefix": true },
        ],
        "stream": true,
        "stream_options": { "include_usage": true, "continuous_usage_stats": true },
        "timings_per_token": true,
        "max_tokens": 11, "temperature": 0.5, "top_p": 0.9, "stop": ["END"], "seed": 7,
        "continue_final_message": true, "add_generation_prompt": false,
    });
    assert_eq!(request.body, expected);

    let keyless = Settings { api_key: None, ..settings(&upstream) };
    drain(OpenAi::new(keyless).unwrap().start(attempt("hi", "")).await).await;
    let request = upstream.requests().pop().unwrap();
    assert_eq!(request.header("authorization"), None);
    let plain = json!({
        "model": "llama", "messages": [{ "role": "user", "content": "hi" }],
        "stream": true, "stream_options": { "include_usage": true },
    });
    assert_eq!(request.body, plain);
}

#[tokio::test]
async fn a_lost_answer_is_continued_exactly() {
    let model = Model { tokens: 50, per_second: 0.0, continues: true, cut_first_at: Some(20) };
    let upstream = Upstream::start(model).await;
    let provider = patient(&upstream);
    let (deltas, loss) = drain(provider.start(attempt("x", "")).await).await;
    assert_eq!(loss.unwrap().code, ErrorCode::UpstreamTruncated);
    let so_far = text_of(&deltas);
    let (deltas, loss) = drain(provider.start(attempt("x", &so_far)).await).await;
    assert_eq!(loss, None);
    assert_eq!(so_far + &text_of(&deltas), Model::text(50));
}

fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_slow_consumer_slows_the_upstream_down() {
    const EVENTS: usize = 300_000;
    let padding = "x".repeat(120);
    let upstream = Upstream::start(Answer::sse().flood(EVENTS, &padding).complete()).await;
    let mut deltas = patient(&upstream).start(attempt("x", "")).await.unwrap();
    assert!(deltas.next().await.is_some());
    let before = resident_kib();
    // Runs until the socket takes nothing more: two checks in a row find the same count.
    let mut written = (0, upstream.written());
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    while written.0 != written.1 {
        looks.tick().await;
        looks.tick().await;
        written = (written.1, upstream.written());
    }
    let grown = resident_kib() - before;
    let total = EVENTS * (padding.len() + 60);
    println!("{} of {total} bytes written, RSS grew {grown} KiB", written.0);
    assert!(written.0 < 16 << 20, "the socket's buffers only: {}", written.0);
    assert!(grown < 16 << 10, "{grown} KiB");
    let rest = deltas.filter(|d| std::future::ready(matches!(d, Ok(Delta::Text(_))))).count().await;
    assert_eq!(rest, EVENTS - 1, "and nothing is lost");
}

#[tokio::test]
async fn streaming_is_cheap() {
    const TOKENS: usize = 200_000;
    let upstream =
        Upstream::start(Script::with(|_, _| Answer::sse().flood(TOKENS, " token").complete()))
            .await;
    let provider = patient(&upstream);
    let before = crate::cpu::used();
    let (deltas, loss) = drain(provider.start(attempt("x", "")).await).await;
    let spent = crate::cpu::used() - before;
    assert_eq!((deltas.len(), loss), (TOKENS + 2, None));
    println!("{spent:?} of CPU for {TOKENS} tokens, the scripted upstream included");
}
