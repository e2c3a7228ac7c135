//! The conformance suite on Redis, on Valkey, on a cluster, and on Redis behind caches.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use memquill_conformance::{Faults, Harness, TestStore, async_trait, main_with};
use memquill_core::cache::{Cache, CacheOptions, SharedLevel};
use memquill_core::{
    Administrator, Backend, Clock, Durability, Error, Facet, Result, SystemClock, Timestamp,
};
use memquill_redis::driver;
use support::cluster::Cluster;
use support::place::Place;
use testkit::redis::Server;
use testkit::{Gate, fresh_name, has, is_required};

/// What stands before a store.
#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    /// The cache of one process: both its levels, around every connection.
    OneCache,
    /// A cache for every connection, as in many processes, which share the second level alone.
    ManyCaches,
}

/// How long a cache answers without asking the store.
const AGE: Duration = Duration::from_hours(1);

/// A server or a cluster.
trait Servers: Send + Sync + 'static {
    fn url(&self) -> String;

    /// A server with what a crash at this moment leaves of this one; none where there is no way to
    /// its disk.
    fn crashed(&self) -> Option<Server>;
}

impl Servers for Place {
    fn url(&self) -> String {
        self.url()
    }

    fn crashed(&self) -> Option<Server> {
        match self {
            Self::Local(server) => Some(server.crashed()),
            _ => None,
        }
    }
}

impl Servers for Cluster {
    fn url(&self) -> String {
        self.url()
    }

    fn crashed(&self) -> Option<Server> {
        None
    }
}

/// Stores of one server or cluster, each under a prefix of its own.
struct Stores {
    name: &'static str,
    before: Before,
    servers: Arc<dyn Servers>,
}

/// A store, behind a gate unless it is a cluster, whose nodes name each other.
struct Store {
    scheme: &'static str,
    hosts: String,
    path: String,
    prefix: String,
    gate: Option<Arc<Gate>>,
    caches: Option<Caches>,
    servers: Arc<dyn Servers>,
    /// What crashes left, as long as the scenario runs.
    crashed: Mutex<Vec<Server>>,
}

/// The caches around a store's connections.
enum Caches {
    One(Cache, Arc<Ahead>),
    Many(SharedLevel),
}

/// A clock that can be set ahead.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now().as_millis() + self.0.load(Ordering::Relaxed);
        Timestamp::from_millis(now).unwrap()
    }
}

/// A gate that is cut for longer than a cache answers for what is behind it.
struct Outage {
    gate: Arc<Gate>,
    clock: Arc<Ahead>,
}

#[async_trait]
impl Faults for Outage {
    async fn cut(&self) {
        self.gate.cut().await;
        self.clock.0.fetch_add(i64::try_from(AGE.as_millis()).unwrap(), Ordering::Relaxed);
    }

    async fn repair(&self) {
        self.gate.repair().await;
    }
}

impl Caches {
    /// With the store's own server as the second level.
    async fn new(before: Before, store: &Store) -> Result<Option<Self>> {
        if matches!(before, Before::Nothing) {
            return Ok(None);
        }
        let backend = driver().connect(&store.url(&store.prefix).parse()?).await?;
        let shared = SharedLevel { cache: Arc::clone(backend.shared_cache().unwrap()), ttl: AGE };
        if matches!(before, Before::ManyCaches) {
            return Ok(Some(Self::Many(shared)));
        }
        let options =
            CacheOptions { max_age: AGE, shared: Some(shared), ..CacheOptions::default() };
        let clock = Arc::new(Ahead::default());
        Ok(Some(Self::One(Cache::with_clock(options, Arc::clone(&clock) as _), clock)))
    }

    fn around(&self, backend: Backend) -> Backend {
        let cache = match self {
            Self::One(cache, _) => cache.clone(),
            Self::Many(shared) => Cache::new(CacheOptions {
                max_age: Duration::ZERO,
                shared: Some(shared.clone()),
                ..CacheOptions::default()
            }),
        };
        cache.around(backend, Facet::ALL)
    }
}

#[async_trait]
impl Harness for Stores {
    fn name(&self) -> &str {
        self.name
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let url = self.servers.url();
        let (scheme, rest) = url.split_once("://").unwrap();
        let rest = rest.split('?').next().unwrap();
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut store = Store {
            scheme: if scheme == "redis" { "redis" } else { "redis+cluster" },
            hosts: hosts.into(),
            path: path.into(),
            prefix: fresh_name(),
            gate: None,
            caches: None,
            servers: Arc::clone(&self.servers),
            crashed: Mutex::default(),
        };
        if scheme == "redis" {
            let (credentials, server) = hosts.rsplit_once('@').unwrap_or(("", hosts));
            let gate = Gate::before(server).await;
            store.hosts = [credentials, &gate.address().to_string()].join("@");
            store.gate = Some(gate);
        }
        store.admin().await?.migrate().await?;
        store.caches = Caches::new(self.before, &store).await?;
        Ok(Arc::new(store))
    }
}

impl Store {
    fn url(&self, prefix: &str) -> String {
        self.url_of(&self.hosts, prefix)
    }

    fn url_of(&self, hosts: &str, prefix: &str) -> String {
        format!("{}://{hosts}/{}?prefix={prefix}", self.scheme, self.path)
    }

    /// Runs a raw command; none in a cluster.
    async fn raw<T: redis::FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        self.gate.as_ref()?;
        let client = redis::Client::open(format!("redis://{}/{}", self.hosts, self.path)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let answer = redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await;
        Some(answer.unwrap())
    }
}

#[async_trait]
impl TestStore for Store {
    async fn connect(&self) -> Result<Backend> {
        let backend = driver().connect(&self.url(&self.prefix).parse()?).await?;
        Ok(match &self.caches {
            Some(caches) => caches.around(backend),
            None => backend,
        })
    }

    async fn admin(&self) -> Result<Administrator> {
        driver().admin(&self.url(&self.prefix).parse()?).await
    }

    async fn pass(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    async fn connect_with_wrong_credentials(&self, secret: &str) -> Option<Error> {
        let server = self.hosts.rsplit_once('@').map_or(self.hosts.as_str(), |(_, server)| server);
        let url = self.url_of(&format!("nobody:{secret}@{server}"), &self.prefix);
        driver().connect(&url.parse().unwrap()).await.err()
    }

    async fn connect_to_unmigrated(&self) -> Option<Result<Backend>> {
        let connected = driver().connect(&self.url(&fresh_name()).parse().unwrap()).await;
        // Where a server keeps nothing on disk, connecting prepares the store.
        let is_prepared = connected
            .as_ref()
            .is_ok_and(|backend| backend.capabilities().durability == Durability::Process);
        (!is_prepared).then_some(connected)
    }

    async fn connect_to_newer(&self) -> Option<Result<Backend>> {
        let prefix = fresh_name();
        self.raw::<()>(&["SET", &format!("{prefix}:schema"), "1000"]).await?;
        Some(driver().connect(&self.url(&prefix).parse().unwrap()).await)
    }

    async fn after_crash(&self) -> Option<Result<Backend>> {
        let server = self.servers.crashed()?;
        let url = format!("{}?prefix={}", server.url(), self.prefix);
        self.crashed.lock().unwrap().push(server);
        Some(driver().connect(&url.parse().unwrap()).await)
    }

    /// Counts entries and what the indexes of entries hold.
    async fn held(&self, user: &str) -> Option<u64> {
        let scopes = format!("{}:{{{user}/*}}", self.prefix);
        let entries: Vec<String> = self.raw(&["KEYS", &format!("{scopes}:entry:*")]).await?;
        let mut count = entries.len() as u64;
        for index in ["working", "expiries"] {
            for key in self.raw::<Vec<String>>(&["KEYS", &format!("{scopes}:{index}")]).await? {
                count += self.raw::<u64>(&["ZCARD", &key]).await?;
            }
        }
        Some(count)
    }

    fn faults(&self) -> Option<Arc<dyn Faults>> {
        let gate = Arc::clone(self.gate.as_ref()?);
        Some(match &self.caches {
            Some(Caches::One(_, clock)) => Arc::new(Outage { gate, clock: Arc::clone(clock) }),
            _ => gate,
        })
    }
}

/// Runs the suite on servers, or says why it cannot.
fn suite(
    name: &'static str,
    before: Before,
    servers: std::result::Result<impl Servers, String>,
) -> ExitCode {
    match servers {
        Ok(servers) => main_with(Stores { name, before, servers: Arc::new(servers) }),
        Err(why) => {
            let required = is_required("redis");
            let missing = why.clone();
            let trial = Trial::test(format!("{name}::suite"), move || Err(Failed::from(missing)));
            let trials = vec![trial.with_kind(why).with_ignored_flag(!required)];
            libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
        }
    }
}

fn cluster() -> std::result::Result<Cluster, String> {
    if has("redis-server") {
        Ok(Cluster::start("redis-server", 0, &[]))
    } else {
        Err("no redis-server on this machine to make a cluster of".into())
    }
}

fn main() -> ExitCode {
    let codes = [
        suite("redis", Before::Nothing, Place::redis()),
        suite("redis (valkey)", Before::Nothing, Place::valkey()),
        suite("redis (cluster)", Before::Nothing, cluster()),
        suite("redis (cached)", Before::OneCache, Place::durable()),
        suite("redis (shared cache)", Before::ManyCaches, Place::redis()),
    ];
    if codes.iter().all(|code| *code == ExitCode::SUCCESS) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
