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

/// Declares a facet and the functions of the schema that it calls, each with the number of its
/// parameters. The statements are written once, at connect.
macro_rules! facet {
    ($(#[$doc:meta])* $facet:ident { $($function:ident($parameters:literal),)* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[allow(clippy::struct_field_names, reason = "they are the functions of the schema")]
        pub(crate) struct $facet {
            store: std::sync::Arc<crate::store::Store>,
            $($function: crate::store::Statement,)*
        }

        impl $facet {
            pub(crate) fn new(store: &std::sync::Arc<crate::store::Store>) -> Self {
                Self {
                    store: std::sync::Arc::clone(store),
                    $($function: store.statement(stringify!($function), $parameters),)*
                }
            }
        }
    };
}
pub(crate) use facet;

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

    /// Writes the statement that calls a function of the schema.
    pub(crate) fn statement(&self, function: &str, parameters: usize) -> Statement {
        let parameters: Vec<_> = (1..=parameters).map(|number| format!("${number}")).collect();
        let call = format!("SELECT * FROM {{schema}}.{function}({})", parameters.join(", "));
        self.schema.fill(&call).into()
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
