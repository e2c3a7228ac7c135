//! A pool of connections that costs no round trip of its own.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use memquill_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnectOptions, PgConnection, PgRow, PgTypeInfo,
};
use sqlx::{
    Arguments as _, ConnectOptions as _, Connection as _, Encode, Execute as _, Postgres, Type,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use crate::backend::Call;
use crate::config::Config;
use crate::error::{During, came_between, leaves_connection, translate};

/// A connection that stood idle for longer is asked for a sign of life before it is used: the
/// server may have been restarted, or a firewall may have dropped it.
const TRUSTED_IDLE: Duration = Duration::from_secs(30);

/// The most that such a connection has for it, of the time that there is for a connection: one that
/// is gone without a word must leave time for a new one.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// How often a statement is repeated that another came between: each time, somebody else got on.
const ATTEMPTS: u32 = 16;

/// The most bytes that the arguments of a statement may have: the server hangs up on a message of
/// 1 GiB, and something stands around them.
const LARGEST: usize = (1 << 30) - (1 << 16);

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
    pub(crate) async fn fetch(&self, query: impl Fn() -> Call + Send + Sync) -> Result<Vec<PgRow>> {
        let mut first = Some(sized(query(), LARGEST)?);
        let deadline = Instant::now() + self.acquire_timeout;
        let _permit = self.permit(deadline).await?;
        let mut connection = self.connection(deadline).await?;
        for _ in 0..ATTEMPTS {
            let call = first.take().unwrap_or_else(&query);
            match timeout(self.answer_timeout, call.fetch_all(&mut connection)).await {
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

    async fn permit(&self, deadline: Instant) -> Result<SemaphorePermit<'_>> {
        match timeout_at(deadline, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Error::internal("the pool is closed")),
            Err(_) => Err(Error::unavailable(format!(
                "no connection was free for {} ms",
                self.acquire_timeout.as_millis()
            ))
            .with_hint("raise max_connections or acquire_timeout, or call less at once")),
        }
    }

    async fn connection(&self, deadline: Instant) -> Result<PgConnection> {
        if let Some(mut idle) = self.take() {
            let patience = SIGN_OF_LIFE.min(self.acquire_timeout / 4);
            let until = deadline.min(Instant::now() + patience);
            if idle.since.elapsed() < TRUSTED_IDLE
                || timeout_at(until, idle.connection.ping()).await.is_ok_and(|p| p.is_ok())
            {
                return Ok(idle.connection);
            }
            self.distrust();
        }
        match timeout_at(deadline, self.options.connect()).await {
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

/// The query, which is refused where its arguments have more bytes than that (G4).
fn sized(mut query: Call, most: usize) -> Result<Call> {
    let too_large = |size: &str| {
        Error::invalid_input(format!(
            "a call of {size} bytes is past the limit of {most} that Postgres takes at once"
        ))
        .with_hint("send fewer items at once")
    };
    let arguments = match query.take_arguments() {
        Ok(arguments) => arguments.unwrap_or_default(),
        // A column alone is beyond what can be encoded.
        Err(error) => return Err(too_large("over 2147483647").with_source(error)),
    };
    let (arguments, size) = measured(arguments);
    if size > most {
        return Err(too_large(&size.to_string()));
    }
    Ok(sqlx::query_with(query.sql(), arguments))
}

/// How many bytes the arguments have: they tell it to nobody but what is encoded behind them.
fn measured(mut arguments: PgArguments) -> (PgArguments, usize) {
    struct Measure<'a>(&'a Cell<usize>);

    impl Type<Postgres> for Measure<'_> {
        fn type_info() -> PgTypeInfo {
            <i32 as Type<Postgres>>::type_info()
        }
    }

    impl Encode<'_, Postgres> for Measure<'_> {
        fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
            // Behind the place of its own length.
            self.0.set(buffer.len() - 4);
            // So that nothing is added.
            Err("measured".into())
        }
    }

    let size = Cell::new(0);
    let _ = arguments.add(Measure(&size));
    (arguments, size.get())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const WAIT: Duration = Duration::from_secs(1);

    /// A server that lets so many in and never says anything else, as what stands behind a firewall
    /// that dropped the connections.
    async fn silent_server(lets_in: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if open.len() < lets_in {
                    let length = stream.read_u32().await.unwrap() as usize;
                    stream.read_exact(&mut vec![0; length - 4]).await.unwrap();
                    // Authenticated, and ready for a query.
                    stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.unwrap();
                }
                open.push(stream);
            }
        });
        at
    }

    #[test]
    fn g4_a_call_is_refused_by_its_size_and_else_left_as_it_is() {
        let call = || sqlx::query("SELECT $1, $2").bind("some text").bind(7_i64);
        // Both are prefixed by their lengths.
        let size = 4 + 9 + 4 + 8;
        let mut fits = sized(call(), size).unwrap();
        let (arguments, measured) = measured(fits.take_arguments().unwrap().unwrap());
        assert_eq!((arguments.len(), measured), (2, size));
        assert_eq!(fits.sql().as_str(), "SELECT $1, $2");
        let error = sized(call(), size - 1).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains(&size.to_string()), "{error}");
    }

    #[tokio::test]
    async fn a_call_waits_for_a_connection_no_longer_than_it_may() {
        let at = silent_server(10).await;
        let url = format!(
            "postgres://u@{at}/x?sslmode=disable&max_connections=1&acquire_timeout={}ms",
            WAIT.as_millis()
        );
        let pool = Pool::new(&Config::read(&url.parse().unwrap()).unwrap());
        for _ in 0..10 {
            let connection = pool.options.connect().await.unwrap();
            let since = Instant::now().checked_sub(TRUSTED_IDLE).unwrap();
            pool.idle.lock().push(Idle { connection, since });
        }
        let permit = pool.permits.acquire().await.unwrap();
        let start = Instant::now();
        let (answer, ()) = tokio::join!(pool.fetch(|| sqlx::query("SELECT")), async move {
            tokio::time::sleep(WAIT / 2).await;
            drop(permit);
        });
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(start.elapsed() < WAIT * 3 / 2, "{:?}", start.elapsed());
        assert!(pool.idle.lock().is_empty(), "the others are no better");
    }
}
