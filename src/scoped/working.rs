//! The working memory.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use memquill_core::json::{self, Object};
use memquill_core::kinds::{WorkingMemory, WorkingMemoryConfig};
use memquill_core::stream::{self, Items};
use memquill_core::{
    Delete, Entry, Error, ErrorKind, Get, GetMany, Increment, Put, PutCondition, Result,
    WorkingStatistics, WorkingValue, Written,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ScopedMemory;

/// How often [`Working::update`] tries. Each failure means that another writer was faster.
const ATTEMPTS: usize = 32;

/// The working memory of a [`ScopedMemory`]: values by key, which live for ever unless
/// [`with_ttl`](Self::with_ttl) or [`SetValue::with_ttl`] says otherwise.
///
/// ```
/// use std::time::Duration;
/// use memquill::Memory;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let working = Memory::connect("memory:").await?.scope("alice", "support-bot")?.working();
/// working.set("cart", vec!["apples"]).with_ttl(Duration::from_secs(3600)).await?;
/// let cart = working
///     .update("cart", |cart: Option<Vec<String>>| {
///         let mut cart = cart.unwrap_or_default();
///         cart.push("pears".into());
///         cart
///     })
///     .await?;
/// assert_eq!(cart, ["apples", "pears"]);
/// assert_eq!(working.increment("orders", 1).await?, 1);
/// # Ok::<(), memquill::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Working {
    scoped: ScopedMemory,
    ttl: Option<Duration>,
}

impl Working {
    pub(super) fn new(scoped: ScopedMemory) -> Self {
        Self { scoped, ttl: None }
    }

    /// Lets what is written through this handle expire after `ttl`, unless the write says
    /// otherwise.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets `key` to a value, whatever was there, when the answer is awaited.
    pub fn set(&self, key: impl Into<String>, value: impl Serialize) -> SetValue {
        let put = to_json(value).map(|value| Put { ttl: self.ttl, ..Put::new(key, value) });
        SetValue { working: self.clone(), put }
    }

    /// Sets `key` to bytes, whatever was there, when the answer is awaited.
    pub fn set_bytes(&self, key: impl Into<String>, bytes: impl Into<Vec<u8>>) -> SetValue {
        let put = Put { ttl: self.ttl, ..Put::bytes(key, bytes) };
        SetValue { working: self.clone(), put: Ok(put) }
    }

    /// Reads bytes; none where there is no value. JSON is `InvalidInput`.
    pub async fn get_bytes(&self, key: impl Into<String>) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(key).await? else { return Ok(None) };
        match entry.value {
            WorkingValue::Bytes(bytes) => Ok(Some(bytes)),
            WorkingValue::Json(_) => {
                let problem = format!("the value of {:?} is JSON, not bytes", entry.key);
                Err(Error::invalid_input(problem).with_hint("read it with get"))
            }
        }
    }

    /// Reads a value; none where there is none. One that is no `T` is `InvalidInput`, as bytes are.
    pub async fn get<T: DeserializeOwned>(&self, key: impl Into<String>) -> Result<Option<T>> {
        self.entry(key).await?.map(|entry| from_json(&entry.key, entry.value)).transpose()
    }

    /// Reads a value with its version, times and metadata.
    pub async fn entry(&self, key: impl Into<String>) -> Result<Option<Entry>> {
        self.scoped.memory.working()?.get(&self.scoped.scope, &Get::new(key)).await
    }

    /// Reads up to 1,000 entries, in the order of the keys; missing ones are left out (W7).
    pub async fn get_many<K: Into<String>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Entry>> {
        let request = GetMany::new(keys);
        self.scoped.memory.working()?.get_many(&self.scoped.scope, &request).await
    }

    /// Replaces a JSON value by what `change` makes of it, none where there is none, and returns the new
    /// one. No change of another writer is lost: where one came between, `change` is called again
    /// with what is there then, up to 32 times; then the last `Conflict` is returned.
    ///
    /// The entry keeps its metadata, and expires as if it were set anew.
    pub async fn update<T>(
        &self,
        key: impl Into<String>,
        mut change: impl FnMut(Option<T>) -> T + Send,
    ) -> Result<T>
    where
        T: Serialize + DeserializeOwned + Send,
    {
        let key = key.into();
        let mut attempt = 1;
        loop {
            let old = self.entry(key.as_str()).await?;
            let (version, metadata) = old
                .as_ref()
                .map_or_else(Default::default, |old| (old.version, old.metadata.clone()));
            let old = old.map(|old| from_json(&key, old.value)).transpose()?;
            let new = change(old);
            let set = self.set(key.as_str(), &new).if_version(version).with_metadata(metadata);
            match set.await {
                Ok(_) => return Ok(new),
                Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds to a counter, negative to subtract, and returns its value; atomic over any number of
    /// writers (W6). A key that does not exist counts from 0; one that does keeps its expiry.
    pub async fn increment(&self, key: impl Into<String>, by: i64) -> Result<i64> {
        let request = Increment { initial_ttl: self.ttl, ..Increment::new(key, by) };
        Ok(self.scoped.memory.working()?.increment(&self.scoped.scope, &request).await?.value)
    }

    /// Deletes a value; says whether it was there.
    pub async fn delete(&self, key: impl Into<String>) -> Result<bool> {
        self.scoped.memory.working()?.delete(&self.scoped.scope, &Delete::new(key)).await
    }

    /// Streams the entries whose keys start with `prefix`, ascending by key (W5).
    pub fn entries(&self, prefix: impl Into<String>) -> Items<Entry> {
        match self.scoped.memory.working() {
            Ok(store) => stream::entries(store, &self.scoped.scope, prefix),
            Err(error) => stream::failed(error),
        }
    }

    /// Removes all entries and returns how many.
    pub async fn clear(&self) -> Result<u64> {
        self.scoped.memory.working()?.clear(&self.scoped.scope).await
    }

    /// Returns the statistics.
    pub async fn statistics(&self) -> Result<WorkingStatistics> {
        self.scoped.memory.working()?.statistics(&self.scoped.scope).await
    }

    /// Returns the memory kind under this handle, as a workflow node has it; its values live as
    /// long as those of the handle.
    pub fn kind(&self) -> Result<WorkingMemory> {
        let ScopedMemory { memory, scope } = &self.scoped;
        let (store, counter) = (Arc::clone(memory.working()?), Arc::clone(memory.counter()));
        let config = WorkingMemoryConfig {
            default_ttl: self.ttl,
            max_ttl: None,
            ..WorkingMemoryConfig::default()
        };
        WorkingMemory::new(scope.clone(), store, counter, config)
    }
}

fn to_json(value: impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| {
        Error::invalid_input(format!(
            "the value is not JSON: {}",
            json::in_plain_words(&error.to_string())
        ))
        .with_hint("the keys of a map must be text")
    })
}

fn from_json<T: DeserializeOwned>(key: &str, value: WorkingValue) -> Result<T> {
    let WorkingValue::Json(value) = value else {
        return Err(Error::invalid_input(format!("the value of {key:?} is bytes, not JSON"))
            .with_hint("read it with get_bytes"));
    };
    T::deserialize(value).map_err(|error| {
        let problem = json::in_plain_words(&error.to_string());
        Error::invalid_input(format!("the value of {key:?} has another type: {problem}"))
            .with_hint("read it as the type that it was set as, or as serde_json::Value")
    })
}

/// A value to be set in [`Working`]: await it.
#[derive(Debug, Clone)]
#[must_use = "nothing is set before it is awaited"]
pub struct SetValue {
    working: Working,
    /// What is wrong with the value, else the request.
    put: Result<Put>,
}

impl SetValue {
    fn change(mut self, change: impl FnOnce(&mut Put)) -> Self {
        if let Ok(put) = &mut self.put {
            change(put);
        }
        self
    }

    /// Lets the value expire after `ttl`.
    pub fn with_ttl(self, ttl: Duration) -> Self {
        self.change(|put| put.ttl = Some(ttl))
    }

    /// Keeps metadata with the value.
    pub fn with_metadata(self, metadata: Object) -> Self {
        self.change(|put| put.metadata = metadata)
    }

    /// Sets it only where the key does not exist, else `Conflict` (W3).
    pub fn if_absent(self) -> Self {
        self.change(|put| put.condition = PutCondition::IfAbsent)
    }

    /// Sets it only where the entry is at `version`, or does not exist at 0, else `Conflict` (W3).
    pub fn if_version(self, version: u64) -> Self {
        self.change(|put| put.condition = PutCondition::IfVersion(version))
    }
}

impl IntoFuture for SetValue {
    type Output = Result<Written>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let ScopedMemory { memory, scope } = &self.working.scoped;
            memory.working()?.put(scope, &self.put?).await
        }
        .boxed()
    }
}
