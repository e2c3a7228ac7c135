//! The conformance suite on Redis, on Valkey, on a cluster, and on Redis behind caches.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use memquill_conformance::{Faults, Harness, TestStore, async_trait, main_with};
use memquill_core::cache::{Cache, CacheOptions, SharedLevel};
use memquill_core::{Administrator, Backend, Clock, Error, Facet, Result, SystemClock, Timestamp};
use memquill_redis::driver;
use support::cluster::Cluster;
use support::fresh_prefix;
use support::gate::Gate;
use support::place::Place;
use support::server::has;

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

/// Stores of one server or cluster, each under a prefix of its own.
struct Stores<P> {
    name: &'static str,
    url: String,
    before: Before,
    _place: P,
}

/// A store, behind a gate unless it is a cluster, whose nodes name each other.
struct Store {
    scheme: &'static str,
    hosts: String,
    path: String,
    prefix: String,
    gate: Option<Arc<Gate>>,
    caches: Option<Caches>,
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
        let backend = driver().connect(&store.url(&store.hosts).parse()?).await?;
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
impl<P: Send + Sync + 'static> Harness for Stores<P> {
    fn name(&self) -> &str {
        self.name
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let (scheme, rest) = self.url.split_once("://").unwrap();
        let rest = rest.split('?').next().unwrap();
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut store = Store {
            scheme: if scheme == "redis" { "redis" } else { "redis+cluster" },
            hosts: hosts.into(),
            path: path.into(),
            prefix: fresh_prefix(),
            gate: None,
            caches: None,
        };
        if scheme == "redis" {
            let (credentials, server) = hosts.rsplit_once('@').unwrap_or(("", hosts));
            let gate = Gate::before(server.into()).await;
            store.hosts = [credentials, &gate.address().to_string()].join("@");
            store.gate = Some(gate);
        }
        store.admin().await?.migrate().await?;
        store.caches = Caches::new(self.before, &store).await?;
        Ok(Arc::new(store))
    }
}

impl Store {
    fn url(&self, hosts: &str) -> String {
        format!("{}://{hosts}/{}?prefix={}", self.scheme, self.path, self.prefix)
    }
}

#[async_trait]
impl TestStore for Store {
    async fn connect(&self) -> Result<Backend> {
        let backend = driver().connect(&self.url(&self.hosts).parse()?).await?;
        Ok(match &self.caches {
            Some(caches) => caches.around(backend),
            None => backend,
        })
    }

    async fn admin(&self) -> Result<Administrator> {
        driver().admin(&self.url(&self.hosts).parse()?).await
    }

    async fn pass(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    async fn connect_with_wrong_credentials(&self, secret: &str) -> Option<Error> {
        let server = self.hosts.rsplit_once('@').map_or(self.hosts.as_str(), |(_, server)| server);
        let url = self.url(&format!("nobody:{secret}@{server}"));
        driver().connect(&url.parse().unwrap()).await.err()
    }

    fn faults(&self) -> Option<Arc<dyn Faults>> {
        let gate = Arc::clone(self.gate.as_ref()?);
        Some(match &self.caches {
            Some(Caches::One(_, clock)) => Arc::new(Outage { gate, clock: Arc::clone(clock) }),
            _ => gate,
        })
    }
}

/// Runs the suite on a place, or says why it cannot.
fn suite<P: Send + Sync + 'static>(
    name: &'static str,
    before: Before,
    place: std::result::Result<P, String>,
    url: impl Fn(&P) -> String,
) -> ExitCode {
    match place {
        Ok(place) => main_with(Stores { name, url: url(&place), before, _place: place }),
        Err(why) => {
            let required = support::required();
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
        suite("redis", Before::Nothing, Place::redis(), Place::url),
        suite("redis (valkey)", Before::Nothing, Place::valkey(), Place::url),
        suite("redis (cluster)", Before::Nothing, cluster(), Cluster::url),
        suite("redis (cached)", Before::OneCache, Place::redis(), Place::url),
        suite("redis (shared cache)", Before::ManyCaches, Place::redis(), Place::url),
    ];
    if codes.iter().all(|code| *code == ExitCode::SUCCESS) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
