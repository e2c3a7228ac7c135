//! A cluster of this machine's own servers.

use redis::Value;
use testkit::redis::Server;
use testkit::{free_port, until};

/// Three primaries with a third of the slots each, and their replicas.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The primaries, then their replicas in the same order.
    pub(crate) servers: Vec<Server>,
}

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

impl Cluster {
    pub(crate) fn start(binary: &'static str, replicas: usize, arguments: &[&str]) -> Self {
        let servers: Vec<Server> = (0..PRIMARIES * (1 + replicas))
            .map(|_| {
                let bus = free_port().to_string();
                let clustered = [
                    "--cluster-enabled",
                    "yes",
                    "--cluster-node-timeout",
                    "1500",
                    "--cluster-port",
                    &bus,
                    // Replicas get their primary's data at once, not after the usual five seconds.
                    "--repl-diskless-sync-delay",
                    "0",
                ];
                Server::start(binary, &[&clustered, arguments].concat())
            })
            .collect();
        let cluster = Self { servers };
        cluster.join();
        cluster
    }

    fn join(&self) {
        let first = &self.servers[0];
        let first_port = first.port.to_string();
        let bus = first.command(&["CONFIG", "GET", "cluster-port"]);
        let bus = pair(bus).1;
        for server in &self.servers[1..] {
            server.command(&["CLUSTER", "MEET", "127.0.0.1", &first_port, &bus]);
        }
        for (at, server) in self.servers[..PRIMARIES].iter().enumerate() {
            let (from, to) = (at * SLOTS / PRIMARIES, (at + 1) * SLOTS / PRIMARIES - 1);
            server.command(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
        }
        for (at, server) in self.servers.iter().enumerate().skip(PRIMARIES) {
            let primary = text(self.servers[at % PRIMARIES].command(&["CLUSTER", "MYID"]));
            until(|| server.try_command(&["CLUSTER", "REPLICATE", &primary]).is_ok());
        }
        until(|| self.servers.iter().all(|server| self.knows_all(server)));
        // A replica that never had its primary's data is not elected when the primary dies.
        until(|| self.servers[PRIMARIES..].iter().all(follows));
    }

    fn knows_all(&self, server: &Server) -> bool {
        let info = text(server.command(&["CLUSTER", "INFO"]));
        let nodes = text(server.command(&["CLUSTER", "NODES"]));
        let replicas = nodes.lines().filter(|line| line.contains("slave")).count();
        info.contains("cluster_state:ok") && replicas == self.servers.len() - PRIMARIES
    }

    pub(crate) fn url(&self) -> String {
        let nodes: Vec<String> =
            self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }
}

/// Whether a replica has its primary's data and gets what is added.
fn follows(replica: &Server) -> bool {
    text(replica.command(&["INFO", "replication"])).contains("master_link_status:up")
}

pub(crate) fn text(value: Value) -> String {
    match value {
        Value::VerbatimString { text, .. } => text,
        other => redis::from_redis_value(other).unwrap(),
    }
}

fn pair(value: Value) -> (String, String) {
    let pairs: Vec<(String, String)> = redis::from_redis_value(value).unwrap();
    pairs.into_iter().next().unwrap()
}
