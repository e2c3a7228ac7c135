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
use std::time::Duration;

use memquill_conformance::{Family, Harness, Scenario, TestStore, async_trait, run};
use memquill_core::{
    Admin, Backend, BackendParts, Clock, ConversationStore, Error, ErrorKind, Facet, ManualClock,
    Result, Scope, Timestamp, VectorStore, WorkingStore,
};
use memquill_inmemory::InMemory;
use tokio::sync::{Mutex, Semaphore};

use self::faults::{FAULTS, Fault};

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
}

#[derive(Debug, Default)]
struct State {
    /// How often each conversation was cleared.
    clears: BTreeMap<(Scope, String), u64>,
    /// The version before each key's first.
    bases: BTreeMap<(Scope, String), u64>,
    /// Batches of records that have not reached the stale store.
    late: Vec<(Scope, memquill_core::StoreRecords)>,
}

impl Broken {
    fn new(fault: Fault) -> Result<Self> {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_380_660_000)?));
        let inner = InMemory::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let stale = InMemory::with_clock(Arc::clone(&clock) as Arc<dyn Clock>).backend();
        let right = inner.backend();
        Ok(Self { fault, clock, inner, right, stale, state: Mutex::default() })
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
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

    /// The error as the fault has it.
    fn told<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| match (self.fault, error.kind()) {
            (Fault::CallsConflictsInternal, ErrorKind::Conflict) => Error::internal("it failed"),
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
        let capabilities = self.0.right.capabilities().clone();
        Ok(Backend::new(BackendParts {
            name: "inmemory",
            capabilities,
            conversations: Some(Arc::clone(&self.0) as _),
            vectors: Some(Arc::clone(&self.0) as _),
            working: Some(Arc::clone(&self.0) as _),
            control: Arc::clone(&self.0) as _,
        }))
    }

    async fn admin(&self) -> Result<Arc<dyn Admin>> {
        Ok(self.0.inner.admin())
    }

    async fn pass(&self, by: Duration) {
        self.0.clock.advance(by);
    }

    async fn connect_with_wrong_credentials(&self, secret: &str) -> Option<Error> {
        let told = if self.0.is(Fault::RevealsSecrets) { secret } else { "***" };
        let denied = Error::new(
            ErrorKind::PermissionDenied,
            format!("the store refused user:{told}@localhost"),
        );
        let denied = denied.with_hint("check the credentials").with_backend("inmemory");
        Some(denied.with_operation(memquill_core::operation::CONNECT))
    }
}

/// The scenarios that catch the fault, of those of its facet; hostile input is left out, which
/// takes the longest and guards against none of the faults alone.
async fn caught_by(fault: Fault, facet: Option<Facet>) -> BTreeSet<String> {
    let of_facet =
        |s: &Scenario| s.facet() == facet && (facet.is_none() || s.family() != Family::Hostile);
    let report = run(&Stores(fault), of_facet).await;
    report.failures().into_iter().map(|(name, _)| name.to_owned()).collect()
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
    let places = Arc::new(Semaphore::new(processors));
    let running: Vec<_> = FAULTS
        .iter()
        .map(|case| {
            let places = Arc::clone(&places);
            let caught = async move {
                let _place = places.acquire().await;
                caught_by(case.fault, case.facet).await
            };
            (case, runtime.spawn(caught))
        })
        .collect();
    let mut escaped = Vec::new();
    for (case, caught) in running {
        let caught = runtime.block_on(caught).expect("the suite's task");
        println!("{:?} ({}): caught by {} scenarios", case.fault, case.what, caught.len());
        for name in &caught {
            println!("    {name}");
        }
        if !caught.contains(case.guard) {
            escaped.push(format!("{:?} is not caught by {}", case.fault, case.guard));
        }
    }
    let _ = std::panic::take_hook();
    assert!(escaped.is_empty(), "{}", escaped.join("\n"));
}

#[test]
fn the_unbroken_driver_is_not_caught() {
    let report = runtime().block_on(run(&Stores(Fault::None), |_| true));
    assert_eq!(report.failures(), []);
}
