//! A circuit breaker.

use std::fmt;
use std::time::Duration;

use failsafe::backoff::{Exponential, exponential};
use failsafe::failure_policy::{ConsecutiveFailures, consecutive_failures};
use failsafe::{Config, StateMachine};
use memquill_core::layer::{Call, Policy};
use memquill_core::{Error, ErrorKind, Result};

/// Stops calling a store that does not answer (M. Nygard, *Release It!*, 2007).
///
/// After some failures in a row, none between them succeeding, calls fail at once with
/// `Unavailable` for a while, which doubles while the store stays away. Then calls go
/// through again; the first failure stops them anew, the first success ends it. Only `Unavailable`
/// and `Timeout` count. An answer, even a `Conflict`, shows that the store is there; what may have
/// been refused before it (`InvalidInput`, `Unsupported`, `RateLimited`) shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreaker {
    failures: u32,
    pause: Duration,
    max_pause: Duration,
}

impl CircuitBreaker {
    /// Opens after so many failures in a row, for 1 second at first and 30 at most.
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
        Breaking(Config::new().failure_policy(consecutive_failures(self.failures, pauses)).build())
    }
}

/// The breaker of one backend.
pub(crate) struct Breaking(StateMachine<ConsecutiveFailures<Exponential>, ()>);

impl fmt::Debug for Breaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Policy for Breaking {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        if !self.0.is_call_permitted() {
            return Err(Error::unavailable("the store did not answer of late and is left alone")
                .with_backend(call.backend)
                .with_operation(call.operation)
                .with_hint("is it up? it is tried again before long"));
        }
        let result = next().await;
        match result.as_ref().map_err(Error::kind) {
            Err(ErrorKind::Unavailable | ErrorKind::Timeout) => self.0.on_error(),
            // These can come from before the store: core's checks, a full concurrency limit.
            Err(ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::RateLimited) => {}
            _ => self.0.on_success(),
        }
        result
    }
}
