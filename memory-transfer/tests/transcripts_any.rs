//! Whatever a transcript says, it is read or refused: nothing panics, what is read can be stored,
//! and nothing of what is refused is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use memquill_core::{Append, ListConversations, PageRequest, ReadMessages, Scope};
use memquill_inmemory::InMemory;
use memquill_transfer::transcript::{Form, Transcripts, write};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Words that the forms give a meaning to.
const WORDS: [&str; 64] = [
    "role",
    "content",
    "messages",
    "user",
    "assistant",
    "tool",
    "system",
    "function",
    "type",
    "text",
    "id",
    "name",
    "tool_calls",
    "tool_call_id",
    "metadata",
    "conversation_id",
    "data",
    "human",
    "ai",
    "kwargs",
    "lc",
    "additional_kwargs",
    "args",
    "conversations",
    "from",
    "value",
    "gpt",
    "function_call",
    "observation",
    "mapping",
    "current_node",
    "parent",
    "children",
    "message",
    "author",
    "recipient",
    "content_type",
    "parts",
    "code",
    "create_time",
    "chat_messages",
    "uuid",
    "sender",
    "attachments",
    "files",
    "sessionId",
    "parentUuid",
    "isSidechain",
    "summary",
    "toolUseResult",
    "tool_use",
    "tool_result",
    "tool_use_id",
    "input",
    "output",
    "items",
    "function_call_output",
    "call_id",
    "reasoning",
    "choices",
    "request",
    "response",
    "custom_id",
    "body",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
        1 => "[a-c\\u{0}é🙂 ]{0,4}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => word().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => (-1.0e20..1.0e20).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..6)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// A conversation of each form, to be damaged.
fn good(form: Form) -> Value {
    let said = json!({"role": "user", "content": "x"});
    match form {
        Form::Chat => {
            json!({"conversation_id": "c", "messages": [said, {"role": "tool", "tool_call_id": "t", "content": ""}]})
        }
        Form::OpenAi => {
            json!({"request": {"model": "m", "messages": [said]}, "response": {"id": "r", "choices": [{"message": said}]}})
        }
        Form::Responses => json!({"object": "response", "id": "r", "output": [
            {"type": "function_call", "id": "f", "call_id": "t", "name": "n", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "t", "output": "x"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}]}),
        Form::Anthropic => json!({"system": "s", "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}]}),
        Form::LangChain => json!({"messages": [{"type": "human", "data": {"content": "x"}},
            {"lc": 1, "id": ["AIMessage"], "kwargs": {"content": "", "tool_calls": [{"name": "n", "args": {}, "id": "t"}]}}]}),
        Form::ShareGpt => {
            json!({"id": "s", "conversations": [{"from": "function_call", "value": "{}"}, {"from": "observation", "value": "x"}]})
        }
        Form::ChatGpt => json!({"conversation_id": "g", "current_node": "a", "mapping": {
            "q": {"parent": null, "message": {"author": {"role": "assistant"}, "recipient": "python", "content": {"content_type": "code", "text": "x"}}},
            "a": {"parent": "q", "message": {"author": {"role": "tool"}, "create_time": 1.5, "content": {"parts": ["x", {}]}}}}}),
        Form::Claude => {
            json!({"uuid": "k", "chat_messages": [{"uuid": "m", "sender": "human", "created_at": "x",
            "content": [{"type": "text", "text": "x"}, {"type": "tool_result", "tool_use_id": "t"}], "files": [{}]}]})
        }
        _ => {
            json!({"type": "user", "uuid": "a", "parentUuid": "a", "sessionId": "s", "message": said})
        }
    }
}

/// Puts `new` in the place of one of the values inside `value`, the `at`th that is met.
fn damage(value: &mut Value, at: &mut usize, new: &Value) {
    if *at == 0 {
        *value = new.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| damage(item, at, new)),
        Value::Object(fields) => fields.values_mut().for_each(|field| damage(field, at, new)),
        _ => {}
    }
}

/// Reads a text, stores what is read, and compares what is stored.
fn read_and_store(text: &str, form: Option<Form>) {
    let store = InMemory::new();
    let backend = store.backend();
    let conversations = backend.conversations().unwrap();
    let scope = Scope::new("ada", "n").unwrap();
    let mut transcripts = Transcripts::new(text.as_bytes()).with_name("file");
    if let Some(form) = form {
        transcripts = transcripts.with_form(form);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut stored = BTreeSet::new();
    while let Some(found) = transcripts.next().unwrap() {
        let Ok(read) = found.conversation else { continue };
        for form in [Form::Chat, Form::OpenAi, Form::Anthropic] {
            write(form, &read.messages).unwrap();
        }
        let append = Append::new(read.id.clone(), read.messages.clone());
        // The id may be one that no store takes; that of a second one with other messages, known.
        if runtime.block_on(conversations.append(&scope, &append)).is_ok()
            && stored.insert(read.id.clone())
        {
            let all = ReadMessages::all(read.id.clone());
            let held = runtime.block_on(conversations.read(&scope, &all)).unwrap().messages;
            let held: Vec<_> = held.into_iter().map(|stored| stored.message).collect();
            assert_eq!(held, read.messages);
            for message in &held {
                let chat = Value::Object(message.to_chat());
                let again: memquill_core::Message = serde_json::from_value(chat).unwrap();
                assert_eq!(&again, message, "the chat form loses nothing");
            }
        }
    }
    let listed = runtime
        .block_on(conversations.list(&scope, &ListConversations::by_name(PageRequest::first(1000))))
        .unwrap();
    let listed: BTreeSet<_> =
        listed.items.into_iter().map(|summary| summary.conversation).collect();
    assert_eq!(listed, stored);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_json_is_read_or_refused(values in prop::collection::vec(value(), 1..4), at in 0_usize..10) {
        let text = values.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        read_and_store(&text, Form::ALL.get(at).copied());
    }

    #[test]
    fn a_damaged_transcript_is_read_or_refused(
        at in 0_usize..9, place in 0_usize..40, new in value(), cut in any::<prop::sample::Index>(), is_cut in any::<bool>(),
    ) {
        let form = Form::ALL[at];
        let mut damaged = good(form);
        damage(&mut damaged, &mut { place }, &new);
        let text = format!("{}\n{damaged}\n", good(form));
        read_and_store(&text, None);
        read_and_store(&text, Some(form));
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        if is_cut {
            read_and_store(&text[..ends[cut.index(ends.len())]], None);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}\",:a-z0-9\\\\ \n\u{0}\u{feff}é-]{0,60}") {
        read_and_store(&text, None);
    }
}

#[test]
fn what_is_damaged_here_is_right_before() {
    for form in Form::ALL {
        let text = good(form).to_string();
        let found = Transcripts::new(text.as_bytes()).next().unwrap().unwrap();
        assert_eq!(found.conversation.unwrap().form, form);
    }
}
