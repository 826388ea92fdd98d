//! Values of megabytes on their way to the database: in pieces, which it puts together.
use std::borrow::Cow;

use sqlx::PgConnection;
use uuid::Uuid;

use super::rows::error;
use crate::ports::LogError;

/// A longer value goes in pieces; bytes.
pub(super) const LONG: usize = 1024 * 1024;
/// The same for a row of the journal, as the database counts it.
pub(super) const LONG_ROW: i32 = 1024 * 1024;
/// The driver holds a piece three times; bytes.
const PIECE: usize = 256 * 1024;

/// Sends the text that `parts` are, under `id`, in the transaction of `connection`. A statement of
/// that transaction has it by `take_pieces`.
pub(super) async fn send(
    connection: &mut PgConnection,
    id: Uuid,
    parts: &[Cow<'_, str>],
) -> Result<(), LogError> {
    let mut piece = String::with_capacity(PIECE);
    let mut n = 0;
    for part in parts {
        let mut rest: &str = part;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.floor_char_boundary(PIECE - piece.len()));
            piece.push_str(now);
            rest = later;
            if !rest.is_empty() {
                send_piece(connection, id, &mut n, &mut piece).await?;
            }
        }
    }
    send_piece(connection, id, &mut n, &mut piece).await
}

async fn send_piece(
    connection: &mut PgConnection,
    id: Uuid,
    n: &mut i32,
    piece: &mut String,
) -> Result<(), LogError> {
    sqlx::query("insert into pieces (id, n, piece) values ($1, $2, $3)")
        .bind(id)
        .bind(*n)
        .bind(piece.as_str())
        .execute(connection)
        .await
        .map_err(error)?;
    *n += 1;
    piece.clear();
    Ok(())
}
