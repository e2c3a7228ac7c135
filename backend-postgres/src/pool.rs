//! A pool of connections that costs no round trip of its own.

use std::fmt;
use std::time::{Duration, Instant};

use memory_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions as _, Connection as _, Postgres};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::config::Config;
use crate::error::{During, came_between, leaves_connection, translate};

/// A connection that stood idle for longer is asked for a sign of life before it is used: the
/// server may have been restarted, or a firewall may have dropped it.
const TRUSTED_IDLE: Duration = Duration::from_secs(30);

/// How often a statement is repeated that another came between: each time, somebody else got on.
const ATTEMPTS: u32 = 16;

/// Connections to one server. A call takes one for itself; if its future is dropped, the
/// connection is closed rather than kept in an unknown state (G7).
pub(crate) struct Pool {
    options: PgConnectOptions,
    idle: Mutex<Vec<Idle>>,
    permits: Semaphore,
    acquire_timeout: Duration,
    /// Beyond the server's own timeout, so that the server's answer comes first.
    answer_timeout: Duration,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle.lock().len()).finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            options: config.connect.clone(),
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(config.max_connections),
            acquire_timeout: config.acquire_timeout,
            answer_timeout: config.statement_timeout + Duration::from_secs(1),
        }
    }

    /// Runs one statement, and gives its rows. `query` makes it, since it may have to be repeated.
    pub(crate) async fn fetch(
        &self,
        query: impl Fn() -> Query<'static, Postgres, PgArguments> + Send + Sync,
    ) -> Result<Vec<PgRow>> {
        let _permit = self.permit().await?;
        let mut connection = self.connection().await?;
        for _ in 0..ATTEMPTS {
            let answer = timeout(self.answer_timeout, query().fetch_all(&mut connection)).await;
            match answer {
                Err(_) => return Err(self.no_answer()),
                Ok(Ok(rows)) => {
                    self.put_back(connection);
                    return Ok(rows);
                }
                Ok(Err(error)) if came_between(&error) => {}
                Ok(Err(error)) => {
                    if leaves_connection(&error) {
                        self.put_back(connection);
                    } else {
                        self.distrust();
                    }
                    return Err(translate(error, During::Call));
                }
            }
        }
        self.put_back(connection);
        Err(Error::unavailable("others came between too often").with_hint("repeat the call"))
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>> {
        match timeout(self.acquire_timeout, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Error::internal("the pool is closed")),
            Err(_) => Err(Error::unavailable(format!(
                "no connection was free for {} ms",
                self.acquire_timeout.as_millis()
            ))
            .with_hint("raise max_connections or acquire_timeout, or call less at once")),
        }
    }

    async fn connection(&self) -> Result<PgConnection> {
        while let Some(mut idle) = self.take() {
            if idle.since.elapsed() < TRUSTED_IDLE
                || timeout(self.acquire_timeout, idle.connection.ping())
                    .await
                    .is_ok_and(|p| p.is_ok())
            {
                return Ok(idle.connection);
            }
        }
        match timeout(self.acquire_timeout, self.options.connect()).await {
            Ok(connection) => connection.map_err(|error| translate(error, During::Connect)),
            Err(_) => Err(Error::unavailable(format!(
                "Postgres did not take a connection within {} ms",
                self.acquire_timeout.as_millis()
            ))
            .with_hint("check that the server runs and that host and port are right")),
        }
    }

    fn take(&self) -> Option<Idle> {
        self.idle.lock().pop()
    }

    fn put_back(&self, connection: PgConnection) {
        self.idle.lock().push(Idle { connection, since: Instant::now() });
    }

    /// Drops all idle connections: where one broke, the others are likely to be broken too.
    fn distrust(&self) {
        self.idle.lock().clear();
    }

    fn no_answer(&self) -> Error {
        self.distrust();
        Error::new(
            ErrorKind::Timeout,
            format!("Postgres did not answer within {} ms", self.answer_timeout.as_millis()),
        )
        .with_hint("ask for less at once, or raise statement_timeout")
    }
}
