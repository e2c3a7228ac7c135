//! Faults of an SQLite file.

use std::path::Path;

use memquill::ErrorKind;
use memquill_faults::Expected;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tempfile::TempDir;

use crate::inmemory::{crowded, dropped, injected};
use crate::process::kill_clients;
use crate::trial::{Places, Trial, registry};
use crate::{Test, clock, disk};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new("sqlite::dropped::at_random_points", |seed| in_file(seed, "", dropped)),
        Test::new("sqlite::injected::before_and_after_the_call", |seed| {
            in_file(seed, "", move |trial| injected(trial, seed))
        }),
        Test::new("sqlite::pool_exhausted::by_many_workers", |seed| {
            in_file(seed, "&readers=1", move |trial| crowded(trial, seed))
        }),
        Test::new("sqlite::locked::by_another_process", locked),
        Test::new("sqlite::client_killed::at_random_points", client_killed),
        Test::new("sqlite::client_killed::at_full_synchronous", client_killed_full),
        Test::new("sqlite::two_schemas::under_an_open_handle", two_schemas),
    ];
    let mut disk_full = Test::new("sqlite::disk_full::and_emptied", disk_full);
    disk_full.missing = disk::missing();
    tests.push(disk_full);
    let mut clock_set_back = Test::new("sqlite::clock_set_back::by_an_hour", clock_set_back);
    clock_set_back.missing = clock::missing();
    tests.push(clock_set_back);
    tests
}

/// A folder with a file in it, and the file's URL.
fn file(options: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.db").display().to_string();
    (folder, format!("sqlite:{path}?{options}"))
}

async fn in_file<F: Future<Output = ()>>(
    seed: u64,
    options: &'static str,
    run: impl FnOnce(Trial) -> F,
) {
    let (_folder, url) = file(&format!("synchronous=normal{options}"));
    run(Trial { calls: 100, ..Trial::new(seed, url) }).await;
}

/// A connection past the driver.
async fn raw(url: &str) -> SqliteConnection {
    let path = url.split(['?', ':']).nth(1).unwrap();
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

/// Another process holds the file's lock for longer than anybody waits.
async fn locked(seed: u64) {
    let (_folder, url) = file("synchronous=normal&busy_timeout=20ms");
    let trial = Trial::new(seed, &url);
    trial
        .run(async |running| {
            let mut other = raw(&url).await;
            // Workers may hold it just now.
            other.execute("PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE").await.unwrap();
            running.failed(6).await;
            other.execute("ROLLBACK").await.unwrap();
            other.close().await.unwrap();
        })
        .await;
}

async fn client_killed(seed: u64) {
    let (_folder, url) = file("synchronous=normal");
    kill_clients(seed, Places::one(url), Expected::default(), |_, _| {}).await;
}

async fn client_killed_full(seed: u64) {
    let (_folder, url) = file("synchronous=full");
    kill_clients(seed, Places::one(url), Expected::default(), |_, _| {}).await;
}

/// A newer program migrates the file: who has it open goes on, nobody opens it any more (G13).
async fn two_schemas(seed: u64) {
    let (_folder, url) = file("synchronous=normal");
    let mut trial = Trial::new(seed, &url);
    trial.expected.errors.push("config");
    trial
        .run(async |running| {
            let mut newer = raw(&url).await;
            let before: i64 = sqlx::query_scalar("SELECT version FROM memquill_schema")
                .fetch_one(&mut newer)
                .await
                .unwrap();
            newer
                .execute("PRAGMA busy_timeout = 10000; UPDATE memquill_schema SET version = 999")
                .await
                .unwrap();
            running.ended(60).await;
            let error = registry().connect(&url.parse().unwrap()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            let back = format!("UPDATE memquill_schema SET version = {before}");
            newer.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(back))).await.unwrap();
        })
        .await;
}

/// The times of a file are those of the machine, and go back with it; everything else goes on.
async fn clock_set_back(seed: u64) {
    let (_folder, url) = file("synchronous=normal");
    let expected = Expected { time: false, ..Expected::default() };
    clock::kill_clients_with_two_clocks(seed, Places::one(url), expected).await;
}

async fn disk_full(seed: u64) {
    let url =
        |disk: &Path| format!("sqlite:{}?synchronous=normal", disk.join("memory.db").display());
    disk::full(seed, 3, 0, url).await;
}
