//! A test for each store, fault and phase, as in `postgres::reset::after_the_request`.
//!
//! Every test prints the seed that all its dice come from; `MEMQUILL_FAULTS_SEED` gives one. With
//! `MEMQUILL_FAULTS_MINUTES`, tests are drawn at random until the time is over, as `cargo xtask soak`
//! does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking, and tell their seeds"
)]

mod child;
mod clock;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod composed;
mod disk;
mod inmemory;
mod moving;
#[cfg(any(feature = "edge", feature = "postgres", feature = "redis"))]
mod network;
#[cfg(feature = "postgres")]
mod postgres;
mod process;
#[cfg(feature = "edge")]
mod qdrant;
#[cfg(feature = "redis")]
mod redis;
mod soak;
mod sqlite;
mod trial;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Builder, Runtime};

/// A test: what it is called, and what it does with its seed.
struct Test {
    name: String,
    /// Why it cannot run here.
    missing: Option<String>,
    run: Box<dyn Fn(u64) -> Running + Send + Sync>,
}

type Running = std::pin::Pin<Box<dyn Future<Output = ()>>>;

impl Test {
    fn new<F: Future<Output = ()> + 'static>(
        name: impl Into<String>,
        run: impl Fn(u64) -> F + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), missing: None, run: Box::new(move |seed| Box::pin(run(seed))) }
    }

    /// Runs it, and gives the message of its panic.
    fn run(&self, runtime: &Runtime, seed: u64) -> Result<(), String> {
        eprintln!("{}: MEMQUILL_FAULTS_SEED={seed}", self.name);
        let run = AssertUnwindSafe(|| runtime.block_on((self.run)(seed)));
        std::panic::catch_unwind(run).map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let message = message.unwrap_or_else(|| "a panic without a message".into());
            format!("{message}\nMEMQUILL_FAULTS_SEED={seed}")
        })
    }
}

/// A store's name, and what makes its tests, which may start a server to find out.
type Store = (&'static str, fn() -> Vec<Test>);

const STORES: &[Store] = &[
    ("inmemory", inmemory::tests),
    ("sqlite", sqlite::tests),
    #[cfg(feature = "postgres")]
    ("postgres", postgres::tests),
    #[cfg(feature = "redis")]
    ("redis", redis::tests),
    #[cfg(feature = "edge")]
    ("qdrant", qdrant::tests),
    #[cfg(all(feature = "postgres", feature = "redis"))]
    ("composed", composed::tests),
    ("moved", moving::tests),
];

/// The tests of all stores, or of the one that the filter names, as in `sqlite::locked`.
fn tests(filter: Option<&str>) -> Vec<Test> {
    let store = filter.and_then(|filter| filter.split_once("::")).map(|(store, _)| store);
    let wanted = STORES.iter().filter(|(name, _)| store.is_none_or(|store| name.ends_with(store)));
    wanted.flat_map(|(_, tests)| tests()).collect()
}

fn main() -> ExitCode {
    let runtime = Arc::new(Builder::new_multi_thread().enable_all().build().expect("a runtime"));
    if let Some(errand) = child::errand() {
        runtime.block_on(errand.run());
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let tests = tests(arguments.filter.as_deref());
    let ended = match soak::minutes() {
        Some(minutes) => soak::run(&runtime, &tests, minutes),
        None => once(&runtime, tests, arguments),
    };
    #[cfg(feature = "postgres")]
    postgres::clean_up();
    ended
}

/// Runs every test once.
fn once(runtime: &Arc<Runtime>, tests: Vec<Test>, mut arguments: Arguments) -> ExitCode {
    // Each has workers of its own; more at once only slow each other down.
    arguments.test_threads.get_or_insert(3);
    let trials = tests.into_iter().map(|test| {
        let (name, missing) = (test.name.clone(), test.missing.clone());
        let store = name.split("::").next().unwrap_or_default();
        let required = testkit::is_required(store);
        let (why, runtime) = (missing.clone(), Arc::clone(runtime));
        let trial = Trial::test(name, move || match &why {
            Some(why) => Err(Failed::from(why.as_str())),
            None => Ok(test.run(&runtime, trial::seed())?),
        });
        match missing {
            Some(why) => trial.with_kind(why).with_ignored_flag(!required),
            None => trial,
        }
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
