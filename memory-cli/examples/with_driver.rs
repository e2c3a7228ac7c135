//! The whole `memquill` command with a driver of your own, as in
//! `cargo run --example with_driver -- --store shelf:books capabilities`.

use std::process::ExitCode;
use std::sync::Arc;

use memquill::Result;
use memquill::driver::{Administrator, Backend, Driver, Registry, StoreUrl};

/// A driver of your own; here the in-memory one under another scheme.
#[derive(Debug)]
struct Shelf(Arc<dyn Driver>);

#[async_trait::async_trait]
impl Driver for Shelf {
    fn name(&self) -> &'static str {
        "shelf"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["shelf"]
    }

    async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        self.0.connect(&in_memory(url)?).await
    }

    async fn admin(&self, url: &StoreUrl) -> Result<Administrator> {
        self.0.admin(&in_memory(url)?).await
    }
}

fn in_memory(url: &StoreUrl) -> Result<StoreUrl> {
    url.expose().replacen("shelf:", "memory:", 1).parse()
}

fn main() -> ExitCode {
    let mut registry = Registry::with_compiled_drivers();
    registry.register(Arc::new(Shelf(memquill_inmemory::driver())));
    memquill_cli::run(registry)
}
