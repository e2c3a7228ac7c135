//! Metrics.

use std::sync::Once;
use std::time::Instant;

use memquill_core::Result;
use memquill_core::layer::{Call, Policy};
use metrics::Unit;

/// As [`Layers::metrics`](crate::Layers::metrics) says.
#[derive(Debug)]
pub(crate) struct Metrics {
    described: Once,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { described: Once::new() }
    }
}

const DURATION: &str = "db.client.operation.duration";
pub(crate) const RETRIES: &str = "memory.retries";
pub(crate) const BACKEND: &str = "db.system.name";
pub(crate) const OPERATION: &str = "db.operation.name";
const ERROR: &str = "error.type";

/// Gives the recorder the counter's unit and help.
pub(crate) fn describe_retries() {
    metrics::describe_counter!(
        RETRIES,
        Unit::Count,
        "Calls of a store that failed and were retried."
    );
}

fn describe_duration() {
    metrics::describe_histogram!(
        DURATION,
        Unit::Seconds,
        "Duration of calls of a store, all their attempts included."
    );
}

impl Policy for Metrics {
    // Not an `async fn`, whose future would hold the whole call: it is allocated each time.
    fn around<T, F, N>(&self, call: Call<'_>, next: N) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let Call { backend, operation, .. } = call;
        async move {
            // At the first call, by when the program has installed its recorder.
            self.described.call_once(describe_duration);
            let start = Instant::now();
            let result = next().await;
            let duration = start.elapsed();
            let histogram = match &result {
                Ok(_) => {
                    metrics::histogram!(DURATION, BACKEND => backend, OPERATION => operation)
                }
                Err(error) => metrics::histogram!(
                    DURATION,
                    BACKEND => backend, OPERATION => operation, ERROR => error.code()
                ),
            };
            histogram.record(duration);
            result
        }
    }
}
