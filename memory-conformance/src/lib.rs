//! The conformance suite: what every clause of the contract (`docs/semantics.md`) demands, as
//! scenarios that run against anyone's driver on a real store.
//!
//! A driver's test is a few lines, with `harness = false` in its `Cargo.toml`:
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use memquill_conformance::{Harness, TestStore, async_trait, main_with};
//! use memquill_core::{Administrator, Backend, Result};
//! # mod my_driver {
//! #     pub async fn connect() -> memquill_core::Result<memquill_core::Backend> { unimplemented!() }
//! #     pub async fn admin() -> memquill_core::Result<memquill_core::Administrator> { unimplemented!() }
//! # }
//!
//! struct MyHarness;
//! struct MyStore;
//!
//! #[async_trait]
//! impl Harness for MyHarness {
//!     fn name(&self) -> &str { "mine" }
//!     async fn store(&self) -> Result<Arc<dyn TestStore>> { Ok(Arc::new(MyStore)) }
//! }
//!
//! #[async_trait]
//! impl TestStore for MyStore {
//!     async fn connect(&self) -> Result<Backend> { my_driver::connect().await }
//!     async fn admin(&self) -> Result<Administrator> { my_driver::admin().await }
//!     async fn pass(&self, by: Duration) { tokio::time::sleep(by).await }
//! }
//!
//! fn main() -> std::process::ExitCode { main_with(MyHarness) }
//! ```
//!
//! Every scenario is a test of its own, named `facet::clause::what`. [`moves`] looks at two drivers
//! at once: what one holds is the same once it was copied to the other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "scenarios are tests: they fail by panicking"
)]
#![allow(clippy::similar_names, reason = "every scenario has a test, and many a text")]

mod harness;
mod model;
mod moving;
mod runner;
mod scenario;
mod scenarios;
mod support;

pub use async_trait::async_trait;

pub use self::harness::{Faults, Harness, TestStore};
pub use self::moving::moves;
pub use self::runner::{Report, Verdict, main_with, run, run_one};
pub use self::scenario::{Family, Scenario, Test};
pub use self::scenarios::all as scenarios;
