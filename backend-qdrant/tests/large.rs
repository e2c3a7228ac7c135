//! What a server's strict mode and a namespace of more than 20,000 records ask of the driver (V7).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use memquill_core::text::bm25;
use memquill_core::{
    Backend, CountRecords, DeleteRecords, EmbeddingSpace, ErrorKind, Filter, NewRecord, Outcome,
    PageRequest, Rebind, Scope, SearchResult, Selection, StoreRecords, StoreUrl, TextSearch,
    VectorSearch,
};
use memquill_qdrant::driver;
use memquill_qdrant::edge::Edge;
use serde_json::{Value, json};
use support::fixture::Fixture;

fn scope() -> Scope {
    Scope::new("ada", "bot").unwrap()
}

fn space(dimensions: usize) -> EmbeddingSpace {
    EmbeddingSpace::new("model", dimensions)
}

fn filter(form: &Value) -> Filter {
    Filter::from_json(form).unwrap()
}

async fn connect(url: &StoreUrl) -> Backend {
    driver().admin(url).await.unwrap().migrate().await.unwrap();
    driver().connect(url).await.unwrap()
}

async fn store(
    backend: &Backend,
    namespace: &str,
    dimensions: usize,
    records: Vec<NewRecord>,
) -> Vec<Outcome> {
    let request = StoreRecords { namespace: namespace.into(), space: space(dimensions), records };
    let stored = backend.vectors().unwrap().store(&scope(), &request).await.unwrap();
    stored.into_iter().map(|stored| stored.outcome).collect()
}

fn tagged(id: &str, embedding: Vec<f32>) -> NewRecord {
    let metadata = json!({"n": 1, "name": "walrus", "list": ["x"], "deep": {"null": null}});
    let Value::Object(metadata) = metadata else { unreachable!() };
    NewRecord::new("the quick walrus", embedding).with_id(id).with_metadata(metadata)
}

/// Everything that filters, over a server that refuses what has no index.
#[tokio::test(flavor = "multi_thread")]
async fn strict_mode_is_asked_for_nothing_that_has_no_index() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::strict(folder.path());
    let url: StoreUrl = format!("qdrant://{}", fixture.address).parse().unwrap();
    let backend = connect(&url).await;
    let vectors = backend.vectors().unwrap();
    let records = |dimensions| vec![tagged("a", vec![1.0; dimensions])];
    assert_eq!(store(&backend, "n", 2, records(2)).await, [Outcome::Inserted]);
    let updated = vec![tagged("a", vec![2.0, 1.0])];
    assert_eq!(store(&backend, "n", 2, updated).await, [Outcome::Updated]);
    store(&backend, "n", 2, vec![tagged("b", vec![1.0, 1.0])]).await;
    for (form, count) in [
        (json!({"metadata.n": {"gte": 1}}), 2),
        (json!({"metadata.n": {"lt": 1.5}}), 2),
        (json!({"metadata.name": {"gt": "wal"}}), 2),
        (json!({"metadata.name": {"in": ["walrus", "whale"]}}), 2),
        (json!({"metadata.list": {"contains": "x"}}), 2),
        (json!({"metadata.deep.null": {"exists": true}}), 2),
        (json!({"document_type": {"ne": "text"}}), 0),
        (json!({"created_at": {"gt": "2020-01-01T00:00:00Z"}}), 2),
        (json!({"or": [{"metadata.n": 2}, {"not": {"metadata.n": {"lte": 0}}}]}), 2),
    ] {
        let contains = form.to_string().contains("contains");
        let request = CountRecords { namespace: "n".into(), filter: Some(filter(&form)) };
        match vectors.count(&scope(), &request).await {
            // With a text it may mean a part of one, for which no index is kept.
            Err(error) if contains => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
            answer => assert_eq!((contains, answer.unwrap()), (false, count), "{form}"),
        }
    }
    let search = VectorSearch::new("n", space(2), vec![1.0, 0.0], 5);
    assert_eq!(vectors.search(&scope(), &search).await.unwrap().hits.len(), 2);
    let words = TextSearch::new("n", "walrus", 5);
    assert_eq!(vectors.search_text(&scope(), &words).await.unwrap().hits.len(), 2);
    assert_eq!(vectors.namespaces(&scope(), &PageRequest::default()).await.unwrap().items.len(), 1);
    store(&backend, "other", 3, [records(3), vec![tagged("b", vec![1.0; 3])]].concat()).await;
    let rebind = Rebind { namespace: "n".into(), from: "other".into() };
    assert_eq!(vectors.rebind(&scope(), &rebind).await.unwrap(), 2);
    let which = Selection::Matching(filter(&json!({"metadata.n": 1})));
    let delete = DeleteRecords { namespace: "n".into(), which };
    assert_eq!(vectors.delete(&scope(), &delete).await.unwrap(), 2);
    let admin = driver().admin(&url).await.unwrap();
    admin.purge_expired().await.unwrap();
    assert_eq!(admin.users(&PageRequest::default()).await.unwrap().items, ["ada"]);
    let scopes = backend.control().scopes("ada", &PageRequest::default()).await.unwrap();
    assert_eq!(scopes.items, [scope()]);
    backend.control().erase("ada").await.unwrap();
}

/// As many as a test stores in a few seconds.
const TEXTS: usize = 6_000;

/// Texts of very different lengths, of which few hold a rare word.
fn text(n: usize) -> String {
    let rare = if n % 600 == 7 { "walrus " } else { "" };
    let report = "report ".repeat(n % 3);
    let length = [3, 60, 12, 30, 20, 7, 45][n % 7] + n % 11;
    format!("{rare}{report}{}", "lorem ".repeat(length))
}

#[tokio::test(flavor = "multi_thread")]
async fn v10_a_greater_limit_of_words_only_appends() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("qdrant-edge:{}", folder.path().display()).parse().unwrap();
    let backend = connect(&url).await;
    let all: Vec<String> = (0..TEXTS).map(text).collect();
    for (part, texts) in all.chunks(1_000).enumerate() {
        let record = |(at, text): (usize, &String)| {
            NewRecord::new(text, vec![1.0, 0.0]).with_id(format!("{:05}", part * 1_000 + at))
        };
        store(&backend, "n", 2, texts.iter().enumerate().map(record).collect()).await;
    }
    let count = |text: &str, word| text.split(' ').filter(|other| *other == word).count();
    let length = |text: &str| text.split_whitespace().count();
    let number = |n: usize| u32::try_from(n).unwrap();
    let mean = all.iter().map(|text| f64::from(number(length(text)))).sum::<f64>()
        / f64::from(number(TEXTS));
    for query in ["walrus", "walrus report", "the report of a walrus"] {
        let mut scores = vec![0.0; all.len()];
        let asked: BTreeSet<&str> = query.split(' ').collect();
        for word in asked {
            let holding = all.iter().filter(|text| count(text, word) > 0).count();
            let idf = bm25::idf(TEXTS as u64, holding as u64);
            for (score, text) in scores.iter_mut().zip(&all) {
                let frequency = number(count(text, word));
                *score += idf * bm25::weight(frequency, number(length(text)), mean);
            }
        }
        let mut ranked: Vec<usize> = (0..all.len()).filter(|n| scores[*n] > 0.0).collect();
        ranked.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        for limit in [1, 10, 300, 500, 1_000, 5_000] {
            let search = TextSearch::new("n", query, limit);
            let found = backend.vectors().unwrap().search_text(&scope(), &search).await.unwrap();
            let ids = found.hits.iter().map(|hit| hit.record.id.parse().unwrap());
            let ids: Vec<usize> = ids.collect();
            assert!(found.complete, "{query}, {limit}");
            assert_eq!(ids, ranked[..limit.min(ranked.len())], "{query}, {limit}");
        }
    }
}

/// More than 10 MB of vectors, below which the engine builds no graph.
const DIMENSIONS: usize = 304;
const RECORDS: usize = 20_400;

/// Directions that are the same on every run. There are only as many as 8 dimensions have, as
/// embeddings have fewer than their numbers say.
struct Directions(u64);

impl Directions {
    #[allow(clippy::cast_precision_loss, reason = "24 bits are exact")]
    fn next(&mut self) -> Vec<f32> {
        let mut number = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
        };
        let few: [f32; 8] = std::array::from_fn(|_| number());
        memquill_core::normalize((0..DIMENSIONS).map(|at| few[at % 8]).collect())
    }
}

fn has_graph(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (path.is_dir() && has_graph(&path)) || name.starts_with("links")
    })
}

async fn search(backend: &Backend, query: &[f32], form: Option<Value>) -> SearchResult {
    let mut request = VectorSearch::new("n", space(DIMENSIONS), query.to_vec(), 10);
    request.filter = form.as_ref().map(filter);
    backend.vectors().unwrap().search(&scope(), &request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes where Edge is built for tests"]
async fn v7_a_namespace_of_more_than_20_000_is_found_by_its_graph() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("qdrant-edge:{}", folder.path().display()).parse().unwrap();
    let backend = connect(&url).await;
    let mut directions = Directions(42);
    let all: Vec<Vec<f32>> = (0..RECORDS).map(|_| directions.next()).collect();
    for (part, vectors) in all.chunks(1_000).enumerate() {
        let record = |(at, vector): (usize, &Vec<f32>)| {
            let n = part * 1_000 + at;
            let Value::Object(metadata) = json!({"rare": n % 4_000 == 7}) else { unreachable!() };
            NewRecord::new("x", vector.clone()).with_id(n.to_string()).with_metadata(metadata)
        };
        store(&backend, "n", DIMENSIONS, vectors.iter().enumerate().map(record).collect()).await;
    }
    Edge::open(folder.path()).unwrap().optimize().unwrap();
    assert!(has_graph(folder.path()), "without a graph this would show nothing");
    let (mut found, mut wanted) = (0, 0);
    for _ in 0..50 {
        let query = directions.next();
        let dot = |v: &[f32]| v.iter().zip(&query).map(|(a, b)| a * b).sum::<f32>();
        let mut exact: Vec<usize> = (0..RECORDS).collect();
        exact.sort_by(|a, b| dot(&all[*b]).total_cmp(&dot(&all[*a])));
        let exact: HashSet<String> = exact[..10].iter().map(usize::to_string).collect();
        let result = search(&backend, &query, None).await;
        assert!(result.complete && result.hits.len() == 10);
        found += result.hits.iter().filter(|hit| exact.contains(&hit.record.id)).count();
        wanted += exact.len();
        // Fewer than the limit match, and all of them are found.
        let rare = search(&backend, &query, Some(json!({"metadata.rare": true}))).await;
        assert!(rare.complete);
        assert_eq!(rare.hits.len(), RECORDS.div_ceil(4_000));
    }
    assert!(found * 100 >= wanted * 99, "recall {found} of {wanted}");
}
