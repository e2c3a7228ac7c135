//! Indexes for namespaces that have outgrown exact search. The functions are in
//! `migrations/0008_administration.sql`.

use std::collections::BTreeSet;

use memquill_core::{Error, Result};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use crate::codec::{bigint, get, one};
use crate::config::{Schema, quoted};
use crate::error::failed;
use crate::server::{VECTOR_SCHEMA, run};

/// How many matching records are searched exactly (V7); `search` has the same number.
pub(crate) const EXACT_SEARCH_LIMIT: u64 = 20_000;

/// The number of the lock that whoever builds holds: "mq-index" in ASCII. It is asked for, not
/// waited for: who waits holds a snapshot, which the building would wait for in turn.
const LOCK: &str = "SELECT pg_try_advisory_lock(7886134353349338488)";
const OUTGROWN: &str = "SELECT * FROM {schema}.outgrown($1)";
const MARK: &str = "SELECT last FROM {schema}.mark_records($1, $2, $3, $4)";
const FINISH: &str = "SELECT {schema}.finish_index($1, $2)";
/// Whether the index is there, and is one that searches can use; and whether its table is
/// partitioned, which Postgres cannot index beside other work.
const STATE: &str = "
SELECT i.indisvalid AS is_valid, t.relkind = 'p' AS is_partitioned
FROM pg_class AS t
LEFT JOIN pg_class AS c ON c.relnamespace = t.relnamespace AND c.relname = $2
LEFT JOIN pg_index AS i ON i.indexrelid = c.oid AND i.indrelid = t.oid
WHERE t.relnamespace = $1::regnamespace AND t.relname = 'embeddings'";

/// Records that are marked in one step: few enough that writers of the namespace hardly wait.
const MARK_BATCH: i64 = 1_000;

/// The most dimensions that an index takes in single precision; in half, twice as many.
const SINGLE: i32 = 2_000;

/// A namespace to index.
struct Namespace {
    user: String,
    number: i64,
    dimensions: i32,
}

/// Builds indexes over a connection of administration.
pub(crate) struct Builder<'a> {
    schema: &'a Schema,
    connection: &'a mut PgConnection,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(schema: &'a Schema, connection: &'a mut PgConnection) -> Self {
        Self { schema, connection }
    }

    /// Marks the records of the namespaces that have outgrown exact search, builds the indexes of
    /// their dimensions, and lets searches use them. What breaks off is taken up by the next call.
    pub(crate) async fn build(mut self) -> Result<Vec<String>> {
        // It takes as long as it takes, whatever a statement may.
        run(self.connection, "SET statement_timeout = 0").await?;
        let row = self.connection.fetch_one(LOCK).await.map_err(failed)?;
        if !row.try_get::<bool, _>(0).map_err(failed)? {
            return Err(Error::unavailable("indexes are being built already")
                .with_hint("wait until that is done; then there may be nothing left to build"));
        }
        let namespaces = self.outgrown().await?;
        for namespace in &namespaces {
            self.mark(namespace).await?;
        }
        let dimensions: BTreeSet<i32> = namespaces.iter().map(|n| n.dimensions).collect();
        let mut built = Vec::new();
        for dimensions in dimensions {
            built.push(self.ensure(dimensions).await?);
        }
        for namespace in &namespaces {
            let query = sqlx::query(self.fill(FINISH)).bind(&namespace.user).bind(namespace.number);
            query.execute(&mut *self.connection).await.map_err(failed)?;
        }
        Ok(built)
    }

    fn fill(&self, sql: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(self.schema.fill(sql))
    }

    async fn outgrown(&mut self) -> Result<Vec<Namespace>> {
        let query = sqlx::query(self.fill(OUTGROWN)).bind(bigint(EXACT_SEARCH_LIMIT));
        let rows = query.fetch_all(&mut *self.connection).await.map_err(failed)?;
        let namespace = |row: &PgRow| {
            Ok(Namespace {
                user: get(row, "user_id")?,
                number: get(row, "namespace_number")?,
                dimensions: get(row, "dimensions")?,
            })
        };
        rows.iter().map(namespace).collect()
    }

    async fn mark(&mut self, namespace: &Namespace) -> Result<()> {
        let mut last = String::new();
        loop {
            let query = sqlx::query(self.fill(MARK))
                .bind(&namespace.user)
                .bind(namespace.number)
                .bind(last)
                .bind(MARK_BATCH);
            let rows = query.fetch_all(&mut *self.connection).await.map_err(failed)?;
            match get(one(&rows)?, "last")? {
                Some(id) => last = id,
                None => return Ok(()),
            }
        }
    }

    /// Ensures that the index of these dimensions exists, and returns its name.
    async fn ensure(&mut self, dimensions: i32) -> Result<String> {
        let name = format!("embeddings_nearest_{dimensions}");
        let schema = quoted(self.schema.name());
        let query = sqlx::query(STATE).bind(&schema).bind(&name);
        let rows = query.fetch_all(&mut *self.connection).await.map_err(failed)?;
        let state = one(&rows)?;
        let beside = if get(state, "is_partitioned")? { "" } else { "CONCURRENTLY" };
        match get::<Option<bool>>(state, "is_valid")? {
            Some(true) => return Ok(name),
            // Left over from a building that broke off.
            Some(false) => {
                run(self.connection, &format!("DROP INDEX {beside} {schema}.{name}")).await?;
            }
            None => {}
        }
        let row = self.connection.fetch_one(VECTOR_SCHEMA).await.map_err(failed)?;
        let vector: String = row.try_get(0).map_err(failed)?;
        let column = if dimensions <= SINGLE {
            format!("(embedding::{vector}.vector({dimensions})) {vector}.vector_cosine_ops")
        } else {
            // Of length 1, every number fits in half precision.
            format!(
                "({vector}.l2_normalize(embedding)::{vector}.halfvec({dimensions})) \
                 {vector}.halfvec_cosine_ops"
            )
        };
        let create = format!(
            "CREATE INDEX {beside} {name} ON {schema}.embeddings USING hnsw ({column}) \
             WHERE index_dimensions = {dimensions}"
        );
        run(self.connection, &create).await?;
        Ok(name)
    }
}
