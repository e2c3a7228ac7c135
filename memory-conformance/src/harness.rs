//! What the suite asks of whoever runs it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use memquill_core::{Administrator, Backend, Error, Result};

/// Gives the suite stores to test on.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// What is tested, as in `postgres` or `sqlite (in memory)`.
    fn name(&self) -> &str;

    /// A migrated store for one scenario: a fresh one where that is cheap, else a shared one.
    /// Scenarios keep apart by scopes of their own.
    async fn store(&self) -> Result<Arc<dyn TestStore>>;
}

/// A store that one scenario works on.
#[async_trait]
pub trait TestStore: Send + Sync + 'static {
    /// Connects again, with connections of its own, as another process would.
    async fn connect(&self) -> Result<Backend>;

    /// Connects for administration.
    async fn admin(&self) -> Result<Administrator>;

    /// Lets at least so much time pass by the store's clock: moves a test clock, or sleeps.
    async fn pass(&self, by: Duration);

    /// Whether the store removes what has expired by itself, so that a purge may find nothing left.
    fn sweeps_by_itself(&self) -> bool {
        false
    }

    /// Tries to connect with credentials that contain `secret` and are wrong, and gives the error.
    /// None where the store knows no credentials.
    async fn connect_with_wrong_credentials(&self, secret: &str) -> Option<Error> {
        let _ = secret;
        None
    }

    /// Connects to a store of its own that was never migrated. None where stores have no schema.
    async fn connect_to_unmigrated(&self) -> Option<Result<Backend>> {
        None
    }

    /// Connects to a store of its own whose schema is newer than the driver. None where stores
    /// have no schema.
    async fn connect_to_newer(&self) -> Option<Result<Backend>> {
        None
    }

    /// The store as it is found after a crash at this very moment: a copy of what its medium holds,
    /// reopened. None where the harness has no such means.
    async fn after_crash(&self) -> Option<Result<Backend>> {
        None
    }

    /// How many records and entries of `user` the store's medium holds, those that have expired and
    /// are not yet swept included. None where the harness has no means to look.
    async fn held(&self, user: &str) -> Option<u64> {
        let _ = user;
        None
    }

    /// Means to break the store, where the harness has any. None where it has not.
    fn faults(&self) -> Option<Arc<dyn Faults>> {
        None
    }
}

/// Breaks a store and repairs it.
#[async_trait]
pub trait Faults: Send + Sync + 'static {
    /// Makes the store unreachable: every connection is lost, and new ones fail.
    async fn cut(&self);

    /// Makes it reachable again, with all that it had acknowledged.
    async fn repair(&self);
}
