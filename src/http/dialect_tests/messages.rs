//! The same of Anthropic's events.
use serde_json::Value;

use super::*;
use crate::domain::key::SigningKey;
use crate::http::protocols::anthropic::events::Messages;

fn messages() -> Messages {
    Messages::of(&row(), false, &SigningKey::default())
}

/// The data of `all`'s frames.
fn data(all: &str) -> Vec<Value> {
    let lines = all.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn started() -> Event {
    eventful().remove(0)
}

fn end() -> Event {
    done(Status::Completed, Some(FinishReason::ToolCalls), None)
}

/// The message that a client builds from the frames, as the SDKs do; overlapping blocks fail.
fn assembled(all: &str) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut open = None;
    for frame in data(all) {
        let index = frame["index"].as_u64().map(|n| usize::try_from(n).unwrap());
        match frame["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!((index, open), (Some(blocks.len()), None), "{all}");
                let mut block = frame["content_block"].clone();
                if block["type"] == "tool_use" {
                    block["input"] = "".into();
                }
                blocks.push(block);
                open = index;
            }
            "content_block_delta" => {
                assert_eq!(index, open, "{all}");
                let block = blocks.last_mut().unwrap();
                let delta = frame["delta"].as_object().unwrap();
                for (name, piece) in delta.iter().filter(|(name, _)| *name != "type") {
                    let name = if name == "partial_json" { "input" } else { name };
                    let text = block[name].as_str().unwrap().to_owned();
                    block[name] = (text + piece.as_str().unwrap()).into();
                }
            }
            "content_block_stop" => {
                assert_eq!(index, open.take(), "{all}");
            }
            _ => {}
        }
    }
    assert_eq!(open, None);
    blocks
}

#[test]
fn messages_whole() {
    let events = eventful();
    let cut = told(&events, messages(), Frames::after(None));
    assert_is("messages_superseded", &cut);
    let error = u64::try_from(frames_of(&cut).len() - 1).unwrap();
    assert_is("messages", &told(&events, messages(), Frames::after(Some(error))));
}

#[test]
fn a_resume_of_messages_is_the_rest_wherever_it_begins() {
    let events: Vec<Event> =
        std::iter::once(started()).chain(eventful().into_iter().skip(6)).collect();
    let all = frames_of(&told(&events, messages(), Frames::after(None)));
    for n in 0..all.len() {
        let rest = told(&events, messages(), Frames::after(Some(n as u64)));
        assert_eq!(rest, all[n + 1..].concat(), "after {n}");
    }
}

#[test]
fn a_loss_and_a_continuation_in_messages() {
    let text = |text: &str| Event::Delta { text: text.into() };
    let lost = |after| Event::Superseded { after: Seq(after), reason: LossReason::Upstream };
    let rest = [
        text("Hel"),
        Event::Resumed { reason: LossReason::Takeover, attempt: 3 },
        text("lo"),
        done(Status::Completed, Some(FinishReason::Stop), None),
    ];
    let events = [&[started(), text("Once"), lost(1)][..], &rest[..]].concat();
    assert_is("lost_messages", &told(&events, messages(), Frames::after(Some(0))));
    // Nothing was said before it was lost: nobody is told.
    let silent =
        told(&[&[started(), lost(1)][..], &rest[..]].concat(), messages(), Frames::after(None));
    let plain = told(&[&[started()][..], &rest[..]].concat(), messages(), Frames::after(None));
    assert_eq!(silent, plain);
}

#[test]
fn calls_by_turns_come_one_after_the_other() {
    let events = [
        started(),
        Event::Delta { text: "Now".into() },
        call(0, Some("a"), ""),
        call(1, Some("b"), "{\"x\":"),
        call(0, None, "{\"y\":\"}"),
        Event::Delta { text: "and".into() },
        call(2, Some("a"), "{}"),
        call(1, None, "1}"),
        call(0, None, "{\"}\n"),
        call(0, None, " "),
        end(),
    ];
    let all = told(&events, messages(), Frames::after(None));
    let blocks = assembled(&all);
    let kinds: Vec<&str> = blocks.iter().map(|b| b["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text", "tool_use", "tool_use", "text", "tool_use"]);
    let inputs: Vec<&Value> = blocks.iter().map(|block| &block["input"]).collect();
    assert_eq!(inputs[1], "{\"y\":\"}{\"}");
    assert_eq!(
        (inputs[2], inputs[4], &blocks[3]["text"]),
        (&json!("{\"x\":1}"), &json!("{}"), &json!("and"))
    );
    assert_eq!((&blocks[1]["id"], &blocks[4]["id"]), (&json!("a"), &json!("a_4")), "each its own");
    let mut whole = Messages::of(&row(), true, &SigningKey::default());
    let mut replay = EventReplay::default();
    for entry in entries(&events) {
        replay.tell(&entry, &mut whole, &mut Frames::none()).unwrap();
    }
    let object = whole.object(replay.done());
    assert_eq!(object["content"][1]["input"], json!({ "y": "}{" }));
    assert_eq!(object["content"][2]["input"], json!({ "x": 1 }));
    assert_eq!(object["stop_reason"], "tool_use");
}

#[test]
fn a_vendors_signature_goes_with_its_thinking_and_others_get_ours() {
    let thought = |text: &str| Event::Reasoning { text: text.into() };
    let notice =
        |code: &str, message: &str| Event::Notice { code: code.into(), message: message.into() };
    let events = [
        started(),
        thought("H"),
        thought("m"),
        notice("thinking_signature", "c2ln"),
        notice("redacted_thinking", "eHh4"),
        thought("So"),
        Event::Resumed { reason: LossReason::Upstream, attempt: 2 },
        thought("Well"),
        notice("thinking_signature", "d2VsbA"),
        notice("thinking_signature", "ZW1wdHk"),
        notice("retrying", "another"),
        Event::Delta { text: "Yes".into() },
        end(),
    ];
    let blocks = assembled(&told(&events, messages(), Frames::after(None)));
    let shown: Vec<(&str, &str)> = blocks
        .iter()
        .map(|b| (b["thinking"].as_str().unwrap_or("-"), b["signature"].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(shown[0], ("Hm", "c2ln"));
    assert_eq!(blocks[1], json!({ "type": "redacted_thinking", "data": "eHh4" }));
    assert_eq!(shown[2].0, "So");
    assert!(shown[2].1.starts_with("lastword_"), "a signature is of one attempt's thinking");
    assert_eq!(&shown[3..5], [("Well", "d2VsbA"), ("", "ZW1wdHk")]);
    assert_eq!(blocks[5]["text"], "Yes");
}

#[test]
fn every_ending_of_messages() {
    let failure = |code, message: &str| Failure {
        code,
        message: message.into(),
        retryable: false,
        retry_after_ms: None,
        upstream: None,
    };
    let full = "prompt is too long: 9 tokens > 8 maximum";
    let full_there =
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens";
    let mut said = String::new();
    for (status, reason, error) in [
        (Status::Completed, Some(FinishReason::Stop), None),
        (Status::Completed, Some(FinishReason::Refusal), None),
        (Status::Incomplete, Some(FinishReason::Length), None),
        (Status::Incomplete, Some(FinishReason::ContentFilter), None),
        (Status::Incomplete, Some(FinishReason::ContextWindow), None),
        (Status::Incomplete, Some(FinishReason::Pause), None),
        (Status::Failed, None, Some((ErrorCode::UpstreamRateLimited, "slow down"))),
        (Status::Failed, None, Some((ErrorCode::UpstreamRejected, full_there))),
        (Status::Failed, None, Some((ErrorCode::UpstreamRejected, full))),
        (Status::Interrupted, None, Some((ErrorCode::UpstreamTruncated, "it broke off"))),
        (Status::Cancelled, None, None),
    ] {
        let ending = done(status, reason, error.map(|(code, text)| failure(code, text)));
        let events = [started(), Event::Delta { text: "Hel".into() }, ending];
        said.push_str(&told(&events, messages(), Frames::after(Some(2))));
    }
    assert_is("messages_endings", &said);
}

#[test]
fn usage_is_counted_as_anthropic_does() {
    let usage = Usage {
        input_tokens: 115,
        output_tokens: 7,
        cached_input_tokens: Some(100),
        cache_write_input_tokens: Some(5),
        ..Usage::default()
    };
    let done = Event::Done(Done {
        status: Status::Completed,
        finish_reason: Some(FinishReason::Stop),
        provider_finish_reason: Some("stop_sequence".into()),
        usage,
        error: None,
    });
    let mut row = row();
    row.request.prompt.parameters.stop = vec!["END".into()];
    let all = told(
        &[started(), done],
        Messages::of(&row, false, &SigningKey::default()),
        Frames::after(Some(0)),
    );
    let last = &data(&all)[0];
    assert_eq!(
        last["usage"],
        json!({ "input_tokens": 10, "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 5, "output_tokens": 7 })
    );
    assert_eq!(last["delta"]["stop_sequence"], "END");
}
