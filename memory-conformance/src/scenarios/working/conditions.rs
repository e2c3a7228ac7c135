//! Conditions and versions (W3, G9).

use std::collections::HashSet;

use memquill_core::{Facet, Put, PutCondition, PutMany};
use serde_json::json;

use crate::scenario::{Family, Test, scenarios};
use crate::support::{AFTER_SHORT, LONG, PURGING, SHORT, Working, conflict, object};

scenarios! {
    facet: Some(Facet::Working), family: Family::Example;
    w3: if_absent_stores_only_what_is_not_there [Conditions];
    w3: if_version_stores_only_over_that_version [Conditions];
    w3: if_version_never_stores_what_is_not_there [Conditions];
    w3: if_version_0_is_if_absent [Conditions];
    w3: versions_that_never_were_are_conflicts [Conditions];
    w3: a_failed_condition_changes_nothing [Conditions];
    w3: a_conditional_put_over_another_connection_sees_the_last_version [Conditions];
    w3: a_conditional_delete_removes_only_that_version [Conditions];
    g9: a_conditional_delete_of_what_is_not_there_is_no_conflict [Conditions];
    w3: every_write_changes_the_version;
    w3: a_version_never_comes_back;
    w3: a_version_from_before_a_delete_meets_no_condition [Conditions];
}

const IF_ABSENT: PutCondition = PutCondition::IfAbsent;

async fn if_absent_stores_only_what_is_not_there(test: Test) {
    let working = Working::new(&test);
    let first = working.put_if(IF_ABSENT, "key", 1).await.unwrap();
    let error = conflict(working.put_if(IF_ABSENT, "key", 2).await);
    assert_eq!(error.current_version(), Some(first.version));
    assert_eq!(working.value("key").await, 1);
    working.put("null", json!(null)).await;
    conflict(working.put_if(IF_ABSENT, "null", 2).await);
    working.delete("key").await;
    working.put_if(IF_ABSENT, "key", 3).await.unwrap();
    assert_eq!(working.value("key").await, 3);
}

async fn if_version_stores_only_over_that_version(test: Test) {
    let working = Working::new(&test);
    let first = working.put("key", 1).await;
    let if_first = PutCondition::IfVersion(first.version);
    let second = working.put_if(if_first, "key", 2).await.unwrap();
    assert_eq!(second.created_at, first.created_at);
    let error = conflict(working.put_if(if_first, "key", 3).await);
    assert_eq!(error.current_version(), Some(second.version));
    assert_eq!(working.value("key").await, 2);
}

async fn if_version_never_stores_what_is_not_there(test: Test) {
    let working = Working::new(&test);
    for version in [1, u64::MAX] {
        let error = conflict(working.put_if(PutCondition::IfVersion(version), "key", 1).await);
        assert_eq!(error.current_version(), Some(0), "the key does not exist");
    }
    assert_eq!(working.get("key").await, None);
}

/// As [`Error::current_version`](memquill_core::Error::current_version) says 0 of an absent key.
async fn if_version_0_is_if_absent(test: Test) {
    let working = Working::new(&test);
    let absent = PutCondition::IfVersion(0);
    let first = working.put_if(absent, "key", 1).await.unwrap();
    let error = conflict(working.put_if(absent, "key", 2).await);
    assert_eq!(error.current_version(), Some(first.version));
    assert_eq!(working.value("key").await, 1);
    working.delete("key").await;
    let put = |key: &str| Put::new(key, 3).with_condition(absent);
    let both = PutMany { entries: vec![put("key"), put("other")] };
    working.store().put_many(working.scope(), &both).await.unwrap();
    assert_eq!(working.value("key").await, 3);
    conflict(working.store().put_many(working.scope(), &both).await);
}

async fn versions_that_never_were_are_conflicts(test: Test) {
    let working = Working::new(&test);
    let version = working.put("key", 1).await.version;
    for other in [0, version + 1, version - 1, 1 << 63, u64::MAX] {
        let error = conflict(working.put_if(PutCondition::IfVersion(other), "key", 2).await);
        assert_eq!(error.current_version(), Some(version), "IfVersion({other})");
        let error = conflict(working.delete_at("key", other).await);
        assert_eq!(error.current_version(), Some(version), "delete at {other}");
    }
    assert_eq!(working.value("key").await, 1);
}

async fn a_failed_condition_changes_nothing(test: Test) {
    let working = Working::new(&test);
    let metadata = object(json!({"a": 1}));
    let put = Put { metadata, ttl: Some(LONG), ..Put::new("key", 1) };
    let written = working.try_put(put).await.unwrap();
    let before = working.get("key").await;
    let other = Put { metadata: object(json!({"b": 2})), ..Put::new("key", 2) };
    for condition in [IF_ABSENT, PutCondition::IfVersion(written.version + 1)] {
        conflict(working.try_put(other.clone().with_condition(condition)).await);
        conflict(working.try_put(other.clone().with_ttl(SHORT).with_condition(condition)).await);
        conflict(working.delete_at("key", written.version + 1).await);
    }
    test.pass(AFTER_SHORT).await;
    assert_eq!(working.get("key").await, before);
}

async fn a_conditional_put_over_another_connection_sees_the_last_version(test: Test) {
    let here = Working::new(&test);
    let there = here.over(&test.connect().await);
    let first = here.put("key", 1).await;
    let second = there.put_if(PutCondition::IfVersion(first.version), "key", 2).await.unwrap();
    let error = conflict(here.put_if(PutCondition::IfVersion(first.version), "key", 3).await);
    assert_eq!(error.current_version(), Some(second.version));
}

async fn a_conditional_delete_removes_only_that_version(test: Test) {
    let working = Working::new(&test);
    let first = working.put("key", 1).await;
    let second = working.put("key", 2).await;
    let error = conflict(working.delete_at("key", first.version).await);
    assert_eq!(error.current_version(), Some(second.version));
    assert_eq!(working.value("key").await, 2);
    assert!(working.delete_at("key", second.version).await.unwrap());
    assert_eq!(working.get("key").await, None);
}

async fn a_conditional_delete_of_what_is_not_there_is_no_conflict(test: Test) {
    let working = Working::new(&test);
    assert!(!working.delete_at("key", 1).await.unwrap());
    let version = working.put("key", 1).await.version;
    assert!(working.delete_at("key", version).await.unwrap());
    assert!(!working.delete_at("key", version).await.unwrap());
}

async fn every_write_changes_the_version(test: Test) {
    let working = Working::new(&test);
    let mut seen = HashSet::new();
    for _ in 0..5 {
        let written = working.put("key", "the same").await;
        assert!(seen.insert(written.version), "a write that changes nothing is a write too");
        assert_eq!(working.get("key").await.unwrap().version, written.version);
        assert_eq!(working.get("key").await.unwrap().version, written.version, "a read is none");
    }
}

async fn a_version_never_comes_back(test: Test) {
    let working = Working::new(&test);
    let mut seen = HashSet::new();
    let mut put = async |ttl| {
        let put = Put { ttl, ..Put::new("key", 1) };
        let version = working.try_put(put).await.unwrap().version;
        assert!(seen.insert(version), "version {version} came back");
    };
    for _ in 0..3 {
        put(None).await;
        put(None).await;
        working.delete("key").await;
        put(None).await;
        working.clear().await;
        put(Some(SHORT)).await;
        test.pass(AFTER_SHORT).await;
        assert_eq!(working.get("key").await, None);
        put(Some(SHORT)).await;
        test.pass(AFTER_SHORT).await;
        let _alone = PURGING.lock().await;
        test.admin().await.purge_expired().await.unwrap();
    }
}

async fn a_version_from_before_a_delete_meets_no_condition(test: Test) {
    let working = Working::new(&test);
    let old = working.put("key", 1).await;
    working.delete("key").await;
    let new = working.put("key", 2).await;
    let error = conflict(working.put_if(PutCondition::IfVersion(old.version), "key", 3).await);
    assert_eq!(error.current_version(), Some(new.version));
    conflict(working.delete_at("key", old.version).await);
    working.clear().await;
    let newest = working.put("key", 4).await;
    assert!(![old.version, new.version].contains(&newest.version));
}
