//! The driver: its name, what it claims, connecting.

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{
    Administrator, Backend, BackendParts, Capabilities, Clock, Driver, Feature, Result, StoreUrl,
    SystemClock,
};

use crate::admin::Administration;
use crate::config::Config;
use crate::control::Controls;
use crate::conversations::Conversations;
use crate::schema;
use crate::store::Store;
use crate::vectors::Vectors;
use crate::working::Working;

const NAME: &str = "sqlite";

/// The URL schemes that the driver answers to.
pub const SCHEMES: &[&str] = &["sqlite"];

/// Everything but isolation enforced by the store itself: SQLite knows no users.
const FEATURES: [Feature; 11] = [
    Feature::Retention,
    Feature::SafeRetry,
    Feature::TextSearch,
    Feature::Filters,
    Feature::RecordExpiry,
    Feature::AtomicRecords,
    Feature::Rebinding,
    Feature::Conditions,
    Feature::SlidingExpiry,
    Feature::Counters,
    Feature::Restoring,
];

/// Returns the driver, to be given to a registry.
pub fn driver() -> Arc<dyn Driver> {
    driver_with_clock(Arc::new(SystemClock))
}

/// Returns a driver whose stores take their time from `clock`, as a test may want.
pub fn driver_with_clock(clock: Arc<dyn Clock>) -> Arc<dyn Driver> {
    Arc::new(SqliteDriver { clock })
}

/// Connects to SQLite files.
#[derive(Debug)]
struct SqliteDriver {
    clock: Arc<dyn Clock>,
}

impl SqliteDriver {
    async fn open(&self, url: &StoreUrl) -> Result<(Config, Arc<Store>)> {
        let config = Config::from_url(url)?;
        let store = Store::open(&config, Arc::clone(&self.clock)).await?;
        Ok((config, Arc::new(store)))
    }
}

#[async_trait]
impl Driver for SqliteDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    /// Connects, and gives an empty file the schema, unless the store must exist.
    async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        let (config, store) = self.open(url).await?;
        let mut writer = store.writer().await?;
        if store.may_create() {
            schema::migrate(&mut writer).await?;
        } else {
            schema::require_current(&mut writer).await?;
        }
        drop(writer);
        Ok(Backend::new(BackendParts {
            name: NAME,
            capabilities: Capabilities::new(config.durability(), FEATURES),
            conversations: Some(Arc::new(Conversations(Arc::clone(&store)))),
            vectors: Some(Arc::new(Vectors(Arc::clone(&store)))),
            working: Some(Arc::new(Working(Arc::clone(&store)))),
            control: Arc::new(Controls(store)),
        }))
    }

    async fn admin(&self, url: &StoreUrl) -> Result<Administrator> {
        let (_, store) = self.open(url).await?;
        Ok(Administrator::new(NAME, Arc::new(Administration(store))))
    }
}
