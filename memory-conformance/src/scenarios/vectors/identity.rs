//! V1 and V2: which record it is, and what storing did.

use std::time::Duration;

use memquill_core::text::Language;
use memquill_core::{ErrorKind, Facet, NewRecord, Outcome, content_hash};
use serde_json::json;

use super::support::{HALF, Namespace, X, Y, object, record, tagged, text};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v1: without_an_id_a_record_is_its_contents_hash;
    v1: the_same_content_is_one_record;
    v1: a_callers_id_is_kept;
    v1: the_same_content_under_two_ids_is_two_records;
    v1: storing_the_same_again_is_unchanged_and_moves_no_time;
    v1: any_difference_is_an_update_that_keeps_created_at;
    v1: a_difference_of_one_bit_is_an_update;
    v1: the_order_of_metadata_keys_is_no_difference;
    v1: what_expires_is_never_unchanged [RecordExpiry];
    v1: outcomes_stand_in_the_order_of_the_batch;
    v1: identical_repeats_in_a_batch_are_stored_once;
    v1: a_repeat_may_name_the_hash_that_it_would_have_by_itself;
    v1: differing_repeats_in_a_batch_are_refused;
    v2: the_content_hash_is_the_sha_256_of_its_bytes;
}

async fn without_an_id_a_record_is_its_contents_hash(test: Test) {
    let notes = Namespace::new(&test);
    let stored = notes.put(NewRecord::new("a thought", X.into())).await;
    assert_eq!(stored.id, content_hash("a thought"));
    assert_eq!(notes.get(&[&stored.id]).await[0].content, "a thought");
}

async fn the_same_content_is_one_record(test: Test) {
    let notes = Namespace::new(&test);
    let first = notes.put(NewRecord::new("a thought", X.into())).await;
    let other = NewRecord::new("a thought", Y.into()).with_metadata(object(json!({"n": 1})));
    let second = notes.put(other).await;
    assert_eq!((second.outcome, &second.id), (Outcome::Updated, &first.id));
    assert_eq!(notes.count(None).await, 1);
    assert_eq!(notes.get(&[&first.id]).await[0].metadata, object(json!({"n": 1})));
    let elsewhere = notes.named("elsewhere").put(NewRecord::new("a thought", X.into())).await;
    assert_eq!(elsewhere.outcome, Outcome::Inserted, "a namespace has records of its own");
}

async fn a_callers_id_is_kept(test: Test) {
    let notes = Namespace::new(&test);
    assert_eq!(notes.put(text("my id", "one")).await.id, "my id");
    let updated = notes.put(text("my id", "two")).await;
    assert_eq!(updated.outcome, Outcome::Updated);
    assert_eq!(updated.content_hash, content_hash("two"));
    let read = notes.get(&["my id"]).await.remove(0);
    assert_eq!((read.content.as_str(), read.content_hash), ("two", content_hash("two")));
}

async fn the_same_content_under_two_ids_is_two_records(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(vec![record("a", X), record("b", X)]).await;
    notes.put(NewRecord::new("common", X.into())).await;
    assert_eq!(notes.count(None).await, 3);
}

async fn storing_the_same_again_is_unchanged_and_moves_no_time(test: Test) {
    let notes = Namespace::new(&test);
    let new = tagged("a", HALF, json!({"n": [1, null, 0.5]}));
    let first = notes.put(new.clone()).await;
    assert_eq!(first.outcome, Outcome::Inserted);
    assert_eq!(first.created_at, first.updated_at);
    test.pass(Duration::from_millis(20)).await;
    let second = notes.put(new).await;
    assert_eq!(second.outcome, Outcome::Unchanged);
    assert_eq!((second.created_at, second.updated_at), (first.created_at, first.updated_at));
    let read = notes.get(&["a"]).await.remove(0);
    assert_eq!((read.created_at, read.updated_at), (first.created_at, first.updated_at));
}

/// A part of a record, and how to change it.
type Change = (&'static str, fn(&mut NewRecord));

async fn any_difference_is_an_update_that_keeps_created_at(test: Test) {
    let notes = Namespace::new(&test);
    let first = notes.put(record("a", X)).await;
    let mut new = record("a", X);
    let mut last = first.updated_at;
    let changes: [Change; 5] = [
        ("content", |new| new.content = "changed".into()),
        ("document type", |new| new.document_type = "faq".into()),
        ("metadata", |new| new.metadata = object(json!({"n": null}))),
        ("language", |new| new.language = Some(Language::English)),
        ("embedding", |new| new.embedding = Y.into()),
    ];
    for (what, change) in changes {
        change(&mut new);
        test.pass(Duration::from_millis(5)).await;
        let stored = notes.put(new.clone()).await;
        assert_eq!(stored.outcome, Outcome::Updated, "another {what}");
        assert_eq!(stored.created_at, first.created_at, "another {what}");
        assert!(stored.updated_at > last, "another {what}");
        last = stored.updated_at;
        let read = notes.get(&["a"]).await.remove(0);
        assert!(new.is_unchanged(&read), "another {what}: {read:?}");
        assert_eq!((read.created_at, read.updated_at), (first.created_at, last));
        assert_eq!(read.content_hash, content_hash(&new.content));
    }
}

async fn a_difference_of_one_bit_is_an_update(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(tagged("a", [1.0, 0.0, 0.0, 0.0], json!({"n": 1}))).await;
    let float = tagged("a", [1.0, 0.0, 0.0, 0.0], json!({"n": 1.0}));
    assert_eq!(notes.put(float).await.outcome, Outcome::Updated, "1 is not 1.0");
    let signed = tagged("a", [1.0, -0.0, 0.0, 0.0], json!({"n": 1.0}));
    assert_eq!(notes.put(signed).await.outcome, Outcome::Updated, "0.0 is not -0.0");
    let next = f32::from_bits(1.0_f32.to_bits() + 1);
    let moved = tagged("a", [next, -0.0, 0.0, 0.0], json!({"n": 1.0}));
    assert_eq!(notes.put(moved.clone()).await.outcome, Outcome::Updated, "one bit");
    assert_eq!(notes.put(moved).await.outcome, Outcome::Unchanged);
}

async fn the_order_of_metadata_keys_is_no_difference(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(tagged("a", X, json!({"b": {"y": 1, "x": 2}, "a": 3}))).await;
    let same = notes.put(tagged("a", X, json!({"a": 3, "b": {"x": 2, "y": 1}}))).await;
    assert_eq!(same.outcome, Outcome::Unchanged);
}

async fn what_expires_is_never_unchanged(test: Test) {
    let notes = Namespace::new(&test);
    let for_an_hour = NewRecord { ttl: Some(Duration::from_hours(1)), ..record("a", X) };
    notes.put(record("a", X)).await;
    assert_eq!(notes.put(for_an_hour.clone()).await.outcome, Outcome::Updated);
    assert_eq!(notes.put(for_an_hour).await.outcome, Outcome::Updated);
    let forever = notes.put(record("a", X)).await;
    assert_eq!((forever.outcome, forever.expires_at), (Outcome::Updated, None));
    assert_eq!(notes.put(record("a", X)).await.outcome, Outcome::Unchanged);
}

async fn outcomes_stand_in_the_order_of_the_batch(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(vec![record("same", X), record("other", X)]).await;
    let stored = notes.store(vec![record("new", X), record("other", Y), record("same", X)]).await;
    let outcomes: Vec<_> = stored.iter().map(|r| (r.id.as_str(), r.outcome)).collect();
    assert_eq!(
        outcomes,
        [("new", Outcome::Inserted), ("other", Outcome::Updated), ("same", Outcome::Unchanged)]
    );
}

async fn identical_repeats_in_a_batch_are_stored_once(test: Test) {
    let notes = Namespace::new(&test);
    let stored = notes.store(vec![record("a", X), record("b", X), record("a", X)]).await;
    let ids: Vec<_> = stored.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "a"]);
    assert_eq!(stored[0].outcome, Outcome::Inserted);
    assert_eq!(stored[2], stored[0]);
    assert_eq!(notes.count(None).await, 2);
    let unnamed = || NewRecord::new("a paragraph", Y.into());
    let stored = notes.store(vec![unnamed(), unnamed(), unnamed()]).await;
    assert_eq!(stored.len(), 3);
    assert!(stored.iter().all(|record| record.id == content_hash("a paragraph")));
    assert_eq!(notes.nearest(Y, 10).await.len(), 3);
}

async fn a_repeat_may_name_the_hash_that_it_would_have_by_itself(test: Test) {
    let notes = Namespace::new(&test);
    let unnamed = NewRecord::new("a paragraph", X.into());
    let named = unnamed.clone().with_id(content_hash("a paragraph"));
    let stored = notes.store(vec![unnamed, named]).await;
    assert_eq!(stored[0].id, stored[1].id);
    assert_eq!(notes.count(None).await, 1);
}

async fn differing_repeats_in_a_batch_are_refused(test: Test) {
    let notes = Namespace::new(&test);
    let differing = vec![record("a", X), record("b", X), record("a", Y)];
    let error = notes.try_store(differing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("\"a\""), "{error}");
    // Equal as numbers, but not to the bit, as a stored record is compared too.
    let differing = vec![record("a", [0.0, 2.0, 0.0, 0.0]), record("a", [-0.0, 2.0, 0.0, 0.0])];
    let error = notes.try_store(differing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(notes.count(None).await, 0);
}

async fn the_content_hash_is_the_sha_256_of_its_bytes(test: Test) {
    let notes = Namespace::new(&test);
    // FIPS 180-2's vectors, and one beyond ASCII.
    let known = [
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        ("naïve 🙂", "7ffe2fa2ea744531b1a36cf9a7457c0398152d1efe4829ea8107ecfbc74f1742"),
    ];
    for (content, hash) in known {
        let stored = notes.put(NewRecord::new(content, X.into())).await;
        assert_eq!((stored.content_hash.as_str(), stored.id.as_str()), (hash, hash));
        assert_eq!(notes.get(&[hash]).await[0].content_hash, hash);
    }
}
