//! W9: entries are put back as they were elsewhere.

use memquill_core::{
    Entry, ErrorKind, Facet, ListEntries, MAX_RESTORED, PageRequest, PutCondition, RestoreEntries,
    Restored, Result, Timestamp, WorkingValue,
};
use serde_json::{Value, json};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{AFTER_SHORT, LONG, Working, conflict, object, refused, together};

scenarios! {
    facet: Some(Facet::Working), family: Family::Example;
    w9: entries_come_back_as_they_were [Restoring];
    w9: what_one_store_gives_another_takes [Restoring];
    w9: expiry_comes_back [Restoring];
    w9: what_has_expired_is_absent [Restoring];
    w9: a_repeated_restore_changes_nothing [Restoring];
    w9: an_entry_that_differs_is_a_conflict_that_changes_nothing [Restoring];
    w9: every_difference_counts [Restoring];
    w9: overwriting_takes_the_place_of_what_differs [Restoring];
    w9: an_expired_entry_is_no_conflict [Restoring];
    w9: versions_given_afterwards_are_greater [Restoring];
    w9: a_version_does_not_come_back_after_a_delete [Restoring];
    w9: conditions_hold_by_the_restored_version [Restoring, Conditions];
    w9: a_restored_number_can_be_counted_on [Restoring, Counters];
    w9: a_thousand_entries_are_one_batch [Restoring];
    w9: illegal_restores_are_invalid_input [Restoring];
    w9: concurrent_restores_of_one_batch_write_it_once [Restoring];
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_577_836_800_000 + millis).unwrap()
}

fn entry(key: &str, value: impl Into<WorkingValue>, version: u64) -> Entry {
    Entry {
        key: key.into(),
        value: value.into(),
        metadata: object(json!({})),
        version,
        created_at: at(1),
        updated_at: at(2),
        expires_at: None,
    }
}

fn rich() -> Entry {
    let value = json!({"z": 1, "a": [null, 1.5, u64::MAX, i64::MIN, {"deep": -0.0}], "": "𓀀"});
    Entry { metadata: object(json!({"m": [1.0, 1]})), ..entry("rich", value, 7_000) }
}

async fn restore_with(working: &Working, entries: Vec<Entry>, overwrite: bool) -> Result<Restored> {
    let request = RestoreEntries { entries, overwrite };
    working.store().restore(working.scope(), &request).await
}

async fn restore(working: &Working, entries: Vec<Entry>) -> Restored {
    restore_with(working, entries, false).await.unwrap()
}

async fn entries(working: &Working) -> Vec<Entry> {
    let request = ListEntries { prefix: String::new(), page: PageRequest::first(10_000) };
    working.store().list(working.scope(), &request).await.unwrap().items
}

fn written(written: u64, unchanged: u64) -> Restored {
    Restored { written, unchanged }
}

/// The time by the store's clock.
async fn now(test: &Test) -> Timestamp {
    Working::new(test).put("probe", 1).await.updated_at
}

async fn entries_come_back_as_they_were(test: Test) {
    let working = Working::new(&test);
    let all = vec![entry("a", 1, 12), rich(), entry("z", Value::Null, 3)];
    assert_eq!(restore(&working, all.clone()).await, written(3, 0));
    for working in [working.clone(), working.over(&test.connect().await)] {
        let listed = entries(&working).await;
        assert_eq!(listed, all);
        assert!(listed.iter().zip(&all).all(|(got, put)| got.is_identical(put)));
        assert_eq!(working.get("rich").await, Some(rich()));
    }
    assert_eq!(working.statistics().await.entries, 3);
}

async fn what_one_store_gives_another_takes(test: Test) {
    let source = Working::new(&test);
    source.put("a", json!({"n": 1})).await;
    source.put_for("b", "x", LONG).await;
    source.put("a", json!({"n": 2})).await;
    let target = Working::new(&test);
    restore(&target, entries(&source).await).await;
    assert_eq!(entries(&target).await, entries(&source).await);
    assert_eq!(target.statistics().await, source.statistics().await);
}

async fn expiry_comes_back(test: Test) {
    let working = Working::new(&test);
    let expires_at = Some(now(&test).await.saturating_add(LONG));
    let expiring = Entry { expires_at, ..entry("a", 1, 1) };
    restore(&working, vec![expiring.clone()]).await;
    assert_eq!(working.get("a").await, Some(expiring));
    assert_eq!(working.statistics().await.expiring, 1);
}

async fn what_has_expired_is_absent(test: Test) {
    let working = Working::new(&test);
    let now = now(&test).await;
    let past = Entry { expires_at: Some(at(5)), ..entry("past", 1, 1) };
    let soon = now.saturating_add(std::time::Duration::from_millis(20));
    let soon = Entry { expires_at: Some(soon), ..entry("soon", 1, 2) };
    restore(&working, vec![past, soon, entry("stays", 1, 3)]).await;
    test.pass(AFTER_SHORT).await;
    assert_eq!(entries(&working).await, [entry("stays", 1, 3)]);
    assert_eq!(working.get("past").await, None);
    assert_eq!(working.statistics().await.entries, 1);
    assert!(working.put("past", 2).await.version > 1);
}

async fn a_repeated_restore_changes_nothing(test: Test) {
    let working = Working::new(&test);
    let all = vec![entry("a", 1, 5), rich()];
    restore(&working, all.clone()).await;
    assert_eq!(restore(&working, all.clone()).await, written(0, 2));
    assert_eq!(restore_with(&working, all.clone(), true).await.unwrap(), written(0, 2));
    let more = [all.clone(), vec![entry("z", 1, 1)]].concat();
    assert_eq!(restore(&working, more.clone()).await, written(1, 2));
    assert_eq!(entries(&working).await, more);
}

async fn an_entry_that_differs_is_a_conflict_that_changes_nothing(test: Test) {
    let working = Working::new(&test);
    let mine = working.put("b", "mine").await;
    let before = entries(&working).await;
    let all = vec![entry("a", 1, 1), entry("b", 1, 1), entry("c", 1, 1)];
    let error = conflict(restore_with(&working, all, false).await);
    assert!(error.message().contains("\"b\""), "{error}");
    assert_eq!(error.current_version(), Some(mine.version));
    assert_eq!(entries(&working).await, before);
}

async fn every_difference_counts(test: Test) {
    let working = Working::new(&test);
    restore(&working, vec![rich()]).await;
    let expires_at = Some(now(&test).await.saturating_add(LONG));
    let others = [
        Entry { value: json!(1).into(), ..rich() },
        Entry {
            value: WorkingValue::Bytes(rich().value.as_json().unwrap().to_string().into()),
            ..rich()
        },
        Entry { metadata: object(json!({"m": [1, 1]})), ..rich() },
        Entry { version: 7_001, ..rich() },
        Entry { created_at: at(0), ..rich() },
        Entry { updated_at: at(3), ..rich() },
        Entry { expires_at, ..rich() },
    ];
    for other in others {
        conflict(restore_with(&working, vec![other], false).await);
    }
    assert_eq!(entries(&working).await, [rich()]);
}

async fn overwriting_takes_the_place_of_what_differs(test: Test) {
    let working = Working::new(&test);
    working.put_for("a", "mine", LONG).await;
    working.put("c", "mine").await;
    let expires_at = Some(now(&test).await.saturating_add(LONG));
    let all = vec![entry("a", 1, 900), Entry { expires_at, ..entry("c", 1, 901) }];
    assert_eq!(restore_with(&working, all.clone(), true).await.unwrap(), written(2, 0));
    assert_eq!(entries(&working).await, all);
    assert_eq!(working.statistics().await.expiring, 1);
}

async fn an_expired_entry_is_no_conflict(test: Test) {
    let working = Working::new(&test);
    working.put_for("a", "mine", std::time::Duration::from_millis(1)).await;
    test.pass(AFTER_SHORT).await;
    assert_eq!(restore(&working, vec![entry("a", 1, 1)]).await, written(1, 0));
    assert_eq!(entries(&working).await, [entry("a", 1, 1)]);
}

async fn versions_given_afterwards_are_greater(test: Test) {
    let working = Working::new(&test);
    let high = 1 << 51;
    restore(&working, vec![entry("a", 1, high), entry("b", 1, 3)]).await;
    let a = working.put("a", 2).await.version;
    assert!(a > high, "{a}");
    assert!(working.put("b", 2).await.version > 3);
    restore(&working, vec![entry("top", 1, MAX_RESTORED)]).await;
    assert!(working.put("top", 2).await.version > MAX_RESTORED);
    assert!(working.put("a", 3).await.version > a);
    assert!(working.over(&test.connect().await).put("top", 4).await.version > MAX_RESTORED);
}

async fn a_version_does_not_come_back_after_a_delete(test: Test) {
    let working = Working::new(&test);
    // Just ahead of the versions that come next, wherever they stand.
    let next = working.put("probe", 1).await.version + 3;
    restore(&working, vec![entry("a", 1, next)]).await;
    working.delete("a").await;
    for n in 0..5 {
        assert!(working.put("a", n).await.version > next);
        working.delete("a").await;
    }
}

async fn conditions_hold_by_the_restored_version(test: Test) {
    let working = Working::new(&test);
    restore(&working, vec![entry("a", 1, 70)]).await;
    conflict(working.put_if(PutCondition::IfVersion(69), "a", 2).await);
    conflict(working.put_if(PutCondition::IfAbsent, "a", 2).await);
    conflict(working.delete_at("a", 71).await);
    let put = working.put_if(PutCondition::IfVersion(70), "a", 2).await.unwrap();
    assert_eq!(put.created_at, at(1));
    assert!(working.delete_at("a", put.version).await.unwrap());
}

async fn a_restored_number_can_be_counted_on(test: Test) {
    let working = Working::new(&test);
    let expires_at = Some(now(&test).await.saturating_add(LONG));
    restore(&working, vec![Entry { expires_at, ..entry("n", 41, 9) }]).await;
    let incremented = working.increment("n", 1).await;
    assert_eq!(incremented.value, 42);
    assert_eq!(incremented.written.expires_at, expires_at);
    assert_eq!(incremented.written.created_at, at(1));
    assert!(incremented.written.version > 9);
}

async fn a_thousand_entries_are_one_batch(test: Test) {
    let working = Working::new(&test);
    let all: Vec<_> = (1..=1_000).map(|n| entry(&format!("{n:04}"), n, n)).collect();
    assert_eq!(restore(&working, all.clone()).await, written(1_000, 0));
    assert_eq!(restore(&working, all.clone()).await, written(0, 1_000));
    assert_eq!(entries(&working).await, all);
}

async fn illegal_restores_are_invalid_input(test: Test) {
    let working = Working::new(&test);
    let illegal = [
        vec![],
        vec![entry("a", 1, 0)],
        vec![entry("a", 1, MAX_RESTORED + 1)],
        vec![entry("", 1, 1)],
        vec![Entry { created_at: Timestamp::from_millis(-1).unwrap(), ..entry("a", 1, 1) }],
        vec![entry("a", 1, 1), entry("a", 1, 1)],
        (0..=1_000).map(|n| entry(&n.to_string(), 1, 1)).collect(),
    ];
    for entries in illegal {
        refused(restore_with(&working, entries, true).await, ErrorKind::InvalidInput);
    }
    assert_eq!(working.statistics().await.entries, 0);
}

async fn concurrent_restores_of_one_batch_write_it_once(test: Test) {
    let working = Working::new(&test);
    let all: Vec<_> = (10..60).map(|n| entry(&n.to_string(), n, n)).collect();
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let (working, all) = (working.over(&test.connect().await), all.clone());
        tasks.push(async move { restore(&working, all).await });
    }
    let written: u64 = together(tasks).await.iter().map(|restored| restored.written).sum();
    assert_eq!(written, 50);
    assert_eq!(entries(&working).await, all);
}
