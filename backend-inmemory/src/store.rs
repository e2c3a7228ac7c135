//! Where scopes live, and the one way in.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use memquill_core::{Clock, ErasureReceipt, PurgeReceipt, Scope, Timestamp};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::conversations::HeldConversations;
use crate::vectors::HeldVectors;
use crate::working::HeldWorking;

/// A store in this process.
///
/// Locks are taken in one order: the map's for a user, then those of the user's scopes. A call on
/// a facet holds only one at a time.
pub(crate) struct Store {
    clock: Arc<dyn Clock>,
    users: DashMap<String, Nodes>,
    last_version: AtomicU64,
}

/// A user's scopes, by node.
type Nodes = BTreeMap<String, Arc<Memory>>;

/// What one scope holds.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) conversations: Part<HeldConversations>,
    pub(crate) vectors: Part<HeldVectors>,
    pub(crate) working: Part<HeldWorking>,
}

/// What a scope holds of one facet, behind a lock.
#[derive(Debug)]
pub(crate) struct Part<T>(
    /// None once the scope has been taken out of the map: who still has it looks again.
    RwLock<Option<T>>,
);

/// What a scope can hold of a facet.
pub(crate) trait Held: Default {
    /// Where a scope keeps it.
    fn part(memory: &Memory) -> &Part<Self>;

    /// When something in it expires next, at the earliest; none where nothing does.
    fn next_due(&self) -> Option<Timestamp>;

    /// Removes what has expired, and says how much it was.
    fn sweep(&mut self, now: Timestamp) -> u64;

    /// How many messages, records or entries it holds.
    fn count(&self) -> u64;

    /// Whether nothing would be lost with it.
    fn is_empty(&self) -> bool;
}

impl<T: Held> Default for Part<T> {
    fn default() -> Self {
        Self(RwLock::new(Some(T::default())))
    }
}

impl<T: Held> Part<T> {
    /// The part without what has expired, to read.
    fn current(&self, clock: &dyn Clock) -> RwLockReadGuard<'_, Option<T>> {
        let part = self.0.read();
        let next_due = part.as_ref().and_then(T::next_due);
        if next_due.is_none_or(|at| clock.now() < at) {
            return part;
        }
        drop(part);
        RwLockWriteGuard::downgrade(self.exclusive(clock).0)
    }

    /// The part without what has expired, to change.
    fn exclusive(&self, clock: &dyn Clock) -> (RwLockWriteGuard<'_, Option<T>>, Timestamp) {
        let mut part = self.0.write();
        let now = clock.now();
        if let Some(part) = part.as_mut() {
            part.sweep(now);
        }
        (part, now)
    }
}

impl Store {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, users: DashMap::new(), last_version: AtomicU64::new(0) }
    }

    /// Reads what the scope holds; a scope that does not exist reads as empty.
    pub(crate) fn read<T: Held, R>(&self, scope: &Scope, work: impl FnOnce(&T) -> R) -> R {
        if let Some(memory) = self.find(scope)
            && let Some(part) = T::part(&memory).current(&*self.clock).as_ref()
        {
            return work(part);
        }
        work(&T::default())
    }

    /// Adds to what the scope holds; the scope begins to exist.
    pub(crate) fn write<T: Held, R>(
        &self,
        scope: &Scope,
        work: impl FnOnce(&mut T, Timestamp) -> R,
    ) -> R {
        loop {
            let memory = self.find(scope).unwrap_or_else(|| self.create(scope));
            let (mut part, now) = T::part(&memory).exclusive(&*self.clock);
            if let Some(part) = part.as_mut() {
                return work(part, now);
            }
        }
    }

    /// Takes away from or alters what the scope holds; a scope that does not exist stays so.
    pub(crate) fn alter<T: Held, R>(
        &self,
        scope: &Scope,
        work: impl FnOnce(&mut T, Timestamp) -> R,
    ) -> R {
        if let Some(memory) = self.find(scope) {
            let (mut part, now) = T::part(&memory).exclusive(&*self.clock);
            if let Some(part) = part.as_mut() {
                return work(part, now);
            }
        }
        work(&mut T::default(), self.clock.now())
    }

    /// A version that no entry of the store ever had (W3).
    pub(crate) fn next_version(&self) -> u64 {
        self.last_version.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Sees to it that no version up to this one comes from [`Self::next_version`] (W9).
    pub(crate) fn pass_version(&self, version: u64) {
        self.last_version.fetch_max(version, Ordering::Relaxed);
    }

    /// Takes all of a user's scopes out at once (G5, G12).
    pub(crate) fn erase(&self, user: &str) -> ErasureReceipt {
        let Entry::Occupied(nodes) = self.users.entry(user.to_owned()) else {
            return ErasureReceipt::default();
        };
        let mut receipt = ErasureReceipt::default();
        let mut scopes: Vec<_> = nodes.get().values().map(|memory| memory.lock()).collect();
        let now = self.clock.now();
        for scope in &mut scopes {
            scope.sweep(now);
            receipt.messages += scope.conversations.take().map_or(0, |part| part.count());
            receipt.records += scope.vectors.take().map_or(0, |part| part.count());
            receipt.entries += scope.working.take().map_or(0, |part| part.count());
        }
        drop(scopes);
        nodes.remove();
        receipt
    }

    /// Removes what has expired, and scopes that hold nothing, user by user.
    pub(crate) fn purge_expired(&self) -> PurgeReceipt {
        let mut receipt = PurgeReceipt::default();
        for user in self.user_names(None) {
            let Entry::Occupied(mut nodes) = self.users.entry(user) else { continue };
            nodes.get_mut().retain(|_, memory| {
                let mut scope = memory.lock();
                let swept = scope.sweep(self.clock.now());
                receipt.records += swept.records;
                receipt.entries += swept.entries;
                !scope.take_if_empty()
            });
            if nodes.get().is_empty() {
                nodes.remove();
            }
        }
        receipt
    }

    /// The users who have something, in order, after `after`.
    pub(crate) fn users(&self, after: Option<&str>, limit: usize) -> Vec<String> {
        let mut names = self.user_names(after);
        names.sort_unstable();
        names.retain(|user| !self.nodes(user, None, 1).is_empty());
        names.truncate(limit);
        names
    }

    /// The nodes where `user` has something, in order, after `after`.
    pub(crate) fn nodes(&self, user: &str, after: Option<&str>, limit: usize) -> Vec<String> {
        let Some(nodes) = self.users.get(user) else { return Vec::new() };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        nodes
            .range::<str, _>((start, Bound::Unbounded))
            .filter(|(_, memory)| !memory.is_empty(&*self.clock))
            .map(|(node, _)| node.clone())
            .take(limit)
            .collect()
    }

    fn user_names(&self, after: Option<&str>) -> Vec<String> {
        let is_next = |user: &str| after.is_none_or(|after| user > after);
        self.users.iter().map(|user| user.key().clone()).filter(|user| is_next(user)).collect()
    }

    fn find(&self, scope: &Scope) -> Option<Arc<Memory>> {
        self.users.get(scope.user())?.get(scope.node()).map(Arc::clone)
    }

    fn create(&self, scope: &Scope) -> Arc<Memory> {
        let mut nodes = self.users.entry(scope.user().to_owned()).or_default();
        Arc::clone(nodes.entry(scope.node().to_owned()).or_default())
    }
}

/// All parts of a scope, locked.
struct Locked<'a> {
    conversations: RwLockWriteGuard<'a, Option<HeldConversations>>,
    vectors: RwLockWriteGuard<'a, Option<HeldVectors>>,
    working: RwLockWriteGuard<'a, Option<HeldWorking>>,
}

impl Memory {
    fn lock(&self) -> Locked<'_> {
        Locked {
            conversations: self.conversations.0.write(),
            vectors: self.vectors.0.write(),
            working: self.working.0.write(),
        }
    }

    fn is_empty(&self, clock: &dyn Clock) -> bool {
        fn empty<T: Held>(part: &Part<T>, clock: &dyn Clock) -> bool {
            part.current(clock).as_ref().is_none_or(T::is_empty)
        }
        empty(&self.conversations, clock)
            && empty(&self.vectors, clock)
            && empty(&self.working, clock)
    }
}

impl Locked<'_> {
    fn sweep(&mut self, now: Timestamp) -> PurgeReceipt {
        PurgeReceipt {
            records: self.vectors.as_mut().map_or(0, |part| part.sweep(now)),
            entries: self.working.as_mut().map_or(0, |part| part.sweep(now)),
        }
    }

    /// Takes the parts out if nothing is lost with them, and says whether it did.
    fn take_if_empty(&mut self) -> bool {
        let empty = self.conversations.as_ref().is_none_or(Held::is_empty)
            && self.vectors.as_ref().is_none_or(Held::is_empty)
            && self.working.as_ref().is_none_or(Held::is_empty);
        if empty {
            *self.conversations = None;
            *self.vectors = None;
            *self.working = None;
        }
        empty
    }
}

impl fmt::Debug for Store {
    /// Says how much there is, not what (E3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use memquill_core::{Append, ManualClock, Message, Put, SystemClock};

    use super::*;
    use crate::conversations::append;

    fn scope() -> Scope {
        Scope::new("alice", "bot").unwrap()
    }

    #[test]
    fn a_read_does_not_make_a_scope_exist() {
        let store = Store::new(Arc::new(SystemClock));
        store.read(&scope(), |working: &HeldWorking| assert!(working.is_empty()));
        store.alter(&scope(), |working: &mut HeldWorking, _| assert!(working.is_empty()));
        assert!(store.users.is_empty());
    }

    #[test]
    fn g6_a_write_that_meets_an_erasure_is_kept_after_it() {
        let store = Arc::new(Store::new(Arc::new(SystemClock)));
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let other = std::thread::spawn({
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            move || {
                let mut erased = 0;
                while !stop.load(Ordering::Relaxed) {
                    erased += store.erase("alice").messages;
                }
                erased
            }
        });
        let request = Append::new("c", vec![Message::user("x")]);
        for _ in 0..20_000 {
            append(&store, &scope(), &request).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let erased = other.join().unwrap() + store.erase("alice").messages;
        assert_eq!(erased, 20_000, "every acknowledged message was erased exactly once");
    }

    #[test]
    fn a_purge_forgets_scopes_that_hold_nothing() {
        let clock = Arc::new(ManualClock::new(Timestamp::default()));
        let store = Store::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let put = Put::new("k", 1).with_ttl(Duration::from_millis(5));
        store.write(&scope(), |working: &mut HeldWorking, now| working.put(&put, 1, now));
        assert_eq!(store.purge_expired().entries, 0);
        clock.advance(Duration::from_millis(5));
        assert_eq!(store.purge_expired().entries, 1);
        assert!(store.users.is_empty());
    }
}
