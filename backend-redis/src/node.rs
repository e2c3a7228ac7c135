//! One server, and the connection to it that all calls share.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo as _, Pipeline,
    ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError, RedisResult, Value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config::{Address, Config};
use crate::error::{Failure, server_code};
use crate::probe;

/// The first pause after a failed attempt; it doubles up to [`MAX_PAUSE`].
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(20);
pub(crate) const MAX_PAUSE: Duration = Duration::from_millis(500);

/// The time after which a first TLS handshake counts as unanswered: then the driver checks whether
/// the port speaks TLS at all.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(1);

/// A server. The next call replaces a lost connection; calls that wait share one attempt,
/// and attempts that fail grow apart.
///
/// A command is never sent twice: what may have been run is the caller's to repeat (C3).
pub(crate) struct Node {
    client: Client,
    address: Address,
    encrypted: bool,
    timeout: Duration,
    connect_timeout: Duration,
    live: RwLock<Option<Live>>,
    connecting: Mutex<Option<Failed>>,
}

/// Has the server write after a command, so that WAIT waits for what came before.
const REPLICATION_MARKER: &str = include_str!("lua/admin/replication_marker.lua");

/// A command, and how to run it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) command: &'a Cmd,
    pub(crate) wait: Option<Wait<'a>>,
    /// Whether its slot is still moving here from another node.
    pub(crate) asking: bool,
}

/// For what a command waits before it is acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait<'a> {
    /// How many replicas must have its effect.
    pub(crate) replicas: usize,
    /// The key of [`REPLICATION_MARKER`].
    pub(crate) marker: &'a str,
}

impl<'a> Request<'a> {
    pub(crate) fn new(command: &'a Cmd) -> Self {
        Self { command, wait: None, asking: false }
    }
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    lost: Arc<AtomicBool>,
}

/// An attempt to connect that failed.
struct Failed {
    at: Instant,
    pause: Duration,
    error: RedisError,
}

impl Node {
    pub(crate) fn new(config: &Config, address: &Address) -> RedisResult<Self> {
        Ok(Self {
            client: client(config, address)?,
            address: address.clone(),
            encrypted: config.tls.is_some(),
            timeout: config.timeout,
            connect_timeout: config.connect_timeout,
            live: RwLock::new(None),
            connecting: Mutex::new(None),
        })
    }

    /// Runs one command.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Value, Failure> {
        let mut live = self.live().await.map_err(Failure::unsent)?;
        if !request.asking && request.wait.is_none() {
            let answer = live.connection.send_packed_command(request.command).await;
            return live.check(answer.and_then(Value::extract_error));
        }
        let mut pipeline = redis::pipe();
        let ask = |pipeline: &mut Pipeline| {
            // It holds for one command.
            if request.asking {
                pipeline.cmd("ASKING");
            }
        };
        ask(&mut pipeline);
        pipeline.add_command(request.command.clone());
        if let Some(Wait { replicas, marker }) = request.wait {
            ask(&mut pipeline);
            pipeline.cmd("EVAL").arg(REPLICATION_MARKER).arg(1).arg(marker);
            pipeline.cmd("WAIT").arg(replicas).arg(wait_millis(self.timeout));
        }
        let skip = usize::from(request.asking);
        let count = pipeline.len() - skip;
        let answers = live.connection.send_packed_commands(&pipeline, skip, count).await;
        let mut answers = live.check(answers)?.into_iter();
        let answer = live.check(answers.next().unwrap_or_default().extract_error())?;
        match request.wait {
            Some(Wait { replicas, .. }) => confirmed(answers, replicas).map(|()| answer),
            None => Ok(answer),
        }
    }

    fn current(&self) -> Option<Live> {
        self.live.read().as_ref().filter(|live| !live.lost.load(Ordering::Acquire)).cloned()
    }

    async fn live(&self) -> RedisResult<Live> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let asked = Instant::now();
        let mut failed = self.connecting.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        if let Some(failed) = failed.as_ref() {
            if failed.at >= asked {
                return Err(failed.error.clone());
            }
            tokio::time::sleep_until(failed.at + failed.pause).await;
        }
        match self.connect_or_explain().await {
            Ok(live) => {
                *failed = None;
                *self.live.write() = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                let pause = failed.as_ref().map_or(FIRST_PAUSE, |failed| failed.pause * 2);
                *failed = Some(Failed {
                    at: Instant::now(),
                    pause: pause.min(MAX_PAUSE),
                    error: error.clone(),
                });
                Err(error)
            }
        }
    }

    /// Connects, or says why that fails where the port's answers tell it. A server that answered,
    /// refused the connection or was reached before is not asked what it speaks.
    async fn connect_or_explain(&self) -> RedisResult<Live> {
        let first = self.live.read().is_none() && !self.address.is_socket();
        let mut connecting = pin!(self.connect());
        if first && self.encrypted {
            // A port without TLS waits for the end of a line, and so for ever.
            match timeout(HANDSHAKE_PATIENCE, connecting.as_mut()).await {
                Ok(Ok(live)) => return Ok(live),
                Ok(Err(error)) => return Err(self.explained(error).await),
                Err(_) => {
                    if let Some(error) = probe::explain(&self.address, true).await {
                        return Err(error);
                    }
                }
            }
        }
        match connecting.await {
            Err(error) if first && !error.is_timeout() => Err(self.explained(error).await),
            connected => connected,
        }
    }

    async fn explained(&self, error: RedisError) -> RedisError {
        if server_code(&error).is_some() || error.is_connection_refusal() {
            return error;
        }
        probe::explain(&self.address, self.encrypted).await.unwrap_or(error)
    }

    async fn connect(&self) -> RedisResult<Live> {
        let lost = Arc::new(AtomicBool::new(false));
        let disconnected = Arc::clone(&lost);
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.timeout))
            .set_connection_timeout(Some(self.connect_timeout))
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    disconnected.store(true, Ordering::Release);
                }
                Ok::<(), RedisError>(())
            });
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        Ok(Live { connection: connecting.await?, lost })
    }
}

impl Live {
    /// Gives the connection up after it broke, after a timeout (its answers would be to earlier calls),
    /// and when the server became a replica: its name may lead to the new primary by now.
    fn check<T>(&self, answer: RedisResult<T>) -> Result<T, Failure> {
        answer.map_err(|error| {
            let demoted = error.code() == Some("READONLY");
            if demoted || error.is_unrecoverable_error() || error.is_timeout() {
                self.lost.store(true, Ordering::Release);
            }
            Failure::sent(error)
        })
    }
}

/// Computes how long WAIT waits, in ms: its answer should come before a call ends. 0 would be for ever.
fn wait_millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis() / 2).unwrap_or(u64::MAX).max(1)
}

/// Checks that enough replicas have a write, given the answers to what was sent after it. Any answer
/// but their number says nothing of them. While a slot moves, its server may refuse the marker as a
/// new key; the write itself was done there, and WAIT covers it without the marker.
fn confirmed(answers: impl Iterator<Item = Value>, replicas: usize) -> Result<(), Failure> {
    let mut have = 0;
    for answer in answers {
        match answer.extract_error() {
            Ok(Value::Int(count)) => have = usize::try_from(count).unwrap_or(0),
            Ok(_) => {}
            Err(error) if matches!(error.code(), Some("ASK" | "TRYAGAIN")) => {}
            Err(error) => return Err(Failure::unreplicated(Some(&error))),
        }
    }
    if have >= replicas { Ok(()) } else { Err(Failure::unreplicated(None)) }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({:?})", self.client.get_connection_info().addr().to_string())
    }
}

fn client(config: &Config, address: &Address) -> RedisResult<Client> {
    // RESP3, because only there the client tells of a lost connection before the next call.
    let mut settings =
        RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_db(config.database);
    if let Some(user) = &config.user {
        // Without a password the client would leave the user out, and be the server's default one.
        settings = settings.set_username(user).set_password("");
    }
    if let Some(password) = config.exposed_password() {
        settings = settings.set_password(password);
    }
    let Address { host, port } = address.clone();
    let addr = match &config.tls {
        Some(tls) => {
            ConnectionAddr::TcpTls { host, port, insecure: tls.unverified, tls_params: None }
        }
        None if address.is_socket() => ConnectionAddr::Unix(host.into()),
        None => ConnectionAddr::Tcp(host, port),
    };
    // A request is small and waited for: it must not wait for the answer to the one before.
    let tcp = TcpSettings::default().set_nodelay(true);
    let info = addr.into_connection_info()?.set_redis_settings(settings).set_tcp_settings(tcp);
    let Some(tls) = &config.tls else { return Client::open(info) };
    // Where the program's crates bring two providers, rustls does not choose; where the program
    // has chosen, that holds.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::build_with_tls(info, tls.certificates.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_connection_holds_requests_back() {
        for url in ["redis://h", "rediss://h", "rediss://h?ssl_cert_reqs=none"] {
            let config = Config::from_url(&url.parse().unwrap()).unwrap();
            let client = client(&config, &config.addresses[0]).unwrap();
            assert!(client.get_connection_info().tcp_settings().nodelay(), "{url}");
        }
    }

    #[test]
    fn wait_never_waits_for_ever() {
        let waits = |millis| wait_millis(Duration::from_millis(millis));
        assert_eq!([1, 2, 10_000].map(waits), [1, 1, 5_000]);
    }

    #[test]
    fn g6_only_a_number_of_replicas_confirms_a_write() {
        let of = |answers: Vec<Value>| confirmed(answers.into_iter(), 1).map_err(|f| f.maybe_run);
        assert_eq!(of(vec![Value::Nil, Value::Int(1)]), Ok(()));
        for answers in [vec![], vec![Value::Nil], vec![Value::Nil, Value::Int(0)]] {
            assert_eq!(of(answers), Err(true));
        }
    }
}
