//! Qdrant Edge: the engine in this process, which answers Qdrant's own requests without a server.
//!
//! [`Edge`] is a folder of collections. It takes the requests of [`qdrant_client::qdrant`] and
//! gives the answers that a server would, as far as the driver asks; what it does not know is
//! `Unimplemented`. Its calls block.
//!
//! Edge writes a log but never reads it again, and keeps ids in memory until it is told to flush.
//! So each collection has a journal of its own: a write is appended to it, resolved to its points,
//! before it is applied, and the journal's entries are applied again when the folder is opened. From
//! time to time, in the background, indexes are built and everything is flushed, and the journal is
//! emptied. Edge never shortens its log while it is open, so that a shard whose log has grown is
//! closed and loaded again.

mod collection;
mod convert;
mod folder;
mod journal;
mod shard;
mod transport;

pub use collection::Collection;
pub use folder::Edge;
use tonic::Status;
pub(crate) use transport::open;

pub use crate::transport::Write;

/// A write that failed.
#[derive(Debug)]
pub struct Failure {
    /// What the engine said.
    pub status: Status,
    /// Whether it may have been applied all the same, or may be at the next opening.
    pub maybe_applied: bool,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self { status, maybe_applied: false }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        failure.status
    }
}
