//! A connected store, which the facets share.

use std::sync::Arc;

use memquill_core::{Result, Scope, StoreUrl};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;

use crate::config::{Config, Schema};
use crate::pool::{Call, Pool};
use crate::server::{SERVER, Server};

/// A statement with the schema's name in it.
pub(crate) type Statement = Arc<str>;

/// Declares the statements of a facet, which are filled with the schema's name once.
macro_rules! statements {
    ($($name:ident: $sql:expr),* $(,)?) => {
        #[derive(Debug)]
        struct Statements {
            $($name: Statement,)*
        }

        impl Statements {
            fn new(schema: &crate::config::Schema) -> Self {
                Self { $($name: schema.fill($sql).into(),)* }
            }
        }
    };
}
pub(crate) use statements;

/// A data connection: every call through it states a user, and row level security binds it.
#[derive(Debug)]
pub(crate) struct Store {
    pool: Pool,
    schema: Schema,
    role: Option<String>,
}

impl Store {
    pub(crate) async fn connect(url: &StoreUrl) -> Result<(Self, Server)> {
        let config = Config::from_url(url)?;
        let must_write = config.must_write;
        let (schema, role) = (config.schema.clone(), config.role.clone());
        let store = Self { pool: Pool::new(config), schema, role };
        let server = store.server().await?;
        if must_write {
            server.check_writable()?;
        }
        store.check(&server)?;
        server.warn();
        Ok((store, server))
    }

    pub(crate) async fn server(&self) -> Result<Server> {
        let role = self.role.as_deref();
        let rows =
            self.pool.fetch(|| sqlx::query(SERVER).bind(self.schema.name()).bind(role)).await?;
        Server::read(&rows)
    }

    /// The server, once data work can be done on it.
    pub(crate) fn check(&self, server: &Server) -> Result<()> {
        server.check_for_data(&self.schema, self.role.as_deref())
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Calls a function for a user. Its first two parameters are the user and the role; `bind`
    /// gives the rest.
    pub(crate) async fn call(
        &self,
        sql: &Statement,
        user: &str,
        bind: impl Fn(Call) -> Call + Send + Sync,
    ) -> Result<Vec<PgRow>> {
        self.pool
            .fetch(|| {
                let call = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
                bind(call.bind(user).bind(self.role.as_deref()))
            })
            .await
    }

    /// As [`Store::call`], for a scope; the third parameter is its node.
    pub(crate) async fn call_in(
        &self,
        sql: &Statement,
        scope: &Scope,
        bind: impl Fn(Call) -> Call + Send + Sync,
    ) -> Result<Vec<PgRow>> {
        self.call(sql, scope.user(), |call| bind(call.bind(scope.node()))).await
    }
}
