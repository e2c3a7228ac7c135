//! Working memory on SQLite (contract, section W).
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use memquill_core::{
    Delete, ErrorKind, Get, GetMany, Increment, ListEntries, PageRequest, Put, PutCondition,
    PutMany, WorkingStore,
};
use serde_json::json;
use support::{in_file, in_memory, scope};

const SECOND: Duration = Duration::from_secs(1);

fn increment(key: &str, by: i64) -> Increment {
    Increment { key: key.into(), by, initial_ttl: None }
}

#[tokio::test]
async fn w3_a_failed_condition_says_the_version_and_changes_nothing() {
    let (backend, _) = in_memory().await;
    let store = backend.working().unwrap();
    let put = |condition| Put::new("k", 1).with_condition(condition);
    let missing = store.put(&scope(), &put(PutCondition::IfVersion(7))).await.unwrap_err();
    assert_eq!((missing.kind(), missing.current_version()), (ErrorKind::Conflict, Some(0)));
    let first = store.put(&scope(), &put(PutCondition::IfAbsent)).await.unwrap();
    let taken = store.put(&scope(), &put(PutCondition::IfAbsent)).await.unwrap_err();
    assert_eq!(taken.current_version(), Some(first.version));
    let second = store.put(&scope(), &put(PutCondition::IfVersion(first.version))).await.unwrap();
    assert!(second.version > first.version);
    assert_eq!(second.created_at, first.created_at);

    let many = PutMany { entries: vec![Put::new("other", 1), put(PutCondition::IfAbsent)] };
    assert_eq!(store.put_many(&scope(), &many).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(store.get(&scope(), &Get::new("other")).await.unwrap().is_none());

    let at = |version| Delete { key: "k".into(), if_version: Some(version) };
    let refused = store.delete(&scope(), &at(first.version)).await.unwrap_err();
    assert_eq!(refused.current_version(), Some(second.version));
    assert!(store.delete(&scope(), &at(second.version)).await.unwrap());
    assert!(!store.delete(&scope(), &at(second.version)).await.unwrap());
    let third = store.put(&scope(), &put(PutCondition::IfAbsent)).await.unwrap();
    assert!(third.version > second.version, "a version came back");
}

#[tokio::test]
async fn w2_an_entry_past_its_expiry_is_absent_and_begins_anew() {
    let (backend, clock) = in_memory().await;
    let store = backend.working().unwrap();
    let put = Put::new("k", 1).with_ttl(SECOND);
    let first = store.put(&scope(), &put).await.unwrap();
    clock.advance(SECOND);
    assert!(store.get(&scope(), &Get::new("k")).await.unwrap().is_none());
    assert_eq!(store.statistics(&scope()).await.unwrap().entries, 0);
    assert_eq!(store.clear(&scope()).await.unwrap(), 0);
    store.put(&scope(), &put).await.unwrap();
    clock.advance(SECOND);
    assert!(!store.delete(&scope(), &Delete::new("k")).await.unwrap());
    store.put(&scope(), &put).await.unwrap();
    clock.advance(SECOND);
    let again = store.put(&scope(), &put.with_condition(PutCondition::IfAbsent)).await.unwrap();
    assert!(again.version > first.version);
    assert_eq!(again.created_at, again.updated_at);
    store.put(&scope(), &Put::new("k", 2)).await.unwrap();
    clock.advance(SECOND);
    assert_eq!(store.get(&scope(), &Get::new("k")).await.unwrap().unwrap().value, 2);
}

#[tokio::test]
async fn w4_a_read_extends_but_never_shortens_revives_or_limits() {
    let (backend, clock) = in_memory().await;
    let store = backend.working().unwrap();
    store.put(&scope(), &Put::new("short", 1).with_ttl(SECOND)).await.unwrap();
    store.put(&scope(), &Put::new("long", 1).with_ttl(100 * SECOND)).await.unwrap();
    let before = store.put(&scope(), &Put::new("ever", 1)).await.unwrap();
    let extend = |key: &str| Get { key: key.into(), extend: Some(10 * SECOND) };
    let now = before.updated_at;
    let entry = store.get(&scope(), &extend("short")).await.unwrap().unwrap();
    assert_eq!(entry.expires_at, Some(now.saturating_add(10 * SECOND)));
    let entry = store.get(&scope(), &extend("long")).await.unwrap().unwrap();
    assert_eq!(entry.expires_at, Some(now.saturating_add(100 * SECOND)));
    let entry = store.get(&scope(), &extend("ever")).await.unwrap().unwrap();
    assert_eq!((entry.expires_at, entry.version), (None, before.version));
    clock.advance(10 * SECOND);
    assert!(store.get(&scope(), &extend("short")).await.unwrap().is_none());
    let keys = ["ever", "short", "long", "ever"].map(String::from).to_vec();
    let many = GetMany { keys, extend: Some(200 * SECOND) };
    let entries = store.get_many(&scope(), &many).await.unwrap();
    assert_eq!(
        entries.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(),
        ["ever", "long", "ever"]
    );
}

#[tokio::test]
async fn w5_a_prefix_is_literal_and_pages_are_in_the_order_of_bytes() {
    let (backend, _) = in_memory().await;
    let store = backend.working().unwrap();
    let keys = ["a", "a%", "a%b", "a%\u{10FFFF}", "a_", "A%", "b", "é", "\u{10FFFF}"];
    let entries = keys.iter().map(|key| Put::new(*key, 1)).collect();
    store.put_many(&scope(), &PutMany { entries }).await.unwrap();
    for prefix in ["", "a", "a%", "A", "\u{10FFFF}", "x"] {
        let mut expected: Vec<&str> =
            keys.iter().copied().filter(|key| key.starts_with(prefix)).collect();
        expected.sort_unstable();
        let mut request = ListEntries { prefix: prefix.into(), page: PageRequest::first(2) };
        let mut listed = Vec::new();
        loop {
            let page = store.list(&scope(), &request).await.unwrap();
            listed.extend(page.items.into_iter().map(|entry| entry.key));
            let Some(next) = page.next else { break };
            request.page = request.page.after(next);
        }
        assert_eq!(listed, expected, "{prefix:?}");
    }
}

#[tokio::test]
async fn w6_what_is_no_integer_or_leaves_i64_is_a_conflict() {
    let (backend, clock) = in_memory().await;
    let store = backend.working().unwrap();
    for (value, by) in [
        (json!(1.0), 1),
        (json!("1"), 1),
        (json!(u64::MAX), -1),
        (json!(i64::MAX), 1),
        (json!(i64::MIN), -1),
        (json!([1]), 1),
    ] {
        store.put(&scope(), &Put::new("k", value.clone())).await.unwrap();
        let error = store.increment(&scope(), &increment("k", by)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(store.get(&scope(), &Get::new("k")).await.unwrap().unwrap().value, value);
    }
    let fresh = Increment { initial_ttl: Some(SECOND), ..increment("n", i64::MIN) };
    assert_eq!(store.increment(&scope(), &fresh).await.unwrap().value, i64::MIN);
    let next = store.increment(&scope(), &increment("n", 5)).await.unwrap();
    assert_eq!(next.value, i64::MIN + 5);
    assert!(next.written.expires_at.is_some());
    clock.advance(SECOND);
    assert_eq!(store.increment(&scope(), &increment("n", 5)).await.unwrap().value, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn w6_no_increment_of_any_writer_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    let backends = [in_file(&file).await, in_file(&file).await];
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let store = backends[i % 2].working().unwrap().clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    store.increment(&scope(), &increment("n", 1)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let entry = backends[0].working().unwrap().get(&scope(), &Get::new("n")).await.unwrap();
    assert_eq!(entry.unwrap().value, 200);
}

#[tokio::test]
async fn w7_a_thousand_puts_are_whole_and_in_order() {
    let (backend, _) = in_memory().await;
    let store: &dyn WorkingStore = backend.working().unwrap().as_ref();
    let entries: Vec<Put> = (0..1000).map(|i| Put::new(format!("k{i}"), i)).collect();
    let written = store.put_many(&scope(), &PutMany { entries }).await.unwrap();
    let keys = (0..1000).rev().map(|i| format!("k{i}")).collect();
    let read = store.get_many(&scope(), &GetMany { keys, extend: None }).await.unwrap();
    for (i, entry) in read.iter().rev().enumerate() {
        assert_eq!((&entry.value, entry.version), (&json!(i).into(), written[i].version));
    }
    assert_eq!(read.len(), 1000);
}
