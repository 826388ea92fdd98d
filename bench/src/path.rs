//! The cost of a token on its way from a model's socket to its delta, next to the bare bytes.
use std::io::{self, Write};

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use lastword::domain::prompt::{Message, Parameters, Prompt, Role};
use lastword::ports::{Attempt, Continuation, Delta, Provider};
use lastword::providers::chat::OpenAi;
use lastword::providers::messages::Anthropic;
use lastword::providers::responses::Responses;
use lastword::providers::upstream::adjust::Adjust;
use lastword::providers::upstream::endpoint::{Settings, SettingsError};
use lastword::providers::upstream::guard::Timeouts;

use crate::Failure;
use crate::args::Args;
use crate::cpu::Sample;
use crate::upstream::{MODEL, Upstream};

/// Tokens of the run without a pace.
const FLOOD: u64 = 300_000;

/// How the tokens are taken.
enum Path {
    /// reqwest's bytes, unread.
    Bytes(reqwest::Client),
    /// The whole provider: guard, framing, parsing, mapping.
    Provider(Box<dyn Provider>),
}

/// Measures each path paced, and as fast as it goes; whether every stream was complete.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let upstream = Upstream::start()?;
    let base_url = format!("http://{}/v1", upstream.address);
    let settings = Settings {
        base_url: base_url.clone(),
        api_key: None,
        upstream_model: MODEL.into(),
        continuation: Continuation::None,
        timeouts: Timeouts::default(),
        adjust: Adjust::default(),
    };
    let bad = |e: SettingsError| e.to_string();
    let openai = Box::new(OpenAi::new(settings.clone()).map_err(bad)?);
    let responses = Box::new(Responses::new(settings.clone()).map_err(bad)?);
    let anthropic = Box::new(Anthropic::new(settings).map_err(bad)?);
    let http = reqwest::Client::builder().no_proxy().build().map_err(|e| e.to_string())?;
    let paths = [
        ("reqwest bytes", Path::Bytes(http)),
        ("openai chat", Path::Provider(openai)),
        ("openai responses", Path::Provider(responses)),
        ("anthropic", Path::Provider(anthropic)),
    ];
    let mut out = io::stdout();
    let head = format!("{} streams x {} tokens/s, then one unpaced", args.generations, args.tps);
    let _ = writeln!(out, "{head}\n\n{:<18}{:>18}{:>18}", "", "paced us/token", "unpaced us/token");
    for (name, path) in &paths {
        // Connections and code pages are warm from here on.
        cost(path, &base_url, (1, 1000, 1_000_000)).await?;
        let paced = cost(path, &base_url, (args.generations, args.tokens(), args.tps)).await?;
        let flood = cost(path, &base_url, (1, FLOOD, 1_000_000)).await?;
        let _ = writeln!(out, "{name:<18}{paced:>18.2}{flood:>18.2}");
    }
    Ok(true)
}

/// CPU of this process without its upstream, in microseconds per token. The load is so many streams
/// of so many tokens at so many per second.
async fn cost(path: &Path, base_url: &str, load: (u64, u64, u64)) -> Result<f64, Failure> {
    let (streams, tokens, tps) = load;
    let own = std::process::id();
    let before = Sample::take(&[own]);
    try_join_all((0..streams).map(|_| one(path, base_url, tokens, tps))).await?;
    let spent = Sample::take(&[own]).since(&before).client;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    Ok(spent as f64 / 1e3 / (streams * tokens) as f64)
}

/// One stream to its end.
async fn one(path: &Path, base_url: &str, tokens: u64, tps: u64) -> Result<(), Failure> {
    let prompt = format!("tokens={tokens} tps={tps}");
    let complete = match path {
        Path::Bytes(http) => {
            let body = serde_json::json!({
                "model": MODEL, "stream": true,
                "messages": [{ "role": "user", "content": prompt }],
            });
            let url = format!("{base_url}/chat/completions");
            let sent = http.post(url).json(&body).send().await.map_err(|e| e.to_string())?;
            let mut bytes = sent.bytes_stream();
            let mut last = None;
            while let Some(more) = bytes.next().await {
                last = Some(more.map_err(|e| e.to_string())?);
            }
            last.is_some_and(|bytes| bytes.ends_with(b"[DONE]\n\n"))
        }
        Path::Provider(provider) => {
            let messages = vec![Message::text(Role::User, prompt)];
            let prompt = Prompt { messages, parameters: Parameters::default() };
            let attempt = Attempt::fresh(prompt);
            let mut deltas = provider.start(attempt).await.map_err(|e| e.to_string())?;
            let mut texts = 0;
            while let Some(delta) = deltas.next().await {
                texts += u64::from(matches!(delta.map_err(|e| e.to_string())?, Delta::Text(_)));
            }
            texts == tokens
        }
    };
    complete.then_some(()).ok_or("a stream was not complete".into())
}
