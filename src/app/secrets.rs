//! Keys that all instances on one database share: the first one makes them.
use super::AppError;
use crate::domain::key::SigningKey;
use crate::domain::sealed::SealingKeys;
use crate::ports::{Keys, LogError};

/// The key of all instances on this database.
pub(super) async fn signing_key(keys: &dyn Keys) -> Result<SigningKey, AppError> {
    keys.signing_key(new_key()?).await.map_err(AppError::Keys)
}

/// The keys of all instances on this database that seal thinking.
pub(super) async fn sealing_keys(keys: &dyn Keys) -> Result<SealingKeys, AppError> {
    keys.sealing_keys(new_key()?).await.map_err(AppError::Keys)
}

fn new_key() -> Result<SigningKey, AppError> {
    SigningKey::random().map_err(|e| AppError::Keys(LogError::Broken(e.to_string())))
}
