//! A second level of caches, in this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use memquill_core::{Error, Lease, Lookup, Result, Scope, SharedCache, SharedKey};

/// Keeps all it is given until it is forgotten, as if no `ttl` ever passed.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    items: HashMap<(Option<Scope>, String), Item>,
    leases: u64,
    broken: bool,
}

#[derive(Debug, Clone)]
enum Item {
    Leased(Lease),
    Kept(Vec<u8>),
}

impl Shared {
    /// Makes every call fail, or work again.
    #[allow(dead_code, reason = "not every test breaks it")]
    pub(crate) fn set_broken(&self, broken: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).broken = broken;
    }

    fn step<T>(&self, step: impl FnOnce(&mut State) -> T) -> Result<T> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.broken {
            return Err(Error::unavailable("the shared cache is broken"));
        }
        Ok(step(&mut state))
    }
}

fn owned(key: SharedKey<'_>) -> (Option<Scope>, String) {
    (key.scope.cloned(), key.name.to_owned())
}

#[memquill_conformance::async_trait]
impl SharedCache for Shared {
    async fn look_up(&self, key: SharedKey<'_>) -> Result<Lookup> {
        self.step(|state| match state.items.get(&owned(key)) {
            Some(Item::Kept(bytes)) => Lookup::Found(bytes.clone()),
            Some(Item::Leased(lease)) => Lookup::Missing(lease.clone()),
            None => {
                state.leases += 1;
                let lease = Lease(state.leases.to_string());
                state.items.insert(owned(key), Item::Leased(lease.clone()));
                Lookup::Missing(lease)
            }
        })
    }

    async fn keep(
        &self,
        key: SharedKey<'_>,
        lease: &Lease,
        value: &[u8],
        _ttl: Duration,
    ) -> Result<bool> {
        self.step(|state| {
            let item = state.items.get_mut(&owned(key));
            let leased = item.filter(|item| matches!(item, Item::Leased(given) if given == lease));
            leased.map(|item| *item = Item::Kept(value.to_vec())).is_some()
        })
    }

    async fn forget(&self, scope: Option<&Scope>, names: &[&str]) -> Result<()> {
        self.step(|state| {
            for name in names {
                state.items.remove(&(scope.cloned(), (*name).to_owned()));
            }
        })
    }

    async fn forget_user(&self, user: &str) -> Result<()> {
        self.step(|state| {
            state.items.retain(|(scope, _), _| scope.as_ref().is_none_or(|s| s.user() != user));
        })
    }
}
