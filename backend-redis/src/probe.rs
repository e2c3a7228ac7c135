//! Finding out why a server does not answer: the port may speak TLS where the URL says `redis://`,
//! or none where it says `rediss://`, or it may be no Redis at all.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, make_extension_error};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Address;

/// How long a port may take to show what it speaks.
const PATIENCE: Duration = Duration::from_millis(500);

/// The code of the error that says that a port speaks no TLS.
pub(crate) const PLAIN_PORT: &str = "PLAINPORT";
/// The code of the error that says that a port speaks TLS.
pub(crate) const TLS_PORT: &str = "TLSPORT";
/// The code of the error that says that something else listens at a port.
pub(crate) const NO_REDIS: &str = "NOREDIS";

/// Says why connecting failed, where the port's answers tell it. No credentials are sent.
pub(crate) async fn explain(address: &Address, with_tls: bool) -> Option<RedisError> {
    let answer = ask(address, b"PING\r\n").await;
    let answer = answer.as_deref().unwrap_or_default();
    let code = match answer {
        // PONG, or an error: that a password is needed, that the server is loading.
        [b'+' | b'-', ..] if with_tls => PLAIN_PORT,
        [b'+' | b'-', ..] => return None,
        _ if with_tls && answer.is_empty() => return None,
        // A server that expects TLS ends the connection, with or without an alert.
        _ if !with_tls && speaks_tls(address).await => TLS_PORT,
        [] | [0x15, ..] => return None,
        _ => NO_REDIS,
    };
    Some(make_extension_error(code.to_owned(), None))
}

async fn speaks_tls(address: &Address) -> bool {
    let Some(hello) = client_hello() else { return false };
    // A handshake, or an alert.
    matches!(ask(address, &hello).await.as_deref(), Ok([0x15 | 0x16, 0x03, ..]))
}

/// Sends some bytes to a port and reads the beginning of its answer.
async fn ask(address: &Address, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let asked = async {
        let mut stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.write_all(bytes).await?;
        let mut answer = [0; 16];
        let read = stream.read(&mut answer).await?;
        Ok(answer[..read].to_vec())
    };
    timeout(PATIENCE, asked).await?
}

fn client_hello() -> Option<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").ok()?;
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name).ok()?.write_tls(&mut hello).ok()?;
    Some(hello)
}
