//! What processes share as the second level of their caches.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::scope::Scope;

/// The key of a cached item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SharedKey<'a> {
    /// The scope it belongs to; none for what belongs to nobody, such as the embedding of a text.
    pub scope: Option<&'a Scope>,
    /// What it is, within the scope. Whoever uses the cache starts it with a word of its own.
    pub name: &'a str,
}

/// The right to keep something, until it is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease(pub String);

/// The result of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The cached bytes.
    Found(Vec<u8>),
    /// Nothing; with the lease, what is now read from the store may be kept.
    Missing(Lease),
}

/// A cache that processes share: the second level, after the cache of each process.
///
/// What is kept was read from a store after the lease was given and before anything was forgotten:
/// whoever changes the store forgets the key when it is done, and with the key every lease that was
/// given for it. A slow reader so never puts an old value over a forgotten one.
#[async_trait]
pub trait SharedCache: Send + Sync + std::fmt::Debug {
    /// Returns the cached bytes, or a lease.
    async fn look_up(&self, key: SharedKey<'_>) -> Result<Lookup>;

    /// Keeps `value` for `ttl` (at least 1 ms), unless the lease is over; says whether it did.
    async fn keep(
        &self,
        key: SharedKey<'_>,
        lease: &Lease,
        value: &[u8],
        ttl: Duration,
    ) -> Result<bool>;

    /// Forgets keys of one scope, and the leases given for them.
    async fn forget(&self, scope: Option<&Scope>, names: &[&str]) -> Result<()>;

    /// Forgets all that is of a user, and the leases given for it.
    async fn forget_user(&self, user: &str) -> Result<()>;
}
