//! From exec to the first request that is answered, with a cluster that is there already; and the
//! program's size.
use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::args::Args;
use crate::figure::{Figure, median};
use crate::http::get;
use crate::peers::process::{Process, Scratch, free_address};
use crate::server::quiet;

/// Between two attempts: a start may be shorter than it seems by this time.
const POLL: Duration = Duration::from_millis(1);
/// The first start makes the cluster.
const READY: Duration = Duration::from_secs(60);

/// Measures `args.rounds` starts behind a first one.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    let scratch = Scratch::new(&args.dir, "start")?;
    let first = once(args, &scratch).await?;
    let mut warm = Vec::new();
    for _ in 0..args.rounds {
        warm.push(once(args, &scratch).await?);
    }
    let size = stripped(args, &scratch)? as f64 / 1e6;
    Ok(vec![
        Figure::new("the first start, which makes the database", first, "s").at_most(2.0),
        Figure::new("a later start, to the first answer", median(warm), "s").at_most(0.3),
        Figure::new("the program, stripped", size, "MB").at_most(25.0),
    ])
}

/// Seconds to the first answer.
async fn once(args: &Args, scratch: &Scratch) -> Result<f64, Failure> {
    let address = free_address()?;
    let mut command = Command::new(&args.binary);
    command
        .args(["serve", "--listen", &address.to_string(), "--data-dir"])
        .arg(scratch.0.join("data"));
    quiet(&mut command);
    let begun = Instant::now();
    let _server = Process::start("server", &mut command, &scratch.0)?;
    while !matches!(get(address, "/readyz").await, Ok((200, _))) {
        if begun.elapsed() > READY {
            return Err(format!("the server was not ready after {READY:?}"));
        }
        sleep(POLL).await;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Bytes of the program without the parts that only a debugger reads.
fn stripped(args: &Args, scratch: &Scratch) -> Result<u64, Failure> {
    let into = scratch.0.join("stripped");
    let status = Command::new("strip").arg("-o").arg(&into).arg(&args.binary).status();
    if !status.is_ok_and(|s| s.success()) {
        return Err("strip (of binutils) did not do its work".into());
    }
    std::fs::metadata(&into).map(|m| m.len()).map_err(|e| e.to_string())
}
