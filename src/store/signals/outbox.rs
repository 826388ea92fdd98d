//! Hints on their way out: handed in without waiting, sent together.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{Shared, envelope};
use crate::domain::id::InstanceId;
use crate::ports::{Signal, To};

/// Hints that wait; more are dropped, as hints may be: only a database that is away makes so many.
const WAITING: usize = 16_384;
/// A send that takes longer goes nowhere.
const ANSWER: Duration = Duration::from_secs(3);
/// Between two tries to reach the database.
const PAUSE: Duration = Duration::from_millis(250);

/// The hints that wait to be sent.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Each with the number of its last coming, which is its order.
    signals: HashMap<(To, Signal), u64>,
    count: u64,
}

impl Outbox {
    pub(super) fn put(&self, to: To, signal: Signal) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (to, signal);
        if waiting.signals.len() >= WAITING && !waiting.signals.contains_key(&key) {
            return;
        }
        waiting.count += 1;
        let order = waiting.count;
        waiting.signals.insert(key, order);
        drop(waiting);
        self.more.notify_one();
    }

    /// Everything that waits: channels and payloads.
    fn take(&self, from: InstanceId, space: &str) -> (Vec<String>, Vec<String>) {
        let signals = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut waiting.signals)
        };
        let mut signals: Vec<((To, Signal), u64)> = signals.into_iter().collect();
        signals.sort_unstable_by_key(|(_, order)| *order);
        let mut by_target: HashMap<To, Vec<Signal>> = HashMap::new();
        for ((to, signal), _) in signals {
            by_target.entry(to).or_default().push(signal);
        }
        let mut channels = Vec::new();
        let mut payloads = Vec::new();
        for (to, signals) in by_target {
            for payload in envelope::pack(from, &signals) {
                channels.push(envelope::channel(space, to));
                payloads.push(payload);
            }
        }
        (channels, payloads)
    }
}

/// Sends what is handed in, the first at once, then at the pace.
pub(super) async fn deliver(shared: &Shared) {
    let mut connection = None;
    loop {
        tokio::select! {
            () = shared.outbox.more.notified() => {}
            () = shared.closing.cancelled() => {}
        }
        let closing = shared.closing.is_cancelled();
        let (channels, payloads) = shared.outbox.take(shared.me, shared.supply.space());
        if !payloads.is_empty() {
            flush(shared, &mut connection, &channels, &payloads).await;
        }
        if closing {
            return;
        }
        shared.closing.run_until_cancelled(sleep(shared.pace.flush)).await;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::GenerationId;

    #[test]
    fn of_equal_hints_the_later_stays_and_the_order_with_it() {
        let (outbox, me) = (Outbox::default(), InstanceId::random());
        let of = |generation| Signal::Cancel { generation };
        let (one, two) = (GenerationId::random(), GenerationId::random());
        for id in [one, two, one] {
            outbox.put(To::All, of(id));
        }
        outbox.put(To::One(me), of(one));
        let (channels, payloads) = outbox.take(me, "");
        assert_eq!((channels.len(), payloads.len()), (2, 2));
        let all = channels.iter().position(|c| c == "lastword").unwrap();
        let (_, signals) = envelope::unpack(&payloads[all]).unwrap();
        assert_eq!(signals, [of(two), of(one)]);
        assert!(outbox.take(me, "").0.is_empty());
    }

    #[test]
    fn the_box_is_bounded() {
        let outbox = Outbox::default();
        for _ in 0..WAITING + 10 {
            outbox.put(To::All, Signal::Cancel { generation: GenerationId::random() });
        }
        assert_eq!(outbox.waiting.lock().unwrap().signals.len(), WAITING);
    }
}
