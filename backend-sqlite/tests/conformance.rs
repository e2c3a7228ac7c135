//! The conformance suite on SQLite, with a file for every scenario: once quickly, with a clock of
//! the test's, and once as the driver is used, waiting for the disk and for the system's clock.

use std::process::ExitCode;
use std::sync::Arc;
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
        Ok(Arc::new(File { folder, options: self.options, clock, driver }))
    }
}

struct File {
    folder: TempDir,
    options: &'static str,
    clock: Option<Arc<ManualClock>>,
    driver: Arc<dyn Driver>,
}

impl File {
    fn url(&self) -> Result<StoreUrl> {
        let file = self.folder.path().join("memory.db");
        format!("sqlite:{}{}", file.display(), self.options).parse()
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
