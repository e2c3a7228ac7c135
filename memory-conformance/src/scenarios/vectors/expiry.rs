//! V11: records that expire.

use std::time::Duration;

use memquill_core::{Facet, Feature, NewRecord, Outcome, PageRequest, Selection, TextSearch};
use serde_json::json;

use super::support::{HALF, Namespace, X, Y, filter, ids, record, text};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v11: an_expired_record_is_not_read [RecordExpiry];
    v11: an_expired_record_is_not_found [RecordExpiry];
    v11: an_expired_record_is_not_found_by_its_words [RecordExpiry, TextSearch];
    v11: an_expired_record_takes_no_place_in_the_top_k [RecordExpiry];
    v11: an_expired_record_does_not_weigh_on_relevance [RecordExpiry, TextSearch];
    v11: an_expired_record_does_not_weigh_on_the_mean_length [RecordExpiry, TextSearch];
    v11: an_expired_record_is_not_counted_or_listed [RecordExpiry];
    v11: an_expired_record_is_not_deleted_or_erased [RecordExpiry];
    v11: an_expired_record_stored_again_is_inserted [RecordExpiry];
    v11: storing_again_without_a_ttl_clears_the_old_one [RecordExpiry];
    v11: storing_again_with_a_ttl_moves_the_expiry [RecordExpiry];
    v11: a_record_tells_when_it_expires [RecordExpiry];
    v11: a_ttl_is_from_a_millisecond_to_a_hundred_years [RecordExpiry];
    w8: a_purge_removes_expired_records_and_no_other [RecordExpiry];
}

const SHORT: Duration = Duration::from_millis(60);

fn passing(record: NewRecord) -> NewRecord {
    NewRecord { ttl: Some(SHORT), ..record }
}

/// A namespace in which `lasting` is alive and `passing` has expired.
async fn aged(test: &Test) -> Namespace {
    let notes = Namespace::new(test);
    let lasting = NewRecord { ttl: Some(Duration::from_hours(1)), ..record("lasting", Y) };
    notes.store(vec![passing(record("passing", X)), lasting]).await;
    test.pass(SHORT).await;
    notes
}

async fn an_expired_record_is_not_read(test: Test) {
    let notes = aged(&test).await;
    let read = notes.get(&["passing", "lasting"]).await;
    assert_eq!(read.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(), ["lasting"]);
}

async fn an_expired_record_is_not_found(test: Test) {
    let notes = aged(&test).await;
    assert_eq!(notes.nearest(X, 10).await, ["lasting"]);
    if test.has(Feature::Filters) {
        let request = notes.query(X, 10).with_filter(filter(json!({"document_type": "text"})));
        assert_eq!(ids(&notes.search(&request).await), ["lasting"]);
    }
}

async fn an_expired_record_is_not_found_by_its_words(test: Test) {
    let notes = aged(&test).await;
    assert_eq!(notes.found("common").await, ["lasting"]);
}

async fn an_expired_record_takes_no_place_in_the_top_k(test: Test) {
    let notes = Namespace::new(&test);
    notes.store((0..100).map(|n| passing(record(&format!("near {n}"), X))).collect()).await;
    notes.store(vec![record("far", Y), record("less far", HALF)]).await;
    test.pass(SHORT).await;
    let result = notes.search(&notes.query(X, 2)).await;
    assert_eq!((ids(&result), result.complete), (vec!["less far".into(), "far".into()], true));
    if test.has(Feature::TextSearch) {
        let request = TextSearch { limit: 2, ..notes.words("common") };
        assert_eq!(ids(&notes.search_text(&request).await), ["far", "less far"]);
    }
}

async fn an_expired_record_does_not_weigh_on_relevance(test: Test) {
    let notes = Namespace::new(&test);
    // With the expired ones counted, "quince" would be the common word of the two.
    let flood = (0..50).map(|n| passing(text(&format!("{n}"), "quince")));
    notes.store(flood.collect()).await;
    let mut lasting = vec![text("rare", "quince")];
    lasting.extend((0..10).map(|n| text(&format!("common {n}"), "apple")));
    notes.store(lasting).await;
    test.pass(SHORT).await;
    let found = notes.found("apple quince").await;
    assert_eq!((found[0].as_str(), found.len()), ("rare", 11));
}

async fn an_expired_record_does_not_weigh_on_the_mean_length(test: Test) {
    let notes = Namespace::new(&test);
    // Against the mean length of the two, "short" says "quince" more densely; among long texts the
    // lengths of both would be nothing, and "long" says it twice.
    let long = "plum ".repeat(400);
    let flood = (0..50).map(|n| passing(text(&format!("{n}"), &long)));
    notes.store(flood.collect()).await;
    let twice = "quince quince fig fig fig fig fig fig fig fig fig fig";
    notes.store(vec![text("short", "quince fig"), text("long", twice)]).await;
    test.pass(SHORT).await;
    assert_eq!(notes.found("quince").await, ["short", "long"]);
}

async fn an_expired_record_is_not_counted_or_listed(test: Test) {
    let notes = aged(&test).await;
    assert_eq!(notes.count(None).await, 1);
    assert_eq!(notes.scan(None, 1).await.len(), 1);
    if test.has(Feature::Filters) {
        assert_eq!(notes.count(Some(filter(json!({})))).await, 1);
        assert_eq!(notes.scan(Some(filter(json!({}))), 10).await.len(), 1);
    }
    let listed = notes.vectors.namespaces(&notes.scope, &PageRequest::default()).await.unwrap();
    assert_eq!(listed.items[0].records, 1);
}

async fn an_expired_record_is_not_deleted_or_erased(test: Test) {
    let notes = aged(&test).await;
    assert_eq!(notes.delete_ids(&["passing"]).await, 0);
    let notes = aged(&test).await;
    if test.has(Feature::Filters) {
        assert_eq!(notes.delete(Selection::Matching(filter(json!({})))).await, 1);
    }
    let notes = aged(&test).await;
    assert_eq!(notes.delete(Selection::Namespace).await, 1);
    let notes = aged(&test).await;
    let receipt = test.backend().control().erase(notes.scope.user()).await.unwrap();
    assert_eq!(receipt.records, 1);
}

async fn an_expired_record_stored_again_is_inserted(test: Test) {
    let notes = Namespace::new(&test);
    let first = notes.put(passing(record("a", X))).await;
    test.pass(SHORT).await;
    let second = notes.put(record("a", X)).await;
    assert_eq!(second.outcome, Outcome::Inserted);
    assert!(second.created_at >= first.expires_at.unwrap());
    assert_eq!(second.created_at, second.updated_at);
    assert_eq!(notes.nearest(X, 10).await, ["a"]);
}

async fn storing_again_without_a_ttl_clears_the_old_one(test: Test) {
    let notes = Namespace::new(&test);
    // An hour, so that the update finds it alive however slow the store is.
    notes.put(NewRecord { ttl: Some(Duration::from_hours(1)), ..record("a", X) }).await;
    let second = notes.put(record("a", X)).await;
    assert_eq!((second.outcome, second.expires_at), (Outcome::Updated, None));
    assert_eq!(notes.get(&["a"]).await[0].expires_at, None);
}

async fn storing_again_with_a_ttl_moves_the_expiry(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(record("a", X)).await;
    let second = notes.put(passing(record("a", X))).await;
    assert_eq!(second.outcome, Outcome::Updated);
    test.pass(SHORT).await;
    notes.assert_empty(&test).await;
}

async fn a_record_tells_when_it_expires(test: Test) {
    let notes = Namespace::new(&test);
    let ttl = Duration::from_hours(1);
    let stored = notes.put(NewRecord { ttl: Some(ttl), ..record("a", X) }).await;
    assert_eq!(stored.expires_at, Some(stored.updated_at.saturating_add(ttl)));
    assert_eq!(notes.get(&["a"]).await[0].expires_at, stored.expires_at);
    let hit = notes.search(&notes.query(X, 1)).await.hits.remove(0);
    assert_eq!(hit.record.expires_at, stored.expires_at);
    assert_eq!(notes.put(record("b", X)).await.expires_at, None);
}

async fn a_ttl_is_from_a_millisecond_to_a_hundred_years(test: Test) {
    let notes = Namespace::new(&test);
    let with = |ttl| NewRecord { ttl: Some(ttl), ..record("a", X) };
    for refused in [
        Duration::ZERO,
        Duration::from_micros(999),
        memquill_core::MAX_TTL + Duration::from_millis(1),
        Duration::MAX,
    ] {
        notes.try_store(vec![with(refused)]).await.unwrap_err();
    }
    notes.put(with(memquill_core::MAX_TTL)).await;
    assert_eq!(notes.count(None).await, 1);
    notes.put(with(memquill_core::MIN_TTL)).await;
    test.pass(Duration::from_millis(2)).await;
    notes.assert_empty(&test).await;
}

async fn a_purge_removes_expired_records_and_no_other(test: Test) {
    let notes = aged(&test).await;
    test.admin().await.purge_expired().await.unwrap();
    assert_eq!(notes.nearest(X, 10).await, ["lasting"]);
    assert_eq!(notes.count(None).await, 1);
    assert_eq!(notes.put(record("passing", X)).await.outcome, Outcome::Inserted);
}
