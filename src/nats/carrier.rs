//! The connection: subscribes, sends, and finds out whether what is sent arrives.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Event, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::seal::{Opened, TAG};
use super::{CARRIED, Carrier};
use crate::ports::{Received, Signal, To, envelope};

/// A message that is not taken within this time is lost, as hints may be.
const ANSWER: Duration = Duration::from_secs(1);
/// Between two tries to begin.
const PAUSE: Duration = Duration::from_secs(2);
/// Turns that other tasks get before a message is made: what they hand in travels in it.
const TURNS: usize = 2;
/// The largest message, whatever the server allows.
const MESSAGE: usize = 256 * 1024;

impl Carrier {
    /// Receives and sends until it is closed.
    pub(super) async fn carry(self: Arc<Self>) {
        let connecting = self.closing.run_until_cancelled(self.connect());
        let Some(client) = connecting.await else { return };
        let receiving = self.closing.run_until_cancelled(self.receive(&client));
        let (_, ()) = tokio::join!(receiving, self.deliver(&client));
        // The waiting hints go out, then the connection ends.
        if *self.connected.borrow() {
            let _ = timeout(ANSWER, client.flush()).await;
        }
        let _ = timeout(ANSWER, client.drain()).await;
    }

    /// A client, which connects by itself, now and whenever it has to.
    async fn connect(self: &Arc<Self>) -> Client {
        loop {
            let carrier = Arc::downgrade(self);
            let note = move |event| {
                let carrier = carrier.upgrade();
                async move {
                    if let Some(carrier) = carrier {
                        carrier.note(&event);
                    }
                }
            };
            let options = self.options.connection(self.pace.beat);
            let connected = match options {
                Ok(options) => options.event_callback(note).connect(&self.servers[..]).await,
                Err(error) => {
                    tracing::error!(%error, "no hints between instances");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            match connected {
                Ok(client) => return client,
                Err(error) => tracing::error!(%error, "no hints between instances"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Takes the client's word on its connection.
    fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.connected.send_replace(true);
            }
            Event::Disconnected | Event::Closed => {
                self.connected.send_replace(false);
                self.lost("the connection to NATS ended");
            }
            Event::SlowConsumer(_) => {
                let _ = self.heard.send(Received::Gap);
            }
            Event::ServerError(error) => tracing::warn!(%error, "NATS says"),
            Event::ClientError(error) => tracing::debug!(%error, "NATS client"),
            Event::LameDuckMode | Event::Draining => {}
        }
    }

    fn lost(&self, why: &str) {
        // Once an outage; the end of the process is none.
        if self.works.swap(false, Ordering::Relaxed) && !self.closing.is_cancelled() {
            tracing::warn!(why, "hints between instances are lost: the log is polled");
        }
    }

    async fn receive(&self, client: &Client) {
        let (all, own) = (self.subject(To::All), self.subject(To::One(self.me)));
        let subscribed = (client.subscribe(all).await, client.subscribe(own).await);
        let (Ok(mut all), Ok(mut own)) = subscribed else {
            // Subjects are checked at the start, and the client is not closed.
            return tracing::error!("NATS takes no subscription: no hints between instances");
        };
        let mut connected = self.connected.subscribe();
        let mut beats = interval(self.pace.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut awaiting = false;
        loop {
            let message = tokio::select! {
                message = all.next() => message,
                message = own.next() => message,
                changed = connected.changed() => {
                    if changed.is_ok() && *connected.borrow_and_update() {
                        awaiting = self.beat(client).await;
                        beats.reset();
                    }
                    continue;
                }
                _ = beats.tick() => {
                    // An event of the client may have been lost.
                    let up = client.connection_state() == State::Connected;
                    self.connected.send_if_modified(|now| std::mem::replace(now, up) != up);
                    if awaiting {
                        self.lost("a message to ourselves did not come back");
                    }
                    awaiting = self.beat(client).await;
                    continue;
                }
            };
            let Some(message) = message else { return };
            if self.hear(&message) {
                awaiting = false;
            }
        }
    }

    /// Takes a message. True if it is our own, come back.
    fn hear(&self, message: &Message) -> bool {
        let (payload, genuine) = match self.seal.open(&message.subject, &message.payload) {
            Opened::Genuine(payload) => (payload, true),
            Opened::Forged(payload) => (payload, false),
        };
        let Some((from, signals)) = envelope::unpack(payload) else { return false };
        if !genuine {
            self.suspect(&signals);
            return false;
        }
        if from == self.me {
            if !self.works.swap(true, Ordering::Relaxed) {
                let _ = self.heard.send(Received::Gap);
            }
            return true;
        }
        for signal in signals {
            let _ = self.heard.send(Received::Signal(signal));
        }
        false
    }

    /// A forged message can do no more than have the log read.
    fn suspect(&self, signals: &[Signal]) {
        if !self.forged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a message on NATS is not from an instance on this database: its entries are not \
                 shown; the log is read instead"
            );
        }
        for signal in signals.iter().filter(|signal| matches!(signal, Signal::Grown { .. })) {
            let _ = self.heard.send(Received::Signal(signal.without_entries()));
        }
    }

    /// A message to ourselves; whether it went off.
    async fn beat(&self, client: &Client) -> bool {
        if !*self.connected.borrow() {
            return false;
        }
        self.room.store(CARRIED.min(most(client) / 2), Ordering::Relaxed);
        let beat = envelope::pack(self.me, &[], most(client)).concat();
        self.publish(client, To::One(self.me), &beat).await
    }

    /// Sends what is handed in, at once: a reader elsewhere waits for it.
    async fn deliver(&self, client: &Client) {
        let mut connected = self.connected.subscribe();
        let first = async {
            let _ = connected.wait_for(|connected| *connected).await;
        };
        tokio::select! {
            () = first => {}
            // A command that says one thing and ends: its word is worth a moment.
            () = async { self.closing.cancelled().await; sleep(ANSWER / 2).await } => return,
        }
        loop {
            tokio::select! {
                () = self.outbox.more() => {}
                () = self.closing.cancelled() => {}
            }
            // One commit wakes a task for each generation: they hand in what they have meanwhile.
            for _ in 0..TURNS {
                yield_now().await;
            }
            let closing = self.closing.is_cancelled();
            self.send_all(client).await;
            if closing {
                return;
            }
        }
    }

    /// Sends what waits, or drops it where there is nobody to send it to: late hints are worth
    /// little.
    async fn send_all(&self, client: &Client) {
        let waiting = self.outbox.take();
        if !*self.connected.borrow() {
            return;
        }
        for (to, signals) in waiting {
            for payload in envelope::pack(self.me, &signals, most(client)) {
                if !self.publish(client, to, &payload).await {
                    return;
                }
            }
        }
    }

    async fn publish(&self, client: &Client, to: To, payload: &str) -> bool {
        let subject = self.subject(to);
        let message = Bytes::from(self.seal.seal(&subject, payload));
        match timeout(ANSWER, client.publish(subject, message)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "hints were not sent");
                false
            }
            Err(_) => {
                tracing::debug!("hints were not sent: NATS takes none");
                false
            }
        }
    }
}

/// The longest payload.
fn most(client: &Client) -> usize {
    client.max_payload().min(MESSAGE).saturating_sub(TAG)
}
