//! As a gateway, against Portkey and `LiteLLM`: all in front of the scripted upstream, all spoken
//! to in OpenAI's chat.
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::process::{Process, Scratch, free_address};
use super::{installed, npm_version, script};
use crate::Failure;
use crate::args::Args;
use crate::figure::{Figure, median};
use crate::http::{self, request_with};
use crate::load::{Load, Work, read_all};
use crate::pairs::{Pairs, Round};
use crate::server::Server;
use crate::ttft::first_token;
use crate::upstream::{MODEL, Upstream};

/// Streams that `LiteLLM` still keeps up with (reference: at 40 it is seconds late).
const FEW: u64 = 10;
/// First tokens that are waited for, of each gateway in turn.
const FIRSTS: usize = 60;
/// Of these, not counted.
const WARM_UP: usize = 10;
/// `LiteLLM` takes 8 s on a machine that does nothing else.
const READY: Duration = Duration::from_secs(90);

/// One gateway, ours or another's.
struct Gateway {
    name: String,
    address: SocketAddr,
    pids: Vec<u32>,
    model: String,
    /// Further fields of a request's head.
    fields: String,
    /// Streams at a time.
    streams: u64,
}

impl Gateway {
    fn request(&self, tokens: u64, tps: u64, ttft_ms: u64) -> Vec<u8> {
        let prompt = format!("say tokens={tokens} tps={tps} ttft_ms={ttft_ms}");
        let messages = json!([{ "role": "user", "content": prompt }]);
        let body = json!({ "model": self.model, "messages": messages, "stream": true });
        let head = ("POST", "/v1/chat/completions");
        request_with(head, "text/event-stream", &self.fields, &body.to_string())
    }

    async fn load(&self, args: &Args, streams: u64) -> Load {
        let (tokens, tps) = (args.tokens(), args.tps);
        let ask = |i: u64| self.request(tokens, tps, i * 7 % (1000 / tps).max(1));
        read_all(Work {
            address: self.address,
            pids: self.pids.clone(),
            requests: (0..streams).map(ask).collect(),
            seconds: args.seconds,
            enough: None,
        })
        .await
    }
}

/// Measures the added time to first token, then CPU per token at `args.generations` streams.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    let upstream = Upstream::start()?;
    let scratch = Scratch::new(&args.dir, "gateways")?;
    let server = Server::start(args, Some(upstream.address)).await?;
    let model = http::model(server.address, MODEL).await?.unwrap_or(MODEL.into());
    let (address, pids) = (server.address, vec![server.pid()]);
    let streams = args.generations;
    let name = "ours".to_owned();
    let ours = Gateway { name, address, pids, model, fields: String::new(), streams };
    let mut figures = Vec::new();
    let (mut others, mut processes) = (Vec::new(), Vec::new());
    let started = [
        ("Portkey", portkey(&scratch, upstream.address, streams).await),
        ("LiteLLM", litellm(&scratch, upstream.address).await),
    ];
    for (name, started) in started {
        match started {
            Ok((gateway, process)) => {
                others.push(gateway);
                processes.push(process);
            }
            Err(why) => figures.push(Figure::missing(format!("gateway: {name}"), why)),
        }
    }
    let measured = measure(args, &upstream, &ours, &others).await;
    server.stop(measured.is_err()).await;
    figures.extend(measured?);
    Ok(figures)
}

async fn measure(
    args: &Args,
    upstream: &Upstream,
    ours: &Gateway,
    others: &[Gateway],
) -> Result<Vec<Figure>, Failure> {
    let mut figures = added(upstream, ours, others).await?;
    for peer in others {
        let load = format!("gateway {} x {}/s", peer.streams, args.tps);
        let mut pairs = Pairs { load, peer: peer.name.clone(), rounds: Vec::new() };
        for _ in 0..args.rounds {
            let a = ours.load(args, peer.streams).await;
            let b = peer.load(args, peer.streams).await;
            pairs.push(Round::of(&a, args.tokens()), Round::of(&b, args.tokens()));
        }
        figures.extend(pairs.figures(Some(1.0)));
    }
    Ok(figures)
}

/// The time that each adds to the time to first token: all are asked in turn.
async fn added(
    upstream: &Upstream,
    ours: &Gateway,
    others: &[Gateway],
) -> Result<Vec<Figure>, Failure> {
    let direct = Gateway {
        name: "direct".into(),
        address: upstream.address,
        pids: Vec::new(),
        model: MODEL.into(),
        fields: String::new(),
        streams: 1,
    };
    let all: Vec<&Gateway> = [&direct, ours].into_iter().chain(others).collect();
    let mut times = vec![Vec::new(); all.len()];
    for round in 0..FIRSTS {
        for (gateway, times) in all.iter().zip(&mut times) {
            let first = first_token(gateway.address, &gateway.request(1, 1000, 0)).await;
            let first = first.map_err(|e| format!("{}: {e}", gateway.name))?;
            if round >= WARM_UP {
                times.push(first as f64 / 1e3);
            }
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let of = |(gateway, median): (&&Gateway, &f64)| {
        let name = format!("gateway: added time to first token, {}", gateway.name);
        Figure::new(name, median - medians[0], "ms")
    };
    let mut figures: Vec<Figure> = all.iter().zip(&medians).skip(1).map(of).collect();
    if let Some(ours) = figures.first_mut() {
        *ours = ours.clone().at_most(1.0);
    }
    Ok(figures)
}

async fn portkey(
    scratch: &Scratch,
    upstream: SocketAddr,
    streams: u64,
) -> Result<(Gateway, Process), Failure> {
    let package = "@portkey-ai/gateway";
    let name = format!("Portkey {}", npm_version(package)?);
    let address = free_address()?;
    let mut command = Command::new("node");
    command.arg("--import").arg(script("portkey-patch.mjs"));
    command.arg(installed().join("node_modules").join(package).join("build/start-server.js"));
    command.args(["--headless", &format!("--port={}", address.port())]);
    let mut process = Process::start("portkey", &mut command, &scratch.0)?;
    process.listening(address, READY).await?;
    let fields = format!(
        "Authorization: Bearer x\r\nx-portkey-provider: openai\r\nx-portkey-custom-host: http://{upstream}/v1\r\n"
    );
    let pids = vec![process.pid()];
    Ok((Gateway { name, address, pids, model: MODEL.into(), fields, streams }, process))
}

async fn litellm(scratch: &Scratch, upstream: SocketAddr) -> Result<(Gateway, Process), Failure> {
    let program = installed().join("python/bin/litellm");
    if !program.exists() {
        return Err("litellm[proxy] is not installed: scripts/peers does it".into());
    }
    let address = free_address()?;
    let model = json!({
        "model_name": MODEL,
        "litellm_params": {
            "model": format!("openai/{MODEL}"), "api_base": format!("http://{upstream}/v1"), "api_key": "x",
        },
    });
    // JSON is YAML.
    let config = scratch.0.join("litellm.yaml");
    let text = json!({ "model_list": [model] }).to_string();
    fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&config).args(["--host", "127.0.0.1", "--telemetry", "False"]);
    command.args(["--port", &address.port().to_string(), "--num_workers", "1"]);
    command.env("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true");
    // Otherwise it loads a list of prices from the network.
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env_remove("DATABASE_URL");
    let mut process = Process::start("litellm", &mut command, &scratch.0)?;
    process.listening(address, READY).await?;
    let name = format!("LiteLLM {}", litellm_version());
    let pids = vec![process.pid()];
    Ok((
        Gateway {
            name,
            address,
            pids,
            model: MODEL.into(),
            fields: "Authorization: Bearer x\r\n".into(),
            streams: FEW,
        },
        process,
    ))
}

/// As `scripts/peers` pins it.
fn litellm_version() -> &'static str {
    let pinned = include_str!("../../peers/requirements.txt");
    pinned.lines().find_map(|l| l.strip_prefix("litellm==")).unwrap_or_default()
}
