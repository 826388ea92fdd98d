//! Spans of generations, in the words of OpenTelemetry's conventions for generative AI, to a
//! collector by OTLP over HTTP: where `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) is
//! set. <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfig, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};

use crate::config::variable;
use crate::domain::trace::TraceParent;
use crate::engine::{EndedSpan, Export};

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
/// How long the last spans may take at a stop.
const LAST: Duration = Duration::from_secs(3);

/// Has a thread of its own, and a queue that it drops from rather than wait.
static PROCESSOR: OnceLock<BatchSpanProcessor> = OnceLock::new();

/// Where spans go, if there is a collector. One that cannot be used is no reason not to serve.
pub(super) fn start() -> Option<Export> {
    ENDPOINTS.iter().find_map(|name| variable(name))?;
    let exporter = SpanExporter::builder().with_http().build();
    let exporter =
        exporter.inspect_err(|error| tracing::error!(%error, "spans are not exported")).ok()?;
    let mut processor = BatchSpanProcessor::new(exporter, BatchConfig::default());
    let name = variable("OTEL_SERVICE_NAME").unwrap_or_else(|| "lastword".into());
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    processor
        .set_resource(&Resource::builder().with_service_name(name).with_attribute(version).build());
    PROCESSOR.set(processor).ok()?;
    Some(export)
}

/// Hands out what waits for it.
pub(super) fn stop() {
    if let Some(processor) = PROCESSOR.get()
        && let Err(error) = processor.shutdown_with_timeout(LAST)
    {
        tracing::warn!(%error, "the last spans may be lost");
    }
}

fn export(ended: EndedSpan) {
    if let (Some(processor), Some(span)) = (PROCESSOR.get(), span(&ended)) {
        processor.on_end(span);
    }
}

/// `None` where who asked does not record its trace.
fn span(ended: &EndedSpan) -> Option<SpanData> {
    let (trace, own, flags) = TraceParent::of_generation(ended.generation, ended.asked).parts();
    let context = SpanContext::new(
        TraceId::from(trace),
        SpanId::from(own),
        TraceFlags::new(flags),
        false,
        TraceState::NONE,
    );
    let error = ended.done.error.as_ref().map(|error| error.code.as_str());
    #[expect(clippy::disallowed_methods, reason = "a span has the wall time of its machine")]
    let end_time = SystemTime::now();
    context.is_sampled().then(|| SpanData {
        span_context: context,
        parent_span_id: ended.asked.map_or(SpanId::INVALID, |asked| SpanId::from(asked.parts().1)),
        parent_span_is_remote: ended.asked.is_some(),
        span_kind: SpanKind::Client,
        name: format!("chat {}", ended.model).into(),
        start_time: end_time - ended.took,
        end_time,
        attributes: attributes(ended),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: error.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("lastword").build(),
    })
}

fn attributes(ended: &EndedSpan) -> Vec<KeyValue> {
    let EndedSpan { parameters, done, .. } = ended;
    let tokens = |count: u64| Some(i64::try_from(count).unwrap_or(i64::MAX).into());
    let text = |text: &str| Some(text.to_owned().into());
    let reason = done.finish_reason.and_then(|reason| serde_json::to_value(reason).ok());
    let reasons = reason.as_ref().and_then(|reason| reason.as_str()).map(str::to_owned);
    let attributes: [(&'static str, Option<Value>); 14] = [
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.provider.name", text(ended.provider)),
        ("gen_ai.request.model", text(&ended.model)),
        ("gen_ai.request.max_tokens", parameters.max_output_tokens.map(|n| i64::from(n).into())),
        ("gen_ai.request.temperature", parameters.temperature.map(Value::from)),
        ("gen_ai.request.top_p", parameters.top_p.map(Value::from)),
        ("gen_ai.response.id", text(&ended.generation.to_string())),
        (
            "gen_ai.response.finish_reasons",
            reasons.map(|reason| Value::Array(Array::String(vec![reason.into()]))),
        ),
        ("gen_ai.usage.input_tokens", tokens(done.usage.input_tokens)),
        ("gen_ai.usage.output_tokens", tokens(done.usage.output_tokens)),
        ("error.type", done.error.as_ref().and_then(|error| text(error.code.as_str()))),
        ("lastword.status", text(done.status.as_str())),
        ("lastword.tenant", text(&ended.tenant)),
        ("lastword.attempts", Some(i64::from(ended.attempts).into())),
    ];
    attributes.into_iter().filter_map(|(name, value)| Some(KeyValue::new(name, value?))).collect()
}
