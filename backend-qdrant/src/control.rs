//! Health, erasure, and listing of scopes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memquill_core::{
    Control, ErasureReceipt, Health, Page, PageRequest, Result, Scope, operation as op,
};

use crate::error::applied;
use crate::filter;
use crate::store::{MAX_CONCURRENT_REQUESTS, Store};

/// What a data connection can do besides its facet.
#[derive(Debug)]
pub(crate) struct Controls(pub(crate) Arc<Store>);

#[async_trait]
impl Control for Controls {
    async fn health(&self, deadline: Duration) -> Health {
        let start = Instant::now();
        let answer = tokio::time::timeout(deadline, self.0.check()).await;
        let latency = start.elapsed();
        match answer {
            Err(_) => Health::late(latency, deadline),
            Ok(Err(error)) if error.is_transient() => {
                Health::unreachable(latency, error.to_string())
            }
            Ok(Err(error)) => Health::answered(latency, "", vec![error.to_string()]),
            Ok(Ok(version)) => {
                let missing: Vec<String> = self.0.transport.trouble().into_iter().collect();
                Health::answered(latency, format!("Qdrant {version}"), missing)
            }
        }
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        let Self(store) = self;
        let bound = store.registry().of_user(user).await?;
        let counts: Vec<u64> = stream::iter(bound)
            .map(|bound| async move { store.delete_namespace(&bound.namespace).await })
            .buffer_unordered(MAX_CONCURRENT_REQUESTS)
            .try_collect()
            .await
            .map_err(applied)?;
        // Records of writers that died between a write and finding that its place was gone.
        for collection in store.collections().await.map_err(applied)? {
            let places = store.registry().unbound_places(&collection, user).await;
            for place in places.map_err(applied)? {
                let mut unbound = filter::of_user(user);
                unbound.must.extend(filter::at(&place).must);
                store.remove(&collection, unbound).await.map_err(applied)?;
            }
        }
        Ok(ErasureReceipt { records: counts.iter().sum(), ..ErasureReceipt::default() })
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        let after = page.position(op::LIST_SCOPES)?;
        let nodes = self.0.registry().nodes(user).await?;
        let scopes = nodes
            .into_iter()
            .filter(|node| after.as_ref().is_none_or(|after| node > after))
            .take(page.limit + 1)
            .map(|node| Scope::new(user, node))
            .collect::<Result<_>>()?;
        Ok(Page::cut(scopes, page.limit, op::LIST_SCOPES, Scope::node))
    }

    async fn close(&self) -> Result<()> {
        self.0.transport.close().await
    }
}
