//! The items that a cache keeps, and the writes that end them.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use moka::Equivalent;

use super::clocks::StoreTime;
use super::form::CacheEntry;
use super::generations::{At, Generation, GenerationStripes};
use super::{CacheOptions, SharedLevel};
use crate::capability::Facet;
use crate::error::{Error, Result};
use crate::scope::Scope;
use crate::shared_cache::{Lease, Lookup, SharedKey};
use crate::time::{Clock, Timestamp};

/// More stripes mean fewer items that a write ends without need; each takes some 40 bytes.
const ITEM_STRIPES: usize = 4_096;
const USER_STRIPES: usize = 1_024;

/// What is kept, the stripes that writers pass, and time.
#[derive(Debug)]
pub(super) struct Items {
    local: moka::sync::Cache<Key, Arc<Held>>,
    /// The writers of each item, by its hash.
    stripes: GenerationStripes,
    /// The writers of all that a user has.
    users: GenerationStripes,
    clock: Arc<dyn Clock>,
    pub(super) time: StoreTime,
    max_age: Duration,
    shared: Option<SharedLevel>,
    answers: AtomicU64,
    /// Whether the store was closed (G15).
    closed: AtomicBool,
}

#[derive(Debug, PartialEq, Eq)]
struct Key {
    facet: Facet,
    scope: Scope,
    name: String,
}

/// What is kept or was looked for: of the facet, under the scope, of this name.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Item<'a> {
    pub(super) facet: Facet,
    pub(super) scope: &'a Scope,
    pub(super) name: &'a str,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Item { facet: self.facet, scope: &self.scope, name: &self.name }.hash(state);
    }
}

impl Equivalent<Key> for Item<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.facet == key.facet && self.name == key.name && *self.scope == key.scope
    }
}

impl Item<'_> {
    /// The name in a shared cache.
    fn shared_name(&self) -> String {
        format!("{}:{}", self.facet, self.name)
    }
}

/// When an item was read, as far as writers go: what was read then holds while the token does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadToken {
    item: Generation,
    user: Generation,
}

#[derive(Debug)]
struct Held {
    token: ReadToken,
    answer: Answer,
    kept: CacheEntry,
}

/// Which answer of the store something came with, and when that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    number: u64,
    asked: Timestamp,
}

impl Items {
    pub(super) fn new(options: CacheOptions, clock: Arc<dyn Clock>) -> Self {
        let CacheOptions { capacity_bytes, max_age, shared } = options;
        let local = moka::sync::Cache::builder()
            .max_capacity(capacity_bytes)
            .weigher(|key: &Key, held: &Arc<Held>| {
                let (user, node) = (key.scope.user().len(), key.scope.node().len());
                let bytes = held.kept.bytes() + key.name.len() + user + node;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            // So that what nobody asks for again leaves memory too.
            .time_to_live(max_age.max(Duration::from_millis(1)))
            .support_invalidation_closures()
            .build();
        Self {
            local,
            stripes: GenerationStripes::new(ITEM_STRIPES),
            users: GenerationStripes::new(USER_STRIPES),
            clock,
            time: StoreTime::default(),
            max_age,
            shared,
            answers: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Answers and keeps nothing from now on, and frees what is held.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.local.invalidate_all();
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn answer(&self, asked: Timestamp) -> Answer {
        Answer { number: self.answers.fetch_add(1, Ordering::Relaxed), asked }
    }

    /// With the token, what is read from the store from now on may be kept. None while a write is
    /// under way, or where the store was closed.
    pub(super) fn token(&self, item: Item<'_>, now: Timestamp) -> Option<ReadToken> {
        if self.closed.load(Ordering::Acquire) {
            return None;
        }
        Some(ReadToken {
            item: self.stripes.generation(self.stripes.at(item), now)?,
            user: self.users.generation(self.users.at(item.scope.user()), now)?,
        })
    }

    /// What is kept in this process and still holds.
    pub(super) fn held<T>(
        &self,
        item: Item<'_>,
        token: ReadToken,
        now: Timestamp,
        take: impl FnOnce(&CacheEntry, Answer) -> Option<T>,
    ) -> Option<T> {
        let held = self.local.get(&item)?;
        let fresh = now < held.answer.asked.saturating_add(self.max_age);
        if fresh && held.token == token && self.lives(&held.kept, now) {
            take(&held.kept, held.answer)
        } else {
            None
        }
    }

    /// Keeps what was read after the token was given.
    pub(super) fn keep(&self, item: Item<'_>, token: ReadToken, answer: Answer, kept: CacheEntry) {
        let now = self.now();
        // What is over is not found again, but would take the place of what is not.
        if self.token(item, now) == Some(token) {
            let key =
                Key { facet: item.facet, scope: item.scope.clone(), name: item.name.to_owned() };
            self.local.insert(key, Arc::new(Held { token, answer, kept }));
        }
    }

    /// Asks the shared cache: what it keeps, or a lease.
    pub(super) async fn look_up(&self, item: Item<'_>) -> (Option<CacheEntry>, Option<Lease>) {
        let Some(shared) = &self.shared else { return (None, None) };
        let name = item.shared_name();
        let key = SharedKey { scope: Some(item.scope), name: &name };
        match shared.cache.look_up(key).await {
            Ok(Lookup::Found(bytes)) => {
                let now = self.now();
                (CacheEntry::from_bytes(&bytes).filter(|kept| self.lives(kept, now)), None)
            }
            Ok(Lookup::Missing(lease)) => (None, Some(lease)),
            Err(error) => {
                unreachable(&error);
                (None, None)
            }
        }
    }

    /// Gives the shared cache what was read after it gave the lease.
    pub(super) async fn share(&self, item: Item<'_>, lease: Option<Lease>, kept: &CacheEntry) {
        let (Some(shared), Some(lease)) = (&self.shared, lease) else { return };
        let Some(bytes) = kept.to_bytes() else { return };
        let name = item.shared_name();
        let key = SharedKey { scope: Some(item.scope), name: &name };
        if let Err(error) = shared.cache.keep(key, &lease, &bytes, shared.ttl).await {
            unreachable(&error);
        }
    }

    /// Begins a write of these items, all of one scope.
    pub(super) fn write<'a>(&'a self, items: Vec<Item<'a>>) -> Writing<'a> {
        let now = self.now();
        let before = items
            .first()
            .and_then(|item| self.users.generation(self.users.at(item.scope.user()), now));
        let entered = items.iter().map(|item| {
            let at = self.stripes.at(item);
            (at, self.stripes.enter(at))
        });
        Writing { entered: entered.collect(), items, before, user: None, all: self, open: true }
    }

    /// Begins a write of everything that a user has.
    pub(super) fn write_all_of<'a>(&'a self, user: &'a str) -> Writing<'a> {
        self.users.enter(self.users.at(user));
        Writing {
            entered: Vec::new(),
            items: Vec::new(),
            before: None,
            user: Some(user),
            all: self,
            open: true,
        }
    }

    /// Whether an entry surely lives by the store's clock (W2).
    fn lives(&self, kept: &CacheEntry, now: Timestamp) -> bool {
        match kept {
            CacheEntry::Entry(entry) => {
                entry.expires_at.is_none_or(|expiry| self.time.surely_before(expiry, now))
            }
            CacheEntry::Window(_) => true,
        }
    }
}

/// A write under way. Dropped before it is finished, its outcome is unknown (G7).
#[derive(Debug)]
pub(super) struct Writing<'a> {
    all: &'a Items,
    items: Vec<Item<'a>>,
    entered: Vec<(At, Option<Generation>)>,
    /// The generation of all that the items' user has, when the write began.
    before: Option<Generation>,
    /// Whose everything is written.
    user: Option<&'a str>,
    open: bool,
}

impl Writing<'_> {
    /// Ends the write. Gives a token for each item that nobody else wrote meanwhile, with which
    /// what was written may be kept.
    pub(super) async fn finish<T>(self, result: &Result<T>) -> Vec<Option<ReadToken>> {
        let mut this = self;
        let forgotten =
            this.forget(!result.as_ref().is_err_and(|error| !error.maybe_applied())).await;
        this.leave(forgotten.is_ok() && !is_unknown(result));
        let now = this.all.now();
        let tickets = this.items.iter().zip(&this.entered).map(|(item, (_, entered))| {
            let alone =
                |token: &ReadToken| Some(token.item) == *entered && Some(token.user) == this.before;
            this.all.token(*item, now).filter(alone)
        });
        tickets.collect()
    }

    /// Ends the write of everything that a user has, and returns whether the shared cache forgot it.
    pub(super) async fn finish_all<T>(self, result: &Result<T>) -> Result<()> {
        let mut this = self;
        let forgotten = this.forget(true).await;
        this.leave(forgotten.is_ok() && !is_unknown(result));
        forgotten
    }

    /// Whether what held with `token` was the state directly before this write, of one item.
    pub(super) fn follows(&self, token: ReadToken) -> bool {
        matches!(self.entered.as_slice(), [(_, Some(entered))] if entered.follows(token.item))
    }

    /// Has the shared cache forget, where something may have been written.
    async fn forget(&self, written: bool) -> Result<()> {
        let Some(SharedLevel { cache, .. }) = self.all.shared.as_ref().filter(|_| written) else {
            return Ok(());
        };
        let forgotten = match (self.user, self.items.first()) {
            (Some(user), _) => cache.forget_user(user).await,
            (None, Some(Item { scope, .. })) => {
                let names: Vec<String> = self.items.iter().map(Item::shared_name).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                cache.forget(Some(*scope), &names).await
            }
            (None, None) => Ok(()),
        };
        forgotten.inspect_err(unreachable)
    }

    fn leave(&mut self, known: bool) {
        self.open = false;
        let Items { stripes, users, local, max_age, shared, .. } = self.all;
        let longest = *max_age + shared.as_ref().map_or(Duration::ZERO, |shared| shared.ttl);
        let closed_until = (!known).then(|| self.all.now().saturating_add(longest));
        for (at, _) in &self.entered {
            stripes.leave(*at, closed_until);
        }
        if let Some(user) = self.user {
            users.leave(users.at(user), closed_until);
            let user = user.to_owned();
            // It is over already; this frees it, for an erasure is to leave nothing behind.
            let _ = local.invalidate_entries_if(move |key, _| key.scope.user() == user);
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if self.open {
            self.leave(false);
        }
    }
}

fn is_unknown<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(Error::maybe_applied)
}

/// A shared cache that fails is no reason for an operation to fail.
fn unreachable(error: &Error) {
    tracing::warn!(
        target: crate::layer::TARGET,
        code = error.code(),
        "the shared cache fails; the store is asked instead"
    );
}
