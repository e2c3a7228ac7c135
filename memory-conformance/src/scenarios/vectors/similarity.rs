//! V4 to V6: how near, how near at least, and in what order.

use memquill_core::{Facet, Hit, QueryEmbedding, cosine_similarity};

use super::support::{HALF, MINUS_HALF, MINUS_X, Namespace, X, Y, ids, noise_vectors, record};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v4: similarity_is_the_cosine;
    v4: the_same_direction_is_one_and_the_opposite_minus_one;
    v4: similarity_never_leaves_its_range;
    v4: length_does_not_matter;
    v4: the_largest_and_smallest_numbers_have_a_direction;
    v4: a_hit_scores_its_similarity_and_carries_no_embedding;
    v5: the_threshold_is_inclusive;
    v5: the_threshold_applies_before_limit;
    v5: the_threshold_holds_for_words_too [TextSearch];
    v6: hits_stand_in_descending_similarity;
    v6: equal_hits_stand_in_the_order_of_their_ids;
    v6: the_limit_cuts_equal_hits_by_id;
}

/// How far a similarity may be off.
fn tolerance(test: &Test) -> f64 {
    let quality = test.backend().capabilities().vectors.expect("a backend with vectors");
    // The contract's tolerance, unless the driver declares more; and one rounding to f32.
    f64::from(quality.similarity_tolerance).max(1e-4) + f64::from(f32::EPSILON)
}

fn similarity(hit: &Hit) -> f64 {
    f64::from(hit.similarity.expect("a vector search says the similarity"))
}

/// Stores the vectors under their index, and checks every similarity to the query.
async fn assert_exact(test: &Test, vectors: &[Vec<f32>], query: &[f32]) {
    let notes = Namespace::of(test, query.len());
    let records = vectors.iter().zip(0..).map(|(v, n): (_, u32)| record(&n.to_string(), v.clone()));
    notes.store(records.collect()).await;
    let result = notes.search(&notes.query(query, vectors.len())).await;
    assert_eq!(result.hits.len(), vectors.len());
    for hit in &result.hits {
        let vector = &vectors[hit.record.id.parse::<usize>().unwrap()];
        let exact = cosine_similarity(vector, query);
        let off = (similarity(hit) - exact).abs();
        assert!(
            off <= tolerance(test),
            "{} instead of {exact}: {vector:?} {query:?}",
            similarity(hit)
        );
    }
}

async fn similarity_is_the_cosine(test: Test) {
    for dimensions in [1, 3, 32, 384] {
        let vectors = noise_vectors(4, dimensions, 50);
        assert_exact(&test, &vectors[1..], &vectors[0]).await;
    }
}

async fn the_same_direction_is_one_and_the_opposite_minus_one(test: Test) {
    let vector = noise_vectors(5, 100, 1).remove(0);
    let opposite: Vec<f32> = vector.iter().map(|x| -x).collect();
    let notes = Namespace::of(&test, 100);
    notes.store(vec![record("same", vector.clone()), record("opposite", opposite)]).await;
    let hits = notes.search(&notes.query(vector, 2)).await.hits;
    assert_eq!((hits[0].record.id.as_str(), hits[1].record.id.as_str()), ("same", "opposite"));
    assert!((similarity(&hits[0]) - 1.0).abs() <= tolerance(&test), "{}", similarity(&hits[0]));
    assert!((similarity(&hits[1]) + 1.0).abs() <= tolerance(&test), "{}", similarity(&hits[1]));
}

async fn similarity_never_leaves_its_range(test: Test) {
    // Rounding carries the similarity of parallel vectors past 1 unless it is held there.
    let notes = Namespace::of(&test, 7);
    let vectors = noise_vectors(6, 7, 100);
    let records = vectors.iter().zip(0..).map(|(v, n): (_, u32)| record(&n.to_string(), v.clone()));
    notes.store(records.collect()).await;
    for vector in &vectors {
        for scale in [1.0, -1.0, 0.1, 3.0, -1e10] {
            let query: Vec<f32> = vector.iter().map(|x| x * scale).collect();
            for hit in notes.search(&notes.query(query, 100)).await.hits {
                assert!((-1.0..=1.0).contains(&similarity(&hit)), "{}", similarity(&hit));
            }
        }
    }
}

async fn length_does_not_matter(test: Test) {
    let base = noise_vectors(7, 16, 20);
    let scales = [1e-12_f32, 1e-3, 1.0, 1e3, 1e12];
    let vectors: Vec<Vec<f32>> = base[1..]
        .iter()
        .zip(scales.iter().cycle())
        .map(|(vector, scale)| vector.iter().map(|x| x * scale).collect())
        .collect();
    for scale in scales {
        let query: Vec<f32> = base[0].iter().map(|x| x * scale).collect();
        assert_exact(&test, &vectors, &query).await;
    }
}

async fn the_largest_and_smallest_numbers_have_a_direction(test: Test) {
    // Their squares are no f32: the sums overflow or vanish unless they are kept wider.
    let vectors = [
        vec![f32::MAX, 0.0, 0.0],
        vec![f32::MAX, f32::MAX, f32::MIN],
        vec![1e-30, 1e-30, 0.0],
        vec![f32::MIN_POSITIVE, 0.0, f32::MIN_POSITIVE],
        vec![1e30, 1e-30, 1.0],
        vec![0.0, -1.0, 1.0],
    ];
    for query in [[f32::MAX, f32::MAX, 0.0], [1e-30, 0.0, 1e-30], [1.0, 2.0, 3.0]] {
        assert_exact(&test, &vectors, &query).await;
    }
}

async fn a_hit_scores_its_similarity_and_carries_no_embedding(test: Test) {
    let notes = Namespace::new(&test);
    let stored = notes.store(vec![record("a", X), record("b", HALF)]).await;
    let result = notes.search(&notes.query(X, 10)).await;
    assert!(result.complete);
    for (hit, stored) in result.hits.iter().zip(&stored) {
        assert!((hit.score - similarity(hit)).abs() <= 1e-6);
        assert_eq!(hit.record.embedding, None);
        assert_eq!(hit.record.id, stored.id);
        assert_eq!(hit.record.content_hash, stored.content_hash);
        assert_eq!(hit.record.created_at, stored.created_at);
    }
}

/// One record at each of the similarities 1, 0.5, 0, -0.5 and -1 to [`X`].
async fn staircase(test: &Test) -> Namespace {
    let notes = Namespace::new(test);
    let steps = [("-1", MINUS_X), ("0", Y), ("0.5", HALF), ("1", X), ("-0.5", MINUS_HALF)];
    notes.store(steps.map(|(id, embedding)| record(id, embedding)).into()).await;
    notes
}

async fn the_threshold_is_inclusive(test: Test) {
    let notes = staircase(&test).await;
    let all = ["1", "0.5", "0", "-0.5", "-1"];
    let cases =
        [(1.0, 1), (0.75, 1), (0.5, 2), (0.25, 2), (0.0, 3), (-0.5, 4), (-0.75, 4), (-1.0, 5)];
    for (min, expected) in cases {
        let request = notes.query(X, 10).with_min_similarity(min);
        assert_eq!(ids(&notes.search(&request).await), all[..expected], "at least {min}");
    }
}

async fn the_threshold_applies_before_limit(test: Test) {
    let notes = staircase(&test).await;
    let request = notes.query(X, 2).with_min_similarity(-0.5);
    assert_eq!(ids(&notes.search(&request).await), ["1", "0.5"]);
    let request = notes.query(MINUS_HALF, 1).with_min_similarity(0.5);
    assert_eq!(ids(&notes.search(&request).await), ["-0.5"]);
    let nothing = notes.query([-1.0, -1.0, -1.0, 1.0], 3).with_min_similarity(0.9);
    let result = notes.search(&nothing).await;
    assert_eq!((result.hits.len(), result.complete), (0, true));
}

async fn the_threshold_holds_for_words_too(test: Test) {
    let notes = staircase(&test).await;
    let mut request = notes.words("common");
    for (min, expected) in
        [(Some(0.5), vec!["0.5", "1"]), (Some(-0.5), vec!["-0.5", "0", "0.5", "1"])]
    {
        let embedding = X.into();
        request.similarity_to =
            Some(QueryEmbedding { space: notes.space.clone(), embedding, min_similarity: min });
        let result = notes.search_text(&request).await;
        // All have the same words, so they stand in the order of their ids.
        assert_eq!(ids(&result), expected, "at least {min:?}");
        for hit in &result.hits {
            let exact: f64 = hit.record.id.parse().unwrap();
            assert!((similarity(hit) - exact).abs() <= tolerance(&test));
        }
    }
    request.limit = 1;
    request.similarity_to.as_mut().unwrap().min_similarity = Some(1.0);
    assert_eq!(ids(&notes.search_text(&request).await), ["1"], "the threshold is before limit");
}

async fn hits_stand_in_descending_similarity(test: Test) {
    let notes = staircase(&test).await;
    assert_eq!(notes.nearest(X, 10).await, ["1", "0.5", "0", "-0.5", "-1"]);
    assert_eq!(notes.nearest(MINUS_X, 10).await, ["-1", "-0.5", "0", "0.5", "1"]);
    assert_eq!(notes.nearest(X, 3).await, ["1", "0.5", "0"]);
}

/// In the order of their bytes.
const IDS: [&str; 10] = ["!", "10", "9", "B", "a", "a!", "aa", "z", "é", "🙂"];

async fn equal_hits_stand_in_the_order_of_their_ids(test: Test) {
    let notes = Namespace::new(&test);
    for id in ["z", "🙂", "9", "a!", "é", "10", "aa", "B", "!", "a"] {
        notes.put(record(id, HALF)).await;
    }
    assert_eq!(notes.nearest(X, 100).await, IDS);
    notes.put(record("nearer", X)).await;
    assert_eq!(notes.nearest(X, 4).await, ["nearer", "!", "10", "9"]);
}

async fn the_limit_cuts_equal_hits_by_id(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(IDS.iter().rev().map(|id| record(id, HALF)).collect()).await;
    for limit in 1..=IDS.len() {
        assert_eq!(notes.nearest(Y, limit).await, IDS[..limit]);
    }
}
