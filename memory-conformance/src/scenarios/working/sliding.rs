//! Reads that extend the expiry (W4).

use std::time::Duration;

use memquill_core::{Entry, ErrorKind, Facet, Get, GetMany, MAX_TTL};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{AFTER_SHORT, LONG, SHORT, Working, refused};

scenarios! {
    facet: Some(Facet::Working), family: Family::Example;
    w4: a_read_may_extend_the_expiry [SlidingExpiry];
    w4: an_extended_entry_outlives_its_first_expiry [SlidingExpiry];
    w4: a_read_never_brings_an_expiry_forward [SlidingExpiry];
    w4: a_read_never_gives_an_expiry_to_an_entry_without [SlidingExpiry];
    w4: a_read_never_revives_an_expired_entry [SlidingExpiry];
    w4: a_read_changes_neither_version_nor_updated_at [SlidingExpiry];
    w4: a_read_of_many_extends_each [SlidingExpiry];
    w4: an_extension_is_a_ttl [SlidingExpiry];
    w4: a_plain_read_leaves_the_expiry_alone;
}

async fn extend_many(working: &Working, keys: &[&str], extend: Duration) -> Vec<Entry> {
    let keys = keys.iter().map(ToString::to_string).collect();
    let request = GetMany { keys, extend: Some(extend) };
    working.store().get_many(working.scope(), &request).await.unwrap()
}

async fn a_read_may_extend_the_expiry(test: Test) {
    let working = Working::new(&test);
    let written = working.put_for("key", 1, LONG).await;
    let entry = working.get_extending("key", 2 * LONG).await.expect("an entry");
    let least = written.updated_at.saturating_add(2 * LONG);
    assert!(entry.expires_at >= Some(least), "{entry:?}");
    assert_eq!(working.get("key").await, Some(entry), "the answer tells the new expiry");
}

async fn an_extended_entry_outlives_its_first_expiry(test: Test) {
    let working = Working::new(&test);
    // On a slow machine it may have expired before the read: then there is nothing to see.
    working.put_for("key", 1, Duration::from_millis(500)).await;
    let Some(entry) = working.get_extending("key", LONG).await else { return };
    test.pass(Duration::from_millis(600)).await;
    assert_eq!(working.get("key").await, Some(entry));
}

async fn a_read_never_brings_an_expiry_forward(test: Test) {
    let working = Working::new(&test);
    let written = working.put_for("key", 1, LONG).await;
    let entry = working.get_extending("key", SHORT).await.expect("an entry");
    assert_eq!(entry.expires_at, written.expires_at);
    test.pass(AFTER_SHORT).await;
    assert_eq!(working.get("key").await, Some(entry));
}

async fn a_read_never_gives_an_expiry_to_an_entry_without(test: Test) {
    let working = Working::new(&test);
    working.put("key", 1).await;
    let entry = working.get_extending("key", SHORT).await.expect("an entry");
    assert_eq!(entry.expires_at, None);
    test.pass(AFTER_SHORT).await;
    assert_eq!(working.get("key").await, Some(entry));
    assert_eq!(working.statistics().await.expiring, 0);
}

async fn a_read_never_revives_an_expired_entry(test: Test) {
    let working = Working::new(&test);
    working.put_for("a", 1, SHORT).await;
    working.put_for("b", 1, SHORT).await;
    test.pass(AFTER_SHORT).await;
    assert_eq!(working.get_extending("a", LONG).await, None);
    assert_eq!(extend_many(&working, &["a", "b"], LONG).await, []);
    assert_eq!(working.get("a").await, None);
    assert!(working.keys("").await.is_empty());
    assert_eq!(working.get_extending("never put", LONG).await, None);
    assert_eq!(working.get("never put").await, None);
}

async fn a_read_changes_neither_version_nor_updated_at(test: Test) {
    let working = Working::new(&test);
    working.put_for("key", 1, LONG).await;
    let before = working.get("key").await.unwrap();
    test.pass(Duration::from_millis(20)).await;
    let after = working.get_extending("key", 2 * LONG).await.unwrap();
    assert!(after.expires_at > before.expires_at);
    assert_eq!(after, Entry { expires_at: after.expires_at, ..before });
}

async fn a_read_of_many_extends_each(test: Test) {
    let working = Working::new(&test);
    working.put_for("short", 1, LONG).await;
    working.put_for("long", 2, 4 * LONG).await;
    working.put("for ever", 3).await;
    let before = working.get("long").await.unwrap();
    let entries = extend_many(&working, &["long", "short", "for ever"], 2 * LONG).await;
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0], before);
    let least = entries[1].updated_at.saturating_add(2 * LONG);
    assert!(entries[1].expires_at >= Some(least));
    assert_eq!(entries[2].expires_at, None);
    for entry in entries {
        assert_eq!(working.get(&entry.key).await.as_ref(), Some(&entry));
    }
}

async fn an_extension_is_a_ttl(test: Test) {
    let working = Working::new(&test);
    working.put_for("key", 1, LONG).await;
    let before = working.get("key").await;
    for extend in [Duration::ZERO, Duration::from_micros(999), MAX_TTL + SHORT] {
        let get = Get { extend: Some(extend), ..Get::new("key") };
        let answer = working.store().get(working.scope(), &get).await;
        refused(answer, ErrorKind::InvalidInput);
    }
    assert_eq!(working.get("key").await, before);
    let longest = working.get_extending("key", MAX_TTL).await.unwrap();
    assert!(longest.expires_at >= Some(longest.updated_at.saturating_add(MAX_TTL)));
}

async fn a_plain_read_leaves_the_expiry_alone(test: Test) {
    let working = Working::new(&test);
    let written = working.put_for("key", 1, LONG).await;
    test.pass(Duration::from_millis(20)).await;
    for _ in 0..2 {
        assert_eq!(working.get("key").await.unwrap().expires_at, written.expires_at);
        working.keys("").await;
    }
}
