//! Windows cut from what a store returns (C7), on random conversations.

use memquill_core::{Append, Facet, Message, ReadMessages, Role, StoredMessage, Window};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any, prop_oneof};
use serde_json::json;

use super::holds;
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Property;
    c7: no_window_passes_its_budget_or_splits_a_call_from_its_results;
}

/// What a conversation is made of.
#[derive(Debug, Clone, Copy)]
enum Turn {
    System,
    User,
    /// An assistant who calls so many tools, and how many of them answer.
    Calls(usize, usize),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        1 => any::<()>().prop_map(|()| Turn::System),
        3 => any::<()>().prop_map(|()| Turn::User),
        2 => (1..4_usize, 0..4_usize).prop_map(|(calls, answers)| Turn::Calls(calls, answers)),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    (option::of(1..15_u64), option::of(1..60_u64), any::<bool>()).prop_map(
        |(max_messages, max_tokens, include_system)| Window {
            max_messages,
            max_tokens,
            include_system,
        },
    )
}

fn transcript(turns: &[Turn]) -> Vec<Message> {
    let mut messages = Vec::new();
    for (n, turn) in turns.iter().enumerate() {
        match *turn {
            Turn::System => messages.push(Message::system(format!("rule {n}"))),
            Turn::User => messages.push(Message::user(format!("question {n}"))),
            Turn::Calls(calls, answers) => {
                let id = |call: usize| format!("call {n} {call}");
                messages.push(Message {
                    content: None,
                    tool_calls: (0..calls).map(|call| json!({"id": id(call)})).collect(),
                    ..Message::assistant("")
                });
                messages.extend((0..answers.min(calls)).map(|call| Message {
                    tool_call_id: Some(id(call)),
                    ..Message::new(Role::Tool, "a result")
                }));
            }
        }
    }
    messages
}

async fn no_window_passes_its_budget_or_splits_a_call_from_its_results(test: Test) {
    let cases = |_: &Test| (vec(turn(), 1..15), vec(window(), 1..6), option::of(1..12_usize));
    holds(&test, cases, |test, (turns, windows, newest)| async move {
        let scope = test.scope();
        let append = Append::new("c", transcript(&turns));
        test.conversations().append(&scope, &append).await.unwrap();
        let request = ReadMessages { limit: newest, ..ReadMessages::all("c") };
        let read = test.conversations().read(&scope, &request).await.unwrap();
        let complete = read.messages.len() as u64 == read.total;
        windows.iter().try_for_each(|window| check(window, &read.messages, complete))
    })
    .await;
}

fn tokens(message: &StoredMessage) -> u64 {
    u64::from(message.message.tokens())
}

fn check(window: &Window, messages: &[StoredMessage], complete: bool) -> Result<(), String> {
    let shown = window.cut(messages, complete, tokens);
    let fail = |why: &str| Err(format!("{window:?} {why}: {shown:#?}"));
    if window.max_messages.is_some_and(|max| shown.len() as u64 > max) {
        return fail("holds too many messages");
    }
    if window.max_tokens.is_some_and(|max| shown.iter().map(|m| tokens(m)).sum::<u64>() > max) {
        return fail("holds too many tokens");
    }
    if !shown.is_sorted_by(|a, b| a.seq < b.seq) {
        return fail("is out of order");
    }
    for result in shown.iter().filter(|shown| shown.message.role == Role::Tool) {
        let call = result.message.tool_call_id.as_deref();
        let called = shown.iter().any(|earlier| {
            earlier.seq < result.seq
                && earlier.message.tool_calls.iter().any(|c| c["id"].as_str() == call)
        });
        if !called {
            return fail("holds a result without its call");
        }
    }
    let first = shown.iter().find(|shown| shown.message.role != Role::System);
    let first = first.map_or(u64::MAX, |first| first.seq);
    let suffix = messages.iter().filter(|m| m.seq >= first && m.message.role != Role::System);
    if !suffix
        .map(|m| m.seq)
        .eq(shown.iter().filter(|m| m.message.role != Role::System).map(|m| m.seq))
    {
        return fail("has a hole");
    }
    Ok(())
}
