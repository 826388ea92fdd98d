//! The way that hints take between instances, as the configuration says.
use std::sync::Arc;

use super::AppError;
use crate::config::Config;
use crate::domain::id::InstanceId;
use crate::domain::key::SigningKey;
use crate::nats::{NatsOptions, NatsPace, NatsSignals};
use crate::ports::{Signals, Silence, Storage};

/// The hints of the instance `me`, and a line for the start where they are not the usual ones.
pub(super) fn of(
    config: &Config,
    storage: &dyn Storage,
    me: InstanceId,
    key: &SigningKey,
) -> Result<(Arc<dyn Signals>, Option<String>), AppError> {
    let Some(nats) = config.nats.clone() else {
        let signals: Arc<dyn Signals> =
            if config.notify { storage.signals(me) } else { Arc::new(Silence) };
        return Ok((signals, None));
    };
    let options = NatsOptions {
        servers: nats.servers,
        subject: nats.subject,
        credentials: nats.credentials,
        root_certificates: nats.root_certificates,
        client_certificate: nats.client_certificate,
    };
    let signals = NatsSignals::new(options, key, me, NatsPace::default())?;
    let place = signals.describe();
    Ok((Arc::new(signals), Some(place)))
}
