//! The time that the gateway adds to the time to first token, on an idle server.
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::http::{Response, request, start};
use crate::sse::{Seen, Window};
use crate::upstream::MODEL;
use crate::{Failure, now_us};

const ROUNDS: usize = 100;
/// Not counted: connections are made, code is paged in.
const WARM_UP: usize = 10;
const PATIENCE: Duration = Duration::from_secs(10);
const PROMPT: &str = "say tokens=1 tps=1000";

/// Medians over the rounds; microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ttft {
    /// Client to upstream.
    pub(crate) direct: u64,
    /// Client to gateway to upstream.
    pub(crate) through: u64,
    /// 99th percentile through the gateway.
    pub(crate) through_p99: u64,
}

/// Asks both in turn, so that a slow moment of the machine hits both.
pub(crate) async fn compare(
    upstream: SocketAddr,
    gateway: SocketAddr,
    model: Option<&str>,
) -> Result<Ttft, Failure> {
    let messages = json!([{ "role": "user", "content": PROMPT }]);
    let body = json!({ "model": MODEL, "messages": messages, "stream": true });
    let direct = request("POST", "/v1/chat/completions", "text/event-stream", &body.to_string());
    let through = start(model, PROMPT);
    let (mut directs, mut throughs) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let a = first_token(upstream, &direct).await?;
        let b = first_token(gateway, &through).await?;
        if round >= WARM_UP {
            directs.push(a);
            throughs.push(b);
        }
    }
    directs.sort_unstable();
    throughs.sort_unstable();
    Ok(Ttft {
        direct: directs[ROUNDS / 2],
        through: throughs[ROUNDS / 2],
        through_p99: throughs[ROUNDS * 99 / 100],
    })
}

/// Microseconds from the request's first byte to the first token's; the connection is there.
pub(crate) async fn first_token(address: SocketAddr, request: &[u8]) -> Result<u64, Failure> {
    let whole = async {
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        let begun = Instant::now();
        let mut response = Response::to(stream, request).await.map_err(|e| e.to_string())?;
        let (mut seen, mut body, mut first) = (Seen::default(), Vec::new(), None);
        while response.read(&mut body).await.map_err(|e| e.to_string())? {
            seen.take(&body, now_us(), Window { from: 0, to: 0 });
            body.clear();
            if seen.tokens > 0 && first.is_none() {
                first = Some(begun.elapsed());
            }
        }
        let first = first.ok_or(format!("status {} without a token", response.status))?;
        Ok(u64::try_from(first.as_micros()).unwrap_or(u64::MAX))
    };
    timeout(PATIENCE, whole).await.map_err(|_| "no first token".to_owned())?
}
