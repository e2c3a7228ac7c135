//! Faults on purpose.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use memquill_core::layer::{Call, Policy};
use memquill_core::{Error, Result};
use parking_lot::Mutex;

/// Makes calls fail at random, but replayable: for tests of the code above.
///
/// The same seed gives the same faults to the same sequence of calls. Each kind has a probability
/// from 0 to 1; what fails says truly whether its effect may have been applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    seed: u64,
    before: f64,
    after: f64,
    cancel: f64,
    delay: f64,
    max_delay: Duration,
}

impl Faults {
    /// No faults yet, by this seed.
    pub fn new(seed: u64) -> Self {
        let max_delay = Duration::ZERO;
        Self { seed, before: 0.0, after: 0.0, cancel: 0.0, delay: 0.0, max_delay }
    }

    /// Sets the share of calls that fail before they reach the store.
    #[must_use]
    pub fn before(mut self, probability: f64) -> Self {
        self.before = probability;
        self
    }

    /// Sets the share of calls that fail after they were done, as when the answer is lost.
    #[must_use]
    pub fn after(mut self, probability: f64) -> Self {
        self.after = probability;
        self
    }

    /// Sets the share of calls that are dropped under way, at a random moment.
    #[must_use]
    pub fn cancel(mut self, probability: f64) -> Self {
        self.cancel = probability;
        self
    }

    /// Sets the share of calls that wait first, for up to `most`.
    #[must_use]
    pub fn delay(mut self, probability: f64, most: Duration) -> Self {
        self.delay = probability;
        self.max_delay = most;
        self
    }

    pub(crate) fn layer(self) -> Faulty {
        Faulty { dice: Mutex::new(fastrand::Rng::with_seed(self.seed)), faults: self }
    }

    fn plan(&self, dice: &mut fastrand::Rng) -> Plan {
        let mut hit = |probability| dice.f64() < probability;
        let [before, after, cancel, delay] =
            [self.before, self.after, self.cancel, self.delay].map(&mut hit);
        Plan {
            fate: match (before, after, cancel) {
                (true, ..) => Fate::Before,
                (_, true, _) => Fate::After,
                (.., true) => Fate::CancelledAfter(dice.u8(0..=3)),
                _ => Fate::Spared,
            },
            delay: delay.then(|| self.max_delay.mul_f64(dice.f64())),
        }
    }
}

/// The plan for one call.
struct Plan {
    fate: Fate,
    delay: Option<Duration>,
}

enum Fate {
    Spared,
    Before,
    After,
    /// After it was polled this many times.
    CancelledAfter(u8),
}

/// The faults of one backend.
#[derive(Debug)]
pub(crate) struct Faulty {
    faults: Faults,
    dice: Mutex<fastrand::Rng>,
}

fn injected(call: &Call<'_>, what: &'static str, maybe_applied: bool) -> Error {
    Error::unavailable(what)
        .with_backend(call.backend)
        .with_operation(call.operation)
        .with_maybe_applied(maybe_applied)
        .with_hint("this fault was injected on purpose")
}

impl Policy for Faulty {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let plan = self.faults.plan(&mut self.dice.lock());
        if let Some(delay) = plan.delay {
            tokio::time::sleep(delay).await;
        }
        match plan.fate {
            Fate::Spared => next().await,
            Fate::Before => Err(injected(&call, "the request was lost", false)),
            Fate::After => {
                next().await?;
                Err(injected(&call, "the answer was lost", call.writes))
            }
            Fate::CancelledAfter(polls) => {
                let mut attempt = pin!(next());
                let mut left = polls;
                let ended = std::future::poll_fn(|context| {
                    if left == 0 {
                        return Poll::Ready(None);
                    }
                    left -= 1;
                    attempt.as_mut().poll(context).map(Some)
                });
                ended.await.unwrap_or_else(|| {
                    Err(injected(&call, "the call was dropped", call.writes && polls > 0))
                })
            }
        }
    }
}
