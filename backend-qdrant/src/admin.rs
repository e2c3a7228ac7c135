//! Administration: preparing the store, purging, listing users.

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{
    Admin, Indexing, Migration, Page, PageRequest, PurgeReceipt, Result, operation as op,
};
use qdrant_client::qdrant::Filter;

use crate::filter;
use crate::layout;
use crate::store::{Store, now, other_layout};

/// A connection for administration.
#[derive(Debug)]
pub(crate) struct Administration(pub(crate) Arc<Store>);

impl Administration {
    /// Makes the collection that the prefix names, unless it exists.
    pub(crate) async fn prepare(&self) -> Result<Migration> {
        let Self(store) = self;
        match store.registry().version().await? {
            Some(layout::VERSION) => return Ok(Migration::default()),
            Some(other) => return Err(other_layout(other)),
            None => {}
        }
        store.create_registry().await?;
        let mut applied = Vec::new();
        if store.registry().set_prepared().await? {
            applied.push(format!("layout {}", layout::VERSION));
        }
        Ok(Migration { applied })
    }
}

#[async_trait]
impl Admin for Administration {
    async fn migrate(&self) -> Result<Migration> {
        self.prepare().await
    }

    async fn purge_expired(&self) -> Result<PurgeReceipt> {
        let Self(store) = self;
        store.check().await?;
        let now = now();
        let mut records = 0;
        for collection in store.collections().await? {
            let mut expired = Filter::must([filter::expired(now)]);
            expired.must_not.push(filter::claimed());
            records += store.take(&collection, expired).await?;
            store.remove(&collection, filter::abandoned(now)).await?;
        }
        let rebound = store.registry().with_orphans().await?;
        // So that the waits for several leases are one.
        for bound in rebound.iter().filter(|bound| bound.binding.lease.is_some()) {
            store.has_expired(&bound.namespace, &bound.binding);
        }
        for bound in &rebound {
            store.clean_up(&bound.namespace, &bound.binding).await?;
        }
        Ok(PurgeReceipt { records, ..PurgeReceipt::default() })
    }

    /// None: a server, and Edge in the background, index by themselves what has grown.
    async fn build_indexes(&self) -> Result<Indexing> {
        Ok(Indexing::default())
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        let after = page.position(op::LIST_USERS)?;
        let users = self.0.registry().users().await?;
        let users = users
            .into_iter()
            .filter(|user| after.as_ref().is_none_or(|after| user > after))
            .take(page.limit + 1)
            .collect();
        Ok(Page::cut(users, page.limit, op::LIST_USERS, String::as_str))
    }

    async fn close(&self) -> Result<()> {
        self.0.transport.close().await
    }
}
