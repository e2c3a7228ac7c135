//! Refusals that read alike on every driver: conflicts in core's words, the item that an error is
//! about, what says nothing, and administration (E1, E4, G3, G4).

use memquill_core::{
    Append, Delete, EmbeddingSpace, ErrorKind, Feature, Message, NewRecord, PageRequest, Put,
    PutCondition, PutMany, Rebind, Role, StoreRecords, VectorSearch, conflict as words,
};

use super::traces::{record, records, space};
use crate::scenario::{Family, Test, scenarios};
use crate::support::{Conversation, Working, batch, conflict, increment, refused};

scenarios! {
    facet: None, family: Family::Example;
    e4: conflicts_have_the_words_of_core;
    e4: administration_is_checked;
    g4: an_error_in_a_batch_names_the_item;
    g3: a_record_or_message_that_says_nothing_is_refused;
}

async fn conflicts_have_the_words_of_core(test: Test) {
    let mut pairs = Vec::new();
    if test.has(Feature::SafeRetry) {
        let conversation = Conversation::new(&test);
        conversation.append(vec![Message::user("x").with_id("1")]).await;
        let taken = Message::user("y").with_id("1");
        for others in [vec![], vec![Message::user("z").with_id("2")]] {
            let batch = [vec![taken.clone()], others].concat();
            let error = conflict(conversation.try_append(batch).await);
            pairs.push((error, words::message_id_taken("1")));
        }
        let partly = vec![Message::user("x").with_id("1"), Message::user("z")];
        let error = conflict(conversation.try_append(partly).await);
        pairs.push((error, words::batch_partly_known(1, 2)));
    }
    if test.has(Feature::Conditions) {
        let working = Working::new(&test);
        let version = working.put("k", 1).await.version;
        let error = conflict(working.put_if(PutCondition::IfAbsent, "k", 2).await);
        pairs.push((error, words::stale_version("k", Some(version))));
        let if_other = PutCondition::IfVersion(version + 1);
        let error = conflict(working.put_if(if_other, "k", 2).await);
        pairs.push((error, words::stale_version("k", Some(version))));
        let many = PutMany { entries: vec![Put::new("none", 1).with_condition(if_other)] };
        let error = conflict(working.store().put_many(working.scope(), &many).await);
        pairs.push((error, words::stale_version("none", None)));
        let delete = Delete { if_version: Some(version + 1), ..Delete::new("k") };
        let error = conflict(working.store().delete(working.scope(), &delete).await);
        pairs.push((error, words::stale_version("k", Some(version))));
    }
    if test.has(Feature::Counters) {
        let working = Working::new(&test);
        working.put("text", "text").await;
        working.put("most", i64::MAX).await;
        working.put("past", u64::MAX).await;
        let [text, most, past] = ["text", "most", "past"].map(|key| increment(key, 1, None));
        for (request, expected) in [
            (&text, words::not_an_integer(&text)),
            (&most, words::counter_overflow(&most)),
            (&past, words::not_an_integer(&past)),
        ] {
            let answer = working.store().increment(working.scope(), request).await;
            pairs.push((conflict(answer), expected));
        }
    }
    if let Ok(vectors) = test.backend().vectors() {
        let scope = test.scope();
        vectors.store(&scope, &records(vec![record("r", "one")])).await.unwrap();
        let other = EmbeddingSpace::new("other", 2);
        let search = VectorSearch::new("n", other.clone(), vec![0.6, 0.8], 1);
        let error = conflict(vectors.search(&scope, &search).await);
        pairs.push((error, words::other_space("n", &space(), &other)));
        let request = StoreRecords { space: other.clone(), ..records(vec![record("s", "two")]) };
        let error = conflict(vectors.store(&scope, &request).await);
        pairs.push((error, words::other_space("n", &space(), &other)));
        if test.has(Feature::Rebinding) {
            let elsewhere = StoreRecords { namespace: "m".into(), ..request };
            vectors.store(&scope, &elsewhere).await.unwrap();
            let rebind = Rebind { namespace: "n".into(), from: "m".into() };
            let error = conflict(vectors.rebind(&scope, &rebind).await);
            pairs.push((error, words::counterparts_missing(&rebind, 1)));
            let missing = Rebind { namespace: "n".into(), from: "none".into() };
            let answer = vectors.rebind(&scope, &missing).await;
            pairs.push((refused(answer, ErrorKind::NotFound), words::no_namespace("none")));
        }
    }
    for (error, expected) in pairs {
        assert_eq!(error.message(), expected.message());
        assert_eq!(error.hint(), expected.hint(), "{error}");
        assert_eq!(error.current_version(), expected.current_version(), "{error}");
    }
}

async fn administration_is_checked(test: Test) {
    let admin = test.admin().await;
    for limit in [0, 10_001, usize::MAX] {
        let error = refused(admin.users(&PageRequest::first(limit)).await, ErrorKind::InvalidInput);
        assert_eq!(error.operation(), Some("list_users"), "limit {limit}");
        assert_eq!(error.backend(), Some(test.backend().name()), "limit {limit}");
    }
}

async fn an_error_in_a_batch_names_the_item(test: Test) {
    let scope = test.scope();
    let mut named = Vec::new();
    if let Ok(store) = test.backend().conversations() {
        let mut messages = batch("fine", 5);
        messages[2].content = Some("NUL \0".into());
        let append = Append::new("c", messages);
        named.push((store.append(&scope, &append).await.map(drop), "message 3 of 5: the content"));
    }
    if let Ok(store) = test.backend().vectors() {
        let mut batch = vec![record("a", "fine"), record("b", "fine")];
        batch[1].embedding = vec![f32::NAN, 1.0];
        let answer = store.store(&scope, &records(batch)).await.map(drop);
        named.push((answer, "record 2 of 2: number 1 of the embedding"));
        let mut batch = vec![record("a", "fine"), record("b", "fine")];
        batch[0].metadata.insert("tags".into(), serde_json::json!(["fine", "NUL \0"]));
        let answer = store.store(&scope, &records(batch)).await.map(drop);
        named.push((answer, "record 1 of 2: metadata at .tags[1]"));
    }
    if let Ok(store) = test.backend().working() {
        let entries = vec![Put::new("a", 1), Put::new("b\n", 1), Put::new("c", 1)];
        let answer = store.put_many(&scope, &PutMany { entries }).await.map(drop);
        named.push((answer, "entry 2 of 3: the key"));
        let entries = vec![Put::new("a", 1), Put::new("b", 1), Put::new("a", 2)];
        let answer = store.put_many(&scope, &PutMany { entries }).await.map(drop);
        named.push((answer, "entries 1 and 3 of 3 have the same key \"a\""));
    }
    for (answer, place) in named {
        let error = refused(answer, ErrorKind::InvalidInput);
        assert!(error.message().starts_with(place), "{place:?} begins {error}");
    }
}

async fn a_record_or_message_that_says_nothing_is_refused(test: Test) {
    let scope = test.scope();
    if let Ok(store) = test.backend().conversations() {
        let null = Message { content: None, ..Message::user("") };
        for silent in [Message::user(""), Message::assistant(""), Message::system(""), null] {
            let answer = store.append(&scope, &Append::new("c", vec![silent])).await;
            refused(answer, ErrorKind::InvalidInput);
        }
        let called = serde_json::json!({"id": "1"});
        let calling = Message { content: None, tool_calls: vec![called], ..Message::assistant("") };
        let found_nothing = Message::new(Role::Tool, "");
        store.append(&scope, &Append::new("c", vec![calling, found_nothing])).await.unwrap();
    }
    if let Ok(store) = test.backend().vectors() {
        for silent in ["", " ", "\n\t"] {
            let silent = NewRecord::new(silent, vec![0.6, 0.8]);
            let answer = store.store(&scope, &records(vec![silent])).await;
            refused(answer, ErrorKind::InvalidInput);
        }
    }
}
