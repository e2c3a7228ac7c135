//! The cache of working memory.

use std::sync::Arc;

use async_trait::async_trait;

use super::form::CacheEntry;
use super::items::{Item, Items};
use crate::capability::Facet;
use crate::error::Result;
use crate::limits::Limits;
use crate::page::Page;
use crate::request::Request as _;
use crate::restore::{RestoreEntries, Restored};
use crate::scope::Scope;
use crate::working::{
    Delete, Entry, Get, GetMany, Increment, Incremented, ListEntries, Put, PutMany,
    WorkingStatistics, WorkingStore, Written,
};

#[derive(Debug)]
pub(super) struct CachedWorking {
    pub(super) items: Arc<Items>,
    pub(super) inner: Arc<dyn WorkingStore>,
    pub(super) limits: Limits,
}

fn item<'a>(scope: &'a Scope, key: &'a str) -> Item<'a> {
    Item { facet: Facet::Working, scope, name: key }
}

fn entry_of(kept: &CacheEntry) -> Option<&Entry> {
    match kept {
        CacheEntry::Entry(entry) => Some(entry),
        CacheEntry::Window(_) => None,
    }
}

fn entry(put: &Put, written: &Written) -> CacheEntry {
    CacheEntry::Entry(Entry {
        key: put.key.clone(),
        value: put.value.clone(),
        metadata: put.metadata.clone(),
        version: written.version,
        created_at: written.created_at,
        updated_at: written.updated_at,
        expires_at: written.expires_at,
    })
}

impl CachedWorking {
    /// All the entries, where they are kept, came with one answer of the store, and are not so large
    /// in all that the store may refuse them (W7).
    fn held_together(&self, scope: &Scope, keys: &[String]) -> Option<Vec<Entry>> {
        let now = self.items.now();
        let (mut together, mut bytes) = (None, 0_usize);
        let entries = keys.iter().map(|key| {
            let item = item(scope, key);
            let token = self.items.token(item, now)?;
            self.items.held(item, token, now, |kept, answer| {
                let same = *together.get_or_insert(answer) == answer;
                bytes = bytes.saturating_add(kept.bytes());
                let fits = bytes <= Limits::CONTRACT.batch_bytes;
                entry_of(kept).filter(|_| same && fits).cloned()
            })
        });
        entries.collect()
    }

    async fn get_from_store(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>> {
        let now = self.items.now();
        let tickets: Vec<_> =
            request.keys.iter().map(|key| self.items.token(item(scope, key), now)).collect();
        let found = self.inner.get_many(scope, request).await?;
        let answer = self.items.answer(now);
        let mut rest = found.iter();
        let mut next = rest.next();
        for (key, token) in request.keys.iter().zip(tickets) {
            // What was found stands in the order of the keys.
            let Some(entry) = next.filter(|entry| entry.key == *key) else { continue };
            if let Some(token) = token {
                self.items.keep(item(scope, key), token, answer, CacheEntry::Entry(entry.clone()));
            }
            next = rest.next();
        }
        Ok(found)
    }

    /// Puts are written through.
    async fn written(
        &self,
        scope: &Scope,
        puts: &[Put],
        call: impl Future<Output = Result<Vec<Written>>> + Send,
    ) -> Result<Vec<Written>> {
        let before = self.items.now();
        let writing = self.items.write(puts.iter().map(|put| item(scope, &put.key)).collect());
        let result = call.await;
        let tickets = writing.finish(&result).await;
        let written = result?;
        if let Some(first) = written.first() {
            self.items.time.reported(first.updated_at, before);
        }
        let answer = self.items.answer(before);
        for ((put, written), token) in puts.iter().zip(&written).zip(tickets) {
            if let Some(token) = token {
                self.items.keep(item(scope, &put.key), token, answer, entry(put, written));
            }
        }
        Ok(written)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl WorkingStore for CachedWorking {
    async fn put(&self, scope: &Scope, request: &Put) -> Result<Written> {
        let call = async { Ok(vec![self.inner.put(scope, request).await?]) };
        let written = self.written(scope, std::slice::from_ref(request), call).await?;
        written.into_iter().next().ok_or_else(|| crate::Error::internal("nothing was written"))
    }

    async fn put_many(&self, scope: &Scope, request: &PutMany) -> Result<Vec<Written>> {
        self.written(scope, &request.entries, self.inner.put_many(scope, request)).await
    }

    async fn get(&self, scope: &Scope, request: &Get) -> Result<Option<Entry>> {
        let item = item(scope, &request.key);
        let now = self.items.now();
        if request.extend.is_some() {
            let writing = self.items.write(vec![item]);
            let result = self.inner.get(scope, request).await;
            let tickets = writing.finish(&result).await;
            let found = result?;
            if let (Some(entry), Some(Some(token))) = (&found, tickets.first()) {
                let answer = self.items.answer(now);
                self.items.keep(item, *token, answer, CacheEntry::Entry(entry.clone()));
            }
            return Ok(found);
        }
        let Some(token) = self.items.token(item, now) else {
            return self.inner.get(scope, request).await;
        };
        if let Some(entry) = self.items.held(item, token, now, |kept, _| entry_of(kept).cloned()) {
            return Ok(Some(entry));
        }
        let (shared, lease) = self.items.look_up(item).await;
        let answer = self.items.answer(now);
        if let Some(kept @ CacheEntry::Entry(_)) = shared {
            let entry = entry_of(&kept).cloned();
            self.items.keep(item, token, answer, kept);
            return Ok(entry);
        }
        let found = self.inner.get(scope, request).await?;
        if let Some(entry) = &found {
            let kept = CacheEntry::Entry(entry.clone());
            self.items.share(item, lease, &kept).await;
            self.items.keep(item, token, answer, kept);
        }
        Ok(found)
    }

    async fn get_many(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>> {
        if request.extend.is_some() {
            let items = request.keys.iter().map(|key| item(scope, key)).collect();
            let writing = self.items.write(items);
            let result = self.inner.get_many(scope, request).await;
            writing.finish(&result).await;
            return result;
        }
        if request.check(&self.limits).is_ok()
            && let Some(entries) = self.held_together(scope, &request.keys)
        {
            return Ok(entries);
        }
        self.get_from_store(scope, request).await
    }

    async fn delete(&self, scope: &Scope, request: &Delete) -> Result<bool> {
        let writing = self.items.write(vec![item(scope, &request.key)]);
        let result = self.inner.delete(scope, request).await;
        writing.finish(&result).await;
        result
    }

    async fn list(&self, scope: &Scope, request: &ListEntries) -> Result<Page<Entry>> {
        self.inner.list(scope, request).await
    }

    async fn increment(&self, scope: &Scope, request: &Increment) -> Result<Incremented> {
        let before = self.items.now();
        let writing = self.items.write(vec![item(scope, &request.key)]);
        let result = self.inner.increment(scope, request).await;
        writing.finish(&result).await;
        if let Ok(incremented) = &result {
            self.items.time.reported(incremented.written.updated_at, before);
        }
        result
    }

    /// Ends what is kept of the user's other nodes too: a shared stripe is cheaper than one for each.
    async fn clear(&self, scope: &Scope) -> Result<u64> {
        let writing = self.items.write_all_of(scope.user());
        let result = self.inner.clear(scope).await;
        let forgotten = writing.finish_all(&result).await;
        // Other processes see it late then, as the module says; this one does not.
        drop(forgotten);
        result
    }

    async fn restore(&self, scope: &Scope, request: &RestoreEntries) -> Result<Restored> {
        let items = request.entries.iter().map(|entry| item(scope, &entry.key)).collect();
        let writing = self.items.write(items);
        let result = self.inner.restore(scope, request).await;
        writing.finish(&result).await;
        result
    }

    async fn statistics(&self, scope: &Scope) -> Result<WorkingStatistics> {
        self.inner.statistics(scope).await
    }
}
