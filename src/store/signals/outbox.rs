//! Sends hints by `NOTIFY`, together.
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::{sleep, timeout};

use super::{PAYLOAD, Shared, channel};
use crate::ports::envelope;

/// A send that takes longer goes nowhere.
const ANSWER: Duration = Duration::from_secs(3);
/// Between two tries to reach the database.
const PAUSE: Duration = Duration::from_millis(250);

/// Sends what is handed in, the first at once, then at the pace.
pub(super) async fn deliver(shared: &Shared) {
    let mut connection = None;
    loop {
        tokio::select! {
            () = shared.outbox.more() => {}
            () = shared.closing.cancelled() => {}
        }
        let closing = shared.closing.is_cancelled();
        let (channels, payloads) = take(shared);
        if !payloads.is_empty() {
            flush(shared, &mut connection, &channels, &payloads).await;
        }
        if closing {
            return;
        }
        shared.closing.run_until_cancelled(sleep(shared.pace.flush)).await;
    }
}

/// Everything that waits: channels and payloads.
fn take(shared: &Shared) -> (Vec<String>, Vec<String>) {
    let mut channels = Vec::new();
    let mut payloads = Vec::new();
    for (to, signals) in shared.outbox.take() {
        for payload in envelope::pack(shared.me, &signals, PAYLOAD) {
            channels.push(channel(shared.supply.space(), to));
            payloads.push(payload);
        }
    }
    (channels, payloads)
}

/// Twice, because a connection that was fine may have died unseen; a doubled hint does no harm.
/// After that they are lost, as hints may be: late ones are worth little.
async fn flush(
    shared: &Shared,
    connection: &mut Option<PgConnection>,
    channels: &[String],
    payloads: &[String],
) {
    for last in [false, true] {
        match timeout(ANSWER, send(shared, connection.take(), channels, payloads)).await {
            Ok(Ok(used)) => {
                *connection = Some(used);
                return;
            }
            Ok(Err(error)) => tracing::debug!(%error, "hints were not sent"),
            Err(_) => tracing::debug!("hints were not sent: no answer"),
        }
        if last {
            shared.closing.run_until_cancelled(sleep(PAUSE)).await;
        }
    }
}

async fn send(
    shared: &Shared,
    connection: Option<PgConnection>,
    channels: &[String],
    payloads: &[String],
) -> Result<PgConnection, sqlx::Error> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => {
            // A hint that a crash of the database loses is a lost hint: no flush is worth waiting
            // for.
            let sessions = shared.supply.sessions().with(&[("synchronous_commit", "off")]);
            shared.supply.open_first(&sessions.named("lastword sender")).await?.connection
        }
    };
    sqlx::query(
        "select pg_notify(channel, payload) from unnest($1::text[], $2::text[]) \
         as n (channel, payload)",
    )
    .bind(channels)
    .bind(payloads)
    .execute(&mut connection)
    .await?;
    Ok(connection)
}
