//! What the driver does when its servers refuse, stall, die and come back: on servers that these
//! tests start, break and end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod atomic;
mod cache;
mod cluster;
mod durability;
mod erasure;
mod expiry;
mod refusals;
mod replicas;
mod restoring;
mod schema;
mod tls;
mod urls;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use memquill_core::{Backend, Error, Get, Put, Result, Scope, Written};

/// A test: its name, and what it does. It fails by panicking.
type Case = (&'static str, fn());

/// Names tests after their functions, and gives each a runtime.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const ALL: &[crate::Case] = &[$((concat!(module_path!(), "::", stringify!($name)), || {
            tokio::runtime::Runtime::new().unwrap().block_on($name());
        })),*];
    };
}
pub(crate) use cases;

fn main() -> ExitCode {
    let missing =
        if testkit::has("redis-server") { None } else { Some("no redis-server on this machine") };
    let trials = [
        refusals::ALL,
        replicas::ALL,
        expiry::ALL,
        restoring::ALL,
        atomic::ALL,
        cache::ALL,
        durability::ALL,
        erasure::ALL,
        schema::ALL,
        cluster::ALL,
        tls::ALL,
        urls::ALL,
    ]
    .concat();
    let trials = trials
        .into_iter()
        .map(|(name, run)| {
            let trial = Trial::test(name, move || {
                if let Some(why) = missing {
                    return Err(Failed::from(why));
                }
                run();
                Ok(())
            });
            match missing {
                Some(why) => trial.with_kind(why).with_ignored_flag(!testkit::is_required("redis")),
                None => trial,
            }
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn scope() -> Scope {
    Scope::new("alice", "bot").unwrap()
}

async fn put(backend: &Backend, key: &str, value: &str) -> Result<Written> {
    backend.working().unwrap().put(&scope(), &Put::new(key, value)).await
}

async fn get(backend: &Backend, key: &str) -> Result<Option<String>> {
    let entry = backend.working().unwrap().get(&scope(), &Get::new(key)).await?;
    Ok(entry.map(|entry| entry.value.as_str().unwrap().to_owned()))
}

/// Repeats a call until it succeeds, for as long as its errors are transient.
async fn until_ok<T, F: Future<Output = Result<T>>>(mut call: impl FnMut() -> F) -> T {
    let start = std::time::Instant::now();
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => {
                assert!(error.is_transient(), "{error:?}");
                assert!(start.elapsed() < std::time::Duration::from_mins(1), "{error:?}");
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Kind, whether it may pass, whether it may have been applied.
fn facts(error: &Error) -> (&'static str, bool, bool) {
    assert!(error.hint().is_some(), "{error:?}");
    (error.code(), error.is_transient(), error.maybe_applied())
}
