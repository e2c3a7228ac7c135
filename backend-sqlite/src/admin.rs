//! Administration: migrating, purging, listing users.

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{
    Admin, Error, Migration, Page, PageRequest, PurgeReceipt, Result, operation as op,
};

use crate::codec::integer;
use crate::error::translate;
use crate::schema;
use crate::store::Store;

const USERS: &str = "
SELECT user FROM conversations WHERE user > ?1
UNION
SELECT user FROM namespaces WHERE user > ?1
UNION
SELECT user FROM memory_data WHERE user > ?1 AND (expires_at IS NULL OR expires_at > ?2)
ORDER BY user LIMIT ?3";

/// Items of one DELETE, few enough that other writers get their turn between two of them.
const PURGE_BATCH: u64 = 1_000;

const PURGE_RECORDS: &str = "
DELETE FROM embeddings WHERE record IN (
    SELECT r.record FROM namespaces n CROSS JOIN embeddings r
    WHERE r.namespace = n.namespace AND r.expires_at <= ?1
    LIMIT ?2)";

const PURGE_ENTRIES: &str = "
DELETE FROM memory_data WHERE (user, node, key) IN (
    SELECT user, node, key FROM memory_data WHERE expires_at <= ?1 LIMIT ?2)";

/// Says `maybe_applied` of the call, not of its last step, where it committed a part before (E1).
fn applied_if(before: bool) -> impl FnOnce(Error) -> Error {
    move |error| {
        let applied = error.maybe_applied() || before;
        error.with_maybe_applied(applied)
    }
}

#[derive(Debug)]
pub(crate) struct Administration(pub(crate) Arc<Store>);

impl Administration {
    async fn purge(&self, text: &'static str) -> Result<u64> {
        let now = self.0.now().as_millis();
        let mut total = 0;
        loop {
            let query = sqlx::query(text).bind(now).bind(integer(PURGE_BATCH));
            let done = async {
                let mut writer = self.0.writer().await?;
                query.execute(&mut *writer).await.map_err(translate)
            };
            let done = done.await.map_err(applied_if(total > 0))?;
            total += done.rows_affected();
            if done.rows_affected() < PURGE_BATCH {
                return Ok(total);
            }
        }
    }
}

#[async_trait]
impl Admin for Administration {
    async fn migrate(&self) -> Result<Migration> {
        schema::migrate(&mut *self.0.writer().await?).await
    }

    async fn purge_expired(&self) -> Result<PurgeReceipt> {
        schema::require_current(&mut *self.0.writer().await?).await?;
        let records = self.purge(PURGE_RECORDS).await?;
        let entries = self.purge(PURGE_ENTRIES).await.map_err(applied_if(records > 0))?;
        Ok(PurgeReceipt { records, entries })
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        schema::require_current(&mut *self.0.writer().await?).await?;
        let users = sqlx::query_scalar(USERS)
            .bind(page.position(op::LIST_USERS)?.unwrap_or_default())
            .bind(self.0.now().as_millis())
            .bind(integer(page.limit + 1))
            .fetch_all(self.0.reader())
            .await
            .map_err(translate)?;
        Ok(Page::cut(users, page.limit, op::LIST_USERS, String::as_str))
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}
