//! The model keeps the contract itself: it passes the suite.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use memquill_core::{
    Admin, Administrator, Backend, BackendParts, Capabilities, Clock, Control, Durability,
    ErasureReceipt, Feature, Health, ManualClock, Migration, Page, PageRequest, PurgeReceipt,
    Result, Scope, Timestamp, operation,
};

use super::{Conversations, Vectors, Working, is_live, lock, next_items};
use crate::{Harness, TestStore, Verdict};

/// The three models as one store.
#[derive(Debug, Clone)]
struct Store {
    clock: Arc<ManualClock>,
    conversations: Arc<Conversations>,
    vectors: Arc<Vectors>,
    working: Arc<Working>,
}

impl Store {
    fn new() -> Self {
        let start = "2026-11-22T20:31:00.000Z".parse::<Timestamp>().unwrap();
        let clock = Arc::new(ManualClock::new(start));
        Self {
            conversations: Arc::new(Conversations::new(Arc::clone(&clock) as _)),
            vectors: Arc::new(Vectors::new(Arc::clone(&clock) as _)),
            working: Arc::new(Working::new(Arc::clone(&clock) as _)),
            clock,
        }
    }

    fn all_scopes(&self) -> BTreeSet<Scope> {
        let mut scopes = BTreeSet::new();
        scopes.extend(lock(&self.conversations.state).keys().map(|(scope, _)| scope.clone()));
        scopes.extend(lock(&self.vectors.state).keys().map(|(scope, _)| scope.clone()));
        scopes.extend(lock(&self.working.state).entries.keys().map(|(scope, _)| scope.clone()));
        scopes
    }

    /// Removes what has expired and, if given, what is the user's.
    fn remove(&self, user: Option<&str>) -> (ErasureReceipt, PurgeReceipt) {
        let now = self.clock.now();
        let of = |scope: &Scope| user.is_some_and(|user| scope.user() == user);
        let (mut erased, mut purged) = (ErasureReceipt::default(), PurgeReceipt::default());
        lock(&self.conversations.state).retain(|(scope, _), conversation| {
            erased.messages += if of(scope) { conversation.messages.len() as u64 } else { 0 };
            !of(scope)
        });
        lock(&self.vectors.state).retain(|(scope, _), namespace| {
            namespace.records.retain(|record| {
                let live = is_live(record.expires_at, now);
                purged.records += u64::from(!live);
                live
            });
            erased.records += if of(scope) { namespace.records.len() as u64 } else { 0 };
            !of(scope)
        });
        lock(&self.working.state).entries.retain(|(scope, _), entry| {
            let live = is_live(entry.expires_at, now);
            purged.entries += u64::from(!live);
            erased.entries += u64::from(live && of(scope));
            live && !of(scope)
        });
        (erased, purged)
    }
}

#[async_trait]
impl Control for Store {
    async fn health(&self, _deadline: Duration) -> Health {
        Health::answered(Duration::from_nanos(1), "model", Vec::new())
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        Ok(self.remove(Some(user)).0)
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        let all = self.all_scopes().into_iter().filter(|scope| scope.user() == user).collect();
        let position = page.position(operation::LIST_SCOPES)?;
        let items = next_items(all, position, page.limit, |scope: &Scope| scope.node());
        Ok(Page::cut(items, page.limit, operation::LIST_SCOPES, |scope| scope.node()))
    }
}

#[async_trait]
impl Admin for Store {
    async fn migrate(&self) -> Result<Migration> {
        Ok(Migration::default())
    }

    async fn purge_expired(&self) -> Result<PurgeReceipt> {
        Ok(self.remove(None).1)
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        let users: BTreeSet<_> =
            self.all_scopes().iter().map(|scope| scope.user().to_owned()).collect();
        let position = page.position(operation::LIST_USERS)?;
        let items = next_items(users.into_iter().collect(), position, page.limit, |user| user);
        Ok(Page::cut(items, page.limit, operation::LIST_USERS, |user| user))
    }
}

struct ModelHarness;

#[async_trait]
impl Harness for ModelHarness {
    fn name(&self) -> &'static str {
        "model"
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        Ok(Arc::new(Store::new()))
    }
}

#[async_trait]
impl TestStore for Store {
    async fn connect(&self) -> Result<Backend> {
        let features =
            Feature::ALL.into_iter().filter(|feature| *feature != Feature::EnforcedIsolation);
        Ok(Backend::new(BackendParts {
            name: "model",
            capabilities: Capabilities::new(Durability::Process, features),
            conversations: Some(Arc::clone(&self.conversations) as _),
            vectors: Some(Arc::clone(&self.vectors) as _),
            working: Some(Arc::clone(&self.working) as _),
            control: Arc::new(self.clone()),
        }))
    }

    async fn admin(&self) -> Result<Administrator> {
        Ok(Administrator::new("model", Arc::new(self.clone())))
    }

    async fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }
}

#[test]
fn the_model_passes_the_suite() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut failures = Vec::new();
    // It is written to be read: what it costs grows with what it holds, and it has no medium.
    let tells = |scenario: &crate::Scenario| !scenario.what.ends_with("that_has_grown");
    for scenario in crate::scenarios().into_iter().filter(tells) {
        let verdict = runtime.block_on(crate::run_one(&scenario, &ModelHarness));
        if !matches!(verdict, Verdict::Passed | Verdict::NotTried(_)) {
            failures.push(format!("{scenario:?}: {verdict:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
