//! A folder of collections.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memquill_core::{Error, Result};
use parking_lot::{Mutex, RwLock};
use qdrant_client::qdrant as proto;
use tonic::Status;

use super::collection::Collection;
use super::convert;
use super::shard::{UNFINISHED, is_collection};
use crate::error::{Effect, has_no_room, translate};

/// How long a folder is waited for that this process is about to close.
const CLOSING: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The folders that this process has open.
static OPEN: Mutex<Vec<(PathBuf, Weak<Local>)>> = Mutex::new(Vec::new());

fn unopened(name: &str, status: Status) -> Error {
    if has_no_room(&status) {
        return translate(status, Effect::Read);
    }
    Error::corrupted(format!("the collection {name:?} cannot be opened"))
        .with_hint("restore the folder from a copy")
        .with_source(status)
}

/// A folder of collections that answers Qdrant's requests, by Qdrant Edge in this process.
///
/// A folder belongs to one process. Calls block, and any number may run at once.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    collections: RwLock<HashMap<String, Arc<Collection>>>,
    /// Whose indexes are to be built; none once it is closing.
    due: Mutex<Option<Sender<Arc<Collection>>>>,
    worker: Mutex<Option<JoinHandle<()>>>,
    /// Held as long as the folder is open.
    _lock: File,
}

impl Local {
    /// Opens a folder, which is made if it does not exist. Where this process has it open already,
    /// that is what is given; `Config` where another process has.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let denied = |error: std::io::Error| {
            Error::config(format!("the folder {} cannot be used", path.display()))
                .with_hint("name a folder that this user may write")
                .with_source(error)
        };
        fs::create_dir_all(path).map_err(denied)?;
        let root = path.canonicalize().map_err(denied)?;
        let mut open = OPEN.lock();
        open.retain(|(_, local)| local.strong_count() > 0);
        let known = open.iter().find(|(known, _)| *known == root);
        if let Some(local) = known.and_then(|(_, local)| local.upgrade()) {
            return Ok(local);
        }
        // What is in it may be another's.
        let lock = File::options().write(true).create(true).truncate(false).open(root.join("lock"));
        let lock = lock.map_err(denied)?;
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // The last handle of this process may be about to let go of it.
                Err(TryLockError::WouldBlock) if start.elapsed() < CLOSING => {
                    std::thread::sleep(LOOK_AGAIN);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::config(format!(
                        "the folder {} belongs to another process",
                        path.display()
                    ))
                    .with_hint("one process at a time: end the other, or run a Qdrant server"));
                }
                Err(TryLockError::Error(error)) => return Err(denied(error)),
            }
        }
        let local = Arc::new(Self::load(root.clone(), lock)?);
        open.push((root, Arc::downgrade(&local)));
        Ok(local)
    }

    fn load(root: PathBuf, lock: File) -> Result<Self> {
        let unreadable =
            |error: std::io::Error| Error::config("the folder cannot be read").with_source(error);
        let mut collections = HashMap::new();
        for entry in fs::read_dir(&root).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let path = entry.path();
            if name.starts_with(UNFINISHED) && path.is_dir() {
                // A process died over it.
                fs::remove_dir_all(path).map_err(unreadable)?;
            } else if is_collection(&path) {
                let collection =
                    Collection::open(&path).map_err(|status| unopened(&name, status))?;
                collections.insert(name, Arc::new(collection));
            }
        }
        let (due, queue) = channel::<Arc<Collection>>();
        let work = move || {
            while let Ok(collection) = queue.recv() {
                // What is waiting for the same is done with it.
                let mut waiting: Vec<Arc<Collection>> = queue.try_iter().collect();
                waiting.push(collection);
                waiting.sort_unstable_by_key(Arc::as_ptr);
                waiting.dedup_by(|a, b| Arc::ptr_eq(a, b));
                for collection in waiting {
                    if let Err(error) = collection.optimize() {
                        tracing::error!(%error, "indexes could not be built");
                    }
                }
            }
        };
        let worker = std::thread::Builder::new()
            .name("qdrant-edge".to_owned())
            .spawn(work)
            .map_err(|error| Error::internal("no thread for the indexes").with_source(error))?;
        Ok(Self {
            root,
            collections: RwLock::new(collections),
            due: Mutex::new(Some(due)),
            worker: Mutex::new(Some(worker)),
            _lock: lock,
        })
    }

    fn collection(&self, name: &str) -> std::result::Result<Arc<Collection>, Status> {
        let collection = self.collections.read().get(name).cloned();
        collection.ok_or_else(|| Status::not_found(format!("Collection `{name}` doesn't exist!")))
    }

    fn wrote(&self, collection: Arc<Collection>, due: bool) {
        if due && let Some(worker) = &*self.due.lock() {
            // It ends only with this value.
            let _ = worker.send(collection);
        }
    }

    /// What a collection is like; none where it does not exist.
    pub fn info(&self, name: &str) -> Option<proto::CollectionInfo> {
        let collection = self.collections.read().get(name).cloned()?;
        let named = collection.vector_size(crate::layout::DENSE).map(|size| {
            let params = proto::VectorParams {
                size,
                distance: proto::Distance::Dot.into(),
                ..proto::VectorParams::default()
            };
            (crate::layout::DENSE.to_owned(), params)
        });
        let vectors = proto::VectorParamsMap { map: named.into_iter().collect() };
        let config = proto::vectors_config::Config::ParamsMap(vectors);
        let params = proto::CollectionParams {
            shard_number: 1,
            vectors_config: Some(proto::VectorsConfig { config: Some(config) }),
            ..proto::CollectionParams::default()
        };
        let config =
            proto::CollectionConfig { params: Some(params), ..proto::CollectionConfig::default() };
        Some(proto::CollectionInfo { config: Some(config), ..proto::CollectionInfo::default() })
    }

    /// Creates a collection; `AlreadyExists` if it does, `FailedPrecondition` where something else
    /// has its name in the folder.
    pub fn create(&self, request: &proto::CreateCollection) -> std::result::Result<(), Status> {
        let name = &request.collection_name;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(legal) {
            return Err(Status::invalid_argument(
                "a collection's name is letters, digits, _, - and, not at its beginning, dots",
            ));
        }
        let config = convert::config(request)?;
        let mut collections = self.collections.write();
        if collections.contains_key(name) {
            return Err(Status::already_exists(format!("Collection `{name}` already exists!")));
        }
        let collection = Collection::create(&self.root.join(name), config)?;
        collections.insert(name.clone(), Arc::new(collection));
        Ok(())
    }

    /// Creates an index, unless it exists.
    pub fn create_index(
        &self,
        request: proto::CreateFieldIndexCollection,
    ) -> std::result::Result<(), Status> {
        let collection = self.collection(&request.collection_name)?;
        collection.create_index(request).map(drop)
    }

    /// Writes points, as far as the request's mode and filter let it.
    pub fn upsert(&self, request: proto::UpsertPoints) -> std::result::Result<(), Status> {
        let collection = self.collection(&request.collection_name)?;
        let due = collection.upsert(request)?;
        self.wrote(collection, due);
        Ok(())
    }

    /// Sets fields of the payloads of the selected points.
    pub fn set_payload(&self, request: proto::SetPayloadPoints) -> std::result::Result<(), Status> {
        let collection = self.collection(&request.collection_name)?;
        let due = collection.set_payload(request)?;
        self.wrote(collection, due);
        Ok(())
    }

    /// Deletes the selected points.
    pub fn delete(&self, request: proto::DeletePoints) -> std::result::Result<(), Status> {
        let collection = self.collection(&request.collection_name)?;
        let due = collection.delete(request)?;
        self.wrote(collection, due);
        Ok(())
    }

    /// Reads points by id.
    pub fn get(
        &self,
        request: proto::GetPoints,
    ) -> std::result::Result<Vec<proto::RetrievedPoint>, Status> {
        self.collection(&request.collection_name)?.get(request)
    }

    /// Walks points in the order of their ids.
    pub fn scroll(
        &self,
        request: proto::ScrollPoints,
    ) -> std::result::Result<proto::ScrollResponse, Status> {
        self.collection(&request.collection_name)?.scroll(request)
    }

    /// Finds the points nearest to a vector.
    pub fn query(
        &self,
        request: proto::QueryPoints,
    ) -> std::result::Result<Vec<proto::ScoredPoint>, Status> {
        self.collection(&request.collection_name)?.query(request)
    }

    /// Counts points.
    pub fn count(&self, request: proto::CountPoints) -> std::result::Result<u64, Status> {
        self.collection(&request.collection_name)?.count(request)
    }

    /// Counts points by the values of a field.
    pub fn facet(
        &self,
        request: proto::FacetCounts,
    ) -> std::result::Result<Vec<proto::FacetHit>, Status> {
        self.collection(&request.collection_name)?.facet(request)
    }

    /// Builds the indexes that are due and brings everything to disk, now and not in the
    /// background.
    pub fn optimize(&self) -> std::result::Result<(), Status> {
        let collections: Vec<_> = self.collections.read().values().cloned().collect();
        collections.iter().try_for_each(|collection| collection.optimize())
    }
}

impl Drop for Local {
    /// Ends the work in the background; each collection then brings itself to disk.
    fn drop(&mut self) {
        self.due.lock().take();
        if let Some(worker) = self.worker.lock().take() {
            let _ = worker.join();
        }
    }
}
