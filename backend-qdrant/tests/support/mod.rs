//! Stores to test on: where they come from, and how they end.
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod certificates;
pub(crate) mod fixture;
pub(crate) mod gate;
pub(crate) mod place;
pub(crate) mod strict;

use std::sync::atomic::{AtomicU32, Ordering};

/// A prefix that no other store of this machine uses.
pub(crate) fn fresh_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let moment = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("test-{:x}-{}", moment.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed))
}
