//! Vectors on SQLite (contract, section V).
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use memquill_core::text::{Terms, bm25, query_words, terms};
use memquill_core::{
    CountRecords, DeleteRecords, EmbeddingSpace, ErrorKind, Filter, GetRecords, NewRecord, Outcome,
    PageRequest, QueryEmbedding, ScanRecords, Scope, Selection, StoreRecords, TextSearch,
    VectorSearch, VectorStore, cosine_similarity,
};
use serde_json::json;
use support::{in_memory, scope};

const SECOND: Duration = Duration::from_secs(1);

fn space() -> EmbeddingSpace {
    EmbeddingSpace::new("model", 3)
}

fn record(id: &str, content: &str, embedding: [f32; 3]) -> NewRecord {
    NewRecord::new(content, embedding.to_vec()).with_id(id)
}

async fn store(store: &dyn VectorStore, records: Vec<NewRecord>) -> Vec<Outcome> {
    let request = StoreRecords { namespace: "n".into(), space: space(), records };
    let stored = store.store(&scope(), &request).await.unwrap();
    stored.into_iter().map(|stored| stored.outcome).collect()
}

async fn found(store: &dyn VectorStore, request: &VectorSearch) -> Vec<(String, f64)> {
    let result = store.search(&scope(), request).await.unwrap();
    assert!(result.complete);
    result.hits.into_iter().map(|hit| (hit.record.id, hit.score)).collect()
}

async fn found_by_words(store: &dyn VectorStore, request: &TextSearch) -> Vec<(String, f64)> {
    let result = store.search_text(&scope(), request).await.unwrap();
    result.hits.into_iter().map(|hit| (hit.record.id, hit.score)).collect()
}

fn ids(found: &[(String, f64)]) -> Vec<&str> {
    found.iter().map(|(id, _)| id.as_str()).collect()
}

async fn count(store: &dyn VectorStore, filter: Option<Filter>) -> u64 {
    let request = CountRecords { namespace: "n".into(), filter };
    store.count(&scope(), &request).await.unwrap()
}

fn numbers(count: usize) -> impl Iterator<Item = f32> {
    let mut state = 7_u32;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [.., low, high] = state.to_le_bytes();
        f32::from(i16::from_le_bytes([low, high]))
    })
    .take(count)
}

#[tokio::test]
async fn v1_storing_again_updates_and_keeps_the_creation_time() {
    let (backend, clock) = in_memory().await;
    let vectors = backend.vectors().unwrap().as_ref();
    let a = record("a", "red fox", [1.0, 0.0, 0.0]);
    assert_eq!(store(vectors, vec![a.clone(), a.clone()]).await, [Outcome::Inserted; 2]);
    clock.advance(SECOND);
    assert_eq!(store(vectors, vec![a.clone()]).await, [Outcome::Unchanged]);
    let negative = NewRecord { embedding: vec![1.0, -0.0, 0.0], ..a };
    let request = StoreRecords { namespace: "n".into(), space: space(), records: vec![negative] };
    let stored = vectors.store(&scope(), &request).await.unwrap().remove(0);
    assert_eq!(stored.outcome, Outcome::Updated);
    assert_eq!(stored.created_at.saturating_add(SECOND), stored.updated_at);
    let get = GetRecords { namespace: "n".into(), ids: vec!["a".into()], with_embeddings: true };
    let read = vectors.get(&scope(), &get).await.unwrap().remove(0);
    assert_eq!(read.embedding.unwrap()[1].to_bits(), (-0.0_f32).to_bits());
    assert_eq!(count(vectors, None).await, 1);
}

#[tokio::test]
async fn v3_a_namespace_is_bound_until_it_is_deleted_as_a_whole() {
    let (backend, _) = in_memory().await;
    let vectors = backend.vectors().unwrap().as_ref();
    store(vectors, vec![record("a", "x", [1.0, 0.0, 0.0])]).await;
    let delete = |which| DeleteRecords { namespace: "n".into(), which };
    let by_id = delete(Selection::Ids(vec!["a".into(), "b".into()]));
    assert_eq!(vectors.delete(&scope(), &by_id).await.unwrap(), 1);
    let other = StoreRecords {
        namespace: "n".into(),
        space: EmbeddingSpace::new("other", 3),
        records: vec![record("a", "x", [1.0, 0.0, 0.0])],
    };
    let error = vectors.store(&scope(), &other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("model (3") && error.message().contains("other (3"));
    let query = VectorSearch::new("n", other.space.clone(), vec![1.0, 0.0, 0.0], 1);
    assert_eq!(vectors.search(&scope(), &query).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(vectors.delete(&scope(), &delete(Selection::Namespace)).await.unwrap(), 0);
    assert!(vectors.search(&scope(), &query).await.unwrap().hits.is_empty());
    vectors.store(&scope(), &other).await.unwrap();
    let listed = vectors.namespaces(&scope(), &PageRequest::first(5)).await.unwrap();
    assert_eq!((listed.items[0].space.clone(), listed.items[0].records), (other.space, 1));
}

#[tokio::test]
async fn v6_hits_are_the_nearest_and_equals_are_ordered_by_id() {
    let (backend, _) = in_memory().await;
    let vectors = backend.vectors().unwrap().as_ref();
    let data: Vec<f32> = numbers(900).collect();
    let mut records: Vec<NewRecord> = data
        .chunks(3)
        .enumerate()
        .map(|(i, v)| record(&format!("{i:03}"), &i.to_string(), [v[0], v[1], v[2]]))
        .collect();
    records.extend(["é", "z", "y"].map(|id| record(id, id, [2.0, 0.0, 0.0])));
    store(vectors, records.clone()).await;
    let query = [1.0, 0.0, 0.0];
    let mut expected: Vec<(String, f64)> = records
        .iter()
        .map(|r| (r.id.clone().unwrap(), cosine_similarity(&query, &r.embedding)))
        .collect();
    expected.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    for limit in [1, 2, 10, 303, 1000] {
        let request = VectorSearch::new("n", space(), query.to_vec(), limit);
        assert_eq!(found(vectors, &request).await, expected[..limit.min(303)]);
    }
    let request = VectorSearch::new("n", space(), query.to_vec(), 1000).with_min_similarity(0.5);
    let near = expected.iter().take_while(|(_, similarity)| *similarity >= 0.5).count();
    assert_eq!(found(vectors, &request).await, expected[..near]);
}

#[tokio::test]
async fn v7_filters_apply_before_the_limit() {
    let (backend, _) = in_memory().await;
    let vectors = backend.vectors().unwrap().as_ref();
    let records: Vec<NewRecord> = (0..600_u16)
        .map(|i| {
            let metadata = json!({"page": i}).as_object().unwrap().clone();
            record(&format!("{i:03}"), "word", [1.0, f32::from(i), 0.0]).with_metadata(metadata)
        })
        .collect();
    store(vectors, records).await;
    let filter = Filter::from_json(&json!({"metadata.page": {"in": [590.0, 30, 599]}})).unwrap();
    let request =
        VectorSearch::new("n", space(), vec![1.0, 0.0, 0.0], 2).with_filter(filter.clone());
    assert_eq!(ids(&found(vectors, &request).await), ["030", "590"]);
    let request = TextSearch { filter: Some(filter.clone()), ..TextSearch::new("n", "word", 2) };
    assert_eq!(ids(&found_by_words(vectors, &request).await), ["030", "590"]);
    assert_eq!(count(vectors, Some(filter.clone())).await, 3);

    let mut scan = ScanRecords {
        namespace: "n".into(),
        filter: Some(filter.clone()),
        with_embeddings: false,
        page: PageRequest::first(2),
    };
    let first = vectors.scan(&scope(), &scan).await.unwrap();
    scan.page = scan.page.after(first.next.unwrap());
    let second = vectors.scan(&scope(), &scan).await.unwrap();
    assert_eq!((first.items.len(), second.items[0].id.as_str()), (2, "599"));
    assert!(second.next.is_none());

    let delete = DeleteRecords { namespace: "n".into(), which: Selection::Matching(filter) };
    assert_eq!(vectors.delete(&scope(), &delete).await.unwrap(), 3);
    assert_eq!(count(vectors, None).await, 597);
}

#[tokio::test]
async fn v9_the_ranking_is_bm25_over_the_namespace() {
    let (backend, _) = in_memory().await;
    let vectors = backend.vectors().unwrap().as_ref();
    let vocabulary = ["fox", "東京", "don't", "a:b", "Crème", "over", "3.14", "\"quoted\""];
    let texts: Vec<String> = (0..200_usize)
        .map(|i| {
            (0..=i % 13).map(|j| vocabulary[(i * 7 + j * j) % 8]).collect::<Vec<_>>().join(" ")
        })
        .collect();
    let batch = texts
        .iter()
        .enumerate()
        .map(|(i, text)| record(&format!("{i:03}"), text, [1.0, 0.0, 0.0]))
        .collect();
    store(vectors, batch).await;
    // What others have changes nothing.
    let elsewhere = Scope::new("alice", "elsewhere").unwrap();
    let other = StoreRecords {
        namespace: "n".into(),
        space: space(),
        records: vec![record("a", "fox fox fox", [1.0, 0.0, 0.0])],
    };
    vectors.store(&elsewhere, &other).await.unwrap();

    let documents: Vec<Terms> = texts.iter().map(|text| terms(text, None)).collect();
    let mean = f64::from(documents.iter().map(|document| document.length).sum::<u32>()) / 200.0;
    for query in ["fox", "FOX 東京 fox", "creme \"DON'T\" OR (3.14*", "a:b AND missing", "?", "nil"]
    {
        let words = query_words(query, None);
        let score = |document: &Terms| -> f64 {
            words
                .iter()
                .filter_map(|term| {
                    let df = documents.iter().filter(|d| d.frequencies.contains_key(term)).count()
                        as u64;
                    let weight =
                        bm25::weight(*document.frequencies.get(term)?, document.length, mean);
                    Some(bm25::idf(200, df) * weight)
                })
                .sum()
        };
        let mut expected: Vec<(String, f64)> = documents
            .iter()
            .enumerate()
            .map(|(i, document)| (format!("{i:03}"), score(document)))
            .filter(|(_, score)| *score > 0.0)
            .collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        expected.truncate(50);
        let hits = found_by_words(vectors, &TextSearch::new("n", query, 50)).await;
        assert_eq!(hits.len(), expected.len(), "{query}");
        for (hit, expected) in hits.iter().zip(&expected) {
            assert!((hit.1 - expected.1).abs() < 1e-9, "{query}: {hit:?} {expected:?}");
        }
    }
}

#[tokio::test]
async fn v9_every_word_of_a_long_text_is_found() {
    let (backend, _) = in_memory().await;
    let vectors = backend.vectors().unwrap().as_ref();
    let long = (0..25_000).map(|i| format!("w{i}")).collect::<Vec<_>>().join(" ");
    store(vectors, vec![record("a", &long, [1.0, 0.0, 0.0])]).await;
    for word in ["w0", "w9999", "w10000", "w24999"] {
        let hits = found_by_words(vectors, &TextSearch::new("n", word, 5)).await;
        assert_eq!(ids(&hits), ["a"], "{word}");
    }
}

#[tokio::test]
async fn v5_a_search_by_words_can_ask_for_likeness_too() {
    let (backend, _) = in_memory().await;
    let vectors = backend.vectors().unwrap().as_ref();
    let near = record("near", "fox", [1.0, 0.0, 0.0]);
    let far = record("far", "fox fox fox", [0.0, 1.0, 0.0]);
    store(vectors, vec![near, far]).await;
    let embedding = vec![1.0, 0.0, 0.0];
    let query = QueryEmbedding { space: space(), embedding, min_similarity: None };
    let request =
        TextSearch { similarity_to: Some(query.clone()), ..TextSearch::new("n", "fox", 1) };
    let hits = vectors.search_text(&scope(), &request).await.unwrap().hits;
    assert_eq!((hits[0].record.id.as_str(), hits[0].similarity), ("far", Some(0.0)));
    let query = QueryEmbedding { min_similarity: Some(1.0), ..query };
    let request = TextSearch { similarity_to: Some(query), ..request };
    let hits = vectors.search_text(&scope(), &request).await.unwrap().hits;
    assert_eq!((hits[0].record.id.as_str(), hits[0].similarity), ("near", Some(1.0)));
}

#[tokio::test]
async fn v11_an_expired_record_is_not_found_counted_or_ranked_with() {
    let (backend, clock) = in_memory().await;
    let vectors = backend.vectors().unwrap().as_ref();
    let stays = record("b", "fox den", [0.0, 1.0, 0.0]);
    store(vectors, vec![stays.clone()]).await;
    let alone = found_by_words(vectors, &TextSearch::new("n", "fox", 5)).await;
    let goes = NewRecord { ttl: Some(SECOND), ..record("a", "fox fox cub", [1.0, 0.0, 0.0]) };
    assert_eq!(store(vectors, vec![goes.clone()]).await, [Outcome::Inserted]);
    assert_eq!(store(vectors, vec![goes.clone()]).await, [Outcome::Updated]);
    assert_eq!(count(vectors, None).await, 2);
    clock.advance(SECOND);
    let near = VectorSearch::new("n", space(), vec![1.0, 0.0, 0.0], 1);
    assert_eq!(ids(&found(vectors, &near).await), ["b"]);
    assert_eq!(found_by_words(vectors, &TextSearch::new("n", "fox", 5)).await, alone);
    assert_eq!(count(vectors, None).await, 1);
    assert_eq!(count(vectors, Some(Filter::And(vec![]))).await, 1);
    let by_id = DeleteRecords { namespace: "n".into(), which: Selection::Ids(vec!["a".into()]) };
    assert_eq!(store(vectors, vec![goes.clone()]).await, [Outcome::Inserted]);
    clock.advance(SECOND);
    assert_eq!(vectors.delete(&scope(), &by_id).await.unwrap(), 0);
    assert_eq!(store(vectors, vec![goes]).await, [Outcome::Inserted]);
}

#[tokio::test]
async fn v12_neither_old_words_nor_old_vectors_are_found_again() {
    let (backend, _) = in_memory().await;
    let vectors = backend.vectors().unwrap().as_ref();
    store(vectors, vec![record("a", "red fox", [1.0, 0.0, 0.0])]).await;
    store(vectors, vec![record("a", "blue whale", [0.0, 1.0, 0.0])]).await;
    let by_words = async |text| found_by_words(vectors, &TextSearch::new("n", text, 5)).await;
    assert!(by_words("fox").await.is_empty());
    assert_eq!(ids(&by_words("whale").await), ["a"]);
    let near = VectorSearch::new("n", space(), vec![1.0, 0.0, 0.0], 1).with_min_similarity(0.5);
    assert!(found(vectors, &near).await.is_empty());
    let by_id = DeleteRecords { namespace: "n".into(), which: Selection::Ids(vec!["a".into()]) };
    vectors.delete(&scope(), &by_id).await.unwrap();
    assert!(by_words("whale").await.is_empty());
}

#[tokio::test]
async fn v4_neither_huge_nor_tiny_numbers_disturb_similarity() {
    let (backend, _) = in_memory().await;
    let vectors = backend.vectors().unwrap().as_ref();
    let huge = record("huge", "x", [f32::MAX, f32::MAX, 0.0]);
    let tiny = record("tiny", "x", [1e-45, 0.0, 0.0]);
    store(vectors, vec![huge, tiny]).await;
    let request = VectorSearch::new("n", space(), vec![f32::MAX, 0.0, 0.0], 2);
    let hits = found(vectors, &request).await;
    assert_eq!(hits[0], ("tiny".to_owned(), 1.0));
    assert!((hits[1].1 - 0.5_f64.sqrt()).abs() < 1e-6);
}
