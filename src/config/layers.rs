//! The layers around a store's calls.

use std::time::Duration;

use memquill_layers::{CircuitBreaker, ConcurrencyLimit, Layers, Retries};
use serde::Deserialize;

use super::form::{Millis, Within};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    retry: Option<Retry>,
    circuit_breaker: Option<Breaker>,
    concurrency: Option<Concurrency>,
    timeout_ms: Option<Millis>,
    metrics: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retry {
    attempts: Within<1, 100>,
    pause_ms: Option<Millis>,
    max_pause_ms: Option<Millis>,
    within_ms: Option<Millis>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Breaker {
    failures: Within<1, 1_000_000>,
    pause_s: Option<Within<1, 86_400>>,
    max_pause_s: Option<Within<1, 86_400>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Concurrency {
    calls: Within<1, 1_000_000>,
    patience_ms: Option<Millis>,
}

impl From<Form> for Layers {
    fn from(form: Form) -> Self {
        let mut layers = Self::default();
        if let Some(retry) = form.retry {
            layers = layers.retry(retry.into());
        }
        if let Some(breaker) = form.circuit_breaker {
            layers = layers.circuit_breaker(breaker.into());
        }
        if let Some(concurrency) = form.concurrency {
            layers = layers.concurrency(concurrency.into());
        }
        if let Some(timeout) = form.timeout_ms {
            layers = layers.timeout(timeout.into());
        }
        match form.metrics {
            Some(metrics) => layers.metrics(metrics),
            None => layers,
        }
    }
}

impl From<Retry> for Retries {
    fn from(retry: Retry) -> Self {
        let pause = retry.pause_ms.map_or(Duration::from_millis(50), Into::into);
        let max_pause = retry.max_pause_ms.map_or(Duration::from_secs(2), Into::into);
        let retries = Self::new(retry.attempts.get()).with_pause(pause, max_pause);
        match retry.within_ms {
            Some(within) => retries.within(within.into()),
            None => retries,
        }
    }
}

impl From<Breaker> for CircuitBreaker {
    fn from(breaker: Breaker) -> Self {
        let seconds = |given: Option<Within<1, 86_400>>, default: u64| {
            Duration::from_secs(given.map_or(default, |seconds| seconds.get().into()))
        };
        Self::new(breaker.failures.get())
            .with_pause(seconds(breaker.pause_s, 1), seconds(breaker.max_pause_s, 30))
    }
}

impl From<Concurrency> for ConcurrencyLimit {
    fn from(concurrency: Concurrency) -> Self {
        let limit = Self::new(concurrency.calls.get() as usize);
        match concurrency.patience_ms {
            Some(patience) => limit.with_patience(patience.into()),
            None => limit,
        }
    }
}
