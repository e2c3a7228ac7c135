//! V14: records are put back as they were elsewhere.

use std::time::Duration;

use memquill_core::text::Language;
use memquill_core::{
    EmbeddingSpace, ErrorKind, Facet, Feature, NewRecord, Outcome, PageRequest, Record,
    RestoreRecords, Restored, Result, Timestamp, content_hash,
};
use serde_json::json;

use super::support::{HALF, Namespace, X, Y, filter, ids, object};
use crate::scenario::{Family, Test, scenarios};
use crate::support::{AFTER_SHORT, LONG, conflict, refused, together};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v14: records_come_back_as_they_were [Restoring];
    v14: expiry_comes_back [Restoring, RecordExpiry];
    v14: what_has_expired_is_absent [Restoring, RecordExpiry];
    v14: what_one_namespace_gives_another_takes [Restoring];
    v14: vectors_and_filters_find_what_was_restored [Restoring, Filters];
    v14: words_find_what_was_restored [Restoring, TextSearch];
    v14: the_namespace_is_bound_even_without_a_record [Restoring];
    v14: another_space_is_a_conflict [Restoring];
    v14: a_repeated_restore_changes_nothing [Restoring];
    v14: a_record_that_differs_is_a_conflict [Restoring];
    v14: a_conflict_changes_nothing [Restoring];
    v14: every_difference_counts [Restoring];
    v14: overwriting_takes_the_place_of_what_differs [Restoring];
    v14: overwriting_leaves_no_ghost [Restoring, TextSearch];
    v14: a_stored_record_keeps_the_restored_created_at [Restoring];
    v14: a_thousand_records_are_one_batch [Restoring];
    v14: illegal_restores_are_invalid_input [Restoring];
    v14: concurrent_restores_of_one_batch_write_it_once [Restoring];
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_577_836_800_000 + millis).unwrap()
}

fn record(id: &str, embedding: [f32; 4]) -> Record {
    Record {
        id: id.into(),
        content: "common".into(),
        content_hash: content_hash("common"),
        document_type: "text".into(),
        metadata: object(json!({})),
        language: None,
        created_at: at(1),
        updated_at: at(2),
        expires_at: None,
        embedding: Some(embedding.to_vec()),
    }
}

fn saying(id: &str, content: &str) -> Record {
    Record { content: content.into(), content_hash: content_hash(content), ..record(id, X) }
}

fn rich() -> Record {
    Record {
        document_type: "faq".into(),
        metadata: object(json!({"z": 1, "a": [null, 1.5, u64::MAX, {"deep": -0.0}]})),
        language: Some(Language::English),
        embedding: Some(vec![-0.0, 1.0e-30, 0.1, -3.5]),
        ..saying("rich", "runners were running")
    }
}

fn request(notes: &Namespace, records: Vec<Record>) -> RestoreRecords {
    RestoreRecords {
        namespace: notes.name.clone(),
        space: notes.space.clone(),
        records,
        overwrite: false,
    }
}

async fn try_restore(notes: &Namespace, records: Vec<Record>) -> Result<Restored> {
    notes.vectors.restore(&notes.scope, &request(notes, records)).await
}

async fn restore(notes: &Namespace, records: Vec<Record>) -> Restored {
    try_restore(notes, records).await.unwrap()
}

async fn overwrite(notes: &Namespace, records: Vec<Record>) -> Restored {
    let request = RestoreRecords { overwrite: true, ..request(notes, records) };
    notes.vectors.restore(&notes.scope, &request).await.unwrap()
}

fn written(written: u64, unchanged: u64) -> Restored {
    Restored { written, unchanged }
}

async fn records_come_back_as_they_were(test: Test) {
    let notes = Namespace::new(&test);
    let all = vec![record("a", X), rich(), record("z", Y)];
    assert_eq!(restore(&notes, all.clone()).await, written(3, 0));
    let bits = |record: &Record| {
        let embedding = record.embedding.clone().unwrap();
        embedding.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    for notes in [notes.clone(), notes.reconnected(&test).await] {
        let got = notes.get(&["a", "rich", "z"]).await;
        assert_eq!(got, all);
        assert!(got.iter().zip(&all).all(|(got, put)| got.is_identical(put)));
        assert_eq!(bits(&got[1]), bits(&all[1]));
        assert_eq!(notes.scan(None, 2).await, all);
    }
}

/// A time that is yet to come by the store's clock, whatever it shows.
async fn in_future(test: &Test) -> Timestamp {
    let probe = Namespace::new(test);
    let stored = probe.put(NewRecord::new("probe", X.into())).await;
    stored.updated_at.saturating_add(LONG)
}

async fn expiry_comes_back(test: Test) {
    let notes = Namespace::new(&test);
    let expiring = Record { expires_at: Some(in_future(&test).await), ..record("a", X) };
    restore(&notes, vec![expiring.clone()]).await;
    assert_eq!(notes.get(&["a"]).await, [expiring]);
    assert_eq!(notes.count(None).await, 1);
    test.pass(Duration::ZERO).await;
}

async fn what_has_expired_is_absent(test: Test) {
    let notes = Namespace::new(&test);
    let now = in_future(&test).await;
    let soon =
        Timestamp::from_millis(now.as_millis() - i64::try_from(LONG.as_millis()).unwrap() + 20)
            .unwrap();
    let gone = Record { expires_at: Some(soon), ..record("gone", X) };
    restore(&notes, vec![gone, record("here", Y)]).await;
    test.pass(AFTER_SHORT).await;
    assert_eq!(notes.nearest(X, 10).await, ["here"]);
    assert_eq!(notes.count(None).await, 1);
    assert_eq!(
        notes.put(NewRecord::new("x", X.into()).with_id("gone")).await.outcome,
        Outcome::Inserted
    );
}

async fn what_one_namespace_gives_another_takes(test: Test) {
    let source = Namespace::new(&test);
    let tagged = NewRecord::new("one", X.into()).with_metadata(object(json!({"n": 1})));
    source.store(vec![tagged, NewRecord::new("two", Y.into()).with_id("2")]).await;
    let target = source.in_scope(test.scope());
    let all = source.scan(None, 10).await;
    restore(&target, all.clone()).await;
    assert_eq!(target.scan(None, 10).await, all);
    let list = |notes: Namespace| async move {
        let page = notes.vectors.namespaces(&notes.scope, &PageRequest::default()).await;
        page.unwrap().items
    };
    assert_eq!(list(target).await, list(source).await);
}

async fn vectors_and_filters_find_what_was_restored(test: Test) {
    let notes = Namespace::new(&test);
    let red = Record { metadata: object(json!({"colour": "red"})), ..record("red", HALF) };
    let old = Record { created_at: at(-1_000_000), ..record("old", Y) };
    restore(&notes, vec![record("x", X), red, old]).await;
    assert_eq!(notes.nearest(X, 2).await, ["x", "red"]);
    let by = |json| notes.query(X, 5).with_filter(filter(json));
    let found = |json| async { ids(&notes.search(&by(json)).await) };
    assert_eq!(found(json!({"metadata.colour": "red"})).await, ["red"]);
    let before = at(0).to_string();
    assert_eq!(found(json!({"created_at": {"lt": before}})).await, ["old"]);
}

async fn words_find_what_was_restored(test: Test) {
    let notes = Namespace::new(&test);
    restore(&notes, vec![rich(), saying("b", "apples and pears")]).await;
    assert_eq!(notes.found("pears").await, ["b"]);
    let stemmed = memquill_core::TextSearch {
        language: Some(Language::English),
        ..notes.words("runner run")
    };
    assert_eq!(ids(&notes.search_text(&stemmed).await), ["rich"]);
}

async fn the_namespace_is_bound_even_without_a_record(test: Test) {
    let notes = Namespace::new(&test);
    assert_eq!(restore(&notes, vec![]).await, Restored::default());
    let page = notes.vectors.namespaces(&notes.scope, &PageRequest::default()).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!((&page.items[0].space, page.items[0].records), (&notes.space, 0));
}

async fn another_space_is_a_conflict(test: Test) {
    let notes = Namespace::new(&test);
    restore(&notes, vec![record("a", X)]).await;
    let other = Namespace { space: EmbeddingSpace::new("other", 4), ..notes.clone() };
    conflict(try_restore(&other, vec![record("b", X)]).await);
    conflict(try_restore(&other, vec![]).await);
    assert_eq!(notes.count(None).await, 1);
}

async fn a_repeated_restore_changes_nothing(test: Test) {
    let notes = Namespace::new(&test);
    let all = vec![record("a", X), rich()];
    restore(&notes, all.clone()).await;
    assert_eq!(restore(&notes, all.clone()).await, written(0, 2));
    assert_eq!(overwrite(&notes, all.clone()).await, written(0, 2));
    let more = [all.clone(), vec![record("b", Y)]].concat();
    assert_eq!(restore(&notes, more).await, written(1, 2));
    assert_eq!(notes.count(None).await, 3);
}

async fn a_record_that_differs_is_a_conflict(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(NewRecord::new("mine", X.into()).with_id("a")).await;
    let before = notes.get(&["a"]).await;
    let error = conflict(try_restore(&notes, vec![record("a", X)]).await);
    assert!(error.message().contains("\"a\""), "{error}");
    assert_eq!(notes.get(&["a"]).await, before);
}

async fn a_conflict_changes_nothing(test: Test) {
    let notes = Namespace::new(&test);
    restore(&notes, vec![record("b", X)]).await;
    conflict(try_restore(&notes, vec![record("a", X), record("b", Y), record("c", X)]).await);
    assert_eq!(notes.scan(None, 10).await, [record("b", X)]);
}

async fn every_difference_counts(test: Test) {
    let notes = Namespace::new(&test);
    restore(&notes, vec![rich()]).await;
    let mut others = vec![
        Record { id: "rich".into(), ..saying("rich", "other") },
        Record { document_type: "text".into(), ..rich() },
        Record {
            metadata: object(json!({"z": 1, "a": [null, 1.5, u64::MAX, {"deep": 0.0}]})),
            ..rich()
        },
        Record { language: None, ..rich() },
        Record { created_at: at(0), ..rich() },
        Record { updated_at: at(3), ..rich() },
        Record { embedding: Some(vec![0.0, 1.0e-30, 0.1, -3.5]), ..rich() },
    ];
    if test.has(Feature::RecordExpiry) {
        others.push(Record { expires_at: Some(in_future(&test).await), ..rich() });
    }
    for other in others {
        let shown = format!("{other:?}");
        let answer = try_restore(&notes, vec![other]).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Conflict, "{shown}");
    }
    assert_eq!(notes.get(&["rich"]).await, [rich()]);
}

async fn overwriting_takes_the_place_of_what_differs(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(NewRecord::new("mine", X.into()).with_id("a")).await;
    let all = vec![record("a", Y), record("b", X)];
    assert_eq!(overwrite(&notes, all.clone()).await, written(2, 0));
    assert_eq!(notes.scan(None, 10).await, all);
    assert_eq!(notes.nearest(Y, 1).await, ["a"]);
}

async fn overwriting_leaves_no_ghost(test: Test) {
    let notes = Namespace::new(&test);
    restore(&notes, vec![saying("a", "apples")]).await;
    overwrite(&notes, vec![saying("a", "pears")]).await;
    assert_eq!(notes.found("apples").await, [""; 0]);
    assert_eq!(notes.found("pears").await, ["a"]);
    notes.delete_ids(&["a"]).await;
    notes.assert_empty(&test).await;
}

async fn a_stored_record_keeps_the_restored_created_at(test: Test) {
    let notes = Namespace::new(&test);
    restore(&notes, vec![record("a", X)]).await;
    let same = notes.put(NewRecord::new("common", X.into()).with_id("a")).await;
    assert_eq!((same.outcome, same.updated_at), (Outcome::Unchanged, at(2)));
    let other = notes.put(NewRecord::new("other", X.into()).with_id("a")).await;
    assert_eq!((other.outcome, other.created_at), (Outcome::Updated, at(1)));
}

async fn a_thousand_records_are_one_batch(test: Test) {
    let notes = Namespace::new(&test);
    let all: Vec<_> = (0..1_000).map(|n| saying(&format!("{n:04}"), &format!("word{n}"))).collect();
    assert_eq!(restore(&notes, all.clone()).await, written(1_000, 0));
    assert_eq!(restore(&notes, all.clone()).await, written(0, 1_000));
    assert_eq!(notes.scan(None, 400).await, all);
}

async fn illegal_restores_are_invalid_input(test: Test) {
    let notes = Namespace::new(&test);
    let early = Timestamp::from_millis(-1).unwrap();
    let illegal = [
        vec![Record { embedding: None, ..record("a", X) }],
        vec![Record { embedding: Some(vec![1.0]), ..record("a", X) }],
        vec![Record { content_hash: content_hash("other"), ..record("a", X) }],
        vec![Record { created_at: early, ..record("a", X) }],
        vec![Record { id: String::new(), ..record("a", X) }],
        vec![record("a", X), record("a", X)],
        (0..=1_000).map(|n| record(&n.to_string(), X)).collect(),
    ];
    for records in illegal {
        refused(try_restore(&notes, records).await, ErrorKind::InvalidInput);
    }
    notes.assert_empty(&test).await;
}

async fn concurrent_restores_of_one_batch_write_it_once(test: Test) {
    let notes = Namespace::new(&test);
    let all: Vec<_> = (0..50).map(|n| record(&format!("{n:02}"), X)).collect();
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let (notes, all) = (notes.reconnected(&test).await, all.clone());
        tasks.push(async move { restore(&notes, all).await });
    }
    let written: u64 = together(tasks).await.iter().map(|restored| restored.written).sum();
    assert_eq!(written, 50);
    assert_eq!(notes.scan(None, 100).await, all);
}
