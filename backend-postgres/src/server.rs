//! What is found out at connect: the server, the extension, the schema, and whether row level
//! security binds the role that is to work on the data.

mod versions;

use memquill_core::{Durability, Error, ErrorKind, Result};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::codec::{get, one};
use crate::config::{Schema, quoted};
use crate::error::failed;

/// Reads the catalogs alone, so that it works whatever is missing. `$1` is the schema, `$2` the
/// role to step down to, if any.
pub(crate) const SERVER: &str = "
SELECT
    current_setting('server_version_num')::int AS version_number,
    current_setting('server_version') AS version,
    current_setting('server_encoding') AS encoding,
    current_setting('fsync')::bool AND current_setting('full_page_writes')::bool
        AND current_setting('synchronous_commit') <> 'off' AS survives_crash,
    current_setting('transaction_read_only')::bool AS is_read_only,
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS vector_version,
    (SELECT me.rolname::text FROM pg_roles AS me
        WHERE me.rolname = current_user AND NOT me.rolsuper AND NOT me.rolbypassrls
            AND NOT pg_has_role(me.oid, head.relowner, 'USAGE')) AS no_administrator,
    coalesce($2, session_user) AS role_name,
    CASE
        WHEN worker.oid IS NULL THEN 'is not there'
        WHEN worker.rolsuper THEN 'is a superuser'
        WHEN worker.rolbypassrls THEN 'has BYPASSRLS'
        WHEN pg_has_role(worker.oid, head.relowner, 'USAGE')
            THEN 'owns the tables, or has the rights of their owner'
        WHEN NOT pg_has_role(session_user, worker.oid, 'MEMBER')
            THEN 'is not one that the connection may step down to'
    END AS unfit,
    home.oid IS NOT NULL AS has_schema,
    coalesce(obj_description(head.oid, 'pg_class'), '') AS schema_version,
    coalesce(has_table_privilege(worker.oid, head.oid, 'INSERT'), false) AS is_granted
FROM (SELECT) AS nothing
LEFT JOIN pg_roles AS worker ON worker.rolname = coalesce($2, session_user)
LEFT JOIN pg_namespace AS home ON home.nspname = $1
LEFT JOIN pg_class AS head ON head.relnamespace = home.oid AND head.relname = 'conversations'";

/// The version of the schema that this driver creates and reads.
pub(crate) const VERSION: u32 = 1;

/// The schema of the extension vector, as an SQL identifier.
pub(crate) const VECTOR_SCHEMA: &str = "
SELECT quote_ident(n.nspname) FROM pg_extension AS e
JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'";

/// What the comment of the table `conversations` starts with; the schema's version follows. A table
/// of this name without such a comment is somebody else's.
pub(crate) const VERSION_PREFIX: &str = "memquill schema ";

/// The tables, each of which the data role may read and write.
const TABLES: [&str; 7] = [
    "conversations",
    "conversation_buffers",
    "message_ids",
    "namespaces",
    "embeddings",
    "embedding_words",
    "memory_data",
];
/// The sequences, each of which the data role may take numbers from.
const SEQUENCES: [&str; 2] = ["record_numbers", "entry_versions"];

/// The versions of Postgres and pgvector that the driver is for.
const OLDEST_SERVER: i32 = 150_000;
const OLDEST_VECTOR: (u32, u32) = (0, 8);

/// What was found.
#[derive(Debug)]
pub(crate) struct Server {
    version_number: i32,
    version: String,
    encoding: String,
    /// What an acknowledged write survives by the settings of server and role (G6).
    durability: Durability,
    is_read_only: bool,
    vector_version: Option<String>,
    /// The connection's own role, where it does not see the rows of all users to administer them.
    no_administrator: Option<String>,
    role_name: String,
    /// Why the role is none that row level security binds and data work can be done by.
    unfit: Option<String>,
    has_schema: bool,
    schema_version: String,
    is_granted: bool,
}

impl Server {
    pub(crate) fn read(rows: &[PgRow]) -> Result<Self> {
        let row = one(rows)?;
        Ok(Self {
            version_number: get(row, "version_number")?,
            version: get(row, "version")?,
            encoding: get(row, "encoding")?,
            durability: if get(row, "survives_crash")? {
                Durability::Crash
            } else {
                Durability::Restart
            },
            is_read_only: get(row, "is_read_only")?,
            vector_version: get(row, "vector_version")?,
            no_administrator: get(row, "no_administrator")?,
            role_name: get(row, "role_name")?,
            unfit: get(row, "unfit")?,
            has_schema: get(row, "has_schema")?,
            schema_version: get(row, "schema_version")?,
            is_granted: get(row, "is_granted")?,
        })
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    pub(crate) fn version(&self) -> String {
        let vector = self.vector_version.as_deref().unwrap_or("missing");
        format!("PostgreSQL {}, pgvector {vector}", self.version)
    }

    /// Refuses what data work cannot or must not be done on.
    pub(crate) fn check_for_data(&self, schema: &Schema, role: Option<&str>) -> Result<()> {
        self.check_server()?;
        self.check_role(schema, role)?;
        self.check_schema(schema)?;
        if self.vector_version.is_none() {
            return Err(Error::config("the database has no extension vector").with_hint(
                "the embeddings went with it: restore a backup, or start again with another ?schema=",
            ));
        }
        self.check_rights(schema)
    }

    pub(crate) fn check_server(&self) -> Result<()> {
        if self.version_number < OLDEST_SERVER {
            return Err(Error::config(format!("PostgreSQL {} is too old", self.version))
                .with_hint("use PostgreSQL 15 or newer"));
        }
        if self.encoding != "UTF8" {
            return Err(Error::config(format!("the database is encoded in {}", self.encoding))
                .with_hint("use one made by CREATE DATABASE … ENCODING UTF8 TEMPLATE template0"));
        }
        let Some(vector) = &self.vector_version else { return Ok(()) };
        let mut parts = vector.split('.').map(|part| part.parse().unwrap_or(0));
        let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if found < OLDEST_VECTOR {
            return Err(Error::config(format!("pgvector {vector} is too old"))
                .with_hint("install pgvector 0.8 or newer, then ALTER EXTENSION vector UPDATE"));
        }
        Ok(())
    }

    /// Refuses a server that only reads (`target_session_attrs=read-write`).
    pub(crate) fn check_writable(&self) -> Result<()> {
        if !self.is_read_only {
            return Ok(());
        }
        Err(Error::unavailable(
            "the server is read only, and target_session_attrs asks for another",
        )
        .with_hint("connect to the primary"))
    }

    /// Only a role that row level security binds may work on the data.
    fn check_role(&self, schema: &Schema, role: Option<&str>) -> Result<()> {
        let Some(why) = &self.unfit else { return Ok(()) };
        let name = role.unwrap_or("memquill_data");
        Err(Error::config(format!(
            "data work needs a role that row level security binds; {:?} {why}",
            self.role_name
        ))
        .with_hint(format!(
            "name a role to step down to with ?role={name}, made by: {}",
            create_role(schema, name)
        )))
    }

    /// Only the owner's policy, or none at all, lets a role see the rows of all users: any other
    /// would find nothing, and succeed.
    pub(crate) fn check_administrator(&self) -> Result<()> {
        let Some(name) = &self.no_administrator else { return Ok(()) };
        Err(Error::new(
            ErrorKind::PermissionDenied,
            format!("the role {name:?} does not see the rows of all users"),
        )
        .with_hint("administer with the URL of the tables' owner, who ran `memquill migrate`"))
    }

    pub(crate) fn check_schema(&self, schema: &Schema) -> Result<()> {
        if let Some(version) = self.schema_version()? {
            return Self::check_version(schema, version);
        }
        let what = if self.has_schema { "has no tables of memquill" } else { "does not exist" };
        Err(Error::config(format!("the schema {:?} {what}", schema.name()))
            .with_hint("run `memquill migrate` with an administrator's URL"))
    }

    /// Refuses another version than this driver's: there is no older one.
    pub(crate) fn check_version(schema: &Schema, version: u32) -> Result<()> {
        if version == VERSION {
            return Ok(());
        }
        Err(Error::config(format!(
            "the schema {:?} is newer than this driver: its version is {version}, known is {VERSION}",
            schema.name()
        ))
        .with_hint("use the version of memquill that migrated it, or a newer one"))
    }

    /// Whether the schema exists, whoever it belongs to.
    pub(crate) fn has_schema(&self) -> bool {
        self.has_schema
    }

    /// The version of what is ours in the schema, if there is something.
    pub(crate) fn schema_version(&self) -> Result<Option<u32>> {
        let Some(number) = self.schema_version.strip_prefix(VERSION_PREFIX) else {
            return Ok(None);
        };
        number.parse().map(Some).map_err(|_| {
            Error::config(format!("the schema's version {number:?} is not a number"))
                .with_hint("use the version of memquill that migrated it, or a newer one")
        })
    }

    fn check_rights(&self, schema: &Schema) -> Result<()> {
        if self.is_granted {
            return Ok(());
        }
        Err(Error::config(format!(
            "the role {:?} has no rights in the schema {:?}",
            self.role_name,
            schema.name()
        ))
        .with_hint(format!(
            "run `memquill migrate` with an administrator's URL and ?role={}",
            self.role_name
        )))
    }

    /// Tells the log what the server's versions are known for.
    pub(crate) fn warn(&self) {
        if let Some(why) = versions::of_server(self.version_number) {
            tracing::warn!(target: memquill_core::layer::TARGET, version = self.version, "{why}");
        }
        let vector = self.vector_version.as_deref();
        if let Some(why) = vector.and_then(versions::of_vector) {
            tracing::warn!(target: memquill_core::layer::TARGET, version = vector, "{why}");
        }
    }
}

/// SQL that creates a role for data work.
fn create_role(schema: &Schema, name: &str) -> String {
    let role = quoted(name);
    let grants = grants(schema, &role);
    format!(
        "CREATE ROLE {role} NOLOGIN NOBYPASSRLS; GRANT {role} TO CURRENT_USER; {grants} \
         (or run `memquill migrate` with ?role={name})"
    )
}

/// SQL that lets a role, given as an SQL identifier, work on the data. It names what is ours, since
/// others may have put tables of theirs beside it.
pub(crate) fn grants(schema: &Schema, role: &str) -> String {
    let list = |names: &[&str]| {
        let names = names.iter().map(|name| format!("{}.{name}", quoted(schema.name())));
        names.collect::<Vec<_>>().join(", ")
    };
    format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {} TO {role}; \
         GRANT USAGE ON SEQUENCE {} TO {role}",
        list(&TABLES),
        list(&SEQUENCES)
    )
}

/// Runs statements that return nothing.
pub(crate) async fn run(connection: &mut PgConnection, sql: &str) -> Result<()> {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    connection.execute(sql).await.map(drop).map_err(failed)
}
