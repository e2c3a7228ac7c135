//! A primary and its replica, of the newest server that is to be had: since 7.2 WAIT waits for less.

use testcontainers::core::{CmdWaitFor, ExecCommand, IntoContainerPort as _, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _, TestcontainersError};
use testkit::redis::Server;
use testkit::{OWN_IMAGE, until};

use super::cluster::text;

/// Starts a replica and its primary in one container.
const BOTH: &str = "redis-server --port 6380 --replicaof 127.0.0.1 6379 --save '' & \
                    echo $! > /tmp/replica; exec redis-server --port 6379 --bind 0.0.0.0 \
                    --protected-mode no --save '' --repl-diskless-sync-delay 0";

/// They end with this value.
#[derive(Debug)]
pub(crate) enum Pair {
    Container { running: Box<ContainerAsync<GenericImage>>, port: u16 },
    Local { primary: Server, replica: Server },
}

impl Pair {
    pub(crate) async fn start() -> Self {
        for image in [("redis", "8.2"), OWN_IMAGE] {
            if let Ok(pair) = Self::container(image).await {
                return pair;
            }
        }
        Self::local()
    }

    /// Of this machine's own binary.
    pub(crate) fn local() -> Self {
        let primary = Server::start("redis-server", &["--repl-diskless-sync-delay", "0"]);
        let port = primary.port.to_string();
        let replica = Server::start("redis-server", &["--replicaof", "127.0.0.1", &port]);
        until(|| text(primary.command(&["INFO", "replication"])).contains("state=online"));
        Self::Local { primary, replica }
    }

    async fn container((image, tag): (&str, &str)) -> Result<Self, TestcontainersError> {
        let image = GenericImage::new(image, tag)
            .with_exposed_port(6379.tcp())
            .with_wait_for(WaitFor::message_on_stdout("Finished with success"))
            .with_cmd(["sh", "-c", BOTH]);
        let running = Box::new(image.start().await?);
        let port = running.get_host_port_ipv4(6379).await?;
        Ok(Self::Container { running, port })
    }

    /// The primary.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Container { port, .. } => format!("redis://127.0.0.1:{port}"),
            Self::Local { primary, .. } => primary.url(),
        }
    }

    /// Sends the replica a signal, as in `STOP`.
    pub(crate) async fn signal_replica(&self, signal: &str) {
        match self {
            Self::Container { running, .. } => {
                let kill = format!("kill -{signal} $(cat /tmp/replica)");
                let command = ExecCommand::new(["sh", "-c", &kill])
                    .with_cmd_ready_condition(CmdWaitFor::exit_code(0));
                running.exec(command).await.unwrap();
            }
            Self::Local { replica, .. } => replica.signal(signal),
        }
    }
}
