//! The suite on backends that offer less: what they deny must be refused, and is then no failure.

use std::sync::Arc;
use std::time::Duration;

use memquill_conformance::{Harness, Report, TestStore, Verdict, async_trait, run, scenarios};
use memquill_core::{
    Administrator, Backend, BackendParts, Capabilities, Facet, Feature, ManualClock, Result,
    Timestamp,
};
use memquill_inmemory::InMemory;

/// Makes stores that offer some facets and features of the in-memory driver.
struct Less {
    facets: Vec<Facet>,
    features: Vec<Feature>,
}

struct LessStore {
    clock: Arc<ManualClock>,
    store: InMemory,
    facets: Vec<Facet>,
    features: Vec<Feature>,
}

#[async_trait]
impl Harness for Less {
    fn name(&self) -> &'static str {
        "less"
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_380_660_000)?));
        Ok(Arc::new(LessStore {
            store: InMemory::with_clock(Arc::clone(&clock) as _),
            clock,
            facets: self.facets.clone(),
            features: self.features.clone(),
        }))
    }
}

#[async_trait]
impl TestStore for LessStore {
    async fn connect(&self) -> Result<Backend> {
        let backend = self.store.backend();
        let durability = backend.capabilities().durability;
        let offered = |facet| self.facets.contains(&facet);
        Ok(Backend::new(BackendParts {
            name: backend.name(),
            capabilities: Capabilities::new(durability, self.features.iter().copied()),
            conversations: backend
                .conversations()
                .ok()
                .filter(|_| offered(Facet::Conversations))
                .cloned(),
            vectors: backend.vectors().ok().filter(|_| offered(Facet::Vectors)).cloned(),
            working: backend.working().ok().filter(|_| offered(Facet::Working)).cloned(),
            control: Arc::clone(backend.control()),
        }))
    }

    async fn admin(&self) -> Result<Administrator> {
        Ok(self.store.admin())
    }

    async fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }
}

async fn report(facets: &[Facet], features: &[Feature]) -> Report {
    let harness = Less { facets: facets.to_vec(), features: features.to_vec() };
    run(&harness, |_| true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_features_passes_and_refuses() {
    let report = report(&Facet::ALL, &[]).await;
    assert_eq!(report.failures(), []);
    for (scenario, (name, verdict)) in scenarios().iter().zip(&report.verdicts) {
        // What no request asks for by itself (G5) is in no scenario's needs.
        assert!(!scenario.needs().contains(&Feature::AtomicRecords), "{name}");
        let denied = !scenario.needs().is_empty();
        assert_eq!(matches!(verdict, Verdict::Refused(_)), denied, "{name}: {verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_one_facet_passes_what_is_about_it() {
    for facet in Facet::ALL {
        let own: Vec<Feature> =
            Feature::ALL.into_iter().filter(|f| f.facet().is_none_or(|of| of == facet)).collect();
        let report = report(&[facet], &own).await;
        assert_eq!(report.failures(), [], "{facet} alone");
        for (scenario, (name, verdict)) in scenarios().iter().zip(&report.verdicts) {
            let expected = match scenario.facet() {
                Some(other) if other != facet => Verdict::Absent(other),
                // What this harness has no means to try.
                _ if matches!(verdict, Verdict::NotTried(_)) => continue,
                _ => Verdict::Passed,
            };
            assert_eq!(*verdict, expected, "{name} with {facet} alone");
        }
    }
}
