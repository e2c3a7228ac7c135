//! The interface between the driver and what answers it: a server, or the engine in this process.

use std::fmt;

use async_trait::async_trait;
use memquill_core::{ErrorKind, Result};
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::{
    CollectionInfo, CountPoints, CreateCollection, CreateFieldIndexCollection, DeletePoints,
    FacetCounts, FacetHit, Filter, GetPoints, PointStruct, PointsSelector, QueryPoints,
    RetrievedPoint, ScoredPoint, ScrollPoints, ScrollResponse, SetPayloadPoints, UpdateMode,
    UpsertPoints, WriteOrdering, WriteOrderingType,
};

use crate::codec::payload::Payload;

/// A request that writes to a collection.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "Qdrant's requests")]
#[cfg_attr(not(feature = "edge"), allow(unreachable_pub, reason = "Edge's tests write it"))]
pub enum Write {
    Upsert(UpsertPoints),
    Delete(DeletePoints),
    SetPayload(SetPayloadPoints),
    CreateIndex(CreateFieldIndexCollection),
}

impl Write {
    /// Writes points, as far as mode and filter allow.
    pub(crate) fn upsert(
        collection: &str,
        points: Vec<PointStruct>,
        mode: UpdateMode,
        filter: Option<Filter>,
    ) -> Self {
        Self::Upsert(UpsertPoints {
            collection_name: collection.to_owned(),
            wait: Some(true),
            points,
            ordering: Some(strong()),
            update_filter: filter,
            update_mode: Some(mode.into()),
            ..UpsertPoints::default()
        })
    }

    /// Deletes the points that match.
    pub(crate) fn delete(collection: &str, filter: Filter) -> Self {
        Self::Delete(DeletePoints {
            collection_name: collection.to_owned(),
            wait: Some(true),
            points: Some(matching(filter)),
            ordering: Some(strong()),
            ..DeletePoints::default()
        })
    }

    /// Sets fields of the points that match.
    pub(crate) fn set_payload(collection: &str, filter: Filter, payload: Payload) -> Self {
        Self::SetPayload(SetPayloadPoints {
            collection_name: collection.to_owned(),
            wait: Some(true),
            payload,
            points_selector: Some(matching(filter)),
            ordering: Some(strong()),
            ..SetPayloadPoints::default()
        })
    }

    /// Returns the collection's name.
    #[cfg(feature = "edge")]
    pub fn collection(&self) -> &str {
        match self {
            Self::Upsert(request) => &request.collection_name,
            Self::Delete(request) => &request.collection_name,
            Self::SetPayload(request) => &request.collection_name,
            Self::CreateIndex(request) => &request.collection_name,
        }
    }
}

/// Lets one leader order the writes, so that on a cluster every replica decides alike.
fn strong() -> WriteOrdering {
    WriteOrdering { r#type: WriteOrderingType::Strong.into() }
}

fn matching(filter: Filter) -> PointsSelector {
    PointsSelector { points_selector_one_of: Some(PointsSelectorOneOf::Filter(filter)) }
}

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

    async fn write(&self, write: Write) -> Result<()>;
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
