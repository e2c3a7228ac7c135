//! Faults of a Redis of this machine's own binary, which keeps everything (`appendfsync always`).

use std::sync::Arc;

use memquill::ErrorKind;
use memquill_faults::{Expected, Proxy, Running};
use parking_lot::Mutex;
use testkit::has;
use testkit::redis::Server;

use crate::inmemory::{crowded, dropped, injected};
use crate::network::{self, Behind};
use crate::process::kill_clients;
use crate::trial::{Places, Trial, registry};
use crate::{Test, clock};

const KEEP: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

pub(crate) fn start() -> Server {
    Server::start("redis-server", &KEEP)
}

pub(crate) fn missing() -> Option<String> {
    (!has("redis-server")).then(|| "no redis-server on this machine".to_owned())
}

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = network::tests("redis", behind);
    tests.extend([
        Test::new("redis::dropped::at_random_points", |seed| alone(seed, dropped)),
        Test::new("redis::injected::before_and_after_the_call", |seed| {
            alone(seed, move |trial| injected(trial, seed))
        }),
        Test::new("redis::pool_exhausted::by_many_workers", |seed| {
            alone(seed, move |trial| crowded(trial, seed))
        }),
        Test::new("redis::paused::for_a_while", |seed| broken(seed, paused)),
        Test::new("redis::killed::under_load", |seed| broken(seed, killed)),
        Test::new("redis::restarted::under_load", |seed| broken(seed, restarted)),
        Test::new("redis::memory_full::and_freed", |seed| broken(seed, memory_full)),
        Test::new("redis::scripts_flushed::under_load", |seed| broken(seed, scripts_flushed)),
        Test::new("redis::two_schemas::under_an_open_handle", two_schemas),
        Test::new("redis::client_killed::at_random_points", client_killed),
        Test::new("redis::clock_set_back::by_an_hour", clock_set_back),
    ]);
    for test in &mut tests {
        test.missing = missing();
        if test.name.contains("clock") {
            test.missing = test.missing.take().or_else(clock::missing);
        }
    }
    tests
}

async fn behind(seed: u64) -> Behind {
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let past = server.url();
    Places::one(&past).migrate().await;
    let proxy = Proxy::before(&format!("127.0.0.1:{}", server.port), seed).await;
    let through = format!("redis://{}?timeout=400ms&connect_timeout=400ms", proxy.address());
    Behind { proxy, _held: Box::new(server), through, past }
}

async fn alone<F: Future<Output = ()>>(seed: u64, run: impl FnOnce(Trial) -> F) {
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    Places::one(server.url()).migrate().await;
    run(Trial::new(seed, server.url())).await;
}

type Shared = Arc<Mutex<Server>>;

/// Breaks the server itself while workers work.
async fn broken(seed: u64, fault: impl AsyncFnOnce(&Shared, &Running)) {
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let url = server.url();
    Places::one(&url).migrate().await;
    let server = Arc::new(Mutex::new(server));
    let impatient = format!("{url}?timeout=400ms&connect_timeout=400ms");
    let trial = Trial::new(seed, impatient).checked_at(url);
    trial.run(async |running| fault(&server, running).await).await;
}

/// Does something with the server that blocks.
async fn with(server: &Shared, what: impl FnOnce(&mut Server) + Send + 'static) {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || what(&mut server.lock())).await.unwrap();
}

async fn paused(server: &Shared, running: &Running) {
    with(server, |server| server.signal("STOP")).await;
    running.failed(4).await;
    with(server, |server| server.signal("CONT")).await;
}

async fn killed(server: &Shared, running: &Running) {
    for _ in 0..3 {
        with(server, Server::kill).await;
        running.failed(6).await;
        with(server, Server::run).await;
        running.done(20).await;
    }
}

async fn restarted(server: &Shared, running: &Running) {
    with(server, |server| {
        // It answers by closing the connection.
        let _ = server.try_command(&["SHUTDOWN"]);
        server.kill();
    })
    .await;
    running.failed(6).await;
    with(server, Server::run).await;
}

async fn memory_full(server: &Shared, running: &Running) {
    with(server, |server| drop(server.command(&["CONFIG", "SET", "maxmemory", "1"]))).await;
    running.failed(6).await;
    with(server, |server| drop(server.command(&["CONFIG", "SET", "maxmemory", "0"]))).await;
}

async fn scripts_flushed(server: &Shared, running: &Running) {
    for _ in 0..5 {
        with(server, |server| drop(server.command(&["SCRIPT", "FLUSH"]))).await;
        running.done(10).await;
    }
}

async fn client_killed(seed: u64) {
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let places = Places::one(server.url());
    places.migrate().await;
    kill_clients(seed, places, Expected::default(), |_, _| {}).await;
}

/// Times are the server's, whatever clock the client has (G8).
async fn clock_set_back(seed: u64) {
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let places = Places::one(server.url());
    places.migrate().await;
    clock::kill_clients_with_two_clocks(seed, places, Expected::default()).await;
}

/// A newer program migrates the store: who has it open goes on, nobody opens it any more (G13).
async fn two_schemas(seed: u64) {
    broken(seed, async |server, running| {
        let url = server.lock().url();
        let mark = |version: &'static str| {
            move |server: &mut Server| {
                drop(server.command(&["SET", "memory:schema", version]));
            }
        };
        let before =
            redis::from_redis_value::<String>(server.lock().command(&["GET", "memory:schema"]));
        let before: &'static str = before.unwrap().leak();
        with(server, mark("999")).await;
        running.ended(60).await;
        let error = registry().connect(&url.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        with(server, mark(before)).await;
    })
    .await;
}
