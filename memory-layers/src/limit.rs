//! A bound on how many calls are under way.

use std::time::Duration;

use memquill_core::layer::{Call, Policy};
use memquill_core::{Error, ErrorKind, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bounds how many calls are under way at once; others wait their turn, first come, first served.
///
/// A call whose turn does not come in time fails with `RateLimited`, and nothing of it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    calls: usize,
    patience: Duration,
}

impl ConcurrencyLimit {
    /// Lets at most this many calls through at once; others wait up to 30 seconds. At least one is let through.
    pub fn new(calls: usize) -> Self {
        Self { calls: calls.clamp(1, Semaphore::MAX_PERMITS), patience: Duration::from_secs(30) }
    }

    /// Lets calls wait so long for their turn.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(crate) fn layer(self) -> Limited {
        Limited { turns: Semaphore::new(self.calls), limit: self }
    }
}

/// The limit of one backend.
#[derive(Debug)]
pub(crate) struct Limited {
    limit: ConcurrencyLimit,
    turns: Semaphore,
}

impl Limited {
    async fn turn(&self, call: &Call<'_>) -> Result<SemaphorePermit<'_>> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let turn = tokio::time::timeout(self.limit.patience, self.turns.acquire()).await;
        turn.ok().and_then(std::result::Result::ok).ok_or_else(|| {
            let ConcurrencyLimit { calls, patience } = self.limit;
            let message = format!("{calls} calls are under way, and none ended in {patience:?}");
            Error::new(ErrorKind::RateLimited, message)
                .with_backend(call.backend)
                .with_operation(call.operation)
                .with_hint("fewer calls at once, larger batches, or a higher concurrency limit")
        })
    }
}

impl Policy for Limited {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let _turn = self.turn(&call).await?;
        next().await
    }
}
