//! The conformance suite bites: drivers that are broken in one way each fail it, and the scenario
//! that guards what they break is among those that catch them.
#![allow(clippy::expect_used, reason = "it is a test: it fails by panicking")]

mod control;
mod conversations;
mod faults;
mod vectors;
mod working;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use memquill_conformance::{Family, Faults, Harness, Scenario, TestStore, async_trait, run};
use memquill_core::{
    Administrator, Backend, BackendParts, Clock, ConversationStore, CountRecords, Durability,
    Error, ErrorKind, Facet, ManualClock, Result, RetryHint, Scope, Timestamp, VectorStore,
    WorkingStore,
};
use memquill_inmemory::InMemory;
use tokio::sync::{Mutex, Semaphore};

use self::faults::{Case, FAULTS, Fault};

/// An in-memory store with a fault.
#[derive(Debug)]
struct Broken {
    fault: Fault,
    clock: Arc<ManualClock>,
    inner: InMemory,
    /// What the store answers with.
    right: Backend,
    /// A second store, for faults that keep what they should not.
    stale: Backend,
    state: Mutex<State>,
    /// Whether the store is out of reach.
    cut: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// How often each conversation was cleared.
    clears: BTreeMap<(Scope, String), u64>,
    /// The version before each key's first.
    bases: BTreeMap<(Scope, String), u64>,
    /// Batches of records that have not reached the stale store.
    late: Vec<(Scope, memquill_core::StoreRecords)>,
    /// Messages removed by erasures, by user.
    erased: BTreeMap<String, u64>,
    /// Records and entries ever stored, by user.
    stored: BTreeMap<String, u64>,
}

impl Broken {
    fn new(fault: Fault) -> Result<Self> {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_380_660_000)?));
        let inner = InMemory::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let stale = InMemory::with_clock(Arc::clone(&clock) as Arc<dyn Clock>).backend();
        let right = inner.backend();
        Ok(Self {
            fault,
            clock,
            inner,
            right,
            stale,
            state: Mutex::default(),
            cut: AtomicBool::new(false),
        })
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Fails while the store is out of reach; false where the fault answers all the same.
    fn reach(&self) -> Result<bool> {
        match (self.is_cut(), self.fault) {
            (false, _) => Ok(true),
            (true, Fault::EmptyWithoutAStore) => Ok(false),
            (true, _) => Err(Error::new(ErrorKind::Unavailable, "the store is cut off")
                .with_retry(RetryHint::Transient)
                .with_hint("wait until it is back")),
        }
    }

    /// Adds to the number of records and entries that the user has stored.
    async fn note_stored(&self, scope: &Scope, count: usize) {
        let mut state = self.state.lock().await;
        *state.stored.entry(scope.user().to_owned()).or_default() += count as u64;
    }

    /// The scope as the fault has it.
    fn scope(&self, scope: &Scope) -> Scope {
        let (user, node) = (scope.user(), scope.node());
        let taken = match self.fault {
            Fault::IgnoresNodes => Scope::new(user, "node"),
            Fault::JoinsUserAndNode => Scope::new(format!("{user}:{node}"), "node"),
            _ => Scope::new(self.user(user), node),
        };
        taken.unwrap_or_else(|_| scope.clone())
    }

    fn user(&self, user: &str) -> String {
        match self.fault {
            Fault::FoldsUsers => user.to_lowercase(),
            Fault::TrimsUsers => format!("{}.", user.trim()),
            Fault::TakesPrefixesOfUsers => {
                format!("{}.", user.trim_end_matches(|c: char| c.is_alphanumeric()))
            }
            _ => user.to_owned(),
        }
    }

    fn conversations(&self) -> &dyn ConversationStore {
        &**self.right.conversations().expect("the in-memory driver has it")
    }

    fn vectors(&self) -> &dyn VectorStore {
        &**self.right.vectors().expect("the in-memory driver has it")
    }

    fn stale_vectors(&self) -> &dyn VectorStore {
        &**self.stale.vectors().expect("the in-memory driver has it")
    }

    fn working(&self) -> &dyn WorkingStore {
        &**self.right.working().expect("the in-memory driver has it")
    }

    fn stale_working(&self) -> &dyn WorkingStore {
        &**self.stale.working().expect("the in-memory driver has it")
    }

    /// Returns the error as the fault has it.
    fn report<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| match (self.fault, error.kind()) {
            (Fault::CallsConflictsInternal, ErrorKind::Conflict) => Error::internal("it failed"),
            (Fault::ConflictsWithoutVersions, ErrorKind::Conflict) => {
                Error::conflict(error.message().to_owned()).with_hint("read it again")
            }
            _ => error,
        })
    }
}

/// Lets other tasks have their turn between two steps that should be one.
async fn others_turn() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

struct Stores(Fault);

#[async_trait]
impl Harness for Stores {
    fn name(&self) -> &'static str {
        "broken"
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        Ok(Arc::new(Store(Arc::new(Broken::new(self.0)?))))
    }
}

struct Store(Arc<Broken>);

#[async_trait]
impl TestStore for Store {
    async fn connect(&self) -> Result<Backend> {
        self.0.reach()?;
        let mut capabilities = self.0.right.capabilities().clone();
        // As if the medium were a disk: what a crash leaves of it, `after_crash` says.
        capabilities.durability = Durability::Crash;
        Ok(Backend::new(BackendParts {
            name: "inmemory",
            capabilities,
            conversations: Some(Arc::clone(&self.0) as _),
            vectors: Some(Arc::clone(&self.0) as _),
            working: Some(Arc::clone(&self.0) as _),
            control: Arc::clone(&self.0) as _,
        }))
    }

    async fn admin(&self) -> Result<Administrator> {
        Ok(self.0.inner.admin())
    }

    async fn pass(&self, by: Duration) {
        self.0.clock.advance(by);
    }

    async fn after_crash(&self) -> Option<Result<Backend>> {
        if self.0.is(Fault::LosesInACrash) {
            return Some(Broken::new(Fault::None).map(|empty| empty.right.clone()));
        }
        Some(self.connect().await)
    }

    async fn held(&self, user: &str) -> Option<u64> {
        if self.0.is(Fault::PurgesTheIndexAlone) {
            return Some(self.0.state.lock().await.stored.get(user).copied().unwrap_or(0));
        }
        let scope = Scope::new(user, "node").ok()?;
        let count = CountRecords { namespace: "n".into(), filter: None };
        let records = self.0.vectors().count(&scope, &count).await.ok()?;
        let entries = self.0.working().statistics(&scope).await.ok()?.entries;
        Some(records + entries)
    }

    fn faults(&self) -> Option<Arc<dyn Faults>> {
        Some(Arc::new(Cut(Arc::clone(&self.0))))
    }

    async fn connect_with_wrong_credentials(&self, secret: &str) -> Option<Error> {
        let shown = if self.0.is(Fault::RevealsSecrets) { secret } else { "***" };
        let denied = Error::new(
            ErrorKind::PermissionDenied,
            format!("the store refused user:{shown}@localhost"),
        );
        let denied = denied.with_hint("check the credentials").with_backend("inmemory");
        Some(denied.with_operation(memquill_core::operation::CONNECT))
    }
}

/// Cuts the store off.
struct Cut(Arc<Broken>);

#[async_trait]
impl Faults for Cut {
    async fn cut(&self) {
        self.0.cut.store(true, Ordering::Relaxed);
    }

    async fn repair(&self) {
        self.0.cut.store(false, Ordering::Relaxed);
    }
}

/// The scenarios that catch the fault, of those that `which` picks.
async fn caught_by(fault: Fault, which: impl Fn(&Scenario) -> bool) -> BTreeSet<String> {
    let report = run(&Stores(fault), which).await;
    report.failures().into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// What became of a broken driver.
enum Fate {
    /// The scenario that guards against the fault catches it.
    Guarded,
    /// Only these others do.
    Caught(BTreeSet<String>),
    /// Nothing does.
    Survived,
}

/// Runs the guard, and where it misses the fault, every scenario of the facet. Hostile input is left
/// out, which takes the longest and guards against none of the faults alone.
async fn fate(facet: Option<Facet>, case: &Case) -> Fate {
    if !caught_by(case.fault, |scenario| scenario.name() == case.guard).await.is_empty() {
        return Fate::Guarded;
    }
    let caught = caught_by(case.fault, |scenario| {
        scenario.facet() == facet && scenario.family() != Family::Hostile
    });
    match caught.await {
        caught if caught.is_empty() => Fate::Survived,
        caught => Fate::Caught(caught),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

#[test]
fn every_broken_driver_is_caught_by_the_scenario_that_guards_what_it_breaks() {
    // Scenarios fail by panicking, here hundreds of times as they should.
    std::panic::set_hook(Box::new(|_| {}));
    let runtime = runtime();
    // No more at once than there are processors, so that slowness is not taken for a hang.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let permits = Arc::new(Semaphore::new(processors));
    let cases = FAULTS.iter().flat_map(|(facet, cases)| cases.iter().map(|case| (*facet, case)));
    let running: Vec<_> = cases
        .map(|(facet, case)| {
            let permits = Arc::clone(&permits);
            let fate = async move {
                let _permit = permits.acquire().await;
                fate(facet, case).await
            };
            (case, runtime.spawn(fate))
        })
        .collect();
    let count = running.len();
    let (mut escaped, mut survived) = (Vec::new(), 0);
    for (case, fate) in running {
        let outcome = match runtime.block_on(fate).expect("the suite's task") {
            Fate::Guarded => format!("caught by {}", case.guard),
            Fate::Caught(others) => {
                escaped.push(format!("{:?} is not caught by {}", case.fault, case.guard));
                format!("MISSED by {}, caught by {others:?}", case.guard)
            }
            Fate::Survived => {
                survived += 1;
                escaped.push(format!("{:?} survives", case.fault));
                "SURVIVES".to_owned()
            }
        };
        println!("mutant {:?} ({}): {outcome}", case.fault, case.what);
    }
    println!("mutants: {count} broken drivers, {survived} survive");
    let _ = std::panic::take_hook();
    assert!(escaped.is_empty(), "{}", escaped.join("\n"));
}

#[test]
fn the_unbroken_driver_is_not_caught() {
    let report = runtime().block_on(run(&Stores(Fault::None), |_| true));
    assert_eq!(report.failures(), []);
}
