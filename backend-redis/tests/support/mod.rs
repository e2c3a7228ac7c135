//! Stores to test on: where they come from, and how they end.
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod cluster;
pub(crate) mod pair;
pub(crate) mod place;

use memquill_core::{Backend, Result, StoreUrl};
use memquill_redis::driver;

/// Prepares the store and connects.
pub(crate) async fn connect(url: &str) -> Result<Backend> {
    let url: StoreUrl = url.parse()?;
    driver().admin(&url).await?.migrate().await?;
    driver().connect(&url).await
}
