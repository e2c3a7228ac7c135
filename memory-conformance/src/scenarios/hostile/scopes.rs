//! Hostile users and nodes, in whatever facets there are.

use std::collections::BTreeSet;

use memquill_core::{
    Append, CountRecords, EmbeddingSpace, Get, ListConversations, Message, NewRecord, PageRequest,
    Put, ReadMessages, Scope, StoreRecords,
};

use super::{colliding_scopes, hostile_user, strings};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: None, family: Family::Hostile;
    g1: scopes_that_look_alike_stay_apart;
    g1: hostile_users_and_nodes_are_literal;
    g12: erasing_a_user_leaves_those_who_look_alike;
    g12: scopes_are_listed_literally;
    g2: control_characters_make_no_scope;
}

/// Writes something of its own under the scope, in every facet there is.
async fn mark(test: &Test, scope: &Scope) {
    let mark = format!("{scope:?}");
    if let Ok(conversations) = test.backend().conversations() {
        let append = Append::new("c", vec![Message::user(mark.clone())]);
        conversations.append(scope, &append).await.unwrap();
    }
    if let Ok(working) = test.backend().working() {
        working.put(scope, &Put::new("k", mark.clone())).await.unwrap();
    }
    if let Ok(vectors) = test.backend().vectors() {
        let request = StoreRecords {
            namespace: "n".into(),
            space: EmbeddingSpace::new("model", 2),
            records: vec![NewRecord::new(mark, vec![1.0, 0.0])],
        };
        vectors.store(scope, &request).await.unwrap();
    }
}

/// What every facet shows under the scope, as the number of items, after a check that each is the
/// scope's own.
async fn marks(test: &Test, scope: &Scope) -> Vec<u64> {
    let mark = format!("{scope:?}");
    let mut counts = Vec::new();
    if let Ok(conversations) = test.backend().conversations() {
        let read = conversations.read(scope, &ReadMessages::all("c")).await.unwrap();
        assert!(read.messages.iter().all(|message| message.message.text() == mark), "{read:?}");
        counts.push(read.messages.len() as u64);
        let listed = conversations
            .list(scope, &ListConversations::by_name(PageRequest::first(100)))
            .await
            .unwrap();
        assert_eq!(listed.items.len(), read.messages.len());
    }
    if let Ok(working) = test.backend().working() {
        let entry = working.get(scope, &Get::new("k")).await.unwrap();
        assert!(entry.iter().all(|entry| entry.value == mark.as_str()), "{entry:?}");
        let statistics = working.statistics(scope).await.unwrap();
        assert_eq!(statistics.entries, u64::from(entry.is_some()));
        counts.push(statistics.entries);
    }
    if let Ok(vectors) = test.backend().vectors() {
        let request = CountRecords { namespace: "n".into(), filter: None };
        counts.push(vectors.count(scope, &request).await.unwrap());
        let listed = vectors.namespaces(scope, &PageRequest::first(100)).await.unwrap();
        assert!(listed.items.len() <= 1, "{listed:?}");
    }
    counts
}

fn all_ones(counts: &[u64]) -> bool {
    counts.iter().all(|count| *count == 1)
}

async fn scopes_that_look_alike_stay_apart(test: Test) {
    let scopes = colliding_scopes(&test);
    for scope in &scopes {
        let before = marks(&test, scope).await;
        assert!(before.iter().all(|count| *count == 0), "{scope:?} sees {before:?} of others");
        mark(&test, scope).await;
    }
    for scope in &scopes {
        let counts = marks(&test, scope).await;
        assert!(all_ones(&counts), "{scope:?}: {counts:?}");
    }
}

async fn hostile_users_and_nodes_are_literal(test: Test) {
    let strings = strings();
    let scopes: Vec<Scope> = strings
        .iter()
        .zip(strings.iter().rev())
        .map(|(user, node)| Scope::new(hostile_user(&test, user), node.clone()).unwrap())
        .collect();
    for scope in &scopes {
        mark(&test, scope).await;
    }
    for scope in &scopes {
        let counts = marks(&test, scope).await;
        assert!(all_ones(&counts), "{scope:?}: {counts:?}");
    }
}

async fn erasing_a_user_leaves_those_who_look_alike(test: Test) {
    let scopes = colliding_scopes(&test);
    for scope in &scopes {
        mark(&test, scope).await;
    }
    let mut users: Vec<&str> = scopes.iter().map(Scope::user).collect();
    users.sort_unstable();
    users.dedup();
    let mut erased: BTreeSet<&str> = BTreeSet::new();
    for user in users.into_iter().step_by(5) {
        let nodes = scopes.iter().filter(|scope| scope.user() == user).count() as u64;
        let receipt = test.backend().control().erase(user).await.unwrap();
        for count in [receipt.messages, receipt.entries, receipt.records] {
            assert!(count == nodes || count == 0, "{user:?}: {receipt:?}, {nodes} scopes");
        }
        erased.insert(user);
    }
    for scope in &scopes {
        let expected = u64::from(!erased.contains(scope.user()));
        let counts = marks(&test, scope).await;
        assert!(counts.iter().all(|count| *count == expected), "{scope:?}: {counts:?}");
    }
}

async fn scopes_are_listed_literally(test: Test) {
    let user = hostile_user(&test, "%'\"\\*:{}🙂");
    let nodes = strings();
    for node in &nodes {
        mark(&test, &Scope::new(user.clone(), node.clone()).unwrap()).await;
    }
    mark(&test, &Scope::new(format!("{user} "), "another's").unwrap()).await;
    let mut listed = Vec::new();
    let mut page = PageRequest::first(17);
    loop {
        let part = test.backend().control().scopes(&user, &page).await.unwrap();
        listed.extend(part.items);
        let Some(next) = part.next else { break };
        page = page.after(next);
    }
    assert!(listed.iter().all(|scope| scope.user() == user), "{listed:?}");
    let mut listed: Vec<String> = listed.into_iter().map(|scope| scope.node().to_owned()).collect();
    let mut nodes = nodes;
    listed.sort_unstable();
    nodes.sort_unstable();
    assert_eq!(listed, nodes);
}

async fn control_characters_make_no_scope(test: Test) {
    for bad in ["\0", "a\0b", "\n", "\r\n", "\t", "\u{1B}[31m", "\u{7F}", "\u{85}", "", "\u{9F}"] {
        assert!(Scope::new(bad, "node").is_err(), "{bad:?}");
        assert!(Scope::new("user", bad).is_err(), "{bad:?}");
        assert!(test.backend().control().erase(bad).await.is_err(), "{bad:?}");
    }
    assert!(Scope::new("x".repeat(256), "node").is_err());
}
