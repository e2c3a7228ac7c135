//! Administration: the schema, purging, and the list of users. It has a type and a connection of
//! its own, so that no data call can go through it by accident.

use async_trait::async_trait;
use memquill_core::{
    Admin, Error, ErrorKind, Indexing, Migration, Page, PageRequest, PurgeReceipt, Result,
    operation as op,
};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _};

use crate::codec::{get, get_count, one, size};
use crate::config::{Config, quoted};
use crate::error::{During, failed, refuses_client_check, translate};
use crate::indexing::Builder;
use crate::server::{SERVER, Server, VECTOR_SCHEMA, VERSION, VERSION_PREFIX, grants, run};

/// The files of the schema, in their order. Until the first release they are edited in place.
const FILES: [(&str, &str); 8] = [
    ("schema", include_str!("../migrations/0001_schema.sql")),
    ("row_security", include_str!("../migrations/0002_row_security.sql")),
    ("conversations", include_str!("../migrations/0003_conversations.sql")),
    ("conversation_removal", include_str!("../migrations/0004_conversation_removal.sql")),
    ("vectors", include_str!("../migrations/0005_vectors.sql")),
    ("vector_search", include_str!("../migrations/0006_vector_search.sql")),
    ("working", include_str!("../migrations/0007_working.sql")),
    ("administration", include_str!("../migrations/0008_administration.sql")),
];

/// The lock that migrations hold against each other; its number is never changed.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7886134370445521524)"; // "mq-migrt" in ASCII
const ROLE: &str = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)";
/// Everything in a schema that no extension brought, tables first. Whatever is in a schema depends
/// on it, be it a table or an operator.
const OBJECTS: &str = "
SELECT DISTINCT o.type || ' ' || o.identity AS object, o.type <> 'table' AS is_other
FROM pg_namespace AS n
JOIN pg_depend AS d
    ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid AND d.deptype = 'n'
CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) AS o
WHERE n.nspname = $1 AND o.schema = quote_ident(n.nspname)
    AND NOT EXISTS (
        SELECT FROM pg_depend AS e
        WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
ORDER BY 2, 1";
/// The most objects of others that an error names.
const MAX_NAMED: usize = 8;
const PURGE_RECORDS: &str = "SELECT purged, is_more FROM {schema}.purge_records($1)";
const PURGE_ENTRIES: &str = "SELECT purged, is_more FROM {schema}.purge_entries($1)";
const LIST_USERS: &str = "SELECT user_id FROM {schema}.list_users($1, $2)";

/// Expired items that one statement of a purge removes at most: few enough to hold no lock long.
const PURGE_BATCH: i64 = 1_000;

/// An administration handle. It connects for each call: administration is rare, and a connection
/// with such rights is not kept open.
#[derive(Debug)]
pub(crate) struct Administration {
    config: Config,
}

impl Administration {
    pub(crate) fn new(config: Config) -> Self {
        Self { config }
    }

    async fn connection(&self) -> Result<PgConnection> {
        match tokio::time::timeout(self.config.acquire_timeout, self.connect()).await {
            Ok(connection) => connection.map_err(|error| translate(error, During::Connect)),
            Err(_) => Err(Error::unavailable("Postgres did not take a connection in time")
                .with_hint("check that the server runs and that host and port are right")),
        }
    }

    async fn connect(&self) -> std::result::Result<PgConnection, sqlx::Error> {
        let has_check = self.config.has_client_check();
        match self.config.for_administration(has_check).connect().await {
            Err(error) if has_check && refuses_client_check(&error) => {
                self.config.for_administration(false).connect().await
            }
            connected => connected,
        }
    }

    /// The statement with the schema's name in its places.
    fn fill(&self, sql: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(self.config.schema.fill(sql))
    }

    /// The server, once its schema is this driver's and the role is one that sees all rows.
    async fn ready(&self) -> Result<PgConnection> {
        let mut connection = self.connection().await?;
        let server = self.server(&mut connection).await?;
        server.check_schema(&self.config.schema)?;
        server.check_administrator()?;
        Ok(connection)
    }

    async fn server(&self, connection: &mut PgConnection) -> Result<Server> {
        let query = sqlx::query(SERVER).bind(self.config.schema.name()).bind(None::<&str>);
        let rows = query.fetch_all(connection).await.map_err(failed)?;
        Server::read(&rows)
    }

    async fn apply(&self, connection: &mut PgConnection) -> Result<Vec<String>> {
        let server = self.server(connection).await?;
        server.check_server()?;
        let applied = if let Some(version) = server.schema_version()? {
            Server::check_version(&self.config.schema, version)?;
            &[]
        } else {
            self.create(connection, &server).await?;
            &FILES[..]
        };
        if let Some(role) = &self.config.role {
            self.grant(connection, role).await?;
        }
        Ok(applied.iter().map(|(name, _)| (*name).to_owned()).collect())
    }

    /// Creates everything in a schema that holds nothing yet.
    async fn create(&self, connection: &mut PgConnection, server: &Server) -> Result<()> {
        self.check_empty(connection).await?;
        let schema = quoted(self.config.schema.name());
        if !server.has_schema() {
            run(connection, &format!("CREATE SCHEMA {schema}")).await?;
        }
        run(connection, "CREATE EXTENSION IF NOT EXISTS vector").await.map_err(|error| {
            error.with_hint(
                "install pgvector on the server, and let a superuser run CREATE EXTENSION vector",
            )
        })?;
        self.server(connection).await?.check_server()?;
        let row = connection.fetch_one(VECTOR_SCHEMA).await.map_err(failed)?;
        let vector: String = row.try_get(0).map_err(failed)?;
        for (_, sql) in FILES {
            let sql = self.config.schema.fill(sql).replace("{vector}", &vector);
            run(connection, &sql).await?;
        }
        let mark =
            format!("COMMENT ON TABLE {schema}.conversations IS '{VERSION_PREFIX}{VERSION}'");
        run(connection, &mark).await
    }

    /// Refuses a schema that holds anything of others: among their tables, ours could not be told
    /// from theirs, and a name of theirs would be in the way of one of ours.
    async fn check_empty(&self, connection: &mut PgConnection) -> Result<()> {
        let name = self.config.schema.name();
        let query = sqlx::query(OBJECTS).bind(name);
        let rows = query.fetch_all(&mut *connection).await.map_err(failed)?;
        if rows.is_empty() {
            return Ok(());
        }
        let named: Vec<&str> =
            rows.iter().take(MAX_NAMED).map(|row| get(row, "object")).collect::<Result<_>>()?;
        let more = match rows.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Err(Error::config(format!(
            "the schema {name:?} holds what is not memquill's: {}{more}",
            named.join(", ")
        ))
        .with_hint(
            "choose another schema, such as ?schema=memquill; it is created if it does not exist \
             (docs/operations.md says how to move memquill's tables out of a schema of others)",
        ))
    }

    /// Creates the role if it is not there, and lets it work on the data.
    async fn grant(&self, connection: &mut PgConnection, name: &str) -> Result<()> {
        let row = sqlx::query(ROLE).bind(name).fetch_one(&mut *connection).await.map_err(failed)?;
        let role = quoted(name);
        if !row.try_get::<bool, _>(0).map_err(failed)? {
            let create =
                format!("CREATE ROLE {role} NOLOGIN NOBYPASSRLS; GRANT {role} TO CURRENT_USER");
            run(connection, &create).await?;
        }
        run(connection, &grants(&self.config.schema, &role)).await
    }

    /// Calls a purging function until nothing is left, and counts what is gone.
    async fn purge(
        &self,
        connection: &mut PgConnection,
        sql: &str,
        purged: &mut u64,
    ) -> Result<()> {
        loop {
            let query = sqlx::query(self.fill(sql)).bind(PURGE_BATCH);
            let rows = query.fetch_all(&mut *connection).await.map_err(failed)?;
            let row = one(&rows)?;
            *purged += get_count(row, "purged")?;
            // Not by the count: somebody else may have removed what this call found.
            if !get::<bool>(row, "is_more")? {
                return Ok(());
            }
        }
    }

    async fn purge_all(&self, receipt: &mut PurgeReceipt) -> Result<()> {
        let mut connection = self.ready().await?;
        self.purge(&mut connection, PURGE_RECORDS, &mut receipt.records).await?;
        self.purge(&mut connection, PURGE_ENTRIES, &mut receipt.entries).await
    }
}

/// Says which rights a migration needs.
fn explained(error: Error) -> Error {
    if error.kind() != ErrorKind::PermissionDenied || error.message().contains("extension") {
        return error;
    }
    error.with_hint(
        "migrate with a role that may CREATE on the database, or owns the empty schema; with ?role=, \
         one that has CREATEROLE or that role's admin option",
    )
}

#[async_trait]
impl Admin for Administration {
    /// In one transaction, under a lock: whoever comes second finds it done.
    async fn migrate(&self) -> Result<Migration> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        run(&mut transaction, LOCK).await?;
        let applied = self.apply(&mut transaction).await.map_err(explained)?;
        transaction.commit().await.map_err(failed)?;
        Ok(Migration { applied })
    }

    async fn purge_expired(&self) -> Result<PurgeReceipt> {
        let mut receipt = PurgeReceipt::default();
        match self.purge_all(&mut receipt).await {
            Ok(()) => Ok(receipt),
            // Every batch is kept as it is done: what fails later takes none of it back (E1).
            Err(error) if receipt != PurgeReceipt::default() => Err(error.with_maybe_applied(true)),
            Err(error) => Err(error),
        }
    }

    async fn build_indexes(&self) -> Result<Indexing> {
        let mut connection = self.ready().await?;
        let built = Builder::new(&self.config.schema, &mut connection).build().await?;
        Ok(Indexing { built })
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        let after = page.position(op::LIST_USERS)?.unwrap_or_default();
        let mut connection = self.ready().await?;
        let query = sqlx::query(self.fill(LIST_USERS)).bind(after).bind(size(page.limit + 1));
        let rows = query.fetch_all(&mut connection).await.map_err(failed)?;
        let users =
            rows.iter().map(|row: &PgRow| get(row, "user_id")).collect::<Result<Vec<String>>>()?;
        Ok(Page::cut(users, page.limit, op::LIST_USERS, String::as_str))
    }
}
