//! llama.cpp's resumable streams. An answer that was requested under a name goes on without a
//! listener. Its very bytes can be heard again while it runs, and for 300 s after that. Seen at
//! llama.cpp 11434: `GET` and `DELETE /v1/stream?conv_id=NAME`.
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::{HeaderName, Method};

use super::map::ChatMap;
use crate::domain::trace::TraceParent;
use crate::ports::{Delta, Deltas, ProviderError, Resume};
use crate::providers::responses::not_resumed;
use crate::providers::responses::replay;
use crate::providers::upstream::delta_stream::DeltaStream;
use crate::providers::upstream::endpoint::Endpoint;
use crate::providers::upstream::guard::unsent;
use crate::providers::upstream::probe::Probe;

/// The header that names an answer.
pub(crate) const NAME: HeaderName = HeaderName::from_static("x-conversation-id");
/// How long the end of an answer may take that nobody listens to: a cancel waits for it.
const DELETE: Duration = Duration::from_secs(5);

/// The part of the kept answer behind the one that was heard.
///
/// # Errors
/// See [`crate::ports::Provider::start`].
pub(crate) async fn hear(
    endpoint: &Endpoint,
    resume: &Resume,
    trace: Option<TraceParent>,
    map: ChatMap,
) -> Result<Deltas, ProviderError> {
    let request = request(endpoint, Method::GET, &resume.kept).query(&[("from", "0")]);
    let Ok(request) = request.build() else { return Err(unsent()) };
    let probe = Arc::new(Probe::new());
    let secrets = endpoint.secrets();
    match endpoint.guard(probe.clone(), trace).execute(request).await {
        Ok(events) => {
            let deltas = DeltaStream::new(events, map, probe.clone(), secrets).boxed();
            Ok(replay::behind(ended(deltas, probe), resume.heard.clone()))
        }
        Err(loss) => {
            let loss = probe.describe(loss, secrets.iter().map(String::as_str));
            not_resumed(probe.status(), loss)
        }
    }
}

/// The deltas of an answer, lost for good where its stream ends early. A server that has forgotten
/// the answer sends an empty stream. A connection that breaks says nothing.
fn ended(deltas: Deltas, probe: Arc<Probe>) -> Deltas {
    let told = deltas.map(move |item| {
        let is_gone = item.is_err() && probe.loss().is_none();
        stream::iter(is_gone.then_some(Ok(Delta::Forgotten)).into_iter().chain([item]))
    });
    told.flatten().boxed()
}

/// Ends an answer: closing its connection does not.
pub(crate) async fn delete(endpoint: &Endpoint, name: &str) {
    let request = request(endpoint, Method::DELETE, name).timeout(DELETE).build();
    let Ok(mut request) = request else { return };
    endpoint.put_on(&mut request);
    match endpoint.http.execute(request).await {
        Ok(response) if response.status().is_success() => {}
        Ok(response) => tracing::warn!(name, status = %response.status(), "not stopped"),
        Err(error) => tracing::warn!(name, error = %error.without_url(), "not stopped"),
    }
}

fn request(endpoint: &Endpoint, method: Method, name: &str) -> reqwest::RequestBuilder {
    let base = &endpoint.settings.base_url;
    let base = base.strip_suffix("/v1").unwrap_or(base);
    let request = endpoint.http.request(method, format!("{base}/v1/stream"));
    let request = request.query(&[("conv_id", name)]);
    match &endpoint.settings.api_key {
        Some(key) => request.bearer_auth(key),
        None => request,
    }
}
