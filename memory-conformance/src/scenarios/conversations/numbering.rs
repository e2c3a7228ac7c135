//! Numbering, order and clearing (C1, C2, C9).

use memquill_core::{Facet, ListConversations, Message};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{Conversation, batch, batch_with_ids, conflict, numbers, seqs};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Example;
    c1: numbers_start_at_one_without_gap;
    c1: a_batch_takes_consecutive_numbers_in_its_order;
    c1: every_conversation_is_numbered_by_itself;
    c1: numbering_goes_on_over_another_connection;
    c1: a_refused_batch_takes_no_numbers [SafeRetry];
    c1: a_conversation_begins_with_its_first_message;
    c2: order_is_by_number_not_by_time;
    c9: clear_says_how_many_went_and_numbering_goes_on;
    c9: a_cleared_conversation_is_still_listed;
    c9: clear_leaves_other_conversations_alone;
    g9: clearing_nothing_removes_nothing;
}

async fn numbers_start_at_one_without_gap(test: Test) {
    let conversation = Conversation::new(&test);
    for expected in 1..=5 {
        let appended = conversation.append(vec![Message::user("x")]).await;
        assert_eq!(numbers(&appended), [expected]);
    }
    assert_eq!(conversation.seqs().await, [1, 2, 3, 4, 5]);
}

async fn a_batch_takes_consecutive_numbers_in_its_order(test: Test) {
    let conversation = Conversation::new(&test);
    let first = conversation.append(batch("first", 3)).await;
    let second = conversation.append(batch("second", 4)).await;
    assert_eq!(numbers(&first), [1, 2, 3]);
    assert_eq!(numbers(&second), [4, 5, 6, 7]);
    assert_eq!((second.message_count, second.evicted, second.replayed), (7, 0, false));
    let expected: Vec<_> = batch("first", 3).into_iter().chain(batch("second", 4)).collect();
    let read: Vec<_> = conversation.read().await.into_iter().map(|m| m.message).collect();
    assert_eq!(read, expected);
}

async fn every_conversation_is_numbered_by_itself(test: Test) {
    let one = Conversation::new(&test);
    let two = one.sibling("d");
    let elsewhere = Conversation::new(&test);
    one.append(batch("one", 3)).await;
    assert_eq!(numbers(&two.append(batch("two", 2)).await), [1, 2]);
    assert_eq!(numbers(&elsewhere.append(batch("elsewhere", 1)).await), [1]);
    assert_eq!(numbers(&one.append(batch("one", 1)).await), [4]);
}

async fn numbering_goes_on_over_another_connection(test: Test) {
    let here = Conversation::new(&test);
    here.append(batch("here", 2)).await;
    let there = here.over(&test.connect().await);
    assert_eq!(numbers(&there.append(batch("there", 2)).await), [3, 4]);
    assert_eq!(numbers(&here.append(batch("here", 1)).await), [5]);
}

async fn a_refused_batch_takes_no_numbers(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch_with_ids("known", 1)).await;
    let mut partly_known = batch_with_ids("known", 1);
    partly_known.extend(batch_with_ids("new", 3));
    conflict(conversation.try_append(partly_known).await);
    assert_eq!(numbers(&conversation.append(batch("next", 1)).await), [2]);
}

async fn a_conversation_begins_with_its_first_message(test: Test) {
    let conversation = Conversation::new(&test);
    let listed = async || {
        let request = ListConversations::default();
        conversation.store().list(conversation.scope(), &request).await.unwrap().items
    };
    assert_eq!(conversation.state().await, Default::default());
    assert_eq!(conversation.clear().await, 0);
    assert_eq!(listed().await, [], "neither reading nor clearing begins one");
    conversation.append(batch("x", 1)).await;
    assert_eq!(listed().await.len(), 1);
}

async fn order_is_by_number_not_by_time(test: Test) {
    let conversation = Conversation::new(&test);
    // Enough in one batch that many share a time.
    let appended = conversation.append(batch("m", 200)).await;
    let read = conversation.read().await;
    assert_eq!(seqs(&read), (1..=200).collect::<Vec<_>>());
    for (n, (message, numbered)) in read.iter().zip(&appended.messages).enumerate() {
        assert_eq!(message.message.text(), format!("m {n}"));
        assert_eq!((message.seq, message.created_at), (numbered.seq, numbered.created_at));
    }
}

async fn clear_says_how_many_went_and_numbering_goes_on(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch("old", 3)).await;
    assert_eq!(conversation.clear().await, 3);
    assert_eq!(conversation.read().await, []);
    let appended = conversation.append(batch("new", 2)).await;
    assert_eq!(numbers(&appended), [4, 5]);
    assert_eq!(appended.message_count, 2);
    assert_eq!(conversation.texts().await, ["new 0", "new 1"]);
    assert_eq!(conversation.clear().await, 2);
    let there = conversation.over(&test.connect().await);
    assert_eq!(numbers(&there.append(batch("newest", 1)).await), [6]);
}

async fn a_cleared_conversation_is_still_listed(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch("x", 3)).await;
    conversation.clear().await;
    let request = ListConversations::default();
    let listed = conversation.store().list(conversation.scope(), &request).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    assert_eq!(listed.items[0].statistics, conversation.statistics().await);
    assert_eq!(listed.items[0].statistics.last_seq, 3);
}

async fn clear_leaves_other_conversations_alone(test: Test) {
    let one = Conversation::new(&test);
    let others = [one.sibling("c "), one.sibling("C"), one.sibling("cc"), one.sibling("%")];
    one.append(batch("one", 2)).await;
    for other in &others {
        other.append(batch("other", 2)).await;
    }
    assert_eq!(one.clear().await, 2);
    for other in &others {
        assert_eq!(other.seqs().await, [1, 2]);
    }
    assert_eq!(one.sibling("%").clear().await, 2);
    assert_eq!(one.sibling("cc").seqs().await, [1, 2]);
}

async fn clearing_nothing_removes_nothing(test: Test) {
    let conversation = Conversation::new(&test);
    assert_eq!(conversation.clear().await, 0);
    conversation.append(batch("x", 2)).await;
    assert_eq!(conversation.clear().await, 2);
    assert_eq!(conversation.clear().await, 0);
    assert_eq!(conversation.statistics().await.last_seq, 2);
}
