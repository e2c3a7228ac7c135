//! The store's clock (G8).

use std::time::Duration;

use memquill_core::{Append, Message, Put, Timestamp};

use super::traces::{record, records};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: None, family: Family::Example;
    g8: all_facets_and_connections_go_by_one_clock;
    g8: the_clock_moves_as_time_passes;
}

/// Stores something in every facet in turn, over two connections, and gives the times it was given.
async fn times(test: &Test) -> Vec<Timestamp> {
    let mut times = Vec::new();
    let scope = test.scope();
    for backend in [test.backend(), &test.connect().await] {
        if let Ok(conversations) = backend.conversations() {
            let append = Append::new("c", vec![Message::user("x")]);
            let appended = conversations.append(&scope, &append).await.unwrap();
            times.push(appended.messages[0].created_at);
        }
        if let Ok(vectors) = backend.vectors() {
            let content = format!("text {}", times.len());
            let request = records(vec![record("r", &content)]);
            times.push(vectors.store(&scope, &request).await.unwrap()[0].updated_at);
        }
        if let Ok(working) = backend.working() {
            times.push(working.put(&scope, &Put::new("k", 1)).await.unwrap().updated_at);
        }
    }
    times
}

async fn all_facets_and_connections_go_by_one_clock(test: Test) {
    let times = times(&test).await;
    assert!(times.is_sorted(), "{times:?}");
}

async fn the_clock_moves_as_time_passes(test: Test) {
    let before = times(&test).await;
    test.pass(Duration::from_millis(50)).await;
    let after = times(&test).await;
    let last = before.last().expect("a facet").saturating_add(Duration::from_millis(40));
    assert!(after.iter().all(|time| *time >= last), "{before:?}, {after:?}");
}
