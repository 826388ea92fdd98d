//! How generations ended, in their rows.
use std::borrow::Cow;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::lane::Spoke;
use super::pieces;
use super::rows::{error, json, stored};
use super::turns::Told;
use crate::domain::choices::joined;
use crate::domain::extra::{Extra, Placed};
use crate::domain::generation::Outcome;
use crate::domain::id::{ConversationId, GenerationId};
use crate::domain::json::JsonObject;
use crate::ports::{Append, LogError, RowChange};

/// Writes the endings in `batch` into their rows, in the transaction of their `done` events, each
/// once. The whole batch is refused if one row has an ending already, or another owner. The
/// conversations that are to be told.
pub(super) async fn mark_ended(
    connection: &mut PgConnection,
    batch: &[&Append],
    spoke: impl Fn(GenerationId) -> Spoke,
) -> Result<Vec<Told>, LogError> {
    let mut endings = Endings::of(batch, spoke)?;
    if endings.ids.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = endings.ids.len();
    let long = std::mem::take(&mut endings.long);
    // All in one statement: whatever else is in the batch waits for them.
    let rows: Vec<(Uuid, Option<Uuid>)> = sqlx::query_as(
        "update generations g set status = e.status, text = e.text, reasoning = e.reasoning, \
         refusal = e.refusal, tool_calls = e.tool_calls::json, \
         extras = e.extras::json, done = e.done::json, \
         attempts = e.attempts, last_seq = e.last_seq, \
         finished_at = clock_timestamp(), time_to_first_token_ms = extract(epoch from \
           case when e.known then e.spoke else first_content(g.id) end - g.created_at) * 1000 \
         from unnest($1::uuid[], $2::integer[], $3::bigint[], $4::text[], $5::text[], $6::text[], \
           $7::text[], $8::text[], $9::text[], $10::integer[], $11::boolean[], $12::timestamptz[], \
           $13::text[]) \
           as e (id, epoch, last_seq, status, text, reasoning, refusal, tool_calls, done, attempts, \
             known, spoke, extras) \
         where g.id = e.id and g.epoch = e.epoch and g.done is null \
         returning g.id, g.conversation_id",
    )
    .bind(endings.ids)
    .bind(endings.epochs)
    .bind(endings.lasts)
    .bind(endings.statuses)
    .bind(endings.texts)
    .bind(endings.reasonings)
    .bind(endings.refusals)
    .bind(endings.tool_calls)
    .bind(endings.dones)
    .bind(endings.attempts)
    .bind(endings.known)
    .bind(endings.spoke)
    .bind(endings.extras)
    .fetch_all(&mut *connection)
    .await
    .map_err(error)?;
    if rows.len() != wanted {
        return Err(LogError::Conflict);
    }
    for (id, extras) in long {
        write_long(connection, id, &extras).await?;
    }
    let told = |(id, conversation): (Uuid, Option<Uuid>)| {
        conversation.map(|conversation| (ConversationId(conversation), GenerationId(id)))
    };
    Ok(rows.into_iter().filter_map(told).collect())
}

/// Writes extras of megabytes into the row of `id`.
async fn write_long(
    connection: &mut PgConnection,
    id: Uuid,
    extras: &[Placed],
) -> Result<(), LogError> {
    let mut parts = Vec::with_capacity(3 * extras.len() + 1);
    for (n, placed) in extras.iter().enumerate() {
        let extra = Extra { data: JsonObject::default(), ..placed.extra.clone() };
        let around = json(&Placed { extra, ..placed.clone() })?;
        // The object is the last field of the last field.
        let before = around
            .strip_suffix("{}}}")
            .ok_or_else(|| LogError::Broken("an extra does not end with its object".into()))?;
        parts.push(Cow::Owned(format!("{}{before}", if n == 0 { "[" } else { "," })));
        parts.push(Cow::Borrowed(placed.extra.data.text()));
        parts.push(Cow::Borrowed("}}"));
    }
    parts.push(Cow::Borrowed("]"));
    pieces::send(connection, id, &parts).await?;
    sqlx::query("update generations set extras = take_pieces($1)::json where id = $1")
        .bind(id)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error)
}

/// Endings as the row has them, side by side.
#[derive(Default)]
struct Endings<'a> {
    ids: Vec<Uuid>,
    epochs: Vec<i32>,
    lasts: Vec<Option<i64>>,
    statuses: Vec<&'a str>,
    texts: Vec<&'a str>,
    reasonings: Vec<&'a str>,
    refusals: Vec<&'a str>,
    tool_calls: Vec<String>,
    extras: Vec<Option<String>>,
    dones: Vec<String>,
    attempts: Vec<i32>,
    /// Whether it is known when it spoke: else the log is searched, which takes its time.
    known: Vec<bool>,
    spoke: Vec<Option<OffsetDateTime>>,
    /// Extras that are written by themselves.
    long: Vec<(Uuid, Vec<Placed>)>,
}

impl<'a> Endings<'a> {
    fn of(batch: &[&'a Append], spoke: impl Fn(GenerationId) -> Spoke) -> Result<Self, LogError> {
        let mut endings = Self::default();
        for append in batch {
            let RowChange::Ended(outcome) = &append.row else { continue };
            let Outcome { answer, done, attempts } = outcome.as_ref();
            endings.ids.push(append.at.id.0);
            endings.epochs.push(append.epoch.0);
            endings.lasts.push(append.entries.last().map(|entry| stored(entry.seq)));
            endings.statuses.push(done.status.as_str());
            endings.texts.push(&answer.text);
            endings.reasonings.push(&answer.reasoning);
            endings.refusals.push(&answer.refusal);
            endings.tool_calls.push(json(&answer.tool_calls)?);
            let extras = joined(&answer.extras);
            if answer.extras_bytes() > pieces::LONG {
                endings.long.push((append.at.id.0, extras));
                endings.extras.push(None);
            } else {
                let extras = (!extras.is_empty()).then(|| json(&extras));
                endings.extras.push(extras.transpose()?);
            }
            endings.dones.push(json(done)?);
            endings.attempts.push(i32::try_from(*attempts).unwrap_or(i32::MAX));
            let spoke = spoke(append.at.id);
            endings.known.push(spoke != Spoke::Unknown);
            endings.spoke.push(if let Spoke::At(at) = spoke { Some(at) } else { None });
        }
        Ok(endings)
    }
}
