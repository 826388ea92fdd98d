//! The limit of an answer holds over a loss at a wire that has no running count: the text is counted
//! before the model goes on behind it.
use super::*;

/// The way in which a server counts a text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Count {
    /// llama.cpp 11549 at `/tokenize`; it also has the other one, which adds its template.
    Text,
    /// Anthropic at `/v1/messages/count_tokens`: a turn costs some tokens beside its text.
    Prompt,
    /// A server of the Messages API alone.
    Nowhere,
}

const COUNTS: [Count; 3] = [Count::Text, Count::Prompt, Count::Nowhere];
/// Tokens of a turn beside its text.
const TURN: u64 = 8;
/// What the model says in all: each letter is a token, and each blank.
const WHOLE: &str = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
/// The characters that come before the loss, in one piece.
const BREAK: usize = 14;
const LIMIT: usize = 24;

fn counted(count: Count, request: &Request) -> Option<Answer> {
    let refused = || Answer::status(404).raw(r#"{"error":{"message":"no such path"}}"#);
    if request.line.starts_with("POST /tokenize ") {
        let text = request.body["content"].as_str().unwrap();
        let tokens: Vec<usize> = (0..text.len()).collect();
        let list = json!({ "tokens": tokens }).to_string();
        return Some(if count == Count::Text { Answer::status(200).raw(list) } else { refused() });
    }
    if request.line.starts_with("POST /v1/messages/count_tokens ") {
        let text = request.body["messages"][0]["content"].as_str().unwrap();
        let tokens = TURN + text.len() as u64;
        let input = json!({ "input_tokens": tokens }).to_string();
        return Some(if count == Count::Nowhere {
            refused()
        } else {
            Answer::status(200).raw(input)
        });
    }
    None
}

/// A model that says what is left of its text, within the limit that it is given.
fn script(count: Count) -> Script {
    Script::with(move |request, _| {
        if let Some(answer) = counted(count, request) {
            return answer;
        }
        let (so_far, _) = asked_behind(request);
        if so_far.is_empty() {
            return Answer::sse().message_start().says(&[&WHOLE[..BREAK]]).cut();
        }
        let most = usize::try_from(request.body["max_tokens"].as_u64().unwrap()).unwrap();
        let rest = &WHOLE[so_far.len()..];
        let answer = Answer::sse().message_start().says(&[&rest[..most.min(rest.len())]]);
        answer.stop_reason("max_tokens").message_stop()
    })
}

fn paths(upstream: &Upstream) -> Vec<String> {
    let path = |request: Request| request.line.split(' ').nth(1).unwrap().to_owned();
    upstream.requests().into_iter().map(path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_counted_before_it_is_gone_on_with() {
    let mut upstreams = Vec::new();
    for count in COUNTS {
        upstreams.push(Upstream::start(script(count)).await);
    }
    let models = COUNTS.iter().zip(&upstreams).map(|(count, upstream)| {
        model_config(&format!(
            "name = '{count:?}'\nprovider = 'anthropic'\nbase_url = '{}'\ncontinuation = 'prefix'",
            upstream.base_url()
        ))
    });
    let models: Vec<_> = models.collect();
    let app = TestApp::with(|config| config.models = models).await;
    for count in COUNTS {
        for round in 0..2 {
            let asked = json!({
                "model": format!("{count:?}"), "prompt": "go", "max_output_tokens": LIMIT,
            });
            let id = app.client.start(&asked).await;
            let events = app.client.all(&id, 0).await;
            assert_whole(&events);
            let done = events.last().unwrap().json();
            assert_eq!(done["finish_reason"], "length", "{count:?} {round}: {done}");
            let said = text(&events);
            if count == Count::Nowhere {
                assert!(WHOLE.starts_with(&said) && said.len() > LIMIT, "an estimate: {said}");
            } else {
                assert_eq!(said, WHOLE[..LIMIT], "{count:?} {round}");
            }
        }
    }
    let id = app.client.start(&json!({ "model": "Text", "prompt": "go" })).await;
    assert_eq!(text(&app.client.all(&id, 0).await), WHOLE, "no limit, no count");
    let [by_text, prompt, nowhere] = [0, 1, 2].map(|at| paths(&upstreams[at]));
    let [said, tokenize, count] = ["/v1/messages", "/tokenize", "/v1/messages/count_tokens"];
    assert_eq!(by_text, [said, tokenize, said, said, tokenize, said, said, said]);
    assert_eq!(
        prompt,
        [said, tokenize, count, count, said, said, count, said],
        "the way is remembered, and what an empty turn costs"
    );
    assert_eq!(nowhere, [said, tokenize, count, said, said, said], "refused once");
    app.stop().await;
}
