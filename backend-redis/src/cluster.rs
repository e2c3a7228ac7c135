//! A cluster: which node serves a slot, and following slots that move.
//!
//! The client library's own cluster connection sends a command again when its connection breaks, and so could append a message twice. Here a command is sent again only where the
//! server said that it did not run it, or where it never left.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crc::{CRC_16_XMODEM, Crc};
use parking_lot::RwLock;
use redis::{RedisError, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::{Address, Config};
use crate::error::Failure;
use crate::node::{FIRST_PAUSE, MAX_PAUSE, Node, Request};

const SLOTS: u16 = 16_384;
static HASH: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The longest time that one node has to answer CLUSTER SLOTS.
const ASKING_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Cluster {
    config: Config,
    map: RwLock<Map>,
    /// The last look at who serves what; held during one.
    looked: Mutex<Option<Look>>,
}

/// A look at who serves what.
#[derive(Debug)]
struct Look {
    /// When it ended.
    at: Instant,
    /// Why no node answered; none where the map was read.
    failed: Option<RedisError>,
}

/// The map of slots to nodes.
#[derive(Debug, Default)]
struct Map {
    nodes: HashMap<Address, Arc<Node>>,
    /// First and last slot, and their server.
    ranges: Vec<(u16, u16, Address)>,
}

/// The node to send a refused command to again.
enum Again {
    /// To the node that the map names after a pause, and a look at the map.
    Wait,
    /// To the slot's new node, which knows best what it serves.
    Moved(Address),
    /// To this node, for this once.
    Ask(Address),
}

impl Cluster {
    pub(crate) async fn connect(config: Config) -> Result<Arc<Self>, Failure> {
        let cluster = Self { config, map: RwLock::new(Map::default()), looked: Mutex::new(None) };
        cluster.learn(Instant::now(), None).await?;
        Ok(Arc::new(cluster))
    }

    /// Runs one command on the node that serves the slot of `key`. While none does, it waits as
    /// long as a call may take.
    pub(crate) async fn send(
        self: &Arc<Self>,
        key: &str,
        request: Request<'_>,
    ) -> Result<Value, Failure> {
        let slot = slot(key);
        let deadline = Instant::now() + self.config.timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            let failure = match self.attempt(slot, request).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            match again(&failure) {
                None if !failure.maybe_run => return Err(failure),
                // The node may be gone: the next call should know, and this one has no time left.
                None => {
                    drop(self.learning(started, None));
                    return Err(failure);
                }
                Some(_) if Instant::now() + pause >= deadline => {
                    drop(self.learning(started, None));
                    return Err(failure);
                }
                Some(Again::Moved(address)) => {
                    match timeout_at(deadline, self.learning(started, Some(address))).await {
                        Ok(Ok(learnt)) => learnt?,
                        _ => return Err(failure),
                    }
                }
                Some(Again::Wait) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                    if timeout_at(deadline, self.learning(started, None)).await.is_err() {
                        return Err(failure);
                    }
                }
                Some(Again::Ask(address)) => match self.node(&address) {
                    Ok(node) => match node.send(Request { asking: true, ..request }).await {
                        Err(failure) if again(&failure).is_none() => return Err(failure),
                        Err(_) => tokio::time::sleep(pause).await,
                        answer => return answer,
                    },
                    Err(error) => return Err(Failure::unsent(error)),
                },
            }
        }
    }

    async fn attempt(&self, slot: u16, request: Request<'_>) -> Result<Value, Failure> {
        let owner = self.map.read().owner(slot);
        match owner {
            Some(node) => node.send(request).await,
            None => Err(Failure::unsent(uncovered())),
        }
    }

    /// Every node that serves slots.
    pub(crate) fn primaries(&self) -> Vec<Arc<Node>> {
        let map = self.map.read();
        let mut addresses: Vec<&Address> = map.ranges.iter().map(|(_, _, at)| at).collect();
        addresses.sort_unstable_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
        addresses.dedup();
        addresses.into_iter().filter_map(|at| map.nodes.get(at).cloned()).collect()
    }

    /// The node at an address, known or new.
    fn node(&self, address: &Address) -> RedisResult<Arc<Node>> {
        if let Some(node) = self.map.read().nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let node = Arc::new(Node::new(&self.config, address)?);
        Ok(Arc::clone(self.map.write().nodes.entry(address.clone()).or_insert(node)))
    }

    /// Learns in the background: a look goes on to its end, also when the call that began it gives up.
    /// Nodes that do not answer may precede the one that does.
    fn learning(
        self: &Arc<Self>,
        since: Instant,
        first: Option<Address>,
    ) -> JoinHandle<Result<(), Failure>> {
        let cluster = Arc::clone(self);
        tokio::spawn(async move { cluster.learn(since, first).await })
    }

    /// Asks the nodes one after the other, `first` first, who serves what. Calls that wait share
    /// one look: a look that ended since `since` is reused, also where no node answered.
    async fn learn(&self, since: Instant, first: Option<Address>) -> Result<(), Failure> {
        let mut looked = self.looked.lock().await;
        if let Some(look) = looked.as_ref().filter(|look| look.at >= since) {
            return look.failed.clone().map_or(Ok(()), |error| Err(Failure::unsent(error)));
        }
        let learnt = self.look(first).await;
        let failed = learnt.as_ref().err().cloned();
        *looked = Some(Look { at: Instant::now(), failed });
        learnt.map_err(Failure::unsent)
    }

    async fn look(&self, first: Option<Address>) -> RedisResult<()> {
        let mut known: Vec<Address> = first.into_iter().collect();
        known.extend(self.map.read().ranges.iter().map(|(_, _, address)| address.clone()));
        known.extend(self.config.addresses.iter().cloned());
        let mut seen = HashSet::new();
        known.retain(|address| seen.insert(address.clone()));
        let mut last = uncovered();
        for address in known {
            match self.ask(&address).await {
                Ok(ranges) => return self.adopt(ranges),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask(&self, address: &Address) -> RedisResult<Vec<(u16, u16, Address)>> {
        let node = self.node(address)?;
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let asked = timeout(ASKING_TIMEOUT, node.send(Request::new(&command))).await;
        let answer = asked.map_err(std::io::Error::from)?.map_err(|failure| failure.error)?;
        ranges(answer, &address.host).ok_or_else(|| {
            (redis::ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS is not understood").into()
        })
    }

    fn adopt(&self, ranges: Vec<(u16, u16, Address)>) -> RedisResult<()> {
        let mut map = self.map.write();
        let mut nodes = HashMap::new();
        for (_, _, address) in &ranges {
            let node = match map.nodes.get(address) {
                Some(node) => Arc::clone(node),
                None => Arc::new(Node::new(&self.config, address)?),
            };
            nodes.insert(address.clone(), node);
        }
        *map = Map { nodes, ranges };
        Ok(())
    }
}

impl Map {
    fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        let (_, _, address) =
            self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot))?;
        self.nodes.get(address).cloned()
    }
}

fn uncovered() -> RedisError {
    (redis::ErrorKind::ClusterConnectionNotFound, "no node serves the slot").into()
}

/// Decides whether and where to send the command again: only what surely did not run.
fn again(failure: &Failure) -> Option<Again> {
    match failure.code() {
        Some("MOVED") => Some(redirection(failure).map_or(Again::Wait, Again::Moved)),
        Some("ASK") => Some(redirection(failure).map_or(Again::Wait, Again::Ask)),
        Some("TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "LOADING" | "READONLY") => {
            Some(Again::Wait)
        }
        Some(_) => None,
        None => {
            let denied = failure.error.kind() == redis::ErrorKind::AuthenticationFailed;
            (!failure.maybe_run && !denied).then_some(Again::Wait)
        }
    }
}

/// Reads the address in MOVED or ASK; none where the node does not know the other's name.
fn redirection(failure: &Failure) -> Option<Address> {
    let (host, port) = failure.error.redirect_node()?.0.rsplit_once(':')?;
    let address = Address { host: host.into(), port: port.parse().ok()? };
    (!address.host.is_empty() && address.host != "?").then_some(address)
}

/// Reads the answer of CLUSTER SLOTS. A node that does not know its own name is at `asked`.
fn ranges(answer: Value, asked: &str) -> Option<Vec<(u16, u16, Address)>> {
    let Value::Array(ranges) = answer else { return None };
    ranges
        .iter()
        .map(|range| match range {
            Value::Array(parts) => match parts.as_slice() {
                [Value::Int(first), Value::Int(last), Value::Array(primary), ..] => {
                    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
                    let host = match host {
                        Value::BulkString(host) if !matches!(host.as_slice(), b"" | b"?") => {
                            String::from_utf8(host.clone()).ok()?
                        }
                        _ => asked.to_owned(),
                    };
                    let port = u16::try_from(*port).ok()?;
                    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
                    Some((first, last, Address { host, port }))
                }
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// Computes the slot of a key: CRC-16 (XMODEM) of its hash tag, as the cluster specification says.
fn slot(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(key);
    HASH.checksum(tag.as_bytes()) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // CLUSTER KEYSLOT of a real server.
        assert_eq!(slot("123456789"), 12_739);
        assert_eq!(slot("memory:{alice/bot}:entry:k"), slot("{alice/bot}"));
        assert_eq!(slot("foo{}{bar}"), slot("foo{}{bar}"));
        assert_ne!(slot("foo{}{bar}"), slot("bar"));
    }

    #[test]
    fn a_node_without_a_name_is_where_it_was_asked() {
        let answer = Value::Array(vec![Value::Array(vec![
            Value::Int(0),
            Value::Int(16_383),
            Value::Array(vec![Value::BulkString(Vec::new()), Value::Int(7000)]),
        ])]);
        let read = ranges(answer, "h").unwrap();
        assert_eq!(read, [(0, 16_383, Address { host: "h".into(), port: 7000 })]);
        assert!(ranges(Value::Nil, "h").is_none());
    }

    #[test]
    fn only_what_surely_did_not_run_is_sent_again() {
        let io = || RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(again(&Failure::sent(io())).is_none());
        assert!(again(&Failure::unsent(io())).is_some());
        let refused = |code: &str| {
            Failure::sent(redis::make_extension_error(code.into(), Some("1 h:1".into())))
        };
        assert!(matches!(again(&refused("TRYAGAIN")), Some(Again::Wait)));
        assert!(again(&refused("OOM")).is_none());
    }
}
