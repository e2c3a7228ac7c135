//! A gate before a server: what goes through can be counted, cut and repaired.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Lock};

use memquill_conformance::{Faults, async_trait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Hands connections on to a server while it is open.
#[derive(Debug)]
pub struct Gate {
    at: SocketAddr,
    server: Arc<Lock<String>>,
    round_trips: Arc<AtomicU64>,
    /// What accepts and hands on; none while it is cut.
    open: Mutex<Option<JoinSet<()>>>,
}

impl Gate {
    /// Opens a gate before `server`, a host and port.
    pub async fn before(server: impl Into<String>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let round_trips = Arc::new(AtomicU64::new(0));
        let server = Arc::new(Lock::new(server.into()));
        let open = serve(listener, Arc::clone(&server), Arc::clone(&round_trips));
        Arc::new(Self { at, server, round_trips, open: Mutex::new(Some(open)) })
    }

    /// Returns where to connect.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// Leads new connections to another server: a restarted container has another port, and a name
    /// may resolve to another address. Those that are there stay where they are.
    pub fn lead_to(&self, server: impl Into<String>) {
        *self.server.lock().unwrap() = server.into();
    }

    /// Counts how often a client sent something and then waited for an answer.
    pub fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::SeqCst)
    }
}

fn serve(
    listener: TcpListener,
    server: Arc<Lock<String>>,
    round_trips: Arc<AtomicU64>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Dropped with this task, and so all at once.
        let mut connections = JoinSet::new();
        while let Ok((here, _)) = listener.accept().await {
            let (server, round_trips) = (server.lock().unwrap().clone(), Arc::clone(&round_trips));
            connections.spawn(async move {
                if let Ok(there) = TcpStream::connect(server).await {
                    let _ = (here.set_nodelay(true), there.set_nodelay(true));
                    hand_on(here, there, &round_trips).await;
                }
            });
        }
    });
    tasks
}

async fn hand_on(here: TcpStream, there: TcpStream, round_trips: &AtomicU64) {
    let ((from_client, to_client), (from_server, to_server)) =
        (here.into_split(), there.into_split());
    // Whether the client has spoken since the server last did.
    let asking = AtomicBool::new(false);
    let to = async {
        copy(from_client, to_server, || {
            if !asking.swap(true, Ordering::SeqCst) {
                round_trips.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await;
    };
    let from = copy(from_server, to_client, || asking.store(false, Ordering::SeqCst));
    tokio::join!(to, from);
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, note: impl Fn()) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        note();
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

#[async_trait]
impl Faults for Gate {
    async fn cut(&self) {
        if let Some(mut tasks) = self.open.lock().await.take() {
            tasks.shutdown().await;
        }
    }

    async fn repair(&self) {
        let mut open = self.open.lock().await;
        if open.is_none() {
            let listener = TcpListener::bind(self.at).await.unwrap();
            *open = Some(serve(listener, Arc::clone(&self.server), Arc::clone(&self.round_trips)));
        }
    }
}
