//! The interface between the driver and what answers it: a server, or the engine in this process.

use std::fmt;

use async_trait::async_trait;
use memquill_core::{ErrorKind, Result};
use qdrant_client::qdrant::{
    CollectionInfo, CountPoints, CreateCollection, CreateFieldIndexCollection, DeletePoints,
    FacetCounts, FacetHit, GetPoints, QueryPoints, RetrievedPoint, ScoredPoint, ScrollPoints,
    ScrollResponse, SetPayloadPoints, UpsertPoints,
};

/// Answers Qdrant's own requests. What is written is visible to every later request when the call
/// returns (G6); a collection that does not exist is `NotFound`.
#[async_trait]
pub(crate) trait Transport: Send + Sync + fmt::Debug {
    /// Returns the version of what answers, as in `1.18.3`.
    async fn version(&self) -> Result<String>;

    /// Says why work in the background failed the last time, as far as this process knows.
    fn trouble(&self) -> Option<String>;

    /// Describes a collection; none where it does not exist.
    async fn collection(&self, name: &str) -> Result<Option<CollectionInfo>>;

    /// Creates a collection, unless it exists.
    async fn create_collection(&self, request: CreateCollection) -> Result<()>;

    /// Creates an index, unless it exists.
    async fn create_index(&self, request: CreateFieldIndexCollection) -> Result<()>;

    async fn upsert(&self, request: UpsertPoints) -> Result<()>;
    async fn set_payload(&self, request: SetPayloadPoints) -> Result<()>;
    async fn delete(&self, request: DeletePoints) -> Result<()>;
    async fn get(&self, request: GetPoints) -> Result<Vec<RetrievedPoint>>;
    async fn scroll(&self, request: ScrollPoints) -> Result<ScrollResponse>;
    async fn query(&self, request: QueryPoints) -> Result<Vec<ScoredPoint>>;
    async fn count(&self, request: CountPoints) -> Result<u64>;
    async fn facet(&self, request: FacetCounts) -> Result<Vec<FacetHit>>;

    /// Brings everything to disk and releases what this process holds of the store. A connection to
    /// a server ends by being dropped.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Forgives that a collection does not exist: then there is nothing in it.
pub(crate) fn or_empty<T: Default>(answer: Result<T>) -> Result<T> {
    match answer {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(T::default()),
        answer => answer,
    }
}
