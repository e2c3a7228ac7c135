//! Administration: preparing the store, purging, listing users.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use memory_core::{
    Admin, Error, Indexing, Migration, Page, PageRequest, PurgeReceipt, Result, Timestamp,
    operation as op,
};
use qdrant_client::qdrant::{Condition, Filter, Range};

use crate::backend::{Store, now};
use crate::filter;
use crate::layout::{self, field};

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
            Some(newer) => {
                return Err(Error::config(format!("the store has the newer layout {newer}"))
                    .with_hint("use a newer agent-memory, or another prefix"));
            }
            None => {}
        }
        store.transport.create_collection(layout::registry(&store.prefix, store.cluster)).await?;
        for index in layout::registry_indexes(&store.prefix) {
            store.transport.create_index(index).await?;
        }
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
        #[expect(clippy::cast_precision_loss, reason = "exact up to the year 9999")]
        let until = Range { lte: Some(forsaken.as_millis() as f64), ..Range::default() };
        let mut records = 0;
        for collection in store.registry().collections().await? {
            let expired = Filter {
                must_not: vec![Condition::range(
                    field::TAKEN,
                    Range { gte: Some(0.0), ..Range::default() },
                )],
                ..Filter::must([filter::expired(at)])
            };
            records += store.take(&collection, expired).await?;
            let left = Filter::must([Condition::range(field::TAKEN, until)]);
            store.remove(&collection, left).await?;
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
