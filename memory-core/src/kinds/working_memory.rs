//! `WORKING_MEMORY`: keyed values that expire (M4).

mod json;
mod render;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::render::EntryFormat;
use super::Context;
use super::strict::{at_least_one, ttl_seconds};
use crate::error::{Error, Result};
use crate::json::{Object, object};
use crate::limits::{Limits, MAX_TTL};
use crate::page::{Page, PageRequest};
use crate::scope::Scope;
use crate::tokens::TokenCounter;
use crate::working::{
    Delete, Entry, Get, GetMany, ListEntries, Put, PutCondition, PutMany, WorkingStatistics,
    WorkingStore, WorkingValue, Written,
};

/// How a [`WorkingMemory`] behaves. Times are in seconds in JSON, 0 for none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkingMemoryConfig {
    /// How long an entry lives that is stored without a time to live; none means for ever. Default
    /// one hour.
    #[serde(with = "ttl_seconds")]
    pub default_ttl: Option<Duration>,
    /// The longest time to live: a longer one, the default too, is cut to it, and the answer says
    /// so. An entry that is stored to live for ever does. Default 7 days.
    #[serde(with = "ttl_seconds")]
    pub max_ttl: Option<Duration>,
    /// Whether reading an entry by its key makes it live at least `default_ttl` from then (W4).
    /// Listings and contexts extend nothing. Default false.
    pub refresh_on_read: bool,
}

impl Default for WorkingMemoryConfig {
    fn default() -> Self {
        Self {
            default_ttl: Some(Duration::from_hours(1)),
            max_ttl: Some(Duration::from_hours(7 * 24)),
            refresh_on_read: false,
        }
    }
}

impl WorkingMemoryConfig {
    /// The defaults: an hour, at most 7 days.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long an entry lives that is stored without a time to live; none means for ever.
    #[must_use]
    pub fn with_default_ttl(mut self, ttl: Option<Duration>) -> Self {
        self.default_ttl = ttl;
        self
    }

    /// Sets the longest time to live.
    #[must_use]
    pub fn with_max_ttl(mut self, ttl: Option<Duration>) -> Self {
        self.max_ttl = ttl;
        self
    }

    /// Extends the expiry of what is read by its key, or does not.
    #[must_use]
    pub fn with_refresh_on_read(mut self, refresh_on_read: bool) -> Self {
        self.refresh_on_read = refresh_on_read;
        self
    }

    fn check(&self) -> Result<()> {
        for (key, ttl) in [("default_ttl", self.default_ttl), ("max_ttl", self.max_ttl)] {
            if ttl.is_some_and(|ttl| ttl > MAX_TTL) {
                return Err(Error::invalid_input(format!("{key} is longer than 100 years"))
                    .with_hint("give 0 for none"));
            }
        }
        if self.refresh_on_read && self.default_ttl.is_none() {
            return Err(Error::invalid_input("refresh_on_read without a default_ttl")
                .with_hint("set default_ttl to how long an entry lives after it is read"));
        }
        Ok(())
    }

    /// The time to live within `max_ttl`, and whether it was cut.
    fn capped(&self, ttl: Ttl) -> (Option<Duration>, bool) {
        let asked = match ttl {
            Ttl::Default => self.default_ttl,
            Ttl::Never => None,
            Ttl::For(ttl) => Some(ttl),
        };
        match (asked, self.max_ttl) {
            (Some(asked), Some(max)) if asked > max => (Some(max), true),
            _ => (asked, false),
        }
    }
}

/// How long an entry is to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ttl {
    /// As configured.
    #[default]
    Default,
    /// For ever.
    Never,
    /// From now.
    For(Duration),
}

/// An entry to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEntry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: WorkingValue,
    /// What to keep with it.
    pub metadata: Object,
    /// How long it lives.
    pub ttl: Ttl,
    /// What must hold (W3).
    pub condition: PutCondition,
}

impl NewEntry {
    /// `value` under `key`, whatever was there, for the configured time.
    pub fn new(key: impl Into<String>, value: impl Into<WorkingValue>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            metadata: Object::new(),
            ttl: Ttl::Default,
            condition: PutCondition::Always,
        }
    }

    /// `bytes` under `key`, whatever was there, for the configured time.
    pub fn bytes(key: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(key, WorkingValue::Bytes(bytes.into()))
    }

    /// Keeps metadata with the value.
    #[must_use]
    pub fn with_metadata<K: Into<String>, V: Into<Value>>(
        mut self,
        metadata: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.metadata = object(metadata);
        self
    }

    /// Says how long it lives.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = ttl;
        self
    }

    /// Stores it only under a condition.
    #[must_use]
    pub fn with_condition(mut self, condition: PutCondition) -> Self {
        self.condition = condition;
        self
    }
}

/// An entry that was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredEntry {
    /// Its key.
    pub key: String,
    /// Version and times.
    pub written: Written,
    /// How long it lives; none means for ever.
    pub ttl: Option<Duration>,
    /// Whether its time to live was cut to the configured longest.
    pub ttl_capped: bool,
}

/// Which entries a context shows, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntryWindow {
    /// How they are written.
    pub format: EntryFormat,
    /// The most entries, the first by key, at least 1; default 50.
    pub max_keys: usize,
    /// The most tokens, at least 1; none means any number.
    pub max_tokens: Option<u64>,
    /// Only keys that start with it.
    pub prefix: String,
}

impl Default for EntryWindow {
    fn default() -> Self {
        Self {
            format: EntryFormat::default(),
            max_keys: 50,
            max_tokens: None,
            prefix: String::new(),
        }
    }
}

impl EntryWindow {
    /// The first 50 entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes it in `format`.
    #[must_use]
    pub fn with_format(mut self, format: EntryFormat) -> Self {
        self.format = format;
        self
    }

    /// Limits the context to this many entries.
    #[must_use]
    pub fn with_max_keys(mut self, max_keys: usize) -> Self {
        self.max_keys = max_keys;
        self
    }

    /// Limits the context to this many tokens.
    #[must_use]
    pub fn with_max_tokens(mut self, max_tokens: u64) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// Shows only keys that start with `prefix`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }
}

/// Entries as text for a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryContext {
    /// The text; its items are entries. What it omitted is of the first `max_keys`.
    pub context: Context,
    /// Whether there are more than `max_keys`.
    pub more_keys: bool,
}

/// Keyed values that expire.
#[derive(Debug, Clone)]
pub struct WorkingMemory {
    scope: Scope,
    store: Arc<dyn WorkingStore>,
    counter: Arc<dyn TokenCounter>,
    config: WorkingMemoryConfig,
}

impl WorkingMemory {
    /// The working memory of `scope`.
    pub fn new(
        scope: Scope,
        store: Arc<dyn WorkingStore>,
        counter: Arc<dyn TokenCounter>,
        config: WorkingMemoryConfig,
    ) -> Result<Self> {
        config.check()?;
        Ok(Self { scope, store, counter, config })
    }

    /// Stores an entry.
    pub async fn store(&self, entry: NewEntry) -> Result<StoredEntry> {
        let (put, ttl_capped) = self.put(entry);
        let written = self.store.put(&self.scope, &put).await?;
        Ok(StoredEntry { key: put.key, written, ttl: put.ttl, ttl_capped })
    }

    /// Stores entries, all or none (W7).
    pub async fn store_many(&self, entries: Vec<NewEntry>) -> Result<Vec<StoredEntry>> {
        let (entries, capped): (Vec<Put>, Vec<bool>) =
            entries.into_iter().map(|entry| self.put(entry)).unzip();
        let request = PutMany { entries };
        let written = self.store.put_many(&self.scope, &request).await?;
        let stored = request.entries.into_iter().zip(written).zip(capped);
        Ok(stored
            .map(|((put, written), ttl_capped)| StoredEntry {
                key: put.key,
                written,
                ttl: put.ttl,
                ttl_capped,
            })
            .collect())
    }

    fn put(&self, entry: NewEntry) -> (Put, bool) {
        let (ttl, capped) = self.config.capped(entry.ttl);
        let NewEntry { key, value, metadata, condition, .. } = entry;
        (Put { key, value, metadata, ttl, condition }, capped)
    }

    /// Reads an entry.
    pub async fn get(&self, key: impl Into<String>) -> Result<Option<Entry>> {
        let request = Get { key: key.into(), extend: self.extend() };
        self.store.get(&self.scope, &request).await
    }

    /// Reads entries; missing keys are left out (W7).
    pub async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Entry>> {
        let request = GetMany { keys, extend: self.extend() };
        self.store.get_many(&self.scope, &request).await
    }

    fn extend(&self) -> Option<Duration> {
        let (ttl, _) = self.config.capped(Ttl::Default);
        ttl.filter(|_| self.config.refresh_on_read)
    }

    /// Lists entries by prefix, ascending by key (W5).
    pub async fn list(&self, prefix: impl Into<String>, page: PageRequest) -> Result<Page<Entry>> {
        let request = ListEntries { prefix: prefix.into(), page };
        self.store.list(&self.scope, &request).await
    }

    /// Writes entries as text for a model (M5).
    pub async fn context(&self, request: &EntryWindow) -> Result<EntryContext> {
        at_least_one("max_keys", u64::try_from(request.max_keys).unwrap_or(u64::MAX))?;
        request.max_tokens.map_or(Ok(()), |max| at_least_one("max_tokens", max))?;
        let limit = request.max_keys.min(Limits::CONTRACT.page_items);
        let page = self.list(request.prefix.as_str(), PageRequest::first(limit)).await?;
        let context =
            render::entries(&page.items, request.format, request.max_tokens, &*self.counter);
        Ok(EntryContext { context, more_keys: page.next.is_some() })
    }

    /// Removes an entry; says whether it was there.
    pub async fn delete(&self, key: impl Into<String>) -> Result<bool> {
        self.store.delete(&self.scope, &Delete::new(key)).await
    }

    /// Removes all entries and returns how many.
    pub async fn clear(&self) -> Result<u64> {
        self.store.clear(&self.scope).await
    }

    /// Reads the statistics.
    pub async fn statistics(&self) -> Result<WorkingStatistics> {
        self.store.statistics(&self.scope).await
    }
}
