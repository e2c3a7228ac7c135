//! V13: a namespace takes the embeddings of another.

use std::time::Duration;

use memquill_core::text::Language;
use memquill_core::{
    EmbeddingSpace, ErrorKind, Facet, NewRecord, PageRequest, Rebind, Result, Selection,
};
use serde_json::{Value, json};

use super::support::{HALF, Namespace, X, Y, filter, ids, object, record, tagged, text};
use crate::scenario::{Family, Test, scenarios};
use crate::support::LONG;

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v13: records_take_the_embeddings_of_their_counterparts [Rebinding];
    v13: what_is_not_an_embedding_stays_as_it_was [Rebinding];
    v13: expiry_stays_as_it_was [Rebinding, RecordExpiry];
    v13: an_expired_record_needs_no_counterpart_and_is_none [Rebinding, RecordExpiry];
    v13: the_words_are_found_as_before [Rebinding, TextSearch];
    v13: what_only_the_other_holds_goes_with_it [Rebinding];
    v13: a_record_without_a_counterpart_is_a_conflict_that_changes_nothing [Rebinding];
    v13: a_counterpart_is_the_same_in_all_but_its_embedding [Rebinding];
    v13: namespaces_that_do_not_exist_are_not_found [Rebinding];
    v13: an_empty_namespace_changes_its_space [Rebinding];
    v13: a_reader_finds_all_records_in_one_space_or_the_other [Rebinding];
}

/// The namespace, and one beside it in a space of two dimensions.
fn pair(test: &Test) -> (Namespace, Namespace) {
    let notes = Namespace::new(test);
    let other = Namespace { space: EmbeddingSpace::new("other", 2), ..notes.named("other") };
    (notes, other)
}

/// The namespace as it is once it is rebound.
fn rebound(notes: &Namespace, other: &Namespace) -> Namespace {
    Namespace { space: other.space.clone(), ..notes.clone() }
}

async fn rebind(notes: &Namespace, from: &Namespace) -> Result<u64> {
    let request = Rebind { namespace: notes.name.clone(), from: from.name.clone() };
    notes.vectors.rebind(&notes.scope, &request).await
}

async fn names(notes: &Namespace) -> Vec<String> {
    let page = notes.vectors.namespaces(&notes.scope, &PageRequest::default()).await.unwrap();
    page.items.into_iter().map(|summary| summary.namespace).collect()
}

async fn records_take_the_embeddings_of_their_counterparts(test: Test) {
    let (notes, other) = pair(&test);
    // The order of keys is no difference.
    let with = |metadata: Value| NewRecord { metadata: object(metadata), ..record("a", X) };
    notes.store(vec![with(json!({"k": 1, "l": 2})), record("b", Y)]).await;
    let counterpart = with(json!({"l": 2, "k": 1}));
    let counterpart = NewRecord { embedding: vec![0.0, 1.0], ..counterpart };
    other.store(vec![record("b", [1.0, 0.0]), counterpart]).await;
    assert_eq!(rebind(&notes, &other).await.unwrap(), 2);
    let notes_now = rebound(&notes, &other);
    assert_eq!(notes_now.nearest([0.0, 1.0], 1).await, ["a"]);
    assert_eq!(notes_now.nearest([1.0, 0.0], 1).await, ["b"]);
    assert_eq!(notes_now.get(&["a"]).await[0].embedding.as_deref(), Some(&[0.0, 1.0][..]));
    let old = notes.vectors.search(&notes.scope, &notes.query(X, 1)).await.unwrap_err();
    assert_eq!(old.kind(), ErrorKind::Conflict, "{old}");
    let old = notes.try_store(vec![record("c", X)]).await.unwrap_err();
    assert_eq!(old.kind(), ErrorKind::Conflict, "{old}");
    assert_eq!(names(&notes).await, ["notes"]);
    assert_eq!(notes.count(None).await, 2);
    notes_now.put(record("c", [1.0, 1.0])).await;
    assert_eq!(notes_now.nearest([1.0, 1.0], 1).await, ["c"]);
}

async fn what_is_not_an_embedding_stays_as_it_was(test: Test) {
    let (notes, other) = pair(&test);
    let whole = NewRecord {
        document_type: "faq".into(),
        metadata: object(json!({"n": 1, "deep": {"null": null, "list": [1.5, "x"]}})),
        language: Some(Language::English),
        ..record("a", X)
    };
    notes.put(whole.clone()).await;
    let mut before = notes.get(&["a"]).await;
    test.pass(Duration::from_millis(20)).await;
    other.put(NewRecord { embedding: vec![3.0, 4.0], ..whole.clone() }).await;
    rebind(&notes, &other).await.unwrap();
    before[0].embedding = Some(vec![3.0, 4.0]);
    assert_eq!(notes.get(&["a"]).await, before);
    let again = NewRecord { embedding: vec![3.0, 4.0], ..whole };
    let stored = rebound(&notes, &other).put(again).await;
    assert_eq!(stored.outcome, memquill_core::Outcome::Unchanged, "to the bit");
    if test.has(memquill_core::Feature::Filters) {
        assert_eq!(notes.count(Some(filter(json!({"metadata.n": 1})))).await, 1);
    }
}

async fn expiry_stays_as_it_was(test: Test) {
    let (notes, other) = pair(&test);
    notes.store(vec![NewRecord { ttl: Some(LONG), ..record("a", X) }, record("b", X)]).await;
    let before = notes.scan(None, 10).await;
    other
        .store(vec![
            record("a", [1.0, 0.0]),
            NewRecord { ttl: Some(LONG), ..record("b", [1.0, 0.0]) },
        ])
        .await;
    rebind(&notes, &other).await.unwrap();
    let after = notes.scan(None, 10).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&before.id, before.expires_at), (&after.id, after.expires_at));
    }
    assert_eq!(after.len(), 2);
}

async fn an_expired_record_needs_no_counterpart_and_is_none(test: Test) {
    let (notes, other) = pair(&test);
    let short = Some(Duration::from_millis(20));
    notes.store(vec![NewRecord { ttl: short, ..record("gone", X) }, record("a", X)]).await;
    other.put(NewRecord { ttl: short, ..record("a", [1.0, 0.0]) }).await;
    test.pass(Duration::from_millis(40)).await;
    assert_eq!(rebind(&notes, &other).await.unwrap_err().kind(), ErrorKind::Conflict);
    other.put(record("a", [1.0, 0.0])).await;
    assert_eq!(rebind(&notes, &other).await.unwrap(), 1);
    assert_eq!(rebound(&notes, &other).nearest([1.0, 0.0], 9).await, ["a"]);
}

async fn the_words_are_found_as_before(test: Test) {
    let (notes, other) = pair(&test);
    notes.store(vec![text("fox", "a quick fox"), text("dog", "a lazy dog dog")]).await;
    let before = notes.search_text(&notes.words("a dog")).await;
    let moved = |id, content| NewRecord { embedding: vec![1.0, 0.0], ..text(id, content) };
    let copies = vec![
        moved("dog", "a lazy dog dog"),
        moved("fox", "a quick fox"),
        moved("cow", "a brown cow"),
    ];
    other.store(copies).await;
    rebind(&notes, &other).await.unwrap();
    let after = notes.search_text(&notes.words("a dog")).await;
    assert_eq!(ids(&after), ids(&before));
    for (before, after) in before.hits.iter().zip(&after.hits) {
        assert!((before.score - after.score).abs() < 1e-6, "{before:?} and {after:?}");
    }
    assert_eq!(notes.found("cow").await, [""; 0]);
}

async fn what_only_the_other_holds_goes_with_it(test: Test) {
    let (notes, other) = pair(&test);
    notes.put(record("a", X)).await;
    other.store(vec![record("a", [1.0, 0.0]), record("deleted", [1.0, 0.0])]).await;
    assert_eq!(rebind(&notes, &other).await.unwrap(), 1);
    let now = rebound(&notes, &other);
    assert_eq!(now.nearest([1.0, 0.0], 9).await, ["a"]);
    assert_eq!(now.count(None).await, 1);
    assert_eq!(now.scan(None, 10).await.len(), 1);
    Namespace { space: notes.space.clone(), ..other }.put(record("a", X)).await;
}

async fn a_record_without_a_counterpart_is_a_conflict_that_changes_nothing(test: Test) {
    let (notes, other) = pair(&test);
    notes.store(vec![record("a", X), record("b", Y), record("c", HALF)]).await;
    other.store(vec![record("a", [1.0, 0.0]), record("d", [1.0, 0.0])]).await;
    let (before, beside) = (notes.scan(None, 10).await, other.scan(None, 10).await);
    let error = rebind(&notes, &other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains('2'), "{error} says how many");
    assert_eq!(notes.scan(None, 10).await, before);
    assert_eq!(other.scan(None, 10).await, beside);
    assert_eq!(notes.nearest(X, 1).await, ["a"]);
}

async fn a_counterpart_is_the_same_in_all_but_its_embedding(test: Test) {
    let new = || NewRecord { embedding: vec![1.0, 0.0], ..record("a", X) };
    let differing = [
        NewRecord { content: "Common".into(), ..new() },
        NewRecord { document_type: "faq".into(), ..new() },
        NewRecord { language: Some(Language::English), ..new() },
        tagged("a", [1.0, 0.0], json!({"n": 1})),
    ];
    for differing in differing {
        let (notes, other) = pair(&test);
        notes.put(record("a", X)).await;
        other.put(differing.clone()).await;
        let error = rebind(&notes, &other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{differing:?}");
        other.put(new()).await;
        assert_eq!(rebind(&notes, &other).await.unwrap(), 1);
    }
}

async fn namespaces_that_do_not_exist_are_not_found(test: Test) {
    let (notes, other) = pair(&test);
    notes.put(record("a", X)).await;
    let foreign = notes.in_scope(test.scope());
    other.in_scope(foreign.scope.clone()).put(record("a", [1.0, 0.0])).await;
    for (namespace, from) in [(&notes, &other), (&other, &notes), (&foreign, &other)] {
        let error = rebind(namespace, from).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    let error = rebind(&notes, &notes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(notes.nearest(X, 1).await, ["a"]);
}

async fn an_empty_namespace_changes_its_space(test: Test) {
    let (notes, other) = pair(&test);
    notes.put(record("a", X)).await;
    notes.delete_ids(&["a"]).await;
    other.put(record("b", [1.0, 0.0])).await;
    other.delete(Selection::Ids(vec!["b".into()])).await;
    assert_eq!(rebind(&notes, &other).await.unwrap(), 0);
    rebound(&notes, &other).put(record("a", [1.0, 0.0])).await;
    assert_eq!(names(&notes).await, ["notes"]);
}

async fn a_reader_finds_all_records_in_one_space_or_the_other(test: Test) {
    let (notes, other) = pair(&test);
    let all = |embedding: &[f32]| (0..20).map(|n| record(&n.to_string(), embedding)).collect();
    notes.store(all(&X)).await;
    let writer = notes.reconnected(&test).await;
    let writing = tokio::spawn({
        let other = other.clone();
        async move {
            for round in 0..10 {
                let (from, embedding): (_, &[f32]) = if round % 2 == 0 {
                    (other.clone(), &[1.0, 0.0])
                } else {
                    (Namespace { space: writer.space.clone(), ..other.clone() }, &X)
                };
                from.store(all(embedding)).await;
                assert_eq!(rebind(&writer, &from).await.unwrap(), 20);
            }
        }
    });
    let now = rebound(&notes, &other);
    while !writing.is_finished() {
        assert_eq!(notes.count(None).await, 20);
        for result in [
            notes.vectors.search(&notes.scope, &notes.query(X, 50)).await,
            now.vectors.search(&now.scope, &now.query([1.0, 0.0], 50)).await,
        ] {
            match result {
                Ok(found) => assert_eq!(found.hits.len(), 20),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            }
        }
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
}
