//! Dropped futures (G7).

use memquill_core::CountRecords;

use super::traces::{look, plant, record, records};
use crate::scenario::{Family, Test, scenarios};
use crate::support::polled_at_most;

scenarios! {
    facet: None, family: Family::Concurrency;
    g7: a_store_of_records_that_is_dropped_is_done_or_not_done;
    g7: an_erasure_that_is_dropped_can_be_repeated;
    g7: a_handle_survives_any_number_of_dropped_calls;
}

async fn a_store_of_records_that_is_dropped_is_done_or_not_done(test: Test) {
    let Ok(vectors) = test.backend().vectors() else { return };
    if !test.has(memquill_core::Feature::AtomicRecords) {
        return;
    }
    let scope = test.scope();
    for polls in 0..100 {
        let batch = (0..5).map(|n| record(&format!("{polls}-{n}"), &format!("text {polls} {n}")));
        let request = records(batch.collect());
        let stored = polled_at_most(polls, vectors.store(&scope, &request)).await;
        let count = CountRecords { namespace: "n".into(), filter: None };
        let count = vectors.count(&scope, &count).await.unwrap();
        assert_eq!(count % 5, 0, "part of a batch after {polls} polls");
        if stored.map(Result::unwrap).is_some() && polls > 2 {
            break;
        }
    }
}

async fn an_erasure_that_is_dropped_can_be_repeated(test: Test) {
    let control = test.backend().control();
    for polls in 0..100 {
        let scope = test.scope();
        plant(test.backend(), &scope, "alpha").await;
        let erased = polled_at_most(polls, control.erase(scope.user())).await;
        let finished = erased.map(Result::unwrap).is_some();
        control.erase(scope.user()).await.unwrap();
        assert_eq!(look(test.backend(), &scope, "alpha").await, [""; 0]);
        if finished && polls > 2 {
            break;
        }
    }
}

async fn a_handle_survives_any_number_of_dropped_calls(test: Test) {
    // More than any pool has connections.
    for n in 0..100 {
        let scope = test.scope();
        polled_at_most(n % 7, plant(test.backend(), &scope, "dropped")).await;
        polled_at_most(n % 5, look(test.backend(), &scope, "dropped")).await;
    }
    let scope = test.scope();
    plant(test.backend(), &scope, "alpha").await;
    let seen = look(test.backend(), &scope, "alpha").await;
    assert!(!seen.is_empty());
    assert_eq!(look(&test.connect().await, &scope, "alpha").await, seen);
}
