//! The client against the scripted upstream and a small false server, over real sockets.
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::args::{Args, Scenario};
use crate::figure::{Figure, permille, table};
use crate::http::{Framing, Response, get, model, request, start};
use crate::pairs::{Pairs, Round};
use crate::smoke::complete;
use crate::socket::Frame;
use crate::sse::{Seen, Window};
use crate::svg::{Chart, Series};
use crate::turns::Turns;
use crate::upstream::{MODEL, Upstream};

const ALWAYS: Window = Window { from: 0, to: u64::MAX };

fn event(seq: u64, kind: &str, text: &str) -> String {
    let data = format!(r#"{{"seq":{seq},"type":"{kind}","text":"{text}"}}"#);
    format!("event: {kind}\ndata: {data}\nid: {seq}\n\n")
}

#[test]
fn what_is_asked_for_by_name_runs_once_unless_rounds_are_asked_for() {
    let parse = |line: &str| Args::parse(line.split(' ').map(str::to_owned));
    assert!(!parse("durable").unwrap().medians);
    let args = parse("durable --rounds 3").unwrap();
    assert!(args.medians && args.rounds == 3);
    let args = parse("growth --events 1000").unwrap();
    assert_eq!((args.events, args.generations, args.rounds), (1000, 200, 5));
    for name in ["price", "websocket", "growth", "fleet", "builds", "storm", "smoke"] {
        assert!(parse(name).is_ok() && parse("").unwrap_err().contains(name), "{name}");
    }
}

#[test]
fn smoke_judges_completeness_and_no_time() {
    let late = || Figure::new("p99", 1e9, "ms").at_most(10.0);
    let missing = |n| Figure::new("missing", n, "").at_most(0.0);
    let judge = |figures| {
        let judged = complete(Scenario::Short, figures);
        judged.iter().map(|f| f.reached() == Some(true)).collect::<Vec<_>>()
    };
    assert_eq!(judge(Ok(vec![late(), missing(0.0)])), [true]);
    assert_eq!(judge(Ok(vec![late(), missing(3.0), missing(0.0)])), [false, true]);
    assert_eq!(judge(Ok(vec![late()])), [true], "a part that fails where something is missing");
    assert_eq!(judge(Err("a stream did not end".into())), [false]);
}

#[test]
fn a_stream_is_understood_however_it_is_cut() {
    let whole = [
        "retry: 1000\n\n".to_owned(),
        event(1, "started", ""),
        ": keep-alive\n\n".to_owned(),
        event(2, "delta", "@0000000000000100 "),
        event(3, "delta", "@0000000000000200 @0000000000000300 @not a stamp"),
        event(4, "done", ""),
    ]
    .concat();
    for size in 1..whole.len() {
        let mut seen = Seen::default();
        whole.as_bytes().chunks(size).for_each(|part| seen.take(part, 1000, ALWAYS));
        assert_eq!((seen.tokens, seen.gaps, seen.late, seen.done), (3, 0, 0, true), "{size}");
        assert_eq!(seen.latencies, [900, 800, 700]);
    }
}

#[test]
fn gaps_repeats_and_events_after_the_end_are_counted() {
    let mut seen = Seen::default();
    for (seq, kind) in [(1, "started"), (3, "delta"), (3, "delta"), (4, "done"), (5, "delta")] {
        seen.take(event(seq, kind, "").as_bytes(), 0, ALWAYS);
    }
    assert_eq!((seen.gaps, seen.late), (2, 1));
}

#[test]
fn a_socket_is_counted_as_a_stream_is() {
    let mut seen = Seen::default();
    let frames = [
        (1, "started", ""),
        (2, "delta", "@0000000000000100 "),
        (3, "delta", "@0000000000000200 @0000000000000300 @not a stamp"),
        (4, "done", ""),
    ];
    for (seq, kind, text) in frames {
        let frame = serde_json::json!({ "type": "event", "generation": "x",
            "event": { "seq": seq, "type": kind, "text": text } });
        let text = frame.to_string();
        let frame: Frame = serde_json::from_str(&text).unwrap();
        seen.event(&frame.event, 1000, ALWAYS);
    }
    assert_eq!(seen.latencies, [900, 800, 700]);
    assert!(seen.is_whole(3) && !seen.is_whole(4));
}

#[test]
fn only_the_window_is_measured() {
    let mut seen = Seen::default();
    for now in [9, 10, 19, 20] {
        seen.take(b"data: @0000000000000001\n", now, Window { from: 10, to: 20 });
    }
    assert_eq!((seen.tokens, seen.latencies), (4, vec![9, 18]));
}

#[test]
fn chunks_are_taken_out_of_their_frames_however_they_are_cut() {
    let raw = b"5;ext=1\r\nhello\r\n11\r\n, whole wide worl\r\n1\r\nd\r\n0\r\n\r\n";
    for size in 1..raw.len() {
        let (mut framing, mut body) = (Framing::Size(0), Vec::new());
        raw.chunks(size).for_each(|part| framing.take(part, &mut body));
        assert_eq!(body, b"hello, whole wide world", "{size}");
        assert_eq!(framing, Framing::End);
    }
}

#[tokio::test]
async fn the_upstream_says_what_the_prompt_asks_for() {
    let upstream = Upstream::start().unwrap();
    assert_eq!(model(upstream.address, MODEL).await.unwrap().as_deref(), Some(MODEL));
    let body = r#"{"messages":[{"role":"user","content":"tokens=3 tps=1000 ttft_ms=1"}]}"#;
    let stream = TcpStream::connect(upstream.address).await.unwrap();
    let asked = request("POST", "/v1/chat/completions", "*/*", body);
    let text = Response::to(stream, &asked).await.unwrap().text().await.unwrap();
    let chunks: Vec<_> = text.lines().filter_map(|l| l.strip_prefix("data: ")).collect();
    assert_eq!(chunks.len(), 3 + 3, "tokens, stop, usage, [DONE]: {text}");
    let parsed = |i: usize| serde_json::from_str::<serde_json::Value>(chunks[i]).unwrap();
    assert!(parsed(0)["choices"][0]["delta"]["content"].as_str().unwrap().starts_with('@'));
    assert_eq!(parsed(3)["choices"][0]["finish_reason"], "stop");
    assert_eq!(parsed(4)["usage"]["completion_tokens"], 3);
    assert_eq!(chunks[5], "[DONE]");
}

#[tokio::test]
async fn the_client_reads_a_stream_to_its_end_and_no_further() {
    let address = false_server("Transfer-Encoding: chunked", "4\r\nid: \r\n2\r\n1\n\r\n0\r\n\r\n");
    let stream = TcpStream::connect(address.await).await.unwrap();
    let mut response = Response::to(stream, &start(None, "hi")).await.unwrap();
    let mut body = Vec::new();
    while response.read(&mut body).await.unwrap() {}
    assert_eq!((response.status, body.as_slice()), (200, b"id: 1\n".as_slice()));

    let cut = false_server("Transfer-Encoding: chunked", "4\r\nid").await;
    assert!(get(cut, "/readyz").await.is_err(), "a body that breaks off is no end");
    let sized = false_server("Content-Length: 2", "ok").await;
    assert_eq!(get(sized, "/readyz").await.unwrap(), (200, "ok".into()));
    let empty = false_server("Content-Length: 0", "").await;
    assert_eq!(get(empty, "/readyz").await.unwrap(), (200, String::new()));
}

/// Answers one request with `body` and closes.
async fn false_server(field: &'static str, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    address
}

fn round(cpu_us: f64, broken: usize) -> Round {
    Round { cpu_us, postgres_us: 1.0, p50_ms: 1.0, p99_ms: 2.0, per_s: 3.0, broken }
}

#[test]
fn an_aim_is_reached_by_the_median_of_the_pairs() {
    let (load, peer) = ("load".to_owned(), "peer".to_owned());
    let rounds = vec![
        (round(4.0, 0), round(10.0, 0)),
        (round(9.0, 0), round(10.0, 0)),
        (round(5.0, 0), round(10.0, 0)),
    ];
    let pairs = Pairs { load, peer, rounds };
    assert_eq!(pairs.figures(Some(0.5))[0].reached(), Some(true));
    assert_eq!(pairs.figures(Some(0.4))[0].reached(), Some(false));
    assert_eq!(pairs.figures(None)[0].reached(), None);
}

#[test]
fn where_streams_broke_nothing_is_reached() {
    let (load, peer) = ("load".to_owned(), "peer".to_owned());
    let pairs = Pairs { load, peer, rounds: vec![(round(1.0, 0), round(100.0, 1))] };
    let figures = pairs.figures(Some(0.5));
    assert_eq!(figures[0].reached(), Some(false));
    assert!(table(&figures).contains("not measured: 1 streams were not complete"));
    let none = Figure::missing("peer", "it is not installed");
    assert!(table(&[none]).contains("not measured: it is not installed"));
}

#[test]
fn a_median_stands_between_the_lowest_and_the_highest() {
    let figure = Figure::median("p50", vec![3.0, 1.0, 2.0], "ms").at_most(2.0);
    assert_eq!(figure.reached(), Some(true));
    assert!(table(&[figure]).contains("p50 (1.00 to 3.00)"));
    let once = table(&[Figure::median("p50", vec![3.0], "ms")]);
    assert!(once.contains("3.00 ms") && !once.contains(" to "), "{once}");
}

#[tokio::test]
async fn each_kind_begins_in_its_turn_and_ratios_are_those_of_a_round() {
    let mut turns = Turns::new("load".to_owned(), ["a", "b"]);
    let (mut order, mut time) = (Vec::new(), 0.0);
    let take = turns.take(3, async |kind| {
        order.push(kind);
        time += 1.0;
        Ok(round(time * if kind == 0 { 2.0 } else { 1.0 }, 0))
    });
    take.await.unwrap();
    assert_eq!(order, [0, 1, 1, 0, 0, 1]);
    // 2/2, 8/3 and 10/6.
    assert!(table(&[turns.cpu([0, 1])]).contains("a / b (1.00 to 2.67)"));
    assert_eq!(turns.cpu([0, 1]).at_most(1.67).reached(), Some(true));
    assert_eq!(turns.cpu([0, 1]).at_most(1.66).reached(), Some(false));
    turns.take(1, async |_| Ok(round(1.0, 1))).await.unwrap();
    assert_eq!(turns.cpu([0, 1]).at_most(9.0).reached(), Some(false), "one broke");
}

#[test]
fn a_curve_has_its_points_where_the_powers_of_ten_say() {
    let points = vec![(10.0, 1.0), (100.0, 10.0), (1000.0, 0.0)];
    let series = vec![Series { name: "p50", points }];
    let chart = Chart { title: "t".into(), across: "x", unit: "ms", series };
    let svg = chart.draw();
    assert!(svg.contains(r#"points="64.0,310.0 500.0,40.0""#), "{svg}");
    assert!(
        Chart { title: String::new(), across: "", unit: "", series: vec![] }
            .draw()
            .contains("</svg>")
    );
    assert_eq!(
        (permille(&[], 500), permille(&[1, 2, 3], 500), permille(&[1, 2, 3], 1000)),
        (0, 2, 3)
    );
}
