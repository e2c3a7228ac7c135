//! G3 to G6 and G12 for records: values, limits, whole batches, and what is kept.

use memquill_core::{
    ErrorKind, Facet, Filter, Limits, NewRecord, PageRequest, Record, Result, Scope, Selection,
    json,
};
use serde_json::{Value, json};

use super::support::{HALF, Namespace, X, Y, filter, record, tagged, text};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    g3: metadata_comes_back_exactly;
    g3: content_comes_back_exactly;
    g3: nested_metadata_is_kept_to_the_contracts_depth;
    g3: what_cannot_be_kept_is_refused;
    g4: content_is_kept_to_its_limit;
    g4: metadata_is_kept_to_its_limit;
    g4: a_batch_is_taken_to_its_limit;
    g4: a_result_is_given_to_its_limit;
    g4: filters_are_taken_to_their_limits [Filters];
    g4: dimensions_are_taken_to_their_limit;
    g5: a_refused_batch_changes_nothing;
    g6: what_is_stored_is_found_by_every_connection_at_once;
    g12: erasure_removes_the_users_records_and_counts_them;
}

fn limits(test: &Test) -> Limits {
    test.backend().capabilities().limits
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T>, names: &[usize]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    for number in names {
        assert!(error.message().contains(&number.to_string()), "{error} does not name {number}");
    }
}

fn odd_metadata() -> Value {
    json!({
        "integers": [0, -1, i64::MIN, i64::MAX, u64::MAX, 9_007_199_254_740_993_u64],
        "floats": [0.0, -0.0, 1.0, 0.1, 5e-324, 1e308, -1e308, 2.225_073_858_507_201e-308, 1e23],
        "nothing": null,
        "": "an empty key",
        "nested": {"": [], "deep": [[{"a": [null, true, false, "", {}]}]]},
        "text": ["", " ", "\n\t\r", "\u{1}\u{7f}", "\"\\/'", "é", "e\u{301}", "𐍈🙂\u{10FFFF}", "\u{FFFF}"],
        "a.b": 1, "a b": 2, "$": 3, "\u{200D}": 4, "é": 5, "e\u{301}": 6, "\\": 7, "\"": 8, "%": 9,
        "times": "2026-11-22T20:31:00Z",
        "numbers as text": ["1", "1.0", "1e5", "NaN", "null", "true"],
    })
}

fn assert_identical(record: &Record, metadata: &Value) {
    let kept = Value::Object(record.metadata.clone());
    assert!(json::identical(&kept, metadata), "{kept} instead of {metadata}");
}

async fn metadata_comes_back_exactly(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(tagged("a", X, odd_metadata())).await;
    assert_identical(&notes.get(&["a"]).await[0], &odd_metadata());
    assert_identical(&notes.scan(None, 1).await[0], &odd_metadata());
    let hit = notes.search(&notes.query(X, 1)).await.hits.remove(0);
    assert_identical(&hit.record, &odd_metadata());
    notes.put(tagged("empty", X, json!({}))).await;
    assert!(notes.get(&["empty"]).await[0].metadata.is_empty());
}

async fn content_comes_back_exactly(test: Test) {
    let notes = Namespace::new(&test);
    let contents = [
        " leading",
        "trailing \n",
        "\u{FEFF}bom",
        "\u{1}\u{7f}",
        "e\u{301} é",
        "🙂👩‍👩‍👧",
        "\u{10FFFF}",
        "مرحبا \u{202E}",
        "'; --",
        "\\x00",
        "\u{E000}",
    ];
    for content in contents {
        let stored = notes.put(NewRecord::new(content, X.into())).await;
        assert_eq!(notes.get(&[&stored.id]).await[0].content, content);
    }
    assert_eq!(notes.count(None).await, contents.len() as u64);
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
}

async fn nested_metadata_is_kept_to_the_contracts_depth(test: Test) {
    let notes = Namespace::new(&test);
    let deepest = json!({"v": nested(127)});
    notes.put(tagged("a", X, deepest.clone())).await;
    assert_identical(&notes.get(&["a"]).await[0], &deepest);
    let deeper = tagged("b", X, json!({"v": nested(128)}));
    assert_refused(notes.try_store(vec![deeper]).await, &[128]);
}

async fn what_cannot_be_kept_is_refused(test: Test) {
    let notes = Namespace::new(&test);
    for bad in [
        text("a", "nul \0 in text"),
        tagged("a", X, json!({"v": "\0"})),
        tagged("a", X, json!({"\0": 1})),
        tagged("a", X, json!({"v": [{"w": "\0"}]})),
        record("nul \0", X),
        record("new\nline", X),
        record("", X),
        record(&"x".repeat(256), X),
        NewRecord { document_type: String::new(), ..record("a", X) },
    ] {
        assert_refused(notes.try_store(vec![record("fine", X), bad]).await, &[]);
    }
    assert_eq!(notes.count(None).await, 0);
    notes.put(record(&"é".repeat(127), X)).await;
}

async fn content_is_kept_to_its_limit(test: Test) {
    let notes = Namespace::new(&test);
    let limit = limits(&test).content_bytes;
    let largest = "word ".repeat(limit / 5 + 1)[..limit].to_owned();
    notes.put(text("a", &largest)).await;
    assert_eq!(notes.get(&["a"]).await[0].content, largest);
    let larger = text("b", &format!("{largest}x"));
    assert_refused(notes.try_store(vec![larger]).await, &[limit, limit + 1]);
}

async fn metadata_is_kept_to_its_limit(test: Test) {
    let notes = Namespace::new(&test);
    let limit = limits(&test).metadata_bytes;
    let of_size = |bytes: usize| json!({"v": "x".repeat(bytes - r#"{"v":""}"#.len())});
    notes.put(tagged("a", X, of_size(limit))).await;
    assert_identical(&notes.get(&["a"]).await[0], &of_size(limit));
    let larger = tagged("b", X, of_size(limit + 1));
    assert_refused(notes.try_store(vec![larger]).await, &[limit, limit + 1]);
}

async fn a_batch_is_taken_to_its_limit(test: Test) {
    let notes = Namespace::new(&test);
    let limit = limits(&test).batch_items;
    let batch = |count| (0..count).map(|n| record(&format!("{n:04}"), HALF)).collect::<Vec<_>>();
    let stored = notes.store(batch(limit)).await;
    assert!(stored.iter().map(|r| &r.id).eq(batch(limit).iter().map(|r| r.id.as_ref().unwrap())));
    assert_refused(notes.try_store(batch(limit + 1)).await, &[limit, limit + 1]);
    assert_refused(notes.try_store(Vec::new()).await, &[]);
    let ids: Vec<String> = stored.into_iter().map(|record| record.id).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(notes.get(&ids).await.len(), limit);
    assert_eq!(notes.delete_ids(&ids).await, limit as u64);
}

async fn a_result_is_given_to_its_limit(test: Test) {
    let notes = Namespace::new(&test);
    let limit = limits(&test).page_items;
    let all: Vec<NewRecord> = (0..1_500).map(|n| record(&format!("{n:04}"), HALF)).collect();
    for batch in all.chunks(500) {
        notes.store(batch.to_vec()).await;
    }
    assert_eq!(notes.nearest(X, limit).await.len(), 1_500.min(limit));
    assert_eq!(notes.page(None, PageRequest::first(limit)).await.items.len(), 1_500.min(limit));
    for wrong in [0, limit + 1] {
        let names: &[usize] = if wrong > 0 { &[limit, wrong] } else { &[] };
        let found = notes.vectors.search(&notes.scope, &notes.query(X, wrong)).await;
        assert_refused(found, names);
        let listed = notes.vectors.namespaces(&notes.scope, &PageRequest::first(wrong)).await;
        assert_refused(listed, names);
    }
}

async fn filters_are_taken_to_their_limits(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(vec![tagged("a", X, json!({"v": 7})), tagged("b", X, json!({"v": -7}))]).await;
    let limit = limits(&test).filter_conditions;
    let one_of =
        |count: usize| filter(json!({"metadata.v": {"in": (0..count).collect::<Vec<_>>()}}));
    assert_eq!(notes.count(Some(one_of(limit))).await, 1);
    let any_of =
        |count: usize| Filter::Or((0..count).map(|n| filter(json!({"metadata.v": n}))).collect());
    assert_eq!(notes.count(Some(any_of(limit - 1))).await, 1);
    let deep =
        |depth| (0..depth).fold(filter(json!({"metadata.v": 7})), |f, _| Filter::Not(Box::new(f)));
    assert_eq!(notes.count(Some(deep(memquill_core::FILTER_DEPTH))).await, 1);
    let found = notes.search(&notes.query(X, 10).with_filter(any_of(limit - 1))).await;
    assert_eq!(found.hits.len(), 1);
    for (wrong, names) in [
        (one_of(limit + 1), vec![limit, limit + 1]),
        (any_of(limit), vec![limit, limit + 1]),
        (deep(memquill_core::FILTER_DEPTH + 1), vec![memquill_core::FILTER_DEPTH]),
    ] {
        let request = notes.query(X, 10).with_filter(wrong);
        assert_refused(notes.vectors.search(&notes.scope, &request).await, &names);
    }
}

async fn dimensions_are_taken_to_their_limit(test: Test) {
    let limit = limits(&test).dimensions;
    let widest = Namespace::of(&test, limit);
    let vector: Vec<f32> = (1_u16..).map(f32::from).take(limit).collect();
    widest.put(record("a", vector.clone())).await;
    assert_eq!(widest.nearest(vector.clone(), 1).await, ["a"]);
    assert_eq!(widest.get(&["a"]).await[0].embedding.as_ref(), Some(&vector));
    let wider = Namespace::of(&test, limit + 1);
    let result = wider.try_store(vec![record("a", vec![1.0; limit + 1])]).await;
    assert_refused(result, &[limit, limit + 1]);
    let narrowest = Namespace::of(&test, 1);
    narrowest.store(vec![record("up", [3.0]), record("down", [-0.5])]).await;
    assert_eq!(narrowest.nearest([1.0], 2).await, ["up", "down"]);
}

async fn a_refused_batch_changes_nothing(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(record("a", X)).await;
    let before = notes.scan(None, 10).await;
    let mut batch: Vec<NewRecord> = (0..100).map(|n| record(&format!("{n}"), Y)).collect();
    batch.push(record("a", Y));
    batch.push(record("late", [f32::NAN; 4]));
    notes.try_store(batch).await.unwrap_err();
    assert_eq!(notes.scan(None, 10).await, before);
}

async fn what_is_stored_is_found_by_every_connection_at_once(test: Test) {
    let notes = Namespace::new(&test);
    let other = notes.reconnected(&test).await;
    for n in 0..10_usize {
        let id = format!("{n}");
        notes.put(record(&id, X)).await;
        assert_eq!(other.nearest(X, 100).await.len(), n + 1, "no window without it");
        assert_eq!(other.count(None).await, n as u64 + 1);
        assert_eq!(other.get(&[&id]).await.len(), 1);
        if test.has(memquill_core::Feature::TextSearch) {
            assert_eq!(other.found("common").await.len(), n + 1);
        }
    }
    other.delete_ids(&["3", "4"]).await;
    assert_eq!(notes.nearest(X, 100).await.len(), 8);
    other.put(record("5", Y)).await;
    assert_eq!(notes.nearest(Y, 1).await, ["5"]);
}

async fn erasure_removes_the_users_records_and_counts_them(test: Test) {
    let notes = Namespace::new(&test);
    let user = notes.scope.user().to_owned();
    let second = notes.in_scope(Scope::new(user.clone(), "another node").unwrap());
    let neighbour = notes.in_scope(Scope::new(format!("{user}0"), "node").unwrap());
    notes.store(vec![record("a", X), record("b", Y)]).await;
    notes.named("other").put(record("a", X)).await;
    second.put(record("a", X)).await;
    neighbour.put(record("a", X)).await;
    let control = test.backend().control();
    assert_eq!(control.erase(&user).await.unwrap().records, 4);
    assert_eq!(control.erase(&user).await.unwrap().records, 0);
    for gone in [&notes, &notes.named("other"), &second] {
        gone.assert_empty(&test).await;
        let listed = gone.vectors.namespaces(&gone.scope, &PageRequest::default()).await.unwrap();
        assert_eq!(listed.items, []);
    }
    assert_eq!(neighbour.nearest(X, 10).await, ["a"]);
    let again = Namespace {
        space: memquill_core::EmbeddingSpace::new("another-model", 2),
        ..notes.clone()
    };
    again.put(record("a", [1.0, 0.0])).await;
    assert_eq!(neighbour.delete(Selection::Namespace).await, 1);
    assert_eq!(again.nearest([1.0, 0.0], 10).await, ["a"]);
}
