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
        let copies = Mutex::default();
        Ok(Arc::new(File { folder, copies, options: self.options, clock, driver }))
    }
}

struct File {
    folder: TempDir,
    /// What crashes left, as long as the scenario runs.
    copies: Mutex<Vec<TempDir>>,
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

#[async_trait]
impl TestStore for File {
    async fn connect(&self) -> Result<Backend> {
        self.driver.connect(&self.url()?).await
    }

    async fn admin(&self) -> Result<Administrator> {
        self.driver.admin(&self.url()?).await
    }

    async fn after_crash(&self) -> Option<Result<Backend>> {
        let copy = self.copy().expect("copying the database");
        let url = self.url_in(copy.path());
        self.copies.lock().expect("no panic").push(copy);
        Some(match url {
            Ok(url) => self.driver.connect(&url).await,
            Err(error) => Err(error),
        })
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
