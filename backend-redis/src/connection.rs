//! The connection to a server or a cluster, and the scripts that run over it.

use std::sync::{Arc, OnceLock};

use memquill_core::Result;
use redis::{Arg, Cmd, Value};

use crate::cluster::Cluster;
use crate::config::Config;
use crate::error::{Failure, translate};
use crate::keys;
use crate::node::{Node, Request, Wait};

/// A server or a cluster.
#[derive(Debug)]
pub(crate) struct Connection {
    servers: Servers,
    /// How many replicas must have a write before it is acknowledged.
    replicas: usize,
}

#[derive(Debug)]
enum Servers {
    Single(Arc<Node>),
    Cluster(Arc<Cluster>),
}

/// A script of the files of `lua/`, one after the other.
macro_rules! script {
    ($kind:ident, $($file:literal),+ $(,)?) => {
        $crate::connection::Script::$kind(concat!(
            $(include_str!(concat!("lua/", $file, ".lua"))),+
        ))
    };
}
pub(crate) use script;

/// A Lua script. All its keys share one slot; the first one given names it.
#[derive(Debug)]
pub(crate) struct Script {
    code: &'static str,
    /// Whether it changes anything, and so waits for replicas.
    writes: bool,
    sha: OnceLock<String>,
}

impl Script {
    pub(crate) const fn reading(code: &'static str) -> Self {
        Self { code, writes: false, sha: OnceLock::new() }
    }

    pub(crate) const fn writing(code: &'static str) -> Self {
        Self { code, writes: true, sha: OnceLock::new() }
    }

    fn sha(&self) -> &str {
        self.sha.get_or_init(|| redis::Script::new(self.code).get_hash().to_owned())
    }

    /// Makes the same call with the code instead of its hash.
    fn with_code(&self, call: &Cmd) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.code);
        for arg in call.args_iter().skip(2) {
            if let Arg::Simple(bytes) = arg {
                command.arg(bytes);
            }
        }
        command
    }
}

impl Connection {
    pub(crate) async fn connect(config: Config) -> Result<Self> {
        let replicas = config.replicas;
        let servers = match config.addresses.as_slice() {
            [address] if !config.cluster => {
                let node = Node::new(&config, address).map_err(Failure::unsent);
                node.map(Arc::new).map(Servers::Single)
            }
            _ => Cluster::connect(config).await.map(Servers::Cluster),
        };
        Ok(Self { servers: servers.map_err(|failure| translate(failure, false))?, replicas })
    }

    /// Returns how many replicas must have a write before it is acknowledged.
    pub(crate) fn replicas(&self) -> usize {
        self.replicas
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.servers, Servers::Cluster(_))
    }

    /// Runs a command that changes nothing, where `key` lives.
    pub(crate) async fn read(&self, key: &str, command: &Cmd) -> Result<Value> {
        self.send(key, Request::new(command)).await.map_err(|failure| translate(failure, false))
    }

    /// Runs a script in one round trip; in two where the server does not know it (SCRIPT FLUSH, a
    /// restart, a new primary).
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[String],
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<Value> {
        let bytes: usize = keys.iter().map(String::len).sum();
        // Enough for the other arguments of most calls.
        let mut call = Cmd::with_capacity(keys.len() + 16, bytes + 512);
        call.arg("EVALSHA").arg(script.sha()).arg(keys.len()).arg(keys);
        arguments(&mut call);
        let key = keys.first().map_or("", String::as_str);
        let marker = (script.writes && self.replicas > 0).then(|| keys::replication_marker(key));
        let wait = marker.as_deref().map(|marker| Wait { replicas: self.replicas, marker });
        let answer = match self.send(key, Request { wait, ..Request::new(&call) }).await {
            Err(failure) if failure.code() == Some("NOSCRIPT") => {
                let call = script.with_code(&call);
                self.send(key, Request { wait, ..Request::new(&call) }).await
            }
            answer => answer,
        };
        answer.map_err(|failure| translate(failure, script.writes))
    }

    /// The server, or every primary of the cluster.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        match &self.servers {
            Servers::Single(node) => vec![Arc::clone(node)],
            Servers::Cluster(cluster) => cluster.primaries(),
        }
    }

    /// Runs a command that changes nothing on one of [`Connection::nodes`].
    pub(crate) async fn ask(&self, node: &Node, command: &Cmd) -> Result<Value> {
        node.send(Request::new(command)).await.map_err(|failure| translate(failure, false))
    }

    /// Runs a command that changes nothing on the server, or on every primary of the cluster.
    pub(crate) async fn everywhere(&self, command: &Cmd) -> Result<Vec<Value>> {
        let nodes = self.nodes();
        futures_util::future::try_join_all(nodes.iter().map(|node| self.ask(node, command))).await
    }

    async fn send(&self, key: &str, request: Request<'_>) -> Result<Value, Failure> {
        match &self.servers {
            Servers::Single(node) => node.send(request).await.map_err(Failure::of_only_server),
            Servers::Cluster(cluster) => cluster.send(key, request).await,
        }
    }
}
