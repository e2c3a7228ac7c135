//! Conversations (section C), by example.

use memory_core::{Append, Facet, Message, ReadMessages};

use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Example;
    c1: numbers_start_at_one_without_gap;
}

async fn numbers_start_at_one_without_gap(test: Test) {
    let scope = test.scope();
    let batch = Append::new("c", vec![Message::user("a"), Message::assistant("b")]);
    let appended = test.conversations().append(&scope, &batch).await.unwrap();
    let seqs: Vec<u64> = appended.messages.iter().map(|m| m.seq).collect();
    assert_eq!(seqs, [1, 2]);
    let read = test.conversations().read(&scope, &ReadMessages::all("c")).await.unwrap();
    assert_eq!(read.messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [1, 2]);
}
