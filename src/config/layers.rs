//! What stands around a store's calls.

use std::time::Duration;

use memquill_core::Result;
use memquill_layers::{CircuitBreaker, ConcurrencyLimit, Layers, Retries};

use super::reader::{Fields, Reader};

const LAYERS: &str = "as in layers: {retry: {attempts: 3}, timeout_ms: 5000}";
const RETRY: &str = "as in retry: {attempts: 3, pause_ms: 50}";
const BREAKER: &str = "as in circuit_breaker: {failures: 5}";
const CONCURRENCY: &str = "as in concurrency: {calls: 64}";

const DAY_MS: usize = 86_400_000;

pub(super) fn read(reader: &Reader<'_>) -> Result<Layers> {
    let known = ["retry", "circuit_breaker", "concurrency", "timeout_ms", "metrics"];
    let fields = reader.fields(&known, LAYERS)?;
    let mut layers = Layers::default();
    if let Some(reader) = fields.get("retry") {
        layers = layers.retry(retry(&reader)?);
    }
    if let Some(reader) = fields.get("circuit_breaker") {
        layers = layers.circuit_breaker(breaker(&reader)?);
    }
    if let Some(reader) = fields.get("concurrency") {
        layers = layers.concurrency(concurrency(&reader)?);
    }
    if let Some(timeout) = millis(&fields, "timeout_ms")? {
        layers = layers.timeout(timeout);
    }
    if let Some(reader) = fields.get("metrics") {
        layers = layers.metrics(reader.boolean()?);
    }
    Ok(layers)
}

fn retry(reader: &Reader<'_>) -> Result<Retries> {
    let fields = reader.fields(&["attempts", "pause_ms", "max_pause_ms", "within_ms"], RETRY)?;
    let mut retry = Retries::new(number(&fields.need("attempts")?, 100)?);
    let pause = millis(&fields, "pause_ms")?.unwrap_or(Duration::from_millis(50));
    let most = millis(&fields, "max_pause_ms")?.unwrap_or(Duration::from_secs(2));
    retry = retry.with_pause(pause, most);
    Ok(millis(&fields, "within_ms")?.map_or(retry, |within| retry.within(within)))
}

fn breaker(reader: &Reader<'_>) -> Result<CircuitBreaker> {
    let fields = reader.fields(&["failures", "pause_s", "max_pause_s"], BREAKER)?;
    let breaker = CircuitBreaker::new(number(&fields.need("failures")?, 1_000_000)?);
    let seconds = |name: &str, otherwise: u64| match fields.get(name) {
        Some(reader) => Ok(Duration::from_secs(u64::from(number(&reader, 86_400)?))),
        None => Ok(Duration::from_secs(otherwise)),
    };
    Ok(breaker.with_pause(seconds("pause_s", 1)?, seconds("max_pause_s", 30)?))
}

fn concurrency(reader: &Reader<'_>) -> Result<ConcurrencyLimit> {
    let fields = reader.fields(&["calls", "patience_ms"], CONCURRENCY)?;
    let limit = ConcurrencyLimit::new(fields.need("calls")?.between(1, 1_000_000)?);
    let patience = millis(&fields, "patience_ms")?;
    Ok(patience.map_or(limit, |patience| limit.with_patience(patience)))
}

fn number(reader: &Reader<'_>, most: u32) -> Result<u32> {
    // It fits: `most` does.
    Ok(u32::try_from(reader.between(1, most as usize)?).unwrap_or(most))
}

fn millis(fields: &Fields<'_>, name: &str) -> Result<Option<Duration>> {
    let number = fields.get(name).map(|reader| reader.between(1, DAY_MS)).transpose()?;
    Ok(number.map(|millis| Duration::from_millis(millis as u64)))
}
