//! The clients: each starts generations one after the other. It reads them with several readers
//! that are cut and come back, cancels some, and lets the checker judge all records.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::args::Dice;
use crate::client::Client;
use crate::history::History;
use crate::report::Report;
use crate::upstream::Model;
use crate::watch::{Follower, begin, cancel, conclude, demo, reconnects, undisturbed, view};

/// Tokens of the scripted model.
pub(crate) const SCRIPTED: usize = 120;
/// A generation that has not ended by then never does: longer than all faults in a row.
const NEVER: Duration = Duration::from_secs(180);

/// The plan of one generation.
struct Plan {
    key: String,
    body: Value,
    text: String,
    readers: usize,
    /// After so many events.
    cancel: Option<usize>,
    dice: Dice,
}

impl Plan {
    async fn new(n: u64, seed: u64) -> Self {
        let mut dice = Dice::new(seed, n + 1000);
        let scripted = dice.roll(4) == 0;
        let tokens = 30 + u32::try_from(dice.roll(150)).unwrap_or_default();
        let prompt = demo(tokens, 20 + tokens % 40, usize::try_from(n).unwrap_or_default());
        let (body, text) = if scripted {
            (json!({ "model": "scripted", "prompt": "count" }), Model::text(SCRIPTED))
        } else {
            (json!({ "model": "demo", "prompt": prompt }), undisturbed(&prompt).await)
        };
        let readers = 1 + dice.pick(3);
        let cancel = (dice.roll(8) == 0).then(|| 1 + dice.pick(tokens as usize));
        Self { key: format!("chaos-{seed}-{n}"), body, text, readers, cancel, dice }
    }
}

/// Goes on until `over`; the begun generations are brought to their end.
pub(crate) async fn client(
    any: Client,
    seed: u64,
    numbers: Arc<AtomicU64>,
    report: Arc<Report>,
    over: CancellationToken,
) {
    while !over.is_cancelled() {
        let n = numbers.fetch_add(1, Ordering::Relaxed);
        let mut plan = Plan::new(n, seed).await;
        let begun = Instant::now();
        let mut history = History::default();
        let whole = timeout(NEVER, generation(&any, &mut plan, &mut history)).await;
        if whole.is_err() {
            report.violations(&history, vec![format!("{}: has not ended in {NEVER:?}", plan.key)]);
            continue;
        }
        let violations = history.check();
        report.generation(&history, reconnects(std::slice::from_ref(&history)), begun.elapsed());
        if !violations.is_empty() {
            report.violations(&history, violations);
        }
    }
}

async fn generation(any: &Client, plan: &mut Plan, history: &mut History) {
    let start = begin(any, &plan.key, &plan.body).await;
    history.id.clone_from(&start.id);
    history.text = Some(plan.text.clone());
    history.starts.push(start);
    let id = history.id.clone();
    let mut first = Follower::new(any, &id);
    if let Some(after) = plan.cancel {
        for _ in 0..after {
            first.next().await;
        }
        let (earlier, receipt) = (view(any, &id).await, cancel(any, &id).await);
        history.views.push(earlier);
        history.receipts.push(receipt);
    }
    let others = (1..plan.readers).map(|n| {
        let mut dice = plan.dice.clone();
        for _ in 0..n {
            dice.roll(2);
        }
        restless(Follower::new(any, &id), dice)
    });
    let (first, others) = join(first.finish(), join_all(others)).await;
    history.readers = [vec![first], others].concat();
    // The same start again, by a client that has forgotten that it made it.
    history.starts.push(begin(any, &plan.key, &plan.body).await);
    conclude(any, history).await;
}

/// A reader on a bad line.
async fn restless(mut reader: Follower, mut dice: Dice) -> Vec<crate::history::Connection> {
    loop {
        for _ in 0..1 + dice.roll(60) {
            if reader.next().await.is_none() {
                return reader.connections;
            }
        }
        reader.cut();
    }
}
