//! The driver, and what a data connection can do besides its facets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use memquill_core::{
    Administrator, Backend, BackendParts, Capabilities, Control, Driver, ErasureReceipt, Feature,
    Health, Page, PageRequest, Result, Scope, StoreUrl, VectorQuality, operation as op,
};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};

use crate::admin::Administration;
use crate::codec::{get, get_count, size};
use crate::config::{Config, Schema};
use crate::connect::{SERVER, Server};
use crate::indexing::FEW;
use crate::pool::Pool;

pub(crate) const NAME: &str = "postgres";

const ERASE: &str = "SELECT * FROM {schema}.erase($1, $2)";
const LIST_NODES: &str = "SELECT * FROM {schema}.list_nodes($1, $2, $3, $4)";

/// The driver of `postgres://` and `postgresql://`.
pub fn driver() -> Arc<dyn Driver> {
    Arc::new(PostgresDriver)
}

#[derive(Debug)]
struct PostgresDriver;

#[async_trait]
impl Driver for PostgresDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["postgres", "postgresql"]
    }

    async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        let located =
            |error: memquill_core::Error| error.with_backend(NAME).with_operation(op::CONNECT);
        let (store, server) = Store::connect(url).await.map_err(located)?;
        let store = Arc::new(store);
        let quality = VectorQuality { exact_up_to: Some(FEW), similarity_tolerance: 1e-4 };
        Ok(Backend::new(BackendParts {
            name: NAME,
            capabilities: Capabilities {
                vectors: Some(quality),
                ..Capabilities::new(server.durability(), Feature::ALL)
            },
            conversations: Some(Arc::clone(&store) as _),
            vectors: Some(Arc::clone(&store) as _),
            working: Some(Arc::clone(&store) as _),
            control: store as _,
        }))
    }

    async fn admin(&self, url: &StoreUrl) -> Result<Administrator> {
        let config = Config::from_url(url).map_err(|error| error.with_backend(NAME))?;
        Ok(Administrator::new(NAME, Arc::new(Administration::new(config)) as _))
    }
}

/// A data connection: every call through it states a user, and row level security binds it.
#[derive(Debug)]
pub(crate) struct Store {
    pool: Pool,
    schema: Schema,
    role: Option<String>,
}

impl Store {
    async fn connect(url: &StoreUrl) -> Result<(Self, Server)> {
        let config = Config::from_url(url)?;
        let must_write = config.must_write;
        let (schema, role) = (config.schema.clone(), config.role.clone());
        let store = Self { pool: Pool::new(config), schema, role };
        let server = store.server().await?;
        if must_write {
            server.check_writable()?;
        }
        server.check_for_data(&store.schema, store.role.as_deref())?;
        server.warn();
        Ok((store, server))
    }

    async fn server(&self) -> Result<Server> {
        let role = self.role.as_deref();
        let rows =
            self.pool.fetch(|| sqlx::query(SERVER).bind(self.schema.name()).bind(role)).await?;
        Server::read(&rows)
    }

    /// Calls a function for a user. Its first two parameters are the user and the role; `bind`
    /// gives the rest.
    pub(crate) async fn call(
        &self,
        sql: &'static str,
        user: &str,
        bind: impl Fn(Call) -> Call + Send + Sync,
    ) -> Result<Vec<PgRow>> {
        let sql: Arc<str> = self.schema.fill(sql).into();
        self.pool
            .fetch(|| {
                let call = sqlx::query(AssertSqlSafe(Arc::clone(&sql)));
                bind(call.bind(user).bind(self.role.as_deref()))
            })
            .await
    }

    /// As [`Store::call`], for a scope; the third parameter is its node.
    pub(crate) async fn call_in(
        &self,
        sql: &'static str,
        scope: &Scope,
        bind: impl Fn(Call) -> Call + Send + Sync,
    ) -> Result<Vec<PgRow>> {
        self.call(sql, scope.user(), |call| bind(call.bind(scope.node()))).await
    }
}

/// A statement that is being bound.
pub(crate) type Call = Query<'static, Postgres, PgArguments>;

/// The row of a function that always gives one.
pub(crate) fn one(rows: &[PgRow]) -> Result<&PgRow> {
    rows.first().ok_or_else(|| memquill_core::Error::internal("Postgres answered without a row"))
}

#[async_trait]
impl Control for Store {
    async fn health(&self, deadline: Duration) -> Health {
        let start = Instant::now();
        let answer = tokio::time::timeout(deadline, self.server()).await;
        let latency = start.elapsed();
        match answer {
            Err(_) => Health::late(latency, deadline),
            Ok(Err(error)) => Health::unreachable(latency, error.to_string()),
            Ok(Ok(server)) => {
                let check = server.check_for_data(&self.schema, self.role.as_deref());
                let missing: Vec<_> = check.err().iter().map(ToString::to_string).collect();
                Health::answered(latency, server.version(), missing)
            }
        }
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        let rows = self.call(ERASE, user, |call| call).await?;
        let row = one(&rows)?;
        Ok(ErasureReceipt {
            messages: get_count(row, "messages")?,
            records: get_count(row, "records")?,
            entries: get_count(row, "entries")?,
        })
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        let behind = page.position(op::LIST_SCOPES)?.unwrap_or_default();
        let rows = self
            .call(LIST_NODES, user, |call| call.bind(behind.as_str()).bind(size(page.limit + 1)))
            .await?;
        let scopes = rows
            .iter()
            .map(|row| Scope::new(user, get::<String>(row, "node_id")?))
            .collect::<Result<_>>()?;
        Ok(Page::cut(scopes, page.limit, op::LIST_SCOPES, Scope::node))
    }

    async fn close(&self) -> Result<()> {
        self.pool.close().await;
        Ok(())
    }
}
