//! Bytes, and values as large as they may be (W1, G4).

use memquill_core::{
    Entry, ErrorKind, Facet, Feature, GetMany, ListEntries, PageRequest, Put, PutCondition,
    PutMany, RestoreEntries, Restored, Result, WorkingValue,
};
use serde_json::{Value, json};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{LONG, Working, conflict, polled_at_most, refused};

scenarios! {
    facet: Some(Facet::Working), family: Family::Example;
    w1: bytes_come_back_as_they_are;
    w1: bytes_and_json_of_one_text_differ;
    w3: conditions_hold_for_bytes [Conditions];
    w6: bytes_are_no_integer [Counters];
    w9: bytes_are_put_back_as_they_were [Restoring];
    g4: bytes_to_the_limit_come_back_and_past_it_are_refused;
    g4: a_batch_of_values_to_the_limit_is_stored_and_past_it_refused;
    g4: a_restored_batch_goes_to_the_limit [Restoring];
    w5: a_page_ends_where_its_values_are_too_large;
    w7: values_that_are_too_large_together_are_not_read;
    g7: a_large_value_whose_put_is_dropped_is_whole_or_absent;
}

fn bytes(bytes: impl Into<Vec<u8>>) -> WorkingValue {
    WorkingValue::Bytes(bytes.into())
}

/// Every byte, and bytes that a store may take for something else.
fn tricky() -> Vec<Vec<u8>> {
    let all: Vec<u8> = (0..=255).collect();
    let texts: [&[u8]; 9] =
        [b"", b"\0", b"\n", b"1", b"null", b"\"text\"", b"{\"a\":1}", b"\\x00", b"\xff\xfe\r\n\0"];
    let mut tricky: Vec<Vec<u8>> = texts.iter().map(|text| text.to_vec()).collect();
    tricky.push(all.iter().rev().copied().collect());
    tricky.push(all);
    tricky
}

async fn bytes_come_back_as_they_are(test: Test) {
    let working = Working::new(&test);
    let puts: Vec<Put> = (10..)
        .zip(tricky())
        .map(|(at, bytes)| Put::bytes(at.to_string(), bytes).with_metadata([("at", at)]))
        .collect();
    working.store().put_many(working.scope(), &PutMany::new(puts.clone())).await.unwrap();
    working.try_put(puts[0].clone().with_ttl(LONG)).await.unwrap();
    for working in [working.clone(), working.over(&test.connect().await)] {
        let keys = puts.iter().map(|put| put.key.as_str());
        let found = working.store().get_many(working.scope(), &GetMany::new(keys)).await.unwrap();
        let listed = listing(&working, 100).await.0;
        assert_eq!((found.len(), &listed), (puts.len(), &found));
        for (put, entry) in puts.iter().zip(found) {
            assert!(entry.value.is_identical(&put.value), "{:?}", put.value.as_bytes());
            assert_eq!(entry.metadata, put.metadata);
            assert_eq!(working.get(&put.key).await, Some(entry));
        }
    }
}

async fn bytes_and_json_of_one_text_differ(test: Test) {
    let working = Working::new(&test);
    let values = [json!(1).into(), bytes("1"), json!("1").into(), bytes(""), Value::Null.into()];
    for value in values {
        working.put("key", value.clone()).await;
        let back = working.value("key").await;
        assert!(back.is_identical(&value), "{back:?} instead of {value:?}");
    }
}

async fn conditions_hold_for_bytes(test: Test) {
    let working = Working::new(&test);
    let put = |value: &'static str, condition| {
        working.try_put(Put::bytes("key", value).with_condition(condition))
    };
    let first = put("a", PutCondition::IfAbsent).await.unwrap();
    conflict(put("b", PutCondition::IfAbsent).await);
    let second = put("c", PutCondition::IfVersion(first.version)).await.unwrap();
    let stale = conflict(put("d", PutCondition::IfVersion(first.version)).await);
    assert_eq!(stale.current_version(), Some(second.version));
    assert!(working.value("key").await.is_identical(&bytes("c")));
    assert!(working.delete_at("key", second.version).await.unwrap());
}

async fn bytes_are_no_integer(test: Test) {
    let working = Working::new(&test);
    for text in ["1", "", "-5", "\u{0}1"] {
        working.put("key", bytes(text)).await;
        let before = working.get("key").await;
        conflict(working.try_increment("key", 1).await);
        assert_eq!(working.get("key").await, before);
    }
    working.put("key", 1).await;
    assert_eq!(working.increment("key", 1).await.value, 2);
}

async fn restore(working: &Working, entries: &[Entry], overwrite: bool) -> Result<Restored> {
    let request = RestoreEntries { entries: entries.to_vec(), overwrite };
    working.store().restore(working.scope(), &request).await
}

async fn bytes_are_put_back_as_they_were(test: Test) {
    let (from, to) = (Working::new(&test), Working::at(test.backend(), &test.scope()));
    for (at, bytes) in (10..).zip(tricky()) {
        from.try_put(Put::bytes(at.to_string(), bytes)).await.unwrap();
    }
    let mut entries = listing(&from, 100).await.0;
    let all = entries.len() as u64;
    let written = |written, unchanged| Restored { written, unchanged };
    assert_eq!(restore(&to, &entries, false).await.unwrap(), written(all, 0));
    assert_eq!(restore(&to, &entries, false).await.unwrap(), written(0, all));
    assert_eq!(listing(&to, 100).await.0, entries);
    // The same text as JSON is another value.
    let at = entries.iter().position(|entry| entry.value.as_bytes() == Some(b"1")).unwrap();
    entries[at].value = json!(1).into();
    conflict(restore(&to, &entries, false).await);
    assert_eq!(restore(&to, &entries, true).await.unwrap(), written(1, all - 1));
    assert_eq!(listing(&to, 100).await.0, entries);
}

/// Bytes that do not shrink by compression, others for each `seed`.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = Vec::with_capacity(size + 8);
    while noise.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(size);
    noise
}

async fn bytes_to_the_limit_come_back_and_past_it_are_refused(test: Test) {
    let working = Working::new(&test);
    let limit = test.backend().capabilities().limits.value_bytes;
    let largest = noise(1, limit);
    working.put("key", bytes(largest.clone())).await;
    let error = refused(
        working.try_put(Put::bytes("key", noise(2, limit + 1))).await,
        ErrorKind::InvalidInput,
    );
    assert!(error.message().contains(&limit.to_string()), "{error}");
    assert!(working.value("key").await.as_bytes() == Some(&largest[..]));
}

/// Puts that have exactly as many bytes in all as a batch may have.
fn full_batch(test: &Test) -> Vec<Put> {
    let limits = test.backend().capabilities().limits;
    let mut left = limits.batch_bytes;
    let mut puts = Vec::new();
    while left > 0 {
        let size = left.min(limits.value_bytes);
        let at = puts.len() as u64;
        puts.push(Put::bytes(format!("{at:03}"), noise(at, size)));
        left -= size;
    }
    puts
}

async fn a_batch_of_values_to_the_limit_is_stored_and_past_it_refused(test: Test) {
    let working = Working::new(&test);
    let limit = test.backend().capabilities().limits.batch_bytes;
    let mut puts = full_batch(&test);
    puts.push(Put::new("one more", 1));
    let mut request = PutMany::new(puts);
    let error =
        refused(working.store().put_many(working.scope(), &request).await, ErrorKind::InvalidInput);
    for number in [limit + 1, limit] {
        assert!(error.message().contains(&number.to_string()), "{number} in {error}");
    }
    assert_eq!(working.statistics().await.entries, 0);
    request.entries.pop();
    working.store().put_many(working.scope(), &request).await.unwrap();
    let keys: Vec<&str> = request.entries.iter().map(|put| put.key.as_str()).collect();
    let found = working.store().get_many(working.scope(), &GetMany::new(keys)).await.unwrap();
    assert_eq!(found.len(), request.entries.len());
    for (put, entry) in request.entries.iter().zip(found) {
        assert!(entry.value.is_identical(&put.value), "{:?}", entry.key);
    }
}

async fn a_restored_batch_goes_to_the_limit(test: Test) {
    let working = Working::new(&test);
    let at = working.put("probe", 1).await.updated_at;
    let entry = |put: Put| Entry {
        key: put.key,
        value: put.value,
        metadata: put.metadata,
        version: 1,
        created_at: at,
        updated_at: at,
        expires_at: None,
    };
    let mut entries: Vec<Entry> = full_batch(&test).into_iter().map(entry).collect();
    entries.push(entry(Put::bytes("one more", "1")));
    refused(restore(&working, &entries, false).await, ErrorKind::InvalidInput);
    entries.pop();
    let all = entries.len() as u64;
    let written = restore(&working, &entries, false).await.unwrap();
    assert_eq!(written, Restored { written: all, unchanged: 0 });
    let written = restore(&working, &entries, false).await.unwrap();
    assert_eq!(written, Restored { written: 0, unchanged: all });
}

/// All entries by pages of at most `limit`, and how many stand on each page.
async fn listing(working: &Working, limit: usize) -> (Vec<Entry>, Vec<usize>) {
    let (mut all, mut pages) = (Vec::new(), Vec::new());
    let mut page = PageRequest::first(limit);
    loop {
        let request = ListEntries::new("", page.clone());
        let part = working.store().list(working.scope(), &request).await.unwrap();
        pages.push(part.items.len());
        all.extend(part.items);
        match part.next {
            Some(next) => page = page.after(next),
            None => return (all, pages),
        }
    }
}

/// Puts more than an answer holds, and a small value after it.
async fn put_too_much(test: &Test, working: &Working) -> Vec<Put> {
    let mut puts = full_batch(test);
    let limits = test.backend().capabilities().limits;
    puts.push(Put::bytes("more", noise(99, limits.value_bytes)));
    puts.push(Put::new("small", 1));
    for put in &mut puts {
        put.ttl = Some(LONG);
        working.try_put(put.clone()).await.unwrap();
    }
    puts
}

async fn a_page_ends_where_its_values_are_too_large(test: Test) {
    let working = Working::new(&test);
    let puts = put_too_much(&test, &working).await;
    let (all, pages) = listing(&working, 100).await;
    assert!(
        pages.len() > 1 && pages.iter().all(|items| (1..puts.len()).contains(items)),
        "{pages:?}"
    );
    assert_eq!(all.len(), puts.len());
    for (put, entry) in puts.iter().zip(&all) {
        assert!(entry.key == put.key && entry.value.is_identical(&put.value), "{:?}", entry.key);
    }
}

async fn values_that_are_too_large_together_are_not_read(test: Test) {
    let working = Working::new(&test);
    let puts = put_too_much(&test, &working).await;
    let keys = || puts.iter().map(|put| put.key.as_str());
    let get = |keys: Vec<&str>| {
        let request = GetMany::new(keys);
        let working = &working;
        async move { working.store().get_many(working.scope(), &request).await }
    };
    let error = refused(get(keys().collect()).await, ErrorKind::InvalidInput);
    assert!(error.hint().is_some(), "{error}");
    // So are the same ones by their repetition.
    let first = puts[0].key.as_str();
    refused(get(vec![first; 100]).await, ErrorKind::InvalidInput);
    assert_eq!(get(keys().skip(puts.len() - 2).collect()).await.unwrap().len(), 2);
    if test.has(Feature::SlidingExpiry) {
        // What is not read is not extended.
        let before = working.get("small").await;
        let request = GetMany::new(keys().rev()).with_extend(2 * LONG);
        let read = working.store().get_many(working.scope(), &request).await;
        refused(read, ErrorKind::InvalidInput);
        assert_eq!(working.get("small").await, before);
    }
}

async fn a_large_value_whose_put_is_dropped_is_whole_or_absent(test: Test) {
    let working = Working::new(&test);
    let size = test.backend().capabilities().limits.value_bytes;
    let before = bytes("before");
    working.put("key", before.clone()).await;
    let value = |polls: u64| Put::bytes("key", noise(polls, size));
    for polls in 1..40 {
        let put = working.try_put(value(polls));
        let finished = polled_at_most(usize::try_from(polls).unwrap(), put)
            .await
            .map(Result::unwrap)
            .is_some();
        // One that was dropped may be done a moment later, after the next was tried.
        let held = working.value("key").await;
        let whole = held.is_identical(&before)
            || (1..=polls).rev().any(|earlier| held.is_identical(&value(earlier).value));
        assert!(whole, "part of a value after {polls} polls");
        if finished && polls > 2 {
            return;
        }
    }
}
