//! Reading by id, walking and listing (G1, G11), and what stays apart.

use memquill_core::{Facet, GetRecords, NamespaceSummary, PageRequest, ScanRecords, Scope};
use serde_json::json;

use super::support::{HALF, Namespace, X, Y, filter, noise_vectors, record, tagged};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v1: records_are_read_in_the_order_asked_for;
    v1: an_embedding_comes_back_bit_for_bit;
    v1: embeddings_are_returned_only_where_asked;
    g11: a_walk_returns_every_record_once;
    g11: a_walk_returns_what_matches [Filters];
    g11: a_walk_goes_on_where_its_cursor_says;
    g11: namespaces_are_listed_by_pages;
    g1: scopes_see_no_records_but_their_own;
    g1: namespaces_hold_records_of_their_own;
    g1: names_that_differ_in_one_sign_are_different_namespaces;
}

async fn records_are_read_in_the_order_asked_for(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(["a", "b", "c"].map(|id| record(id, X)).into()).await;
    let read = notes.get(&["c", "missing", "a", "A", "b", "a"]).await;
    assert_eq!(read.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["c", "a", "b", "a"]);
    assert_eq!(notes.get(&["missing"]).await, []);
}

async fn an_embedding_comes_back_bit_for_bit(test: Test) {
    let mut odd = vec![
        -0.0,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::MAX,
        f32::MIN,
        f32::EPSILON,
        0.1,
        -1e-30,
    ];
    odd.extend(noise_vectors(11, 56, 1).remove(0));
    let notes = Namespace::of(&test, odd.len());
    notes.put(record("odd", odd.clone())).await;
    let bits = |vector: &[f32]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let read = notes.get(&["odd"]).await.remove(0).embedding.unwrap();
    assert_eq!(bits(&read), bits(&odd));
    let walked = notes.scan(None, 1).await.remove(0).embedding.unwrap();
    assert_eq!(bits(&walked), bits(&odd));
}

async fn embeddings_are_returned_only_where_asked(test: Test) {
    let notes = Namespace::new(&test);
    notes.put(record("a", X)).await;
    let request =
        GetRecords { namespace: "notes".into(), ids: vec!["a".into()], with_embeddings: false };
    let read = notes.vectors.get(&notes.scope, &request).await.unwrap();
    assert_eq!(read[0].embedding, None);
    let request = ScanRecords {
        namespace: "notes".into(),
        filter: None,
        with_embeddings: false,
        page: PageRequest::default(),
    };
    let walked = notes.vectors.scan(&notes.scope, &request).await.unwrap();
    assert_eq!(walked.items[0].embedding, None);
}

async fn a_walk_returns_every_record_once(test: Test) {
    let notes = Namespace::new(&test);
    let all: Vec<String> = (0..57).map(|n| format!("{n:02}")).collect();
    notes.store(all.iter().map(|id| record(id, HALF)).collect()).await;
    for limit in [1, 7, 19, 56, 57, 58, 10_000] {
        let walked = notes.scan(None, limit).await;
        assert_eq!(walked.iter().map(|r| r.id.clone()).collect::<Vec<_>>(), all, "by {limit}");
    }
}

async fn a_walk_returns_what_matches(test: Test) {
    let notes = Namespace::new(&test);
    let records = (0..57).map(|n| tagged(&format!("{n:02}"), X, json!({"rest": n % 5})));
    notes.store(records.collect()).await;
    let wanted = filter(json!({"metadata.rest": 2}));
    let expected: Vec<String> = (2..57).step_by(5).map(|n| format!("{n:02}")).collect();
    for limit in [1, 3, 11, 100] {
        let walked = notes.scan(Some(wanted.clone()), limit).await;
        assert_eq!(walked.iter().map(|r| r.id.clone()).collect::<Vec<_>>(), expected);
    }
}

async fn a_walk_goes_on_where_its_cursor_says(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(["a", "b", "c", "d"].map(|id| record(id, X)).into()).await;
    let first = notes.page(None, PageRequest::first(2)).await;
    let cursor = first.next.unwrap();
    // A record that the walk has passed, and the one its cursor stands on, may go.
    notes.delete_ids(&[&first.items[0].id, &first.items[1].id]).await;
    let text = cursor.to_string();
    let again = PageRequest { limit: 2, cursor: Some(text.parse().unwrap()) };
    let elsewhere = notes.reconnected(&test).await;
    let second = elsewhere.page(None, again).await;
    let mut seen: Vec<String> =
        first.items.iter().chain(&second.items).map(|record| record.id.clone()).collect();
    seen.sort_unstable();
    assert_eq!(seen, ["a", "b", "c", "d"]);
    assert_eq!(second.next, None);
}

async fn namespaces_are_listed_by_pages(test: Test) {
    let notes = Namespace::new(&test);
    let names = ["a", "a b", "A", "%", "é", "🙂", "notes", "10", "9"];
    for (count, name) in (1..).zip(names) {
        let records = (0..count).map(|n| record(&format!("{n}"), X));
        notes.named(name).store(records.collect()).await;
    }
    let mut page = PageRequest::first(2);
    let mut listed: Vec<NamespaceSummary> = Vec::new();
    loop {
        let part = notes.vectors.namespaces(&notes.scope, &page).await.unwrap();
        listed.extend(part.items);
        let Some(next) = part.next else { break };
        page = page.after(next);
    }
    assert_eq!(listed.len(), names.len());
    for (count, name) in (1..).zip(names) {
        let summary = listed.iter().find(|summary| summary.namespace == name).unwrap();
        assert_eq!((summary.records, &summary.space), (count, &notes.space), "{name}");
    }
}

async fn scopes_see_no_records_but_their_own(test: Test) {
    let notes = Namespace::new(&test);
    let (user, node) = (notes.scope.user(), notes.scope.node());
    notes.store(vec![record("a", X), record("b", Y)]).await;
    let longer = format!("{user}0");
    let shorter = &user[..user.len() - 1];
    for (user, node) in [
        (longer.as_str(), node),
        (shorter, node),
        (&user.to_uppercase(), node),
        (user, "Node"),
        (user, "node2"),
        (user, "nod"),
        (user, "%"),
        (user, "*"),
        (node, user),
        ("%", node),
        ("*", node),
    ] {
        let other = notes.in_scope(Scope::new(user, node).unwrap());
        other.assert_empty(&test).await;
        assert_eq!(other.get(&["a", "b"]).await, []);
        assert_eq!(other.delete_ids(&["a", "b"]).await, 0);
        let listed = other.vectors.namespaces(&other.scope, &PageRequest::default()).await;
        assert_eq!(listed.unwrap().items, []);
    }
    assert_eq!(notes.count(None).await, 2);
}

async fn namespaces_hold_records_of_their_own(test: Test) {
    let notes = Namespace::new(&test);
    let other = notes.named("other");
    notes.put(tagged("a", X, json!({"of": "notes"}))).await;
    other.put(tagged("a", Y, json!({"of": "other"}))).await;
    assert_eq!(notes.get(&["a"]).await[0].metadata["of"], "notes");
    assert_eq!(other.get(&["a"]).await[0].metadata["of"], "other");
    assert_eq!((notes.count(None).await, other.count(None).await), (1, 1));
    assert_eq!(other.delete_ids(&["a"]).await, 1);
    assert_eq!(notes.nearest(X, 10).await, ["a"]);
}

async fn names_that_differ_in_one_sign_are_different_namespaces(test: Test) {
    let notes = Namespace::new(&test);
    let names = ["n", "N", "n ", " n", "n%", "%", "n_", "__", "n*", "nn", "é", "e\u{301}", "n:n"];
    for name in names {
        notes.named(name).put(record(name, X)).await;
    }
    for name in names {
        assert_eq!(notes.named(name).nearest(X, 100).await, [name]);
    }
}
