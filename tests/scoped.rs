//! What one user has, through the handles that an application uses.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use memquill::layers::{Faults, Layers, Retries};
use memquill::stream::TryStreamExt as _;
use memquill::{
    ConversationOrder, Document, ErrorKind, Facet, Filter, ListConversations, Memory, Message,
    PageRequest, ReadMessages, Retention, Role, ScopedMemory, SearchMode,
};
use memquill_inmemory::InMemory;

async fn alice() -> ScopedMemory {
    Memory::connect("memory:").await.unwrap().scope("alice", "bot").unwrap()
}

/// A memory whose store loses half of all answers, behind many retries.
async fn lossy() -> ScopedMemory {
    let retries = Retries::new(50).with_pause(Duration::ZERO, Duration::ZERO).with_budget(10_000);
    let layers = Layers::new().faults(Faults::new(7).after(0.5)).retry(retries);
    let memory = Memory::builder().store("main", "memory:").layers("main", layers);
    memory.build().await.unwrap().scope("alice", "bot").unwrap()
}

#[tokio::test]
async fn c3_an_append_whose_answer_is_lost_is_repeated_and_stores_nothing_twice() {
    let chat = lossy().await.conversation("c");
    for n in 0..50 {
        let turn = [Message::user(format!("question {n}")), Message::assistant("answer")];
        chat.append(turn).await.unwrap();
    }
    assert_eq!(chat.statistics().await.unwrap().last_seq, 100);
}

#[tokio::test]
async fn c3_whoever_repeats_an_append_gives_the_same_ids() {
    let chat = alice().await.conversation("c");
    let turn = chat.append([Message::user("hello").with_id("mine"), Message::user("again")]);
    assert_eq!(turn.messages()[0].id.as_deref(), Some("mine"));
    assert!(turn.messages()[1].id.is_some());
    let first = (&turn).await.unwrap();
    let again = turn.clone().await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.messages, again.messages);
    // Another append of the same text is another message.
    chat.append([Message::user("again")]).await.unwrap();
    assert_eq!(chat.statistics().await.unwrap().message_count, 3);
}

#[tokio::test]
async fn c3_a_store_that_knows_no_ids_is_given_none() {
    let plain = InMemory::new().backend().map(|mut parts| {
        parts.capabilities.features.remove(&memquill::driver::Feature::SafeRetry);
        parts
    });
    let memory = Memory::builder().backend("main", plain).build().await.unwrap();
    let chat = memory.scope("alice", "bot").unwrap().conversation("c");
    chat.append([Message::user("hello")]).await.unwrap();
    assert_eq!(chat.newest(1).await.unwrap()[0].message.id, None);
}

#[tokio::test]
async fn v1_a_document_that_is_added_twice_is_one() {
    let faq = lossy().await.documents("faq");
    for _ in 0..20 {
        faq.add("Orders arrive within three days.").await.unwrap();
    }
    assert_eq!(faq.count().await.unwrap(), 1);
}

#[tokio::test]
async fn c4_a_conversation_keeps_everything_unless_it_is_told_a_retention() {
    let chat = alice().await.conversation("c");
    let long = "word ".repeat(200);
    chat.append((0..300).map(|_| Message::user(&long))).await.unwrap();
    assert_eq!(chat.statistics().await.unwrap().message_count, 300);
    let kept = chat.clone().with_retention(Retention::messages(5));
    assert_eq!(kept.append([Message::user("last")]).await.unwrap().evicted, 296);
    assert_eq!(chat.trim(Retention::messages(2)).await.unwrap(), 3);
}

#[tokio::test]
async fn c7_windows_and_contexts_show_the_newest_part() {
    let chat = alice().await.conversation("c");
    chat.append([Message::system("Be brief.")]).await.unwrap();
    chat.append((0..40).map(|n| Message::user(format!("m{n}")))).await.unwrap();
    let window = chat.window(3).await.unwrap();
    assert_eq!(
        window.iter().map(|m| m.message.text()).collect::<Vec<_>>(),
        ["Be brief.", "m38", "m39"]
    );
    let context = chat.context(20).await.unwrap();
    assert!(context.context.text.ends_with("User: m39"), "{}", context.context.text);
    assert!(context.context.tokens <= 20);
    let read = chat.read(ReadMessages::default().with_roles([Role::System])).await.unwrap();
    assert_eq!((read.messages.len(), read.total), (1, 41));
}

#[tokio::test]
async fn g11_streams_walk_every_listing_to_its_end() {
    let alice = alice().await;
    for n in 0..250 {
        alice.conversation(format!("c{n:03}")).append([Message::user("x")]).await.unwrap();
        alice.working().set(format!("k{n:03}"), n).await.unwrap();
    }
    let chat = alice.conversation("long");
    chat.append((0..250).map(|n| Message::user(format!("{n}")))).await.unwrap();
    let faq = alice.documents("faq");
    faq.add_all((0..250).map(|n| Document::new(format!("d{n}")).with_metadata([("n", n)])))
        .await
        .unwrap();
    faq.add_all([""; 0].map(Document::from)).await.unwrap_err();
    alice.documents("other").add("x").await.unwrap();

    let names: Vec<String> = alice
        .conversations(ConversationOrder::Name)
        .map_ok(|summary| summary.conversation)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(names.len(), 251);
    assert!(names.is_sorted());
    let active: Vec<_> =
        alice.conversations(ConversationOrder::Activity).try_collect().await.unwrap();
    assert_eq!(active.len(), 251);
    let page = ListConversations::by_activity(PageRequest::first(1));
    let page = alice.list_conversations(&page).await.unwrap();
    assert_eq!(page.items[0], active[0]);

    let history: Vec<u64> = chat.history().map_ok(|m| m.seq).try_collect().await.unwrap();
    assert_eq!(history, (1..=250).rev().collect::<Vec<_>>());
    let entries: Vec<_> = alice.working().entries("k1").try_collect().await.unwrap();
    assert_eq!(entries.len(), 100);
    let all: Vec<_> = faq.all().try_collect().await.unwrap();
    assert_eq!(all.len(), 250);
    let some: Vec<_> = faq.matching(Filter::lt("n", 7)).try_collect().await.unwrap();
    assert_eq!(some.len(), 7);
    let namespaces: Vec<_> = alice.namespaces().try_collect().await.unwrap();
    assert_eq!(namespaces.len(), 2);

    let control = alice.memory().backend(Facet::Working).unwrap().control();
    let scopes: Vec<_> = memquill::stream::scopes(control, "alice").try_collect().await.unwrap();
    assert_eq!(scopes, [alice.scope().clone()]);
}

#[tokio::test]
async fn c13_a_conversation_is_deleted_with_its_name() {
    let alice = alice().await;
    let chat = alice.conversation("c");
    chat.append([Message::user("x")]).await.unwrap();
    assert_eq!(chat.clear().await.unwrap(), 1);
    assert!(chat.delete().await.unwrap());
    assert!(!chat.delete().await.unwrap());
    let left: Vec<_> = alice.conversations(ConversationOrder::Name).try_collect().await.unwrap();
    assert_eq!(left, []);
}

#[tokio::test]
async fn documents_are_searched_read_counted_and_deleted() {
    let faq = alice().await.documents("faq");
    faq.add_all([
        Document::new("Orders arrive within three days.").with_id("a").with_metadata([("page", 1)]),
        Document::new("Returned orders are free.").with_id("b").with_metadata([("page", 2)]),
    ])
    .await
    .unwrap();
    let found = faq.search("orders").filter(Filter::gt("page", 1)).await.unwrap();
    assert_eq!(found.hits().iter().map(|hit| hit.record.id.as_str()).collect::<Vec<_>>(), ["b"]);
    let found = faq.search("arrive").mode(SearchMode::Text).limit(1).await.unwrap();
    assert_eq!(found.hits()[0].record.id, "a");
    let context = faq.search("orders").context(100).await.unwrap();
    assert!(context.context.text.contains("three days"), "{}", context.context.text);
    assert_eq!(faq.get("b").await.unwrap().unwrap().content, "Returned orders are free.");
    assert_eq!(faq.get_many(["b", "none", "a"]).await.unwrap().len(), 2);
    assert_eq!(faq.count_matching(Filter::eq("page", 1)).await.unwrap(), 1);
    assert!(faq.delete("a").await.unwrap());
    assert!(!faq.delete("a").await.unwrap());
    assert_eq!(faq.delete_matching(Filter::exists("page")).await.unwrap(), 1);
    assert_eq!(faq.clear().await.unwrap(), 0);
}

#[tokio::test]
async fn values_live_for_ever_unless_they_are_told_otherwise() {
    let working = alice().await.working();
    working.set("for ever", 1).await.unwrap();
    working.clone().with_ttl(Duration::from_mins(1)).set("a minute", 1).await.unwrap();
    working.set("an hour", 1).with_ttl(Duration::from_hours(1)).await.unwrap();
    let expiry = async |key: &str| working.entry(key).await.unwrap().unwrap().expires_at;
    assert_eq!(expiry("for ever").await, None);
    assert!(expiry("a minute").await < expiry("an hour").await);
    assert_eq!(working.statistics().await.unwrap().expiring, 2);
}

#[tokio::test]
async fn w3_conditions_hold_or_are_a_conflict() {
    let working = alice().await.working();
    let first = working.set("k", "a").if_absent().await.unwrap();
    let error = working.set("k", "b").if_absent().await.unwrap_err();
    assert_eq!((error.kind(), error.current_version()), (ErrorKind::Conflict, Some(first.version)));
    working.set("k", "b").if_version(first.version).await.unwrap();
    working.set("k", "c").if_version(first.version).await.unwrap_err();
    assert_eq!(working.get::<String>("k").await.unwrap().as_deref(), Some("b"));
    assert_eq!(working.get::<String>("none").await.unwrap(), None);
    assert_eq!(working.get::<u8>("k").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(working.delete("k").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn w3_no_update_is_lost_however_many_make_them() {
    let working = alice().await.working();
    let writers = (0..8).map(|_| {
        let working = working.clone();
        tokio::spawn(async move {
            for _ in 0..25 {
                working.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(working.get::<u64>("n").await.unwrap(), Some(200));
}

#[tokio::test]
async fn w3_an_update_that_is_always_overtaken_ends_with_a_conflict() {
    let working = alice().await.working();
    let (mut calls, other) = (0, working.clone());
    let overtaken = working.update("n", |n: Option<u64>| {
        calls += 1;
        // Another writer is faster every time.
        futures_util::FutureExt::now_or_never(std::future::IntoFuture::into_future(
            other.set("n", calls),
        ))
        .unwrap()
        .unwrap();
        n.unwrap_or(0)
    });
    assert_eq!(overtaken.await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(calls, 32);
}

#[tokio::test]
async fn w6_a_counter_counts() {
    let working = alice().await.working();
    assert_eq!(working.increment("n", 5).await.unwrap(), 5);
    assert_eq!(working.increment("n", -7).await.unwrap(), -2);
}

#[tokio::test]
async fn what_is_wrong_with_a_handle_is_an_error_of_its_methods() {
    let conversations = InMemory::new().backend().map(|mut parts| {
        parts.vectors = None;
        parts
    });
    let memory = Memory::builder().backend("main", conversations).build().await.unwrap();
    assert_eq!(memory.scope("", "bot").unwrap_err().kind(), ErrorKind::InvalidInput);
    let alice = memory.scope("alice", "bot").unwrap();
    let error = alice.conversation("").append([Message::user("x")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = alice.documents("faq").add("x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let error = alice.documents("faq").all().try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn answers_and_errors_have_a_serde_form() {
    let alice = alice().await;
    let chat = alice.conversation("c");
    chat.append([Message::user("hello").with_id("m")]).await.unwrap();
    let stored = chat.newest(1).await.unwrap().remove(0);
    let json = serde_json::to_value(&stored).unwrap();
    assert_eq!(json, stored.to_json());
    assert_eq!(serde_json::from_value::<memquill::StoredMessage>(json).unwrap(), stored);
    let read: ReadMessages = serde_json::from_str(r#"{"limit": 1, "roles": ["user"]}"#).unwrap();
    assert_eq!(chat.read(read).await.unwrap().messages, [stored]);
    let error = alice.working().set("", 1).await.unwrap_err();
    assert_eq!(serde_json::to_value(&error).unwrap()["code"], "invalid_input");
}

#[tokio::test]
async fn c14_an_answer_is_taken_back_and_given_anew() {
    let chat = alice().await.conversation("c");
    chat.append([Message::user("Why?"), Message::assistant("No idea.")]).await.unwrap();
    let taken_back = chat.pop(1).await.unwrap();
    assert_eq!(taken_back[0].message.text(), "No idea.");
    chat.append([Message::assistant("Because.")]).await.unwrap();
    let read = chat.read(ReadMessages::default()).await.unwrap().messages;
    let texts: Vec<_> = read.iter().map(|m| (m.seq, m.message.text())).collect();
    assert_eq!(texts, [(1, "Why?"), (3, "Because.")]);
    assert_eq!(chat.truncate(1).await.unwrap(), 1);
    assert_eq!(chat.statistics().await.unwrap().lineage.revision, 2);
}
