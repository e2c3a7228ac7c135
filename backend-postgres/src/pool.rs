//! A pool of connections that costs no round trip of its own.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use memquill_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgConnection, PgRow, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{
    Arguments as _, ConnectOptions as _, Connection as _, Encode, Execute as _, Postgres, Type,
};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::{CLIENT_CHECK, Config};
use crate::error::{During, is_undone, leaves_connection, refuses_client_check, translate};

/// A statement that is being bound.
pub(crate) type Call = Query<'static, Postgres, PgArguments>;

/// The longest time for which an idle connection is used without a ping: the server may have been
/// restarted, or a firewall may have dropped the connection.
const TRUSTED_IDLE: Duration = Duration::from_secs(30);

/// The longest time that such a ping may take: a dead connection must leave time for a new one.
const MAX_PING: Duration = Duration::from_secs(2);

/// The most attempts for a statement that the server rolls back because of a concurrent modification.
/// Each time, another client made progress.
const MAX_ATTEMPTS: u32 = 16;

/// The most bytes that the arguments of a statement may have: the server hangs up on a message of
/// 1 GiB, and the message has some more.
const MAX_ARGUMENT_BYTES: usize = (1 << 30) - (1 << 16);

/// The longest time that a dropped call may continue before its connection is closed: most finish
/// sooner, and their connection then serves the next call.
const GRACE: Duration = Duration::from_millis(200);

/// The longest time for which the server may keep the session of a closed connection: until it
/// checks for its client, and some time to end its statement.
const MAX_LINGER: Duration = CLIENT_CHECK.saturating_mul(2);

/// Connections to one server. A call takes one for itself. Where its future is dropped, the server
/// stops working for it, and only then another call may connect in its place (G7).
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    idle: Mutex<Vec<Idle>>,
    permits: Arc<Semaphore>,
    /// Longer than the server's own timeout, so that the server's answer comes first.
    answer_timeout: Duration,
    /// Whether the server stops the statement of a connection that was closed.
    has_client_check: AtomicBool,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
}

/// The right to one session of the server.
struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    /// Whether the server may have a session of a connection that was closed just now.
    is_lingering: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take().filter(|_| self.is_lingering) else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                sleep(MAX_LINGER).await;
                drop(permit);
            });
        }
    }
}

/// The connection, and what the server answered.
type Answer = (PgConnection, Result<Vec<PgRow>, sqlx::Error>);

/// A call that has been sent. Where it is dropped, it is brought to an end in the background.
struct Running {
    shared: Arc<Shared>,
    slot: Option<Slot>,
    call: Option<Pin<Box<dyn Future<Output = Answer> + Send>>>,
}

impl Running {
    /// Waits for the answer; none comes in time from a server that hangs.
    async fn answer(&mut self) -> Option<Answer> {
        let call = self.call.as_mut()?;
        let answer = timeout(self.shared.answer_timeout, call).await.ok()?;
        self.call = None;
        Some(answer)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (Some(mut call), Some(mut slot)) = (self.call.take(), self.slot.take()) else { return };
        let shared = Arc::clone(&self.shared);
        slot.is_lingering = true;
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            let has_check = shared.has_client_check.load(Ordering::Relaxed);
            // Without the check the server would work on after its client is gone.
            let patience = if has_check { GRACE } else { shared.answer_timeout };
            if let Ok((connection, result)) = timeout(patience, &mut call).await {
                slot.is_lingering = false;
                shared.keep(connection, result.err().as_ref());
            }
            // Closes the connection, if it is still at work, before the slot begins to wait.
            drop(call);
            drop(slot);
        });
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.shared.idle.lock().len()).finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) fn new(config: Config) -> Self {
        let shared = Shared {
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(config.max_connections)),
            answer_timeout: config.statement_timeout() + Duration::from_secs(1),
            has_client_check: AtomicBool::new(config.has_client_check()),
            config,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Admits no further call and ends the idle sessions; a call that is under way ends its own.
    pub(crate) async fn close(&self) {
        self.shared.permits.close();
        let idle = std::mem::take(&mut *self.shared.idle.lock());
        for Idle { connection, .. } in idle {
            // A session that is gone already has ended too.
            let _ = timeout(MAX_PING, connection.close()).await;
        }
    }

    /// Runs one statement and returns its rows. `query` makes it, since it may have to be repeated.
    pub(crate) async fn fetch(&self, query: impl Fn() -> Call + Send + Sync) -> Result<Vec<PgRow>> {
        let shared = &self.shared;
        let mut first = Some(sized(query(), MAX_ARGUMENT_BYTES)?);
        let deadline = Instant::now() + shared.config.acquire_timeout;
        let mut slot = shared.slot(deadline).await?;
        let mut connection = shared.connection(&mut slot, deadline).await?;
        let mut running = Running { shared: Arc::clone(shared), slot: Some(slot), call: None };
        for _ in 0..MAX_ATTEMPTS {
            let call = first.take().unwrap_or_else(&query);
            running.call = Some(shared.run(connection, call));
            let Some((returned, result)) = running.answer().await else {
                return Err(shared.no_answer());
            };
            match result {
                Ok(rows) => {
                    shared.keep(returned, None);
                    return Ok(rows);
                }
                Err(error) if is_undone(&error) => connection = returned,
                Err(error) => {
                    shared.keep(returned, Some(&error));
                    return Err(translate(error, During::Call));
                }
            }
        }
        shared.keep(connection, None);
        Err(Error::unavailable(format!("the server undid the call {MAX_ATTEMPTS} times"))
            .with_hint("repeat the call when others write less"))
    }
}

impl Shared {
    /// Takes the right to a session.
    async fn slot(&self, deadline: Instant) -> Result<Slot> {
        match timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Slot { permit: Some(permit), is_lingering: false }),
            Ok(Err(_)) => Err(Error::closed()),
            Err(_) => Err(Error::unavailable(format!(
                "no connection was free for {} ms",
                self.config.acquire_timeout.as_millis()
            ))
            .with_hint("raise max_connections or acquire_timeout, or call less at once")),
        }
    }

    async fn connection(&self, slot: &mut Slot, deadline: Instant) -> Result<PgConnection> {
        // Whatever is dropped on the way may have a session for a moment.
        slot.is_lingering = true;
        if let Some(mut idle) = self.take() {
            let until =
                deadline.min(Instant::now() + MAX_PING.min(self.config.acquire_timeout / 4));
            if idle.since.elapsed() < TRUSTED_IDLE
                || timeout_at(until, idle.connection.ping()).await.is_ok_and(|p| p.is_ok())
            {
                slot.is_lingering = false;
                return Ok(idle.connection);
            }
            self.distrust();
        }
        let patience = self.config.connect_timeout.map(|patience| Instant::now() + patience);
        let until = patience.map_or(deadline, |patience| patience.min(deadline));
        let start = Instant::now();
        match timeout_at(until, self.connect()).await {
            Ok(connection) => {
                slot.is_lingering = false;
                connection.map_err(|error| translate(error, During::Connect))
            }
            Err(_) => Err(Error::unavailable(format!(
                "Postgres did not take a connection within {} ms",
                start.elapsed().as_millis()
            ))
            .with_hint("check that the server runs and that host and port are right")),
        }
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let has_check = self.has_client_check.load(Ordering::Relaxed);
        match self.config.for_data(has_check).connect().await {
            Err(error) if has_check && refuses_client_check(&error) => {
                self.has_client_check.store(false, Ordering::Relaxed);
                self.config.for_data(false).connect().await
            }
            connected => connected,
        }
    }

    /// Sends a call. The connection comes back with the answer.
    fn run(
        &self,
        mut connection: PgConnection,
        call: Call,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let is_prepared = self.config.is_prepared;
        Box::pin(async move {
            let result = if is_prepared {
                call.fetch_all(&mut connection).await
            } else {
                in_transaction(&mut connection, call).await
            };
            (connection, result)
        })
    }

    fn take(&self) -> Option<Idle> {
        self.idle.lock().pop()
    }

    /// Keeps a connection for the next call, unless it broke.
    fn keep(&self, connection: PgConnection, error: Option<&sqlx::Error>) {
        if self.permits.is_closed() {
            return;
        }
        if error.is_none_or(leaves_connection) {
            self.idle.lock().push(Idle { connection, since: Instant::now() });
        } else {
            self.distrust();
        }
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

/// Runs a call whose statement is not kept: a pooler that hands connections from transaction to
/// transaction lets it be prepared and executed on the same one only within a transaction.
async fn in_transaction(
    connection: &mut PgConnection,
    call: Call,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    match call.persistent(false).fetch_all(&mut *transaction).await {
        Ok(rows) => transaction.commit().await.map(|()| rows),
        Err(error) => {
            // So that the pooler does not wait for the next call to end it.
            let _ = transaction.rollback().await;
            Err(error)
        }
    }
}

/// Refuses a query whose arguments have more than `most` bytes (G4).
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

/// Measures the arguments in bytes, which only an argument that is encoded after them can see.
fn measured(mut arguments: PgArguments) -> (PgArguments, usize) {
    struct Measure<'a>(&'a Cell<usize>);

    impl Type<Postgres> for Measure<'_> {
        fn type_info() -> PgTypeInfo {
            <i32 as Type<Postgres>>::type_info()
        }
    }

    impl Encode<'_, Postgres> for Measure<'_> {
        fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
            // After the place of its own length.
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

    /// A server that accepts `lets_in` connections and is silent after that, as one whose connections
    /// a firewall dropped.
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

    /// A server that refuses every connection with this code and message.
    async fn refusing_server(code: &'static str, message: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let length = stream.read_u32().await.unwrap() as usize;
                stream.read_exact(&mut vec![0; length - 4]).await.unwrap();
                let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
                stream.write_u8(b'E').await.unwrap();
                stream.write_u32(u32::try_from(fields.len()).unwrap() + 4).await.unwrap();
                stream.write_all(fields.as_bytes()).await.unwrap();
            }
        });
        at
    }

    #[tokio::test]
    async fn e1_a_refused_connection_says_what_to_write() {
        use ErrorKind::{Config as Wrong, PermissionDenied, Unavailable};
        for (code, message, kind, hint) in [
            ("08P01", "unsupported startup parameter: options", Wrong, "startup_options=false"),
            (
                "08P01",
                "unsupported startup parameter in options: x",
                Wrong,
                "startup_options=false",
            ),
            (
                "0A000",
                "RDS Proxy currently doesn't support command-line options.",
                Wrong,
                "startup",
            ),
            ("08P01", "no such database: x", Wrong, "[databases]"),
            ("08P01", "no such user: x", PermissionDenied, "password"),
            ("08P01", "query_wait_timeout", Unavailable, "pooler"),
            ("XX000", "Tenant or user not found", PermissionDenied, "postgres.PROJECT"),
            (
                "XX000",
                "MaxClientsInSessionMode: max clients reached",
                Unavailable,
                "max_connections",
            ),
            ("XX000", "Endpoint ID is not specified", Wrong, "message"),
            ("28000", "no pg_hba.conf entry for host, no encryption", Wrong, "sslmode"),
            ("28P01", "password authentication failed", PermissionDenied, "password"),
            ("3D000", "database \"x\" does not exist", Wrong, "create the database"),
            ("42704", "unrecognized configuration parameter \"x\"", Wrong, "options"),
            ("57P03", "the database system is starting up", Unavailable, "starting"),
            ("53300", "sorry, too many clients already", Unavailable, "max_connections"),
        ] {
            let at = refusing_server(code, message).await;
            let url = format!("postgres://u@{at}/x?sslmode=disable").parse().unwrap();
            let pool = Pool::new(Config::from_url(&url).unwrap());
            let error = pool.fetch(|| sqlx::query("SELECT")).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(error.is_transient(), kind == Unavailable, "{error}");
            assert!(error.hint().unwrap().contains(hint), "{error:?}");
        }
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
        let pool = Pool::new(Config::from_url(&url.parse().unwrap()).unwrap());
        let shared = &pool.shared;
        for _ in 0..10 {
            let connection = shared.connect().await.unwrap();
            let since = Instant::now().checked_sub(TRUSTED_IDLE).unwrap();
            shared.idle.lock().push(Idle { connection, since });
        }
        let permit = shared.permits.acquire().await.unwrap();
        let start = Instant::now();
        let (answer, ()) = tokio::join!(pool.fetch(|| sqlx::query("SELECT")), async move {
            tokio::time::sleep(WAIT / 2).await;
            drop(permit);
        });
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(start.elapsed() < WAIT * 3 / 2, "{:?}", start.elapsed());
        assert!(shared.idle.lock().is_empty(), "the others are no better");
    }
}
