//! The conformance suite through the cache: it changes nothing.

#[allow(dead_code, reason = "shared with tests that use more of it")]
mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use memquill_conformance::main_with;
use memquill_core::cache::{Cache, CacheOptions, SharedLevel};
use memquill_core::{Backend, Clock, Facet};
use support::shared::Shared;
use support::{Around, Stores};

/// One process: every connection stands behind one cache.
fn one_process(clock: Arc<dyn Clock>) -> Around {
    let options = CacheOptions { max_age: Duration::from_hours(1), ..CacheOptions::default() };
    let cache = Cache::with_clock(options, clock);
    Box::new(move |backend: Backend| cache.around(backend, Facet::ALL))
}

/// As many processes as there are connections, which share nothing but a second level.
fn many_processes(clock: Arc<dyn Clock>) -> Around {
    let shared = Arc::new(Shared::default());
    Box::new(move |backend: Backend| {
        let shared = SharedLevel { cache: Arc::clone(&shared) as _, ttl: Duration::from_hours(1) };
        let options = CacheOptions {
            max_age: Duration::ZERO,
            shared: Some(shared),
            ..CacheOptions::default()
        };
        Cache::with_clock(options, Arc::clone(&clock)).around(backend, Facet::ALL)
    })
}

fn main() -> ExitCode {
    let codes = [
        main_with(Stores { name: "inmemory (cached)", around: one_process }),
        main_with(Stores { name: "inmemory (shared cache)", around: many_processes }),
    ];
    if codes.iter().all(|code| *code == ExitCode::SUCCESS) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
