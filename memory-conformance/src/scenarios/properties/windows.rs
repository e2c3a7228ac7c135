//! Windows cut from what a store returns (C7), on random conversations.

use std::sync::Arc;

use memquill_core::kinds::{
    ConversationBuffer, ConversationBufferConfig, ConversationFormat, ConversationWindow,
};
use memquill_core::{
    Append, Facet, HeuristicCounter, Message, ReadMessages, Role, StoredMessage, Window,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use serde_json::json;

use super::holds;
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Property;
    c7: no_window_passes_its_budget_or_splits_a_call_from_its_results;
    c7: a_context_is_the_window_of_the_whole_conversation;
}

/// What a conversation is made of.
#[derive(Debug, Clone, Copy)]
enum Turn {
    System,
    User,
    /// An assistant who calls tools.
    Calls {
        calls: usize,
        answers: usize,
        /// How many turns later the last answer comes.
        delay: usize,
        /// Whether calls and results are parts, the results in the user's name.
        in_parts: bool,
    },
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        1 => any::<()>().prop_map(|()| Turn::System),
        3 => any::<()>().prop_map(|()| Turn::User),
        2 => (1..4_usize, 0..4_usize, prop_oneof![4 => Just(0), 1 => 1..9_usize], any::<bool>())
            .prop_map(|(calls, answers, delay, in_parts)| Turn::Calls {
                calls,
                answers,
                delay,
                in_parts,
            }),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    (option::of(1..15_u64), option::of(1..60_u64), any::<bool>(), any::<bool>()).prop_map(
        |(max_messages, max_tokens, include_system, start_on_user)| Window {
            max_messages,
            max_tokens,
            include_system,
            start_on_user,
        },
    )
}

fn call(ids: &[String], in_parts: bool) -> Message {
    if in_parts {
        let part = |id: &String| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
        return Message::from_parts(Role::Assistant, ids.iter().map(part).collect()).unwrap();
    }
    let tool_calls = ids.iter().map(|id| json!({"id": id})).collect();
    Message { content: None, tool_calls, ..Message::assistant("") }
}

fn result(id: &str, in_parts: bool) -> Message {
    if in_parts {
        let part = json!({"type": "tool_result", "tool_use_id": id, "content": "a result"});
        return Message::from_parts(Role::User, vec![part]).unwrap();
    }
    Message { tool_call_id: Some(id.to_owned()), ..Message::new(Role::Tool, "a result") }
}

fn transcript(turns: &[Turn]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut late: Vec<(usize, Message)> = Vec::new();
    for (n, turn) in turns.iter().enumerate() {
        match *turn {
            Turn::System => messages.push(Message::system(format!("rule {n}"))),
            Turn::User => messages.push(Message::user(format!("question {n}"))),
            Turn::Calls { calls, answers, delay, in_parts } => {
                let ids: Vec<String> = (0..calls).map(|call| format!("call {n} {call}")).collect();
                messages.push(call(&ids, in_parts));
                let answered = ids.iter().take(answers);
                let mut results: Vec<Message> = answered.map(|id| result(id, in_parts)).collect();
                if delay > 0 {
                    late.extend(results.pop().map(|result| (n + delay, result)));
                }
                messages.append(&mut results);
            }
        }
        let (now, later) = late.into_iter().partition(|(due, _)| *due <= n);
        messages.extend(Vec::into_iter(now).map(|(_, result)| result));
        late = later;
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
        windows.iter().try_for_each(|window| check(window, &read.messages))
    })
    .await;
}

/// It reads a part of a conversation, which must not be seen.
async fn a_context_is_the_window_of_the_whole_conversation(test: Test) {
    let cases = |_: &Test| (vec(turn(), 1..80), vec(window(), 1..6), any::<bool>());
    holds(&test, cases, |test, (turns, windows, compact)| async move {
        let scope = test.scope();
        let append = Append::new("c", transcript(&turns));
        test.conversations().append(&scope, &append).await.unwrap();
        let whole =
            test.conversations().read(&scope, &ReadMessages::all("c")).await.unwrap().messages;
        let config = ConversationBufferConfig {
            conversation_id: "c".into(),
            ..ConversationBufferConfig::default()
        };
        let store = Arc::clone(test.conversations());
        let buffer =
            ConversationBuffer::from_config(scope, store, Arc::new(HeuristicCounter), &config);
        let buffer = buffer.unwrap();
        let format =
            if compact { ConversationFormat::Compact } else { ConversationFormat::default() };
        for window in windows {
            let Window { max_messages, max_tokens, include_system, start_on_user } = window;
            let (max_messages, max_tokens) =
                (max_messages.unwrap_or(20), max_tokens.or(Some(4000)));
            let request = ConversationWindow {
                max_messages,
                max_tokens,
                include_system,
                start_on_user,
                format,
            };
            let context = buffer.context(&request).await.unwrap();
            let window = Window { max_messages: Some(max_messages), max_tokens, ..window };
            let (expected, shown) = format.window(&whole, &window, &HeuristicCounter);
            if context.context != expected || !context.messages.iter().eq(shown) {
                let text = &context.context.text;
                return Err(format!("{window:?} gives {text:?} and not {:?}", expected.text));
            }
        }
        Ok(())
    })
    .await;
}

fn tokens(message: &StoredMessage) -> u64 {
    u64::from(message.message.tokens())
}

fn check(window: &Window, messages: &[StoredMessage]) -> Result<(), String> {
    let shown = window.cut(messages, tokens);
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
    for result in &shown {
        let called = result.message.answers().all(|id| {
            let mut earlier = shown.iter().filter(|m| m.seq < result.seq);
            earlier.any(|m| m.message.calls().any(|call| call == id))
        });
        if !called {
            return fail("holds a result without its call");
        }
    }
    for caller in &shown {
        let pending = Some(caller.seq) == messages.last().map(|newest| newest.seq);
        let answered = caller.message.calls().all(|id| {
            let mut later = shown.iter().filter(|m| m.seq > caller.seq);
            later.any(|m| m.message.answers().any(|answer| answer == id))
        });
        if !(answered || pending) && window.include_system {
            return fail("holds a call without all of its results");
        }
    }
    let mut others = shown.iter().filter(|shown| shown.message.role != Role::System);
    if window.start_on_user && others.next().is_some_and(|m| m.message.role != Role::User) {
        return fail("does not start on a user's message");
    }
    Ok(())
}
