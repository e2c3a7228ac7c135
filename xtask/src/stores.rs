//! The stores that tests run on, and how each is had here.

use anyhow::{Result, bail};

/// A store that the conformance suite runs on.
pub(crate) struct Store {
    /// The driver's name, and the first part of its tests' names.
    pub(crate) name: &'static str,
    /// How it was had.
    pub(crate) how: &'static str,
}

/// Every store that this project has a driver for.
pub(crate) const STORES: [Store; 3] = [
    Store { name: "inmemory", how: "in the test's own process" },
    Store { name: "sqlite", how: "a file in a temporary folder, and in memory" },
    Store { name: "postgres", how: "TEST_POSTGRES_URL, or a container (`cargo xtask images`)" },
];

/// Fails where `MEMORY_REQUIRE` names a store that cannot be had.
pub(crate) fn check_required() -> Result<()> {
    let required = std::env::var("MEMORY_REQUIRE").unwrap_or_default();
    for name in required.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !STORES.iter().any(|store| store.name == name) {
            let known: Vec<_> = STORES.iter().map(|store| store.name).collect();
            bail!("MEMORY_REQUIRE names {name:?}; the stores are {}", known.join(", "));
        }
    }
    Ok(())
}
