//! A wait for what sends no signal: the state of another process, of a table, or of a counter.
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::client::PATIENCE;

/// Between two looks: seldom enough to leave the cores to the program that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `holds`; a test fails by the words of `what` if that takes too long.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let seen = async {
        while !holds().await {
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}
