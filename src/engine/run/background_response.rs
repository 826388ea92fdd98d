//! An answer that its upstream keeps and goes on making by itself. The log knows its name before
//! any of its text. After a loss it is read on, and it is ended when nobody wants it any more.
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::generate::Generation;
use super::meter::Meter;
use super::stop_conditions::Stop;
use crate::domain::generation::BackgroundResponse;
use crate::domain::transcript::Transcript;
use crate::engine::models::Model;
use crate::ports::{Continuation, Delta, Deltas, ProviderError, Resume, RowChange};
use crate::tasks::Tasks;

/// How long a cancel may wait for the name of what it ends: an upstream gives it at once or never.
const LEARN: Duration = Duration::from_secs(5);

/// The log could not be written for too long.
pub(super) struct Unwritten;

/// The state of the upstream's answer, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct BackgroundState {
    kept: Option<BackgroundResponse>,
    /// Whether the row says otherwise.
    news: bool,
}

impl BackgroundState {
    /// As the row has it.
    pub(in crate::engine) fn stored(kept: Option<BackgroundResponse>) -> Self {
        Self { kept, news: false }
    }

    /// Whether the row is to be changed.
    pub(super) fn is_news(&self) -> bool {
        self.news
    }

    /// The upstream has come to its end: there is nothing to be ended there.
    pub(in crate::engine) fn ended(&mut self) {
        self.kept = None;
    }

    fn set(&mut self, kept: Option<BackgroundResponse>) {
        self.news |= self.kept != kept;
        self.kept = kept;
    }
}

/// Whether `model` can be asked for the rest of `kept`.
pub(in crate::engine) fn is_resumable(kept: Option<&BackgroundResponse>, model: &Model) -> bool {
    kept.is_some_and(|kept| kept.model == model.name)
        && model.provider.continuation() == Continuation::ProviderResume
}

/// Has the upstream of `model` end `kept`, while work goes on here.
pub(in crate::engine) fn abandon(tasks: &Tasks, model: &Model, kept: BackgroundResponse) {
    let provider = Arc::clone(&model.provider);
    tasks.spawn(async move { provider.abandon(&kept.answer).await });
}

impl Generation {
    /// The upstream keeps the answer under this name, or not at all.
    pub(in crate::engine) fn keep(&mut self, answer: Option<String>) {
        let model = self.model.name.clone();
        let attempt = self.transcript.attempts;
        match (&self.background.kept, answer) {
            // Said again, as it was gone on with.
            (Some(known), Some(answer)) if known.answer == answer && known.model == model => {}
            (_, answer) => {
                self.background.set(answer.map(|answer| BackgroundResponse {
                    model,
                    answer,
                    attempt,
                }));
            }
        }
    }

    /// Names the answer before it is requested, where its upstream lets us. Once the name is
    /// durable, every later owner can hear the answer, or end it.
    pub(super) async fn name_answer(&mut self) -> Result<Option<String>, Unwritten> {
        let begun = !self.transcript.answer.is_empty();
        if begun || self.resume().is_some() {
            return Ok(None);
        }
        let Some(name) = self.model.provider.new_name() else { return Ok(None) };
        self.keep(Some(name.clone()));
        let limit = self.engine.inner.limits.write_outage;
        if !self.push(Vec::new()).await || timeout(limit, self.writer.flush()).await.is_err() {
            return Err(Unwritten);
        }
        Ok(Some(name))
    }

    /// Where the upstream said no to the request, it keeps nothing.
    pub(super) fn note_unnamed(&mut self, named: bool, error: &ProviderError) {
        if named && error.upstream.is_some() {
            self.keep(None);
        }
    }

    /// The request that resumes the answer, if its upstream keeps it.
    pub(in crate::engine) fn resume(&self) -> Option<Resume> {
        let kept = self.background.kept.as_ref().filter(|k| is_resumable(Some(k), &self.model))?;
        Some(Resume { kept: kept.answer.clone(), heard: self.transcript.answer.clone() })
    }

    /// Tokens of the prompt and of attempts before this one. An upstream reports the usage of a
    /// resumed answer as a whole.
    pub(in crate::engine) fn meter(&self) -> Meter {
        let input = self.request.prompt.estimated_tokens();
        let Transcript { answer, attempts, .. } = &self.transcript;
        match &self.background.kept {
            Some(kept) => Meter::resumed(input, answer, kept.attempt.saturating_sub(1)),
            None => Meter::new(input, answer, attempts.saturating_sub(1))
                .without(self.request.given_tokens()),
        }
    }

    /// A stop that comes before the upstream has named the answer that it keeps waits for the
    /// name: without it nobody could end that answer.
    pub(in crate::engine) async fn learn(
        &mut self,
        why: Stop,
        begun: impl Future<Output = Result<Deltas, ProviderError>>,
    ) {
        let keeps = self.model.provider.continuation() == Continuation::ProviderResume;
        // The next attempt begins anew: an answer without a name is lost.
        if !keeps || self.background.kept.is_some() || why == Stop::LetGo {
            return;
        }
        let name = timeout(LEARN, async {
            let mut deltas = begun.await.ok()?;
            while let Some(Ok(delta)) = deltas.next().await {
                if let Delta::Background(name) = delta {
                    return Some(name);
                }
            }
            None
        });
        if let Ok(Some(name)) = name.await {
            self.keep(Some(name));
        }
    }

    /// A generation that waited in the queue is shown as running from its first event on.
    pub(in crate::engine) fn row_change(&mut self) -> RowChange {
        let queued = std::mem::take(&mut self.queued);
        if std::mem::take(&mut self.background.news) {
            RowChange::Background(self.background.kept.clone())
        } else if queued {
            RowChange::Started
        } else {
            RowChange::None
        }
    }

    /// Has the upstream end the answer, and waits for that.
    pub(in crate::engine) async fn abandon(&mut self) {
        if let Some(kept) = self.background.kept.take() {
            self.model.provider.abandon(&kept.answer).await;
        }
    }

    /// Has the upstream end the answer while another is begun; the row forgets it with the event
    /// that says so.
    pub(super) fn abandon_beside(&mut self) {
        if let Some(kept) = self.background.kept.clone() {
            self.background.set(None);
            abandon(&self.engine.inner.tasks, &self.model, kept);
        }
    }
}
