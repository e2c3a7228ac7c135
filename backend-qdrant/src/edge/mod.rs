//! Qdrant Edge: the engine in this process, which answers Qdrant's own requests without a server.
//!
//! [`Local`] is a folder of collections. It takes the requests of [`qdrant_client::qdrant`] and
//! gives the answers that a server would, as far as the driver asks; what it does not know is
//! `Unimplemented`. Its calls block.
//!
//! Edge writes a log but never reads it again, and keeps ids in memory until it is told to flush.
//! So each collection has a journal of its own: a write is put down there, resolved to the points
//! it is about, before it is applied, and what stands in it is applied again when the folder is
//! opened. From time to time, in the background, indexes are built and everything is flushed, and
//! the journal starts anew. Edge never shortens its log while it is open, so that a shard whose log
//! has grown is closed and loaded again.

mod collection;
mod convert;
mod in_process;
mod journal;
mod local;
mod shard;

pub(crate) use in_process::InProcess;
pub use local::Local;
