//! What a search of `VECTOR_DATABASE` finds, and in which order (V9, V10).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use memquill_core::kinds::{VectorDatabase, VectorDatabaseConfig};
use memquill_core::{Embedder, EmbedderLimits, EmbeddingSpace, HeuristicCounter, Result};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Toy, backend, fails, ok, scope, texts, vectors};

fn ids(answer: &Value) -> Vec<&str> {
    texts(&answer["results"], "/id")
}

/// A vector and words by a number: neighbours in neither are neighbours in the other.
fn scattered(n: u32) -> Value {
    let angle = f64::from(n.wrapping_mul(2_654_435_761) % 1_000) / 500.0;
    let word = |seed: u32| format!("w{}", n.wrapping_mul(seed).wrapping_add(seed) % 37);
    json!({
        "id": format!("{:05}", n.wrapping_mul(7_919) % 100_003),
        "content": format!("common {} {} {}", word(31), word(61), word(97)),
        "embedding": [angle.cos(), angle.sin(), 0.3, f64::from(n % 7) / 10.0],
        "metadata": {"even": n.is_multiple_of(2)},
    })
}

/// A database of `count` records of different ages, and one with a rare word.
fn scattered_records(count: u32, config: VectorDatabaseConfig) -> VectorDatabase {
    let (backend, clock) = backend();
    let database = vectors(&backend, &Toy::new(), config);
    let all: Vec<u32> = (0..count).collect();
    for part in all.chunks(250) {
        let documents: Vec<Value> = part.iter().map(|n| scattered(*n)).collect();
        ok(&database, "store", &json!({"documents": documents}));
        clock.advance(Duration::from_mins(1));
    }
    let rare = json!({"id": "rare", "content": "common rare", "embedding": [-1, 0, 0, 0.1]});
    ok(&database, "store", &rare);
    database
}

fn assert_only_appends(database: &VectorDatabase, query: &Value, limits: &[usize]) {
    let mut before: Vec<Value> = Vec::new();
    for limit in limits {
        let mut input = query.clone();
        input["limit"] = (*limit).into();
        let mut answer = ok(database, "retrieve", &input);
        let found = std::mem::take(answer["results"].as_array_mut().unwrap());
        let names: Vec<&Value> = found.iter().map(|hit| &hit["id"]).collect();
        let expected: Vec<&Value> = before.iter().map(|hit| &hit["id"]).collect();
        assert!(names.len() >= expected.len(), "{query} at {limit}");
        assert_eq!(names[..expected.len()], expected[..], "{query} at {limit}");
        assert_eq!(found[..before.len()], before[..], "{query} at {limit}: the scores too");
        let scores: Vec<f64> = found.iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{query} at {limit}");
        before = found;
    }
}

#[test]
fn v10_a_greater_limit_only_appends() {
    const LIMITS: [usize; 7] = [1, 10, 100, 101, 300, 500, 1_500];
    for fusion in ["convex", "rrf"] {
        let config = serde_json::from_value(json!({
            "fusion": fusion, "similarity_threshold": -1, "max_results": 10,
        }));
        let database = scattered_records(1_200, config.unwrap());
        for extra in [
            json!({}),
            json!({"search": "vector"}),
            json!({"search": "text"}),
            json!({"filter": {"metadata.even": true}}),
            json!({"similarity_threshold": 0.2}),
            json!({"recency_half_life": 90}),
            json!({"recency_half_life": 90, "search": "vector"}),
        ] {
            let mut query = json!({"query": "rare w3 common", "embedding": [1, 0.2, 0.1, 0.1]});
            query.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            assert_only_appends(&database, &query, &LIMITS);
        }
        let diverse = json!({"query": "rare w3", "embedding": [1, 0.2, 0.1, 0.1],
                             "diversity": 0.4, "recency_half_life": 300});
        assert_only_appends(&database, &diverse, &[1, 10, 100, 150, 300]);
    }
}

#[test]
fn v10_a_rare_word_is_first_whatever_the_limit() {
    const LIMITS: [usize; 7] = [1, 10, 100, 300, 500, 1_000, 4_000];
    let config = VectorDatabaseConfig { similarity_threshold: -1.0, ..Default::default() };
    let database = scattered_records(25_000, config);
    let query = json!({"query": "rare", "embedding": [1, 0.2, 0.1, 0.1]});
    assert_only_appends(&database, &query, &LIMITS);
    let first = json!({"query": "rare", "embedding": [1, 0.2, 0.1, 0.1], "limit": 1});
    assert_eq!(ids(&ok(&database, "retrieve", &first)), ["rare"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn v10_a_greater_limit_only_appends_in_any_corpus(
        records in prop::collection::vec(("[ab猫]( [a-d]){0,3}", -5_i8..=5, -5_i8..=5), 100..160),
        query in "[a-d]( [a-d]){0,2}",
        rrf in any::<bool>(),
        diversity in prop::sample::select(vec![0.0, 0.3]),
    ) {
        let config = serde_json::from_value(json!({
            "fusion": if rrf { "rrf" } else { "convex" }, "similarity_threshold": -1,
        }));
        let database = vectors(&backend().0, &Toy::new(), config.unwrap());
        let documents: Vec<Value> = records.iter().enumerate().map(|(n, (content, x, y))| {
            json!({"id": format!("{n:03}"), "content": content, "embedding": [x, y, 1, 0]})
        }).collect();
        ok(&database, "store", &json!({"documents": documents}));
        let query = json!({"query": query, "embedding": [1, 1, 0, 0.5], "diversity": diversity});
        assert_only_appends(&database, &query, &[1, 5, 60, 100, 101, 140, 400, 401]);
    }
}

#[test]
fn v10_a_query_without_words_finds_nothing_and_is_not_embedded() {
    let embedder = Toy::new();
    let config = VectorDatabaseConfig { similarity_threshold: -1.0, ..Default::default() };
    let database = vectors(&backend().0, &embedder, config);
    let documents = json!([{"content": "the cat * sleeps"}, {"content": "***"}, {"content": "🙂"}]);
    ok(&database, "store", &json!({"documents": documents}));
    embedder.batches.lock().unwrap().clear();
    for query in ["*", "", "  ", "?!", "---", "\u{200B}", "🙂", "***"] {
        for search in ["hybrid", "vector", "text"] {
            for extra in [json!({}), json!({"similarity_threshold": -1}), json!({"diversity": 0.5})]
            {
                let mut input = json!({"query": query, "search": search});
                input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
                let answer = ok(&database, "retrieve", &input);
                assert_eq!(ids(&answer), [""; 0], "{input}");
                assert_eq!(answer["complete"], true, "{input}");
            }
        }
    }
    assert!(embedder.batches.lock().unwrap().is_empty());
    let wrong = json!({"query": "*", "limit": 0});
    assert_eq!(fails(&database, "retrieve", &wrong)["code"], "invalid_input", "E4 as ever");
    let near = json!({"query": "*", "embedding": [1, 0, 0, 0]});
    assert_eq!(ids(&ok(&database, "retrieve", &near)).len(), 3, "the caller's embedding counts");
}

#[test]
fn v10_every_hit_has_a_word_or_a_likeness_in_common() {
    let config = VectorDatabaseConfig { similarity_threshold: -1.0, ..Default::default() };
    let database = vectors(&backend().0, &Toy::new(), config);
    let documents = json!([
        {"id": "near", "content": "one", "embedding": [1, 0.1, 0, 0]},
        {"id": "across", "content": "two", "embedding": [0, 1, 0, 0]},
        {"id": "opposite", "content": "three", "embedding": [-1, 0, 0, 0]},
        {"id": "word", "content": "four", "embedding": [-1, 0, 0.1, 0]},
    ]);
    ok(&database, "store", &json!({"documents": documents}));
    let find = |extra: Value| {
        let mut input = json!({"query": "four", "embedding": [1, 0, 0, 0]});
        input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let answer = ok(&database, "retrieve", &input);
        let scores: Vec<f64> = answer["results"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|h| h["score"].as_f64())
            .collect();
        let mut found: Vec<String> = ids(&answer).into_iter().map(str::to_owned).collect();
        found.sort();
        (found, scores)
    };
    let (found, scores) = find(json!({}));
    assert_eq!(found, ["near", "word"]);
    assert!(scores.iter().all(|score| *score > 0.0), "{scores:?}");
    assert_eq!(find(json!({"search": "vector"})).0, ["near"]);
    assert_eq!(find(json!({"search": "text"})).0, ["word"]);
    let asked = find(json!({"search": "vector", "similarity_threshold": -1})).0;
    assert_eq!(asked.len(), 4, "a threshold that the query states is taken as it is");
}

/// An embedder that keeps none of its promises.
#[derive(Debug)]
struct Broken(EmbeddingSpace, Vec<f32>);

#[async_trait]
impl Embedder for Broken {
    fn space(&self) -> &EmbeddingSpace {
        &self.0
    }

    fn limits(&self) -> EmbedderLimits {
        EmbedderLimits { texts: 10, tokens: None }
    }

    async fn embed_documents(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        Ok(vec![self.1.clone(); texts.len()])
    }

    async fn embed_query(&self, _: &str) -> Result<Vec<f32>> {
        Ok(self.1.clone())
    }
}

#[test]
fn e2_an_embedders_fault_is_not_the_callers() {
    for vector in [vec![1.0; 5], vec![f32::NAN; 4], vec![0.0; 4], vec![]] {
        let embedder = Arc::new(Broken(EmbeddingSpace::new("toy", 4), vector.clone()));
        let store = Arc::clone(backend().0.vectors().unwrap());
        let counter = Arc::new(HeuristicCounter);
        let config = VectorDatabaseConfig::default();
        let database = VectorDatabase::new(scope(), store, embedder, counter, config).unwrap();
        for (operation, input) in [
            ("store", json!({"content": "a"})),
            ("retrieve", json!({"query": "a"})),
            ("retrieve", json!({"query": "a", "search": "vector"})),
            ("retrieve", json!({"query": "a", "search": "text", "similarity_threshold": 0.5})),
            ("get_context", json!({"query": "a"})),
        ] {
            let error = fails(&database, operation, &input);
            assert_eq!(error["code"], "internal", "{operation} {input} {vector:?}");
        }
    }
}
