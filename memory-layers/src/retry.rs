//! Retries.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use memquill_core::layer::{Call, Policy, TARGET};
use memquill_core::{Error, Result};

use crate::meter::{BACKEND, OPERATION, RETRIES, describe_retries};

/// Repeats a call that failed transiently, where repeating it is safe.
///
/// That is where the error is transient, and either says that nothing was applied (E1) or the call
/// leaves the same whether it is done once or twice: reads, deletes, puts under a condition, appends
/// whose messages all carry ids (C3), records (V1, G5), and what is restored. Everything else fails
/// as it failed.
///
/// The pauses grow exponentially, with jitter, and are no shorter than the store asks for. A budget
/// bounds what retries add to a store that is in trouble: every call earns a tenth of a retry, up to
/// ten of them are saved, and without one a call fails as it failed.
///
/// If an attempt may have been applied, the last attempt's error says so too. After such an attempt
/// a condition may fail against the call's own effect: that `Conflict` says `maybe_applied`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retries {
    attempts: u32,
    pause: Duration,
    max_pause: Duration,
    within: Duration,
    budget: u32,
}

impl Retries {
    /// Makes at most this many attempts, the first included, with pauses from 50 ms to 2 s, and begins
    /// none later than 30 s after the first.
    pub fn new(attempts: u32) -> Self {
        Self {
            attempts: attempts.max(1),
            pause: Duration::from_millis(50),
            max_pause: Duration::from_secs(2),
            within: Duration::from_secs(30),
            budget: 10,
        }
    }

    /// Pauses so long before the second attempt, doubles it for each further one up to `most`, and
    /// adds up to as much again by chance.
    #[must_use]
    pub fn with_pause(mut self, first: Duration, most: Duration) -> Self {
        self.pause = first;
        self.max_pause = most.max(first);
        self
    }

    /// Begins no attempt later than so long after the first.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Saves up this many retries instead of ten.
    #[must_use]
    pub fn with_budget(mut self, retries: u32) -> Self {
        self.budget = retries;
        self
    }

    pub(crate) fn layer(self) -> Retrying {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(self.pause)
            .with_max_delay(self.max_pause)
            .with_factor(2.0)
            .with_max_times(self.attempts as usize - 1)
            .with_jitter();
        Retrying {
            pauses,
            within: self.within,
            budget: Budget::new(self.budget),
            described: Once::new(),
        }
    }
}

/// Retries around one backend.
#[derive(Debug)]
pub(crate) struct Retrying {
    pauses: ExponentialBuilder,
    within: Duration,
    budget: Budget,
    described: Once,
}

impl Retrying {
    /// Tries again while that is safe, allowed and of use.
    async fn repeat<T, F: Future<Output = Result<T>>>(
        &self,
        call: Call<'_>,
        next: impl Fn() -> F,
        first: Instant,
        mut error: Error,
    ) -> Result<T> {
        let mut maybe_applied = false;
        for pause in self.pauses.build() {
            maybe_applied |= error.maybe_applied();
            let pause = pause.max(error.retry_after().unwrap_or_default());
            let safe = call.repeatable || !maybe_applied;
            let in_time = first.elapsed() + pause <= self.within;
            if !(error.is_transient() && safe && in_time && self.budget.spend()) {
                break;
            }
            self.described.call_once(describe_retries);
            metrics::counter!(RETRIES, BACKEND => call.backend, OPERATION => call.operation)
                .increment(1);
            tracing::warn!(
                target: TARGET,
                backend = call.backend,
                operation = call.operation,
                code = error.code(),
                ?pause,
                "a call failed and is retried"
            );
            tokio::time::sleep(pause).await;
            error = match next().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
        }
        maybe_applied |= error.maybe_applied();
        Err(error.with_maybe_applied(maybe_applied))
    }
}

impl Policy for Retrying {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        self.budget.earn();
        let first = Instant::now();
        match next().await {
            Ok(value) => Ok(value),
            Err(error) => self.repeat(call, next, first, error).await,
        }
    }
}

/// The retries that are left, in tenths of one: a call earns one tenth. It starts full.
#[derive(Debug)]
struct Budget {
    left: AtomicU64,
    full: u64,
}

const RETRY: u64 = 10;

impl Budget {
    fn new(retries: u32) -> Self {
        let full = u64::from(retries) * RETRY;
        Self { left: AtomicU64::new(full), full }
    }

    fn earn(&self) {
        // Full is the usual case, and reading does not take the cache line from other cores.
        if self.left.load(Ordering::Relaxed) < self.full {
            self.change(|left| Some(self.full.min(left + 1)));
        }
    }

    fn spend(&self) -> bool {
        self.change(|left| left.checked_sub(RETRY))
    }

    fn change(&self, change: impl FnMut(u64) -> Option<u64>) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}
