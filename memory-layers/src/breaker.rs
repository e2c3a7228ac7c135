//! A circuit breaker.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use failsafe::backoff::{Exponential, exponential};
use failsafe::failure_policy::{ConsecutiveFailures, consecutive_failures};
use failsafe::{Config, Instrument, StateMachine};
use memquill_core::layer::{Call, Policy, TARGET};
use memquill_core::{Error, ErrorKind, Result};

/// Stops calling a store that does not answer (M. Nygard, *Release It!*, 2007).
///
/// After some failures in a row, none between them succeeding, calls fail at once with
/// `Unavailable` for a while, which doubles while the store stays away. Then calls go
/// through again; the first failure stops them again, the first success ends it. Only transient
/// `Unavailable` and `Timeout` count. An answer, even a `Conflict`, shows that the store is there;
/// what may have been refused before it (`InvalidInput`, `Unsupported`, `RateLimited`, every call
/// after closing) shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreaker {
    failures: u32,
    pause: Duration,
    max_pause: Duration,
}

impl CircuitBreaker {
    /// Opens after this many failures in a row, for 1 second at first and 30 at most.
    pub fn new(failures: u32) -> Self {
        let (pause, max_pause) = (Duration::from_secs(1), Duration::from_secs(30));
        Self { failures: failures.max(1), pause, max_pause }
    }

    /// Stays open so long at first, and at most, in whole seconds, one at least.
    #[must_use]
    pub fn with_pause(mut self, first: Duration, most: Duration) -> Self {
        self.pause = first.max(Duration::from_secs(1));
        self.max_pause = most.max(self.pause);
        self
    }

    pub(crate) fn layer(self) -> Breaking {
        let pauses = exponential(self.pause, self.max_pause);
        let log = Log::default();
        let config = Config::new().failure_policy(consecutive_failures(self.failures, pauses));
        Breaking { state: config.instrument(log.clone()).build(), log }
    }
}

/// The breaker of one backend.
pub(crate) struct Breaking {
    state: StateMachine<ConsecutiveFailures<Exponential>, Log>,
    log: Log,
}

impl fmt::Debug for Breaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Breaking").field(&self.log).finish()
    }
}

/// Logs what becomes of a breaker, with its backend's name, which the first call tells.
#[derive(Debug, Clone, Default)]
struct Log(Arc<OnceLock<&'static str>>);

impl Log {
    fn backend(&self) -> &'static str {
        self.0.get().copied().unwrap_or_default()
    }
}

impl Instrument for Log {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        let backend = self.backend();
        tracing::warn!(target: TARGET, backend, "the circuit breaker opens: calls fail at once");
    }

    fn on_half_open(&self) {
        let backend = self.backend();
        tracing::info!(target: TARGET, backend, "the circuit breaker lets calls through again");
    }

    fn on_closed(&self) {
        let backend = self.backend();
        tracing::info!(target: TARGET, backend, "the circuit breaker closes: the store answers");
    }
}

impl Policy for Breaking {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        self.log.0.get_or_init(|| call.backend);
        if !self.state.is_call_permitted() {
            return Err(Error::unavailable(
                "the store did not answer several times in a row, and is not called for a while",
            )
            .with_backend(call.backend)
            .with_operation(call.operation)
            .with_hint("check that the store is up; calls go through again after a pause"));
        }
        let result = next().await;
        match result.as_ref().map_err(|error| (error.kind(), error.is_transient())) {
            Err((ErrorKind::Unavailable | ErrorKind::Timeout, true)) => self.state.on_error(),
            // These can come from before the store: a closed connection (G15), core's checks, a full
            // concurrency limit.
            Err((
                ErrorKind::Unavailable
                | ErrorKind::Timeout
                | ErrorKind::InvalidInput
                | ErrorKind::Unsupported
                | ErrorKind::RateLimited,
                _,
            )) => {}
            _ => self.state.on_success(),
        }
        result
    }
}
