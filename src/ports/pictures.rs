//! The border to pictures that people send.
use async_trait::async_trait;

use super::log::LogError;
use crate::domain::id::Tenant;
use crate::domain::picture::{Picture, PictureId};

/// All pictures. Another tenant's look to a tenant as if they were not there. One that nothing
/// names any more is gone.
#[async_trait]
pub trait Pictures: Send + Sync + 'static {
    /// Keeps a picture; false if it was there already. It stays for a day without being named.
    async fn keep(&self, tenant: &Tenant, picture: &Picture) -> Result<bool, LogError>;

    /// One of them.
    async fn find(&self, tenant: &Tenant, id: PictureId) -> Result<Option<Picture>, LogError>;

    /// Those of these that are there, with their bytes.
    async fn sizes(
        &self,
        tenant: &Tenant,
        ids: &[PictureId],
    ) -> Result<Vec<(PictureId, u64)>, LogError>;

    /// One that a message of the branch behind a link names, by the hash of the link's secret.
    async fn shared(&self, token_hash: &[u8], id: PictureId) -> Result<Option<Picture>, LogError>;
}
