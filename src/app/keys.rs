//! `lastword keys`, and what a start has to say about them.
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::database::Database;
use super::{AppError, secrets, signals};
use crate::config::{Config, KeysCommand, NewKeyFlags};
use crate::domain::id::{InstanceId, KeyId};
use crate::domain::key::{Key, KeyLimits, NoRandomness, Scope, Secret, SecretKind};
use crate::engine::Anonymous;
use crate::ports::{KeyRow, Keys, LogError, NewKey, Signal, Storage, To};
use crate::tasks::Tasks;

/// The output of a command.
#[derive(Debug, Default)]
pub struct Told {
    /// For programs, and people.
    pub lines: Vec<String>,
    /// For people only.
    pub notes: Vec<String>,
}

/// Why a command about keys failed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The database is out of reach.
    #[error(transparent)]
    App(#[from] Box<AppError>),
    /// The database does not do it.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No key can be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// No key is meant.
    #[error("there is no key `{0}` that is good: see `lastword keys list`")]
    NoSuchKey(String),
    /// More than one key may be meant.
    #[error("{0} keys are called `{1}`: say the id of one, see `lastword keys list`")]
    Ambiguous(usize, String),
}

/// Does it, in the database that `serve` would use, whether a `serve` runs or not.
///
/// # Errors
/// See [`KeysError`].
pub async fn run(config: &Config, command: KeysCommand) -> Result<Told, KeysError> {
    let (database, storage) = Database::reach(config).await.map_err(Box::new)?;
    let keys = storage.keys();
    let told = match command {
        KeysCommand::Create(flags) => create(&*keys, *flags).await,
        KeysCommand::List { json } => list(&*keys, json).await,
        KeysCommand::Revoke { key } => revoke(&*keys, &key).await,
    };
    if told.is_ok() {
        tell(config, &*storage).await.map_err(Box::new)?;
    }
    storage.close().await;
    database.close().await;
    told
}

/// Has every instance look again; who does not hear it looks by itself, a little later.
async fn tell(config: &Config, storage: &dyn Storage) -> Result<(), AppError> {
    let key = secrets::signing_key(&*storage.keys()).await?;
    let (signals, _) = signals::of(config, storage, InstanceId::random(), &key)?;
    Tasks::new().spawn_service(Arc::clone(&signals).run());
    signals.send(To::All, Signal::KeyChanged);
    signals.close().await;
    Ok(())
}

async fn create(keys: &dyn Keys, flags: NewKeyFlags) -> Result<Told, KeysError> {
    let secret = Secret::random(SecretKind::Key)?;
    let usual = || vec![Scope::Read, Scope::Write];
    let key = Key {
        id: KeyId::random(),
        name: flags.name,
        tenant: flags.tenant,
        scopes: if flags.scopes.is_empty() { usual() } else { flags.scopes },
        limits: KeyLimits {
            requests_per_minute: flags.rpm,
            concurrent_generations: flags.max_concurrent,
            prompt_bytes: flags.max_prompt_bytes,
            output_tokens: flags.max_output_tokens,
            wall_s: flags.max_wall_s,
            disconnect_grace_s: flags.disconnect_grace_s,
            attach_after_close: flags.attach_after_close.then_some(true),
        },
    };
    let note = format!(
        "Key {} ({}) of tenant {}. It is shown this once: keep it where secrets are kept.",
        key.id,
        key.name,
        key.tenant.as_str()
    );
    let (digest, hint) = (secret.digest(), secret.hint().to_owned());
    keys.create(&NewKey { key, digest, hint, lasts: flags.expires }).await?;
    Ok(Told { lines: vec![secret.reveal().to_owned()], notes: vec![note] })
}

async fn list(keys: &dyn Keys, json: bool) -> Result<Told, KeysError> {
    let rows = keys.list().await?;
    if json {
        let lines = rows.iter().map(|row| object(row).to_string()).collect();
        return Ok(Told { lines, notes: Vec::new() });
    }
    if rows.is_empty() {
        let note = "There are no keys. Make one: lastword keys create --name NAME".to_owned();
        return Ok(Told { lines: Vec::new(), notes: vec![note] });
    }
    let head = ["ID", "KEY", "NAME", "TENANT", "SCOPES", "EXPIRES", "LAST USED", "STATE"];
    let mut table = vec![head.map(str::to_owned)];
    table.extend(rows.iter().map(cells));
    let widths: Vec<usize> = (0..head.len())
        .map(|n| table.iter().map(|row| row[n].chars().count()).max().unwrap_or_default())
        .collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    Ok(Told { lines: table.iter().map(line).collect(), notes: Vec::new() })
}

fn cells(row: &KeyRow) -> [String; 8] {
    let scopes: Vec<&str> = row.key.scopes.iter().map(|scope| scope.as_str()).collect();
    [
        row.key.id.to_string(),
        format!("{}…", row.hint),
        row.key.name.clone(),
        row.key.tenant.as_str().to_owned(),
        scopes.join(","),
        shown(row.expires_at).unwrap_or_else(|| "never".into()),
        shown(row.last_used_at).unwrap_or_else(|| "never".into()),
        if row.revoked_at.is_some() { "revoked" } else { "" }.to_owned(),
    ]
}

fn object(row: &KeyRow) -> serde_json::Value {
    json!({
        "id": row.key.id,
        "hint": row.hint,
        "name": row.key.name,
        "tenant": row.key.tenant,
        "scopes": row.key.scopes,
        "limits": row.key.limits,
        "created_at": shown(Some(row.created_at)),
        "expires_at": shown(row.expires_at),
        "revoked_at": shown(row.revoked_at),
        "last_used_at": shown(row.last_used_at),
    })
}

/// To the second: nobody needs more of it.
fn shown(at: Option<OffsetDateTime>) -> Option<String> {
    at.and_then(|at| at.replace_nanosecond(0).ok()).and_then(|at| at.format(&Rfc3339).ok())
}

async fn revoke(keys: &dyn Keys, which: &str) -> Result<Told, KeysError> {
    let rows = keys.list().await?;
    let meant: Vec<&KeyRow> = rows
        .iter()
        .filter(|row| row.revoked_at.is_none())
        .filter(|row| row.key.id.to_string() == which || row.key.name == which)
        .collect();
    let [row] = meant.as_slice() else {
        return Err(match meant.len() {
            0 => KeysError::NoSuchKey(which.into()),
            n => KeysError::Ambiguous(n, which.into()),
        });
    };
    keys.revoke(row.key.id).await?;
    let line = format!("Key {} ({}) is revoked.", row.key.id, row.key.name);
    Ok(Told { lines: vec![line], notes: Vec::new() })
}

/// Refuses to start where others could come in and nobody has a key.
pub(super) async fn check(
    config: &Config,
    listen: SocketAddr,
    keys: &dyn Keys,
) -> Result<(), AppError> {
    let needed = match config.anonymous {
        Anonymous::Refused => !keys.any().await.map_err(AppError::Keys)?,
        Anonymous::Here | Anonymous::Everywhere => false,
    };
    if !needed {
        return Ok(());
    }
    let place = match &config.database_url {
        // Not the URL: it may hold a password.
        Some(_) => "DATABASE_URL=… lastword keys create --name me".to_owned(),
        None => {
            let dir = config.data_dir.display();
            format!("lastword keys create --name me --data-dir {dir}")
        }
    };
    Err(AppError::NoKey { listen, create: place })
}

/// A line for the start, where it is not what everybody expects.
pub(super) fn describe(anonymous: Anonymous) -> Option<&'static str> {
    match anonymous {
        Anonymous::Refused => Some("by key: lastword keys create --name NAME"),
        Anonymous::Here => None,
        Anonymous::Everywhere => Some("OPEN to everybody who can reach it (--insecure-no-auth)"),
    }
}
