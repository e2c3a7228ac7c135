//! The conformance suite on SQLite, with a file for every scenario: once quickly, with a clock of
//! the test's, and once as the driver is used, waiting for the disk and for the system's clock.
#![allow(clippy::expect_used, reason = "it is a test: it fails by panicking")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memquill_conformance::{Harness, TestStore, async_trait, main_with};
use memquill_core::{
    Administrator, Backend, Driver, Error, ManualClock, Result, StoreUrl, Timestamp,
};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tempfile::TempDir;

struct Files {
    name: &'static str,
    options: &'static str,
    manual_clock: bool,
}

#[async_trait]
impl Harness for Files {
    fn name(&self) -> &str {
        self.name
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let folder = tempfile::tempdir()
            .map_err(|error| Error::config("no folder for the test").with_source(error))?;
        let start = Timestamp::from_millis(1_795_380_660_000)?;
        let clock = self.manual_clock.then(|| Arc::new(ManualClock::new(start)));
        let driver = match &clock {
            Some(clock) => memquill_sqlite::driver_with_clock(Arc::clone(clock) as _),
            None => memquill_sqlite::driver(),
        };
        let others = Mutex::default();
        Ok(Arc::new(File { folder, others, options: self.options, clock, driver }))
    }
}

/// Counts the records and entries of a user, expired ones included.
const HELD: &str = "
SELECT (SELECT count(*) FROM embeddings JOIN namespaces USING (namespace) WHERE user = ?1)
    + (SELECT count(*) FROM memory_data WHERE user = ?1)";

struct File {
    folder: TempDir,
    /// Folders of other stores, as long as the scenario runs.
    others: Mutex<Vec<TempDir>>,
    options: &'static str,
    clock: Option<Arc<ManualClock>>,
    driver: Arc<dyn Driver>,
}

impl File {
    fn url(&self) -> Result<StoreUrl> {
        self.url_in(self.folder.path())
    }

    fn url_in(&self, folder: &Path) -> Result<StoreUrl> {
        format!("sqlite:{}{}", folder.join("memory.db").display(), self.options).parse()
    }

    /// Connects to the database in another folder, which it keeps.
    async fn connect_in(&self, folder: TempDir) -> Result<Backend> {
        let url = self.url_in(folder.path())?.existing();
        self.others.lock().expect("no panic").push(folder);
        self.driver.connect(&url).await
    }

    /// Copies the database and its log, as a killed process leaves them; the log's index, which is
    /// shared memory, is gone with the machine.
    fn copy(&self) -> std::io::Result<TempDir> {
        let copy = tempfile::tempdir()?;
        for file in ["memory.db", "memory.db-wal"] {
            let from = self.folder.path().join(file);
            if from.exists() {
                std::fs::copy(from, copy.path().join(file))?;
            }
        }
        Ok(copy)
    }
}

/// Opens the database of a folder as another program would.
async fn open(folder: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(folder.join("memory.db"));
    options.create_if_missing(true).connect().await.expect("SQLite opens the file")
}

#[async_trait]
impl TestStore for File {
    async fn connect(&self) -> Result<Backend> {
        self.driver.connect(&self.url()?).await
    }

    async fn admin(&self) -> Result<Administrator> {
        self.driver.admin(&self.url()?).await
    }

    /// A database without tables; connecting migrates it unless it must exist.
    async fn connect_to_unmigrated(&self) -> Option<Result<Backend>> {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut connection = open(folder.path()).await;
        sqlx::query("VACUUM").execute(&mut connection).await.expect("SQLite writes the file");
        connection.close().await.expect("SQLite closes the file");
        Some(self.connect_in(folder).await)
    }

    async fn connect_to_newer(&self) -> Option<Result<Backend>> {
        let folder = self.copy().expect("copying the database");
        let mut connection = open(folder.path()).await;
        let update = sqlx::query("UPDATE memquill_schema SET version = version + 1");
        update.execute(&mut connection).await.expect("the file has our schema");
        connection.close().await.expect("SQLite closes the file");
        Some(self.connect_in(folder).await)
    }

    async fn after_crash(&self) -> Option<Result<Backend>> {
        Some(self.connect_in(self.copy().expect("copying the database")).await)
    }

    async fn held(&self, user: &str) -> Option<u64> {
        let mut connection = open(self.folder.path()).await;
        let query = sqlx::query_scalar(HELD).bind(user);
        Some(query.fetch_one(&mut connection).await.expect("the file has our schema"))
    }

    async fn pass(&self, by: Duration) {
        match &self.clock {
            Some(clock) => clock.advance(by),
            None => tokio::time::sleep(by).await,
        }
    }
}

fn main() -> ExitCode {
    let runs = [
        Files { name: "sqlite", options: "?synchronous=normal", manual_clock: true },
        Files { name: "sqlite (as used)", options: "", manual_clock: false },
    ];
    let codes = runs.map(main_with);
    if codes.iter().all(|code| *code == ExitCode::SUCCESS) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
