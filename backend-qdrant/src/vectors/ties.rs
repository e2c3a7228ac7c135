//! Searches among so many equally near records that reading all of them would take too much (V7).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use memquill_core::{
    EmbeddingSpace, Error, Result, Scope, TextSearch, VectorSearch, VectorStore as _,
};
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::vectors_output::VectorsOptions;
use qdrant_client::qdrant::{
    CollectionInfo, CountPoints, CreateCollection, FacetCounts, FacetHit, FacetValue, GetPoints,
    NamedVectorsOutput, PointId, QueryPoints, RetrievedPoint, ScoredPoint, ScrollPoints,
    ScrollResponse, SparseVector, VectorOutput, VectorsOutput, facet_value, vector_output,
};

use super::Vectors;
use super::search::MAX_TIES;
use crate::codec::dimension;
use crate::codec::payload::{self, Payload};
use crate::config::Config;
use crate::layout::{SPARSE, field};
use crate::store::Store;
use crate::transport::{Transport, Write};

/// A namespace of equal records.
#[derive(Debug)]
struct Ties {
    records: u64,
    /// The most points that a request asked for.
    most: AtomicU64,
}

fn record(id: u64) -> Payload {
    payload::payload([
        (field::ID, payload::text(format!("{id:08}"))),
        (field::CONTENT, payload::text("thanks")),
        (field::HASH, payload::text("")),
        (field::TYPE, payload::text("text")),
        (field::METADATA, payload::text("{}")),
        (field::CREATED, payload::integer(0)),
        (field::UPDATED, payload::integer(0)),
        (field::LENGTH, payload::integer(1)),
    ])
}

fn binding() -> Payload {
    payload::payload([
        (field::MODEL, payload::text("model")),
        (field::DIMENSIONS, payload::integer(2)),
        (field::ORIGIN, payload::text("o")),
        (field::GENERATION, payload::text("g")),
        (field::TOKEN, payload::text("t")),
    ])
}

fn scored(id: u64) -> ScoredPoint {
    let words = SparseVector { values: vec![1.0], indices: vec![dimension("thank")] };
    let words = VectorOutput {
        vector: Some(vector_output::Vector::Sparse(words)),
        ..VectorOutput::default()
    };
    let named = NamedVectorsOutput { vectors: [(SPARSE.to_owned(), words)].into() };
    ScoredPoint {
        id: Some(id.into()),
        payload: record(id),
        score: 0.5,
        vectors: Some(VectorsOutput { vectors_options: Some(VectorsOptions::Vectors(named)) }),
        ..ScoredPoint::default()
    }
}

fn number(id: &PointId) -> u64 {
    match id.point_id_options {
        Some(PointIdOptions::Num(number)) => number,
        _ => 0,
    }
}

#[async_trait]
impl Transport for Ties {
    async fn version(&self) -> Result<String> {
        Ok("1.18.0".to_owned())
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    async fn collection(&self, _: &str) -> Result<Option<CollectionInfo>> {
        Ok(Some(CollectionInfo::default()))
    }

    async fn get(&self, request: GetPoints) -> Result<Vec<RetrievedPoint>> {
        let registry = request.collection_name == "memory";
        let point = |id: PointId| {
            let payload = if registry { binding() } else { record(number(&id)) };
            RetrievedPoint { id: Some(id), payload, ..RetrievedPoint::default() }
        };
        Ok(request.ids.into_iter().map(point).collect())
    }

    async fn query(&self, request: QueryPoints) -> Result<Vec<ScoredPoint>> {
        let asked = request.limit.unwrap_or(10);
        self.most.fetch_max(asked, Ordering::Relaxed);
        // The store knows no order among them.
        Ok((0..self.records).rev().take(usize::try_from(asked).unwrap()).map(scored).collect())
    }

    async fn count(&self, _: CountPoints) -> Result<u64> {
        Ok(self.records)
    }

    async fn facet(&self, _: FacetCounts) -> Result<Vec<FacetHit>> {
        let variant = Some(facet_value::Variant::IntegerValue(1));
        Ok(vec![FacetHit { value: Some(FacetValue { variant }), count: self.records }])
    }

    async fn create_collection(&self, _: CreateCollection) -> Result<()> {
        Err(unexpected())
    }

    async fn write(&self, _: Write) -> Result<()> {
        Err(unexpected())
    }

    async fn scroll(&self, _: ScrollPoints) -> Result<ScrollResponse> {
        Err(unexpected())
    }
}

fn unexpected() -> Error {
    Error::internal("a search does not ask for this")
}

/// The ids of the first hits by vector and by words, whether both are complete, and the most points
/// that were asked for at once.
async fn search(records: u64) -> (Vec<String>, bool, u64) {
    let ties = Arc::new(Ties { records, most: AtomicU64::default() });
    let config = Config::from_url(&"qdrant://h".parse().unwrap()).unwrap();
    let vectors = Vectors(Arc::new(Store::new(Arc::clone(&ties) as _, config)));
    let scope = Scope::new("ada", "bot").unwrap();
    let near = VectorSearch::new("n", EmbeddingSpace::new("model", 2), vec![1.0, 0.0], 3);
    let near = vectors.search(&scope, &near).await.unwrap();
    let mut words = TextSearch::new("n", "thanks", 3);
    words.language = Some(memquill_core::text::Language::English);
    let words = vectors.search_text(&scope, &words).await.unwrap();
    assert_eq!(near.complete, words.complete);
    let ids = |hits: &[memquill_core::Hit]| -> Vec<String> {
        hits.iter().map(|hit| hit.record.id.clone()).collect()
    };
    if near.complete {
        assert_eq!(ids(&near.hits), ids(&words.hits));
    }
    assert_eq!((near.hits.len(), words.hits.len()), (3, 3));
    (ids(&near.hits), near.complete, ties.most.load(Ordering::Relaxed))
}

#[tokio::test]
async fn v7_equally_near_records_are_read_up_to_a_bound() {
    let first = ["00000000", "00000001", "00000002"];
    let (ids, complete, _) = search(20_000).await;
    assert_eq!((ids.as_slice(), complete), (first.map(str::to_owned).as_slice(), true));
    let (_, complete, most) = search(500_000).await;
    assert_eq!((complete, most), (false, MAX_TIES as u64));
}
