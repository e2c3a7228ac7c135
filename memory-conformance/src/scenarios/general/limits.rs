//! Limits (G4): what is exactly at one is accepted, what is past it is refused.

use std::fmt::Debug;

use memquill_core::json::Object;
use memquill_core::{
    Append, CountRecords, EmbeddingSpace, ErrorKind, FILTER_DEPTH, Feature, Field, Filter, Get,
    GetRecords, Limits, ListConversations, ListEntries, Message, NewRecord, PageRequest, Put,
    ReadMessages, Result, StoreRecords, VectorSearch,
};
use serde_json::{Value, json};

use super::traces::{keep_content, keep_in_message, keep_in_record, record, records};
use crate::scenario::{Family, Test, scenarios};
use crate::support::{batch, object, refused};

scenarios! {
    facet: None, family: Family::Example;
    g4: the_limits_are_those_of_the_contract_or_lower;
    g4: content_to_the_limit_comes_back;
    g4: content_past_the_limit_is_refused;
    g4: content_is_measured_in_bytes_as_it_is;
    g4: metadata_to_the_limit_comes_back_and_past_it_is_refused;
    g4: a_value_to_the_limit_comes_back_and_past_it_is_refused;
    g4: tool_calls_to_the_limit_come_back_and_past_it_are_refused;
    g4: a_batch_to_the_limit_is_stored_and_past_it_refused;
    g4: an_empty_batch_is_refused;
    g4: a_page_to_the_limit_is_given_and_past_it_refused;
    g4: a_limit_of_nothing_is_refused;
    g4: a_filter_to_the_limit_is_evaluated_and_past_it_refused;
    g4: dimensions_to_the_limit_are_stored_and_past_it_refused;
}

fn limits(test: &Test) -> Limits {
    test.backend().capabilities().limits
}

/// Refused as past a limit: the message names the size and the limit.
#[track_caller]
fn past<T: Debug>(result: Result<T>, size: usize, limit: usize) {
    let error = refused(result, ErrorKind::InvalidInput);
    for number in [size, limit] {
        assert!(error.message().contains(&number.to_string()), "{number} in {error}");
    }
    assert!(error.hint().is_some(), "{error}");
}

async fn the_limits_are_those_of_the_contract_or_lower(test: Test) {
    let (ours, contract) = (limits(&test), Limits::CONTRACT);
    for (ours, contract) in [
        (ours.content_bytes, contract.content_bytes),
        (ours.message_bytes, contract.message_bytes),
        (ours.metadata_bytes, contract.metadata_bytes),
        (ours.value_bytes, contract.value_bytes),
        (ours.batch_bytes, contract.batch_bytes),
        (ours.batch_items, contract.batch_items),
        (ours.page_items, contract.page_items),
        (ours.filter_conditions, contract.filter_conditions),
        (ours.dimensions, contract.dimensions),
    ] {
        assert!((1..=contract).contains(&ours), "{ours} instead of at most {contract}");
    }
}

async fn content_to_the_limit_comes_back(test: Test) {
    let limit = limits(&test).content_bytes;
    for filler in ["a", "\u{1}", "中"] {
        let text = filler.repeat(limit / filler.len());
        for (place, back) in keep_content(test.backend(), &test.scope(), &text).await {
            assert!(back.unwrap() == text, "{filler:?} came back otherwise as {place}");
        }
    }
}

async fn content_past_the_limit_is_refused(test: Test) {
    let scope = test.scope();
    if let Ok(vectors) = test.backend().vectors() {
        let limit = limits(&test).content_bytes;
        let text = "a".repeat(limit + 1);
        past(keep_in_record(&**vectors, &scope, &text).await, limit + 1, limit);
    }
    if let Ok(conversations) = test.backend().conversations() {
        let limit = limits(&test).message_bytes;
        let text = "a".repeat(limit);
        assert!(keep_in_message(&**conversations, &scope, &text).await.unwrap() == text);
        let text = "a".repeat(limit + 1);
        past(keep_in_message(&**conversations, &scope, &text).await, limit + 1, limit);
    }
}

async fn content_is_measured_in_bytes_as_it_is(test: Test) {
    let (scope, limits) = (test.scope(), limits(&test));
    let wide = |limit| "😀".repeat(limit / 4 + 1);
    if let Ok(vectors) = test.backend().vectors() {
        let wide = wide(limits.content_bytes);
        let refused = keep_in_record(&**vectors, &scope, &wide).await;
        past(refused, wide.len(), limits.content_bytes);
    }
    if let Ok(conversations) = test.backend().conversations() {
        let wide = wide(limits.message_bytes);
        let refused = keep_in_message(&**conversations, &scope, &wide).await;
        past(refused, wide.len(), limits.message_bytes);
    }
}

async fn metadata_to_the_limit_comes_back_and_past_it_is_refused(test: Test) {
    let limit = limits(&test).metadata_bytes;
    let sized = |bytes: usize| object(json!({"a": "x".repeat(bytes - r#"{"a":""}"#.len())}));
    let (largest, larger) = (sized(limit), sized(limit + 1));
    let scope = test.scope();
    if let Ok(conversations) = test.backend().conversations() {
        let append = |metadata| Append::new("c", vec![Message { metadata, ..Message::user("x") }]);
        conversations.append(&scope, &append(largest.clone())).await.unwrap();
        let read = conversations.read(&scope, &ReadMessages::all("c")).await.unwrap();
        assert_eq!(read.messages[0].message.metadata, largest);
        past(conversations.append(&scope, &append(larger.clone())).await, limit + 1, limit);
    }
    if let Ok(vectors) = test.backend().vectors() {
        let store = |metadata: Object| records(vec![record("r", "x").with_metadata(metadata)]);
        vectors.store(&scope, &store(largest.clone())).await.unwrap();
        past(vectors.store(&scope, &store(larger.clone())).await, limit + 1, limit);
        let get =
            GetRecords { namespace: "n".into(), ids: vec!["r".into()], with_embeddings: false };
        assert_eq!(vectors.get(&scope, &get).await.unwrap()[0].metadata, largest);
    }
    if let Ok(working) = test.backend().working() {
        let put = |metadata| Put { metadata, ..Put::new("k", 1) };
        working.put(&scope, &put(largest.clone())).await.unwrap();
        past(working.put(&scope, &put(larger)).await, limit + 1, limit);
        let entry = working.get(&scope, &Get::new("k")).await.unwrap().unwrap();
        assert_eq!(entry.metadata, largest);
    }
}

async fn a_value_to_the_limit_comes_back_and_past_it_is_refused(test: Test) {
    let Ok(working) = test.backend().working() else { return };
    let (scope, limit) = (test.scope(), limits(&test).value_bytes);
    // A text's JSON has two quotes more.
    let largest = Value::from("x".repeat(limit - 2));
    working.put(&scope, &Put::new("k", largest.clone())).await.unwrap();
    let larger = Put::new("k", "x".repeat(limit - 1));
    past(working.put(&scope, &larger).await, limit + 1, limit);
    let entry = working.get(&scope, &Get::new("k")).await.unwrap().unwrap();
    assert!(entry.value == largest);
    // One byte of text, two of JSON.
    let escaped = Put::new("k", "\n".repeat(limit / 2));
    refused(working.put(&scope, &escaped).await, ErrorKind::InvalidInput);
}

async fn tool_calls_to_the_limit_come_back_and_past_it_are_refused(test: Test) {
    let Ok(conversations) = test.backend().conversations() else { return };
    let (scope, limit) = (test.scope(), limits(&test).message_bytes);
    // The message's text is one byte.
    let sized = |bytes: usize| vec![json!({"a": "x".repeat(bytes - 1 - r#"[{"a":""}]"#.len())})];
    let append =
        |tool_calls| Append::new("c", vec![Message { tool_calls, ..Message::assistant("x") }]);
    conversations.append(&scope, &append(sized(limit))).await.unwrap();
    let read = conversations.read(&scope, &ReadMessages::all("c")).await.unwrap();
    assert!(read.messages[0].message.tool_calls == sized(limit));
    past(conversations.append(&scope, &append(sized(limit + 1))).await, limit + 1, limit);
}

async fn a_batch_to_the_limit_is_stored_and_past_it_refused(test: Test) {
    let (scope, limit) = (test.scope(), limits(&test).batch_items);
    if let Ok(conversations) = test.backend().conversations() {
        let append = |count| Append::new("c", batch("m", count));
        past(conversations.append(&scope, &append(limit + 1)).await, limit + 1, limit);
        let appended = conversations.append(&scope, &append(limit)).await.unwrap();
        assert_eq!((appended.messages.len(), appended.message_count), (limit, limit as u64));
    }
    if let Ok(vectors) = test.backend().vectors() {
        let store = |count| {
            records((0..count).map(|n| record(&n.to_string(), &format!("text {n}"))).collect())
        };
        past(vectors.store(&scope, &store(limit + 1)).await, limit + 1, limit);
        let stored = vectors.store(&scope, &store(limit)).await.unwrap();
        assert_eq!(stored.len(), limit);
        let ids = |count: usize| (0..count).map(|n| n.to_string()).collect();
        let get = |ids| GetRecords { namespace: "n".into(), ids, with_embeddings: false };
        past(vectors.get(&scope, &get(ids(limit + 1))).await, limit + 1, limit);
        assert_eq!(vectors.get(&scope, &get(ids(limit))).await.unwrap().len(), limit);
    }
}

async fn an_empty_batch_is_refused(test: Test) {
    let scope = test.scope();
    if let Ok(conversations) = test.backend().conversations() {
        let append = Append::new("c", vec![]);
        refused(conversations.append(&scope, &append).await, ErrorKind::InvalidInput);
    }
    if let Ok(vectors) = test.backend().vectors() {
        refused(vectors.store(&scope, &records(vec![])).await, ErrorKind::InvalidInput);
    }
    if let Ok(working) = test.backend().working() {
        let request = memquill_core::PutMany { entries: vec![] };
        refused(working.put_many(&scope, &request).await, ErrorKind::InvalidInput);
        let request = memquill_core::GetMany { keys: vec![], extend: None };
        refused(working.get_many(&scope, &request).await, ErrorKind::InvalidInput);
    }
}

/// Asks every operation that has a limit for `limit` items.
async fn ask_for(test: &Test, limit: usize) -> Vec<Result<()>> {
    let (scope, backend) = (test.scope(), test.backend());
    let page = PageRequest::first(limit);
    let mut answers = Vec::new();
    if let Ok(conversations) = backend.conversations() {
        let newest = ReadMessages::newest("c", limit);
        answers.push(conversations.read(&scope, &newest).await.map(drop));
        let list = ListConversations::by_name(page.clone());
        answers.push(conversations.list(&scope, &list).await.map(drop));
    }
    if let Ok(vectors) = backend.vectors() {
        let search = VectorSearch::new("n", super::traces::space(), vec![1.0, 0.0], limit);
        answers.push(vectors.search(&scope, &search).await.map(drop));
        answers.push(vectors.namespaces(&scope, &page).await.map(drop));
    }
    if let Ok(working) = backend.working() {
        let list = ListEntries { prefix: String::new(), page: page.clone() };
        answers.push(working.list(&scope, &list).await.map(drop));
    }
    answers.push(backend.control().scopes(scope.user(), &page).await.map(drop));
    answers
}

async fn a_page_to_the_limit_is_given_and_past_it_refused(test: Test) {
    let limit = limits(&test).page_items;
    for answer in ask_for(&test, limit).await {
        answer.unwrap();
    }
    for answer in ask_for(&test, limit + 1).await {
        past(answer, limit + 1, limit);
    }
    for answer in ask_for(&test, usize::MAX).await {
        past(answer, usize::MAX, limit);
    }
}

async fn a_limit_of_nothing_is_refused(test: Test) {
    for answer in ask_for(&test, 0).await {
        refused(answer, ErrorKind::InvalidInput);
    }
}

async fn a_filter_to_the_limit_is_evaluated_and_past_it_refused(test: Test) {
    if !test.has(Feature::Filters) {
        return;
    }
    let (scope, vectors) = (test.scope(), test.vectors());
    let stored = record("r", "x").with_metadata(object(json!({"a": 1})));
    vectors.store(&scope, &records(vec![stored])).await.unwrap();
    let count = async |filter: Filter| {
        let request = CountRecords { namespace: "n".into(), filter: Some(filter) };
        vectors.count(&scope, &request).await
    };
    let field = |value: usize| Filter::eq(Field::metadata(["a"]), value);
    // The `or` is a condition too.
    let wide = |conditions: usize| Filter::Or((1..conditions).map(field).collect());
    let limit = limits(&test).filter_conditions;
    assert_eq!(count(wide(limit)).await.unwrap(), 1);
    past(count(wide(limit + 1)).await, limit + 1, limit);
    let deep = |depth| (0..depth).fold(field(1), |inner, _| Filter::Not(Box::new(inner)));
    assert_eq!(count(deep(FILTER_DEPTH)).await.unwrap(), 1);
    refused(count(deep(FILTER_DEPTH + 1)).await, ErrorKind::InvalidInput);
}

async fn dimensions_to_the_limit_are_stored_and_past_it_refused(test: Test) {
    let Ok(vectors) = test.backend().vectors() else { return };
    let (scope, limit) = (test.scope(), limits(&test).dimensions);
    let store = |dimensions: usize| {
        let embedding: Vec<f32> =
            (0..dimensions).map(|n| if n % 2 == 0 { 0.5 } else { -1.5 }).collect();
        StoreRecords {
            namespace: format!("{dimensions}"),
            space: EmbeddingSpace::new("wide", dimensions),
            records: vec![NewRecord::new("x", embedding)],
        }
    };
    for dimensions in [1, limit] {
        let request = store(dimensions);
        vectors.store(&scope, &request).await.unwrap();
        let get = GetRecords {
            namespace: request.namespace,
            ids: vec![request.records[0].identity()],
            with_embeddings: true,
        };
        let found = vectors.get(&scope, &get).await.unwrap().remove(0);
        assert!(found.embedding.as_ref() == Some(&request.records[0].embedding));
    }
    past(vectors.store(&scope, &store(limit + 1)).await, limit + 1, limit);
    refused(vectors.store(&scope, &store(0)).await, ErrorKind::InvalidInput);
}
