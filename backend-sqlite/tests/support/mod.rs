//! What the driver's tests share.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::sync::Arc;

use memquill_core::{Backend, ManualClock, Scope, StoreUrl, Timestamp};
use memquill_sqlite::driver_with_clock;

/// The URL of a file; the options make commits cheap.
pub(crate) fn url(file: &Path) -> StoreUrl {
    format!("sqlite:{}?synchronous=normal", file.display()).parse().unwrap()
}

/// A database in memory, and the clock that it uses.
pub(crate) async fn in_memory() -> (Backend, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap()));
    let driver = driver_with_clock(clock.clone());
    (driver.connect(&"sqlite::memory:".parse().unwrap()).await.unwrap(), clock)
}

/// A database in a file.
pub(crate) async fn in_file(file: &Path) -> Backend {
    memquill_sqlite::driver().connect(&url(file)).await.unwrap()
}

/// Some scope.
pub(crate) fn scope() -> Scope {
    Scope::new("alice", "node").unwrap()
}
