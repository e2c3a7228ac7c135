//! Errors (section E), as far as they can be seen from outside.

use std::error::Error as _;
use std::time::{Duration, Instant};

use memquill_core::{
    Append, Backend, CountRecords, Delete, Error, ErrorKind, Feature, Get, GetMany, GetRecords,
    HealthStatus, Lineage, ListConversations, ListEntries, Message, PageRequest, Pop, Put,
    PutCondition, ReadMessages, Rebind, RestoreEntries, RestoreMessages, RestoreRecords, Result,
    RetryHint, Scope, TextSearch, Truncate, VectorSearch, operation as op,
};

use super::general::{plant, reads};
use crate::scenario::{Family, Test, scenarios};
use crate::support::{Conversation, Working, batch, conflict, increment, refused};

scenarios! {
    facet: None, family: Family::Example;
    e1: a_refusal_says_where_it_happened_and_what_to_do;
    e1: a_conflict_says_where_it_happened_and_is_permanent;
    e4: the_same_request_is_refused_in_the_same_words;
    e4: a_refused_request_changes_nothing;
    e2: wrong_credentials_are_denied_for_good;
    e3: a_secret_reaches_no_error;
    e2: a_store_out_of_reach_is_unavailable_and_may_be_retried;
    e5: a_lost_store_is_an_error_and_never_an_empty_answer;
    e5: a_handle_works_again_when_its_store_is_back;
}

/// Illegal requests, one for each operation that the backend offers without a special feature.
async fn illegal_requests(backend: &Backend, scope: &Scope) -> Vec<(&'static str, Result<()>)> {
    let page = PageRequest::first(0);
    let mut answers = vec![
        (op::ERASE, backend.control().erase("").await.map(drop)),
        (op::LIST_SCOPES, backend.control().scopes("u", &page).await.map(drop)),
    ];
    if let Ok(store) = backend.conversations() {
        let append = Append::new("c", vec![]);
        let read = ReadMessages::newest("c", 0);
        answers.extend([
            (op::APPEND, store.append(scope, &append).await.map(drop)),
            (op::READ_MESSAGES, store.read(scope, &read).await.map(drop)),
            (op::CLEAR_CONVERSATION, store.clear(scope, "\n").await.map(drop)),
            (op::TRUNCATE, store.truncate(scope, &Truncate::new("", 0)).await.map(drop)),
            (op::POP, store.pop(scope, &Pop::new("c", 0)).await.map(drop)),
            (op::DELETE_CONVERSATION, store.delete(scope, "\n").await.map(drop)),
            (op::CONVERSATION_STATISTICS, store.statistics(scope, "").await.map(drop)),
            (
                op::LIST_CONVERSATIONS,
                store.list(scope, &ListConversations::by_name(page.clone())).await.map(drop),
            ),
        ]);
    }
    if let Ok(store) = backend.conversations()
        && backend.capabilities().has(Feature::Restoring)
    {
        let restore = RestoreMessages {
            conversation: "c".into(),
            messages: vec![],
            last_seq: 0,
            lineage: Lineage::default(),
        };
        answers.push((op::RESTORE_MESSAGES, store.restore(scope, &restore).await.map(drop)));
    }
    if let Ok(store) = backend.vectors() {
        let get = GetRecords { namespace: String::new(), ids: vec![], with_embeddings: false };
        let count = CountRecords { namespace: "\0".into(), filter: None };
        let space = memquill_core::EmbeddingSpace::new("m", 2);
        let search = VectorSearch::new("n", space, vec![0.0, 0.0], 1);
        answers.extend([
            (op::GET_RECORDS, store.get(scope, &get).await.map(drop)),
            (op::COUNT_RECORDS, store.count(scope, &count).await.map(drop)),
            (op::SEARCH, store.search(scope, &search).await.map(drop)),
            (op::LIST_NAMESPACES, store.namespaces(scope, &page).await.map(drop)),
        ]);
        if backend.capabilities().has(Feature::Restoring) {
            let space = memquill_core::EmbeddingSpace::new("", 2);
            let restore =
                RestoreRecords { namespace: "n".into(), space, records: vec![], overwrite: false };
            answers.push((op::RESTORE_RECORDS, store.restore(scope, &restore).await.map(drop)));
        }
        if backend.capabilities().has(Feature::Rebinding) {
            let rebind = Rebind { namespace: "n".into(), from: "n".into() };
            answers.push((op::REBIND, store.rebind(scope, &rebind).await.map(drop)));
        }
        if backend.capabilities().has(Feature::TextSearch) {
            let search = TextSearch::new("n", "x", 0);
            answers.push((op::SEARCH_TEXT, store.search_text(scope, &search).await.map(drop)));
        }
    }
    if let Ok(store) = backend.working() {
        let get_many = GetMany { keys: vec![], extend: None };
        let list = ListEntries { prefix: "\0".into(), page: PageRequest::default() };
        answers.extend([
            (op::PUT, store.put(scope, &Put::new("", 1)).await.map(drop)),
            (op::GET, store.get(scope, &Get::new("\t")).await.map(drop)),
            (op::GET_MANY, store.get_many(scope, &get_many).await.map(drop)),
            (op::DELETE, store.delete(scope, &Delete::new("")).await.map(drop)),
            (op::LIST_ENTRIES, store.list(scope, &list).await.map(drop)),
        ]);
        if backend.capabilities().has(Feature::Restoring) {
            let restore = RestoreEntries { entries: vec![], overwrite: false };
            answers.push((op::RESTORE_ENTRIES, store.restore(scope, &restore).await.map(drop)));
        }
        if backend.capabilities().has(Feature::Counters) {
            let answer = store.increment(scope, &increment("", 1, None)).await;
            answers.push((op::INCREMENT, answer.map(drop)));
        }
    }
    answers
}

async fn a_refusal_says_where_it_happened_and_what_to_do(test: Test) {
    for (operation, answer) in illegal_requests(test.backend(), &test.scope()).await {
        let error = refused(answer, ErrorKind::InvalidInput);
        assert_eq!(error.operation(), Some(operation));
        assert_eq!(error.backend(), Some(test.backend().name()), "{operation}");
        assert_eq!((error.retry(), error.maybe_applied()), (RetryHint::Permanent, false));
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
        let shown = error.to_string();
        for part in [error.code(), error.message(), operation, test.backend().name()] {
            assert!(shown.contains(part), "{part:?} in {shown}");
        }
    }
}

async fn a_conflict_says_where_it_happened_and_is_permanent(test: Test) {
    let mut conflicts = Vec::new();
    if test.has(Feature::SafeRetry) {
        let conversation = Conversation::new(&test);
        conversation.append(vec![Message::user("x").with_id("1")]).await;
        let other = vec![Message::user("y").with_id("1")];
        conflicts.push((op::APPEND, conflict(conversation.try_append(other).await)));
    }
    if test.has(Feature::Conditions) {
        let working = Working::new(&test);
        working.put("k", 1).await;
        let answer = working.put_if(PutCondition::IfAbsent, "k", 2).await;
        conflicts.push((op::PUT, conflict(answer)));
    }
    if test.has(Feature::Counters) {
        let working = Working::new(&test);
        working.put("k", "text").await;
        conflicts.push((op::INCREMENT, conflict(working.try_increment("k", 1).await)));
    }
    for (operation, error) in conflicts {
        assert_eq!(error.operation(), Some(operation));
        assert_eq!(error.backend(), Some(test.backend().name()), "{operation}");
        assert_eq!((error.retry(), error.maybe_applied()), (RetryHint::Permanent, false));
        assert!(!error.message().is_empty());
    }
}

async fn the_same_request_is_refused_in_the_same_words(test: Test) {
    let there = test.connect().await;
    let scope = test.scope();
    let first = illegal_requests(test.backend(), &scope).await;
    let second = illegal_requests(test.backend(), &scope).await;
    let elsewhere = illegal_requests(&there, &test.scope()).await;
    let words = |answers: Vec<(&str, Result<()>)>| -> Vec<String> {
        answers.into_iter().map(|(_, answer)| answer.unwrap_err().to_string()).collect()
    };
    let first = words(first);
    assert_eq!(first, words(second));
    assert_eq!(first, words(elsewhere));
}

async fn a_refused_request_changes_nothing(test: Test) {
    let scope = test.scope();
    illegal_requests(test.backend(), &scope).await;
    if test.backend().conversations().is_ok() {
        let conversation = Conversation::at(test.backend(), &scope, "c");
        conversation.append(batch("x", 1)).await;
        let before = conversation.state().await;
        let illegal = vec![Message::user("legal"), Message::user("\0")];
        refused(conversation.try_append(illegal).await, ErrorKind::InvalidInput);
        assert_eq!(conversation.state().await, before);
    }
    if test.backend().working().is_ok() {
        let working = Working::at(test.backend(), &scope);
        working.put("k", 1).await;
        let before = working.get("k").await;
        refused(working.try_put(Put::new("k", "\0")).await, ErrorKind::InvalidInput);
        assert_eq!(working.get("k").await, before);
    }
}

const SECRET: &str = "CANARY-s3cr3t";

async fn wrong_credentials_are_denied_for_good(test: Test) {
    let Some(error) = test.store().connect_with_wrong_credentials(SECRET).await else {
        test.not_tried("the harness has no credentials to get wrong")
    };
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert_eq!((error.retry(), error.maybe_applied()), (RetryHint::Permanent, false));
    assert!(error.hint().is_some(), "{error}");
}

async fn a_secret_reaches_no_error(test: Test) {
    let Some(error) = test.store().connect_with_wrong_credentials(SECRET).await else {
        test.not_tried("the harness has no credentials to get wrong")
    };
    let mut printed = vec![format!("{error} {error:?} {error:#?}")];
    let mut source = error.source();
    while let Some(cause) = source {
        printed.push(format!("{cause} {cause:?}"));
        source = cause.source();
    }
    assert!(!printed.iter().any(|text| text.contains(SECRET)), "the secret is printed");
}

async fn a_store_out_of_reach_is_unavailable_and_may_be_retried(test: Test) {
    let Some(faults) = test.store().faults() else {
        test.not_tried("the harness has no means to cut the store off")
    };
    let scope = test.scope();
    faults.cut().await;
    let mut errors: Vec<Error> =
        reads(test.backend(), &scope).await.into_iter().filter_map(Result::err).collect();
    errors.extend(test.store().connect().await.err());
    let health = test.backend().control().health(Duration::from_secs(5)).await;
    faults.repair().await;
    assert_eq!(errors.len(), test.backend().facets().len() + 1);
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.is_transient(), "{error:?}");
    }
    assert_eq!(health.status, HealthStatus::Unreachable, "{health:?}");
    assert!(!health.missing.is_empty(), "it says what to do: {health:?}");
}

async fn a_lost_store_is_an_error_and_never_an_empty_answer(test: Test) {
    let Some(faults) = test.store().faults() else {
        test.not_tried("the harness has no means to cut the store off")
    };
    let scope = test.scope();
    plant(test.backend(), &scope, "alpha").await;
    faults.cut().await;
    let answers = reads(test.backend(), &scope).await;
    faults.repair().await;
    for answer in answers {
        assert!(answer.is_err(), "answered without a store");
    }
}

async fn a_handle_works_again_when_its_store_is_back(test: Test) {
    let Some(faults) = test.store().faults() else {
        test.not_tried("the harness has no means to cut the store off")
    };
    let scope = test.scope();
    plant(test.backend(), &scope, "alpha").await;
    faults.cut().await;
    reads(test.backend(), &scope).await;
    faults.repair().await;
    let start = Instant::now();
    loop {
        let answers = reads(test.backend(), &scope).await;
        let failed = answers.iter().find_map(|answer| answer.as_ref().err());
        match failed {
            None => {
                let found: Vec<bool> = answers.into_iter().map(Result::unwrap).collect();
                assert!(found.iter().all(|found| *found), "acknowledged and gone: {found:?}");
                return;
            }
            Some(error) => assert!(
                error.is_transient() && start.elapsed() < Duration::from_secs(30),
                "{error:?}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
