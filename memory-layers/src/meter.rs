//! Metrics.

use std::fmt;
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

use memquill_core::Result;
use memquill_core::layer::{Call, Policy};
use metrics::{Histogram, Unit};

/// As [`Layers::metrics`](crate::Layers::metrics) says.
pub(crate) struct Metrics {
    /// Of the one backend, by operation, in the order in which they were first used: to look one up
    /// costs less than to name it anew, and among some thirty less than to hash its name or to lock.
    succeeded: [OnceLock<(&'static str, Histogram)>; OPERATIONS],
    described: Once,
}

/// More than there are.
const OPERATIONS: usize = 64;

impl Default for Metrics {
    fn default() -> Self {
        Self { succeeded: [const { OnceLock::new() }; OPERATIONS], described: Once::new() }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    fn success(&self, backend: &'static str, operation: &'static str, duration: Duration) {
        let name = || metrics::histogram!(DURATION, BACKEND => backend, OPERATION => operation);
        for slot in &self.succeeded {
            let (known, histogram) = slot.get_or_init(|| (operation, name()));
            if *known == operation {
                return histogram.record(duration);
            }
        }
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
            match &result {
                Ok(_) => self.success(backend, operation, start.elapsed()),
                Err(error) => metrics::histogram!(
                    DURATION,
                    BACKEND => backend, OPERATION => operation, ERROR => error.code()
                )
                .record(start.elapsed()),
            }
            result
        }
    }
}
