//! The conformance suite on a real Postgres: through a role that a superuser steps down to, and as
//! Supabase is set up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use memquill_conformance::{Faults, Harness, TestStore, async_trait, main_with};
use memquill_core::{Administrator, Backend, Error, Result, StoreUrl};
use memquill_postgres::driver;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use support::server::{self, Server};
use support::{fresh_name, run_sql};
use testkit::Gate;

/// Supabase's roles and its `auth.uid()`, in a database of its own. Its clients log in as
/// `authenticator`, and step down.
const SUPABASE: &str = "
DO $$ BEGIN
    CREATE ROLE anon NOLOGIN NOINHERIT;
    CREATE ROLE authenticated NOLOGIN NOINHERIT;
    CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
    CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD 'secret';
    GRANT anon, authenticated, service_role TO authenticator;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
CREATE SCHEMA extensions;
GRANT USAGE ON SCHEMA extensions TO anon, authenticated, service_role;
CREATE EXTENSION vector SCHEMA extensions;";

/// Stores in one database, each in a schema of its own.
struct Postgres {
    name: &'static str,
    server: Arc<Server>,
    /// User and password for data work.
    data: String,
    database: String,
    role: &'static str,
}

/// A store that is reached through a gate.
struct Store {
    gate: Arc<Gate>,
    server: Arc<Server>,
    data: String,
    database: String,
    role: &'static str,
    schema: String,
}

#[async_trait]
impl Harness for Postgres {
    fn name(&self) -> &str {
        self.name
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let store = Store {
            gate: Gate::before(self.server.address()).await,
            server: Arc::clone(&self.server),
            data: self.data.clone(),
            database: self.database.clone(),
            role: self.role,
            schema: fresh_name(),
        };
        store.admin().await?.migrate().await?;
        Ok(Arc::new(store))
    }
}

impl Store {
    fn url(&self, credentials: &str, schema: &str) -> StoreUrl {
        self.url_at(&self.gate.address().to_string(), credentials, schema)
    }

    fn url_at(&self, address: &str, credentials: &str, schema: &str) -> StoreUrl {
        let (database, role) = (&self.database, self.role);
        let url = format!("postgres://{credentials}@{address}/{database}?role={role}");
        format!("{url}&schema={schema}").parse().unwrap()
    }
}

#[async_trait]
impl TestStore for Store {
    async fn connect(&self) -> Result<Backend> {
        driver().connect(&self.url(&self.data, &self.schema)).await
    }

    async fn admin(&self) -> Result<Administrator> {
        driver().admin(&self.url(self.server.credentials(), &self.schema)).await
    }

    async fn connect_to_unmigrated(&self) -> Option<Result<Backend>> {
        Some(driver().connect(&self.url(&self.data, &fresh_name())).await)
    }

    async fn connect_to_newer(&self) -> Option<Result<Backend>> {
        let schema = fresh_name();
        let admin = driver().admin(&self.url(self.server.credentials(), &schema)).await.unwrap();
        admin.migrate().await.unwrap();
        let newer = format!("COMMENT ON TABLE {schema}.conversations IS 'memquill schema 999'");
        run_sql(&self.server.url(&self.database), &newer).await.unwrap();
        Some(driver().connect(&self.url(&self.data, &schema)).await)
    }

    async fn after_crash(&self) -> Option<Result<Backend>> {
        let server = Arc::clone(&self.server);
        let copy = tokio::task::spawn_blocking(move || server.copy_after_crash());
        let address = copy.await.unwrap()?;
        Some(driver().connect(&self.url_at(&address, &self.data, &self.schema)).await)
    }

    async fn held(&self, user: &str) -> Option<u64> {
        let Self { server, database, schema, .. } = self;
        let count = format!(
            "SELECT (SELECT count(*) FROM {schema}.embeddings WHERE user_id = $1)
                + (SELECT count(*) FROM {schema}.memory_data WHERE user_id = $1)"
        );
        let mut connection = PgConnection::connect(&server.url(database)).await.unwrap();
        let query = sqlx::query_scalar(AssertSqlSafe(count)).bind(user);
        let held: i64 = query.fetch_one(&mut connection).await.unwrap();
        Some(held.unsigned_abs())
    }

    async fn pass(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    async fn connect_with_wrong_credentials(&self, secret: &str) -> Option<Error> {
        driver().connect(&self.url(&format!("postgres:{secret}"), &self.schema)).await.err()
    }

    fn faults(&self) -> Option<Arc<dyn Faults>> {
        Some(Arc::clone(&self.gate) as _)
    }
}

/// Runs the suite in a new database of the server.
fn suite(harness: Postgres, prepare: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let create = format!("CREATE DATABASE {}", harness.database);
    runtime.block_on(async {
        run_sql(&harness.server.url("postgres"), &create).await.unwrap();
        run_sql(&harness.server.url(&harness.database), prepare).await.unwrap();
    });
    main_with(harness)
}

fn main() -> ExitCode {
    let server = match Server::any() {
        Ok(server) => Arc::new(server),
        Err(why) => {
            return server::missing("postgres::general::a_server", why);
        }
    };
    let harness = |name, data: &str, role| Postgres {
        name,
        server: Arc::clone(&server),
        data: data.to_owned(),
        database: fresh_name(),
        role,
    };
    let codes = [
        suite(harness("postgres", server.credentials(), "memquill_data"), ""),
        suite(harness("postgres (supabase)", "authenticator:secret", "authenticated"), SUPABASE),
    ];
    if codes.iter().all(|code| *code == ExitCode::SUCCESS) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
