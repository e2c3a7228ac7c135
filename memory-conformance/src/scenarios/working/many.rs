//! Many entries in one step (W7, G5).

use memquill_core::{ErrorKind, Facet, GetMany, Put, PutCondition, PutMany};
use serde_json::json;

use crate::scenario::{Family, Test, scenarios};
use crate::support::{LONG, Working, conflict, refused};

scenarios! {
    facet: Some(Facet::Working), family: Family::Example;
    w7: put_many_answers_in_its_order;
    w7: put_many_does_what_single_puts_do;
    w7: get_many_keeps_the_order_of_the_keys_and_leaves_out_what_is_missing;
    w7: a_batch_goes_to_the_limit;
    g5: one_failing_condition_stores_nothing_of_a_batch [Conditions];
    g5: one_illegal_entry_stores_nothing_of_a_batch;
    w7: conditions_of_a_batch_hold_each_for_its_key [Conditions];
    w7: a_key_stands_in_a_batch_once;
}

fn put_many(keys: &[&str]) -> PutMany {
    PutMany { entries: keys.iter().map(|key| Put::new(*key, *key)).collect() }
}

fn get_many(keys: &[&str]) -> GetMany {
    GetMany { keys: keys.iter().map(ToString::to_string).collect(), extend: None }
}

async fn put_many_answers_in_its_order(test: Test) {
    let working = Working::new(&test);
    let keys = ["c", "a", "b"];
    let written = working.store().put_many(working.scope(), &put_many(&keys)).await.unwrap();
    assert_eq!(written.len(), 3);
    for (key, written) in keys.iter().zip(written) {
        let entry = working.get(key).await.expect("an entry");
        assert_eq!((entry.version, entry.created_at), (written.version, written.created_at));
        assert_eq!(entry.value, *key);
    }
}

async fn put_many_does_what_single_puts_do(test: Test) {
    let working = Working::new(&test);
    let old = working.put_for("old", 1, LONG).await;
    let entries = vec![Put::new("old", 2), Put::new("new", 3).with_ttl(LONG)];
    let request = PutMany { entries };
    let written = working.store().put_many(working.scope(), &request).await.unwrap();
    assert_eq!((written[0].created_at, written[0].expires_at), (old.created_at, None));
    assert_ne!(written[0].version, old.version);
    assert!(written[1].expires_at >= Some(written[1].updated_at.saturating_add(LONG)));
    assert_eq!(working.get("new").await.unwrap().expires_at, written[1].expires_at);
    assert_eq!(working.value("old").await, 2);
}

async fn get_many_keeps_the_order_of_the_keys_and_leaves_out_what_is_missing(test: Test) {
    let working = Working::new(&test);
    working.store().put_many(working.scope(), &put_many(&["a", "b", "c"])).await.unwrap();
    let request = get_many(&["c", "missing", "a", "%", "b", "a"]);
    let found = working.store().get_many(working.scope(), &request).await.unwrap();
    let keys: Vec<&str> = found.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["c", "a", "b", "a"]);
    for entry in &found {
        assert_eq!(working.get(&entry.key).await.as_ref(), Some(entry));
    }
    let request = get_many(&["missing"]);
    assert_eq!(working.store().get_many(working.scope(), &request).await.unwrap(), []);
}

async fn a_batch_goes_to_the_limit(test: Test) {
    let working = Working::new(&test);
    let limit = test.backend().capabilities().limits.batch_items;
    let keys: Vec<String> = (0..=limit).map(|n| format!("key {n:05}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (store, scope) = (working.store(), working.scope());
    refused(store.put_many(scope, &put_many(&keys)).await, ErrorKind::InvalidInput);
    refused(store.get_many(scope, &get_many(&keys)).await, ErrorKind::InvalidInput);
    assert_eq!(working.statistics().await.entries, 0);
    let written = store.put_many(scope, &put_many(&keys[..limit])).await.unwrap();
    assert_eq!(written.len(), limit);
    let found = store.get_many(scope, &get_many(&keys[..limit])).await.unwrap();
    assert!(found.iter().map(|entry| entry.key.as_str()).eq(keys[..limit].iter().copied()));
    assert_eq!(working.clear().await, limit as u64);
}

async fn one_failing_condition_stores_nothing_of_a_batch(test: Test) {
    let working = Working::new(&test);
    let there = working.put("there", 1).await;
    let before = working.get("there").await;
    let failing = Put::new("there", 2).with_condition(PutCondition::IfAbsent);
    for at in 0..3 {
        let mut entries = put_many(&["a", "b"]).entries;
        entries.insert(at, failing.clone());
        let answer = working.store().put_many(working.scope(), &PutMany { entries }).await;
        assert_eq!(conflict(answer).current_version(), Some(there.version));
        assert_eq!(working.keys("").await, ["there"], "the failing one stands at {at}");
        assert_eq!(working.get("there").await, before);
    }
}

async fn one_illegal_entry_stores_nothing_of_a_batch(test: Test) {
    let working = Working::new(&test);
    for illegal in [Put::new("", 1), Put::new("nul", "\0"), Put::new("line\n", 1)] {
        let mut entries = put_many(&["a", "b"]).entries;
        entries.push(illegal);
        let answer = working.store().put_many(working.scope(), &PutMany { entries }).await;
        refused(answer, ErrorKind::InvalidInput);
        assert!(working.keys("").await.is_empty());
    }
}

async fn conditions_of_a_batch_hold_each_for_its_key(test: Test) {
    let working = Working::new(&test);
    let a = working.put("a", 1).await;
    let entries = vec![
        Put::new("a", 2).with_condition(PutCondition::IfVersion(a.version)),
        Put::new("b", 3).with_condition(PutCondition::IfAbsent),
        Put::new("c", json!(null)),
    ];
    let request = PutMany { entries };
    working.store().put_many(working.scope(), &request).await.unwrap();
    assert_eq!(working.keys("").await, ["a", "b", "c"]);
    assert_eq!(working.value("a").await, 2);
    conflict(working.store().put_many(working.scope(), &request).await);
}

async fn a_key_stands_in_a_batch_once(test: Test) {
    let working = Working::new(&test);
    let answer = working.store().put_many(working.scope(), &put_many(&["a", "b", "a"])).await;
    refused(answer, ErrorKind::InvalidInput);
    assert!(working.keys("").await.is_empty());
    let differing = put_many(&["a", "A", "a "]);
    working.store().put_many(working.scope(), &differing).await.unwrap();
    assert_eq!(working.keys("").await, ["A", "a", "a "]);
}
