//! Generations as they stand: rows, lists, and the answer of one that still runs.
use crate::domain::generation::{Generation, View};
use crate::domain::id::{Seq, Tenant};
use crate::domain::transcript::{Answer, Transcript};
use crate::engine::{Engine, EngineError, PAGE};
use crate::ports::{Address, Deleted, Filter, LogError};

/// Extras of an answer that a list shows, bytes: pictures and sounds would make its page larger
/// than memory.
const LISTED_EXTRAS: usize = 256 * 1024;

impl Engine {
    /// A generation's row, with what was asked. The extras of its answer, which may be large, are
    /// in it only where they are no longer in its log.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn generation(&self, at: &Address) -> Result<Generation, EngineError> {
        let generations = &self.inner.log.generations;
        let row = generations.standing(at).await?.ok_or(EngineError::NotFound)?;
        if row.events_retained || row.result.is_none() {
            return Ok(row);
        }
        generations.generation(at).await?.ok_or(EngineError::NotFound)
    }

    /// The newest generation of a chat, by the name that its client gave it.
    ///
    /// # Errors
    /// The log is out of reach or broken.
    pub async fn newest_of(
        &self,
        tenant: &Tenant,
        chat: &str,
    ) -> Result<Option<Generation>, EngineError> {
        Ok(self.inner.log.generations.newest_of(tenant, chat).await?)
    }

    /// A generation as it stands.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn view(&self, at: &Address) -> Result<View, EngineError> {
        let row = self.inner.log.generations.generation(at).await?.ok_or(EngineError::NotFound)?;
        self.view_of(row).await
    }

    async fn view_of(&self, row: Generation) -> Result<View, EngineError> {
        if let Some(outcome) = row.result.clone() {
            return Ok(View::of(row, outcome.answer, outcome.attempts));
        }
        let at = Address { tenant: row.tenant.clone(), id: row.id };
        let transcript = match self.transcript(&at, row.last_seq).await {
            Ok(transcript) => transcript,
            // It is shown as far as it can be: a list must not fail for one of many.
            Err(LogError::Broken(why)) => {
                tracing::warn!(generation = %row.id, %why, "its events cannot be read");
                self.metrics().unreadable.inc();
                let unreadable = Some(why);
                return Ok(View::of(Generation { unreadable, ..row }, Answer::default(), 1));
            }
            Err(LogError::Doubled(doubled)) => {
                let unreadable = Some(LogError::Doubled(doubled).to_string());
                return Ok(View::of(Generation { unreadable, ..row }, Answer::default(), 1));
            }
            Err(other @ (LogError::Conflict | LogError::Unavailable(_))) => {
                return Err(other.into());
            }
        };
        let mut view = View::of(row, transcript.answer, transcript.attempts);
        view.last_seq = transcript.seq;
        Ok(view)
    }

    /// The fold of the log up to `until`.
    pub(in crate::engine) async fn transcript(
        &self,
        at: &Address,
        until: Seq,
    ) -> Result<Transcript, LogError> {
        let broken = |e: &dyn std::fmt::Display| LogError::Broken(e.to_string());
        let mut transcript = Transcript::default();
        while transcript.seq < until {
            let page = self.inner.log.events.page(at, transcript.seq, PAGE).await;
            let entries = page.inspect_err(|error| self.note_doubled(error))?.entries;
            if entries.is_empty() {
                break;
            }
            for entry in entries.iter().take_while(|e| e.seq <= until) {
                let event = entry.decode().map_err(|e| broken(&e))?;
                transcript.apply(entry.seq, &event).map_err(|e| broken(&e))?;
            }
        }
        Ok(transcript)
    }

    /// The tenant's generations, newest first, and whether there are more.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn list(
        &self,
        tenant: &Tenant,
        mut filter: Filter,
    ) -> Result<(Vec<View>, bool), EngineError> {
        let wanted = filter.limit;
        filter.limit += 1;
        let mut rows = self.inner.log.generations.list(tenant, &filter).await?;
        let more = rows.len() > wanted as usize;
        rows.truncate(wanted as usize);
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            let mut view = self.view_of(row).await?;
            if view.answer.extras_bytes() > LISTED_EXTRAS {
                view.answer.extras = Vec::new();
            }
            views.push(view);
        }
        Ok((views, more))
    }

    /// Erases an ended generation.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn delete(&self, at: &Address) -> Result<Deleted, EngineError> {
        Ok(self.inner.log.generations.delete(at).await?)
    }
}
