//! Health, erasure, listing of scopes, closing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use memquill_core::{
    Control, ErasureReceipt, Health, Page, PageRequest, Result, Scope, operation as op,
};
use sqlx::Connection as _;

use crate::codec::integer;
use crate::error::translate;
use crate::schema;
use crate::store::Store;

const MESSAGES_OF_USER: &str = "
SELECT coalesce(sum(system_count + user_count + assistant_count + tool_count), 0)
FROM conversations WHERE user = ?1";

const RECORDS_OF_USER: &str = "
SELECT coalesce(sum(records), 0) - (
    SELECT count(*) FROM namespaces n JOIN embeddings r USING (namespace)
    WHERE n.user = ?1 AND r.expires_at <= ?2)
FROM namespaces WHERE user = ?1";

const ENTRIES_OF_USER: &str = "
SELECT count(*) FROM memory_data WHERE user = ?1 AND (expires_at IS NULL OR expires_at > ?2)";

/// Foreign keys cascade the deletes to messages, ids, records and postings.
const ERASE_USER: [&str; 3] = [
    "DELETE FROM conversations WHERE user = ?1",
    "DELETE FROM namespaces WHERE user = ?1",
    "DELETE FROM memory_data WHERE user = ?1",
];

/// Overwrites deleted content instead of only unlinking it.
const OVERWRITE: &str = "PRAGMA secure_delete = ON";

/// Empties the log, too; where somebody reads from it, when it starts over.
const FORGET: [&str; 2] = ["PRAGMA secure_delete = OFF", "PRAGMA wal_checkpoint(TRUNCATE)"];

const NODES_OF_USER: &str = "
SELECT node FROM conversations WHERE user = ?1 AND node > ?2
UNION
SELECT node FROM namespaces WHERE user = ?1 AND node > ?2
UNION
SELECT node FROM memory_data
WHERE user = ?1 AND node > ?2 AND (expires_at IS NULL OR expires_at > ?3)
ORDER BY node LIMIT ?4";

#[derive(Debug)]
pub(crate) struct Controls(pub(crate) Arc<Store>);

impl Controls {
    /// Reads SQLite's version, and what is wrong with the schema.
    async fn probe(&self) -> Result<(String, Option<String>)> {
        let mut reader = self.0.read().await?;
        let version = sqlx::query_scalar("SELECT sqlite_version()")
            .fetch_one(&mut *reader)
            .await
            .map_err(translate)?;
        let schema = schema::require_current(&mut reader).await;
        Ok((version, schema.err().map(|error| error.to_string())))
    }
}

#[async_trait]
impl Control for Controls {
    async fn health(&self, deadline: Duration) -> Health {
        let started = Instant::now();
        let answer = tokio::time::timeout(deadline, self.probe()).await;
        let latency = started.elapsed();
        match answer {
            Ok(Ok((version, missing))) => {
                Health::answered(latency, format!("SQLite {version}"), Vec::from_iter(missing))
            }
            Ok(Err(error)) => Health::unreachable(latency, error.to_string()),
            Err(_) => Health::late(latency, deadline),
        }
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        let mut writer = self.0.writer().await?;
        // A call that is dropped half-way leaves it on, which costs time alone.
        sqlx::query(OVERWRITE).execute(&mut *writer).await.map_err(translate)?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(translate)?;
        let now = self.0.now().as_millis();
        let mut counts = [0_u64; 3];
        for (count, text) in
            counts.iter_mut().zip([MESSAGES_OF_USER, RECORDS_OF_USER, ENTRIES_OF_USER])
        {
            let query = sqlx::query_scalar(text).bind(user).bind(now);
            *count = query.fetch_one(&mut *transaction).await.map_err(translate)?;
        }
        for text in ERASE_USER {
            sqlx::query(text).bind(user).execute(&mut *transaction).await.map_err(translate)?;
        }
        transaction.commit().await.map_err(translate)?;
        for text in FORGET {
            let forgotten = sqlx::query(text).execute(&mut *writer).await;
            // What was erased is gone from the tables, and not yet from the file's free pages.
            forgotten.map_err(|error| {
                translate(error)
                    .with_maybe_applied(true)
                    .with_hint("remove the cause, and repeat the erasure")
            })?;
        }
        let [messages, records, entries] = counts;
        Ok(ErasureReceipt { messages, records, entries })
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        let nodes: Vec<String> = sqlx::query_scalar(NODES_OF_USER)
            .bind(user)
            .bind(page.position(op::LIST_SCOPES)?.unwrap_or_default())
            .bind(self.0.now().as_millis())
            .bind(integer(page.limit + 1))
            .fetch_all(self.0.reader())
            .await
            .map_err(translate)?;
        let scopes = nodes.into_iter().map(|node| Scope::new(user, node)).collect::<Result<_>>()?;
        Ok(Page::cut(scopes, page.limit, op::LIST_SCOPES, Scope::node))
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}
