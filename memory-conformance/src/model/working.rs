//! Working memory (section W).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use memquill_core::{
    Clock, Delete, Entry, Get, GetMany, Increment, Incremented, Limits, ListEntries, Page, Put,
    PutCondition, PutMany, RestoreEntries, Restored, Result, Scope, Timestamp, WorkingStatistics,
    WorkingStore, Written, conflict, operation,
};

use super::{is_live, lock, next_items};

/// Working memory in lists.
#[derive(Debug)]
pub(crate) struct Working {
    clock: Arc<dyn Clock>,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct State {
    pub(super) entries: BTreeMap<(Scope, String), Entry>,
    /// Versions to give next, as the driver gave them.
    versions: VecDeque<u64>,
    last_version: u64,
}

impl Working {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Gives these versions to the entries written next.
    pub(crate) fn give(&self, versions: impl IntoIterator<Item = u64>) {
        lock(&self.state).versions = versions.into_iter().collect();
    }

    fn live(&self, scope: &Scope) -> Vec<Entry> {
        lock(&self.state).live(scope, self.clock.now())
    }
}

impl State {
    fn live(&self, scope: &Scope, now: Timestamp) -> Vec<Entry> {
        let of_scope = self.entries.iter().filter(|((of, _), _)| of == scope);
        of_scope.map(|(_, entry)| entry).filter(|e| is_live(e.expires_at, now)).cloned().collect()
    }

    fn entry(&mut self, scope: &Scope, key: &str, now: Timestamp) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(&(scope.clone(), key.to_owned()));
        entry.filter(|entry| is_live(entry.expires_at, now))
    }

    fn put(&mut self, scope: &Scope, put: &Put, now: Timestamp) -> Result<Written> {
        let stored = self.entry(scope, &put.key, now).cloned();
        let version = stored.as_ref().map(|entry| entry.version);
        if !put.condition.holds(version) {
            return Err(conflict::stale_version(&put.key, version));
        }
        let entry = Entry {
            key: put.key.clone(),
            value: put.value.clone(),
            metadata: put.metadata.clone(),
            version: self.next_version(),
            created_at: stored.map_or(now, |entry| entry.created_at),
            updated_at: now,
            expires_at: put.ttl.map(|ttl| now.saturating_add(ttl)),
        };
        let written = Written::of(&entry);
        self.entries.insert((scope.clone(), put.key.clone()), entry);
        Ok(written)
    }

    fn get(
        &mut self,
        scope: &Scope,
        key: &str,
        extend: Option<Duration>,
        now: Timestamp,
    ) -> Option<Entry> {
        let entry = self.entry(scope, key, now)?;
        if let (Some(extend), Some(expires_at)) = (extend, entry.expires_at) {
            entry.expires_at = Some(expires_at.max(now.saturating_add(extend)));
        }
        Some(entry.clone())
    }

    fn next_version(&mut self) -> u64 {
        let next = self.versions.pop_front().unwrap_or(self.last_version + 1);
        self.last_version = self.last_version.max(next);
        next
    }
}

#[async_trait]
impl WorkingStore for Working {
    async fn put(&self, scope: &Scope, request: &Put) -> Result<Written> {
        lock(&self.state).put(scope, request, self.clock.now())
    }

    async fn put_many(&self, scope: &Scope, request: &PutMany) -> Result<Vec<Written>> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let mut after = state.clone();
        let written: Result<Vec<Written>> =
            request.entries.iter().map(|put| after.put(scope, put, now)).collect();
        if written.is_ok() {
            *state = after;
        }
        written
    }

    async fn get(&self, scope: &Scope, request: &Get) -> Result<Option<Entry>> {
        let now = self.clock.now();
        Ok(lock(&self.state).get(scope, &request.key, request.extend, now))
    }

    async fn get_many(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let held =
            request.keys.iter().filter_map(|key| state.entries.get(&(scope.clone(), key.clone())));
        let live = held.filter(|entry| is_live(entry.expires_at, now));
        request.check_answer(live.map(|entry| entry.value.size()).sum())?;
        Ok(request.keys.iter().filter_map(|k| state.get(scope, k, request.extend, now)).collect())
    }

    async fn delete(&self, scope: &Scope, request: &Delete) -> Result<bool> {
        let mut state = lock(&self.state);
        let Some(entry) = state.entry(scope, &request.key, self.clock.now()) else {
            return Ok(false);
        };
        if request.if_version.is_some_and(|wanted| wanted != entry.version) {
            return Err(conflict::stale_version(&request.key, Some(entry.version)));
        }
        Ok(state.entries.remove(&(scope.clone(), request.key.clone())).is_some())
    }

    async fn list(&self, scope: &Scope, request: &ListEntries) -> Result<Page<Entry>> {
        let mut all = self.live(scope);
        all.retain(|entry| entry.key.starts_with(&request.prefix));
        let position = request.page.position(operation::LIST_ENTRIES)?;
        let items = next_items(all, position, request.page.limit, |entry| &entry.key);
        // A page ends before the values are too many bytes (W5).
        let mut bytes = 0;
        let fit = items.iter().take_while(|entry| {
            bytes += entry.value.size();
            bytes <= Limits::CONTRACT.batch_bytes
        });
        let limit = request.page.limit.min(fit.count().max(1));
        Ok(Page::cut(items, limit, operation::LIST_ENTRIES, |entry| &entry.key))
    }

    async fn increment(&self, scope: &Scope, request: &Increment) -> Result<Incremented> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let Some(stored) = state.entry(scope, &request.key, now).cloned() else {
            let put = Put {
                ttl: request.initial_ttl,
                condition: PutCondition::Always,
                ..Put::new(request.key.clone(), request.by)
            };
            return Ok(Incremented { value: request.by, written: state.put(scope, &put, now)? });
        };
        let value = stored.value.as_i64().ok_or_else(|| conflict::not_an_integer(request))?;
        let value =
            value.checked_add(request.by).ok_or_else(|| conflict::counter_overflow(request))?;
        let version = state.next_version();
        let entry = Entry { value: value.into(), version, updated_at: now, ..stored };
        let incremented = Incremented { value, written: Written::of(&entry) };
        state.entries.insert((scope.clone(), request.key.clone()), entry);
        Ok(incremented)
    }

    async fn clear(&self, scope: &Scope) -> Result<u64> {
        let mut state = lock(&self.state);
        let live = state.live(scope, self.clock.now()).len() as u64;
        state.entries.retain(|(of, _), _| of != scope);
        Ok(live)
    }

    async fn restore(&self, scope: &Scope, request: &RestoreEntries) -> Result<Restored> {
        let mut state = lock(&self.state);
        let live = state.live(scope, self.clock.now());
        let mut to_write = Vec::new();
        for entry in &request.entries {
            if request.must_write(entry, live.iter().find(|held| held.key == entry.key))? {
                to_write.push(entry.clone());
            }
        }
        let restored = Restored::of(request.entries.len(), to_write.len());
        for entry in to_write {
            state.last_version = state.last_version.max(entry.version);
            state.entries.insert((scope.clone(), entry.key.clone()), entry);
        }
        Ok(restored)
    }

    async fn statistics(&self, scope: &Scope) -> Result<WorkingStatistics> {
        let live = self.live(scope);
        Ok(WorkingStatistics {
            entries: live.len() as u64,
            expiring: live.iter().filter(|entry| entry.expires_at.is_some()).count() as u64,
        })
    }
}
