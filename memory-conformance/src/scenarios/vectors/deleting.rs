//! V12 and G9: what is gone, and what was there before, is found no more.

use std::time::Duration;

use memquill_core::{Facet, Outcome, Selection};
use serde_json::json;

use super::support::{HALF, MINUS_X, Namespace, X, Y, filter, ids, record, tagged, text};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v12: a_deleted_record_is_found_no_more;
    v12: a_deleted_record_is_not_found_by_its_words [TextSearch];
    v12: an_updated_vector_is_found_where_it_is_now;
    v12: an_updated_text_is_found_by_its_words_of_now [TextSearch];
    v12: updated_metadata_is_what_filters_see [Filters];
    v12: a_record_stored_again_after_deletion_is_new;
    v12: a_deleted_namespace_leaves_nothing;
    v12: deletion_by_filter_leaves_no_ghost [Filters];
    g9: deleting_what_is_not_there_deletes_nothing;
    g9: only_the_named_records_are_deleted;
}

async fn a_deleted_record_is_found_no_more(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(vec![record("a", X), record("b", HALF), record("c", Y)]).await;
    assert_eq!(notes.delete_ids(&["a", "c"]).await, 2);
    assert_eq!(notes.nearest(X, 10).await, ["b"]);
    assert_eq!(notes.nearest(X, 1).await, ["b"], "a ghost would take the place");
    assert_eq!(notes.get(&["a", "b", "c"]).await.len(), 1);
    assert_eq!(notes.count(None).await, 1);
    assert_eq!(notes.scan(None, 10).await.len(), 1);
}

async fn a_deleted_record_is_not_found_by_its_words(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(vec![text("a", "apple quince"), text("b", "apple")]).await;
    assert_eq!(notes.delete_ids(&["a"]).await, 1);
    assert_eq!(notes.found("quince").await, [""; 0]);
    assert_eq!(notes.found("apple quince").await, ["b"]);
}

async fn an_updated_vector_is_found_where_it_is_now(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(vec![record("moving", X), record("still", HALF)]).await;
    for (at, other) in [(MINUS_X, X), (X, MINUS_X), (MINUS_X, X)] {
        assert_eq!(notes.put(record("moving", at)).await.outcome, Outcome::Updated);
        assert_eq!(notes.nearest(at, 10).await, ["moving", "still"]);
        let old = notes.query(other, 10).with_min_similarity(0.9);
        assert_eq!(ids(&notes.search(&old).await), [""; 0]);
        assert_eq!(notes.count(None).await, 2);
    }
}

async fn an_updated_text_is_found_by_its_words_of_now(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(vec![text("a", "apple pear"), text("b", "pear")]).await;
    notes.put(text("a", "quince pear")).await;
    assert_eq!(notes.found("apple").await, [""; 0]);
    assert_eq!(notes.found("quince").await, ["a"]);
    notes.put(text("a", "nothing else")).await;
    assert_eq!(notes.found("quince pear").await, ["b"]);
    notes.put(text("a", "!")).await;
    assert_eq!(notes.found("nothing else").await, [""; 0]);
    let hit = notes.search(&notes.query(X, 10)).await.hits.remove(0);
    assert_eq!(hit.record.content, "!", "a search by vector shows the text of now");
}

async fn updated_metadata_is_what_filters_see(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(tagged("a", X, json!({"colour": "red", "size": 1}))).await;
    notes.put(tagged("a", X, json!({"colour": "blue"}))).await;
    for (gone, now) in [
        (json!({"metadata.colour": "red"}), json!({"metadata.colour": "blue"})),
        (json!({"metadata.size": {"exists": true}}), json!({"metadata.size": {"exists": false}})),
    ] {
        let (gone, now) = (filter(gone), filter(now));
        assert_eq!(notes.count(Some(gone.clone())).await, 0);
        assert_eq!(notes.count(Some(now.clone())).await, 1);
        let found = notes.search(&notes.query(X, 10).with_filter(gone)).await;
        assert_eq!(ids(&found), [""; 0]);
        assert_eq!(ids(&notes.search(&notes.query(X, 10).with_filter(now)).await), ["a"]);
    }
}

async fn a_record_stored_again_after_deletion_is_new(test: Test) {
    let notes = Namespace::new(&test);
    let first = notes.put(tagged("a", X, json!({"n": 1}))).await;
    notes.delete_ids(&["a"]).await;
    test.pass(Duration::from_millis(5)).await;
    let second = notes.put(record("a", Y)).await;
    assert_eq!(second.outcome, Outcome::Inserted);
    assert!(second.created_at > first.created_at);
    let read = notes.get(&["a"]).await.remove(0);
    assert!(read.metadata.is_empty());
    assert_eq!(read.embedding.as_deref(), Some(Y.as_slice()));
}

async fn a_deleted_namespace_leaves_nothing(test: Test) {
    let notes = Namespace::new(&test);
    let other = notes.named("other");
    let foreign = notes.in_scope(test.scope());
    for namespace in [&notes, &other, &foreign] {
        namespace.store(vec![record("a", X), record("b", Y)]).await;
    }
    assert_eq!(notes.delete(Selection::Namespace).await, 2);
    notes.assert_empty(&test).await;
    assert_eq!(other.nearest(X, 10).await, ["a", "b"]);
    assert_eq!(foreign.nearest(X, 10).await, ["a", "b"]);
    assert_eq!(notes.put(record("a", Y)).await.outcome, Outcome::Inserted);
    assert_eq!(notes.nearest(X, 10).await, ["a"]);
}

async fn deletion_by_filter_leaves_no_ghost(test: Test) {
    let notes = Namespace::new(&test);
    let records = (0..60).map(|n| tagged(&format!("{n:02}"), X, json!({"even": n % 2 == 0})));
    notes.store(records.collect()).await;
    let even = filter(json!({"metadata.even": true}));
    assert_eq!(notes.delete(Selection::Matching(even.clone())).await, 30);
    assert_eq!(notes.nearest(X, 100).await.len(), 30);
    assert_eq!(notes.nearest(X, 3).await, ["01", "03", "05"]);
    assert_eq!(notes.count(Some(even)).await, 0);
    assert_eq!(notes.count(None).await, 30);
}

async fn deleting_what_is_not_there_deletes_nothing(test: Test) {
    let notes = Namespace::new(&test);
    assert_eq!(notes.delete_ids(&["a"]).await, 0);
    notes.put(record("a", X)).await;
    assert_eq!(notes.delete_ids(&["b"]).await, 0);
    assert_eq!(notes.delete_ids(&["b", "a", "c", "a"]).await, 1);
    assert_eq!(notes.delete_ids(&["a"]).await, 0);
}

async fn only_the_named_records_are_deleted(test: Test) {
    let notes = Namespace::new(&test);
    let ids = ["a", "A", "aa", "a ", "a%", "%", "a_", "*", "a*"];
    notes.store(ids.map(|id| record(id, X)).into()).await;
    for (deleted, id) in (1..).zip(["%", "*", "a_", "a"]) {
        assert_eq!(notes.delete_ids(&[id]).await, 1, "{id}");
        assert_eq!(notes.count(None).await, ids.len() as u64 - deleted);
    }
}
