//! A bound on how long an attempt takes.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use memquill_core::layer::{Call, Policy};
use memquill_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// The longest timeout, a year: it can be added to any time.
const MAX_TIMEOUT: Duration = Duration::from_hours(365 * 24);

/// Waits at most `patience` for a call, then drops it and returns `None`.
pub async fn within<T>(patience: Duration, call: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(patience, call).await.ok()
}

/// Gives up an attempt that takes too long, with `Timeout`.
///
/// The attempt is dropped, which leaves it done or not done (G7); of a write the error therefore
/// says that it may have been applied.
pub struct Timeout {
    patience: Duration,
    /// Timers of attempts that ended. To put one off costs little; to start one wakes the runtime's
    /// driver, which costs more than all other layers together.
    idle: Mutex<Vec<Timer>>,
}

struct Timer {
    runtime: Id,
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        pin!(unconstrained(self.sleep.as_mut())).poll(context)
    }
}

impl Timeout {
    /// Gives an attempt so much time.
    pub fn new(patience: Duration) -> Self {
        Self { patience, idle: Mutex::default() }
    }

    /// A timer of this runtime.
    fn start(&self) -> Timer {
        let runtime = Handle::current().id();
        let due = Instant::now() + self.patience.min(MAX_TIMEOUT);
        let idle = self.idle.lock().pop();
        match idle.filter(|timer| timer.runtime == runtime) {
            Some(mut timer) => {
                timer.sleep.as_mut().reset(due);
                timer
            }
            None => Timer { runtime, sleep: Box::pin(sleep_until(due)) },
        }
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timeout").field(&self.patience).finish()
    }
}

impl Policy for Timeout {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let late = || {
            Error::new(ErrorKind::Timeout, format!("no answer within {:?}", self.patience))
                .with_backend(call.backend)
                .with_operation(call.operation)
                .with_maybe_applied(call.writes)
                .with_hint("is the store overloaded? the layer's timeout may be raised")
        };
        let mut attempt = pin!(next());
        let mut timer = None;
        let result = poll_fn(|context| {
            if let Poll::Ready(result) = attempt.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            // What is there at once needs no timer.
            let timer = timer.get_or_insert_with(|| self.start());
            timer.poll(context).map(|()| Err(late()))
        })
        .await;
        if let Some(timer) = timer.filter(|timer| !timer.sleep.is_elapsed()) {
            self.idle.lock().push(timer);
        }
        result
    }
}
