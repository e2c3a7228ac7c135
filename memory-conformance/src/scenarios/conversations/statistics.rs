//! Statistics and the listing of conversations (C8, G11).

use std::time::Duration;

use memquill_core::{
    ConversationStatistics, Facet, Lineage, ListConversations, Retention, Role, StoredMessage,
};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{Conversation, batch, batch_with_ids, weighted};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Example;
    c8: statistics_are_exact;
    c8: statistics_stay_exact_through_eviction [Retention];
    c8: statistics_stay_exact_through_clearing;
    c8: a_replay_counts_nothing_twice [SafeRetry];
    c8: tokens_add_up_beyond_32_bits;
    c8: the_listing_gives_the_same_statistics;
    c8: statistics_of_nothing_are_zero;
}

/// What the statistics must be for these messages.
fn expected(messages: &[StoredMessage], last_seq: u64) -> ConversationStatistics {
    let mut expected = ConversationStatistics {
        message_count: messages.len() as u64,
        oldest: messages.first().map(|m| m.created_at),
        newest: messages.last().map(|m| m.created_at),
        last_seq,
        ..ConversationStatistics::default()
    };
    for stored in messages {
        expected.token_count += u64::from(stored.message.tokens());
        *expected.count_mut(stored.message.role) += 1;
    }
    expected
}

/// The statistics without the incarnation, which a store draws by itself.
fn unnamed(mut statistics: ConversationStatistics) -> ConversationStatistics {
    statistics.lineage.incarnation = 0;
    statistics
}

const MIXED: [(Role, u32); 6] = [
    (Role::System, 7),
    (Role::User, 1),
    (Role::Assistant, 2),
    (Role::Tool, 3),
    (Role::User, 4),
    (Role::Assistant, 5),
];

async fn statistics_are_exact(test: Test) {
    let conversation = Conversation::new(&test);
    for message in MIXED {
        conversation.append(weighted(&[message])).await;
        test.pass(Duration::from_millis(3)).await;
        let (messages, statistics) = conversation.state().await;
        assert_eq!(unnamed(statistics), expected(&messages, messages.len() as u64));
    }
    let statistics = conversation.statistics().await;
    assert_eq!(Role::ALL.map(|role| statistics.count(role)), [1, 2, 2, 1]);
    assert_eq!((statistics.message_count, statistics.token_count), (6, 22));
    assert!(statistics.oldest < statistics.newest);
}

async fn statistics_stay_exact_through_eviction(test: Test) {
    let conversation = Conversation::new(&test);
    for max_messages in [6, 5, 3, 1] {
        conversation.append(weighted(&MIXED)).await;
        test.pass(Duration::from_millis(3)).await;
        let keeping = Retention::messages(max_messages).keeping_system();
        conversation.append_keeping(weighted(&[(Role::Tool, 9)]), keeping).await;
        let (messages, statistics) = conversation.state().await;
        let last_seq = statistics.last_seq;
        assert_eq!(unnamed(statistics), expected(&messages, last_seq));
        conversation.trim(Retention::messages(max_messages)).await;
        let (messages, statistics) = conversation.state().await;
        assert_eq!(messages.len() as u64, max_messages);
        let last_seq = statistics.last_seq;
        assert_eq!(unnamed(statistics), expected(&messages, last_seq));
    }
    assert_eq!(conversation.statistics().await.last_seq, 28);
}

async fn statistics_stay_exact_through_clearing(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(weighted(&MIXED)).await;
    conversation.clear().await;
    let cleared = Lineage { revision: 1, ..Lineage::default() };
    let after = |messages: &[StoredMessage], last_seq| ConversationStatistics {
        lineage: cleared,
        ..expected(messages, last_seq)
    };
    assert_eq!(unnamed(conversation.statistics().await), after(&[], 6));
    conversation.append(weighted(&MIXED[..2])).await;
    let (messages, statistics) = conversation.state().await;
    assert_eq!(unnamed(statistics), after(&messages, 8));
}

async fn a_replay_counts_nothing_twice(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch_with_ids("a", 3)).await;
    let before = conversation.statistics().await;
    conversation.append(batch_with_ids("a", 3)).await;
    assert_eq!(conversation.statistics().await, before);
}

async fn tokens_add_up_beyond_32_bits(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(weighted(&[(Role::User, u32::MAX); 3])).await;
    assert_eq!(conversation.statistics().await.token_count, 3 * u64::from(u32::MAX));
}

async fn the_listing_gives_the_same_statistics(test: Test) {
    let first = Conversation::new(&test);
    let all = [first.sibling("b"), first.sibling("a"), first.sibling("é"), first.clone()];
    for (count, conversation) in (1..).zip(&all) {
        conversation.append(batch("x", count)).await;
    }
    let request = ListConversations::default();
    let listed = first.store().list(first.scope(), &request).await.unwrap();
    assert!(listed.next.is_none());
    assert_eq!(listed.items.len(), all.len());
    for summary in listed.items {
        let conversation = first.sibling(&summary.conversation);
        assert_eq!(summary.statistics, conversation.statistics().await);
        assert!(summary.statistics.message_count > 0);
    }
}

async fn statistics_of_nothing_are_zero(test: Test) {
    let statistics = Conversation::new(&test).statistics().await;
    assert_eq!(statistics, ConversationStatistics::default());
}
