//! A gate before a store: what goes through can be cut and restored.

use std::net::SocketAddr;
use std::sync::Arc;

use memquill_conformance::{Faults, async_trait};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Hands connections on to a server while it is open.
#[derive(Debug)]
pub(crate) struct Gate {
    at: SocketAddr,
    server: String,
    /// What accepts and hands on; none while it is cut.
    open: Mutex<Option<JoinSet<()>>>,
}

impl Gate {
    /// A gate before `server`, a host and port.
    pub(crate) async fn before(server: String) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let open = Mutex::new(Some(serve(listener, server.clone())));
        Arc::new(Self { at, server, open })
    }

    /// Where to connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.at
    }
}

fn serve(listener: TcpListener, server: String) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Dropped with this task, and so all at once.
        let mut connections = JoinSet::new();
        while let Ok((mut here, _)) = listener.accept().await {
            let server = server.clone();
            connections.spawn(async move {
                if let Ok(mut there) = TcpStream::connect(server).await {
                    let _ = here.set_nodelay(true);
                    let _ = there.set_nodelay(true);
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                }
            });
        }
    });
    tasks
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
            *open = Some(serve(listener, self.server.clone()));
        }
    }
}
