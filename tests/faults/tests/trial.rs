//! What every test is made of: workers at work, a fault, its end, a look at what is there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use memquill::driver::Registry;
use memquill::layers::{Layers, Retries};
use memquill::{Facet, Memory, Result};
use memquill_faults::{Event, Expected, Found, History, Running, Witness, Workload, check};
use serde::{Deserialize, Serialize};

/// The seed that was asked for, or any.
pub(crate) fn seed() -> u64 {
    let asked = std::env::var("MEMQUILL_FAULTS_SEED").ok();
    asked.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..))
}

/// A name that nothing else on this machine has.
pub(crate) fn fresh_name() -> String {
    format!("faults_{:016x}", fastrand::u64(..))
}

/// The drivers: one registry, so that every handle of an in-memory store meets the same.
pub(crate) fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::with_compiled_drivers)
}

/// Which stores a memory is composed of, each with the facets that are bound to it; a store that
/// stands alone has all that it offers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Places(pub(crate) Vec<(String, Vec<Facet>)>);

impl Places {
    pub(crate) fn one(url: impl Into<String>) -> Self {
        Self(vec![(url.into(), Vec::new())])
    }

    /// Brings the stores to their schema.
    pub(crate) async fn migrate(&self) {
        for (url, _) in &self.0 {
            let admin = registry().admin(&url.parse().unwrap()).await.unwrap();
            admin.migrate().await.unwrap();
        }
    }

    /// A handle, with what injects faults innermost and retries outermost.
    pub(crate) async fn open(&self, inner: &Layers, outer: &Layers) -> Result<Memory> {
        let mut builder = Memory::builder();
        for (number, (url, facets)) in self.0.iter().enumerate() {
            let backend = inner.around(registry().connect(&url.parse()?).await?);
            let name = format!("store{number}");
            builder = builder.backend(&name, outer.around(backend.layered(Witness)));
            for facet in facets {
                builder = builder.bind(*facet, &name);
            }
        }
        builder.build().await
    }
}

/// The usual layers, less patient, and with retries to spare.
pub(crate) fn layers() -> Layers {
    let (first, most) = (Duration::from_millis(5), Duration::from_millis(200));
    Layers::new().retry(Retries::new(4).with_pause(first, most).with_budget(1_000)).metrics(true)
}

/// A test under way.
pub(crate) struct Trial {
    pub(crate) seed: u64,
    /// Where the workers work.
    pub(crate) places: Places,
    /// Where is looked afterwards: the same stores, past whatever breaks them.
    pub(crate) check: Places,
    pub(crate) inner: Layers,
    pub(crate) outer: Layers,
    pub(crate) workers: u64,
    /// Of a hundred calls.
    pub(crate) dropped: u8,
    pub(crate) expected: Expected,
    /// How many calls succeed before the fault, and again after it.
    pub(crate) calls: usize,
}

impl Trial {
    pub(crate) fn new(seed: u64, url: impl Into<String>) -> Self {
        let places = Places::one(url);
        Self {
            seed,
            check: places.clone(),
            places,
            inner: Layers::new(),
            outer: layers(),
            workers: 6,
            dropped: 0,
            expected: Expected::default(),
            calls: 60,
        }
    }

    /// Looks past whatever stands before the store.
    pub(crate) fn checked_at(self, url: impl Into<String>) -> Self {
        Self { check: Places::one(url), ..self }
    }

    /// Workers work, the fault comes and goes, the same handle works again, and nothing is lost,
    /// doubled, mixed up or revived.
    pub(crate) async fn run(self, fault: impl AsyncFnOnce(&Running)) {
        let memory = self.places.open(&self.inner, &self.outer).await.unwrap();
        let history = Arc::new(History::new());
        let workload = Workload::new(self.seed, self.workers, &memory);
        let running = Workload { dropped: self.dropped, ..workload }.start(&memory, &history);
        running.done(self.calls).await;
        fault(&running).await;
        running.done(self.calls).await;
        running.stop().await;
        let ours = read(&memory).await;
        let found = verify(&history.events(), &self.check, &self.expected).await;
        assert!(same(&ours, &found), "another handle finds something else: {ours:?}, {found:?}");
    }
}

/// Reads everything through a handle in which faults may be injected still.
async fn read(memory: &Memory) -> Vec<Found> {
    let mut tries = 0;
    loop {
        match Found::read(memory).await {
            Err(error) if error.is_transient() && tries < 100 => tries += 1,
            found => return found.unwrap(),
        }
    }
}

/// Whether two looks found the same, but for what may have expired between them.
fn same(a: &[Found], b: &[Found]) -> bool {
    let lasting = |found: &Found| {
        let mut found = found.clone();
        let entries = found.entries.iter_mut().chain([&mut found.listed]);
        entries.for_each(|entries| entries.retain(|entry| entry.expires_at.is_none()));
        found
    };
    a.iter().map(lasting).eq(b.iter().map(lasting))
}

/// Writes down all calls, a line each, and says where.
fn written(events: &[Event]) -> String {
    let path = std::env::temp_dir().join(fresh_name()).with_extension("jsonl");
    let lines = events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    path.display().to_string()
}

/// Reads everything through a new handle, and checks the history against it.
pub(crate) async fn verify(events: &[Event], places: &Places, expected: &Expected) -> Vec<Found> {
    let fresh = places.open(&Layers::new(), &layers()).await.unwrap();
    let found = Found::read(&fresh).await.unwrap();
    let broken = check(events, &found, expected);
    if !broken.is_empty() {
        let shown = broken.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
        let (count, calls, file) = (broken.len(), events.len(), written(events));
        panic!("{count} promises broken in {calls} calls, which are in {file}:\n{shown}");
    }
    found
}
