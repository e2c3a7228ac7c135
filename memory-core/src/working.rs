//! Working memory: keyed values that expire (contract, section W).

pub(crate) mod value;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::value::WorkingValue;
use crate::capability::{Feature, not_claimed};
use crate::error::{Error, Result};
use crate::json::{Object, object};
use crate::limits::Limits;
use crate::operation as op;
use crate::page::{Cursor, Page, PageRequest};
use crate::restore::{RestoreEntries, Restored};
use crate::scope::Scope;
use crate::time::Timestamp;

/// A value as the store keeps it (W1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// The value.
    #[serde(flatten)]
    pub value: WorkingValue,
    /// The metadata.
    pub metadata: Object,
    /// Changes with every put and increment, and never comes back for a key (W3).
    pub version: u64,
    /// When the key was first put, since it last did not exist.
    pub created_at: Timestamp,
    /// When it was last put or incremented.
    pub updated_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

impl Entry {
    /// Whether it has not expired at `now` (W2).
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires_at| expires_at > now)
    }
}

/// The condition of a put (W3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PutCondition {
    /// Nothing.
    #[default]
    Always,
    /// The key does not exist.
    IfAbsent,
    /// The entry is at this version; at 0, the key does not exist, as
    /// [`Error::current_version`](crate::Error::current_version) says 0 of it.
    IfVersion(u64),
}

impl PutCondition {
    /// Returns whether it holds for an entry at `version`, none for a key that does not exist.
    pub fn holds(self, version: Option<u64>) -> bool {
        match self {
            Self::Always => true,
            Self::IfAbsent | Self::IfVersion(0) => version.is_none(),
            Self::IfVersion(wanted) => version == Some(wanted),
        }
    }
}

/// Stores a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Put {
    /// The key.
    pub key: String,
    /// The value.
    pub value: WorkingValue,
    /// The metadata.
    pub metadata: Object,
    /// The time to live from now, 1 ms to 100 years; none means for ever (W2).
    pub ttl: Option<Duration>,
    /// The condition.
    pub condition: PutCondition,
}

impl Put {
    /// Stores `value` for ever, whatever was there.
    pub fn new(key: impl Into<String>, value: impl Into<WorkingValue>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            metadata: Object::new(),
            ttl: None,
            condition: PutCondition::Always,
        }
    }

    /// Stores bytes for ever, whatever was there.
    pub fn bytes(key: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(key, WorkingValue::Bytes(bytes.into()))
    }

    /// Lets it expire.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
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

    /// Puts only under a condition.
    #[must_use]
    pub fn with_condition(mut self, condition: PutCondition) -> Self {
        self.condition = condition;
        self
    }

    /// The same put with `IfAbsent` in place of `IfVersion(0)`, so that no driver sees the latter;
    /// none for any other condition.
    pub(crate) fn normalized(&self) -> Option<Self> {
        (self.condition == PutCondition::IfVersion(0))
            .then(|| self.clone().with_condition(PutCondition::IfAbsent))
    }
}

/// Stores values in one round trip, all or none (W7, G5). Their keys differ from each other.
#[derive(Debug, Clone, PartialEq)]
pub struct PutMany {
    /// 1 to 1,000 puts.
    pub entries: Vec<Put>,
}

impl PutMany {
    /// Stores `entries`, all or none.
    pub fn new(entries: Vec<Put>) -> Self {
        Self { entries }
    }

    /// As for [`Put`].
    pub(crate) fn normalized(&self) -> Option<Self> {
        let alias = |put: &Put| put.condition == PutCondition::IfVersion(0);
        self.entries.iter().any(alias).then(|| Self {
            entries: self
                .entries
                .iter()
                .map(|put| put.normalized().unwrap_or_else(|| put.clone()))
                .collect(),
        })
    }
}

/// An entry that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its new version.
    pub version: u64,
    /// When the key was first put, since it last did not exist.
    pub created_at: Timestamp,
    /// When it was written.
    pub updated_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

impl Written {
    /// The version and times of `entry`.
    pub fn of(entry: &Entry) -> Self {
        Self {
            version: entry.version,
            created_at: entry.created_at,
            updated_at: entry.updated_at,
            expires_at: entry.expires_at,
        }
    }
}

/// Reads a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Get {
    /// The key.
    pub key: String,
    /// Where given, an entry that expires lives at least this long from now (W4). An entry that
    /// never expires stays so, and no expiry is brought forward.
    pub extend: Option<Duration>,
}

impl Get {
    /// Reads `key` and leaves its expiry alone.
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), extend: None }
    }

    /// Lets an entry that expires live at least so long from now (W4).
    #[must_use]
    pub fn with_extend(mut self, extend: Duration) -> Self {
        self.extend = Some(extend);
        self
    }
}

/// Reads values in one round trip (W7). Values past 64 MiB in all are `InvalidInput`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetMany {
    /// 1 to 1,000 keys.
    pub keys: Vec<String>,
    /// As in [`Get`].
    pub extend: Option<Duration>,
}

impl GetMany {
    /// Reads `keys` and leaves their expiry alone.
    pub fn new<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self { keys: keys.into_iter().map(Into::into).collect(), extend: None }
    }

    /// For drivers: refuses an answer whose values have more `bytes` in all than a batch may (W7).
    pub fn check_answer(&self, bytes: usize) -> Result<()> {
        let limit = Limits::CONTRACT.batch_bytes;
        if bytes <= limit {
            return Ok(());
        }
        Err(Error::invalid_input(format!(
            "the values of the {} keys have more than {limit} bytes in all",
            self.keys.len()
        ))
        .with_hint("read fewer keys at once"))
    }

    /// Lets entries that expire live at least so long from now (W4).
    #[must_use]
    pub fn with_extend(mut self, extend: Duration) -> Self {
        self.extend = Some(extend);
        self
    }
}

/// Deletes a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The key.
    pub key: String,
    /// Only at this version, else `Conflict`; a key that does not exist is not a conflict (G9).
    pub if_version: Option<u64>,
}

impl Delete {
    /// Deletes `key` at whatever version.
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), if_version: None }
    }

    /// Deletes only at this version.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        self.if_version = Some(version);
        self
    }
}

/// Lists entries whose key starts with a prefix, ascending by the bytes of the key (W5). A page
/// ends early where its values would pass 64 MiB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListEntries {
    /// The prefix, every character of it literal; empty for all. At most 255 bytes, no control
    /// characters.
    pub prefix: String,
    /// Which part.
    pub page: PageRequest,
}

impl ListEntries {
    /// Lists the entries whose keys start with `prefix`.
    pub fn new(prefix: impl Into<String>, page: PageRequest) -> Self {
        Self { prefix: prefix.into(), page }
    }
}

/// For drivers: a page of entries in the making. It ends where the values would pass 64 MiB, but
/// holds one entry at least (W5).
#[derive(Debug)]
pub struct EntryPage {
    limit: usize,
    bytes: usize,
    items: Vec<Entry>,
    more: bool,
}

impl EntryPage {
    /// A page of up to `limit` entries.
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, items: Vec::new(), more: false }
    }

    /// Returns whether the next entry, with a value of `bytes`, belongs to this page. Where it does
    /// not, the page ends before it.
    pub fn takes(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        let fits = self.bytes <= Limits::CONTRACT.batch_bytes || self.items.is_empty();
        self.more = self.items.len() == self.limit || !fits;
        !self.more
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: Entry) {
        self.items.push(entry);
    }

    /// Returns the page.
    pub fn finish(self) -> Page<Entry> {
        let last = self.items.last().filter(|_| self.more);
        let next = last.map(|last| Cursor::new(op::LIST_ENTRIES, last.key.as_str()));
        Page { items: self.items, next }
    }
}

/// Adds to an integer (W6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Increment {
    /// The key. One that does not exist counts from 0.
    pub key: String,
    /// The number to add; negative to subtract.
    pub by: i64,
    /// The time to live of a key that did not exist; one that did keeps its expiry.
    pub initial_ttl: Option<Duration>,
}

impl Increment {
    /// Adds `by` to `key`, which lives for ever where it did not exist.
    pub fn new(key: impl Into<String>, by: i64) -> Self {
        Self { key: key.into(), by, initial_ttl: None }
    }

    /// Lets a key that did not exist expire.
    #[must_use]
    pub fn with_initial_ttl(mut self, ttl: Duration) -> Self {
        self.initial_ttl = Some(ttl);
        self
    }
}

/// A counter that was incremented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incremented {
    /// Its value now.
    pub value: i64,
    /// The entry as written.
    #[serde(flatten)]
    pub written: Written,
}

/// The statistics of a scope's working memory, without expired entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkingStatistics {
    /// Entries.
    pub entries: u64,
    /// Entries that will expire.
    pub expiring: u64,
}

/// Stores working memory. Every request has passed core's checks when a driver sees it (E4).
#[async_trait]
pub trait WorkingStore: Send + Sync + std::fmt::Debug {
    /// Stores a value (W2, W3).
    async fn put(&self, scope: &Scope, request: &Put) -> Result<Written>;

    /// Stores values, all or none, and answers in their order (W7).
    async fn put_many(&self, scope: &Scope, request: &PutMany) -> Result<Vec<Written>>;

    /// Reads a value (W4).
    async fn get(&self, scope: &Scope, request: &Get) -> Result<Option<Entry>>;

    /// Reads values in the order of the keys; missing keys are left out (W7).
    async fn get_many(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>>;

    /// Deletes a value; says whether it was there (W3, G9).
    async fn delete(&self, scope: &Scope, request: &Delete) -> Result<bool>;

    /// Lists entries (W5).
    async fn list(&self, scope: &Scope, request: &ListEntries) -> Result<Page<Entry>>;

    /// Adds to an integer (W6).
    async fn increment(&self, scope: &Scope, request: &Increment) -> Result<Incremented>;

    /// Removes all of the scope's entries and returns how many were live.
    async fn clear(&self, scope: &Scope) -> Result<u64>;

    /// Writes entries back as they were read elsewhere, all or none (W9). A store that does not claim
    /// [`Feature::Restoring`](crate::Feature::Restoring) leaves it out.
    async fn restore(&self, _: &Scope, _: &RestoreEntries) -> Result<Restored> {
        Err(not_claimed(Feature::Restoring))
    }

    /// Returns the scope's statistics.
    async fn statistics(&self, scope: &Scope) -> Result<WorkingStatistics>;
}
