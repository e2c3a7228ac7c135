//! Health, erasure and listing of scopes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::try_join;
use memquill_core::{
    Control, ErasureReceipt, Health, Page, PageRequest, Result, Scope, SharedCache as _,
    operation as op,
};

use crate::cache::RedisCache;
use crate::schema;
use crate::server;
use crate::store::Store;

/// Control of a store.
#[derive(Debug)]
pub(crate) struct Controls(pub(crate) Arc<Store>);

#[async_trait]
impl Control for Controls {
    async fn health(&self, deadline: Duration) -> Health {
        let started = Instant::now();
        let asked = try_join(server::report(&self.0.connection), schema::read(&self.0));
        let asked = tokio::time::timeout(deadline, asked).await;
        let latency = started.elapsed();
        match asked {
            Ok(Ok((report, mark))) => {
                let schema = schema::check(&self.0, mark).err();
                let mut missing: Vec<String> = schema.iter().map(ToString::to_string).collect();
                missing.extend(report.missing);
                let version = format!("{}, {}", report.version, report.window);
                Health::answered(latency, version, missing)
            }
            Ok(Err(error)) => Health::unreachable(latency, error.to_string()),
            Err(_) => Health::late(latency, deadline),
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
