//! What this program does when a test starts it as a process of its own.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use memquill::layers::Layers;
use memquill_faults::{History, Workload};
use serde::{Deserialize, Serialize};

use crate::disk::Fill;
use crate::trial::{Places, layers};

/// Holds the errand of a child, as JSON.
pub(crate) const ERRAND: &str = "MEMQUILL_FAULTS_ERRAND";
/// Holds a time in seconds, where the child's clock was set back to before it.
pub(crate) const BEFORE: &str = "MEMQUILL_FAULTS_BEFORE";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Errand {
    /// Works until it is killed.
    Work(Work),
    /// Works on a small disk, and fills it.
    FillDisk(Fill),
    /// Serves the folder to clients of Qdrant until it is killed.
    #[cfg(feature = "edge")]
    Serve { folder: PathBuf },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) seed: u64,
    pub(crate) workers: u64,
    pub(crate) first: u64,
    /// How long the run has gone on.
    pub(crate) offset: Duration,
    /// Where the history goes.
    pub(crate) file: PathBuf,
    pub(crate) places: Places,
}

/// What this process was started for, if it is a child.
pub(crate) fn errand() -> Option<Errand> {
    let errand = std::env::var(ERRAND).ok()?;
    Some(serde_json::from_str(&errand).unwrap())
}

impl Errand {
    pub(crate) async fn run(self) {
        match self {
            Self::Work(work) => work.run().await,
            Self::FillDisk(fill) => fill.run().await,
            #[cfg(feature = "edge")]
            Self::Serve { folder } => crate::qdrant::serve_for_ever(&folder).await,
        }
    }
}

impl Work {
    /// Works for ever, with a line on stdout for each call that ended.
    async fn run(self) {
        if let Ok(before) = std::env::var(BEFORE) {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            assert!(now < before.parse().unwrap(), "this process has the right time");
        }
        let memory = self.places.open(&Layers::new(), &layers()).await.unwrap();
        let history = Arc::new(History::in_file(self.offset, &self.file));
        let workload = Workload::new(self.seed, self.workers, &memory);
        let running = Workload { first: self.first, ..workload }.start(&memory, &history);
        let mut out = std::io::stdout();
        loop {
            running.ended(1).await;
            writeln!(out).unwrap();
            out.flush().unwrap();
        }
    }
}
