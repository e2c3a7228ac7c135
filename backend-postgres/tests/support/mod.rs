//! Servers to test on: where they come from, how they are reached, how they break.
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod gate;
pub(crate) mod server;

use std::sync::atomic::{AtomicU32, Ordering};

use backend_postgres::driver;
use memory_core::{Backend, Result, StoreUrl};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

/// A name that no other test of this machine uses.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let moment = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("t{:x}_{}", moment.as_micros(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Prepares the store and connects.
pub(crate) async fn connect(url: &str) -> Result<Backend> {
    let url: StoreUrl = url.parse()?;
    driver().admin(&url).await?.migrate().await?;
    driver().connect(&url).await
}

/// Runs SQL, whatever it is.
pub(crate) async fn run_sql(url: &str, sql: &str) -> std::result::Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await?;
    connection.close().await
}
