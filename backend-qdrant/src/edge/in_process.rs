//! The transport to the engine in this process.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{Error, Result};
use qdrant_client::qdrant::{
    CollectionInfo, CountPoints, CreateCollection, CreateFieldIndexCollection, DeletePoints,
    FacetCounts, FacetHit, GetPoints, QueryPoints, RetrievedPoint, ScoredPoint, ScrollPoints,
    ScrollResponse, SetPayloadPoints, UpsertPoints,
};
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use super::Local;
use crate::error::{Effect, translate};
use crate::transport::Transport;

/// Edge is a part of this program; the server of the same engine is 1.18.
const VERSION: &str = "1.18.0-edge";

/// Calls that run at once, whatever the runtime's own pool would take.
fn places() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).max(2) * 2
}

/// A folder of this process, whose calls run on the runtime's pool for what blocks.
#[derive(Debug)]
pub(crate) struct InProcess {
    local: Arc<Local>,
    places: Semaphore,
}

impl InProcess {
    pub(crate) async fn open(path: PathBuf) -> Result<Self> {
        let local = tokio::task::spawn_blocking(move || Local::open(&path)).await;
        let local = local.map_err(died)??;
        Ok(Self { local, places: Semaphore::new(places()) })
    }

    async fn call<T: Send + 'static>(
        &self,
        effect: Effect,
        call: impl FnOnce(&Local) -> Result<T, Status> + Send + 'static,
    ) -> Result<T> {
        let _place = self.places.acquire().await.map_err(died)?;
        let local = Arc::clone(&self.local);
        let answer = tokio::task::spawn_blocking(move || call(&local)).await.map_err(died)?;
        // Nothing comes between: what fails here was not applied.
        answer.map_err(|status| translate(status, effect).with_maybe_applied(false))
    }
}

fn died(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("a call of the engine in this process died")
        .with_maybe_applied(true)
        .with_source(error)
}

fn in_the_way(status: &Status) -> Error {
    Error::config(status.message().to_owned()).with_hint(
        "move it away, or choose another folder or prefix; if it holds wal and segments but no \
         journal, an older version died while making it: remove it",
    )
}

#[async_trait]
impl Transport for InProcess {
    async fn version(&self) -> Result<String> {
        // A real round trip: it fails where the engine is stuck.
        self.call(Effect::Read, |_| Ok(VERSION.to_owned())).await
    }

    async fn collection(&self, name: &str) -> Result<Option<CollectionInfo>> {
        let name = name.to_owned();
        self.call(Effect::Read, move |local| Ok(local.info(&name))).await
    }

    async fn create_collection(&self, request: CreateCollection) -> Result<()> {
        let create = move |local: &Local| match local.create(&request) {
            Err(status) if status.code() == Code::AlreadyExists => Ok(Ok(())),
            Err(status) if status.code() == Code::FailedPrecondition => {
                Ok(Err(in_the_way(&status)))
            }
            answer => answer.map(Ok),
        };
        self.call(Effect::Write, create).await?
    }

    async fn create_index(&self, request: CreateFieldIndexCollection) -> Result<()> {
        self.call(Effect::Write, |local| local.create_index(request)).await
    }

    async fn upsert(&self, request: UpsertPoints) -> Result<()> {
        self.call(Effect::Write, |local| local.upsert(request)).await
    }

    async fn set_payload(&self, request: SetPayloadPoints) -> Result<()> {
        self.call(Effect::Write, |local| local.set_payload(request)).await
    }

    async fn delete(&self, request: DeletePoints) -> Result<()> {
        self.call(Effect::Write, |local| local.delete(request)).await
    }

    async fn get(&self, request: GetPoints) -> Result<Vec<RetrievedPoint>> {
        self.call(Effect::Read, |local| local.get(request)).await
    }

    async fn scroll(&self, request: ScrollPoints) -> Result<ScrollResponse> {
        self.call(Effect::Read, |local| local.scroll(request)).await
    }

    async fn query(&self, request: QueryPoints) -> Result<Vec<ScoredPoint>> {
        self.call(Effect::Read, |local| local.query(request)).await
    }

    async fn count(&self, request: CountPoints) -> Result<u64> {
        self.call(Effect::Read, |local| local.count(request)).await
    }

    async fn facet(&self, request: FacetCounts) -> Result<Vec<FacetHit>> {
        self.call(Effect::Read, |local| local.facet(request)).await
    }
}
