//! The second level of caches that processes share.
//!
//! An item is a lease or a value, each marked with the epoch of its user. To forget an item is to
//! remove it, lease or value; to forget a user is to remove the epoch, so that nothing marked with
//! it is found again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use memquill_core::{Error, Lease, Lookup, Result, Scope, SharedCache, SharedKey};
use redis::Value;

use crate::codec::{self, Reply};
use crate::connection::{Script, script};
use crate::keys::CacheKeys;
use crate::store::Store;

// These do not wait for replicas: readers fetch from the store again what a failover loses here.
static LOOK_UP: Script = script!(reading, "cache/look_up");
static KEEP: Script = script!(reading, "cache/keep");
// This one does, where writes do: a failover must not bring forgotten items back.
static FORGET: Script = script!(writing, "cache/forget");

/// The longest time, in s, between a reader's look-up and what it then keeps.
const LEASE_DURATION: Duration = Duration::from_secs(10);

/// A store that serves as a shared cache.
#[derive(Debug)]
pub(crate) struct RedisCache(pub(crate) Arc<Store>);

#[async_trait]
impl SharedCache for RedisCache {
    async fn look_up(&self, key: SharedKey<'_>) -> Result<Lookup> {
        let names = self.names(key);
        let answer = self.0.run(&LOOK_UP, &names, |call| {
            call.arg(LEASE_DURATION.as_millis().to_string());
        });
        let mut reply = Reply::new(answer.await?)?;
        let found = reply.number::<u8>()? == 1;
        match reply.next()? {
            Value::BulkString(value) if found => Ok(Lookup::Found(value)),
            lease => Ok(Lookup::Missing(Lease(codec::text(lease)?))),
        }
    }

    async fn keep(
        &self,
        key: SharedKey<'_>,
        Lease(lease): &Lease,
        value: &[u8],
        ttl: Duration,
    ) -> Result<bool> {
        let names = self.names(key);
        let kept = self.0.run(&KEEP, &names, |call| {
            call.arg(lease).arg(ttl.as_millis().max(1).to_string()).arg(value);
        });
        Ok(codec::number::<u8>(&kept.await?)? == 1)
    }

    async fn forget(&self, scope: Option<&Scope>, names: &[&str]) -> Result<()> {
        let keys = CacheKeys::new(&self.0.prefix, scope);
        let items: Vec<String> = names.iter().map(|name| keys.item(name)).collect();
        if items.is_empty() { Ok(()) } else { self.remove(&items).await }
    }

    async fn forget_user(&self, user: &str) -> Result<()> {
        self.remove(&[CacheKeys::of_user(&self.0.prefix, user).epoch()]).await
    }
}

impl RedisCache {
    fn names(&self, key: SharedKey<'_>) -> [String; 2] {
        let keys = CacheKeys::new(&self.0.prefix, key.scope);
        [keys.epoch(), keys.item(key.name)]
    }

    async fn remove(&self, keys: &[String]) -> Result<()> {
        let removed: Result<Value, Error> = self.0.run(&FORGET, keys, |_| ()).await;
        removed.map(drop)
    }
}
