//! The driver: what it offers, and connecting.

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::layer::TARGET;
use memquill_core::{
    Administrator, Backend, BackendParts, Capabilities, Driver, Feature, Result, StoreUrl,
};

use crate::admin::Administration;
use crate::cache::RedisCache;
use crate::config::Config;
use crate::connection::Connection;
use crate::control::Controls;
use crate::conversations::Conversations;
use crate::rights;
use crate::schema;
use crate::server;
use crate::store::Store;
use crate::working::Working;

const NAME: &str = "redis";

/// The URL schemes that the driver answers to.
pub const SCHEMES: &[&str] =
    &["redis", "rediss", "redis+cluster", "rediss+cluster", "redis+unix", "redis-socket", "unix"];

const FEATURES: [Feature; 6] = [
    Feature::Retention,
    Feature::SafeRetry,
    Feature::Conditions,
    Feature::SlidingExpiry,
    Feature::Counters,
    Feature::Restoring,
];

/// Returns the driver for Redis, Valkey and Redis Cluster.
pub fn driver() -> Arc<dyn Driver> {
    Arc::new(Redis)
}

#[derive(Debug)]
struct Redis;

#[async_trait]
impl Driver for Redis {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        connect(url).await
    }

    async fn admin(&self, url: &StoreUrl) -> Result<Administrator> {
        let store = open(url).await?;
        Ok(Administrator::new(NAME, Arc::new(Administration(Arc::new(store)))))
    }
}

async fn open(url: &StoreUrl) -> Result<Store> {
    let config = Config::from_url(url)?;
    let prefix = config.prefix.clone();
    if config.tls.as_ref().is_some_and(|tls| tls.unverified) {
        tracing::warn!(target: TARGET, "ssl_cert_reqs=none: the server's certificate is not checked");
    }
    Ok(Store { connection: Connection::connect(config).await?, prefix, volatile: false })
}

async fn connect(url: &StoreUrl) -> Result<Backend> {
    let mut store = open(url).await?;
    let report = server::report(&store.connection).await?;
    store.volatile = report.volatile;
    schema::check_or_restore(&store).await?;
    rights::check(&store).await?;
    for missing in &report.missing {
        tracing::warn!(target: TARGET, server = report.version, "{missing}");
    }
    let mut capabilities = Capabilities::new(report.durability, FEATURES);
    capabilities.notes =
        vec![report.window.into(), server::about_vectors(&store.connection).await.into()];
    let store = Arc::new(store);
    let shared = Arc::new(RedisCache(Arc::clone(&store)));
    let backend = Backend::new(BackendParts {
        name: NAME,
        capabilities,
        conversations: Some(Arc::new(Conversations(Arc::clone(&store)))),
        vectors: None,
        working: Some(Arc::new(Working(Arc::clone(&store)))),
        control: Arc::new(Controls(store)),
    });
    Ok(backend.with_shared_cache(shared))
}
