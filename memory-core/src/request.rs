//! What an operation is: a request that says of itself what checks, layers and caches need to know.
//!
//! A new operation is a request type with an `impl Request`, a method of its facet's trait, and a
//! line in `request/table.rs`.

mod control;
mod conversations;
mod table;
mod vectors;
mod working;

pub(crate) use self::control::{BuildIndexes, ListUsers, Migrate, PurgeExpired};
pub(crate) use self::vectors::{check_record, query, without_embeddings};
pub(crate) use self::working::check_entry;
use crate::capability::{Facet, Feature};
use crate::error::Result;
use crate::limits::Limits;

/// A request for one operation.
pub trait Request: Send + Sync {
    /// The operation's name, one of [`operation`](crate::operation).
    const OPERATION: &'static str;

    /// The operation's facet; none for control and administration.
    const FACET: Option<Facet>;

    /// Refuses what the contract does not allow (G2 to G4), before any I/O.
    fn check(&self, limits: &Limits) -> Result<()>;

    /// Whether it may change what is stored, an expiry included.
    fn writes(&self) -> bool;

    /// Whether it can be repeated when its outcome is unknown; see
    /// [`Call::repeatable`](crate::layer::Call::repeatable).
    fn is_repeatable(&self) -> bool {
        true
    }

    /// The features it needs; a backend that does not claim them refuses it as `Unsupported` (G10).
    fn required(&self) -> [Option<Feature>; 2] {
        [None, None]
    }

    /// The number of items it carries, where it is a batch.
    fn items(&self) -> Option<usize> {
        None
    }

    /// The conversation or namespace that it names.
    fn collection(&self) -> Option<&str> {
        None
    }

    /// The user that it names, where the operation takes no scope.
    fn user(&self) -> Option<&str> {
        None
    }
}

/// `feature`, if it is asked for.
fn when(asked: bool, feature: Feature) -> Option<Feature> {
    asked.then_some(feature)
}
