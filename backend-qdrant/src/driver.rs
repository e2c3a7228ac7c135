//! The driver, and what it claims.

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{
    Administrator, Backend, BackendParts, Capabilities, Driver, Durability, Error, Feature, Result,
    StoreUrl, TimeSource, VectorQuality,
};

use crate::admin::Administration;
use crate::config::{Config, EDGE_SCHEME, Location, Server};
use crate::control::Controls;
use crate::grpc::Grpc;
use crate::layout;
use crate::store::Store;
use crate::transport::Transport;
use crate::vectors::Vectors;

const NAME: &str = "qdrant";

/// The URL schemes that the driver answers to.
pub const SCHEMES: &[&str] = if cfg!(feature = "edge") {
    &["qdrant", "qdrants", EDGE_SCHEME]
} else {
    &["qdrant", "qdrants"]
};

#[derive(Debug)]
struct QdrantDriver;

/// Returns the driver, to be given to a registry.
pub fn driver() -> Arc<dyn Driver> {
    Arc::new(QdrantDriver)
}

#[async_trait]
impl Driver for QdrantDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        let (store, server) = open(url).await?;
        match &server {
            None if url.must_exist() => {
                if store.registry().version().await?.is_none() {
                    let prefix = &store.prefix;
                    return Err(Error::not_found(format!(
                        "there is no store with the prefix {prefix:?} in the folder"
                    ))
                    .with_hint("check the option prefix of the URL"));
                }
                store.check().await?;
            }
            // There is no administrator to do it.
            None => drop(Administration(Arc::clone(&store)).prepare().await?),
            Some(server) => drop(store.check().await.map_err(|error| server.explain(error))?),
        }
        Ok(Backend::new(BackendParts {
            name: NAME,
            capabilities: capabilities(server.is_none()),
            conversations: None,
            vectors: Some(Arc::new(Vectors(Arc::clone(&store)))),
            working: None,
            control: Arc::new(Controls(store)),
        }))
    }

    async fn admin(&self, url: &StoreUrl) -> Result<Administrator> {
        let (store, server) = open(url).await?;
        let checked = store.check_version().await.map_err(|error| match &server {
            Some(server) => server.explain(error),
            None => error,
        });
        checked?;
        Ok(Administrator::new(NAME, Arc::new(Administration(store))))
    }
}

/// A batch is written in parts, and neither a server nor a folder of this process has other rights
/// to keep users apart by than the driver's own conditions.
fn capabilities(embedded: bool) -> Capabilities {
    let features = [
        Feature::TextSearch,
        Feature::Filters,
        Feature::RecordExpiry,
        Feature::Rebinding,
        Feature::Restoring,
    ];
    let durability = if embedded { Durability::Restart } else { Durability::Crash };
    let mut capabilities = Capabilities::new(durability, features);
    if !embedded {
        capabilities.time = TimeSource::Driver;
    }
    capabilities.vectors = Some(VectorQuality {
        exact_up_to: Some(layout::EXACT_SEARCH_LIMIT),
        similarity_tolerance: 1e-4,
    });
    capabilities
}

/// The file that marks a folder of Qdrant Edge as ours, and that the process locks which has it
/// open.
pub(crate) const LOCK: &str = "memquill.lock";

/// Opens the store of a URL; returns its server too, unless it is in this process.
async fn open(url: &StoreUrl) -> Result<(Arc<Store>, Option<Server>)> {
    let config = Config::from_url(url)?;
    let (transport, server): (Arc<dyn Transport>, _) = match &config.location {
        Location::Server(server) => {
            if server.api_key.is_some() && !server.tls {
                tracing::warn!(target: memquill_core::layer::TARGET, "the API key is sent over an unencrypted connection");
            }
            (Arc::new(Grpc::new(server)?), Some(server.clone()))
        }
        Location::Folder(path) => {
            if url.must_exist() && !path.join(LOCK).is_file() {
                return Err(Error::not_found(format!(
                    "there is no Qdrant Edge store in the folder {}",
                    path.display()
                ))
                .with_hint("check the path; a command that stores something makes the folder"));
            }
            (folder(path.clone()).await?, None)
        }
    };
    Ok((Arc::new(Store::new(transport, config)), server))
}

#[cfg(feature = "edge")]
async fn folder(path: std::path::PathBuf) -> Result<Arc<dyn Transport>> {
    Ok(Arc::new(crate::edge::open(path).await?))
}

#[cfg(not(feature = "edge"))]
#[expect(clippy::unused_async, reason = "as where Edge is built in")]
async fn folder(_: std::path::PathBuf) -> Result<Arc<dyn Transport>> {
    Err(Error::config("this program was built without Qdrant Edge")
        .with_hint("build with the cargo feature \"qdrant-edge\" (\"edge\" of memquill-qdrant)"))
}
