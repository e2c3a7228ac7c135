//! Corrections of conversations, and what tells how far summaries of them hold (C14, C15).

use std::time::Duration;

use memquill_core::{
    ConversationStatistics, ErrorKind, Facet, Lineage, ListConversations, PageRequest, Pop,
    RestoreMessages, Retention, Role, StoredMessage, Trim, Truncate,
};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{Conversation, batch, batch_with_ids, conflict, numbers, seqs, weighted};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Example;
    c14: a_truncation_removes_all_behind_a_number;
    c14: a_pop_returns_the_newest_in_their_order;
    c14: a_pop_of_more_than_there_are_returns_them_all;
    c14: removed_numbers_are_never_given_again;
    c14: system_messages_are_removed_like_others;
    c14: statistics_are_exact_after_removals;
    c14: removed_messages_are_known_by_their_ids [SafeRetry];
    c14: retention_counts_rightly_after_removals [Retention];
    c14: a_removal_takes_the_conversation_back_in_the_order_by_activity;
    c14: a_condition_that_fails_changes_nothing_and_says_the_newest;
    c14: a_condition_on_nothing_is_zero;
    c14: nothing_behind_the_number_is_no_error;
    c14: a_removal_leaves_others_alone;
    c14: numbers_that_were_never_given_can_be_truncated [Restoring];
    c4: nothing_is_evicted_behind_the_last_number_that_may_be [Retention];
    c15: an_incarnation_lasts_until_the_conversation_is_deleted;
    c15: a_revision_counts_removals_and_no_evictions [Retention];
    c15: summarized_is_what_retention_said_and_no_removal_reached [Retention];
    c15: a_trim_on_another_lineage_changes_nothing [Retention];
    c15: a_lineage_is_restored_with_its_conversation [Restoring];
    c15: a_restore_of_another_incarnation_leaves_the_lineage [Restoring];
}

/// Long enough for two appends to have different times.
const APART: Duration = Duration::from_millis(3);

async fn of(test: &Test, messages: usize) -> Conversation {
    let conversation = Conversation::new(test);
    conversation.append(batch("m", messages)).await;
    conversation
}

async fn a_truncation_removes_all_behind_a_number(test: Test) {
    let conversation = of(&test, 6).await;
    assert_eq!(conversation.truncate(4).await, 2);
    assert_eq!(conversation.seqs().await, [1, 2, 3, 4]);
    assert_eq!(conversation.truncate(0).await, 4);
    assert_eq!(conversation.seqs().await, [0_u64; 0]);
}

async fn a_pop_returns_the_newest_in_their_order(test: Test) {
    let conversation = of(&test, 5).await;
    let before = conversation.read().await;
    assert_eq!(conversation.pop(2).await, before[3..]);
    assert_eq!(conversation.read().await, before[..3]);
    assert_eq!(conversation.pop(1).await, before[2..3]);
}

async fn a_pop_of_more_than_there_are_returns_them_all(test: Test) {
    let conversation = of(&test, 3).await;
    assert_eq!(seqs(&conversation.pop(1_000).await), [1, 2, 3]);
    assert_eq!(conversation.pop(1_000).await, []);
    // More than a store reads at once.
    let many = of(&test, 700).await;
    assert_eq!(seqs(&many.pop(500).await), (201..=700).collect::<Vec<_>>());
    assert_eq!(many.truncate(10).await, 190);
}

async fn removed_numbers_are_never_given_again(test: Test) {
    let conversation = of(&test, 4).await;
    conversation.pop(1).await;
    assert_eq!(numbers(&conversation.append(batch("a", 2)).await), [5, 6]);
    conversation.truncate(1).await;
    assert_eq!(conversation.statistics().await.last_seq, 6);
    assert_eq!(numbers(&conversation.append(batch("b", 1)).await), [7]);
    assert_eq!(conversation.seqs().await, [1, 7]);
    conversation.truncate(0).await;
    assert_eq!(numbers(&conversation.append(batch("c", 1)).await), [8]);
}

const MIXED: [(Role, u32); 6] = [
    (Role::System, 7),
    (Role::User, 1),
    (Role::Assistant, 2),
    (Role::System, 5),
    (Role::Tool, 3),
    (Role::User, 4),
];

async fn system_messages_are_removed_like_others(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(weighted(&MIXED)).await;
    assert_eq!(conversation.truncate(3).await, 3);
    assert_eq!(seqs(&conversation.pop(3).await), [1, 2, 3]);
}

/// What the statistics must be for these messages, their lineage aside.
fn expected(messages: &[StoredMessage], actual: &ConversationStatistics) -> ConversationStatistics {
    let mut expected = ConversationStatistics {
        message_count: messages.len() as u64,
        oldest: messages.first().map(|m| m.created_at),
        newest: messages.last().map(|m| m.created_at),
        last_seq: actual.last_seq,
        lineage: actual.lineage,
        ..ConversationStatistics::default()
    };
    for stored in messages {
        expected.token_count += u64::from(stored.message.tokens());
        *expected.count_mut(stored.message.role) += 1;
    }
    expected
}

async fn statistics_are_exact_after_removals(test: Test) {
    let conversation = Conversation::new(&test);
    for keep in [5, 7, 2, 0] {
        conversation.append(weighted(&MIXED[..3])).await;
        test.pass(APART).await;
        conversation.append(weighted(&MIXED[3..])).await;
        let behind = conversation.seqs().await.get(keep).map_or(0, |seq| seq - 1);
        conversation.truncate(behind).await;
        let (messages, statistics) = conversation.state().await;
        assert_eq!(messages.len(), keep);
        assert_eq!(statistics, expected(&messages, &statistics));
        test.pass(APART).await;
    }
    conversation.append(weighted(&MIXED)).await;
    conversation.pop(4).await;
    let (messages, statistics) = conversation.state().await;
    assert_eq!(statistics, expected(&messages, &statistics));
    let listed = ListConversations::default();
    let listed = conversation.store().list(conversation.scope(), &listed).await.unwrap();
    assert_eq!(listed.items[0].statistics, statistics);
}

async fn removed_messages_are_known_by_their_ids(test: Test) {
    let conversation = Conversation::new(&test);
    let first = conversation.append(batch_with_ids("a", 2)).await;
    let second = conversation.append(batch_with_ids("b", 2)).await;
    conversation.pop(2).await;
    conversation.truncate(0).await;
    for (label, given) in [("a", first), ("b", second)] {
        let again = conversation.append(batch_with_ids(label, 2)).await;
        assert_eq!((again.replayed, again.messages), (true, given.messages));
    }
    assert_eq!(conversation.read().await, []);
}

async fn retention_counts_rightly_after_removals(test: Test) {
    let conversation = Conversation::new(&test);
    let users = |count| vec![(Role::User, 1); count];
    conversation.append(weighted(&MIXED)).await;
    conversation.append(weighted(&users(4))).await;
    conversation.pop(3).await;
    conversation.append(weighted(&users(3))).await;
    // 1 and 4 are system messages; 8 to 10 were popped.
    assert_eq!(conversation.seqs().await, [1, 2, 3, 4, 5, 6, 7, 11, 12, 13]);
    assert_eq!(conversation.trim(Retention::messages(6).keeping_system()).await, 4);
    assert_eq!(conversation.seqs().await, [1, 4, 7, 11, 12, 13]);
    conversation.truncate(11).await;
    assert_eq!(conversation.trim(Retention::tokens(13).keeping_system()).await, 1);
    assert_eq!(conversation.seqs().await, [1, 4, 11]);
    let appended = conversation.append_keeping(weighted(&users(3)), Retention::messages(3)).await;
    assert_eq!(appended.evicted, 3);
    assert_eq!(conversation.seqs().await, [14, 15, 16]);
}

async fn a_removal_takes_the_conversation_back_in_the_order_by_activity(test: Test) {
    let first = Conversation::new(&test);
    let (a, b) = (first.sibling("a"), first.sibling("b"));
    for conversation in [&a, &b, &a] {
        conversation.append(batch("x", 1)).await;
        test.pass(APART).await;
    }
    let names = async || -> Vec<String> {
        let request = ListConversations::by_activity(PageRequest::default());
        let page = first.store().list(first.scope(), &request).await.unwrap();
        page.items.into_iter().map(|summary| summary.conversation).collect()
    };
    assert_eq!(names().await, ["a", "b"]);
    a.pop(1).await;
    assert_eq!(names().await, ["b", "a"]);
    b.truncate(0).await;
    assert_eq!(names().await, ["a", "b"]);
}

async fn a_condition_that_fails_changes_nothing_and_says_the_newest(test: Test) {
    let conversation = of(&test, 4).await;
    conversation.pop(1).await;
    let before = conversation.state().await;
    let (store, scope) = (conversation.store(), conversation.scope());
    let truncate = Truncate::new(conversation.name(), 1);
    let pop = Pop::new(conversation.name(), 1);
    for error in [
        store.truncate(scope, &truncate.clone().if_newest_seq(4)).await.unwrap_err(),
        store.pop(scope, &pop.clone().if_newest_seq(2)).await.unwrap_err(),
        store.pop(scope, &pop.clone().if_newest_seq(0)).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Conflict, false), "{error}");
        assert_eq!(error.context(), [("newest_seq", "3".to_owned())], "{error}");
    }
    assert_eq!(conversation.state().await, before);
    assert_eq!(store.pop(scope, &pop.if_newest_seq(3)).await.unwrap().len(), 1);
    assert_eq!(store.truncate(scope, &truncate.if_newest_seq(2)).await.unwrap(), 1);
}

async fn a_condition_on_nothing_is_zero(test: Test) {
    let conversation = Conversation::new(&test);
    let (store, scope) = (conversation.store(), conversation.scope());
    let pop = Pop::new(conversation.name(), 1);
    let truncate = Truncate::new(conversation.name(), 0);
    for _ in 0..2 {
        assert_eq!(store.pop(scope, &pop.clone().if_newest_seq(0)).await.unwrap(), []);
        assert_eq!(store.truncate(scope, &truncate.clone().if_newest_seq(0)).await.unwrap(), 0);
        conflict(store.pop(scope, &pop.clone().if_newest_seq(1)).await);
        conflict(store.truncate(scope, &truncate.clone().if_newest_seq(1)).await);
        conversation.append(batch("x", 1)).await;
        conversation.clear().await;
    }
}

async fn nothing_behind_the_number_is_no_error(test: Test) {
    let conversation = Conversation::new(&test);
    assert_eq!(conversation.truncate(0).await, 0);
    assert_eq!(conversation.pop(1).await, []);
    assert_eq!(conversation.statistics().await, ConversationStatistics::default());
    conversation.append(batch("x", 2)).await;
    let before = conversation.state().await;
    assert_eq!(conversation.truncate(2).await, 0);
    assert_eq!(conversation.truncate(u64::MAX).await, 0);
    assert_eq!(conversation.state().await, before);
}

async fn a_removal_leaves_others_alone(test: Test) {
    let conversation = of(&test, 3).await;
    let elsewhere = Conversation::at(test.backend(), &test.scope(), conversation.name());
    let others = [conversation.sibling("other"), elsewhere];
    let mut before = Vec::new();
    for other in &others {
        other.append(batch("x", 3)).await;
        before.push(other.state().await);
    }
    conversation.truncate(1).await;
    conversation.pop(1).await;
    for (other, before) in others.iter().zip(before) {
        assert_eq!(other.state().await, before);
    }
}

async fn numbers_that_were_never_given_can_be_truncated(test: Test) {
    let conversation = of(&test, 2).await;
    restore(&conversation, 9, Lineage::default()).await;
    assert_eq!(conversation.truncate(5).await, 0);
    assert_eq!(conversation.lineage().await.revision, 1);
    assert_eq!(numbers(&conversation.append(batch("x", 1)).await), [10]);
    assert_eq!(seqs(&conversation.pop(2).await), [2, 10]);
    assert_eq!(conversation.seqs().await, [1]);
}

async fn nothing_is_evicted_behind_the_last_number_that_may_be(test: Test) {
    let conversation = of(&test, 6).await;
    let keeping = Retention::messages(1);
    assert_eq!(conversation.trim(keeping.up_to_seq(0)).await, 0);
    assert_eq!(conversation.trim(keeping.up_to_seq(3)).await, 3);
    assert_eq!(conversation.trim(keeping.up_to_seq(3)).await, 0);
    assert_eq!(conversation.seqs().await, [4, 5, 6]);
    let appended =
        conversation.append_keeping(batch("x", 2), Retention::messages(4).up_to_seq(5)).await;
    assert_eq!((appended.evicted, appended.message_count), (1, 4));
    assert_eq!(conversation.seqs().await, [5, 6, 7, 8]);
    assert_eq!(conversation.trim(keeping.up_to_seq(u64::MAX)).await, 3);
    assert_eq!(conversation.seqs().await, [8]);
    conversation.append(weighted(&MIXED)).await;
    assert_eq!(conversation.trim(keeping.keeping_system().up_to_seq(13)).await, 4);
    // 9 and 12 are system messages.
    assert_eq!(conversation.seqs().await, [9, 12, 14]);
}

async fn an_incarnation_lasts_until_the_conversation_is_deleted(test: Test) {
    let conversation = of(&test, 4).await;
    let incarnation = conversation.lineage().await.incarnation;
    assert!((1..=1 << 52).contains(&incarnation), "{incarnation}");
    conversation.append(batch("x", 1)).await;
    conversation.pop(1).await;
    conversation.truncate(2).await;
    conversation.clear().await;
    conversation.append(batch("x", 1)).await;
    assert_eq!(conversation.lineage().await.incarnation, incarnation);
    let other = conversation.sibling("other");
    other.append(batch("x", 1)).await;
    assert_ne!(other.lineage().await.incarnation, incarnation);
    conversation.delete().await;
    assert_eq!(conversation.lineage().await, Lineage::default());
    conversation.append(batch("x", 1)).await;
    let again = conversation.lineage().await;
    assert_ne!(again.incarnation, incarnation);
    assert_eq!(again, Lineage { incarnation: again.incarnation, ..Lineage::default() });
}

async fn a_revision_counts_removals_and_no_evictions(test: Test) {
    let conversation = of(&test, 6).await;
    conversation.trim(Retention::messages(5)).await;
    conversation.append_keeping(batch("x", 1), Retention::messages(4)).await;
    assert_eq!(conversation.lineage().await.revision, 0);
    conversation.pop(1).await;
    assert_eq!(conversation.lineage().await.revision, 1);
    conversation.truncate(5).await;
    assert_eq!(conversation.lineage().await.revision, 2);
    conversation.clear().await;
    assert_eq!(conversation.lineage().await.revision, 3);
}

async fn summarized_is_what_retention_said_and_no_removal_reached(test: Test) {
    let conversation = of(&test, 8).await;
    let through = async || conversation.lineage().await.summarized_through;
    conversation.trim(Retention::messages(3)).await;
    assert_eq!(through().await, 0);
    conversation.trim(Retention::messages(3).up_to_seq(5)).await;
    assert_eq!(through().await, 5);
    conversation.trim(Retention::messages(100).up_to_seq(4)).await;
    assert_eq!(through().await, 5);
    conversation.append_keeping(batch("x", 2), Retention::messages(100).up_to_seq(7)).await;
    assert_eq!(through().await, 7);
    // Not behind what was given.
    conversation.trim(Retention::messages(100).up_to_seq(70)).await;
    assert_eq!(through().await, 10);
    conversation.truncate(9).await;
    assert_eq!(through().await, 9);
    conversation.append(batch("x", 1)).await;
    conversation.pop(1).await;
    assert_eq!(through().await, 9);
    conversation.pop(1).await;
    assert_eq!(through().await, 8);
    conversation.truncate(2).await;
    assert_eq!(through().await, 2);
    conversation.clear().await;
    assert_eq!(through().await, 0);
    conversation.trim(Retention::messages(1).up_to_seq(3)).await;
    assert_eq!(through().await, 3);
}

async fn a_trim_on_another_lineage_changes_nothing(test: Test) {
    let conversation = of(&test, 6).await;
    let seen = conversation.lineage().await;
    let trim = |lineage| {
        let retention = Retention::messages(1).up_to_seq(3);
        Trim::new(conversation.name(), retention).if_lineage(lineage)
    };
    let (store, scope) = (conversation.store(), conversation.scope());
    conversation.pop(1).await;
    let before = conversation.state().await;
    let other = Lineage { incarnation: seen.incarnation % 1_000 + 1, revision: 1, ..seen };
    for lineage in [seen, other, Lineage::default()] {
        conflict(store.trim(scope, &trim(lineage)).await);
    }
    assert_eq!(conversation.state().await, before);
    let now = conversation.lineage().await;
    assert_eq!(store.trim(scope, &trim(now)).await.unwrap(), 3);
    // Evictions do not change it.
    assert_eq!(store.trim(scope, &trim(now)).await.unwrap(), 0);
    conversation.delete().await;
    conflict(store.trim(scope, &trim(now)).await);
    assert_eq!(store.trim(scope, &trim(Lineage::default())).await.unwrap(), 0);
}

async fn restore(conversation: &Conversation, last_seq: u64, lineage: Lineage) {
    let request = RestoreMessages {
        conversation: conversation.name().to_owned(),
        messages: Vec::new(),
        last_seq,
        lineage,
    };
    conversation.store().restore(conversation.scope(), &request).await.unwrap();
}

async fn a_lineage_is_restored_with_its_conversation(test: Test) {
    let conversation = Conversation::new(&test);
    let lineage = Lineage { incarnation: 1 << 52, revision: 3, summarized_through: 4 };
    restore(&conversation, 5, lineage).await;
    assert_eq!(conversation.lineage().await, lineage);
    let later = Lineage { revision: 2, summarized_through: 5, ..lineage };
    restore(&conversation, 6, later).await;
    let joined = Lineage { summarized_through: 5, ..lineage };
    assert_eq!(conversation.lineage().await, joined);
    let other = conversation.sibling("unknown");
    restore(&other, 5, Lineage { revision: 3, ..Lineage::default() }).await;
    let begun = other.lineage().await;
    assert!(begun.incarnation > 0);
    assert_eq!(begun.revision, 0);
}

async fn a_restore_of_another_incarnation_leaves_the_lineage(test: Test) {
    let conversation = of(&test, 3).await;
    conversation.pop(1).await;
    let before = conversation.lineage().await;
    let other = Lineage { incarnation: before.incarnation % 1_000 + 1, ..before };
    restore(&conversation, 9, Lineage { revision: 7, summarized_through: 7, ..other }).await;
    assert_eq!(conversation.lineage().await, before);
}
