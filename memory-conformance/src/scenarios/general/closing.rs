//! Closing a connection (G15).

use std::time::Duration;

use memquill_core::{
    Append, DeleteRecords, Error, ErrorKind, Get, HealthStatus, Message, PageRequest, Put,
    ReadMessages, Selection, TextSearch,
};

use super::traces::{look, plant, record, records};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: None, family: Family::Example;
    g15: what_was_acknowledged_before_closing_is_there_for_who_connects_afterwards;
    g15: a_call_after_closing_is_refused_and_not_worth_a_retry;
    g15: calls_that_are_under_way_are_whole_or_refused;
    g15: closing_twice_is_ok_and_other_connections_go_on;
    g15: a_closed_administration_handle_refuses_every_call;
}

/// That a call was refused because the store was closed.
fn refused<T: std::fmt::Debug>(result: memquill_core::Result<T>) {
    let error: Error = result.expect_err("a call after closing");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(!error.is_transient() && !error.maybe_applied(), "{error}");
    assert!(error.message().contains("closed") && error.hint().is_some(), "{error}");
    assert!(error.backend().is_some() && error.operation().is_some(), "{error:?}");
}

async fn what_was_acknowledged_before_closing_is_there_for_who_connects_afterwards(test: Test) {
    let scope = test.scope();
    for label in ["alpha", "beta"] {
        let connection = test.connect().await;
        plant(&connection, &scope, label).await;
        let seen = look(&connection, &scope, label).await;
        connection.close().await.unwrap();
        assert_eq!(look(&test.connect().await, &scope, label).await, seen);
    }
}

async fn a_call_after_closing_is_refused_and_not_worth_a_retry(test: Test) {
    let scope = test.scope();
    let connection = test.connect().await;
    plant(&connection, &scope, "alpha").await;
    // Read once, so that a cache has it.
    let seen = look(&connection, &scope, "alpha").await;
    connection.close().await.unwrap();
    if let Ok(conversations) = connection.conversations() {
        refused(conversations.read(&scope, &ReadMessages::all("c")).await);
        let append = Append::new("c", vec![Message::user("late")]);
        refused(conversations.append(&scope, &append).await);
        refused(conversations.statistics(&scope, "c").await);
    }
    if let Ok(vectors) = connection.vectors() {
        refused(vectors.store(&scope, &records(vec![record("late", "late")])).await);
        refused(vectors.namespaces(&scope, &PageRequest::first(1)).await);
        refused(
            vectors
                .delete(
                    &scope,
                    &DeleteRecords { namespace: "n".into(), which: Selection::Namespace },
                )
                .await,
        );
        let search = vectors.search_text(&scope, &TextSearch::new("n", "alpha", 1)).await;
        if !search.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unsupported) {
            refused(search);
        }
    }
    if let Ok(working) = connection.working() {
        refused(working.get(&scope, &Get::new("k")).await);
        refused(working.put(&scope, &Put::new("k", "late")).await);
        refused(working.clear(&scope).await);
    }
    refused(connection.control().scopes(scope.user(), &PageRequest::first(1)).await);
    refused(connection.control().erase(scope.user()).await);
    let health = connection.control().health(Duration::from_secs(5)).await;
    assert_eq!(health.status, HealthStatus::Unreachable);
    assert!(health.missing.iter().any(|why| why.contains("closed")), "{health:?}");
    assert_eq!(look(test.backend(), &scope, "alpha").await, seen, "nothing was changed");
}

async fn calls_that_are_under_way_are_whole_or_refused(test: Test) {
    let scope = test.scope();
    let connection = test.connect().await;
    let plants = (0..20).map(|n| {
        let (connection, scope) = (connection.clone(), scope.clone());
        async move {
            let mut kept = (0, 0);
            if let Ok(conversations) = connection.conversations() {
                let append = Append::new("c", vec![Message::user("x"); 2]);
                match conversations.append(&scope, &append).await {
                    Ok(_) => kept.0 = 2,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
                }
            }
            if let Ok(working) = connection.working() {
                match working.put(&scope, &Put::new(format!("k{n}"), 1)).await {
                    Ok(_) => kept.1 = 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
                }
            }
            kept
        }
    });
    let closing = async {
        tokio::task::yield_now().await;
        connection.close().await.unwrap();
        (0, 0)
    };
    let (kept, _) = tokio::join!(futures_util::future::join_all(plants), closing);
    let (messages, entries) = kept.into_iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let there = test.connect().await;
    if let Ok(conversations) = there.conversations() {
        let read = conversations.read(&scope, &ReadMessages::all("c")).await.unwrap();
        assert_eq!(read.total, messages);
    }
    if let Ok(working) = there.working() {
        let statistics = working.statistics(&scope).await.unwrap();
        assert_eq!(statistics.entries, entries);
    }
}

async fn closing_twice_is_ok_and_other_connections_go_on(test: Test) {
    let scope = test.scope();
    let (connection, other) = (test.connect().await, test.connect().await);
    let clone = connection.clone();
    plant(&connection, &scope, "alpha").await;
    connection.close().await.unwrap();
    connection.close().await.unwrap();
    clone.close().await.unwrap();
    plant(&other, &scope, "beta").await;
    assert_eq!(look(&other, &scope, "beta").await, look(test.backend(), &scope, "beta").await);
}

async fn a_closed_administration_handle_refuses_every_call(test: Test) {
    let admin = test.admin().await;
    admin.users(&PageRequest::first(1)).await.unwrap();
    admin.close().await.unwrap();
    admin.close().await.unwrap();
    refused(admin.users(&PageRequest::first(1)).await);
    refused(admin.purge_expired().await);
    refused(admin.build_indexes().await);
    refused(admin.migrate().await);
    test.admin().await.users(&PageRequest::first(1)).await.unwrap();
}
