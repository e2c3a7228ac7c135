//! Administration: migration, the listing of users, purging of records (G13, W8).

use memquill_core::{
    Backend, CountRecords, ErrorKind, Feature, NewRecord, PageRequest, Put, Result, Scope,
};

use super::traces::{look, plant, reads, record, records};
use crate::scenario::{Family, Test, scenarios};
use crate::support::{AFTER_SHORT, LONG, PURGING, SHORT, refused, together};

scenarios! {
    facet: None, family: Family::Example;
    g13: a_second_migration_applies_nothing;
    g13: a_migration_loses_no_data;
    g13: many_may_migrate_at_once;
    g13: a_store_that_was_never_migrated_says_what_to_run;
    g13: a_store_newer_than_the_driver_is_a_config_error;
    g12: users_are_listed_while_they_have_something;
    g11: the_listing_of_users_holds_each_once;
    w8: a_purge_removes_expired_records_and_no_others;
    w8: a_purge_may_run_any_number_of_times_at_once;
    w8: a_purge_frees_what_it_removes;
}

async fn a_second_migration_applies_nothing(test: Test) {
    let admin = test.admin().await;
    admin.migrate().await.unwrap();
    let again = admin.migrate().await.unwrap();
    assert_eq!(again.applied, [""; 0]);
}

async fn a_migration_loses_no_data(test: Test) {
    let scope = test.scope();
    plant(test.backend(), &scope, "alpha").await;
    let seen = look(test.backend(), &scope, "alpha").await;
    test.admin().await.migrate().await.unwrap();
    assert_eq!(look(test.backend(), &scope, "alpha").await, seen);
    assert_eq!(look(&test.connect().await, &scope, "alpha").await, seen);
}

async fn many_may_migrate_at_once(test: Test) {
    let mut admins = Vec::new();
    for _ in 0..8 {
        admins.push(test.admin().await);
    }
    let migrations =
        together(admins.into_iter().map(|admin| async move { admin.migrate().await.unwrap() }))
            .await;
    assert!(migrations.iter().all(|migration| migration.applied.is_empty()), "{migrations:?}");
    plant(test.backend(), &test.scope(), "alpha").await;
}

/// Connecting, or else every read, fails as `Config` and says what to do.
async fn is_a_config_error(test: &Test, connected: Result<Backend>) {
    let errors = match connected {
        Err(error) => vec![error],
        Ok(backend) => {
            let answers = reads(&backend, &test.scope()).await;
            answers.into_iter().map(|answer| refused(answer, ErrorKind::Config)).collect()
        }
    };
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.hint().is_some(), "{error}");
        assert!(!error.is_transient(), "{error:?}");
    }
}

async fn a_store_that_was_never_migrated_says_what_to_run(test: Test) {
    match test.store().connect_to_unmigrated().await {
        Some(connected) => is_a_config_error(&test, connected).await,
        None => test.not_tried("the harness has no store that was never migrated"),
    }
}

async fn a_store_newer_than_the_driver_is_a_config_error(test: Test) {
    match test.store().connect_to_newer().await {
        Some(connected) => is_a_config_error(&test, connected).await,
        None => test.not_tried("the harness has no store of a newer schema"),
    }
}

/// How often each of these users is listed, walking all pages.
async fn listed(test: &Test, users: &[String]) -> Vec<usize> {
    let admin = test.admin().await;
    let mut times = vec![0; users.len()];
    let mut request = PageRequest::first(50);
    loop {
        let page = admin.users(&request).await.unwrap();
        for (times, user) in times.iter_mut().zip(users) {
            *times += page.items.iter().filter(|listed| *listed == user).count();
        }
        match page.next {
            Some(next) => request = request.after(next),
            None => return times,
        }
    }
}

async fn users_are_listed_while_they_have_something(test: Test) {
    let users = [test.user(), test.user()];
    assert_eq!(listed(&test, &users).await, [0, 0]);
    for user in &users {
        plant(test.backend(), &Scope::new(user, "node").unwrap(), "x").await;
    }
    assert_eq!(listed(&test, &users).await, [1, 1]);
    test.backend().control().erase(&users[0]).await.unwrap();
    assert_eq!(listed(&test, &users).await, [0, 1]);
}

async fn the_listing_of_users_holds_each_once(test: Test) {
    let users: Vec<String> =
        ["", "%", " ", "A", "a", "é", "😀"].map(|end| format!("{}{end}", test.user())).into();
    for user in &users {
        for node in ["one", "two"] {
            plant(test.backend(), &Scope::new(user, node).unwrap(), "x").await;
        }
    }
    assert_eq!(listed(&test, &users).await, vec![1; users.len()]);
}

async fn a_purge_removes_expired_records_and_no_others(test: Test) {
    let Ok(vectors) = test.backend().vectors() else { return };
    if !test.has(Feature::RecordExpiry) {
        return;
    }
    let _alone = PURGING.lock().await;
    let admin = test.admin().await;
    let scope = test.scope();
    let living = |id: &str, ttl| NewRecord { ttl, ..record(id, &format!("alpha {id}")) };
    let batch = vec![
        living("r", None),
        living("long", Some(LONG)),
        living("a", Some(SHORT)),
        living("b", Some(SHORT)),
    ];
    vectors.store(&scope, &records(batch)).await.unwrap();
    test.pass(AFTER_SHORT).await;
    let receipt = admin.purge_expired().await.unwrap();
    assert!(receipt.records >= 2 || test.store().sweeps_by_itself(), "{receipt:?}");
    let count = CountRecords { namespace: "n".into(), filter: None };
    assert_eq!(vectors.count(&scope, &count).await.unwrap(), 2);
}

async fn a_purge_may_run_any_number_of_times_at_once(test: Test) {
    let _alone = PURGING.lock().await;
    let scope = test.scope();
    plant(test.backend(), &scope, "alpha").await;
    let seen = look(test.backend(), &scope, "alpha").await;
    let mut admins = Vec::new();
    for _ in 0..4 {
        admins.push(test.admin().await);
    }
    together(admins.into_iter().map(|admin| async move { admin.purge_expired().await.unwrap() }))
        .await;
    assert_eq!(look(test.backend(), &scope, "alpha").await, seen);
}

async fn a_purge_frees_what_it_removes(test: Test) {
    let _alone = PURGING.lock().await;
    let (admin, scope) = (test.admin().await, test.scope());
    let held = || test.store().held(scope.user());
    let Some(before) = held().await else {
        test.not_tried("the harness has no means to look at what the store's medium holds")
    };
    if let Ok(vectors) = test.backend().vectors()
        && test.has(Feature::RecordExpiry)
    {
        let batch = (0..20).map(|n| NewRecord { ttl: Some(SHORT), ..record(&n.to_string(), "x") });
        vectors.store(&scope, &records(batch.collect())).await.unwrap();
    }
    if let Ok(working) = test.backend().working() {
        for n in 0..20 {
            let put = Put::new(n.to_string(), n).with_ttl(SHORT);
            working.put(&scope, &put).await.unwrap();
        }
    }
    test.pass(AFTER_SHORT).await;
    admin.purge_expired().await.unwrap();
    assert_eq!(held().await, Some(before), "records and entries held before and after");
}
