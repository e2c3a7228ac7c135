//! Safe retry by the caller's ids (C3).

use std::time::Duration;

use memquill_core::{Facet, Message, Retention, Role};
use serde_json::json;

use crate::scenario::{Family, Test, scenarios};
use crate::support::{Conversation, batch, batch_with_ids, conflict, numbers, object};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Example;
    c3: a_repeated_batch_returns_its_first_numbers_and_changes_nothing [SafeRetry];
    c3: a_replay_keeps_the_first_times [SafeRetry];
    c3: a_retry_over_another_connection_is_a_replay [SafeRetry];
    c3: known_messages_in_another_grouping_are_a_replay [SafeRetry];
    c3: a_replay_applies_no_retention [SafeRetry, Retention];
    c3: a_batch_evicted_by_its_own_append_is_known [SafeRetry, Retention];
    c3: a_trimmed_message_is_known [SafeRetry, Retention];
    c3: a_cleared_message_is_known [SafeRetry];
    c3: an_id_is_known_for_a_thousand_numbers_after_its_message [SafeRetry];
    c3: a_message_is_known_after_eviction_however_old_it_was [SafeRetry, Retention];
    c3: an_id_with_another_body_is_a_conflict [SafeRetry];
    c3: an_id_with_another_body_is_a_conflict_after_clearing_too [SafeRetry];
    c3: bodies_are_compared_to_the_bit [SafeRetry];
    c3: a_partly_known_batch_is_a_conflict [SafeRetry];
    c3: a_message_without_an_id_is_never_known [SafeRetry];
    c3: an_id_is_known_in_its_conversation_alone [SafeRetry];
}

async fn a_repeated_batch_returns_its_first_numbers_and_changes_nothing(test: Test) {
    let conversation = Conversation::new(&test);
    let first = conversation.append(batch_with_ids("a", 3)).await;
    assert!(!first.replayed);
    conversation.append(batch("b", 2)).await;
    let before = conversation.state().await;
    let again = conversation.append(batch_with_ids("a", 3)).await;
    assert!(again.replayed);
    assert_eq!(again.messages, first.messages);
    assert_eq!((again.evicted, again.message_count), (0, 5));
    assert_eq!(again.token_count, before.1.token_count);
    assert_eq!(conversation.state().await, before);
}

async fn a_replay_keeps_the_first_times(test: Test) {
    let conversation = Conversation::new(&test);
    let first = conversation.append(batch_with_ids("a", 2)).await;
    test.pass(Duration::from_millis(20)).await;
    let again = conversation.append(batch_with_ids("a", 2)).await;
    assert_eq!(again.messages, first.messages);
}

async fn a_retry_over_another_connection_is_a_replay(test: Test) {
    let here = Conversation::new(&test);
    let first = here.append(batch_with_ids("a", 3)).await;
    let there = here.over(&test.connect().await);
    let again = there.append(batch_with_ids("a", 3)).await;
    assert_eq!((again.replayed, again.messages), (true, first.messages));
    assert_eq!(here.seqs().await, [1, 2, 3]);
}

async fn known_messages_in_another_grouping_are_a_replay(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch_with_ids("a", 3)).await;
    conversation.append(batch_with_ids("b", 2)).await;
    let [a, b] = [batch_with_ids("a", 3), batch_with_ids("b", 2)];
    let mixed = vec![b[1].clone(), a[2].clone(), a[0].clone()];
    let again = conversation.append(mixed).await;
    assert!(again.replayed);
    assert_eq!(numbers(&again), [5, 3, 1]);
    assert_eq!(conversation.seqs().await, [1, 2, 3, 4, 5]);
}

async fn a_replay_applies_no_retention(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch("old", 4)).await;
    conversation.append(batch_with_ids("a", 1)).await;
    let before = conversation.state().await;
    let again = conversation.append_keeping(batch_with_ids("a", 1), Retention::messages(1)).await;
    assert_eq!((again.replayed, again.evicted, again.message_count), (true, 0, 5));
    assert_eq!(conversation.state().await, before);
}

async fn a_batch_evicted_by_its_own_append_is_known(test: Test) {
    let conversation = Conversation::new(&test);
    let retention = Retention::messages(2);
    let first = conversation.append_keeping(batch_with_ids("a", 5), retention).await;
    assert_eq!((first.evicted, first.message_count), (3, 2));
    let before = conversation.state().await;
    let again = conversation.append_keeping(batch_with_ids("a", 5), retention).await;
    assert_eq!((again.replayed, again.messages), (true, first.messages));
    assert_eq!((again.evicted, again.message_count), (0, 2));
    assert_eq!(conversation.state().await, before);
}

async fn a_trimmed_message_is_known(test: Test) {
    let conversation = Conversation::new(&test);
    let first = conversation.append(batch_with_ids("a", 3)).await;
    assert_eq!(conversation.trim(Retention::messages(1)).await, 2);
    let again = conversation.append(batch_with_ids("a", 3)).await;
    assert_eq!((again.replayed, again.messages), (true, first.messages));
    assert_eq!(conversation.seqs().await, [3]);
}

async fn a_cleared_message_is_known(test: Test) {
    let conversation = Conversation::new(&test);
    let first = conversation.append(batch_with_ids("a", 3)).await;
    conversation.clear().await;
    let again = conversation.append(batch_with_ids("a", 3)).await;
    assert_eq!((again.replayed, again.messages), (true, first.messages));
    assert_eq!((again.message_count, again.token_count), (0, 0));
    assert_eq!(conversation.read().await, []);
}

async fn an_id_is_known_for_a_thousand_numbers_after_its_message(test: Test) {
    let conversation = Conversation::new(&test);
    let first = conversation.append(batch_with_ids("a", 2)).await;
    conversation.clear().await;
    let items = test.backend().capabilities().limits.batch_items.min(500);
    for _ in 0..1_000 / items {
        conversation.append(batch("later", items)).await;
    }
    let before = conversation.statistics().await;
    let again = conversation.append(batch_with_ids("a", 2)).await;
    assert_eq!((again.replayed, again.messages), (true, first.messages));
    assert_eq!(conversation.statistics().await, before);
}

async fn a_message_is_known_after_eviction_however_old_it_was(test: Test) {
    let conversation = Conversation::new(&test);
    let first = conversation.append(batch_with_ids("a", 2)).await;
    let items = test.backend().capabilities().limits.batch_items.min(500);
    for _ in 0..=1_000 / items {
        conversation.append(batch("later", items)).await;
    }
    conversation.append_keeping(batch("last", 1), Retention::messages(1)).await;
    let again = conversation.append(batch_with_ids("a", 2)).await;
    assert_eq!((again.replayed, again.messages), (true, first.messages));
    assert_eq!(conversation.texts().await, ["last 0"]);
}

async fn an_id_with_another_body_is_a_conflict(test: Test) {
    let conversation = Conversation::new(&test);
    let known = Message::assistant("x").with_id("1");
    conversation.append(vec![known.clone()]).await;
    let before = conversation.state().await;
    let others = [
        Message { content: Some("y".into()), ..known.clone() },
        Message { role: Role::User, ..known.clone() },
        Message { name: Some("n".into()), ..known.clone() },
        Message { tool_calls: vec![json!({"id": "call"})], ..known.clone() },
        Message { tool_call_id: Some("call".into()), ..known.clone() },
        Message { metadata: object(json!({"a": null})), ..known.clone() },
        Message { extra: object(json!({"refusal": null})), ..known.clone() },
        // The count that it has without saying so.
        known.clone().with_token_count(known.tokens()),
    ];
    for other in others {
        conflict(conversation.try_append(vec![other]).await);
        assert_eq!(conversation.state().await, before);
    }
    assert!(conversation.append(vec![known]).await.replayed);
}

async fn an_id_with_another_body_is_a_conflict_after_clearing_too(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(vec![Message::user("x").with_id("1")]).await;
    conversation.clear().await;
    conflict(conversation.try_append(vec![Message::user("y").with_id("1")]).await);
    assert_eq!(conversation.read().await, []);
    assert_eq!(conversation.statistics().await.last_seq, 1);
}

async fn bodies_are_compared_to_the_bit(test: Test) {
    let conversation = Conversation::new(&test);
    let message = |metadata| Message {
        metadata: object(metadata),
        ..Message::user("caf\u{e9}").with_id("1")
    };
    conversation.append(vec![message(json!({"a": 1, "b": 2}))]).await;
    let again = conversation.append(vec![message(json!({"b": 2, "a": 1}))]).await;
    assert!(again.replayed, "the keys of an object have no order");
    conflict(conversation.try_append(vec![message(json!({"a": 1.0, "b": 2}))]).await);
    conflict(conversation.try_append(vec![message(json!({"a": "1", "b": 2}))]).await);
    let decomposed =
        Message { content: Some("cafe\u{301}".into()), ..message(json!({"a": 1, "b": 2})) };
    conflict(conversation.try_append(vec![decomposed]).await);
}

async fn a_partly_known_batch_is_a_conflict(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch_with_ids("a", 2)).await;
    let before = conversation.state().await;
    let [a, b] = [batch_with_ids("a", 2), batch_with_ids("b", 2)];
    for partly_known in [
        vec![a[0].clone(), b[0].clone()],
        vec![b[0].clone(), a[0].clone()],
        vec![b[0].clone(), a[1].clone(), b[1].clone()],
        vec![a[0].clone(), a[1].clone(), b[0].clone()],
    ] {
        conflict(conversation.try_append(partly_known).await);
        assert_eq!(conversation.state().await, before);
    }
    let new = conversation.append(b).await;
    assert_eq!((new.replayed, numbers(&new)), (false, vec![3, 4]), "no id was remembered");
}

async fn a_message_without_an_id_is_never_known(test: Test) {
    let conversation = Conversation::new(&test);
    let with_and_without = vec![Message::user("x").with_id("1"), Message::user("y")];
    conversation.append(with_and_without.clone()).await;
    let before = conversation.state().await;
    conflict(conversation.try_append(with_and_without).await);
    assert_eq!(conversation.state().await, before);
    let appended = conversation.append(vec![Message::user("y")]).await;
    assert_eq!((appended.replayed, numbers(&appended)), (false, vec![3]));
}

async fn an_id_is_known_in_its_conversation_alone(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch_with_ids("a", 2)).await;
    for elsewhere in [conversation.sibling("d"), Conversation::new(&test)] {
        let appended = elsewhere.append(batch_with_ids("a", 2)).await;
        assert_eq!((appended.replayed, numbers(&appended)), (false, vec![1, 2]));
    }
    let other_body = vec![Message::user("other").with_id("a 0")];
    assert!(!conversation.sibling("e").append(other_body).await.replayed);
}
