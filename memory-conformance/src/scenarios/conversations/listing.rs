//! Listings of conversations and their deletion (C12, C13).

use std::time::Duration;

use memquill_core::{
    Append, ConversationStatistics, ErrorKind, Facet, Lineage, ListConversations, Message,
    PageRequest, RestoreMessages, Retention, StoredMessage, Timestamp, Trim,
};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{Conversation, batch, batch_with_ids, numbers};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Example;
    c12: names_ascend_by_their_bytes;
    c12: the_most_recently_active_come_first;
    c12: only_an_append_is_activity;
    c12: eviction_is_no_activity [Retention];
    c12: a_replay_is_no_activity [SafeRetry];
    c12: what_holds_no_message_comes_last;
    c12: equal_times_are_listed_by_name [Restoring];
    c12: restored_messages_bring_their_time [Restoring];
    c12: a_cursor_of_the_other_order_is_refused;
    c13: a_deleted_conversation_leaves_nothing;
    c13: what_is_appended_after_a_delete_begins_at_1;
    c13: the_ids_of_a_deleted_conversation_are_new_again [SafeRetry];
    c13: a_delete_leaves_others_alone;
    c13: a_scope_whose_conversations_are_deleted_is_listed_no_more;
}

/// Long enough for two appends to have different times.
const APART: Duration = Duration::from_millis(3);

/// The names in a listing, read in pages of two.
async fn listed(conversation: &Conversation, mut request: ListConversations) -> Vec<String> {
    request.page.limit = 2;
    let mut names = Vec::new();
    loop {
        let page = conversation.store().list(conversation.scope(), &request).await.unwrap();
        names.extend(page.items.into_iter().map(|summary| summary.conversation));
        let Some(next) = page.next else { return names };
        request.page = request.page.after(next);
    }
}

async fn by_name(conversation: &Conversation) -> Vec<String> {
    listed(conversation, ListConversations::by_name(PageRequest::default())).await
}

async fn by_activity(conversation: &Conversation) -> Vec<String> {
    listed(conversation, ListConversations::by_activity(PageRequest::default())).await
}

/// Appends a message to each conversation, one after another.
async fn append_to_each(test: &Test, first: &Conversation, names: &[&str]) {
    for name in names {
        first.sibling(name).append(batch("x", 1)).await;
        test.pass(APART).await;
    }
}

async fn restore(conversation: &Conversation, times: &[i64]) {
    let messages: Vec<_> = (1..)
        .zip(times)
        .map(|(seq, millis)| StoredMessage {
            seq,
            created_at: Timestamp::from_millis(*millis).unwrap(),
            message: Message::user("x"),
        })
        .collect();
    let last_seq = messages.len() as u64;
    let conversation_name = conversation.name().to_owned();
    let request = RestoreMessages {
        conversation: conversation_name,
        messages,
        last_seq,
        lineage: Lineage::default(),
    };
    conversation.store().restore(conversation.scope(), &request).await.unwrap();
}

async fn names_ascend_by_their_bytes(test: Test) {
    let c = Conversation::new(&test);
    append_to_each(&test, &c, &["é", "b", "B", "a b", "a", "z"]).await;
    assert_eq!(by_name(&c).await, ["B", "a", "a b", "b", "z", "é"]);
}

async fn the_most_recently_active_come_first(test: Test) {
    let c = Conversation::new(&test);
    append_to_each(&test, &c, &["b", "a", "e", "d", "c"]).await;
    assert_eq!(by_activity(&c).await, ["c", "d", "e", "a", "b"]);
    append_to_each(&test, &c, &["a", "d"]).await;
    assert_eq!(by_activity(&c).await, ["d", "a", "c", "e", "b"]);
    let there = c.over(&test.connect().await);
    assert_eq!(by_activity(&there).await, ["d", "a", "c", "e", "b"]);
    let request = ListConversations::by_activity(PageRequest::first(10));
    for summary in c.store().list(c.scope(), &request).await.unwrap().items {
        assert_eq!(summary.statistics, c.sibling(&summary.conversation).statistics().await);
    }
}

async fn only_an_append_is_activity(test: Test) {
    let c = Conversation::new(&test);
    append_to_each(&test, &c, &["a", "b"]).await;
    c.sibling("a").read().await;
    c.sibling("a").statistics().await;
    assert_eq!(by_activity(&c).await, ["b", "a"]);
}

async fn eviction_is_no_activity(test: Test) {
    let c = Conversation::new(&test);
    append_to_each(&test, &c, &["a", "a", "b"]).await;
    let request = Trim::new("a", Retention::messages(1));
    assert_eq!(c.store().trim(c.scope(), &request).await.unwrap(), 1);
    assert_eq!(by_activity(&c).await, ["b", "a"]);
    let request = Append::new("a", batch("x", 2)).with_retention(Retention::messages(1));
    c.store().append(c.scope(), &request).await.unwrap();
    assert_eq!(by_activity(&c).await, ["a", "b"]);
}

async fn a_replay_is_no_activity(test: Test) {
    let c = Conversation::new(&test);
    c.sibling("a").append(batch_with_ids("x", 1)).await;
    test.pass(APART).await;
    append_to_each(&test, &c, &["b"]).await;
    assert!(c.sibling("a").append(batch_with_ids("x", 1)).await.replayed);
    assert_eq!(by_activity(&c).await, ["b", "a"]);
}

async fn what_holds_no_message_comes_last(test: Test) {
    let c = Conversation::new(&test);
    append_to_each(&test, &c, &["a", "d", "b", "c"]).await;
    for name in ["c", "d", "b"] {
        c.sibling(name).clear().await;
    }
    assert_eq!(by_activity(&c).await, ["a", "b", "c", "d"]);
    append_to_each(&test, &c, &["d"]).await;
    assert_eq!(by_activity(&c).await, ["d", "a", "b", "c"]);
}

async fn equal_times_are_listed_by_name(test: Test) {
    let c = Conversation::new(&test);
    for name in ["é", "b", "B", "a b", "a", "ab"] {
        restore(&c.sibling(name), &[5_000]).await;
    }
    restore(&c.sibling("m"), &[5_001]).await;
    restore(&c.sibling("0"), &[0]).await;
    assert_eq!(by_activity(&c).await, ["m", "B", "a", "a b", "ab", "b", "é", "0"]);
}

async fn restored_messages_bring_their_time(test: Test) {
    let c = Conversation::new(&test);
    restore(&c.sibling("old"), &[1_000]).await;
    restore(&c.sibling("new"), &[500, 2_000]).await;
    // What counts is the newest message, not the latest time.
    restore(&c.sibling("back"), &[9_000, 1_500]).await;
    assert_eq!(by_activity(&c).await, ["new", "back", "old"]);
}

async fn a_cursor_of_the_other_order_is_refused(test: Test) {
    let c = Conversation::new(&test);
    append_to_each(&test, &c, &["a", "b"]).await;
    let name = ListConversations::by_name(PageRequest::first(1));
    let activity = ListConversations::by_activity(PageRequest::first(1));
    for (of, other) in [(&name, &activity), (&activity, &name)] {
        let page = c.store().list(c.scope(), of).await.unwrap();
        let request =
            ListConversations { page: of.page.after(page.next.unwrap()), ..other.clone() };
        let error = c.store().list(c.scope(), &request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

async fn a_deleted_conversation_leaves_nothing(test: Test) {
    let c = Conversation::new(&test);
    c.append(batch("x", 3)).await;
    assert!(c.delete().await);
    assert_eq!(c.state().await, (vec![], ConversationStatistics::default()));
    assert_eq!(by_name(&c).await, [""; 0]);
    assert_eq!(by_activity(&c).await, [""; 0]);
    assert!(!c.delete().await, "it is gone");
    let there = c.over(&test.connect().await);
    assert_eq!(there.state().await, (vec![], ConversationStatistics::default()));
    // One that was cleared goes too.
    c.append(batch("x", 3)).await;
    c.clear().await;
    assert!(c.delete().await);
    assert_eq!(by_name(&c).await, [""; 0]);
}

async fn what_is_appended_after_a_delete_begins_at_1(test: Test) {
    let c = Conversation::new(&test);
    c.append(batch("old", 3)).await;
    c.delete().await;
    let appended = c.append(batch("new", 2)).await;
    assert_eq!((numbers(&appended), appended.message_count), (vec![1, 2], 2));
    assert_eq!(c.texts().await, ["new 0", "new 1"]);
    assert_eq!(by_activity(&c).await, ["c"]);
}

async fn the_ids_of_a_deleted_conversation_are_new_again(test: Test) {
    let c = Conversation::new(&test);
    c.append(batch_with_ids("x", 2)).await;
    c.delete().await;
    let appended = c.append(batch_with_ids("x", 2)).await;
    assert!(!appended.replayed);
    assert_eq!(numbers(&appended), [1, 2]);
}

async fn a_delete_leaves_others_alone(test: Test) {
    let c = Conversation::new(&test);
    append_to_each(&test, &c, &["c", "c2", "C", "other"]).await;
    let elsewhere = Conversation::at(test.backend(), &test.scope(), "c");
    elsewhere.append(batch("x", 1)).await;
    assert!(c.delete().await);
    assert_eq!(by_activity(&c).await, ["other", "C", "c2"]);
    assert_eq!(c.sibling("c2").read().await.len(), 1);
    assert_eq!(elsewhere.read().await.len(), 1);
}

async fn a_scope_whose_conversations_are_deleted_is_listed_no_more(test: Test) {
    let c = Conversation::new(&test);
    append_to_each(&test, &c, &["a", "b"]).await;
    let scopes = async || {
        let page = PageRequest::default();
        test.backend().control().scopes(c.scope().user(), &page).await.unwrap().items
    };
    assert_eq!(scopes().await, [c.scope().clone()]);
    for name in ["a", "b"] {
        assert!(c.sibling(name).delete().await);
    }
    assert_eq!(scopes().await, []);
}
