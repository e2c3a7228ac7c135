//! Entries, their expiry and its sweeping (W1, W2, W8, G8, G9).

use std::time::Duration;

use memquill_core::{
    ErrorKind, Facet, MAX_TTL, MIN_TTL, Put, PutCondition, Timestamp, WorkingStatistics, Written,
};
use serde_json::json;

use crate::scenario::{Family, Test, scenarios};
use crate::support::{AFTER_SHORT, LONG, PURGING, SHORT, Working, conflict, object, refused};

scenarios! {
    facet: Some(Facet::Working), family: Family::Example;
    w1: an_entry_comes_back_with_all_its_parts;
    w1: a_put_replaces_value_and_metadata;
    w1: what_was_never_put_is_absent;
    g8: a_put_keeps_created_at_and_moves_updated_at;
    g8: the_answer_gives_the_times_that_are_stored;
    g9: deleting_what_is_not_there_is_no_error;
    w2: an_entry_without_a_ttl_never_expires;
    w2: an_expired_entry_is_absent_for_every_purpose;
    w2: an_expired_entry_meets_no_condition_but_absence [Conditions];
    w2: a_counter_that_expired_counts_from_zero [Counters];
    w2: a_key_that_expired_starts_over;
    w2: storing_again_without_a_ttl_clears_the_old_one;
    w2: storing_again_with_a_ttl_replaces_the_old_one;
    w2: the_expiry_is_the_ttl_after_the_write;
    w2: a_ttl_is_from_a_millisecond_to_a_hundred_years;
    w2: statistics_tell_what_will_expire;
    w2: clear_removes_all_and_counts_the_live;
    w8: a_purge_removes_what_expired_and_counts_it;
    w8: a_purge_never_touches_a_live_entry;
}

async fn an_entry_comes_back_with_all_its_parts(test: Test) {
    let working = Working::new(&test);
    let metadata = object(json!({"source": "tool", "nested": {"n": [1, null]}}));
    let put = Put {
        metadata: metadata.clone(),
        ttl: Some(LONG),
        ..Put::new("key", json!({"a": [1, 2.5, "x"]}))
    };
    let written = working.try_put(put).await.unwrap();
    let entry = working.get("key").await.expect("an entry");
    assert_eq!((entry.key.as_str(), &entry.value), ("key", &json!({"a": [1, 2.5, "x"]}).into()));
    assert_eq!(entry.metadata, metadata);
    let Written { version, created_at, updated_at, expires_at } = written;
    assert_eq!((entry.version, entry.expires_at), (version, expires_at));
    assert_eq!((entry.created_at, entry.updated_at), (created_at, updated_at));
    assert_eq!(created_at, updated_at);
    assert!(version > 0, "0 says that a key does not exist");
}

async fn a_put_replaces_value_and_metadata(test: Test) {
    let working = Working::new(&test);
    let metadata = object(json!({"a": 1}));
    let first = Put { metadata, ..Put::new("key", json!({"x": 1, "y": 2})) };
    working.try_put(first).await.unwrap();
    working.put("key", json!({"x": 3})).await;
    let entry = working.get("key").await.unwrap();
    assert_eq!((entry.value, entry.metadata), (json!({"x": 3}).into(), object(json!({}))));
}

async fn what_was_never_put_is_absent(test: Test) {
    let working = Working::new(&test);
    working.put("key", 1).await;
    for other in ["KEY", "ke", "key ", "key2", "*", "%", "k_y"] {
        assert_eq!(working.get(other).await, None, "{other:?}");
    }
}

async fn a_put_keeps_created_at_and_moves_updated_at(test: Test) {
    let working = Working::new(&test);
    let first = working.put("key", 1).await;
    test.pass(Duration::from_millis(20)).await;
    let second = working.put("key", 1).await;
    assert_eq!(second.created_at, first.created_at);
    assert!(second.updated_at > first.updated_at, "{second:?}");
    working.delete("key").await;
    let again = working.put("key", 1).await;
    assert!(again.created_at >= second.updated_at, "a deleted key starts over");
}

async fn the_answer_gives_the_times_that_are_stored(test: Test) {
    let here = Working::new(&test);
    let there = here.over(&test.connect().await);
    for key in ["a", "b"] {
        let written = here.put_for(key, 1, LONG).await;
        let entry = there.get(key).await.unwrap();
        assert_eq!(entry.created_at, written.created_at);
        assert_eq!(entry.updated_at, written.updated_at);
        assert_eq!(entry.expires_at, written.expires_at);
    }
}

async fn deleting_what_is_not_there_is_no_error(test: Test) {
    let working = Working::new(&test);
    assert!(!working.delete("key").await);
    working.put("key", 1).await;
    assert!(working.delete("key").await);
    assert!(!working.delete("key").await);
    assert_eq!(working.clear().await, 0);
}

async fn an_entry_without_a_ttl_never_expires(test: Test) {
    let working = Working::new(&test);
    let written = working.put("key", 1).await;
    test.pass(AFTER_SHORT).await;
    let entry = working.get("key").await.expect("an entry");
    assert_eq!((written.expires_at, entry.expires_at), (None, None));
}

/// A working memory with the expired keys `a` and `b` and the live key `c`.
async fn expired(test: &Test) -> Working {
    let working = Working::new(test);
    working.put_for("a", 1, SHORT).await;
    working.put_for("b", 2, SHORT).await;
    working.put_for("c", 3, LONG).await;
    test.pass(AFTER_SHORT).await;
    working
}

async fn an_expired_entry_is_absent_for_every_purpose(test: Test) {
    let working = expired(&test).await;
    assert_eq!(working.get("a").await, None);
    let keys = ["a", "b", "c"].map(String::from).to_vec();
    let request = memquill_core::GetMany { keys, extend: None };
    let found = working.store().get_many(working.scope(), &request).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(working.keys("").await, ["c"]);
    assert!(working.keys("a").await.is_empty());
    assert_eq!(working.statistics().await, WorkingStatistics { entries: 1, expiring: 1 });
    assert!(!working.delete("a").await);
    assert_eq!(working.clear().await, 1);
}

async fn an_expired_entry_meets_no_condition_but_absence(test: Test) {
    let working = Working::new(&test);
    let first = working.put_for("a", 1, SHORT).await;
    let second = working.put_for("b", 1, SHORT).await;
    test.pass(AFTER_SHORT).await;
    let if_version = PutCondition::IfVersion(first.version);
    let error = conflict(working.put_if(if_version, "a", 2).await);
    assert_eq!(error.current_version(), Some(0));
    assert!(!working.delete_at("b", second.version).await.unwrap());
    let again = working.put_if(PutCondition::IfAbsent, "a", 2).await.unwrap();
    assert_ne!(again.version, first.version);
    assert_eq!(working.value("a").await, 2);
}

async fn a_counter_that_expired_counts_from_zero(test: Test) {
    let working = Working::new(&test);
    working.put_for("n", 40, SHORT).await;
    working.put_for("text", "x", SHORT).await;
    test.pass(AFTER_SHORT).await;
    let counted = working.increment("n", 2).await;
    assert_eq!((counted.value, counted.written.expires_at), (2, None));
    assert_eq!(working.increment("text", 1).await.value, 1);
}

async fn a_key_that_expired_starts_over(test: Test) {
    let working = Working::new(&test);
    let first = working.put_for("key", 1, SHORT).await;
    test.pass(AFTER_SHORT).await;
    let second = working.put("key", 2).await;
    assert!(second.created_at >= first.expires_at.unwrap(), "{second:?}");
    assert_eq!(second.created_at, second.updated_at);
    assert_ne!(second.version, first.version);
}

async fn storing_again_without_a_ttl_clears_the_old_one(test: Test) {
    let working = Working::new(&test);
    working.put_for("key", 1, LONG).await;
    assert_eq!(working.put("key", 2).await.expires_at, None);
    assert_eq!(working.get("key").await.unwrap().expires_at, None);
    working.put_for("short", 1, SHORT).await;
    working.put("short", 2).await;
    test.pass(AFTER_SHORT).await;
    // True on a slow machine too, where the entry may have expired before the second put.
    assert_eq!(working.value("short").await, 2);
}

async fn storing_again_with_a_ttl_replaces_the_old_one(test: Test) {
    let working = Working::new(&test);
    let long = working.put_for("key", 1, LONG).await;
    let longer = working.put_for("key", 2, 2 * LONG).await;
    assert!(longer.expires_at > long.expires_at);
    let short = working.put_for("key", 3, SHORT).await;
    assert!(short.expires_at < long.expires_at, "a put may shorten a life");
    test.pass(AFTER_SHORT).await;
    assert_eq!(working.get("key").await, None);
}

async fn the_expiry_is_the_ttl_after_the_write(test: Test) {
    let working = Working::new(&test);
    for ttl in [SHORT, LONG, MAX_TTL] {
        let written = working.put_for("key", 1, ttl).await;
        let earliest = written.updated_at.saturating_add(ttl);
        let expires_at = written.expires_at.expect("an expiry");
        // The store may read its clock twice in one step.
        let latest = earliest.saturating_add(Duration::from_secs(1));
        assert!((earliest..=latest).contains(&expires_at), "{written:?}");
    }
}

async fn a_ttl_is_from_a_millisecond_to_a_hundred_years(test: Test) {
    let working = Working::new(&test);
    working.put_for("shortest", 1, MIN_TTL).await;
    let longest = working.put_for("longest", 1, MAX_TTL).await;
    assert!(longest.expires_at < Some(Timestamp::MAX));
    let read = working.get("longest").await.expect("an entry");
    assert_eq!(read.expires_at, longest.expires_at);
    for ttl in [Duration::ZERO, Duration::from_micros(999), MAX_TTL + MIN_TTL, Duration::MAX] {
        let put = Put::new("refused", 1).with_ttl(ttl);
        refused(working.try_put(put).await, ErrorKind::InvalidInput);
    }
    assert_eq!(working.get("refused").await, None);
}

async fn statistics_tell_what_will_expire(test: Test) {
    let working = Working::new(&test);
    assert_eq!(working.statistics().await, WorkingStatistics::default());
    working.put("a", 1).await;
    working.put_for("b", 1, LONG).await;
    working.put_for("c", 1, LONG).await;
    assert_eq!(working.statistics().await, WorkingStatistics { entries: 3, expiring: 2 });
    working.put("b", 2).await;
    assert_eq!(working.statistics().await, WorkingStatistics { entries: 3, expiring: 1 });
    working.put_for("a", 2, LONG).await;
    working.delete("c").await;
    assert_eq!(working.statistics().await, WorkingStatistics { entries: 2, expiring: 1 });
}

async fn clear_removes_all_and_counts_the_live(test: Test) {
    let working = expired(&test).await;
    working.put("d", 4).await;
    assert_eq!(working.clear().await, 2);
    assert!(working.keys("").await.is_empty());
    assert_eq!(working.statistics().await, WorkingStatistics::default());
    assert_eq!(working.clear().await, 0);
}

async fn a_purge_removes_what_expired_and_counts_it(test: Test) {
    let _alone = PURGING.lock().await;
    let admin = test.admin().await;
    let working = expired(&test).await;
    let receipt = admin.purge_expired().await.unwrap();
    assert!(receipt.entries >= 2 || test.store().sweeps_by_itself(), "{receipt:?}");
    assert_eq!(working.keys("").await, ["c"]);
    assert_eq!(working.statistics().await.entries, 1);
}

async fn a_purge_never_touches_a_live_entry(test: Test) {
    let _alone = PURGING.lock().await;
    let admin = test.admin().await;
    let working = Working::new(&test);
    working.put("for ever", 1).await;
    working.put_for("for long", 2, LONG).await;
    working.put_for("short, then for ever", 3, SHORT).await;
    working.put("short, then for ever", 4).await;
    working.put_for("short, then for long", 5, SHORT).await;
    working.put_for("short, then for long", 6, LONG).await;
    test.pass(AFTER_SHORT).await;
    let before = working.get("for long").await;
    admin.purge_expired().await.unwrap();
    admin.purge_expired().await.unwrap();
    let live = ["for ever", "for long", "short, then for ever", "short, then for long"];
    assert_eq!(working.keys("").await, live);
    assert_eq!(working.get("for long").await, before);
}
