//! Hostile conversations and messages.

use memquill_core::json::identical;
use memquill_core::{
    Append, Facet, ListConversations, Message, PageRequest, ReadMessages, Retention, Role, Scope,
    Trim,
};
use serde_json::{Value, json};

use super::strings;
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Hostile;
    g2: hostile_conversations_are_literal_and_apart;
    c5: hostile_messages_come_back_unchanged;
    c3: hostile_message_ids_are_literal [SafeRetry];
    c4: hostile_conversations_are_trimmed_alone [Retention];
}

async fn texts(test: &Test, scope: &Scope, conversation: &str) -> Vec<String> {
    let request = ReadMessages::all(conversation);
    let read = test.conversations().read(scope, &request).await.unwrap();
    read.messages.into_iter().map(|stored| stored.message.text().to_owned()).collect()
}

async fn fill(test: &Test, scope: &Scope, count: usize) -> Vec<String> {
    let names = strings();
    for name in &names {
        let messages = (0..count).map(|n| Message::user(format!("{n} {name}"))).collect();
        test.conversations().append(scope, &Append::new(name.clone(), messages)).await.unwrap();
    }
    names
}

async fn hostile_conversations_are_literal_and_apart(test: Test) {
    let scope = test.scope();
    let names = fill(&test, &scope, 1).await;
    for name in &names {
        assert_eq!(texts(&test, &scope, name).await, [format!("0 {name}")]);
    }
    let mut listed = Vec::new();
    let mut request = ListConversations::by_name(PageRequest::first(13));
    loop {
        let part = test.conversations().list(&scope, &request).await.unwrap();
        listed.extend(part.items.into_iter().map(|summary| summary.conversation));
        let Some(next) = part.next else { break };
        request.page = request.page.after(next);
    }
    listed.sort_unstable();
    let mut expected = names.clone();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    for (gone, name) in names.iter().enumerate().step_by(9) {
        assert_eq!(test.conversations().clear(&scope, name).await.unwrap(), 1);
        for (at, other) in names.iter().enumerate() {
            let cleared = at % 9 == 0 && at <= gone;
            let held = test.conversations().statistics(&scope, other).await.unwrap();
            assert_eq!(held.message_count, u64::from(!cleared), "{other:?} after {name:?}");
        }
    }
}

async fn hostile_messages_come_back_unchanged(test: Test) {
    let scope = test.scope();
    let strings = strings();
    let messages: Vec<Message> = strings
        .iter()
        .zip(strings.iter().rev())
        .zip(Role::ALL.iter().cycle())
        .map(|((one, other), role)| Message {
            name: Some(other.clone()),
            tool_calls: vec![json!({"id": one, other.as_str(): {"arguments": one}})],
            tool_call_id: Some(one.clone()),
            metadata: [(one.clone(), json!([other])), ("text".into(), json!(one))]
                .into_iter()
                .collect(),
            ..Message::new(*role, one.clone())
        })
        .collect();
    test.conversations().append(&scope, &Append::new("c", messages.clone())).await.unwrap();
    let read = test.conversations().read(&scope, &ReadMessages::all("c")).await.unwrap();
    for (stored, message) in read.messages.iter().zip(&messages) {
        let (stored, message) = (stored.message.to_chat(), message.to_chat());
        assert!(
            identical(&Value::Object(stored.clone()), &Value::Object(message.clone())),
            "{stored:?} instead of {message:?}"
        );
    }
    assert_eq!(read.messages.len(), messages.len());
    let tools = ReadMessages { roles: vec![Role::Tool], ..ReadMessages::all("c") };
    let read = test.conversations().read(&scope, &tools).await.unwrap();
    assert_eq!(read.messages.len(), messages.iter().filter(|m| m.role == Role::Tool).count());
}

async fn hostile_message_ids_are_literal(test: Test) {
    let scope = test.scope();
    let ids = strings();
    for (n, id) in (1..).zip(&ids) {
        let append = Append::new("c", vec![Message::user("same").with_id(id.clone())]);
        let appended = test.conversations().append(&scope, &append).await.unwrap();
        assert_eq!((appended.messages[0].seq, appended.replayed), (n, false), "{id:?}");
    }
    for (n, id) in (1..).zip(&ids) {
        let append = Append::new("c", vec![Message::user("same").with_id(id.clone())]);
        let appended = test.conversations().append(&scope, &append).await.unwrap();
        assert_eq!((appended.messages[0].seq, appended.replayed), (n, true), "{id:?}");
    }
    let read = test.conversations().read(&scope, &ReadMessages::all("c")).await.unwrap();
    let read: Vec<_> = read.messages.into_iter().map(|stored| stored.message.id.unwrap()).collect();
    assert_eq!(read, ids);
}

async fn hostile_conversations_are_trimmed_alone(test: Test) {
    let scope = test.scope();
    let names = fill(&test, &scope, 3).await;
    for name in names.iter().step_by(7) {
        let trim = Trim::new(name, Retention::messages(1));
        assert_eq!(test.conversations().trim(&scope, &trim).await.unwrap(), 2, "{name:?}");
    }
    for (at, name) in names.iter().enumerate() {
        let expected = if at % 7 == 0 { 1 } else { 3 };
        assert_eq!(texts(&test, &scope, name).await.len(), expected, "{name:?}");
    }
}
