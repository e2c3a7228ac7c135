//! Connecting, health, erasure, administration.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use memquill_core::{
    Admin, Administrator, Backend, BackendParts, Capabilities, Clock, Control, Driver,
    ErasureReceipt, Error, Feature, Health, Migration, Page, PageRequest, PurgeReceipt, Result,
    Scope, StoreUrl, SystemClock, operation as op,
};

use sqlx::Connection as _;

use crate::config::Config;
use crate::conversation::Conversations;
use crate::database::Database;
use crate::error::sql;
use crate::rows::integer;
use crate::schema;
use crate::vector::Vectors;
use crate::working::Working;

const NAME: &str = "sqlite";

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

/// Connects to SQLite files.
#[derive(Debug, Clone)]
pub struct SqliteDriver {
    clock: Arc<dyn Clock>,
}

impl Default for SqliteDriver {
    fn default() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }
}

impl SqliteDriver {
    /// A driver whose stores take their time from `clock`: for tests.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    async fn open(&self, url: &StoreUrl) -> Result<(Config, Arc<Database>)> {
        let config = Config::from_url(url)?;
        let database = Database::open(&config, Arc::clone(&self.clock)).await?;
        Ok((config, Arc::new(database)))
    }
}

#[async_trait]
impl Driver for SqliteDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["sqlite"]
    }

    /// Connects, and brings an empty or older file to the current schema first.
    async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        let connect = async {
            let (config, database) = self.open(url).await?;
            schema::migrate(&mut *database.writer().await?).await?;
            Ok(Backend::new(BackendParts {
                name: NAME,
                capabilities: Capabilities::new(config.durability(), FEATURES),
                conversations: Some(Arc::new(Conversations(Arc::clone(&database)))),
                vectors: Some(Arc::new(Vectors(Arc::clone(&database)))),
                working: Some(Arc::new(Working(Arc::clone(&database)))),
                control: Arc::new(SqliteControl(database)),
            }))
        };
        connect.await
    }

    async fn admin(&self, url: &StoreUrl) -> Result<Administrator> {
        let (_, database) = self.open(url).await?;
        Ok(Administrator::new(NAME, Arc::new(SqliteAdmin(database))))
    }
}

const MESSAGES_OF_USER: &str = "
SELECT coalesce(sum(system_count + user_count + assistant_count + tool_count), 0)
FROM conversations WHERE user = ?1";

const RECORDS_OF_USER: &str = "
SELECT coalesce(sum(records), 0) - (
    SELECT count(*) FROM namespaces n JOIN records r USING (namespace)
    WHERE n.user = ?1 AND r.expires_at <= ?2)
FROM namespaces WHERE user = ?1";

const ENTRIES_OF_USER: &str = "
SELECT count(*) FROM entries WHERE user = ?1 AND (expires_at IS NULL OR expires_at > ?2)";

/// Foreign keys carry the deletes on to messages, ids, records and postings.
const ERASE_USER: [&str; 3] = [
    "DELETE FROM conversations WHERE user = ?1",
    "DELETE FROM namespaces WHERE user = ?1",
    "DELETE FROM entries WHERE user = ?1",
];

/// Deleted content is overwritten, not only unlinked.
const OVERWRITE: &str = "PRAGMA secure_delete = ON";

/// The log, too, gives up what it holds; where somebody reads from it, with its next turn.
const FORGET: [&str; 2] = ["PRAGMA secure_delete = OFF", "PRAGMA wal_checkpoint(TRUNCATE)"];

const NODES_OF_USER: &str = "
SELECT node FROM conversations WHERE user = ?1 AND node > ?2
UNION
SELECT node FROM namespaces WHERE user = ?1 AND node > ?2
UNION
SELECT node FROM entries
WHERE user = ?1 AND node > ?2 AND (expires_at IS NULL OR expires_at > ?3)
ORDER BY node LIMIT ?4";

const USERS: &str = "
SELECT user FROM conversations WHERE user > ?1
UNION
SELECT user FROM namespaces WHERE user > ?1
UNION
SELECT user FROM entries WHERE user > ?1 AND (expires_at IS NULL OR expires_at > ?2)
ORDER BY user LIMIT ?3";

/// Small enough that other writers get their turn between two of them.
const PURGE_BATCH: u64 = 1_000;

const PURGE_RECORDS: &str = "
DELETE FROM records WHERE record IN (
    SELECT r.record FROM namespaces n CROSS JOIN records r
    WHERE r.namespace = n.namespace AND r.expires_at <= ?1
    LIMIT ?2)";

const PURGE_ENTRIES: &str = "
DELETE FROM entries WHERE (user, node, key) IN (
    SELECT user, node, key FROM entries WHERE expires_at <= ?1 LIMIT ?2)";

#[derive(Debug)]
struct SqliteControl(Arc<Database>);

impl SqliteControl {
    /// SQLite's version, and what is wrong with the schema.
    async fn probe(&self) -> Result<(String, Option<String>)> {
        let mut reader = self.0.read().await?;
        let version = sqlx::query_scalar("SELECT sqlite_version()")
            .fetch_one(&mut *reader)
            .await
            .map_err(sql)?;
        let schema = schema::require_current(&mut reader).await;
        Ok((version, schema.err().map(|error| error.to_string())))
    }
}

#[async_trait]
impl Control for SqliteControl {
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
        sqlx::query(OVERWRITE).execute(&mut *writer).await.map_err(sql)?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(sql)?;
        let now = self.0.now().as_millis();
        let mut counts = [0_u64; 3];
        for (count, text) in
            counts.iter_mut().zip([MESSAGES_OF_USER, RECORDS_OF_USER, ENTRIES_OF_USER])
        {
            let query = sqlx::query_scalar(text).bind(user).bind(now);
            *count = query.fetch_one(&mut *transaction).await.map_err(sql)?;
        }
        for text in ERASE_USER {
            sqlx::query(text).bind(user).execute(&mut *transaction).await.map_err(sql)?;
        }
        transaction.commit().await.map_err(sql)?;
        for text in FORGET {
            let forgotten = sqlx::query(text).execute(&mut *writer).await;
            // What was erased is gone from the tables, and not yet from the file's free pages.
            forgotten.map_err(|error| {
                sql(error).with_maybe_applied(true).with_hint("mend that, and repeat the erasure")
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
            .map_err(sql)?;
        let scopes = nodes.into_iter().map(|node| Scope::new(user, node)).collect::<Result<_>>()?;
        Ok(Page::cut(scopes, page.limit, op::LIST_SCOPES, Scope::node))
    }
}

/// Of a call that committed a part before: it is said of the call, not of its last step (E1).
fn applied_if(before: bool) -> impl FnOnce(Error) -> Error {
    move |error| {
        let applied = error.maybe_applied() || before;
        error.with_maybe_applied(applied)
    }
}

#[derive(Debug)]
struct SqliteAdmin(Arc<Database>);

impl SqliteAdmin {
    async fn purge(&self, text: &'static str) -> Result<u64> {
        let now = self.0.now().as_millis();
        let mut total = 0;
        loop {
            let query = sqlx::query(text).bind(now).bind(integer(PURGE_BATCH));
            let done = async {
                let mut writer = self.0.writer().await?;
                query.execute(&mut *writer).await.map_err(sql)
            };
            let done = done.await.map_err(applied_if(total > 0))?;
            total += done.rows_affected();
            if done.rows_affected() < PURGE_BATCH {
                return Ok(total);
            }
        }
    }

    async fn purge_all(&self) -> Result<PurgeReceipt> {
        schema::require_current(&mut *self.0.writer().await?).await?;
        let records = self.purge(PURGE_RECORDS).await?;
        let entries = self.purge(PURGE_ENTRIES).await.map_err(applied_if(records > 0))?;
        Ok(PurgeReceipt { records, entries })
    }

    async fn list_users(&self, page: &PageRequest) -> Result<Page<String>> {
        schema::require_current(&mut *self.0.writer().await?).await?;
        let users = sqlx::query_scalar(USERS)
            .bind(page.position(op::LIST_USERS)?.unwrap_or_default())
            .bind(self.0.now().as_millis())
            .bind(integer(page.limit + 1))
            .fetch_all(self.0.reader())
            .await
            .map_err(sql)?;
        Ok(Page::cut(users, page.limit, op::LIST_USERS, String::as_str))
    }
}

#[async_trait]
impl Admin for SqliteAdmin {
    async fn migrate(&self) -> Result<Migration> {
        schema::migrate(&mut *self.0.writer().await?).await
    }

    async fn purge_expired(&self) -> Result<PurgeReceipt> {
        self.purge_all().await
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        self.list_users(page).await
    }
}
