//! Layers that need a runtime: retry, circuit breaker, concurrency limit, timeout, metrics and
//! fault injection, each a small [`Policy`](memquill_core::layer::Policy) around every operation of a
//! backend. (`memquill-core`, which has no runtime, holds the mechanism and the tracing layer.)
//!
//! [`Layers`] puts them around a backend in the one order that makes sense:
//!
//! ```text
//! trace → metrics → retry → circuit breaker → concurrency limit → timeout → faults → driver
//! ```
//!
//! So a span and a measured latency cover all attempts of a call; each attempt has its own timeout;
//! and what waits for a turn does not use up the time of the call itself.
//!
//! ```
//! # use std::time::Duration;
//! # use memquill_layers::{Layers, Retries};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> memquill_core::Result<()> {
//! let backend = memquill_inmemory::InMemory::new().backend();
//! let layers = Layers::new().retry(Retries::new(5)).timeout(Duration::from_secs(2));
//! let backend = layers.around(backend);
//! # assert!(backend.working().is_ok());
//! # Ok(())
//! # }
//! ```

mod breaker;
mod faults;
mod limit;
mod meter;
mod retry;
mod timeout;

use std::time::Duration;

use memquill_core::Backend;
use memquill_core::layer::Trace;

pub use self::breaker::CircuitBreaker;
pub use self::faults::Faults;
pub use self::limit::ConcurrencyLimit;
use self::meter::Metrics;
pub use self::retry::Retries;
pub use self::timeout::{Timeout, within};

/// The layers around a backend.
///
/// [`Layers::default`] is what every store of a `Memory` has for which nothing else is said: retries
/// of three attempts, and metrics. [`Layers::new`] is no layer at all.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Layers {
    trace: bool,
    metrics: bool,
    retry: Option<Retries>,
    circuit_breaker: Option<CircuitBreaker>,
    concurrency: Option<ConcurrencyLimit>,
    timeout: Option<Duration>,
    faults: Option<Faults>,
}

impl Default for Layers {
    /// Retries of three attempts, and metrics, which cost next to nothing without a recorder.
    fn default() -> Self {
        Self::new().retry(Retries::new(3)).metrics(true)
    }
}

impl Layers {
    /// Returns no layer, to which each method adds one.
    pub fn new() -> Self {
        Self {
            trace: false,
            metrics: false,
            retry: None,
            circuit_breaker: None,
            concurrency: None,
            timeout: None,
            faults: None,
        }
    }

    /// A span around every operation, or none: at level `INFO` under the target `memquill`, so that
    /// a filter of `info` shows it. Retries (`WARN`) and the circuit breaker's changes (`WARN`,
    /// `INFO`) are events under the same target, with or without spans.
    pub fn trace(mut self, trace: bool) -> Self {
        self.trace = trace;
        self
    }

    /// Latencies and errors of every operation, or not, through the `metrics` facade: they go to the
    /// recorder that the program installed, and nowhere without one.
    ///
    /// | name | kind | labels |
    /// |---|---|---|
    /// | `db.client.operation.duration` | histogram, seconds | `db.system.name`, `db.operation.name`; of a failed call also `error.type`, a code of E2 |
    /// | `memory.retries` | counter, by the retries | `db.system.name`, `db.operation.name` |
    ///
    /// Name and labels of the histogram are those of OpenTelemetry's semantic conventions for
    /// database clients. It covers all attempts of a call; errors by kind are its counts by
    /// `error.type`. The recorder is looked for once for each operation: install it before the first
    /// call. It must be one for version 0.24 of the `metrics` crate, such as
    /// metrics-exporter-prometheus 0.18: one for another version records nothing. An exporter for
    /// Prometheus gives summaries unless it is given the histogram's buckets
    /// (`PrometheusBuilder::set_buckets_for_metric`).
    pub fn metrics(mut self, metrics: bool) -> Self {
        self.metrics = metrics;
        self
    }

    /// Repeats what failed in passing and is safe to repeat.
    pub fn retry(mut self, retry: Retries) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Stops calling a store that does not answer.
    pub fn circuit_breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.circuit_breaker = Some(breaker);
        self
    }

    /// Bounds how many calls are under way at once.
    pub fn concurrency(mut self, limit: ConcurrencyLimit) -> Self {
        self.concurrency = Some(limit);
        self
    }

    /// Bounds how long one attempt takes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes calls fail, for tests.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Puts the layers around a backend.
    pub fn around(&self, mut backend: Backend) -> Backend {
        if let Some(faults) = &self.faults {
            backend = backend.layered(faults.layer());
        }
        if let Some(timeout) = self.timeout {
            backend = backend.layered(Timeout::new(timeout));
        }
        if let Some(limit) = &self.concurrency {
            backend = backend.layered(limit.layer());
        }
        if let Some(breaker) = &self.circuit_breaker {
            backend = backend.layered(breaker.layer());
        }
        if let Some(retry) = &self.retry {
            backend = backend.layered(retry.layer());
        }
        if self.metrics {
            backend = backend.layered(Metrics::default());
        }
        if self.trace {
            backend = backend.layered(Trace);
        }
        backend
    }
}
