//! Rows to domain types. A row that we do not understand is an error that names it.
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::lines::entries;
use crate::domain::conversation::TurnPosition;
use crate::domain::entry::Entry;
use crate::domain::event::{Done, ErrorCode, Event, Failure, Status, Usage};
use crate::domain::extra::Placed;
use crate::domain::generation::{BackgroundResponse, Generation, NewGeneration, Outcome, Request};
use crate::domain::id::{ConversationId, Epoch, GenerationId, MessageId, Seq, Tenant};
use crate::domain::transcript::{Answer, ToolCall};
use crate::ports::{Doubled, LogError};

/// Longer than any statement may run: a connection that is silent for so long is dead.
const ANSWER: Duration = Duration::from_secs(20);

/// The columns that [`generation`] reads, of `generations g`.
macro_rules! generation_columns {
    ($extras:literal) => {
        concat!(
            "g.id, g.tenant, g.status, g.model, \
    case when g.packed is null then g.request::text else whole(g.tenant, g.packed) end as request, \
    g.provider, g.epoch, g.created_at, g.started_at, g.finished_at, \
    coalesce(g.time_to_first_token_ms, case when g.done is null \
      then extract(epoch from first_content(g.id) - g.created_at) * 1000 end)::float8 as ttft, \
    coalesce(g.last_seq, last_seq(g.id)) as head, \
    exists (select from segments s where s.generation_id = g.id) as retained, \
    g.text, g.reasoning, g.refusal, g.tool_calls::text as tool_calls, g.done::text as done, \
    g.attempts, g.conversation_id, g.parent_id, g.owner, g.cancel_requested_at is not null as cancel_requested, \
    g.kept::text as kept, ",
            $extras
        )
    };
}
/// The columns of a row whose extras nobody asks for.
pub(super) const GENERATION: &str = generation_columns!("null::text as extras");
/// The same with extras, unless 256 KiB of them are stored: these are read by themselves. Their
/// stored size is told without unpacking them, which their length is not.
pub(super) const GENERATION_LIGHT: &str = generation_columns!(
    "case when pg_column_size(g.extras) <= 262144 then g.extras::text end as extras, \
     coalesce(pg_column_size(g.extras) > 262144, false) as long"
);

/// A generation's row. An unreadable column is left out, and the row says so.
pub(super) fn generation(row: &PgRow) -> Result<Generation, LogError> {
    let id = GenerationId(row.try_get("id").map_err(error)?);
    let bad = |what: String| LogError::Broken(format!("generation {id}: {what}"));
    let status: String = row.try_get("status").map_err(error)?;
    let status = Status::parse(&status).ok_or_else(|| bad(format!("status {status}")))?;
    let request: Option<&str> = row.try_get("request").map_err(error)?;
    let mut unreadable = None;
    let request = match request.map(serde_json::from_str) {
        Some(Ok(request)) => request,
        wrong => {
            let why = wrong.and_then(Result::err).map(|e| e.to_string());
            unreadable = Some(format!("request: {}", why.as_deref().unwrap_or("a part is gone")));
            Request::unreadable(row.try_get("model").map_err(error)?)
        }
    };
    let result = outcome(row, status, &mut unreadable)?;
    Ok(Generation {
        id,
        tenant: Tenant::named(row.try_get("tenant").map_err(error)?),
        status,
        request,
        provider: row.try_get("provider").map_err(error)?,
        epoch: Epoch(row.try_get("epoch").map_err(error)?),
        created_at: row.try_get("created_at").map_err(error)?,
        started_at: row.try_get("started_at").map_err(error)?,
        finished_at: row.try_get("finished_at").map_err(error)?,
        time_to_first_token_ms: row.try_get("ttft").map_err(error)?,
        last_seq: seq(row.try_get("head").map_err(error)?),
        events_retained: row.try_get("retained").map_err(error)?,
        result,
        place: place(row)?,
        unreadable,
    })
}

fn place(row: &PgRow) -> Result<Option<TurnPosition>, LogError> {
    let conversation: Option<Uuid> = row.try_get("conversation_id").map_err(error)?;
    let parent: Option<Uuid> = row.try_get("parent_id").map_err(error)?;
    Ok(conversation.zip(parent).map(|(conversation, parent)| TurnPosition {
        conversation: ConversationId(conversation),
        parent: MessageId(parent),
    }))
}

/// The answer that the upstream of the row keeps; one that cannot be read is as if there were none.
pub(super) fn kept(row: &PgRow) -> Result<Option<BackgroundResponse>, LogError> {
    let kept: Option<String> = row.try_get("kept").map_err(error)?;
    Ok(kept.and_then(|json| readable("kept", &json, &mut None)))
}

/// The value of a `json` column; if it cannot be read, the reason goes to `unreadable`.
pub(super) fn readable<T: DeserializeOwned>(
    column: &str,
    json: &str,
    unreadable: &mut Option<String>,
) -> Option<T> {
    match serde_json::from_str(json) {
        Ok(value) => Some(value),
        Err(e) => {
            *unreadable = Some(format!("{column}: {e}"));
            None
        }
    }
}

/// The substitute for an ending that cannot be read.
pub(super) fn unreadable_ending(status: Status) -> Done {
    let message = "what is stored of this generation cannot be read";
    let error = Failure {
        code: ErrorCode::Internal,
        message: message.into(),
        retryable: false,
        retry_after_ms: None,
        upstream: None,
    };
    Done {
        status,
        finish_reason: None,
        provider_finish_reason: None,
        usage: Usage::default(),
        error: Some(error),
    }
}

/// The row that was just stored as `new` with `entries`, without asking for it.
pub(super) fn fresh(new: &NewGeneration, entries: &[Entry]) -> Result<Generation, LogError> {
    let broken = |why: String| LogError::Broken(format!("generation {}: {why}", new.id));
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Err(broken("it has no event".into()));
    };
    let Event::Started { created_at, .. } = first.decode().map_err(|e| broken(e.to_string()))?
    else {
        return Err(broken("its first event is not `started`".into()));
    };
    let created_at =
        OffsetDateTime::parse(&created_at, &Rfc3339).map_err(|e| broken(e.to_string()))?;
    Ok(Generation {
        id: new.id,
        tenant: new.tenant.clone(),
        status: if new.queued { Status::Queued } else { Status::Running },
        request: new.request.clone(),
        provider: new.provider.clone(),
        epoch: Epoch::FIRST,
        created_at,
        started_at: (!new.queued).then_some(created_at),
        finished_at: None,
        time_to_first_token_ms: None,
        last_seq: last.seq,
        events_retained: true,
        result: None,
        place: new.place,
        unreadable: None,
    })
}

fn outcome(
    row: &PgRow,
    status: Status,
    unreadable: &mut Option<String>,
) -> Result<Option<Outcome>, LogError> {
    let Some(done) = row.try_get::<Option<String>, _>("done").map_err(error)? else {
        return Ok(None);
    };
    let done = readable("done", &done, unreadable).unwrap_or_else(|| unreadable_ending(status));
    let calls: Option<String> = row.try_get("tool_calls").map_err(error)?;
    let tool_calls: Vec<ToolCall> =
        calls.and_then(|calls| readable("tool_calls", &calls, unreadable)).unwrap_or_default();
    let extras: Option<&str> = row.try_get("extras").map_err(error)?;
    let extras = match extras.map(placed).transpose() {
        Ok(extras) => extras.unwrap_or_default(),
        Err(e) => {
            *unreadable = Some(format!("extras: {e}"));
            Vec::new()
        }
    };
    let text = |column| row.try_get::<Option<String>, _>(column).map_err(error);
    let answer = Answer {
        text: text("text")?.unwrap_or_default(),
        reasoning: text("reasoning")?.unwrap_or_default(),
        refusal: text("refusal")?.unwrap_or_default(),
        tool_calls,
        extras,
    };
    let attempts: Option<i32> = row.try_get("attempts").map_err(error)?;
    let attempts = attempts.and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
    Ok(Some(Outcome { answer, done, attempts }))
}

/// The extras in a column.
pub(super) fn placed(extras: &str) -> serde_json::Result<Vec<Placed>> {
    let all: Vec<&RawValue> = serde_json::from_str(extras)?;
    // A place that only a newer version knows is passed over, as in the log.
    Ok(all.into_iter().filter_map(|placed| serde_json::from_str(placed.get()).ok()).collect())
}

/// Adds the at most `limit` events behind `after` that the segment in `row` has. Refused if one of
/// the generation's seqs has two events.
pub(super) fn unpack(
    row: &PgRow,
    generation: GenerationId,
    after: Seq,
    limit: u32,
    page: &mut Vec<Entry>,
) -> Result<(), LogError> {
    let first = seq(row.try_get("seq").map_err(error)?);
    let epoch = Epoch(row.try_get("epoch").map_err(error)?);
    let lines = row.try_get("lines").map_err(error)?;
    let within = after.next()..=Seq(after.0.saturating_add(limit.into()));
    put(row, generation, entries(first, epoch, lines, &within), page)
}

/// Adds the entries of `row`, which come from elsewhere than its column.
pub(super) fn put(
    row: &PgRow,
    generation: GenerationId,
    mut entries: impl Iterator<Item = Result<Entry, LogError>>,
    page: &mut Vec<Entry>,
) -> Result<(), LogError> {
    let twice = |seq| Err(LogError::Doubled(vec![Doubled { generation, seq }]));
    if let Some(known) = row.try_get::<Option<i64>, _>("doubled").map_err(error)? {
        return twice(seq(known));
    }
    entries.try_for_each(|entry| {
        let entry = entry?;
        if page.last().is_some_and(|last| last.seq >= entry.seq) {
            return twice(entry.seq);
        }
        page.push(entry);
        Ok(())
    })
}

/// A stored seq: the table's check keeps it positive.
pub(super) fn seq(stored: i64) -> Seq {
    Seq(stored.unsigned_abs())
}

/// A seq as it is stored.
pub(super) fn stored(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// The text of `value` for a `json` column, to be cast by the statement. A value bound as JSON
/// travels as `jsonb`, which loses key order and number forms.
pub(super) fn json(value: &impl Serialize) -> Result<String, LogError> {
    serde_json::to_string(value).map_err(|e| LogError::Broken(e.to_string()))
}

/// The same, read back before it is stored: what could not be read is not committed.
pub(super) fn checked_json<T: Serialize + DeserializeOwned>(value: &T) -> Result<String, LogError> {
    let text = json(value)?;
    serde_json::from_str::<T>(&text)
        .map_err(|e| LogError::Broken(format!("it could not be read back: {e}")))?;
    Ok(text)
}

/// Which of our three kinds of failure a database error is.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, which may grow")]
pub(super) fn error(error: sqlx::Error) -> LogError {
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::RowNotFound => LogError::Broken(error.to_string()),
            other => LogError::Unavailable(other.to_string()),
        };
    };
    let code = database.code().unwrap_or_default().into_owned();
    // Connection, rollback, resources, operator intervention, not available now: may pass.
    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    let passing = ["08", "25", "40", "53", "55", "57", "58"];
    if code == "23505" {
        LogError::Conflict
    } else if passing.iter().any(|class| code.starts_with(class)) {
        LogError::Unavailable(format!("{code} {}", database.message()))
    } else {
        LogError::Broken(format!("{code} {}", database.message()))
    }
}

/// Runs `work` and gives up on a database that does not answer at all.
pub(super) async fn answered<T>(
    work: impl Future<Output = Result<T, LogError>> + Send,
) -> Result<T, LogError> {
    tokio::time::timeout(ANSWER, work)
        .await
        .unwrap_or_else(|_| Err(LogError::Unavailable("no answer in 20 s".into())))
}
