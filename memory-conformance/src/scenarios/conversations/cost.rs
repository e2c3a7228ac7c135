//! What calls cost in a conversation that has grown (C8, C10).
//!
//! The best of many calls is compared, so that a busy machine does not look like growing cost, and
//! with so much room that only work on every stored message takes it.

use std::time::{Duration, Instant};

use memquill_core::{Facet, Message, ReadMessages, Retention};

use crate::scenario::{Family, Test, scenarios};
use crate::support::Conversation;

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Example;
    c10: an_append_costs_the_same_in_a_conversation_that_has_grown;
    c10: an_append_with_retention_costs_the_same_in_a_conversation_that_has_grown [Retention];
    c10: the_newest_messages_cost_the_same_in_a_conversation_that_has_grown;
    c8: statistics_cost_the_same_in_a_conversation_that_has_grown;
}

const SMALL: usize = 100;
const LARGE: usize = 20_000;
const CALLS: usize = 20;

/// Makes a conversation of a number of messages, and its sibling of a few.
async fn grown(test: &Test) -> [Conversation; 2] {
    let small = Conversation::new(test);
    let large = small.sibling("large");
    for (conversation, count) in [(&small, SMALL), (&large, LARGE)] {
        for from in (0..count).step_by(1_000) {
            let batch = (from..count.min(from + 1_000)).map(|n| Message::user(text(n)));
            conversation.append(batch.collect()).await;
        }
    }
    [small, large]
}

fn text(n: usize) -> String {
    format!("message {n}: {}", "some words of a usual length, ".repeat(6))
}

/// The quickest of several calls, and what the small conversation allows the large one.
async fn compare<F: Future<Output = ()>>(
    [small, large]: &[Conversation; 2],
    call: impl Fn(Conversation) -> F,
) {
    let mut best = [Duration::MAX; 2];
    for _ in 0..CALLS {
        for (best, conversation) in best.iter_mut().zip([small, large]) {
            let start = Instant::now();
            call(conversation.clone()).await;
            *best = start.elapsed().min(*best);
        }
    }
    let [small, large] = best;
    let allowed = small * 8 + Duration::from_millis(1);
    assert!(
        large <= allowed,
        "the quickest of {CALLS} calls took {large:?} at {LARGE} messages and {small:?} at {SMALL}"
    );
}

async fn an_append_costs_the_same_in_a_conversation_that_has_grown(test: Test) {
    let conversations = grown(&test).await;
    compare(&conversations, |conversation| async move {
        conversation.append(vec![Message::user(text(0))]).await;
    })
    .await;
}

async fn an_append_with_retention_costs_the_same_in_a_conversation_that_has_grown(test: Test) {
    let conversations = grown(&test).await;
    compare(&conversations, |conversation| async move {
        let held = if conversation.name() == "large" { LARGE } else { SMALL };
        let retention = Retention::messages(held as u64);
        conversation.append_keeping(vec![Message::user(text(0))], retention).await;
    })
    .await;
}

async fn the_newest_messages_cost_the_same_in_a_conversation_that_has_grown(test: Test) {
    let conversations = grown(&test).await;
    compare(&conversations, |conversation| async move {
        let read = conversation.read_with(ReadMessages::newest("", 20)).await;
        assert_eq!(read.messages.len(), 20);
    })
    .await;
}

async fn statistics_cost_the_same_in_a_conversation_that_has_grown(test: Test) {
    let conversations = grown(&test).await;
    compare(&conversations, |conversation| async move {
        assert!(conversation.statistics().await.message_count >= SMALL as u64);
    })
    .await;
}
