//! A folder of collections.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memquill_core::{Error, Result};
use parking_lot::{Mutex, RwLock};
use qdrant_client::qdrant as proto;
use tokio::sync::Semaphore;
use tonic::Status;

use super::collection::{Collection, foreign};
use super::convert;
use super::shard::{self, UNFINISHED, is_collection};
use super::transport::translate;
use crate::driver::LOCK;

/// How long another process may take to close a folder.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// The folders that this process has open, or is closing.
static OPEN: Mutex<Vec<Open>> = Mutex::new(Vec::new());

struct Open {
    root: PathBuf,
    edge: Weak<Edge>,
    /// It ends when the folder is closed.
    worker: JoinHandle<()>,
}

/// What the thread of a folder does in the background.
#[derive(Debug)]
pub(super) enum Job {
    /// Builds indexes and flushes.
    Build(Arc<Collection>),
    /// Brings these to disk, and ends.
    Close(Vec<Arc<Collection>>),
}

/// A folder of collections that answers Qdrant's requests, by Qdrant Edge in this process.
///
/// A folder belongs to one process. Calls block, and any number may run at once. Dropping it returns
/// at once: it is closed in the background, and who opens it again in this process waits for that.
#[derive(Debug)]
pub struct Edge {
    root: PathBuf,
    collections: RwLock<HashMap<String, Arc<Collection>>>,
    jobs: Sender<Job>,
    /// Bounds the calls that run at once, whatever the runtime's own pool allows.
    pub(super) calls: Arc<Semaphore>,
    pub(super) max_calls: u32,
}

impl Edge {
    /// Opens a folder, which is made if it does not exist; `Config` where another process has it
    /// open, or where it holds what is not ours. Where this process has it open already, this gives
    /// the same value.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let root = own_folder(path)?;
        let mut open = OPEN.lock();
        if let Some(at) = open.iter().position(|open| open.root == root) {
            if let Some(edge) = open[at].edge.upgrade() {
                return Ok(edge);
            }
            // The last handle is gone, and the folder is about to be closed.
            let _ = open.swap_remove(at).worker.join();
        }
        let lock = root.join(LOCK);
        let lock = File::options().write(true).create(true).truncate(false).open(lock);
        let lock = lock.map_err(|error| unusable(path, error))?;
        wait_for(&lock, path)?;
        let (jobs, queue) = channel();
        let collections = load(&root, &jobs)?;
        let worker = std::thread::Builder::new()
            .name("qdrant-edge".to_owned())
            .spawn(move || work(&queue, lock))
            .map_err(|error| Error::internal("cannot start a thread").with_source(error))?;
        let calls = std::thread::available_parallelism().map_or(2, usize::from).max(2) * 2;
        let edge = Arc::new(Self {
            root: root.clone(),
            collections: RwLock::new(collections),
            jobs,
            calls: Arc::new(Semaphore::new(calls)),
            max_calls: u32::try_from(calls).unwrap_or(u32::MAX),
        });
        open.push(Open { root, edge: Arc::downgrade(&edge), worker });
        Ok(edge)
    }

    /// Drops a handle. If it was the last one of this process, the folder is closed when this returns.
    pub(super) fn close(edge: Arc<Self>) {
        let root = edge.root.clone();
        drop(edge);
        let mut open = OPEN.lock();
        let unused =
            open.iter().position(|open| open.root == root && open.edge.strong_count() == 0);
        if let Some(at) = unused {
            let _ = open.swap_remove(at).worker.join();
        }
    }

    /// Finds a collection. `NotFound` if it does not exist, `FailedPrecondition` if something else
    /// has its name in the folder.
    pub fn collection(&self, name: &str) -> std::result::Result<Arc<Collection>, Status> {
        if let Some(collection) = self.collections.read().get(name) {
            return Ok(Arc::clone(collection));
        }
        let at = self.root.join(name);
        if at.symlink_metadata().is_ok() {
            return Err(foreign(&at));
        }
        Err(Status::not_found(format!("Collection `{name}` doesn't exist!")))
    }

    /// Describes a collection; none where it does not exist.
    pub fn info(&self, name: &str) -> Option<proto::CollectionInfo> {
        let collection = self.collections.read().get(name).cloned()?;
        let dense = collection.vector_sizes().map(|(name, size)| {
            let distance = proto::Distance::Dot.into();
            let params = proto::VectorParams { size, distance, ..proto::VectorParams::default() };
            (name.clone(), params)
        });
        let dense = proto::VectorParamsMap { map: dense.collect() };
        let dense = proto::vectors_config::Config::ParamsMap(dense);
        let sparse = collection.sparse_names().cloned();
        let sparse = sparse.map(|name| (name, proto::SparseVectorParams::default())).collect();
        let params = proto::CollectionParams {
            shard_number: 1,
            vectors_config: Some(proto::VectorsConfig { config: Some(dense) }),
            sparse_vectors_config: Some(proto::SparseVectorConfig { map: sparse }),
            ..proto::CollectionParams::default()
        };
        let config =
            proto::CollectionConfig { params: Some(params), ..proto::CollectionConfig::default() };
        Some(proto::CollectionInfo { config: Some(config), ..proto::CollectionInfo::default() })
    }

    /// Creates a collection; `AlreadyExists` if it exists, `FailedPrecondition` where something else
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
        let collection = Collection::create(&self.root.join(name), config, self.jobs.clone())?;
        collections.insert(name.clone(), Arc::new(collection));
        Ok(())
    }

    /// Builds the indexes that are due and brings everything to disk, now and not in the
    /// background.
    pub fn optimize(&self) -> std::result::Result<(), Status> {
        let collections: Vec<_> = self.collections.read().values().cloned().collect();
        collections.iter().try_for_each(|collection| collection.optimize())
    }

    /// Says why work in the background failed the last time, if it did.
    pub(super) fn trouble(&self) -> Option<String> {
        self.collections.read().iter().find_map(|(name, collection)| {
            let why = collection.trouble()?;
            Some(format!("the indexes of the collection {name:?} cannot be built: {why}"))
        })
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let collections = self.collections.get_mut().drain().map(|(_, collection)| collection);
        // Where the thread has ended, they are closed here.
        let _ = self.jobs.send(Job::Close(collections.collect()));
    }
}

/// Does a folder's work in the background, until it is closed; then the lock is released.
fn work(queue: &Receiver<Job>, lock: File) {
    while let Ok(job) = queue.recv() {
        let (mut due, mut closed) = (Vec::new(), false);
        // Jobs that wait for the same collection are done with it.
        for job in std::iter::once(job).chain(queue.try_iter()) {
            match job {
                Job::Build(collection) => due.push(collection),
                Job::Close(collections) => {
                    closed = true;
                    shard::close(collections);
                }
            }
        }
        if closed {
            shard::close(due);
            break;
        }
        due.sort_unstable_by_key(Arc::as_ptr);
        due.dedup_by(|a, b| Arc::ptr_eq(a, b));
        for collection in due {
            if let Err(error) = collection.optimize() {
                tracing::error!(target: memquill_core::layer::TARGET, %error, "cannot build indexes");
            }
        }
    }
    drop(lock);
}

/// Makes the folder if it does not exist; `Config` where it is a file, or holds what is not ours.
fn own_folder(path: &Path) -> Result<PathBuf> {
    if path.exists() && !path.is_dir() {
        return Err(Error::config(format!("{} is a file, not a folder", path.display()))
            .with_hint("name a folder for Qdrant Edge, as in qdrant-edge:path/to/folder"));
    }
    let failed = |error| unusable(path, error);
    fs::create_dir_all(path).map_err(failed)?;
    let root = path.canonicalize().map_err(failed)?;
    if root.join(LOCK).is_file() {
        return Ok(root);
    }
    for entry in fs::read_dir(&root).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // What a fresh volume or an empty folder under version control holds.
        if name != "lost+found" && name != ".gitkeep" && name != ".DS_Store" {
            return Err(Error::config(format!(
                "the folder {} is not a memory of ours: it holds {}",
                path.display(),
                Path::new(&name).display()
            ))
            .with_hint("name an empty folder, or one that does not exist yet"));
        }
    }
    Ok(root)
}

/// Locks a folder, which another process may be about to close.
fn wait_for(lock: &File, path: &Path) -> Result<()> {
    let start = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_TIMEOUT => {
                std::thread::sleep(LOCK_POLL);
            }
            Err(TryLockError::WouldBlock) => {
                let path = path.display();
                return Err(Error::config(format!("the folder {path} is open in another process"))
                    .with_hint("end the other process, or run a Qdrant server for both"));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(path, error)),
        }
    }
}

fn unusable(path: &Path, error: std::io::Error) -> Error {
    Error::config(format!("cannot use the folder {}: {error}", path.display()))
        .with_hint("name a folder that this user may write")
        .with_source(error)
}

fn load(root: &Path, jobs: &Sender<Job>) -> Result<HashMap<String, Arc<Collection>>> {
    let failed = |error| unusable(root, error);
    let mut collections = HashMap::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let path = entry.path();
        if name.starts_with(UNFINISHED) && path.is_dir() {
            // A process died while it made it.
            fs::remove_dir_all(path).map_err(failed)?;
        } else if is_collection(&path) {
            let collection =
                Collection::open(&path, jobs.clone()).map_err(|status| unopened(&name, status))?;
            collections.insert(name, Arc::new(collection));
        }
    }
    Ok(collections)
}

fn unopened(name: &str, status: Status) -> Error {
    let message = format!("the collection {name:?} cannot be opened: {}", status.message());
    // Where the engine does not say why it cannot read its files, they are damaged.
    let code = match status.code() {
        tonic::Code::Internal if !crate::error::has_no_room(&status) => tonic::Code::DataLoss,
        code => code,
    };
    translate(Status::new(code, message), false)
}
