//! Erasure of a user (G12).

use memquill_core::{
    Append, DeleteRecords, EmbeddingSpace, ErasureReceipt, Feature, ListConversations, NewRecord,
    PageRequest, Put, Scope, Selection, StoreRecords,
};

use super::traces::{look, plant, record, records};
use crate::scenario::{Family, Test, scenarios};
use crate::support::{
    AFTER_SHORT, Conversation, LONG, SHORT, batch, batch_with_ids, numbers, together,
};

scenarios! {
    facet: None, family: Family::Example;
    g12: an_erasure_counts_what_it_removes_in_every_facet;
    g12: a_second_erasure_finds_nothing;
    g12: an_erased_user_has_nothing_left_anywhere;
    g12: an_erasure_leaves_every_other_user_alone;
    g12: an_erased_conversation_starts_over;
    g12: an_erased_namespace_is_unbound;
    g12: what_had_gone_before_is_not_counted;
    g12: an_erasure_under_writers_leaves_nothing_half;
}

const NOTHING: ErasureReceipt = ErasureReceipt { messages: 0, records: 0, entries: 0 };

async fn erase(test: &Test, user: &str) -> ErasureReceipt {
    test.backend().control().erase(user).await.unwrap()
}

/// Gives a user something at two nodes, and what its erasure must count.
async fn settle(test: &Test, user: &str) -> ErasureReceipt {
    let mut expected = NOTHING;
    for (node, count) in [("one", 2), ("two", 3)] {
        let scope = Scope::new(user, node).unwrap();
        let many = u64::try_from(count).unwrap();
        if let Ok(conversations) = test.backend().conversations() {
            for conversation in ["c", "d"] {
                let append = Append::new(conversation, batch("x", count));
                conversations.append(&scope, &append).await.unwrap();
                expected.messages += many;
            }
        }
        if let Ok(vectors) = test.backend().vectors() {
            for namespace in ["n", "m"] {
                let stored = (0..count).map(|n| record(&n.to_string(), "alpha")).collect();
                let request = StoreRecords { namespace: namespace.into(), ..records(stored) };
                vectors.store(&scope, &request).await.unwrap();
                expected.records += many;
            }
        }
        if let Ok(working) = test.backend().working() {
            for n in 0..count {
                working.put(&scope, &Put::new(n.to_string(), 1)).await.unwrap();
                let put = Put::new(format!("{n} expires"), 1).with_ttl(LONG);
                working.put(&scope, &put).await.unwrap();
                expected.entries += 2;
            }
        }
    }
    expected
}

async fn an_erasure_counts_what_it_removes_in_every_facet(test: Test) {
    let user = test.user();
    let expected = settle(&test, &user).await;
    assert_ne!(expected, NOTHING);
    assert_eq!(erase(&test, &user).await, expected);
}

async fn a_second_erasure_finds_nothing(test: Test) {
    let user = test.user();
    assert_eq!(erase(&test, &user).await, NOTHING, "a user who never was");
    settle(&test, &user).await;
    erase(&test, &user).await;
    assert_eq!(erase(&test, &user).await, NOTHING);
}

async fn an_erased_user_has_nothing_left_anywhere(test: Test) {
    let user = test.user();
    let there = test.connect().await;
    settle(&test, &user).await;
    erase(&test, &user).await;
    let scopes = there.control().scopes(&user, &PageRequest::default()).await.unwrap();
    assert_eq!((scopes.items, scopes.next), (vec![], None));
    for node in ["one", "two"] {
        let scope = Scope::new(&user, node).unwrap();
        assert_eq!(look(test.backend(), &scope, "alpha").await, [""; 0]);
        assert_eq!(look(&there, &scope, "alpha").await, [""; 0]);
        if let Ok(conversations) = there.conversations() {
            let listed = conversations.list(&scope, &ListConversations::default()).await.unwrap();
            assert_eq!(listed.items, []);
            let statistics = conversations.statistics(&scope, "c").await.unwrap();
            assert_eq!(statistics.last_seq, 0, "{statistics:?}");
        }
    }
}

async fn an_erasure_leaves_every_other_user_alone(test: Test) {
    let (user, node) = (format!("{}Ann", test.user()), test.user());
    let others = [
        format!("{user}a"),
        user[..user.len() - 1].to_owned(),
        user.to_lowercase(),
        user.to_uppercase(),
        format!("{user} "),
        format!("{user}%"),
        format!("{user}*"),
        format!("{user}:{node}"),
        format!("{user}\u{301}"),
        node.clone(),
    ];
    plant(test.backend(), &Scope::new(&user, &node).unwrap(), "alpha").await;
    let mut seen = Vec::new();
    for other in &others {
        let scope = Scope::new(other, &user).unwrap();
        plant(test.backend(), &scope, "alpha").await;
        seen.push(look(test.backend(), &scope, "alpha").await);
    }
    assert_ne!(erase(&test, &user).await, NOTHING);
    assert_eq!(erase(&test, &format!("{}%", &user[..user.len() - 3])).await, NOTHING);
    for (other, seen) in others.iter().zip(seen) {
        let scope = Scope::new(other, &user).unwrap();
        assert_eq!(look(test.backend(), &scope, "alpha").await, seen, "{other:?}");
        erase(&test, other).await;
    }
}

async fn an_erased_conversation_starts_over(test: Test) {
    if test.backend().conversations().is_err() {
        return;
    }
    let conversation = Conversation::new(&test);
    let messages = if test.has(Feature::SafeRetry) { batch_with_ids } else { batch };
    conversation.append(messages("x", 5)).await;
    erase(&test, conversation.scope().user()).await;
    assert_eq!(conversation.state().await, Default::default());
    let again = conversation.append(messages("x", 3)).await;
    assert_eq!((numbers(&again), again.replayed), (vec![1, 2, 3], false));
}

async fn an_erased_namespace_is_unbound(test: Test) {
    let Ok(vectors) = test.backend().vectors() else { return };
    let scope = test.scope();
    vectors.store(&scope, &records(vec![record("r", "alpha")])).await.unwrap();
    erase(&test, scope.user()).await;
    let namespaces = vectors.namespaces(&scope, &PageRequest::default()).await.unwrap();
    assert_eq!(namespaces.items, []);
    let other_space = StoreRecords {
        namespace: "n".into(),
        space: EmbeddingSpace::new("another", 3),
        records: vec![NewRecord::new("alpha", vec![1.0, 0.0, 0.0])],
    };
    vectors.store(&scope, &other_space).await.unwrap();
}

async fn what_had_gone_before_is_not_counted(test: Test) {
    let scope = test.scope();
    if test.backend().conversations().is_ok() {
        let conversation = Conversation::at(test.backend(), &scope, "c");
        conversation.append(batch("x", 3)).await;
        conversation.clear().await;
    }
    if let Ok(vectors) = test.backend().vectors() {
        vectors.store(&scope, &records(vec![record("r", "alpha")])).await.unwrap();
        let which = Selection::Ids(vec!["r".into()]);
        let request = DeleteRecords { namespace: "n".into(), which };
        vectors.delete(&scope, &request).await.unwrap();
        if test.has(Feature::RecordExpiry) {
            let expiring = NewRecord { ttl: Some(SHORT), ..record("s", "beta") };
            vectors.store(&scope, &records(vec![expiring])).await.unwrap();
        }
    }
    if let Ok(working) = test.backend().working() {
        working.put(&scope, &Put::new("k", 1).with_ttl(SHORT)).await.unwrap();
    }
    test.pass(AFTER_SHORT).await;
    assert_eq!(erase(&test, scope.user()).await, NOTHING);
}

async fn an_erasure_under_writers_leaves_nothing_half(test: Test) {
    if test.backend().conversations().is_err() {
        return;
    }
    let conversation = Conversation::new(&test);
    let mut tasks = Vec::new();
    for task in 0..4 {
        let connection = test.connect().await;
        let conversation = conversation.over(&connection);
        tasks.push(async move {
            let mut erased = 0;
            for round in 0..20 {
                conversation.append(batch("x", 2)).await;
                if (task + round) % 5 == 0 {
                    let user = conversation.scope().user();
                    erased += connection.control().erase(user).await.unwrap().messages;
                }
            }
            erased
        });
    }
    let erased: u64 = together(tasks).await.into_iter().sum();
    let left = conversation.seqs().await;
    assert_eq!(left, (1..=left.len() as u64).collect::<Vec<_>>());
    assert_eq!(erased + left.len() as u64, 4 * 20 * 2);
    assert_eq!(conversation.statistics().await.message_count, left.len() as u64);
}
