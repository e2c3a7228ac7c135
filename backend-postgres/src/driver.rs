//! The driver: what it offers, and connecting.

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{
    Administrator, Backend, BackendParts, Capabilities, Driver, Feature, Result, StoreUrl,
    VectorQuality,
};

use crate::admin::Administration;
use crate::config::Config;
use crate::control::Controls;
use crate::conversations::Conversations;
use crate::indexing::EXACT_SEARCH_LIMIT;
use crate::store::Store;
use crate::vectors::Vectors;
use crate::working::Working;

const NAME: &str = "postgres";

/// The URL schemes that the driver answers to.
pub const SCHEMES: &[&str] = &["postgres", "postgresql"];

/// Returns the driver for Postgres with pgvector.
pub fn driver() -> Arc<dyn Driver> {
    Arc::new(Postgres)
}

#[derive(Debug)]
struct Postgres;

#[async_trait]
impl Driver for Postgres {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        let (store, server) = Store::connect(url).await?;
        let store = Arc::new(store);
        let quality =
            VectorQuality { exact_up_to: Some(EXACT_SEARCH_LIMIT), similarity_tolerance: 1e-4 };
        Ok(Backend::new(BackendParts {
            name: NAME,
            capabilities: Capabilities {
                vectors: Some(quality),
                ..Capabilities::new(server.durability(), Feature::ALL)
            },
            conversations: Some(Arc::new(Conversations::new(&store))),
            vectors: Some(Arc::new(Vectors::new(&store))),
            working: Some(Arc::new(Working::new(&store))),
            control: Arc::new(Controls::new(&store)),
        }))
    }

    async fn admin(&self, url: &StoreUrl) -> Result<Administrator> {
        let config = Config::from_url(url)?;
        Ok(Administrator::new(NAME, Arc::new(Administration::new(config)) as _))
    }
}
