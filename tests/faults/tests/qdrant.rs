//! Faults of Qdrant: of a folder of Edge, and of a server, which is the fixture of the driver's tests.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command};

use memquill::ErrorKind;
use memquill_faults::{Expected, Proxy};
use memquill_qdrant::edge::Write;
use qdrant_client::qdrant::{Condition, Filter, SetPayloadPoints, Value};

use self::fixture::{Fixture, obliging};
use crate::child::Errand;
use crate::inmemory::{crowded, dropped, injected};
use crate::network::{self, Behind};
use crate::process::{command, kill_clients};
use crate::trial::{Places, Trial, registry};
use crate::{Test, clock, disk};

#[allow(dead_code, reason = "the driver's own tests use all of it")]
#[path = "../../../backend-qdrant/tests/support/fixture.rs"]
mod fixture;
#[allow(dead_code, reason = "the driver's own tests use all of it")]
#[path = "../../../backend-qdrant/tests/support/strict.rs"]
mod strict;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = network::tests("qdrant", behind);
    tests.extend([
        Test::new("qdrant::client_killed::at_random_points", client_killed),
        Test::new("qdrant::dropped::at_random_points", |seed| in_folder(seed, dropped)),
        Test::new("qdrant::injected::before_and_after_the_call", |seed| {
            in_folder(seed, move |trial| injected(trial, seed))
        }),
        Test::new("qdrant::pool_exhausted::by_many_workers", |seed| {
            in_folder(seed, move |trial| crowded(trial, seed))
        }),
        Test::new("qdrant::killed::under_load", server_killed),
        Test::new("qdrant::paused::for_a_while", server_paused),
        Test::new("qdrant::two_schemas::under_an_open_handle", two_schemas),
        Test::new("qdrant::client_killed::of_a_server", client_of_a_server_killed),
    ]);
    let mut disk_full = Test::new("qdrant::disk_full::and_emptied", disk_full);
    disk_full.missing = disk::missing();
    tests.push(disk_full);
    let mut clock_set_back = Test::new("qdrant::clock_set_back::by_an_hour", clock_set_back);
    clock_set_back.missing = clock::missing();
    tests.push(clock_set_back);
    tests
}

async fn in_folder<F: Future<Output = ()>>(seed: u64, run: impl FnOnce(Trial) -> F) {
    let folder = tempfile::tempdir().unwrap();
    run(Trial::new(seed, format!("qdrant-edge:{}", folder.path().display()))).await;
}

async fn client_killed(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let places = Places::one(format!("qdrant-edge:{}", folder.path().display()));
    kill_clients(seed, places, Expected::default(), |_, _| {}).await;
}

/// Edge needs 128 MiB free, and is refused before a file that it maps finds no room.
async fn disk_full(seed: u64) {
    let url = |disk: &Path| format!("qdrant-edge:{}", disk.join("memory").display());
    disk::full(seed, 400, 64 << 20, url).await;
}

/// A server on a folder.
async fn serve(folder: &Path) -> Fixture {
    let folder = folder.to_owned();
    let start = move || Fixture::start(&folder, None, None, obliging());
    tokio::task::spawn_blocking(start).await.unwrap()
}

fn url(fixture: &Fixture) -> String {
    format!("qdrant://{}", fixture.address)
}

async fn behind(seed: u64) -> Behind {
    let folder = tempfile::tempdir().unwrap();
    let fixture = serve(folder.path()).await;
    let past = url(&fixture);
    Places::one(&past).migrate().await;
    let proxy = Proxy::before(&fixture.address.to_string(), seed).await;
    let through = format!("qdrant://{}?timeout=400ms&connect_timeout=400ms", proxy.address());
    Behind { proxy, _held: Box::new((fixture, folder)), through, past }
}

/// A server that is a process of its own, which ends with this value.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    async fn start(folder: &Path) -> Self {
        let mut command = command(&Errand::Serve { folder: folder.to_owned() });
        let start = move || {
            let mut child = command.spawn().unwrap();
            let mut address = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
            Self { child, address: address.trim().to_owned() }
        };
        tokio::task::spawn_blocking(start).await.unwrap()
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(sent.success(), "{signal}");
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What that process does: it says its address, and serves until it is killed.
pub(crate) async fn serve_for_ever(folder: &Path) {
    let fixture = serve(folder).await;
    println!("{}", fixture.address);
    std::future::pending::<()>().await;
}

async fn server_killed(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut served = Served::start(folder.path()).await;
    let proxy = Proxy::before(&served.address, seed).await;
    let url = format!("qdrant://{}?timeout=2s&connect_timeout=400ms", proxy.address());
    Places::one(&url).migrate().await;
    Trial::new(seed, url)
        .run(async |running| {
            for _ in 0..3 {
                served.kill();
                running.failed(6).await;
                served = Served::start(folder.path()).await;
                proxy.lead_to(&served.address);
                running.done(20).await;
            }
        })
        .await;
}

async fn server_paused(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path()).await;
    let past = format!("qdrant://{}", served.address);
    Places::one(&past).migrate().await;
    let impatient = format!("{past}?timeout=400ms&connect_timeout=400ms");
    Trial::new(seed, impatient)
        .checked_at(past)
        .run(async |running| {
            served.signal("STOP");
            running.failed(4).await;
            served.signal("CONT");
        })
        .await;
}

/// A newer program migrates the store: who has it open goes on, nobody opens it any more (G13).
async fn two_schemas(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let fixture = serve(folder.path()).await;
    let url = url(&fixture);
    Places::one(&url).migrate().await;
    let mark = |version: i64| {
        let schema = Filter::must([Condition::matches("kind", "schema".to_owned())]);
        let request = SetPayloadPoints {
            collection_name: "memory".to_owned(),
            payload: [("version".to_owned(), Value::from(version))].into(),
            points_selector: Some(schema.into()),
            ..SetPayloadPoints::default()
        };
        fixture.edge.collection("memory").unwrap().write(Write::SetPayload(request)).unwrap();
    };
    Trial::new(seed, &url)
        .run(async |running| {
            mark(999);
            running.ended(60).await;
            let error = registry().connect(&url.parse().unwrap()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            mark(1);
        })
        .await;
}

/// The driver's clock tells the times (G8), and what is there is there whatever it says.
async fn clock_set_back(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let fixture = serve(folder.path()).await;
    let places = Places::one(url(&fixture));
    places.migrate().await;
    let expected = Expected { time: false, ..Expected::default() };
    clock::kill_clients_with_two_clocks(seed, places, expected).await;
}

async fn client_of_a_server_killed(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let fixture = serve(folder.path()).await;
    let places = Places::one(url(&fixture));
    places.migrate().await;
    kill_clients(seed, places, Expected::default(), |_, _| {}).await;
}
