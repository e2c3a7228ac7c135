//! Health (G14).

use std::time::{Duration, Instant};

use memquill_core::HealthStatus;

use crate::scenario::{Family, Test, scenarios};
use crate::support::together;

scenarios! {
    facet: None, family: Family::Example;
    g14: a_store_that_works_is_healthy_and_says_its_version;
    g14: health_answers_within_its_deadline;
    g14: many_may_ask_at_once;
}

const DEADLINE: Duration = Duration::from_secs(20);

async fn a_store_that_works_is_healthy_and_says_its_version(test: Test) {
    let health = test.backend().control().health(DEADLINE).await;
    assert_eq!(health.status, HealthStatus::Healthy, "{health:?}");
    assert!(health.missing.is_empty(), "{health:?}");
    assert!(!health.server_version.trim().is_empty(), "{health:?}");
    assert!(health.latency < DEADLINE, "{health:?}");
}

async fn health_answers_within_its_deadline(test: Test) {
    for deadline in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(1), DEADLINE] {
        let start = Instant::now();
        test.backend().control().health(deadline).await;
        // With time for a machine that has other things to do.
        assert!(start.elapsed() < deadline + Duration::from_secs(5), "with {deadline:?}");
    }
}

async fn many_may_ask_at_once(test: Test) {
    let answers = together((0..32).map(|_| {
        let control = test.backend().control().clone();
        async move { control.health(DEADLINE).await.status }
    }))
    .await;
    assert!(answers.iter().all(|status| *status == HealthStatus::Healthy), "{answers:?}");
}
