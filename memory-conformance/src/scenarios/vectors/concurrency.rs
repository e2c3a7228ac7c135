//! Records under many writers at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use memquill_core::{
    EmbeddingSpace, ErrorKind, Facet, Feature, NewRecord, Outcome, PageRequest, Selection,
};
use serde_json::json;

use super::support::{HALF, Namespace, X, Y, filter, record, tagged};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Concurrency;
    v1: the_same_content_by_many_writers_is_one_record;
    v1: different_records_by_many_writers_are_all_kept;
    v3: one_of_two_spaces_wins_a_race;
    g5: a_reader_never_sees_part_of_a_batch;
    g5: an_update_is_seen_whole;
    g9: each_record_is_deleted_by_one_of_many;
    g11: a_walk_among_writers_returns_what_existed_throughout;
    v7: a_search_among_writers_finds_what_existed_throughout [Filters];
}

/// Opens the namespace over a number of connections.
async fn connections(test: &Test, notes: &Namespace, count: usize) -> Vec<Namespace> {
    join_all((0..count).map(|_| notes.reconnected(test))).await
}

/// Runs all on tasks of their own, and returns what they did.
async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let running: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    join_all(running).await.into_iter().map(|done| done.expect("a task")).collect()
}

async fn the_same_content_by_many_writers_is_one_record(test: Test) {
    let notes = Namespace::new(&test);
    let writers = connections(&test, &notes, 4).await;
    for round in 0..5 {
        let content = format!("thought {round}");
        let tasks = (0..12).map(|n| {
            let (writer, content) = (writers[n % writers.len()].clone(), content.clone());
            async move { writer.put(NewRecord::new(content, X.into())).await }
        });
        let stored = at_once(tasks).await;
        let inserted = stored.iter().filter(|r| r.outcome == Outcome::Inserted).count();
        let unchanged = stored.iter().filter(|r| r.outcome == Outcome::Unchanged).count();
        assert_eq!((inserted, unchanged), (1, 11), "{stored:?}");
        let times: BTreeSet<_> = stored.iter().map(|r| (r.created_at, r.updated_at)).collect();
        assert_eq!(times.len(), 1, "{stored:?}");
        assert_eq!(notes.count(None).await, round + 1);
    }
    assert_eq!(notes.nearest(X, 100).await.len(), 5);
}

async fn different_records_by_many_writers_are_all_kept(test: Test) {
    let notes = Namespace::new(&test);
    let writers = connections(&test, &notes, 4).await;
    at_once(writers.into_iter().zip(0..).map(|(writer, n): (_, u32)| async move {
        for batch in 0..5 {
            let records = (0..20).map(|i| record(&format!("{n} {batch} {i}"), HALF));
            writer.store(records.collect()).await;
        }
    }))
    .await;
    assert_eq!(notes.count(None).await, 400);
    assert_eq!(notes.nearest(X, 1_000).await.len(), 400);
    assert_eq!(notes.scan(None, 33).await.len(), 400);
    if test.has(Feature::TextSearch) {
        assert_eq!(notes.found("common").await.len(), 400);
    }
}

async fn one_of_two_spaces_wins_a_race(test: Test) {
    for round in 0..5 {
        let notes = Namespace::new(&test).named(&format!("raced {round}"));
        let writers = connections(&test, &notes, 4).await;
        let results = at_once((0..8_usize).map(|n| {
            let space = EmbeddingSpace::new(if n % 2 == 0 { "even" } else { "odd" }, 4);
            let writer = Namespace { space, ..writers[n % 4].clone() };
            async move {
                let result = writer.try_store(vec![record(&format!("{n}"), X)]).await;
                (writer.space, result)
            }
        }))
        .await;
        let listed = notes.vectors.namespaces(&notes.scope, &PageRequest::default()).await.unwrap();
        let bound = &listed.items[0];
        assert_eq!(bound.records, 4);
        for (space, result) in results {
            match result {
                Ok(_) => assert_eq!(space, bound.space),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                    assert_ne!(space, bound.space);
                }
            }
        }
    }
}

async fn a_reader_never_sees_part_of_a_batch(test: Test) {
    if !test.has(Feature::AtomicRecords) {
        return; // declared, and there is nothing that could be refused
    }
    let notes = Namespace::new(&test);
    let writer = notes.reconnected(&test).await;
    let done = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            for batch in 0..12 {
                let records = (0..50).map(|n| record(&format!("{batch} {n}"), HALF));
                writer.store(records.collect()).await;
                if batch % 3 == 2 {
                    writer.delete(Selection::Namespace).await;
                }
            }
            done.store(true, Ordering::SeqCst);
        }
    });
    while !done.load(Ordering::SeqCst) {
        assert_eq!(notes.count(None).await % 50, 0);
        assert_eq!(notes.nearest(X, 1_000).await.len() % 50, 0);
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
}

async fn an_update_is_seen_whole(test: Test) {
    let notes = Namespace::new(&test);
    let version = |n: u32| {
        let mut record = tagged("a", if n.is_multiple_of(2) { X } else { Y }, json!({"n": n}));
        record.content = format!("common {n}");
        record
    };
    notes.put(version(0)).await;
    let writer = notes.reconnected(&test).await;
    let writing = tokio::spawn(async move {
        for n in 1..60 {
            assert_eq!(writer.put(version(n)).await.outcome, Outcome::Updated);
        }
    });
    while !writing.is_finished() {
        let read = notes.get(&["a"]).await;
        assert_eq!(read.len(), 1, "it is always there");
        let n = u32::try_from(read[0].metadata["n"].as_u64().unwrap()).unwrap();
        assert!(version(n).is_unchanged(&read[0]), "half an update: {:?}", read[0]);
        assert_eq!(notes.nearest(X, 10).await, ["a"]);
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
}

async fn each_record_is_deleted_by_one_of_many(test: Test) {
    let notes = Namespace::new(&test);
    let ids: Vec<String> = (0..50).map(|n| format!("{n}")).collect();
    notes.store(ids.iter().map(|id| record(id, X)).collect()).await;
    let deleters = connections(&test, &notes, 4).await;
    let deleted = at_once(deleters.into_iter().map(|deleter| {
        let ids = ids.clone();
        async move { deleter.delete(Selection::Ids(ids)).await }
    }))
    .await;
    assert_eq!(deleted.iter().sum::<u64>(), 50, "{deleted:?}");
    notes.assert_empty(&test).await;
}

/// Stores and deletes records named `noise …` until asked to stop.
fn noise(writer: Namespace, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        for round in 0_u32.. {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let ids = [format!("noise {round}"), format!("0 noise {round}")];
            writer.store(ids.iter().map(|id| record(id, X)).collect()).await;
            writer.delete(Selection::Ids(ids.into())).await;
            tokio::task::yield_now().await;
        }
    })
}

async fn a_walk_among_writers_returns_what_existed_throughout(test: Test) {
    let notes = Namespace::new(&test);
    let kept: Vec<String> = (0..100).map(|n| format!("kept {n:02}")).collect();
    notes.store(kept.iter().map(|id| record(id, HALF)).collect()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = noise(notes.reconnected(&test).await, &stop);
    for limit in [7, 30] {
        let walked = notes.scan(None, limit).await;
        let seen: Vec<String> = walked
            .into_iter()
            .map(|record| record.id)
            .filter(|id| id.starts_with("kept"))
            .collect();
        assert_eq!(seen, kept);
    }
    stop.store(true, Ordering::SeqCst);
    writing.await.unwrap();
}

async fn a_search_among_writers_finds_what_existed_throughout(test: Test) {
    let notes = Namespace::new(&test);
    let kept: Vec<String> = (0..20).map(|n| format!("kept {n:02}")).collect();
    notes.store(kept.iter().map(|id| tagged(id, HALF, json!({"kept": true}))).collect()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = noise(notes.reconnected(&test).await, &stop);
    let wanted = filter(json!({"metadata.kept": true}));
    for _ in 0..30 {
        let result = notes.search(&notes.query(X, 20).with_filter(wanted.clone())).await;
        assert_eq!(super::support::ids(&result), kept);
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::SeqCst);
    writing.await.unwrap();
}
