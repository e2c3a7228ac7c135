//! Acknowledged writes (G6).

use memquill_core::{Durability, Scope};

use super::traces::{look, plant, uproot};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: None, family: Family::Example;
    g6: an_acknowledged_write_is_seen_over_every_connection_at_once;
    g6: an_acknowledged_delete_is_seen_over_every_connection_at_once;
    g6: what_was_written_outlives_its_connection;
    g6: what_was_acknowledged_is_there_after_a_crash_where_that_is_claimed;
}

async fn an_acknowledged_write_is_seen_over_every_connection_at_once(test: Test) {
    let there = test.connect().await;
    for label in ["alpha", "beta", "gamma"] {
        let scope = test.scope();
        assert_eq!(look(&there, &scope, label).await, [""; 0]);
        plant(test.backend(), &scope, label).await;
        let seen = look(&there, &scope, label).await;
        assert_eq!(seen, look(test.backend(), &scope, label).await);
        assert!(!seen.is_empty());
        plant(&there, &scope, "again").await;
        assert_eq!(
            look(&there, &scope, "again").await,
            look(test.backend(), &scope, "again").await
        );
    }
}

async fn an_acknowledged_delete_is_seen_over_every_connection_at_once(test: Test) {
    let there = test.connect().await;
    let scope = test.scope();
    for _ in 0..3 {
        plant(test.backend(), &scope, "alpha").await;
        uproot(&there, &scope).await;
        assert_eq!(look(test.backend(), &scope, "alpha").await, [""; 0]);
    }
}

async fn what_was_written_outlives_its_connection(test: Test) {
    let scopes: Vec<Scope> = (0..3).map(|_| test.scope()).collect();
    let mut seen = Vec::new();
    for scope in &scopes {
        let connection = test.connect().await;
        plant(&connection, scope, "alpha").await;
        seen.push(look(&connection, scope, "alpha").await);
        drop(connection);
    }
    let connection = test.connect().await;
    for (scope, seen) in scopes.iter().zip(seen) {
        assert_eq!(look(&connection, scope, "alpha").await, seen);
    }
}

async fn what_was_acknowledged_is_there_after_a_crash_where_that_is_claimed(test: Test) {
    if test.backend().capabilities().durability == Durability::Process {
        test.not_tried("the store claims to keep nothing beyond its process");
    }
    let scope = test.scope();
    for label in ["alpha", "beta"] {
        plant(test.backend(), &scope, label).await;
    }
    let seen = look(test.backend(), &scope, "beta").await;
    let Some(found) = test.store().after_crash().await else {
        test.not_tried("the harness has no means to crash the store")
    };
    let found = found.expect("the store opens after a crash");
    assert_eq!(look(&found, &scope, "beta").await, seen);
}
