//! A scenario: one sentence of the contract, and how to see whether it holds.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use memquill_core::{
    Admin, Backend, ConversationStore, Facet, Feature, Scope, VectorStore, WorkingStore,
};

use crate::harness::TestStore;

/// How a scenario looks for faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// One case of one clause.
    Example,
    /// Random sequences compared with a model.
    Property,
    /// Many tasks and many connections at once.
    Concurrency,
    /// Input made to break out of its scope.
    Hostile,
}

/// One sentence of the contract, and how to see whether it holds.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub(crate) facet: Option<Facet>,
    pub(crate) family: Family,
    pub(crate) clause: &'static str,
    pub(crate) what: &'static str,
    pub(crate) needs: &'static [Feature],
    pub(crate) run: fn(Test) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Scenario {
    /// The name of the test: `facet::clause::what`.
    pub fn name(&self) -> String {
        let facet = self.facet.map_or("general", Facet::as_str);
        format!("{facet}::{}::{}", self.clause, self.what)
    }

    /// The clause it checks, in small letters, as in `c1`.
    pub fn clause(&self) -> &'static str {
        self.clause
    }

    /// The facet it needs; none where it takes what there is.
    pub fn facet(&self) -> Option<Facet> {
        self.facet
    }

    /// How it looks for faults.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The features it needs.
    pub fn needs(&self) -> &'static [Feature] {
        self.needs
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Declares the scenarios of a file.
///
/// ```text
/// scenarios! {
///     facet: Some(Facet::Conversations), family: Family::Example;
///     c1: numbers_start_at_one;
///     c4: the_newest_stays [Retention];
/// }
/// ```
macro_rules! scenarios {
    (facet: $facet:expr, family: $family:expr;
     $($clause:ident: $what:ident $([$($feature:ident),+])?;)+) => {
        pub(crate) const ALL: &[$crate::Scenario] = &[$($crate::Scenario {
            facet: $facet,
            family: $family,
            clause: stringify!($clause),
            what: stringify!($what),
            needs: &[$($(memquill_core::Feature::$feature),+)?],
            run: |test| Box::pin($what(test)),
        }),+];
    };
}
pub(crate) use scenarios;

/// What a scenario works with: a store, one connection to it, and scopes of its own.
#[derive(Clone)]
pub struct Test {
    store: Arc<dyn TestStore>,
    backend: Backend,
    unique: u64,
    scopes: Arc<AtomicU32>,
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Test").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl Test {
    pub(crate) fn new(store: Arc<dyn TestStore>, backend: Backend) -> Self {
        // Random per process and run, so that scopes on a shared store never meet.
        let unique = RandomState::new().hash_one(std::process::id());
        Self { store, backend, unique, scopes: Arc::default() }
    }

    /// The scenario's first connection.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Another connection, as another process would have.
    pub async fn connect(&self) -> Backend {
        self.store.connect().await.expect("connecting again")
    }

    /// The administration handle.
    pub async fn admin(&self) -> Arc<dyn Admin> {
        self.store.admin().await.expect("connecting for administration")
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn TestStore> {
        &self.store
    }

    /// A user whom nobody else has.
    pub fn user(&self) -> String {
        format!("user-{:x}-{}", self.unique, self.scopes.fetch_add(1, Ordering::Relaxed))
    }

    /// A scope that nobody else has, of a user of its own.
    pub fn scope(&self) -> Scope {
        Scope::new(self.user(), "node").expect("a legal scope")
    }

    /// Lets at least so much time pass by the store's clock.
    pub async fn pass(&self, by: Duration) {
        self.store.pass(by).await;
    }

    /// The facet; a scenario that uses it names it, so that it is there.
    pub fn conversations(&self) -> &Arc<dyn ConversationStore> {
        self.backend.conversations().expect("a scenario of this facet")
    }

    /// The facet; a scenario that uses it names it, so that it is there.
    pub fn vectors(&self) -> &Arc<dyn VectorStore> {
        self.backend.vectors().expect("a scenario of this facet")
    }

    /// The facet; a scenario that uses it names it, so that it is there.
    pub fn working(&self) -> &Arc<dyn WorkingStore> {
        self.backend.working().expect("a scenario of this facet")
    }

    /// Whether the backend claims the feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.backend.capabilities().has(feature)
    }
}
