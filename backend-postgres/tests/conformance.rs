//! The conformance suite on a real Postgres: through a role that a superuser steps down to, and as
//! Supabase is set up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use memquill_conformance::{Faults, Harness, TestStore, async_trait, main_with};
use memquill_core::{Administrator, Backend, Error, Result};
use memquill_postgres::driver;
use support::gate::Gate;
use support::server::{self, Server};
use support::{fresh_name, run_sql};

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
    /// Host and port of the server, credentials for data work and for administration.
    server: String,
    data: String,
    admin: String,
    database: String,
    role: &'static str,
}

/// A store, behind a gate.
struct Store {
    gate: Arc<Gate>,
    data: String,
    admin: String,
    path: String,
}

#[async_trait]
impl Harness for Postgres {
    fn name(&self) -> &str {
        self.name
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let (database, role) = (&self.database, self.role);
        let store = Store {
            gate: Gate::before(&self.server).await,
            data: self.data.clone(),
            admin: self.admin.clone(),
            path: format!("{database}?role={role}&schema={}", fresh_name()),
        };
        store.admin().await?.migrate().await?;
        Ok(Arc::new(store))
    }
}

impl Store {
    fn url(&self, credentials: &str) -> String {
        format!("postgres://{credentials}@{}/{}", self.gate.address(), self.path)
    }
}

#[async_trait]
impl TestStore for Store {
    async fn connect(&self) -> Result<Backend> {
        driver().connect(&self.url(&self.data).parse()?).await
    }

    async fn admin(&self) -> Result<Administrator> {
        driver().admin(&self.url(&self.admin).parse()?).await
    }

    async fn pass(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    async fn connect_with_wrong_credentials(&self, secret: &str) -> Option<Error> {
        let url = self.url(&format!("postgres:{secret}"));
        driver().connect(&url.parse().unwrap()).await.err()
    }

    fn faults(&self) -> Option<Arc<dyn Faults>> {
        Some(Arc::clone(&self.gate) as _)
    }
}

/// Runs the suite in a new database of the server.
fn suite(server: &Server, mut harness: Postgres, prepare: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    harness.database = fresh_name();
    let create = format!("CREATE DATABASE {}", harness.database);
    runtime.block_on(async {
        run_sql(&server.url("postgres"), &create).await.unwrap();
        run_sql(&server.url(&harness.database), prepare).await.unwrap();
    });
    main_with(harness)
}

fn main() -> ExitCode {
    let server = match Server::any() {
        Ok(server) => server,
        Err(why) => {
            return server::missing("postgres::general::a_server", why);
        }
    };
    let credentials = server.credentials();
    let harness = |name, data: &str, role| Postgres {
        name,
        server: server.address().to_owned(),
        data: data.to_owned(),
        admin: credentials.to_owned(),
        database: String::new(),
        role,
    };
    let codes = [
        suite(&server, harness("postgres", credentials, "memquill_data"), ""),
        suite(
            &server,
            harness("postgres (supabase)", "authenticator:secret", "authenticated"),
            SUPABASE,
        ),
    ];
    if codes.iter().all(|code| *code == ExitCode::SUCCESS) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
