//! Hostile keys and values.

use memquill_core::json::identical_objects;
use memquill_core::{
    Delete, Facet, Get, GetMany, Increment, ListEntries, PageRequest, Put, PutMany,
};
use serde_json::{Value, json};

use super::strings;
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Working), family: Family::Hostile;
    g2: hostile_keys_are_literal_and_apart;
    g3: hostile_values_come_back_unchanged;
    w5: hostile_prefixes_are_literal;
    w6: hostile_counters_are_apart [Counters];
}

async fn hostile_keys_are_literal_and_apart(test: Test) {
    let scope = test.scope();
    let keys = strings();
    let entries = keys.iter().map(|key| Put::new(key.clone(), key.clone())).collect();
    test.working().put_many(&scope, &PutMany { entries }).await.unwrap();
    let many = GetMany { keys: keys.clone(), extend: None };
    let read = test.working().get_many(&scope, &many).await.unwrap();
    assert!(read.iter().map(|entry| &entry.key).eq(&keys));
    assert!(read.iter().all(|entry| entry.value == entry.key.as_str()), "{read:?}");
    for (deleted, key) in (1..).zip(keys.iter().step_by(3)) {
        assert!(test.working().delete(&scope, &Delete::new(key.clone())).await.unwrap());
        let held = test.working().statistics(&scope).await.unwrap().entries;
        assert_eq!(held, (keys.len() - deleted) as u64, "after {key:?}");
    }
    for (at, key) in keys.iter().enumerate() {
        let entry = test.working().get(&scope, &Get::new(key.clone())).await.unwrap();
        assert_eq!(entry.map(|entry| entry.key).as_ref(), (at % 3 != 0).then_some(key));
    }
}

async fn hostile_values_come_back_unchanged(test: Test) {
    let scope = test.scope();
    for text in strings() {
        let value = json!({text.as_str(): [text, {"text": text}], "plain": text});
        let Value::Object(metadata) = value.clone() else { unreachable!() };
        let put = Put { metadata: metadata.clone(), ..Put::new("k", value.clone()) };
        test.working().put(&scope, &put).await.unwrap();
        let entry = test.working().get(&scope, &Get::new("k")).await.unwrap().unwrap();
        let back = entry.value;
        assert!(back.is_identical(&value.clone().into()), "{back:?} instead of {value}");
        assert!(identical_objects(&entry.metadata, &metadata), "{metadata:?}");
        test.working().put(&scope, &Put::new("k", text.clone())).await.unwrap();
        let entry = test.working().get(&scope, &Get::new("k")).await.unwrap().unwrap();
        assert_eq!(entry.value, Value::from(text));
    }
}

async fn hostile_prefixes_are_literal(test: Test) {
    let scope = test.scope();
    let mut keys = strings();
    keys.extend(strings().iter().filter(|key| key.len() < 250).map(|key| format!("{key}more")));
    keys.sort_unstable();
    keys.dedup();
    let entries = keys.iter().map(|key| Put::new(key.clone(), 1)).collect();
    test.working().put_many(&scope, &PutMany { entries }).await.unwrap();
    for prefix in strings() {
        let expected: Vec<&String> = keys.iter().filter(|key| key.starts_with(&prefix)).collect();
        let list = ListEntries { prefix: prefix.clone(), page: PageRequest::first(1_000) };
        let listed = test.working().list(&scope, &list).await.unwrap();
        assert!(listed.items.iter().map(|entry| &entry.key).eq(expected), "{prefix:?}: {listed:?}");
    }
}

async fn hostile_counters_are_apart(test: Test) {
    let scope = test.scope();
    let keys = strings();
    for _ in 0..2 {
        for (by, key) in (1..).zip(&keys) {
            let increment = Increment { key: key.clone(), by, initial_ttl: None };
            test.working().increment(&scope, &increment).await.unwrap();
        }
    }
    for (by, key) in (1_i64..).zip(&keys) {
        let entry = test.working().get(&scope, &Get::new(key.clone())).await.unwrap().unwrap();
        assert_eq!(entry.value, Value::from(2 * by), "{key:?}");
    }
}
