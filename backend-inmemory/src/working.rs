//! Working memory.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use memquill_core::json::Object;
use memquill_core::{
    Delete, Entry, EntryPage, Get, GetMany, Increment, Incremented, ListEntries, Page, Put,
    PutMany, RestoreEntries, Restored, Result, Scope, Timestamp, WorkingStatistics, WorkingStore,
    WorkingValue, Written, conflict, operation as op,
};

use crate::store::{Held, Memory, Part, Store};

/// A scope's working memory.
#[derive(Debug, Default)]
pub(crate) struct HeldWorking {
    entries: HashMap<Arc<str>, Slot>,
    /// The keys of `entries` in order, for listings.
    keys: BTreeSet<Arc<str>>,
    /// The entries that expire, soonest first.
    expiry: BTreeSet<(Timestamp, Arc<str>)>,
}

#[derive(Debug)]
struct Slot {
    value: WorkingValue,
    metadata: Object,
    written: Written,
}

impl Slot {
    fn entry(&self, key: &str) -> Entry {
        Entry {
            key: key.to_owned(),
            value: self.value.clone(),
            metadata: self.metadata.clone(),
            version: self.written.version,
            created_at: self.written.created_at,
            updated_at: self.written.updated_at,
            expires_at: self.written.expires_at,
        }
    }
}

impl Held for HeldWorking {
    fn part(memory: &Memory) -> &Part<Self> {
        &memory.working
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.expiry.first().map(|(at, _)| *at)
    }

    fn sweep(&mut self, now: Timestamp) -> u64 {
        let mut swept = 0;
        while self.next_due().is_some_and(|at| at <= now) {
            if let Some((_, key)) = self.expiry.pop_first() {
                self.entries.remove(&key);
                self.keys.remove(&key);
                swept += 1;
            }
        }
        swept
    }

    fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl HeldWorking {
    fn version(&self, key: &str) -> Option<u64> {
        self.entries.get(key).map(|slot| slot.written.version)
    }

    /// Refuses a put whose condition fails (W3).
    fn check(&self, put: &Put) -> Result<()> {
        let current = self.version(&put.key);
        if put.condition.holds(current) {
            Ok(())
        } else {
            Err(conflict::stale_version(&put.key, current))
        }
    }

    /// Puts, whatever the condition.
    pub(crate) fn put(&mut self, put: &Put, version: u64, now: Timestamp) -> Written {
        let expires_at = put.ttl.map(|ttl| now.saturating_add(ttl));
        self.write(&put.key, put.value.clone(), put.metadata.clone(), version, now, expires_at)
    }

    fn write(
        &mut self,
        key: &str,
        value: WorkingValue,
        metadata: Object,
        version: u64,
        now: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Written {
        let created_at = self.entries.get(key).map_or(now, |slot| slot.written.created_at);
        let written = Written { version, created_at, updated_at: now, expires_at };
        self.set(key, Slot { value, metadata, written });
        written
    }

    fn set(&mut self, key: &str, new: Slot) {
        let expires_at = new.written.expires_at;
        if let Some(slot) = self.entries.get_mut(key) {
            let before = slot.written.expires_at;
            *slot = new;
            self.reschedule(key, before, expires_at);
        } else {
            let key: Arc<str> = key.into();
            self.expiry.extend(expires_at.map(|at| (at, Arc::clone(&key))));
            self.keys.insert(Arc::clone(&key));
            self.entries.insert(key, new);
        }
    }

    /// Puts entries back, all or none (W9).
    fn restore(&mut self, request: &RestoreEntries) -> Result<Restored> {
        let mut to_write = Vec::with_capacity(request.entries.len());
        for entry in &request.entries {
            if request.must_write(entry, self.entry(&entry.key).as_ref())? {
                to_write.push(entry);
            }
        }
        for entry in &to_write {
            let (value, metadata) = (entry.value.clone(), entry.metadata.clone());
            self.set(&entry.key, Slot { value, metadata, written: Written::of(entry) });
        }
        Ok(Restored::of(request.entries.len(), to_write.len()))
    }

    fn reschedule(&mut self, key: &str, before: Option<Timestamp>, after: Option<Timestamp>) {
        if before == after {
            return;
        }
        let key: Arc<str> = key.into();
        if let Some(at) = before {
            self.expiry.remove(&(at, Arc::clone(&key)));
        }
        self.expiry.extend(after.map(|at| (at, key)));
    }

    fn entry(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).map(|slot| slot.entry(key))
    }

    /// Lets an entry that expires live at least so long from now (W4).
    fn extend(&mut self, key: &str, by: Duration, now: Timestamp) {
        let wanted = now.saturating_add(by);
        let Some(slot) = self.entries.get_mut(key) else { return };
        let before = slot.written.expires_at;
        if before.is_some_and(|at| at < wanted) {
            slot.written.expires_at = Some(wanted);
            self.reschedule(key, before, Some(wanted));
        }
    }

    fn delete(&mut self, request: &Delete) -> Result<bool> {
        let Some(current) = self.version(&request.key) else { return Ok(false) };
        if request.if_version.is_some_and(|wanted| wanted != current) {
            return Err(conflict::stale_version(&request.key, Some(current)));
        }
        let key = request.key.as_str();
        if let Some(slot) = self.entries.remove(key) {
            self.keys.remove(key);
            self.reschedule(key, slot.written.expires_at, None);
        }
        Ok(true)
    }

    /// Refuses to read more than an answer holds (W7).
    fn check_answer(&self, request: &GetMany) -> Result<()> {
        let slots = request.keys.iter().filter_map(|key| self.entries.get(key.as_str()));
        request.check_answer(slots.map(|slot| slot.value.size()).sum())
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Page<Entry> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut page = EntryPage::new(limit);
        let keys = self.keys.range::<str, _>((start, Bound::Unbounded));
        for key in keys.take_while(|key| key.starts_with(prefix)) {
            let Some(slot) = self.entries.get(key) else { continue };
            if !page.takes(slot.value.size()) {
                break;
            }
            page.push(slot.entry(key));
        }
        page.finish()
    }

    fn increment(
        &mut self,
        request: &Increment,
        version: u64,
        now: Timestamp,
    ) -> Result<Incremented> {
        let key = request.key.as_str();
        let (before, metadata, expires_at) = match self.entries.get(key) {
            Some(slot) => {
                let before =
                    slot.value.as_i64().ok_or_else(|| conflict::not_an_integer(request))?;
                (before, slot.metadata.clone(), slot.written.expires_at)
            }
            None => (0, Object::new(), request.initial_ttl.map(|ttl| now.saturating_add(ttl))),
        };
        let value =
            before.checked_add(request.by).ok_or_else(|| conflict::counter_overflow(request))?;
        let written = self.write(key, value.into(), metadata, version, now, expires_at);
        Ok(Incremented { value, written })
    }
}

/// The working memory of a store.
#[derive(Debug)]
pub(crate) struct Working(pub(crate) Arc<Store>);

#[async_trait]
impl WorkingStore for Working {
    async fn put(&self, scope: &Scope, request: &Put) -> Result<Written> {
        self.0.write(scope, |working: &mut HeldWorking, now| {
            working.check(request)?;
            Ok(working.put(request, self.0.next_version(), now))
        })
    }

    async fn put_many(&self, scope: &Scope, request: &PutMany) -> Result<Vec<Written>> {
        self.0.write(scope, |working: &mut HeldWorking, now| {
            request.entries.iter().try_for_each(|put| working.check(put))?;
            let put = |put| working.put(put, self.0.next_version(), now);
            Ok(request.entries.iter().map(put).collect())
        })
    }

    async fn get(&self, scope: &Scope, request: &Get) -> Result<Option<Entry>> {
        let Some(by) = request.extend else {
            return Ok(self.0.read(scope, |working: &HeldWorking| working.entry(&request.key)));
        };
        Ok(self.0.alter(scope, |working: &mut HeldWorking, now| {
            working.extend(&request.key, by, now);
            working.entry(&request.key)
        }))
    }

    async fn get_many(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>> {
        let entries = |working: &HeldWorking| {
            request.keys.iter().filter_map(|key| working.entry(key)).collect()
        };
        let Some(by) = request.extend else {
            return self.0.read(scope, |working: &HeldWorking| {
                working.check_answer(request)?;
                Ok(entries(working))
            });
        };
        self.0.alter(scope, |working: &mut HeldWorking, now| {
            working.check_answer(request)?;
            request.keys.iter().for_each(|key| working.extend(key, by, now));
            Ok(entries(working))
        })
    }

    async fn delete(&self, scope: &Scope, request: &Delete) -> Result<bool> {
        self.0.alter(scope, |working: &mut HeldWorking, _| working.delete(request))
    }

    async fn list(&self, scope: &Scope, request: &ListEntries) -> Result<Page<Entry>> {
        let ListEntries { prefix, page } = request;
        let after = page.position(op::LIST_ENTRIES)?;
        Ok(self.0.read(scope, |working: &HeldWorking| {
            working.list(prefix, after.as_deref(), page.limit)
        }))
    }

    async fn increment(&self, scope: &Scope, request: &Increment) -> Result<Incremented> {
        self.0.write(scope, |working: &mut HeldWorking, now| {
            working.increment(request, self.0.next_version(), now)
        })
    }

    async fn clear(&self, scope: &Scope) -> Result<u64> {
        Ok(self.0.alter(scope, |working: &mut HeldWorking, _| std::mem::take(working).count()))
    }

    async fn restore(&self, scope: &Scope, request: &RestoreEntries) -> Result<Restored> {
        self.0.write(scope, |working: &mut HeldWorking, _| {
            // Before anything is written, so that no other writer gets one of them.
            request.entries.iter().for_each(|entry| self.0.pass_version(entry.version));
            working.restore(request)
        })
    }

    async fn statistics(&self, scope: &Scope) -> Result<WorkingStatistics> {
        Ok(self.0.read(scope, |working: &HeldWorking| WorkingStatistics {
            entries: working.count(),
            expiring: working.expiry.len() as u64,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, Option<u8>),
        Extend(u8, u8),
        Delete(u8),
        Increment(u8),
        Wait(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u8, proptest::option::of(1..9_u8)).prop_map(|(key, ttl)| Step::Put(key, ttl)),
            (0..4_u8, 1..9_u8).prop_map(|(key, by)| Step::Extend(key, by)),
            (0..4_u8).prop_map(Step::Delete),
            (0..4_u8).prop_map(Step::Increment),
            (1..5_u8).prop_map(Step::Wait),
        ]
    }

    fn millis(n: u8) -> Duration {
        Duration::from_millis(n.into())
    }

    proptest! {
        #[test]
        fn the_indexes_always_say_what_the_entries_say(
            steps in proptest::collection::vec(step(), 0..60),
        ) {
            let mut working = HeldWorking::default();
            let mut now = Timestamp::default();
            for (version, step) in (1..).zip(steps) {
                match step {
                    Step::Put(key, ttl) => {
                        let put = Put { ttl: ttl.map(millis), ..Put::new(key.to_string(), 1) };
                        working.put(&put, version, now);
                    }
                    Step::Extend(key, by) => working.extend(&key.to_string(), millis(by), now),
                    Step::Delete(key) => {
                        working.delete(&Delete::new(key.to_string())).unwrap();
                    }
                    Step::Increment(key) => {
                        let key = key.to_string();
                        let request = Increment { key, by: 1, initial_ttl: Some(millis(3)) };
                        working.increment(&request, version, now).unwrap();
                    }
                    Step::Wait(by) => now = now.saturating_add(millis(by)),
                }
                working.sweep(now);
                let keys: BTreeSet<_> = working.entries.keys().cloned().collect();
                prop_assert_eq!(&keys, &working.keys);
                let expiry: BTreeSet<_> = working
                    .entries
                    .iter()
                    .filter_map(|(key, slot)| Some((slot.written.expires_at?, Arc::clone(key))))
                    .collect();
                prop_assert_eq!(&expiry, &working.expiry);
                prop_assert!(expiry.iter().all(|(at, _)| *at > now));
            }
        }
    }
}
