//! `lastword check`: says what is wrong and how to mend it, before a user finds out.
mod goes_on;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::AppError;
use super::database::Database;
use super::local::Local;
use crate::config::Config;
use crate::domain::event::ErrorCode;
use crate::domain::prompt::{Message, Parameters, Prompt, Role};
use crate::engine::Model;
use crate::ports::{Attempt, Continuation, Delta, ProviderError};
use goes_on::{Continued, goes_on};

/// How long one model may take for its one token: it may have to be loaded first.
const PATIENCE: Duration = Duration::from_secs(120);
/// Models that are tried at a time.
const AT_ONCE: usize = 4;

/// One thing that was checked.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whether it can be relied on.
    pub ok: bool,
    /// Its name, such as `database` or `model llama`.
    pub what: String,
    /// How it is, or what is wrong.
    pub how: String,
    /// How to mend it.
    pub mend: Option<&'static str>,
}

/// Checks the database and every model of `config`, which was loaded: so that is in order.
pub async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![good("configuration", "understood".into())];
    findings.push(match database(config).await {
        Ok(place) => good("database", place),
        Err(error) => Finding {
            ok: false,
            what: "database".into(),
            mend: Some(mend_database(&error)),
            how: error.to_string(),
        },
    });
    let mut local = Local::find(config).await;
    let models = match local.models() {
        Ok((models, _)) => models,
        Err(error) => {
            let mend = Some("mend the [[models]] of the file");
            let what = "models".into();
            findings.push(Finding { ok: false, what, how: error.to_string(), mend });
            return findings;
        }
    };
    findings.extend(local.hints().into_iter().map(|hint| good("hint", hint)));
    let default = models.default_name();
    let tried = models.iter().map(|model| try_model(model, model.name == default));
    let tried: Vec<_> = stream::iter(tried).buffered(AT_ONCE).collect().await;
    findings.extend(tried);
    findings
}

fn good(what: &str, how: String) -> Finding {
    Finding { ok: true, what: what.into(), how, mend: None }
}

async fn database(config: &Config) -> Result<String, AppError> {
    let (database, storage) = Database::reach(config).await?;
    let place = database.describe();
    storage.close().await;
    database.close().await;
    Ok(place)
}

fn mend_database(error: &AppError) -> &'static str {
    match error {
        AppError::DatabaseUrl(_) => "it looks like postgres://user:password@host/database",
        AppError::Connect(_) => {
            "see that the server runs, that DATABASE_URL is right, and that it may be written"
        }
        AppError::Embedded(_) => {
            "install PostgreSQL 14 or later, or set DATABASE_URL to one that runs elsewhere"
        }
        AppError::Listen(..)
        | AppError::NoKey { .. }
        | AppError::Origins(_)
        | AppError::Keys(_)
        | AppError::Reserve(_)
        | AppError::Tls(_)
        | AppError::Identity(_)
        | AppError::Models(_)
        | AppError::TakeUp(_)
        | AppError::Public(_)
        | AppError::Nats(_)
        | AppError::Server(_) => "see the message",
    }
}

async fn try_model(model: &Model, is_default: bool) -> Finding {
    let default = if is_default { ", the default" } else { "" };
    let what = format!("model {}", model.name);
    let provider = model.provider.name();
    let asked = tried(model);
    let asked = timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
        Err(ProviderError {
            code: ErrorCode::UpstreamTimeout,
            message: format!("no answer within {PATIENCE:?}"),
            retryable: false,
            retry_after: None,
            upstream: None,
        })
    });
    match asked {
        Ok(Continued::Untried) => good(&what, format!("answers ({provider}{default})")),
        Ok(Continued::Same) => {
            good(&what, format!("answers, and goes on from a text ({provider}{default})"))
        }
        Ok(Continued::Other) => {
            let how = "answers, and goes on from a text in other words than before";
            good(&what, format!("{how} ({provider}{default})"))
        }
        Ok(Continued::No(why)) => {
            let how = format!("answers, and cannot go on from a text: {why} ({provider}{default})");
            let mend = Some("set continuation = \"none\", or \"instruct\"");
            Finding { ok: false, what, how, mend }
        }
        Err(error) => {
            let mend = Some(mend_model(error.code));
            Finding { ok: false, what, how: format!("{error} ({provider}{default})"), mend }
        }
    }
}

/// Asks for one token. Where the configuration says that the model goes on behind a text, it asks
/// for ten, and for what follows the first five.
async fn tried(model: &Model) -> Result<Continued, ProviderError> {
    if model.provider.continuation_without() != Continuation::Prefix {
        return one_token(model).await.map(|()| Continued::Untried);
    }
    let asked = attempt("Count from one to ten, in words, with commas.", 10);
    goes_on(model, asked).await
}

fn attempt(question: &str, tokens: u32) -> Attempt {
    let messages = vec![Message::text(Role::User, question)];
    let parameters = Parameters {
        max_output_tokens: Some(tokens),
        // The same words each time, as far as models go.
        temperature: (tokens > 1).then_some(0.0),
        ..Parameters::default()
    };
    Attempt::fresh(Prompt { messages, parameters })
}

/// Asks for one token. That the model came to its end says enough: some say nothing in one token.
async fn one_token(model: &Model) -> Result<(), ProviderError> {
    let mut deltas = model.provider.start(attempt("Say: ok", 1)).await?;
    while let Some(delta) = deltas.next().await {
        if matches!(delta?, Delta::Text(_) | Delta::Reasoning(_) | Delta::Finish { .. }) {
            return Ok(());
        }
    }
    Ok(())
}

fn mend_model(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UpstreamUnavailable => "see that its server runs, and that base_url is right",
        ErrorCode::UpstreamRateLimited => "wait, or look at the account's limits and credit",
        ErrorCode::UpstreamRejected => {
            "look at api_key_env, upstream_model, and the path in base_url"
        }
        ErrorCode::UpstreamTimeout | ErrorCode::UpstreamStalled => {
            "it may be loading: try again, or raise first_byte_timeout_s"
        }
        ErrorCode::UpstreamProtocol | ErrorCode::UpstreamTruncated => {
            "see that base_url is that of the API, not of a web page, and which provider it speaks"
        }
        ErrorCode::ServerLost | ErrorCode::StorageUnavailable | ErrorCode::Internal => {
            "see the message"
        }
    }
}
