//! A text that breaks off at any character goes on as if it had not. The servers behave as real
//! ones were seen to. Behind half a token a model loses letters, joins words and indents wrongly.
use std::collections::HashSet;
use std::sync::Mutex;

use super::*;

/// Prose, code, a table, Markdown, a script without spaces, an emoji of several characters.
const PIECES: [&str; 47] = [
    "It",
    " is",
    " **",
    "bold",
    "**",
    ",",
    " naïve",
    " and",
    " ",
    "人",
    "工",
    "智",
    "能",
    "。",
    "很",
    "好",
    "。",
    "\n\n",
    "```",
    "py",
    "\n",
    "def",
    " f",
    "(x",
    "):",
    "\n   ",
    " return",
    " x",
    "  #",
    " 👩\u{200D}👩\u{200D}👧",
    " ok",
    "\n",
    "```",
    "\n",
    "|",
    " a",
    " |",
    " b",
    " |",
    "\n",
    "|---|---|",
    "\n",
    "|",
    " 1",
    " |",
    " twenty",
    " |",
];

/// The way in which a server goes on behind a text.
#[derive(Clone, Copy)]
enum Habit {
    /// llama.cpp 11434, chat completions with `continue_final_message`, a raw template: its text
    /// follows the last character. At ends of tokens 41 of 44 seams were sound, elsewhere 1 of 56.
    Exact,
    /// vLLM 0.32 with 7 of 20 templates (Qwen3.5, Llama 3.2, …): white space at the end is trimmed.
    /// 24 of 24 cuts behind white space repeated it.
    Trims,
    /// llama.cpp 11434, `/v1/messages`: it first repeats the text that was sent.
    Echoes,
    /// llama.cpp 11549: a near tie falls otherwise behind a text that is read as a prompt. Its
    /// first words are other ones, once (1 of 55 cuts: `<li>Froz` went on with `ina`).
    Strays,
    /// llama.cpp 11549 at a temperature: it says other words, unless a grammar spells them
    /// (`grammar`, GBNF). That begins behind the text that was sent.
    Spells,
    /// transformers serve 5.24 refuses fields that it does not know (422). Its first words stray.
    Refuses,
    /// vLLM 0.32 at a temperature: it says other words, and passes over that grammar.
    StraysOn,
}

const SERVERS: [(&str, &str, Habit); 11] = [
    ("exact", "openai", Habit::Exact),
    ("trims", "openai", Habit::Trims),
    ("echoes", "openai", Habit::Echoes),
    ("strays", "openai", Habit::Strays),
    ("spells", "openai", Habit::Spells),
    ("refuses", "openai", Habit::Refuses),
    ("strays-on", "openai", Habit::StraysOn),
    ("messages-strays", "anthropic", Habit::Strays),
    ("messages", "anthropic", Habit::Echoes),
    ("responses", "responses", Habit::Exact),
    ("responses-trims", "responses", Habit::Trims),
];

/// The ends of tokens, in bytes.
fn borders() -> Vec<usize> {
    (0..PIECES.len()).map(|n| PIECES[..n].concat().len()).collect()
}

/// Behind half a token a letter is lost, as in `balloon` + ` 🎈` of "balloons 🎈".
fn rest(sent: &str) -> String {
    let whole = PIECES.concat();
    let behind = whole.strip_prefix(sent).expect("its own words").to_owned();
    if borders().contains(&sent.len()) { behind } else { behind.chars().skip(1).collect() }
}

fn sent(request: &Request) -> String {
    let list = request.body["messages"].as_array().or(request.body["input"].as_array()).unwrap();
    let last = list.last().unwrap();
    let text = last["content"].as_str().or(last["content"][0]["text"].as_str()).unwrap();
    if last["role"] == "assistant" { text.into() } else { String::new() }
}

/// The first answer to a prompt breaks off after as many bytes as the prompt says.
fn server(wire: &'static str, habit: Habit) -> Script {
    let seen: Mutex<HashSet<(String, usize)>> = Mutex::default();
    Script::with(move |request, _| {
        let prompt =
            request.body["messages"][0].as_object().or(request.body["input"][0].as_object());
        let prompt = prompt.unwrap()["content"].as_str().unwrap().to_owned();
        let first = |number| seen.lock().unwrap().insert((prompt.clone(), number));
        let whole = PIECES.concat();
        if first(0) {
            return says(wire, &whole[..prompt.parse::<usize>().unwrap()]).cut();
        }
        let sent = sent(request);
        let at: usize = prompt.parse().unwrap();
        let spelled = whole[..at].strip_prefix(&*sent).unwrap_or_default().replace('\n', "\\n");
        let spelled = json!(format!("root ::= \"{spelled}\" [^\\x00]*"));
        let grammar = request.body.get("grammar");
        let strays = match habit {
            Habit::Strays | Habit::Refuses => first(1),
            Habit::Spells => grammar != Some(&spelled),
            Habit::StraysOn => sent.len() < at,
            Habit::Exact | Habit::Trims | Habit::Echoes => false,
        };
        if matches!(habit, Habit::Refuses) && grammar.is_some() {
            let refusal = r#"{"detail":"Unexpected fields in the request: {'grammar'}"}"#;
            return Answer::status(422).raw(refusal);
        }
        if strays {
            return ends(wire, says(wire, "🐌 something else"));
        }
        let said = match habit {
            Habit::Exact | Habit::Strays | Habit::Spells | Habit::Refuses | Habit::StraysOn => {
                rest(&sent)
            }
            Habit::Trims => rest(sent.trim_end()),
            Habit::Echoes => sent.clone() + &rest(&sent),
        };
        ends(wire, says(wire, &said))
    })
}

/// The text, and how often the server was asked.
async fn joined(client: &Client, name: &str, at: usize) -> (String, Value) {
    let id = client.start(&json!({ "model": name, "prompt": at.to_string() })).await;
    let events = client.all(&id, 0).await;
    assert_whole(&events);
    let done = events.last().unwrap().json();
    assert_eq!(done["status"], "completed", "{name} at {at}: {done}");
    (text(&events), client.view(&id).await["attempts"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_at_any_character_is_sound() {
    let mut upstreams = Vec::new();
    for (name, wire, habit) in SERVERS {
        upstreams.push((name, wire, habit, Upstream::start(server(wire, habit)).await));
    }
    let app = TestApp::with(|config| {
        config.models = upstreams.iter().map(|(name, wire, _, upstream)| {
            model_config(&format!(
                "name = '{name}'\n{}\nbase_url = '{}'\ncontinuation = 'prefix'\nmax_attempts = 2",
                spoken(wire),
                upstream.base_url().trim_end_matches(if *wire == "anthropic" { "/v1" } else { "/" }),
            ))
        }).collect();
    })
    .await;
    let whole = PIECES.concat();
    let ats: Vec<usize> = whole.char_indices().map(|(at, _)| at).skip(1).collect();
    for (name, _, habit, upstream) in &upstreams {
        let mut answers = Vec::new();
        for some in ats.chunks(24) {
            let some = some.iter().map(|at| joined(&app.client, name, *at));
            answers.extend(join_all(some).await);
        }
        let mut sound = 0;
        let ends = borders();
        for (at, (text, attempts)) in ats.iter().zip(answers) {
            // At last it is asked behind the whole text, where half a token is half a token.
            let may = matches!(habit, Habit::StraysOn) && !ends.contains(at);
            assert!(text == whole || may, "{name}: {:?}\n{text}", &whole[..*at]);
            assert_eq!(attempts, 2, "{name}: asking once more is no attempt");
            sound += usize::from(text == whole);
        }
        let requests = upstream.requests();
        let is_forced = |request: &&Request| request.body.get("grammar").is_some();
        let refused = requests.iter().filter(is_forced).count();
        let (each, refused) = match habit {
            Habit::Exact | Habit::Trims | Habit::Echoes => (2, 0),
            Habit::Strays | Habit::Spells => (3, 0),
            Habit::StraysOn => (4, 0),
            Habit::Refuses => (3, refused),
        };
        assert_eq!(requests.len(), each * ats.len() + refused, "{name}: {sound} sound");
        // Those that were under way when the first refusal came.
        assert!(refused <= 24, "{name}: a refusal is remembered: {refused}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_again_is_counted_but_no_part_of_the_limit() {
    let cut = || Answer::sse().text("One ").text("two ").cut();
    let stray = Answer::sse().text(" too late").complete();
    let pieces = [" two ", "three ", "four ", "five "];
    let long = pieces.iter().fold(Answer::sse(), |answer, text| answer.text(text)).complete();
    let prefix = |upstream: &Upstream| {
        model_config(&format!(
            "name = 'm'\nprovider = 'openai'\nbase_url = '{}'\ncontinuation = 'prefix'\n\
             max_attempts = 2",
            upstream.base_url()
        ))
    };
    let three = Answer::sse().text("three").complete();
    let upstream = Upstream::start(vec![cut(), stray.clone(), stray, three]).await;
    let app = TestApp::with(|config| config.models = vec![prefix(&upstream)]).await;
    let id = app.client.start(&json!({ "model": "m", "prompt": "123456789012" })).await;
    let events = app.client.all(&id, 0).await;
    assert_eq!(text(&events), "One two three");
    let usage = events.last().unwrap().json()["usage"].clone();
    // 8 bytes, 9 bytes that were dropped, twice, and 2 tokens that were reported.
    assert_eq!(usage["output_tokens"], 2 + 3 + 3 + 2, "{usage}");
    assert_eq!(app.client.view(&id).await["attempts"], 2);
    let requests = upstream.requests();
    let sent: Vec<&str> = requests.iter().map(Request::so_far).collect();
    assert_eq!(sent, ["", "One", "", "One two "], "then behind the whole text");
    let grammars: Vec<&Value> = requests.iter().map(|r| &r.body["grammar"]).collect();
    let spelled = json!(r#"root ::= "One two " [^\x00]*"#);
    assert_eq!(grammars, [&Value::Null, &Value::Null, &spelled, &Value::Null]);
    app.stop().await;

    let upstream = Upstream::start(vec![cut(), long]).await;
    let app = TestApp::with(|config| config.models = vec![prefix(&upstream)]).await;
    let asked = json!({ "model": "m", "prompt": "go", "max_output_tokens": 4 });
    let id = app.client.start(&asked).await;
    let events = app.client.all(&id, 0).await;
    let done = events.last().unwrap().json();
    assert_eq!(
        (text(&events).as_str(), &done["finish_reason"]),
        ("One two three four ", &json!("length"))
    );
    app.stop().await;
}

/// Some servers repeat a beginning that the client gave; the text so far then stands for both.
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_own_beginning_and_the_text_so_far_are_one_message() {
    for (first, sent, rest, whole) in [
        ("d gre", "Blue and", " green.", "d green."),
        ("Blue and gre", "Blue and", " green.", "Blue and green."),
        ("Blue and gre", "Blue and", "Blue and green.", "Blue and green."),
    ] {
        let script = vec![Answer::sse().text(first).cut(), Answer::sse().text(rest).complete()];
        let (app, upstream) = TestApp::scripted(script, |config| {
            let model = config.models.last_mut().unwrap();
            model.max_attempts = 2;
            model.continuation = serde_json::from_value(json!("prefix")).unwrap();
        })
        .await;
        let body = json!({ "model": "scripted", "messages": [
            { "role": "user", "content": "Two colours." }, { "role": "assistant", "content": "Blue an" }] });
        let answer: Value =
            app.client.post("/v1/chat/completions", &body).await.json().await.unwrap();
        assert_eq!(answer["choices"][0]["message"]["content"], whole, "{first}");
        let requests = upstream.requests();
        assert_eq!((requests.len(), requests[1].so_far()), (2, sent), "{first}");
        let messages = requests[1].body["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 2, "one message of the assistant");
        app.stop().await;
    }
}

/// llama.cpp 11434 goes on inside the thoughts: `reasoning_content` alone, behind an empty text.
#[tokio::test(flavor = "multi_thread")]
async fn thoughts_that_break_off_go_on_where_the_server_can() {
    let thinks = |text: &str| json!({ "reasoning_content": text });
    for (setting, asked, boundary) in
        [("continues_thoughts = true", json!("I"), "resumed"), ("", Value::Null, "superseded")]
    {
        let rest = if setting.is_empty() { "I think so." } else { " think so." };
        let script = vec![
            Answer::sse().delta(&thinks("I")).delta(&thinks(" thi")).cut(),
            Answer::sse().delta(&thinks(rest)).text("Yes.").complete(),
        ];
        let upstream = Upstream::start(script).await;
        let model = format!(
            "name = 'm'\nprovider = 'openai'\nbase_url = '{}'\ncontinuation = 'prefix'\n{setting}",
            upstream.base_url()
        );
        let app = TestApp::with(|config| config.models = vec![model_config(&model)]).await;
        let id = app.client.start_prompt("go").await;
        let events = app.client.all(&id, 0).await;
        let view = app.client.view(&id).await;
        assert_eq!((&view["reasoning"], &view["text"]), (&json!("I think so."), &json!("Yes.")));
        assert!(events.iter().any(|event| event.name == boundary), "{events:#?}");
        let requests = upstream.requests();
        let last = requests[1].body["messages"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((requests.len(), &last["reasoning_content"]), (2, &asked), "{last}");
        app.stop().await;
    }
}
