//! The conformance suite on Redis, on Valkey, and on a cluster.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use backend_redis::driver;
use libtest_mimic::{Arguments, Failed, Trial};
use memory_conformance::{Faults, Harness, TestStore, async_trait, main_with};
use memory_core::{Admin, Backend, Driver as _, Error, Result};
use support::cluster::Cluster;
use support::fresh_prefix;
use support::gate::Gate;
use support::place::Place;
use support::server::has;

/// Stores of one server or cluster, each under a prefix of its own.
struct Stores<P> {
    name: &'static str,
    url: String,
    _place: P,
}

/// A store, behind a gate unless it is a cluster, whose nodes name each other.
struct Store {
    scheme: &'static str,
    hosts: String,
    path: String,
    prefix: String,
    gate: Option<Arc<Gate>>,
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
        };
        if scheme == "redis" {
            let (credentials, server) = hosts.rsplit_once('@').unwrap_or(("", hosts));
            let gate = Gate::before(server.into()).await;
            store.hosts = [credentials, &gate.address().to_string()].join("@");
            store.gate = Some(gate);
        }
        store.admin().await?.migrate().await?;
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
        driver().connect(&self.url(&self.hosts).parse()?).await
    }

    async fn admin(&self) -> Result<Arc<dyn Admin>> {
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
        self.gate.clone().map(|gate| gate as _)
    }
}

/// Runs the suite on a place, or says why it cannot.
fn suite<P: Send + Sync + 'static>(
    name: &'static str,
    place: std::result::Result<P, String>,
    url: impl Fn(&P) -> String,
) -> ExitCode {
    match place {
        Ok(place) => main_with(Stores { name, url: url(&place), _place: place }),
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
        suite("redis", Place::redis(), Place::url),
        suite("redis (valkey)", Place::valkey(), Place::url),
        suite("redis (cluster)", cluster(), Cluster::url),
    ];
    if codes.iter().all(|code| *code == ExitCode::SUCCESS) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
