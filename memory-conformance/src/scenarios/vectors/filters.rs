//! V7: what does not match takes no place in a result.

use memquill_core::{Facet, Filter, Record, cosine_similarity};
use serde_json::json;

use super::support::{
    HALF, Namespace, X, Y, filter, ids, noise_vectors, object, record, tagged, text,
};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v7: filters_apply_before_limit [Filters];
    v7: a_single_match_behind_thousands_is_found [Filters];
    v7: namespaces_and_scopes_apply_before_limit;
    v7: filters_apply_before_limit_for_words_too [Filters, TextSearch];
    v7: a_limit_past_the_matches_returns_all_of_them [Filters];
    v7: filter_and_threshold_combine [Filters];
    v7: two_thousand_records_are_searched_exactly;
    v7: two_thousand_records_are_searched_exactly_under_a_filter [Filters];
    v7: updates_and_deletes_leave_the_search_exact;
}

fn wanted() -> Filter {
    filter(json!({"metadata.wanted": true}))
}

async fn filters_apply_before_limit(test: Test) {
    let notes = Namespace::new(&test);
    let near = (0..500).map(|n| tagged(&format!("near {n}"), X, json!({"wanted": false})));
    notes.store(near.collect()).await;
    let far: Vec<String> = (0..10).map(|n| format!("far {n}")).collect();
    notes.store(far.iter().map(|id| tagged(id, Y, json!({"wanted": true}))).collect()).await;
    let result = notes.search(&notes.query(X, 10).with_filter(wanted())).await;
    assert_eq!(ids(&result), far);
    assert!(result.complete);
    let result = notes.search(&notes.query(X, 3).with_filter(wanted())).await;
    assert_eq!(ids(&result), far[..3]);
}

async fn a_single_match_behind_thousands_is_found(test: Test) {
    let notes = Namespace::of(&test, 16);
    let vectors = noise_vectors(1, 16, 3_001);
    for part in vectors[1..].chunks(1_000) {
        let records = part
            .iter()
            .zip(0..)
            .map(|(vector, n): (_, u32)| record(&format!("{n} {:?}", vector[0]), vector.clone()));
        notes.store(records.collect()).await;
    }
    let opposite: Vec<f32> = vectors[0].iter().map(|x| -x).collect();
    notes.put(tagged("the one", opposite, json!({"wanted": true}))).await;
    let request = notes.query(vectors[0].clone(), 5).with_filter(wanted());
    assert_eq!(ids(&notes.search(&request).await), ["the one"]);
}

async fn namespaces_and_scopes_apply_before_limit(test: Test) {
    let notes = Namespace::new(&test);
    let near = || (0..300).map(|n| record(&format!("near {n}"), X)).collect();
    notes.named("other").store(near()).await;
    notes.in_scope(test.scope()).store(near()).await;
    notes.store(vec![record("a", Y), record("b", HALF)]).await;
    let result = notes.search(&notes.query(X, 10)).await;
    assert_eq!(ids(&result), ["b", "a"]);
    assert!(result.complete);
}

async fn filters_apply_before_limit_for_words_too(test: Test) {
    let notes = Namespace::new(&test);
    let better = (0..300).map(|n| text(&format!("better {n:03}"), "apple apple apple"));
    notes.store(better.collect()).await;
    let weighed_down = "an apple among many other words that weigh it down";
    let worse = (0..5).map(|n| {
        text(&format!("worse {n}"), weighed_down).with_metadata(object(json!({"wanted": true})))
    });
    notes.store(worse.collect()).await;
    let mut request = notes.words("apple");
    request.limit = 3;
    assert_eq!(ids(&notes.search_text(&request).await), ["better 000", "better 001", "better 002"]);
    request.filter = Some(wanted());
    let result = notes.search_text(&request).await;
    assert_eq!(ids(&result), ["worse 0", "worse 1", "worse 2"]);
    request.limit = 10;
    let result = notes.search_text(&request).await;
    assert_eq!((result.hits.len(), result.complete), (5, true));
}

async fn a_limit_past_the_matches_returns_all_of_them(test: Test) {
    let notes = Namespace::new(&test);
    let records = (0..50).map(|n| tagged(&format!("{n:02}"), HALF, json!({"wanted": n % 5 == 0})));
    notes.store(records.collect()).await;
    let result = notes.search(&notes.query(X, 10_000).with_filter(wanted())).await;
    assert_eq!((result.hits.len(), result.complete), (10, true));
    let result = notes.search(&notes.query(X, 10_000)).await;
    assert_eq!((result.hits.len(), result.complete), (50, true));
    let nothing = notes.query(X, 10).with_filter(filter(json!({"metadata.wanted": "maybe"})));
    let result = notes.search(&nothing).await;
    assert_eq!((result.hits.len(), result.complete), (0, true));
}

async fn filter_and_threshold_combine(test: Test) {
    let notes = Namespace::new(&test);
    notes
        .store(vec![
            tagged("near, unwanted", X, json!({"wanted": false})),
            tagged("near, wanted", HALF, json!({"wanted": true})),
            tagged("far, wanted", Y, json!({"wanted": true})),
        ])
        .await;
    let request = notes.query(X, 10).with_filter(wanted()).with_min_similarity(0.5);
    assert_eq!(ids(&notes.search(&request).await), ["near, wanted"]);
}

/// 2,000 records of noise, tagged by the remainder of their number by 7.
async fn two_thousand(notes: &Namespace) -> Vec<Vec<f32>> {
    let vectors = noise_vectors(2_000, notes.space.dimensions, 2_000);
    let records: Vec<_> = vectors
        .iter()
        .zip(0_u32..)
        .map(|(vector, n)| tagged(&format!("{n:04}"), vector.clone(), json!({"rest": n % 7})))
        .collect();
    for batch in records.chunks(1_000) {
        notes.store(batch.to_vec()).await;
    }
    vectors
}

/// Whether a result is that of a search by brute force, but for the order of what is as near.
async fn assert_as_brute_force(notes: &Namespace, filter: Option<Filter>, limit: usize) {
    let all: Vec<Record> = notes.scan(None, 1_000).await;
    for query in noise_vectors(99, notes.space.dimensions, 5) {
        let mut exact: Vec<f64> = all
            .iter()
            .filter(|record| filter.as_ref().is_none_or(|f| f.matches(record.filter_target())))
            .map(|record| cosine_similarity(record.embedding.as_ref().unwrap(), &query))
            .collect();
        exact.sort_by(|a, b| b.total_cmp(a));
        exact.truncate(limit);
        let mut request = notes.query(query, limit);
        request.filter.clone_from(&filter);
        let result = notes.search(&request).await;
        assert!(result.complete);
        let found: Vec<f64> =
            result.hits.iter().map(|hit| f64::from(hit.similarity.unwrap())).collect();
        assert_eq!(found.len(), exact.len());
        for (found, exact) in found.iter().zip(&exact) {
            assert!((found - exact).abs() < 2e-4, "{found} instead of {exact}");
        }
        let matching =
            |record: &Record| filter.as_ref().is_none_or(|f| f.matches(record.filter_target()));
        assert!(result.hits.iter().all(|hit| matching(&hit.record)));
    }
}

async fn two_thousand_records_are_searched_exactly(test: Test) {
    let notes = Namespace::of(&test, 24);
    two_thousand(&notes).await;
    assert_as_brute_force(&notes, None, 10).await;
    assert_as_brute_force(&notes, None, 250).await;
}

async fn two_thousand_records_are_searched_exactly_under_a_filter(test: Test) {
    let notes = Namespace::of(&test, 24);
    two_thousand(&notes).await;
    for wanted in [json!({"metadata.rest": 3}), json!({"metadata.rest": {"gte": 2}})] {
        assert_as_brute_force(&notes, Some(filter(wanted)), 25).await;
    }
    let one = filter(json!({"metadata.rest": 3, "document_type": {"ne": "text"}}));
    assert_as_brute_force(&notes, Some(one), 25).await;
}

async fn updates_and_deletes_leave_the_search_exact(test: Test) {
    let notes = Namespace::of(&test, 24);
    let vectors = two_thousand(&notes).await;
    let gone: Vec<String> = (0..2_000).step_by(3).map(|n| format!("{n:04}")).collect();
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    assert_eq!(notes.delete_ids(&gone).await, gone.len() as u64);
    let moved = vectors.iter().zip(0_u32..).filter(|(_, n)| n % 3 == 1).map(|(vector, n)| {
        record(&format!("{n:04}"), vector.iter().rev().copied().collect::<Vec<_>>())
    });
    notes.store(moved.collect()).await;
    assert_as_brute_force(&notes, None, 50).await;
}
