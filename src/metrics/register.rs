//! The names and words under which what is counted is shown.
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::{Label, Labels, Metrics};

impl Metrics {
    pub(super) fn register_generations(&mut self) {
        let r = &mut self.registry;
        r.register(
            "generations_started",
            "Generations started or taken over here",
            self.started.clone(),
        );
        r.register(
            "requests_cut",
            "Answers to requests whose reader was cut or left before the end",
            self.readers_cut.clone(),
        );
        r.register(
            "requests_attached",
            "Repeated requests that took an earlier answer over",
            self.attached.clone(),
        );
        r.register("generations_ended", "Generations ended here, by status", self.ended.clone());
        r.register(
            "generations_running",
            "Generations that run or wait here",
            self.running.clone(),
        );
        r.register(
            "time_to_first_token_seconds",
            "From a generation's acceptance to its first content event",
            self.first_token.clone(),
        );
        r.register(
            "token_gap_seconds",
            "Between two content events of a generation",
            self.token_gap.clone(),
        );
        r.register(
            "upstream_errors",
            "Attempts that were lost, by the error's code",
            self.upstream_errors.clone(),
        );
        r.register("takeovers", "Generations taken over or taken up again", self.takeovers.clone());
    }

    pub(super) fn register_readers(&mut self) {
        let r = &mut self.registry;
        r.register("streams", "Open streams, by transport and dialect", self.streams.clone());
        r.register("sockets", "Open WebSocket connections", self.sockets.clone());
        let delivered: Family<Label, Counter> = Family::default();
        self.delivered_sse = delivered.get_or_create_owned(&[("transport", "sse")]);
        self.delivered_websocket = delivered.get_or_create_owned(&[("transport", "websocket")]);
        r.register("events_delivered", "Events handed to readers, by transport", delivered);
        r.register(
            "delivery_lag_seconds",
            "From an event's commit until it is handed to a live reader's socket",
            self.lag.clone(),
        );
        r.register(
            "snapshots_served",
            "Snapshots in place of events, by reason",
            self.snapshots.clone(),
        );
        r.register(
            "slow_readers_cut",
            "Readers that took nothing for too long",
            self.slow_cut.clone(),
        );
    }

    pub(super) fn register_log(&mut self) {
        let r = &mut self.registry;
        r.register("events_appended", "Events that became durable", self.appended.clone());
        r.register(
            "commit_seconds",
            "A group commit, from its statement to its answer",
            self.commit.clone(),
        );
        r.register("commit_events", "Events of one group commit", self.batch.clone());
        r.register(
            "writers_fenced",
            "Writers stopped because another owner writes",
            self.fenced.clone(),
        );
        r.register(
            "log_outages",
            "Calls to the log that nobody answered",
            self.log_outages.clone(),
        );
        r.register(
            "fold_failures",
            "Rounds in which the journal could not be folded",
            self.fold_failures.clone(),
        );
        r.register(
            "log_doubled_seqs",
            "Reads and folds that found two events under one seq",
            self.doubled.clone(),
        );
        r.register(
            "unreadable_rows",
            "Times that a stored row could not be read",
            self.unreadable.clone(),
        );
        r.register(
            "listener_rebuilds",
            "Times that the listener of hints was made anew",
            self.listener_rebuilds.clone(),
        );
    }

    pub(super) fn register_database(&mut self) {
        let r = &mut self.registry;
        r.register(
            "pool_connections",
            "Connections to Postgres, by pool and state",
            self.pool.clone(),
        );
        r.register(
            "connections_refused",
            "Connections that Postgres had no place for",
            self.refused.clone(),
        );
        r.register(
            "commits_unacknowledged_seconds",
            "For how long the oldest commit has waited for a standby",
            self.unacknowledged.clone(),
        );
        r.register(
            "oldest_transaction_seconds",
            "For how long the transaction is open that keeps most from being cleaned up",
            self.oldest_transaction.clone(),
        );
        r.register(
            "log_bytes",
            "Bytes of all event tables with their indexes",
            self.log_bytes.clone(),
        );
        r.register(
            "unsorted_bytes",
            "Bytes of events that have no table for their day, with their indexes",
            self.unsorted_bytes.clone(),
        );
        let build: Family<Labels, Gauge> = Family::default();
        build
            .get_or_create(&[
                ("version", env!("CARGO_PKG_VERSION")),
                ("commit", env!("BUILD_COMMIT")),
            ])
            .set(1);
        r.register("build_info", "Always 1; the labels say what runs", build);
    }
}
