//! The conformance suite on SQLite, with a file and a clock for every scenario.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use backend_sqlite::SqliteDriver;
use memory_conformance::{Harness, TestStore, async_trait, main_with};
use memory_core::{Admin, Backend, Driver as _, Error, ManualClock, Result, StoreUrl, Timestamp};
use tempfile::TempDir;

struct Files;

#[async_trait]
impl Harness for Files {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let folder = tempfile::tempdir()
            .map_err(|error| Error::config("no folder for the test").with_source(error))?;
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_380_660_000)?));
        let driver = SqliteDriver::with_clock(Arc::clone(&clock) as _);
        Ok(Arc::new(File { folder, clock, driver }))
    }
}

struct File {
    folder: TempDir,
    clock: Arc<ManualClock>,
    driver: SqliteDriver,
}

impl File {
    fn url(&self) -> Result<StoreUrl> {
        let file = self.folder.path().join("memory.db");
        format!("sqlite:{}?synchronous=normal", file.display()).parse()
    }
}

#[async_trait]
impl TestStore for File {
    async fn connect(&self) -> Result<Backend> {
        self.driver.connect(&self.url()?).await
    }

    async fn admin(&self) -> Result<Arc<dyn Admin>> {
        self.driver.admin(&self.url()?).await
    }

    async fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }
}

fn main() -> ExitCode {
    main_with(Files)
}
