//! Whole streams of every dialect, byte for byte, from one log; and that a resume anywhere in it
//! is the rest of it.
mod messages;

use serde_json::{Map, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::dialect::{Dialect, EventReplay, Frames};
use super::large::LARGE;
use super::protocols::openai::completion::Completion;
use super::protocols::{ai_sdk, openai_chat, openai_completions, openai_responses};
use crate::domain::entry::Entry;
use crate::domain::event::{
    Done, ErrorCode, Event, Failure, FinishReason, LossReason, Status, ToolCallDelta, Usage,
};
use crate::domain::generation::{Generation, OnDisconnect, Request};
use crate::domain::id::{Epoch, GenerationId, Seq, Tenant};
use crate::domain::json::JsonObject;
use crate::domain::prompt::{Message, Parameters, Prompt, Role};

fn row() -> Generation {
    let prompt = Prompt {
        messages: vec![Message::text(Role::User, "hi")],
        parameters: Parameters::default(),
    };
    Generation {
        id: GenerationId(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001)),
        tenant: Tenant::anonymous(),
        status: Status::Running,
        request: Request {
            model: "m".into(),
            prompt,
            metadata: JsonObject::default(),
            on_disconnect: OnDisconnect::Continue,
            echo: Map::from_iter([("background".to_owned(), json!(true))]),
            chat: None,
            wall_s: None,
            continues: None,
            trace: None,
            source: None,
        },
        provider: "demo".into(),
        epoch: Epoch::FIRST,
        created_at: OffsetDateTime::UNIX_EPOCH,
        started_at: None,
        finished_at: None,
        time_to_first_token_ms: None,
        last_seq: Seq(1),
        events_retained: true,
        result: None,
        place: None,
        unreadable: None,
    }
}

fn call(index: u32, id: Option<&str>, arguments: &str) -> Event {
    let name = id.map(|_| "look_up".to_owned());
    let (id, arguments) = (id.map(str::to_owned), arguments.to_owned());
    Event::ToolCall(ToolCallDelta { index, id, name, arguments, ..ToolCallDelta::default() })
}

fn done(status: Status, finish_reason: Option<FinishReason>, error: Option<Failure>) -> Event {
    let usage = Usage { input_tokens: 3, output_tokens: 5, ..Usage::default() };
    Event::Done(Done { status, finish_reason, provider_finish_reason: None, usage, error })
}

/// Everything that can happen: an attempt that is void, one that is continued, calls by turns.
fn eventful() -> Vec<Event> {
    let text = |text: &str| Event::Delta { text: text.into() };
    let started = Event::Started {
        generation: row().id,
        model: "m".into(),
        provider: "demo".into(),
        created_at: "1970-01-01T00:00:00Z".into(),
    };
    vec![
        started,
        Event::Reasoning { text: "Hm".into() },
        text("Once"),
        call(0, Some("c1"), "{"),
        Event::Superseded { after: Seq(1), reason: LossReason::Upstream },
        Event::Notice { code: "fallback".into(), message: "another".into() },
        text("Hel"),
        Event::Resumed { reason: LossReason::Takeover, attempt: 3 },
        text("l\no 🦀"),
        Event::Refusal { text: "No".into() },
        call(0, Some("c1"), "{\"a\":"),
        call(3, Some(""), ""),
        call(0, None, "1}"),
        call(3, None, "{}"),
        done(Status::Completed, Some(FinishReason::ToolCalls), None),
    ]
}

fn entries(events: &[Event]) -> Vec<Entry> {
    events.iter().zip(1..).map(|(event, n)| Entry::encode(Seq(n), event)).collect()
}

fn told(events: &[Event], mut dialect: impl Dialect, mut frames: Frames) -> String {
    frames.backlog = false;
    let mut replay = EventReplay::default();
    let mut all = Vec::new();
    for entry in entries(events) {
        replay.tell(&entry, &mut dialect, &mut frames).unwrap();
        all.extend_from_slice(&frames.take());
    }
    String::from_utf8(all).unwrap()
}

/// Compares with a file of tests/snapshots.
fn assert_is(name: &str, said: &str) {
    let path = format!("{}/tests/snapshots/{name}.sse", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(said == expected, "{name} says\n{said}");
}

/// The frames of `all`, each with its end.
fn frames_of(all: &str) -> Vec<String> {
    all.split_inclusive("\n\n").map(str::to_owned).collect()
}

fn responses() -> impl Dialect {
    openai_responses::of(&row())
}

fn chat() -> impl Dialect {
    openai_chat::Chat::of(&row(), true)
}

fn completion() -> impl Dialect {
    openai_completions::TextCompletion::of(&row(), true)
}

#[test]
fn completion_whole() {
    let events = eventful();
    let cut = told(&events, completion(), Frames::after(None));
    assert_is("completion_superseded", &cut);
    let error = u64::try_from(frames_of(&cut).len() - 1).unwrap();
    assert_is("completion", &told(&events, completion(), Frames::after(Some(error))));
}

/// Counts before the end go with every chunk, and begin again when an attempt is void.
#[test]
fn usage_is_told_before_the_end_where_it_is_asked_for() {
    let mut row = row();
    row.request.echo.insert("continuous_usage_stats".into(), true.into());
    let events = [
        eventful().remove(0),
        Event::Reasoning { text: "12345678".into() },
        Event::Delta { text: "1234".into() },
        Event::Superseded { after: Seq(1), reason: LossReason::Upstream },
        Event::Delta { text: "12345".into() },
        done(Status::Completed, Some(FinishReason::Stop), None),
    ];
    let counts = |said: &str| -> Vec<(u64, bool)> {
        let frames = said.lines().filter_map(|line| line.strip_prefix("data: {"));
        let frames = frames.map(|rest| serde_json::from_str(&format!("{{{rest}")).unwrap());
        let usages = frames.filter_map(|mut frame: serde_json::Value| {
            let usage = frame["usage"].take();
            Some((usage["completion_tokens"].as_u64()?, usage["prompt_tokens"] == 1))
        });
        usages.collect()
    };
    // The last is the model's own count.
    let chat = told(&events, openai_chat::Chat::of(&row, true), Frames::after(Some(3)));
    assert_eq!(counts(&chat), [(0, true), (2, true), (2, true), (5, false)], "{chat}");
    let text =
        told(&events, openai_completions::TextCompletion::of(&row, true), Frames::after(Some(1)));
    assert_eq!(counts(&text), [(2, true), (2, true), (5, false)], "{text}");
    let first =
        told(&events[..3], openai_completions::TextCompletion::of(&row, true), Frames::after(None));
    assert_eq!(counts(&first), [(3, true)], "what it thought counts: {first}");
    let none =
        told(&events, openai_completions::TextCompletion::of(&row, false), Frames::after(Some(1)));
    assert!(!none.contains("usage"), "{none}");
}

#[test]
fn responses_whole() {
    let events = eventful();
    // A client that was there when a call was lost gets a failure, and nothing more.
    let cut = told(&events, responses(), Frames::after(None));
    assert_is("responses_superseded", &cut);
    // Its cursor for the resume, behind that failure.
    let failure = u64::try_from(frames_of(&cut).len() - 1).unwrap();
    assert_is("responses", &told(&events, responses(), Frames::after(Some(failure))));
}

#[test]
fn who_comes_later_is_told_of_no_void_item() {
    let (mut dialect, mut frames) = (openai_responses::of(&row()), Frames::after(None));
    let mut replay = EventReplay::default();
    for entry in entries(&eventful()) {
        replay.tell(&entry, &mut dialect, &mut frames).unwrap();
    }
    let all = String::from_utf8(frames.take().to_vec()).unwrap();
    assert!(!all.contains("Once") && !all.contains("response.failed"), "{all}");
    let data =
        all.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|d| *d != "[DONE]");
    let said: Vec<serde_json::Value> = data.map(|d| serde_json::from_str(d).unwrap()).collect();
    assert_eq!(said[0]["type"], "response.created");
    let added = said.iter().filter(|frame| frame["type"] == "response.output_item.added");
    let places: Vec<u64> = added.map(|frame| frame["output_index"].as_u64().unwrap()).collect();
    assert_eq!(places, (0..places.len() as u64).collect::<Vec<_>>());
    assert_eq!(said.last().unwrap()["type"], "response.completed");
}

#[test]
fn a_call_is_done_before_the_next_one_begins() {
    let mut events = eventful();
    let ending = events.pop().unwrap();
    events.truncate(1);
    events.extend([call(0, Some("c1"), "{\"a\":1"), call(0, None, "}"), call(1, Some("c2"), "{")]);
    events.extend([call(0, None, "\n"), call(1, None, "}"), ending]);
    let said = told(&events, responses(), Frames::after(None));
    let kinds: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let added: Vec<usize> = kinds
        .iter()
        .enumerate()
        .filter(|(_, kind)| **kind == "response.output_item.added")
        .map(|(n, _)| n)
        .collect();
    let done = kinds.iter().position(|kind| *kind == "response.output_item.done").unwrap();
    assert!(added[0] < done && done < added[1], "{kinds:?}");
    assert_eq!(added.len(), 2, "what comes behind a whole call is no call: {kinds:?}");
}

#[test]
fn chat_whole() {
    let events = eventful();
    // A client that was there when the answer was lost gets an error, and nothing more.
    let cut = told(&events, chat(), Frames::after(None));
    assert_is("chat_superseded", &cut);
    // Its cursor for the resume, behind that error.
    let error = u64::try_from(frames_of(&cut).len() - 1).unwrap();
    assert_is("chat", &told(&events, chat(), Frames::after(Some(error))));
}

#[test]
fn ui_message_whole() {
    let events = eventful();
    let said = told(&events, ai_sdk::encoder::UiMessage::of(&row()), Frames::after(None));
    assert_is("ui_message", &said);
}

/// The example of docs/protocol.md: an attempt that is void, then one that is continued.
#[test]
fn a_loss_and_a_continuation_in_every_dialect() {
    let text = |text: &str| Event::Delta { text: text.into() };
    let events = [
        eventful().remove(0),
        text("Once"),
        Event::Superseded { after: Seq(1), reason: LossReason::Upstream },
        text("Hel"),
        Event::Resumed { reason: LossReason::Takeover, attempt: 3 },
        text("lo"),
        done(Status::Completed, Some(FinishReason::Stop), None),
    ];
    assert_is("lost_responses", &told(&events, responses(), Frames::after(Some(5))));
    assert_is("lost_chat", &told(&events, chat(), Frames::after(Some(0))));
    let page = ai_sdk::encoder::UiMessage::of(&row());
    assert_is("lost_ui_message", &told(&events, page, Frames::after(Some(2))));
}

#[test]
fn a_resume_is_the_rest_wherever_it_begins() {
    let events = eventful();
    let mut all = frames_of(&told(&events, responses(), Frames::after(None)));
    let failure = all.len() - 1;
    let behind = told(&events, responses(), Frames::after(Some(failure as u64)));
    for n in 0..failure {
        let rest = told(&events, responses(), Frames::after(Some(n as u64)));
        assert_eq!(rest, all[n + 1..].concat(), "after {n}");
    }
    all.extend(frames_of(&behind));
    // The last is no event: it says that nothing follows.
    for n in failure..all.len() - 1 {
        let rest = told(&events, responses(), Frames::after(Some(n as u64)));
        assert_eq!(rest, all[n + 1..].concat(), "after {n}");
    }
    let all = told(
        &events[6..].iter().fold(vec![events[0].clone()], |mut all, event| {
            all.push(event.clone());
            all
        }),
        chat(),
        Frames::after(None),
    );
    let all = frames_of(&all);
    let without: Vec<Event> = std::iter::once(&events[0]).chain(&events[6..]).cloned().collect();
    for n in 0..all.len() - 1 {
        let rest = told(&without, chat(), Frames::after(Some(n as u64)));
        assert_eq!(rest, all[n + 1..].concat(), "after {n}");
    }
    let all = frames_of(&told(&without, completion(), Frames::after(None)));
    for n in 0..all.len() - 1 {
        let rest = told(&without, completion(), Frames::after(Some(n as u64)));
        assert_eq!(rest, all[n + 1..].concat(), "after {n}");
    }
}

#[test]
fn every_ending_in_every_dialect() {
    let started = eventful().remove(0);
    let text = Event::Delta { text: "Hel".into() };
    let failure = |code| Failure {
        code,
        message: "it said no".into(),
        retryable: false,
        retry_after_ms: None,
        upstream: None,
    };
    let mut said = String::new();
    for (status, reason, code) in [
        (Status::Completed, Some(FinishReason::Stop), None),
        (Status::Incomplete, Some(FinishReason::Length), None),
        (Status::Incomplete, Some(FinishReason::ContentFilter), None),
        (Status::Failed, None, Some(ErrorCode::UpstreamRateLimited)),
        (Status::Interrupted, None, Some(ErrorCode::UpstreamTruncated)),
        (Status::Cancelled, None, None),
    ] {
        let ending = done(status, reason, code.map(failure));
        let events = [started.clone(), text.clone(), ending];
        for all in [
            told(&events, responses(), Frames::after(Some(5))),
            told(&events, chat(), Frames::after(Some(1))),
            told(&events, completion(), Frames::after(Some(0))),
            told(&events, ai_sdk::encoder::UiMessage::of(&row()), Frames::after(Some(3))),
        ] {
            said.push_str(&all);
        }
    }
    assert_is("endings", &said);
}

#[test]
fn a_log_that_is_no_longer_there_is_told_by_its_outcome() {
    let events = eventful();
    let mut replay = EventReplay::default();
    let mut all = Frames::none();
    let mut dialect = openai_responses::of(&row());
    for entry in entries(&events) {
        replay.tell(&entry, &mut dialect, &mut all).unwrap();
    }
    let outcome = crate::domain::generation::Outcome {
        answer: replay.answer().clone(),
        done: replay.done().unwrap().clone(),
        attempts: 3,
    };
    let whole = dialect.object(Status::Completed);
    let mut dialect = openai_responses::of(&row());
    let (mut replay, mut frames) = (EventReplay::default(), Frames::after(None));
    replay.outcome(Seq(15), &outcome, &mut dialect, &mut frames);
    let told = dialect.object(Status::Completed);
    let texts = |object: &serde_json::Value| {
        let items = object["output"].as_array().unwrap().iter();
        items.map(|i| (i["content"].clone(), i["arguments"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(texts(&told), texts(&whole));
    assert_eq!(told["usage"], whole["usage"]);
}

#[test]
fn large_frames_are_pieces_of_their_own() {
    let words =
        ["a".repeat(10), "b".repeat(LARGE + 1), "c".into(), "d".repeat(2 * LARGE), "e".into()];
    let say = |frames: &mut Frames| words.iter().for_each(|word| frames.frame(None, word));
    let (mut frames, mut other) = (Frames::after(None), Frames::after(None));
    say(&mut frames);
    say(&mut other);
    let whole: String = words.iter().map(|word| format!("data: \"{word}\"\n\n")).collect();
    assert_eq!(frames.made(), whole.len());
    let mut pieces = Vec::new();
    while let Some(piece) = Some(frames.take()).filter(|piece| !piece.is_empty()) {
        pieces.push(piece);
    }
    assert!(pieces.concat() == whole.as_bytes());
    assert_eq!(pieces.len(), 5);
    let same: Vec<bool> =
        pieces.iter().map(|piece| piece.as_ptr() == other.take().as_ptr()).collect();
    assert_eq!(same, [false, true, false, true, false], "two readers share the large ones");
    for made in [0, 5, 30, LARGE + 10, whole.len() - 1, whole.len()] {
        let mut frames = Frames::after(None);
        say(&mut frames);
        frames.forget_behind(made);
        assert_eq!(frames.made(), made);
        assert!(frames.take_all() == whole[..made]);
    }
}
