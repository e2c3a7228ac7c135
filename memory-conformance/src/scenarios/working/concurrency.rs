//! Many connections at once on the same keys (W3, W6, G5, G7).

use std::collections::HashSet;

use memquill_core::{Backend, Delete, Facet, GetMany, Put, PutCondition, PutMany};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{LONG, Working, polled_at_most, together};

scenarios! {
    facet: Some(Facet::Working), family: Family::Concurrency;
    w3: of_many_puts_at_one_version_one_wins [Conditions];
    w3: of_many_puts_if_absent_one_wins [Conditions];
    w3: of_many_deletes_at_one_version_one_wins [Conditions];
    w3: concurrent_writes_never_share_a_version;
    w3: compare_and_swap_loses_no_update [Conditions];
    w4: concurrent_reads_that_extend_lose_no_write [SlidingExpiry];
    w6: concurrent_increments_sum_exactly [Counters];
    g5: a_reader_of_many_sees_whole_batches_only;
    g7: a_put_that_is_dropped_is_done_or_not_done;
}

/// Runs `count` tasks at once over four connections; each gets its own number.
async fn race<T, F>(
    test: &Test,
    working: &Working,
    count: usize,
    task: impl Fn(usize, Working) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut connections: Vec<Backend> = vec![test.backend().clone()];
    for _ in 1..4 {
        connections.push(test.connect().await);
    }
    together((0..count).map(|n| task(n, working.over(&connections[n % 4])))).await
}

async fn of_many_puts_at_one_version_one_wins(test: Test) {
    let working = Working::new(&test);
    for round in 0..8 {
        let version = working.put("key", "start").await.version;
        let answers = race(&test, &working, 8, |n, working| async move {
            working.put_if(PutCondition::IfVersion(version), "key", n).await
        })
        .await;
        assert_one_won(&working, &answers, round).await;
    }
}

async fn of_many_puts_if_absent_one_wins(test: Test) {
    let working = Working::new(&test);
    for round in 0..8 {
        working.delete("key").await;
        let answers = race(&test, &working, 8, |n, working| async move {
            working.put_if(PutCondition::IfAbsent, "key", n).await
        })
        .await;
        assert_one_won(&working, &answers, round).await;
    }
}

/// One answer is `Ok` and is what is stored; the others are conflicts that say its version.
async fn assert_one_won(
    working: &Working,
    answers: &[memquill_core::Result<memquill_core::Written>],
    round: usize,
) {
    let winners: Vec<usize> =
        answers.iter().enumerate().filter(|(_, a)| a.is_ok()).map(|(n, _)| n).collect();
    assert_eq!(winners.len(), 1, "round {round}: {answers:?}");
    let entry = working.get("key").await.expect("an entry");
    assert_eq!(entry.value, winners[0]);
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(error.kind(), memquill_core::ErrorKind::Conflict, "{error:?}");
        assert_eq!(error.current_version(), Some(entry.version), "{error:?}");
    }
}

async fn of_many_deletes_at_one_version_one_wins(test: Test) {
    let working = Working::new(&test);
    for _ in 0..8 {
        let version = working.put("key", 1).await.version;
        let answers = race(&test, &working, 8, |_, working| async move {
            let request = Delete { if_version: Some(version), ..Delete::new("key") };
            working.store().delete(working.scope(), &request).await.unwrap()
        })
        .await;
        assert_eq!(answers.iter().filter(|deleted| **deleted).count(), 1);
    }
}

async fn concurrent_writes_never_share_a_version(test: Test) {
    let working = Working::new(&test);
    let versions = race(&test, &working, 8, |n, working| async move {
        let mut versions = Vec::new();
        for round in 0..10 {
            versions.push(working.put("key", n).await.version);
            if (n + round) % 4 == 0 {
                working.delete("key").await;
            }
        }
        versions
    })
    .await;
    let distinct: HashSet<u64> = versions.iter().flatten().copied().collect();
    assert_eq!(distinct.len(), 80);
}

async fn compare_and_swap_loses_no_update(test: Test) {
    let working = Working::new(&test);
    working.put("n", 0).await;
    race(&test, &working, 4, |_, working| async move {
        let mut done = 0;
        while done < 10 {
            let entry = working.get("n").await.expect("an entry");
            let next = entry.value.as_u64().unwrap() + 1;
            let if_unchanged = PutCondition::IfVersion(entry.version);
            match working.put_if(if_unchanged, "n", next).await {
                Ok(_) => done += 1,
                Err(error) => assert!(error.current_version() > Some(0), "{error:?}"),
            }
        }
    })
    .await;
    assert_eq!(working.value("n").await, 40);
}

async fn concurrent_reads_that_extend_lose_no_write(test: Test) {
    let working = Working::new(&test);
    working.put_for("key", 0, LONG).await;
    race(&test, &working, 4, |n, working| async move {
        for round in 1..=25 {
            if n == 0 {
                working.put_for("key", round, LONG).await;
            } else {
                working.get_extending("key", 2 * LONG).await.expect("an entry");
            }
        }
    })
    .await;
    assert_eq!(working.value("key").await, 25);
}

async fn concurrent_increments_sum_exactly(test: Test) {
    let working = Working::new(&test);
    let values = race(&test, &working, 8, |n, working| async move {
        let by = if n % 4 == 3 { -1 } else { 1 };
        let mut values = Vec::new();
        for _ in 0..25 {
            values.push(working.increment("n", by).await);
        }
        values
    })
    .await;
    assert_eq!(working.value("n").await, 6 * 25 - 2 * 25);
    let versions: HashSet<u64> = values.iter().flatten().map(|c| c.written.version).collect();
    assert_eq!(versions.len(), 200, "every increment has a version of its own");
}

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The same value under all keys.
fn everywhere(value: usize) -> PutMany {
    PutMany { entries: KEYS.iter().map(|key| Put::new(*key, value)).collect() }
}

/// What a single read of all keys finds.
async fn values(working: &Working) -> Vec<u64> {
    let keys = KEYS.iter().map(ToString::to_string).collect();
    let request = GetMany { keys, extend: None };
    let found = working.store().get_many(working.scope(), &request).await.unwrap();
    found.iter().map(|entry| entry.value.as_u64().unwrap()).collect()
}

async fn a_reader_of_many_sees_whole_batches_only(test: Test) {
    let writer = Working::new(&test);
    let reader = writer.over(&test.connect().await);
    let write = tokio::spawn(async move {
        for round in 0..80 {
            writer.store().put_many(writer.scope(), &everywhere(round)).await.unwrap();
        }
    });
    while !write.is_finished() {
        let found = values(&reader).await;
        assert!(found.is_empty() || found.len() == 5, "part of a batch: {found:?}");
        assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "two batches: {found:?}");
        tokio::task::yield_now().await;
    }
    write.await.unwrap();
    assert_eq!(values(&reader).await, [79; 5]);
}

async fn a_put_that_is_dropped_is_done_or_not_done(test: Test) {
    let working = Working::new(&test);
    for polls in 0..100 {
        let request = everywhere(polls);
        let put = working.store().put_many(working.scope(), &request);
        let finished = polled_at_most(polls, put).await.map(Result::unwrap).is_some();
        let found = values(&working).await;
        assert!(found.is_empty() || found.len() == 5, "after {polls} polls: {found:?}");
        assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "after {polls}: {found:?}");
        if finished && polls > 2 {
            break;
        }
    }
    working.put("after", 1).await;
    assert_eq!(working.value("after").await, 1);
}
