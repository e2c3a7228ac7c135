//! Stores to test on: where they come from, and how they end.
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod cluster;
pub(crate) mod gate;
pub(crate) mod pair;
pub(crate) mod place;
pub(crate) mod server;

use std::sync::atomic::{AtomicU32, Ordering};

use memquill_core::{Backend, Result, StoreUrl};
use memquill_redis::driver;

/// A prefix that no other store of this machine uses.
pub(crate) fn fresh_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let moment = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("test-{:x}-{}", moment.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Prepares the store and connects.
pub(crate) async fn connect(url: &str) -> Result<Backend> {
    let url: StoreUrl = url.parse()?;
    driver().admin(&url).await?.migrate().await?;
    driver().connect(&url).await
}

/// Whether `MEMQUILL_REQUIRE` names Redis.
pub(crate) fn required() -> bool {
    let required = std::env::var("MEMQUILL_REQUIRE").unwrap_or_default();
    required.split(',').any(|name| name.trim() == "redis")
}
