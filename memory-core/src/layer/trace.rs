//! Spans and events for every operation.

use tracing::Instrument as _;

use super::{Call, Policy, TARGET};
use crate::capability::Facet;
use crate::error::Result;

/// A span around every operation, at level `INFO` under the target [`TARGET`], named and filled by
/// OpenTelemetry's semantic conventions for database clients. It carries names, sizes and outcomes:
/// no content, no metadata, no secrets. A failed call adds an event, at level `INFO` too.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trace;

impl Policy for Trace {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let span = tracing::info_span!(
            target: TARGET,
            "memory",
            otel.name = call.operation,
            otel.kind = "client",
            db.system.name = call.backend,
            db.operation.name = call.operation,
            db.operation.batch.size = call.items,
            db.collection.name = call.collection,
            memory.facet = call.facet.map(Facet::as_str),
            error.type = tracing::field::Empty,
        );
        if span.is_disabled() {
            return next().await;
        }
        let result = next().instrument(span.clone()).await;
        if let Err(error) = &result {
            span.record("error.type", error.code());
            // Not the message: it may quote a key or an id that a user chose.
            let (transient, maybe_applied) = (error.is_transient(), error.maybe_applied());
            span.in_scope(|| tracing::info!(target: TARGET, transient, maybe_applied, "failed"));
        }
        result
    }
}
