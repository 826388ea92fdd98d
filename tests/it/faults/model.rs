//! The task of a generation dies in its process, which lives on.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};
use lastword::domain::event::FinishReason;
use lastword::engine::{Model, Models, OnLoss};
use lastword::ports::{Attempt, Continuation, Delta, Deltas, Provider, ProviderError};

use tokio::sync::Notify;

use crate::client::{assert_whole, text};
use crate::harness::TestApp;

/// Panics in the middle of its first answer, when the test says so.
#[derive(Default)]
struct Fragile {
    asked: AtomicUsize,
    now: Arc<Notify>,
}

#[async_trait]
impl Provider for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    fn continuation(&self) -> Continuation {
        Continuation::Prefix
    }

    async fn start(&self, attempt: Attempt) -> Result<Deltas, ProviderError> {
        let said = |text: &str| Ok(Delta::Text(text.into()));
        if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            let now = self.now.clone();
            let breaks = stream::once(async move {
                now.notified().await;
                panic!("a fault of this model")
            });
            return Ok(stream::iter([said("Hel")]).chain(breaks).boxed());
        }
        assert_eq!(attempt.so_far, "Hel");
        let end = Ok(Delta::Finish { reason: FinishReason::Stop, raw: None });
        Ok(stream::iter([said("lo"), end]).boxed())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_whose_task_panics_is_taken_up_again() {
    let app = TestApp::start().await;
    let fragile = Fragile::default();
    let now = fragile.now.clone();
    let model = Model {
        name: "fragile".into(),
        provider: Arc::new(fragile),
        on_loss: OnLoss::Continue,
        max_attempts: 3,
        fallback: None,
        context_tokens: None,
        recovery: lastword::engine::Recovery::default(),
        pictures: None,
        disconnect: lastword::engine::DisconnectPolicy::default(),
    };
    app.engine.set_models(Models::new(vec![model], "fragile".into()));
    let id = app.client.start_prompt("go").await;
    let mut reader = app.client.events(&id, 0).await;
    let mut seen = reader.take(2).await;
    now.notify_one();
    seen.extend(reader.rest().await);
    assert_whole(&seen);
    let names: Vec<&str> = seen.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["started", "delta", "resumed", "delta", "done"]);
    assert_eq!(text(&seen), "Hello");
    assert_eq!(app.client.view(&id).await["status"], "completed");
    app.stop().await;
}
