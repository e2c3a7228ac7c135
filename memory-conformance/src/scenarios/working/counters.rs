//! Counters (W6).

use std::collections::HashSet;
use std::time::Duration;

use memquill_core::{ErrorKind, Facet, MAX_TTL, Put};
use serde_json::{Value, json};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{AFTER_SHORT, LONG, SHORT, Working, conflict, increment, object, refused};

scenarios! {
    facet: Some(Facet::Working), family: Family::Example;
    w6: a_missing_key_counts_from_zero [Counters];
    w6: increments_add_and_subtract [Counters];
    w6: a_counter_is_an_entry [Counters];
    w6: a_stored_integer_is_counted_on [Counters];
    w6: what_is_no_integer_is_a_conflict_and_stays [Counters];
    w6: an_integer_past_i64_is_a_conflict_and_stays [Counters];
    w6: overflow_is_a_conflict_on_both_sides_and_changes_nothing [Counters];
    w6: the_whole_range_of_i64_is_counted [Counters];
    w6: an_increment_keeps_expiry_and_metadata [Counters];
    w6: the_initial_ttl_is_for_a_new_key_alone [Counters];
    w6: every_increment_changes_version_and_updated_at [Counters];
}

async fn a_missing_key_counts_from_zero(test: Test) {
    let working = Working::new(&test);
    assert_eq!(working.increment("up", 1).await.value, 1);
    assert_eq!(working.increment("down", -5).await.value, -5);
    assert_eq!(working.increment("still", 0).await.value, 0);
    assert_eq!(working.keys("").await, ["down", "still", "up"]);
}

async fn increments_add_and_subtract(test: Test) {
    let working = Working::new(&test);
    let mut values = Vec::new();
    for by in [5, -7, 0, 1_000_000, -1] {
        values.push(working.increment("n", by).await.value);
    }
    assert_eq!(values, [5, -2, -2, 999_998, 999_997]);
}

async fn a_counter_is_an_entry(test: Test) {
    let working = Working::new(&test);
    let counted = working.increment("n", 3).await;
    let entry = working.get("n").await.expect("an entry");
    assert_eq!(entry.value, json!(3));
    assert!(entry.value.as_i64().is_some(), "an integer, not {:?}", entry.value);
    assert_eq!(entry.version, counted.written.version);
    assert_eq!(entry.created_at, counted.written.created_at);
    assert_eq!(entry.updated_at, counted.written.updated_at);
    assert_eq!((entry.expires_at, entry.metadata), (None, object(json!({}))));
    working.delete("n").await;
    assert_eq!(working.increment("n", 1).await.value, 1);
}

async fn a_stored_integer_is_counted_on(test: Test) {
    let working = Working::new(&test);
    for (value, by, expected) in [(json!(41), 1, 42), (json!(-1), -1, -2), (json!(0), 7, 7)] {
        working.put("n", value).await;
        assert_eq!(working.increment("n", by).await.value, expected);
        assert_eq!(working.value("n").await, expected);
    }
}

/// Increments over `value` are conflicts, and leave it as it is.
async fn stays(working: &Working, value: Value, increments: &[i64]) {
    working.put("n", value.clone()).await;
    let before = working.get("n").await;
    for by in increments {
        conflict(working.try_increment("n", *by).await);
        assert_eq!(working.get("n").await, before, "{value} + {by}");
    }
}

async fn what_is_no_integer_is_a_conflict_and_stays(test: Test) {
    let working = Working::new(&test);
    for value in [
        json!(1.5),
        json!(1.0),
        json!(-0.0),
        json!(1e300),
        json!("1"),
        json!(""),
        json!(null),
        json!(true),
        json!([1]),
        json!({"n": 1}),
    ] {
        stays(&working, value, &[1, 0, -1]).await;
    }
}

async fn an_integer_past_i64_is_a_conflict_and_stays(test: Test) {
    let working = Working::new(&test);
    for value in [u64::MAX, i64::MAX.unsigned_abs() + 1] {
        stays(&working, value.into(), &[1, 0, -1, i64::MIN]).await;
    }
}

async fn overflow_is_a_conflict_on_both_sides_and_changes_nothing(test: Test) {
    let working = Working::new(&test);
    stays(&working, i64::MAX.into(), &[1, i64::MAX]).await;
    stays(&working, i64::MIN.into(), &[-1, i64::MIN]).await;
    stays(&working, 2.into(), &[i64::MAX, i64::MAX - 1]).await;
}

async fn the_whole_range_of_i64_is_counted(test: Test) {
    let working = Working::new(&test);
    for (first, second, expected) in [
        (i64::MAX, i64::MIN, -1),
        (i64::MIN, i64::MAX, -1),
        (i64::MAX - 1, 1, i64::MAX),
        (i64::MIN + 1, -1, i64::MIN),
        // Where floats round.
        (9_007_199_254_740_992, 1, 9_007_199_254_740_993),
    ] {
        working.delete("n").await;
        assert_eq!(working.increment("n", first).await.value, first);
        assert_eq!(working.increment("n", second).await.value, expected);
        assert_eq!(working.value("n").await, expected);
    }
}

async fn an_increment_keeps_expiry_and_metadata(test: Test) {
    let working = Working::new(&test);
    let metadata = object(json!({"unit": "calls"}));
    let put = Put { metadata: metadata.clone(), ..Put::new("n", 1).with_ttl(LONG) };
    let written = working.try_put(put).await.unwrap();
    test.pass(Duration::from_millis(20)).await;
    let counted = working.increment("n", 1).await;
    assert_eq!(counted.written.expires_at, written.expires_at);
    assert_eq!(counted.written.created_at, written.created_at);
    let entry = working.get("n").await.unwrap();
    assert_eq!((entry.expires_at, entry.metadata), (written.expires_at, metadata));
}

async fn the_initial_ttl_is_for_a_new_key_alone(test: Test) {
    let working = Working::new(&test);
    let count = async |key, ttl| {
        let request = increment(key, 1, ttl);
        working.store().increment(working.scope(), &request).await
    };
    let first = count("n", Some(LONG)).await.unwrap();
    let least = first.written.updated_at.saturating_add(LONG);
    assert!(first.written.expires_at >= Some(least));
    for ttl in [Some(SHORT), Some(2 * LONG), None] {
        let again = count("n", ttl).await.unwrap();
        assert_eq!(again.written.expires_at, first.written.expires_at);
    }
    working.put("for ever", 1).await;
    assert_eq!(count("for ever", Some(SHORT)).await.unwrap().written.expires_at, None);
    count("short", Some(SHORT)).await.unwrap();
    test.pass(AFTER_SHORT).await;
    assert_eq!(working.get("short").await, None);
    assert_eq!(working.value("n").await, 4);
    for ttl in [Duration::ZERO, MAX_TTL + SHORT] {
        refused(count("n", Some(ttl)).await, ErrorKind::InvalidInput);
    }
}

async fn every_increment_changes_version_and_updated_at(test: Test) {
    let working = Working::new(&test);
    let mut versions = HashSet::from([working.put("n", 1).await.version]);
    let mut last = working.get("n").await.unwrap();
    for by in [1, 0, -1] {
        test.pass(Duration::from_millis(5)).await;
        let counted = working.increment("n", by).await;
        assert!(versions.insert(counted.written.version), "adding {by}");
        assert!(counted.written.updated_at > last.updated_at);
        last = working.get("n").await.unwrap();
        assert_eq!(last.version, counted.written.version);
    }
    working.delete("n").await;
    assert!(versions.insert(working.increment("n", 1).await.written.version));
}
