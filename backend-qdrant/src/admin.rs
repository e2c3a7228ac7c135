//! Administration: preparing the store, purging, listing users.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memquill_core::{
    Admin, Indexing, Migration, Page, PageRequest, PurgeReceipt, Result, Timestamp, operation as op,
};
use qdrant_client::qdrant::Filter;

use crate::backend::{AT_ONCE, Store, now, other_layout};
use crate::filter;
use crate::layout;

/// What a deleter marked and never removed is removed after so long: it has died.
const FORSAKEN: Duration = Duration::from_hours(1);

/// A connection for administration.
#[derive(Debug)]
pub(crate) struct Administration(pub(crate) Arc<Store>);

impl Administration {
    /// Makes the collection that the prefix names, unless it is there.
    pub(crate) async fn prepare(&self) -> Result<Migration> {
        let Self(store) = self;
        match store.registry().version().await? {
            Some(layout::VERSION) => return Ok(Migration::default()),
            Some(other) => return Err(other_layout(other)),
            None => {}
        }
        store.transport.create_collection(layout::registry(&store.prefix, store.cluster)).await?;
        stream::iter(layout::registry_indexes(&store.prefix))
            .map(|index| store.transport.create_index(index))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let mut applied = Vec::new();
        if store.registry().prepared().await? {
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
        let at = now();
        let forsaken = at.as_millis() - i64::try_from(FORSAKEN.as_millis()).unwrap_or(i64::MAX);
        let forsaken = Timestamp::from_millis(forsaken)?;
        let mut records = 0;
        for collection in store.collections().await? {
            let mut expired = Filter::must([filter::expired(at)]);
            expired.must_not.push(filter::taken());
            records += store.take(&collection, expired).await?;
            store.remove(&collection, filter::left_by_deleters(forsaken)).await?;
        }
        for bound in store.registry().leaving().await? {
            store.settle(&bound.namespace, &bound.binding).await?;
        }
        Ok(PurgeReceipt { records, ..PurgeReceipt::default() })
    }

    /// None: a server, and Edge in the background, index by themselves what has grown.
    async fn build_indexes(&self) -> Result<Indexing> {
        Ok(Indexing::default())
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        let behind = page.position(op::LIST_USERS)?;
        let users = self.0.registry().users().await?;
        let users = users
            .into_iter()
            .filter(|user| behind.as_ref().is_none_or(|behind| user > behind))
            .take(page.limit + 1)
            .collect();
        Ok(Page::cut(users, page.limit, op::LIST_USERS, String::as_str))
    }
}
