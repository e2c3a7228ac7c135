//! Properties: random sequences of operations, whose every answer must be the model's.

mod conversations;
mod filters;
mod vectors;
mod windows;
mod working;

use std::fmt::Debug;
use std::future::Future;

use memquill_core::{Error, Result, Timestamp};
use proptest::collection::vec;
use proptest::strategy::{Just, Strategy};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use tokio::runtime::Handle;

use crate::scenario::{Scenario, Test};

pub(crate) fn all() -> Vec<Scenario> {
    [conversations::ALL, working::ALL, vectors::ALL, filters::ALL, windows::ALL].concat()
}

/// How many random cases a property is tried on, unless `MEMQUILL_CONFORMANCE_CASES` says otherwise.
const CASES: u32 = 24;

/// Tries the property on random values, and panics with the simplest that it does not hold for.
async fn holds<S, V, F>(
    test: &Test,
    values: impl FnOnce(&Test) -> S + Send + 'static,
    property: impl Fn(Test, V) -> F + Send + 'static,
) where
    S: Strategy<Value = V>,
    V: Debug + Send + 'static,
    F: Future<Output = std::result::Result<(), String>>,
{
    let cases = std::env::var("MEMQUILL_CONFORMANCE_CASES");
    let config = Config {
        cases: cases.ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 300,
        max_shrink_time: 20_000,
        rng_seed: RngSeed::Fixed(test.random_seed()),
        ..Config::default()
    };
    let test = test.clone();
    // proptest is synchronous, so it gets a thread on which it may wait for the store.
    let run = move || {
        let handle = Handle::current();
        TestRunner::new(config).run(&values(&test), |value| {
            handle.block_on(property(test.clone(), value)).map_err(TestCaseError::fail)
        })
    };
    match tokio::task::spawn_blocking(run).await.expect("the property's thread") {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("no cases: {reason}"),
        Err(TestError::Fail(reason, simplest)) => panic!("{reason}\nfor {simplest:#?}"),
    }
}

/// A value with this probability, which may be 0.
fn maybe<S: Strategy + 'static>(
    probability: f64,
    value: S,
) -> impl Strategy<Value = Option<S::Value>> + Clone
where
    S::Value: Clone,
{
    if probability > 0.0 {
        proptest::option::weighted(probability, value).boxed()
    } else {
        Just(None).boxed()
    }
}

/// Sequences in which things expire, twice, since waiting takes real time on most stores.
fn aging<O: Debug + Clone>(
    op: impl Strategy<Value = O> + 'static,
    expire: impl Strategy<Value = O> + Clone,
) -> impl Strategy<Value = Vec<O>> {
    let op = op.boxed();
    let parts =
        (vec(op.clone(), 0..8), expire.clone(), vec(op.clone(), 1..10), expire, vec(op, 1..10));
    parts.prop_map(|(mut ops, first, between, second, last)| {
        ops.push(first);
        ops.extend(between);
        ops.push(second);
        ops.extend(last);
        ops
    })
}

/// Whether the store's answer is the model's. Errors are compared by what the contract says of
/// them: kind and current version.
fn same<T: PartialEq + Debug>(
    what: &impl Debug,
    store: &Result<T>,
    model: &Result<T>,
) -> std::result::Result<(), String> {
    let equal = match (store, model) {
        (Ok(store), Ok(model)) => store == model,
        (Err(store), Err(model)) => facts(store) == facts(model),
        _ => false,
    };
    if equal {
        return Ok(());
    }
    Err(format!("{what:?}\nanswered {store:?}\nby the model {model:?}"))
}

fn facts(error: &Error) -> impl PartialEq + use<> {
    (error.kind(), error.current_version(), error.is_transient(), error.maybe_applied())
}

/// Whether two expiries are the same but for the time that passed between two clock readings.
fn near(a: Option<Timestamp>, b: Option<Timestamp>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.as_millis().abs_diff(b.as_millis()) < 120_000,
        (None, None) => true,
        _ => false,
    }
}

/// Puts the model's expiry in place of the store's where they are near, so that whole answers
/// compare.
fn align(store: &mut Option<Timestamp>, model: Option<Timestamp>) {
    if near(*store, model) {
        *store = model;
    }
}
