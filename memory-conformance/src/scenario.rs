//! A scenario: one sentence of the contract, and how to see whether it holds.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use memquill_core::layer::{Call, Policy};
use memquill_core::{
    Administrator, Backend, ConversationStore, ErrorKind, Facet, Feature, Result, Scope,
    VectorStore, WorkingStore,
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

/// What a scenario throws that the harness has no means to try.
pub(crate) struct NotTried(pub(crate) String);

/// The environment variable that gives random choices their seed.
pub(crate) const SEED_VARIABLE: &str = "MEMQUILL_CONFORMANCE_SEED";

/// Notes whether a call was refused as `Unsupported`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals(Arc<AtomicBool>);

impl Refusals {
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Policy for Refusals {
    async fn around<T, F, N>(&self, _call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let answer = next().await;
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unsupported) {
            self.0.store(true, Ordering::Relaxed);
        }
        answer
    }
}

/// What a scenario works with: a store, one connection to it, and scopes of its own.
#[derive(Clone)]
pub struct Test {
    store: Arc<dyn TestStore>,
    backend: Backend,
    refusals: Refusals,
    /// The seed of random choices, drawn when it is first asked for.
    seed: Arc<OnceLock<u64>>,
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
        let refusals = Refusals::default();
        let backend = backend.layered(refusals.clone());
        Self { store, backend, refusals, seed: Arc::default(), unique, scopes: Arc::default() }
    }

    /// Ends the scenario as one that the harness has no means to try, which proves nothing.
    pub fn not_tried(&self, why: &str) -> ! {
        // Without the panic hook: nothing has failed.
        std::panic::resume_unwind(Box::new(NotTried(why.to_owned())))
    }

    /// The seed of the scenario's random choices: that of `MEMQUILL_CONFORMANCE_SEED`, else one that
    /// a failure prints.
    pub(crate) fn random_seed(&self) -> u64 {
        *self.seed.get_or_init(|| {
            let given = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
            given.unwrap_or_else(|| RandomState::new().hash_one(self.unique))
        })
    }

    /// Where the seed will be, if random choices are made.
    pub(crate) fn seed(&self) -> Arc<OnceLock<u64>> {
        Arc::clone(&self.seed)
    }

    pub(crate) fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }

    /// The scenario's first connection.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Another connection, as another process would have.
    pub async fn connect(&self) -> Backend {
        let backend = self.store.connect().await.expect("connecting again");
        backend.layered(self.refusals.clone())
    }

    /// The administration handle.
    pub async fn admin(&self) -> Administrator {
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
