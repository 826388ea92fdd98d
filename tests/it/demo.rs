//! The demo model: the same text every time, at its pace, from any position on.
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lastword::domain::event::{ErrorCode, FinishReason, Usage};
use lastword::domain::prompt::{Message, Parameters, Prompt, Role};
use lastword::ports::{Attempt, Delta, Provider, ProviderError};
use lastword::providers::demo::Demo;
use proptest::prelude::*;
use tokio::time::Instant;

fn attempt(prompt: &str, so_far: &str) -> Attempt {
    let messages = vec![Message::text(Role::User, prompt)];
    let prompt = Prompt::parse(messages, Parameters::default(), 1 << 20).unwrap();
    Attempt { so_far: so_far.into(), ..Attempt::fresh(prompt) }
}

async fn play(attempt: Attempt) -> Vec<Result<Delta, ProviderError>> {
    match Demo.start(attempt).await {
        Ok(deltas) => deltas.collect().await,
        Err(loss) => vec![Err(loss)],
    }
}

async fn deltas(prompt: &str) -> Vec<Delta> {
    play(attempt(prompt, "")).await.into_iter().map(Result::unwrap).collect()
}

fn text_of<'a>(deltas: impl IntoIterator<Item = &'a Delta>) -> String {
    let text = |d: &'a Delta| if let Delta::Text(t) = d { Some(t.as_str()) } else { None };
    deltas.into_iter().filter_map(text).collect()
}

fn finish_of(deltas: &[Delta]) -> FinishReason {
    match deltas.last() {
        Some(Delta::Finish { reason, .. }) => *reason,
        other => panic!("the last is {other:?}"),
    }
}

fn usage_of(deltas: &[Delta]) -> Usage {
    let usage = |d: &Delta| if let Delta::Usage(u) = d { Some(*u) } else { None };
    deltas.iter().rev().find_map(usage).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_plain_prompt_is_answered_pleasantly() {
    let about = deltas("Tell me about rivers").await;
    let text = text_of(&about);
    println!("{text}");
    assert!(text.starts_with("This is lastword's built-in demo, not an AI"), "{text}");
    assert!(text.contains("rivers") && text.ends_with(['.', '?']), "{text}");
    assert_eq!(finish_of(&about), FinishReason::Stop);
    let usage = usage_of(&about);
    assert!(usage.exact && (80..180).contains(&usage.output_tokens), "{usage:?}");
    assert_eq!(about, deltas("Tell me about rivers").await, "the same every time");
    assert_ne!(text, text_of(&deltas("Tell me about lakes").await));
}

#[tokio::test(start_paused = true)]
async fn the_pace_is_kept() {
    let start = Instant::now();
    let mut stream = Demo.start(attempt("/demo tokens=100 tps=50 ttft_ms=300", "")).await.unwrap();
    stream.next().await;
    assert_eq!(start.elapsed().as_millis(), 300);
    // A consumer that comes late finds all due tokens at once, and the rest in time.
    tokio::time::advance(Duration::from_secs(1)).await;
    let mut due = 0;
    while stream.next().now_or_never().is_some() {
        due += 1;
    }
    assert_eq!(due, 50);
    let rest = stream.count().await;
    assert_eq!(rest, 49 + 2, "tokens, usage, finish");
    assert_eq!(start.elapsed().as_millis(), 300 + 99 * 20);

    let start = Instant::now();
    assert_eq!(deltas("/demo tokens=3000 tps=0 ttft_ms=0").await.len(), 3002);
    assert_eq!(start.elapsed(), Duration::ZERO, "as fast as it is taken");

    let start = Instant::now();
    deltas("/demo tokens=100 tps=50 ttft_ms=0 jitter=1 stall_at=50 stall_s=7").await;
    assert_eq!(start.elapsed().as_secs(), 7 + 1);
}

#[tokio::test(start_paused = true)]
async fn every_directive_does_what_it_says() {
    let reasoned = deltas("/demo reasoning tokens=10").await;
    let thoughts = reasoned.iter().filter(|d| matches!(d, Delta::Reasoning(_))).count() as u64;
    assert!(thoughts > 10 && matches!(reasoned[0], Delta::Reasoning(_)));
    let usage = usage_of(&reasoned);
    assert_eq!((usage.output_tokens, usage.reasoning_tokens), (10 + thoughts, Some(thoughts)));

    let refused = deltas("/demo refusal").await;
    assert_eq!((text_of(&refused).as_str(), finish_of(&refused)), ("", FinishReason::Refusal));

    let called = deltas("/demo tool_call tokens=3").await;
    assert_eq!(finish_of(&called), FinishReason::ToolCalls);
    let arguments: String = called
        .iter()
        .filter_map(|d| if let Delta::ToolCall(c) = d { Some(c.arguments.as_str()) } else { None })
        .collect();
    assert!(serde_json::from_str::<serde_json::Value>(&arguments).unwrap().is_object());

    assert_eq!(finish_of(&deltas("/demo length tokens=3").await), FinishReason::Length);
    assert!(text_of(&deltas("/demo markdown tokens=400").await).contains("\n|---|"));
    let unicode = text_of(&deltas("/demo unicode tokens=400").await);
    assert!(unicode.contains('👩') && unicode.contains("שלום"), "{unicode}");
    assert_eq!(deltas("/demo tokens=5 seed=1").await, deltas("/demo seed=1 tokens=5").await);

    let mut short = attempt("Tell me about rivers", "");
    short.prompt.parameters.max_output_tokens = Some(7);
    let short: Vec<Delta> = play(short).await.into_iter().map(Result::unwrap).collect();
    assert_eq!((finish_of(&short), usage_of(&short).output_tokens), (FinishReason::Length, 7));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_directive_is_named_and_the_answer_goes_on() {
    let answer = deltas("/demo tokns=9 tokens=4").await;
    let Delta::Notice { code, message } = &answer[0] else { panic!("{answer:?}") };
    assert_eq!(*code, "unknown_directive");
    assert!(message.contains("`tokens`"), "{message}");
    assert_eq!(usage_of(&answer).output_tokens, 4);
}

#[tokio::test(start_paused = true)]
async fn stamps_tell_when_they_were_due() {
    let text = text_of(&deltas("/demo stamp tokens=50 tps=0 ttft_ms=0").await);
    let stamps: Vec<u128> = text
        .split_terminator(' ')
        .map(|stamp| stamp.strip_prefix('@').unwrap().parse().unwrap())
        .collect();
    assert_eq!((stamps.len(), text.len()), (50, 50 * 18));
    assert!(stamps.is_sorted());
    let now = std::fs::metadata("/proc/self").unwrap().modified().unwrap();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    assert!(stamps[0].abs_diff(now) < 600_000_000, "{} {now}", stamps[0]);

    let so_far = &text[..20 * 18 + 5];
    let rest = play(attempt("/demo stamp tokens=50 tps=0", so_far)).await;
    let rest: Vec<Delta> = rest.into_iter().map(Result::unwrap).collect();
    assert_eq!(text_of(&rest).len(), 30 * 18 - 5);
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_shown_once_and_continued() {
    let prompt = "/demo tokens=50 fail_at=20 reasoning";
    let whole = text_of(&deltas("/demo tokens=50 reasoning").await);
    // The text is the seed's, and the seed is the prompt's: give both the same.
    let seeded = format!("{prompt} seed=3");
    let expected = text_of(&deltas("/demo tokens=50 seed=3").await);
    assert_ne!(whole, expected);
    let mut first = play(attempt(&seeded, "")).await;
    let loss = first.pop().unwrap().unwrap_err();
    assert_eq!((loss.code, loss.retryable), (ErrorCode::UpstreamTruncated, true));
    let first: Vec<Delta> = first.into_iter().map(Result::unwrap).collect();
    assert_eq!(first.iter().filter(|d| matches!(d, Delta::Text(_))).count(), 20);
    let second = play(attempt(&seeded, &text_of(&first))).await;
    let second: Vec<Delta> = second.into_iter().map(Result::unwrap).collect();
    assert!(!second.iter().any(|d| matches!(d, Delta::Reasoning(_))), "not thought again");
    assert_eq!(text_of(&first) + &text_of(&second), expected);
    assert_eq!(usage_of(&second).output_tokens, 30);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_text_is_not_continued() {
    for so_far in ["Something else", "This is lastword's built-in demo and a liar"] {
        let loss = play(attempt("Tell me about rivers", so_far)).await.remove(0).unwrap_err();
        assert_eq!((loss.code, loss.retryable), (ErrorCode::UpstreamProtocol, false));
    }
    let whole = text_of(&deltas("/demo tokens=5").await);
    let longer = play(attempt("/demo tokens=5", &format!("{whole} more"))).await;
    assert!(longer[0].is_err());
    let end: Vec<Delta> =
        play(attempt("/demo tokens=5", &whole)).await.into_iter().map(Result::unwrap).collect();
    assert_eq!((text_of(&end).as_str(), finish_of(&end)), ("", FinishReason::Stop));
}

/// A load as the bench makes it, in real time; its price is printed.
#[tokio::test]
async fn a_thousand_at_once() {
    const EACH: usize = 50;
    let prompt = format!("/demo tokens={EACH} tps=50 ttft_ms=0");
    let before = crate::cpu::used();
    let start = Instant::now();
    let mut counts = futures_util::stream::FuturesUnordered::new();
    for _ in 0..1000 {
        counts.push(deltas(&prompt));
    }
    let mut seen = 0;
    while let Some(deltas) = counts.next().await {
        seen += deltas.len();
    }
    assert_eq!(seen, 1000 * (EACH + 2));
    let spent = crate::cpu::used() - before;
    println!("{spent:?} of CPU in {:?} for {} tokens", start.elapsed(), 1000 * EACH);
}

#[tokio::test(start_paused = true)]
async fn a_cut_in_the_last_token_loses_nothing() {
    let prompt = "Tell me about rivers";
    let whole = text_of(&deltas(prompt).await);
    let cut = whole.len() - 2;
    let rest = play(attempt(prompt, &whole[..cut])).await;
    let rest: Vec<Delta> = rest.into_iter().map(Result::unwrap).collect();
    assert_eq!(text_of(&rest), whole[cut..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_goes_on_from_every_cut(
        prompt in prop::sample::select(vec![
            "Tell me about rivers",
            "/demo tokens=80 unicode tps=0",
            "/demo tokens=200 markdown tps=0 reasoning tool_call",
            "/demo tokens=60 stall_at=30 jitter=0.5",
        ]),
        cut in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let whole = text_of(&deltas(prompt).await);
            let mut at = 1 + cut.index(whole.len());
            while !whole.is_char_boundary(at) {
                at += 1;
            }
            let rest = play(attempt(prompt, &whole[..at])).await;
            let rest: Vec<Delta> = rest.into_iter().map(Result::unwrap).collect();
            assert_eq!(whole[..at].to_owned() + &text_of(&rest), whole);
        });
    }
}
