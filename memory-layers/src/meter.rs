//! Metrics.

use std::time::Instant;

use memory_core::Result;
use memory_core::layer::{Call, Policy};

/// Latencies and errors of every operation, through the `metrics` facade: they go to the recorder
/// that the program installed, and nowhere without one.
///
/// | name | kind | labels |
/// |---|---|---|
/// | `db.client.operation.duration` | histogram, seconds | `db.system.name`, `db.operation.name`; of a failed call also `error.type`, a code of E2 |
/// | `memory.retries` | counter, by the layer [`Retry`](crate::Retry) | `db.system.name`, `db.operation.name` |
///
/// Name and labels of the histogram are those of OpenTelemetry's semantic conventions for database
/// clients. It covers all attempts of a call. Errors by kind are its counts by `error.type`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metrics;

const DURATION: &str = "db.client.operation.duration";
pub(crate) const RETRIES: &str = "memory.retries";
pub(crate) const BACKEND: &str = "db.system.name";
pub(crate) const OPERATION: &str = "db.operation.name";
const ERROR: &str = "error.type";

impl Policy for Metrics {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let start = Instant::now();
        let result = next().await;
        let (backend, operation) = (call.backend, call.operation);
        let histogram = match &result {
            Ok(_) => metrics::histogram!(DURATION, BACKEND => backend, OPERATION => operation),
            Err(error) => {
                let code = error.code();
                metrics::histogram!(
                    DURATION, BACKEND => backend, OPERATION => operation, ERROR => code
                )
            }
        };
        histogram.record(start.elapsed());
        result
    }
}
