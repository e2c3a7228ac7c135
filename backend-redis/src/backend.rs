//! Connecting, health, erasure and administration.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use memquill_core::{
    Admin, Backend, BackendParts, Capabilities, Control, Driver, ErasureReceipt, Error, Feature,
    Health, HealthStatus, Indexing, Migration, Page, PageRequest, PurgeReceipt, Result, Scope,
    SharedCache as _, StoreUrl, checked_admin, operation as op,
};
use redis::Value;

use crate::cache::RedisCache;
use crate::config::Config;
use crate::connection::{Connection, Script};
use crate::conversation::Conversations;
use crate::keys;
use crate::reply;
use crate::rights;
use crate::server;
use crate::store::Store;
use crate::working::Working;

const NAME: &str = "redis";
const SCHEMES: &[&str] = &["redis", "rediss", "redis+cluster", "rediss+cluster"];

/// The schema that this driver writes. What schema 1 wrote it reads as well, and writes anew as it
/// changes it: that is all its migration, whatever is stored.
const SCHEMA: u32 = 2;

const FEATURES: [Feature; 6] = [
    Feature::Retention,
    Feature::SafeRetry,
    Feature::Conditions,
    Feature::SlidingExpiry,
    Feature::Counters,
    Feature::Restoring,
];

static MIGRATE: Script = Script::writing(include_str!("lua/migrate.lua"));
static PURGE: Script = Script::writing(concat!(
    include_str!("lua/time.lua"),
    include_str!("lua/digits.lua"),
    include_str!("lua/purge.lua")
));

/// The driver for Redis, Valkey and Redis Cluster.
#[derive(Debug, Clone, Copy, Default)]
pub struct RedisDriver;

#[async_trait]
impl Driver for RedisDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        connect(url).await.map_err(located)
    }

    async fn admin(&self, url: &StoreUrl) -> Result<Arc<dyn Admin>> {
        let store = open(url).await.map_err(located)?;
        Ok(checked_admin(NAME, Arc::new(RedisAdmin(store))))
    }
}

fn located(error: Error) -> Error {
    error.with_backend(NAME).with_operation(op::CONNECT)
}

async fn open(url: &StoreUrl) -> Result<Store> {
    let config = Config::from_url(url)?;
    let prefix = config.prefix.clone();
    Ok(Store { connection: Connection::connect(config).await?, prefix })
}

async fn connect(url: &StoreUrl) -> Result<Backend> {
    let store = Arc::new(open(url).await?);
    check_schema(&store).await?;
    rights::check(&store).await?;
    let report = server::report(&store.connection).await?;
    for missing in &report.missing {
        tracing::warn!(server = report.version, "{missing}");
    }
    let mut capabilities = Capabilities::new(report.durability, FEATURES);
    capabilities.vectors = None;
    capabilities.notes =
        vec![report.window.into(), server::about_vectors(&store.connection).await.into()];
    let shared = Arc::new(RedisCache(Arc::clone(&store)));
    let backend = Backend::new(BackendParts {
        name: NAME,
        capabilities,
        conversations: Some(Arc::new(Conversations(Arc::clone(&store)))),
        vectors: None,
        working: Some(Arc::new(Working(Arc::clone(&store)))),
        control: Arc::new(RedisControl(store)),
    });
    Ok(backend.with_shared_cache(shared))
}

/// The store's schema is the driver's own (G13).
async fn check_schema(store: &Store) -> Result<()> {
    let key = keys::schema(&store.prefix);
    let mut command = redis::cmd("GET");
    command.arg(&key);
    match store.connection.read(&key, &command).await? {
        Value::Nil => Err(Error::config(format!(
            "the store was never prepared for the prefix {:?}",
            store.prefix
        ))
        .with_hint("run `memquill migrate` with the same URL")),
        found => match reply::number::<u32>(&found) {
            Ok(SCHEMA) => Ok(()),
            Ok(newer) if newer > SCHEMA => Err(Error::config(format!(
                "the store has schema {newer}, this driver knows {SCHEMA}"
            ))
            .with_hint("use a version of memquill at least as new as the one that wrote it")),
            _ => Err(Error::config("the store has an older schema")
                .with_hint("run `memquill migrate` with the same URL")),
        },
    }
}

/// Health, erasure and listing of scopes.
#[derive(Debug)]
struct RedisControl(Arc<Store>);

#[async_trait]
impl Control for RedisControl {
    async fn health(&self, deadline: Duration) -> Health {
        let started = Instant::now();
        let asked = tokio::time::timeout(deadline, server::report(&self.0.connection)).await;
        let latency = started.elapsed();
        let unreachable = |why: String| Health {
            status: HealthStatus::Unreachable,
            latency,
            server_version: String::new(),
            missing: vec![why],
        };
        match asked {
            Ok(Ok(report)) => Health {
                status: if report.missing.is_empty() {
                    HealthStatus::Healthy
                } else {
                    HealthStatus::Degraded
                },
                latency,
                server_version: format!("{}, {}", report.version, report.window),
                missing: report.missing,
            },
            Ok(Err(error)) => unreachable(error.to_string()),
            Err(_) => unreachable(format!("no answer within {} ms", deadline.as_millis())),
        }
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        let receipt = self.0.registry().erase(user).await?;
        // What caches keep here is the user's too.
        let forgotten = RedisCache(Arc::clone(&self.0)).forget_user(user).await;
        forgotten.map(|()| receipt).map_err(|error| error.with_maybe_applied(true))
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        let after = page.position(op::LIST_SCOPES)?;
        let nodes = self.0.registry().some_nodes(user, after.as_deref(), page.limit + 1).await?;
        let scopes: Vec<Scope> =
            nodes.into_iter().map(|node| Scope::new(user, node)).collect::<Result<_>>()?;
        Ok(Page::cut(scopes, page.limit, op::LIST_SCOPES, Scope::node))
    }
}

/// Administration.
#[derive(Debug)]
struct RedisAdmin(Store);

#[async_trait]
impl Admin for RedisAdmin {
    async fn migrate(&self) -> Result<Migration> {
        let names = [keys::schema(&self.0.prefix)];
        let before = self.0.run(&MIGRATE, &names, |call| {
            call.arg(SCHEMA);
        });
        let before = match before.await? {
            // A new store has the newest at once.
            Value::Nil => SCHEMA - 1,
            before => reply::number(&before)?,
        };
        check_schema(&self.0).await?;
        let applied = (before + 1..=SCHEMA).map(|schema| format!("schema {schema}"));
        Ok(Migration { applied: applied.collect() })
    }

    async fn purge_expired(&self) -> Result<PurgeReceipt> {
        check_schema(&self.0).await?;
        let mut receipt = PurgeReceipt::default();
        for scope in self.0.registry().all_scopes().await? {
            let keys = self.0.keys(&scope);
            let names = [keys.working(), keys.expiries()];
            loop {
                let purged = self.0.run(&PURGE, &names, |call| {
                    call.arg(keys.entry(""));
                });
                match reply::number::<u64>(&purged.await?)? {
                    0 => break,
                    purged => receipt.entries += purged,
                }
            }
        }
        Ok(receipt)
    }

    /// There are no vectors.
    async fn build_indexes(&self) -> Result<Indexing> {
        Ok(Indexing::default())
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        check_schema(&self.0).await?;
        let after = page.position(op::LIST_USERS)?;
        let users = self.0.registry().some_users(after.as_deref(), page.limit + 1).await?;
        Ok(Page::cut(users, page.limit, op::LIST_USERS, |user| user))
    }
}
