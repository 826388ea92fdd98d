//! Fan-out: few generations, many readers of each, against nginx with nchan, which keeps nothing.
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::process::{Process, Scratch, free_address};
use super::publish::Publish;
use crate::Failure;
use crate::args::Args;
use crate::figure::Figure;
use crate::http::request;
use crate::load::{Load, Work, read_all};
use crate::ours::{Watched, watched};
use crate::pairs::{Pairs, Round};
use crate::server::Server;

/// Until all readers of a round are there.
const LEAD: Duration = Duration::from_millis(1500);
const READY: Duration = Duration::from_secs(10);

/// Measures `args.generations` generations with `args.readers` readers each.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    let load = format!("fan-out {} x {} x {}/s", args.generations, args.readers, args.tps);
    let scratch = Scratch::new(&args.dir, "nchan")?;
    let (mut nginx, address) = match start(&scratch.0) {
        Ok(started) => started,
        Err(why) => return Ok(vec![Figure::missing(format!("{load}: nchan"), why)]),
    };
    nginx.listening(address, READY).await?;
    let server = Server::start(args, None).await?;
    let peer = format!("nchan {}", version());
    let mut pairs = Pairs { load, peer, rounds: Vec::new() };
    for round in 0..args.rounds {
        let work = Watched { generations: args.generations, readers: args.readers, lead: LEAD };
        let ours = watched(args, &server, work).await?;
        let theirs = one(args, address, nginx.pid(), round).await?;
        pairs.push(Round::of(&ours, args.tokens()), Round::of(&theirs, args.tokens()));
    }
    server.stop(false).await;
    Ok(pairs.figures(Some(0.8)))
}

async fn one(
    args: &Args,
    address: std::net::SocketAddr,
    pid: u32,
    round: u64,
) -> Result<Load, Failure> {
    let channels = 0..args.generations;
    let publish = Publish {
        address,
        paths: channels.clone().map(|i| format!("/pub?id={round}-{i}")).collect(),
        fields: "X-EventSource-Event: delta\r\nContent-Type: application/json\r\n",
        tokens: args.tokens(),
        tps: args.tps,
        lead: LEAD,
    };
    let reading = |i| request("GET", &format!("/sub?id={round}-{i}"), "text/event-stream", "");
    let requests = channels.flat_map(|i| (0..args.readers).map(move |_| reading(i))).collect();
    let publishing = publish.start()?;
    let (pids, seconds) = (vec![pid], args.seconds);
    let work = Work { address, pids, requests, seconds, enough: Some(args.tokens()) };
    let load = read_all(work).await;
    publishing.join().map_err(|_| "the publisher failed".to_owned())??;
    Ok(load)
}

fn start(dir: &Path) -> Result<(Process, std::net::SocketAddr), Failure> {
    let places = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"];
    let mut modules = places.iter().map(|d| format!("{d}/ngx_nchan_module.so"));
    let module = modules.find(|m| Path::new(m).exists());
    let module = module.ok_or("nchan is not installed: scripts/peers does it")?;
    let address = free_address()?;
    let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
    let dir = dir.display();
    let config = format!(
        "load_module {module};\n{user}\ndaemon off;\nworker_processes 1;\npid {dir}/nginx.pid;\n\
         error_log {dir}/error.log warn;\nworker_rlimit_nofile 19000;\nevents {{ worker_connections 19000; }}\n\
         http {{\n access_log off;\n tcp_nodelay on;\n keepalive_requests 1000000000;\n\
         client_body_temp_path {dir}/body;\n proxy_temp_path {dir}/proxy;\n fastcgi_temp_path {dir}/fastcgi;\n\
         uwsgi_temp_path {dir}/uwsgi;\n scgi_temp_path {dir}/scgi;\n server {{\n listen {address};\n\
         location = /pub {{ nchan_publisher; nchan_channel_id $arg_id; }}\n\
         location = /sub {{ nchan_subscriber eventsource; nchan_channel_id $arg_id; }}\n }}\n}}\n"
    );
    let file = format!("{dir}/nginx.conf");
    fs::write(&file, config).map_err(|e| format!("{file}: {e}"))?;
    let mut command = Command::new("nginx");
    // Debian has it where only root looks.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin")).args([
        "-c",
        &file,
        "-e",
        &format!("{dir}/error.log"),
    ]);
    Ok((Process::start("nginx", &mut command, Path::new(&dir.to_string()))?, address))
}

/// As the package manager knows it.
fn version() -> String {
    let query = ["-W", "-f", "${Version}", "libnginx-mod-nchan"];
    let said = Command::new("dpkg-query").args(query).output();
    let said = said.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let version = said.split(['+', '-']).next().unwrap_or_default();
    version.rsplit(':').next().unwrap_or_default().to_owned()
}
