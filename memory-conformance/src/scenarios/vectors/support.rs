//! A namespace to store into and search in, and vectors whose similarities are exact.

use memquill_core::json::Object;
use memquill_core::{
    CountRecords, DeleteRecords, EmbeddingSpace, Feature, Filter, GetRecords, NewRecord, Page,
    PageRequest, Record, Result, ScanRecords, Scope, SearchResult, Selection, StoreRecords,
    StoredRecord, TextSearch, VectorSearch, VectorStore,
};
use serde_json::Value;
use std::sync::Arc;

use crate::scenario::Test;

/// The first axis.
pub(crate) const X: [f32; 4] = [2.0, 0.0, 0.0, 0.0];
/// At similarity 0 to [`X`].
pub(crate) const Y: [f32; 4] = [0.0, 2.0, 0.0, 0.0];
/// At similarity 0.5 to [`X`] and to [`Y`], exactly.
pub(crate) const HALF: [f32; 4] = [1.0, 1.0, 1.0, 1.0];
/// At similarity -0.5 to [`X`], exactly.
pub(crate) const MINUS_HALF: [f32; 4] = [-1.0, 1.0, 1.0, 1.0];
/// At similarity -1 to [`X`].
pub(crate) const MINUS_X: [f32; 4] = [-2.0, 0.0, 0.0, 0.0];

/// One namespace of one scope, on one connection.
#[derive(Clone)]
pub(crate) struct Namespace {
    pub(crate) vectors: Arc<dyn VectorStore>,
    pub(crate) scope: Scope,
    pub(crate) name: String,
    pub(crate) space: EmbeddingSpace,
}

impl Namespace {
    /// A namespace of four dimensions in a scope of its own.
    pub(crate) fn new(test: &Test) -> Self {
        Self::of(test, 4)
    }

    /// Makes a namespace of a number of dimensions in a scope of its own.
    pub(crate) fn of(test: &Test, dimensions: usize) -> Self {
        Self {
            vectors: Arc::clone(test.vectors()),
            scope: test.scope(),
            name: "notes".into(),
            space: EmbeddingSpace::new("model", dimensions),
        }
    }

    /// Another namespace of the same scope.
    pub(crate) fn named(&self, name: &str) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    /// The namespace of the same name in another scope.
    pub(crate) fn in_scope(&self, scope: Scope) -> Self {
        Self { scope, ..self.clone() }
    }

    /// The same namespace by another connection.
    pub(crate) async fn reconnected(&self, test: &Test) -> Self {
        let vectors = Arc::clone(test.connect().await.vectors().unwrap());
        Self { vectors, ..self.clone() }
    }

    pub(crate) async fn try_store(&self, records: Vec<NewRecord>) -> Result<Vec<StoredRecord>> {
        let request =
            StoreRecords { namespace: self.name.clone(), space: self.space.clone(), records };
        self.vectors.store(&self.scope, &request).await
    }

    pub(crate) async fn store(&self, records: Vec<NewRecord>) -> Vec<StoredRecord> {
        self.try_store(records).await.unwrap()
    }

    /// Stores one record and returns what came of it.
    pub(crate) async fn put(&self, record: NewRecord) -> StoredRecord {
        self.store(vec![record]).await.remove(0)
    }

    pub(crate) fn query(&self, embedding: impl Into<Vec<f32>>, limit: usize) -> VectorSearch {
        VectorSearch::new(self.name.clone(), self.space.clone(), embedding.into(), limit)
    }

    pub(crate) async fn search(&self, request: &VectorSearch) -> SearchResult {
        self.vectors.search(&self.scope, request).await.unwrap()
    }

    /// The ids of the nearest, best first.
    pub(crate) async fn nearest(
        &self,
        embedding: impl Into<Vec<f32>> + Send,
        limit: usize,
    ) -> Vec<String> {
        ids(&self.search(&self.query(embedding, limit)).await)
    }

    pub(crate) fn words(&self, text: &str) -> TextSearch {
        TextSearch::new(self.name.clone(), text, 1_000)
    }

    pub(crate) async fn search_text(&self, request: &TextSearch) -> SearchResult {
        self.vectors.search_text(&self.scope, request).await.unwrap()
    }

    /// The ids that a text finds, best first.
    pub(crate) async fn found(&self, text: &str) -> Vec<String> {
        ids(&self.search_text(&self.words(text)).await)
    }

    pub(crate) async fn get(&self, ids: &[&str]) -> Vec<Record> {
        let request = GetRecords {
            namespace: self.name.clone(),
            ids: ids.iter().copied().map(String::from).collect(),
            with_embeddings: true,
        };
        self.vectors.get(&self.scope, &request).await.unwrap()
    }

    pub(crate) async fn count(&self, filter: Option<Filter>) -> u64 {
        let request = CountRecords { namespace: self.name.clone(), filter };
        self.vectors.count(&self.scope, &request).await.unwrap()
    }

    pub(crate) async fn delete(&self, which: Selection) -> u64 {
        let request = DeleteRecords { namespace: self.name.clone(), which };
        self.vectors.delete(&self.scope, &request).await.unwrap()
    }

    pub(crate) async fn delete_ids(&self, ids: &[&str]) -> u64 {
        self.delete(Selection::Ids(ids.iter().copied().map(String::from).collect())).await
    }

    pub(crate) async fn page(&self, filter: Option<Filter>, page: PageRequest) -> Page<Record> {
        let request =
            ScanRecords { namespace: self.name.clone(), filter, with_embeddings: true, page };
        self.vectors.scan(&self.scope, &request).await.unwrap()
    }

    /// Walks everything that matches, in pages of `limit`, and sorts it by id.
    pub(crate) async fn scan(&self, filter: Option<Filter>, limit: usize) -> Vec<Record> {
        let mut page = PageRequest::first(limit);
        let mut records = Vec::new();
        loop {
            let part = self.page(filter.clone(), page.clone()).await;
            assert!(part.items.len() <= limit, "a page holds at most its limit");
            records.extend(part.items);
            match part.next {
                Some(next) => page = page.after(next),
                None => break,
            }
        }
        records.sort_by(|a, b| a.id.cmp(&b.id));
        records
    }

    /// Whether nothing of this namespace can be seen by any operation.
    pub(crate) async fn assert_empty(&self, test: &Test) {
        assert_eq!(self.count(None).await, 0);
        assert_eq!(self.scan(None, 100).await, []);
        assert_eq!(self.nearest(vec![1.0; self.space.dimensions], 100).await, [""; 0]);
        if test.has(Feature::TextSearch) {
            assert_eq!(self.found("common").await, [""; 0]);
        }
    }
}

/// A record of this id, with content that all such records share.
pub(crate) fn record(id: &str, embedding: impl Into<Vec<f32>>) -> NewRecord {
    NewRecord::new("common", embedding.into()).with_id(id)
}

/// A record of this id and content.
pub(crate) fn text(id: &str, content: &str) -> NewRecord {
    NewRecord::new(content, X.into()).with_id(id)
}

/// A record of this id and metadata.
pub(crate) fn tagged(id: &str, embedding: impl Into<Vec<f32>>, metadata: Value) -> NewRecord {
    record(id, embedding).with_metadata(object(metadata))
}

/// The object that the value is.
pub(crate) fn object(value: Value) -> Object {
    let Value::Object(object) = value else { panic!("{value} is no object") };
    object
}

/// The filter of this JSON form.
pub(crate) fn filter(value: Value) -> Filter {
    Filter::from_json(&value).unwrap()
}

/// The ids of the hits, in their order.
pub(crate) fn ids(result: &SearchResult) -> Vec<String> {
    result.hits.iter().map(|hit| hit.record.id.clone()).collect()
}

/// Sorted, to compare as a set.
pub(crate) fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids
}

/// The same numbers between -1 and 1 on every run, from a seed (splitmix64).
pub(crate) fn noise(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let high = u16::try_from(z >> 48).unwrap_or_default();
        f32::from(high) / 32_768.0 - 1.0
    })
}

/// `count` vectors of noise.
pub(crate) fn noise_vectors(seed: u64, dimensions: usize, count: usize) -> Vec<Vec<f32>> {
    let mut noise = noise(seed);
    (0..count).map(|_| noise.by_ref().take(dimensions).collect()).collect()
}
