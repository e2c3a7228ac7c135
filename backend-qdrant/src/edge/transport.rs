//! The transport to the engine in this process.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{Error, Result};
use parking_lot::Mutex;
use qdrant_client::qdrant::{
    CollectionInfo, CountPoints, CreateCollection, FacetCounts, FacetHit, GetPoints, QueryPoints,
    RetrievedPoint, ScoredPoint, ScrollPoints, ScrollResponse,
};
use tonic::{Code, Status};

use super::{Collection, Edge, Failure};
use crate::error::{self, Effect};
use crate::transport::{Transport, Write};

/// Edge is a part of this program; the server of the same engine is 1.18.
const VERSION: &str = "1.18.0-edge";

/// A handle to a folder; none once it is closed. Other handles of this process may go on.
#[derive(Debug)]
pub(crate) struct Handle(Mutex<Option<Arc<Edge>>>);

impl Handle {
    fn edge(&self) -> Result<Arc<Edge>> {
        self.0.lock().clone().ok_or_else(Error::closed)
    }
}

/// Opens a folder on a thread that may block.
pub(crate) async fn open(path: PathBuf) -> Result<Handle> {
    let edge = tokio::task::spawn_blocking(move || Edge::open(&path)).await;
    let edge = edge.map_err(|error| panicked(error, Effect::Read))??;
    Ok(Handle(Mutex::new(Some(edge))))
}

/// Runs a call on a thread that may block.
async fn call<T: Send + 'static>(
    handle: &Handle,
    effect: Effect,
    call: impl FnOnce(&Edge) -> Result<T, Failure> + Send + 'static,
) -> Result<T> {
    let edge = handle.edge()?;
    let calls = Arc::clone(&edge.calls);
    let _permit = calls.acquire().await.map_err(|error| panicked(error, Effect::Read))?;
    let answer = tokio::task::spawn_blocking(move || call(&edge)).await;
    let answer = answer.map_err(|error| panicked(error, effect))?;
    answer.map_err(|failure| translate(failure.status, failure.maybe_applied))
}

/// Reads from a collection.
async fn read<T: Send + 'static>(
    handle: &Handle,
    collection: String,
    read: impl FnOnce(&Collection) -> Result<T, Status> + Send + 'static,
) -> Result<T> {
    let read = move |edge: &Edge| {
        let points = edge.collection(&collection)?;
        Ok(read(&points)?)
    };
    call(handle, Effect::Read, read).await
}

fn panicked(error: impl std::error::Error + Send + Sync + 'static, effect: Effect) -> Error {
    Error::internal("a call of Qdrant Edge panicked")
        .with_maybe_applied(effect == Effect::Write)
        .with_source(error)
}

/// The contract's error for a status of the engine.
pub(super) fn translate(status: Status, maybe_applied: bool) -> Error {
    let message = || format!("Qdrant Edge: {}", status.message());
    let error = match status.code() {
        Code::DataLoss => Error::corrupted(message()).with_hint("restore the folder from a copy"),
        Code::FailedPrecondition => Error::config(message())
            .with_hint("move or remove it, or choose another folder or prefix"),
        Code::OutOfRange => Error::config(message())
            .with_hint("open the folder with the newer version of memquill that wrote it"),
        Code::PermissionDenied => Error::config(message())
            .with_hint("let this user read and write the folder and everything in it"),
        _ => error::translate(status, Effect::Read),
    };
    error.with_maybe_applied(maybe_applied)
}

#[async_trait]
impl Transport for Handle {
    async fn version(&self) -> Result<String> {
        // A real round trip: it fails where the engine is stuck.
        call(self, Effect::Read, |_| Ok(VERSION.to_owned())).await
    }

    fn trouble(&self) -> Option<String> {
        self.0.lock().as_ref().and_then(|edge| edge.trouble())
    }

    async fn collection(&self, name: &str) -> Result<Option<CollectionInfo>> {
        let name = name.to_owned();
        call(self, Effect::Read, move |edge| Ok(edge.info(&name))).await
    }

    async fn create_collection(&self, request: CreateCollection) -> Result<()> {
        let create = move |edge: &Edge| match edge.create(&request) {
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            answer => answer.map_err(Failure::from),
        };
        call(self, Effect::Write, create).await
    }

    async fn write(&self, write: Write) -> Result<()> {
        let write = |edge: &Edge| edge.collection(write.collection())?.write(write);
        call(self, Effect::Write, write).await
    }

    async fn get(&self, request: GetPoints) -> Result<Vec<RetrievedPoint>> {
        read(self, request.collection_name.clone(), |points| points.get(request)).await
    }

    async fn scroll(&self, request: ScrollPoints) -> Result<ScrollResponse> {
        read(self, request.collection_name.clone(), |points| points.scroll(request)).await
    }

    async fn query(&self, request: QueryPoints) -> Result<Vec<ScoredPoint>> {
        read(self, request.collection_name.clone(), |points| points.query(request)).await
    }

    async fn count(&self, request: CountPoints) -> Result<u64> {
        read(self, request.collection_name.clone(), |points| points.count(request)).await
    }

    async fn facet(&self, request: FacetCounts) -> Result<Vec<FacetHit>> {
        read(self, request.collection_name.clone(), |points| points.facet(request)).await
    }

    /// The last handle of this process waits until everything is on disk and the folder unlocked.
    async fn close(&self) -> Result<()> {
        let Some(edge) = self.0.lock().take() else { return Ok(()) };
        // Calls that are under way end first.
        let calls = Arc::clone(&edge.calls);
        let _all = calls.acquire_many(edge.max_calls).await;
        let closed = tokio::task::spawn_blocking(move || Edge::close(edge)).await;
        closed.map_err(|error| panicked(error, Effect::Write))
    }
}
