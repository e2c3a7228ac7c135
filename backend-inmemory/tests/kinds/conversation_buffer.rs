//! `CONVERSATION_BUFFER` (M2).

use std::sync::Arc;
use std::time::Duration;

use memquill_core::kinds::{ConversationBuffer, ConversationBufferConfig};
use memquill_core::{HeuristicCounter, TokenCounter};
use serde_json::{Value, json};

use crate::support::{
    START, backend, conversation, conversation_counted, fails, ok, run, scope, texts,
};

fn buffer() -> ConversationBuffer {
    conversation(&backend().0, ConversationBufferConfig::default())
}

fn said(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

fn store(buffer: &ConversationBuffer, messages: Vec<Value>) -> Value {
    ok(buffer, "store", &json!({"messages": messages}))
}

#[test]
fn m2_a_message_is_the_users_unless_it_says_otherwise() {
    let buffer = buffer();
    let answer = ok(&buffer, "store", &json!({"message": "Hello", "metadata": {"a": 1}}));
    assert_eq!(
        answer,
        json!({"success": true, "seq": 1, "seqs": [1], "timestamp": "2026-11-22T20:31:00.000Z",
               "messages_count": 1, "tokens": 6, "evicted": 0, "replayed": false})
    );
    ok(&buffer, "store", &json!({"message": "Hi.", "role": "assistant", "id": null}));
    let answer = ok(&buffer, "retrieve", &json!({}));
    assert_eq!(answer["messages"][0]["metadata"], json!({"a": 1}));
    assert_eq!(texts(&answer["messages"], "/role"), ["user", "assistant"]);
    assert_eq!((&answer["count"], &answer["total_in_buffer"]), (&json!(2), &json!(2)));
}

#[test]
fn m2_a_transcript_in_chat_form_is_one_batch_and_comes_out_unchanged() {
    let transcript = vec![
        said("system", "Be brief."),
        json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
        json!({"role": "tool", "content": "42", "name": "f", "tool_call_id": "c1"}),
    ];
    let buffer = buffer();
    assert_eq!(store(&buffer, transcript.clone())["seqs"], json!([1, 2, 3]));
    let mut answer = ok(&buffer, "retrieve", &Value::Null);
    for (message, original) in answer["messages"].as_array_mut().unwrap().iter_mut().zip(transcript)
    {
        let message = message.as_object_mut().unwrap();
        message.shift_remove("seq");
        message.shift_remove("created_at");
        assert_eq!(Value::Object(message.clone()), original);
    }
}

#[test]
fn m2_store_takes_either_a_message_or_messages() {
    for wrong in [
        json!({}),
        json!({"message": "a", "messages": []}),
        json!({"messages": [said("user", "a")], "role": "user"}),
        json!({"messages": []}),
        json!({"messages": "a"}),
        json!({"message": "a", "role": "usr"}),
        json!([]),
    ] {
        assert_eq!(fails(&buffer(), "store", &wrong)["code"], "invalid_input", "{wrong}");
    }
}

#[test]
fn g10_an_unknown_key_is_refused_and_nothing_is_stored() {
    let buffer = buffer();
    let error = fails(&buffer, "store", &json!({"mesage": "Hello"}));
    assert_eq!(error["hint"], r#"did you mean "message"?"#);
    assert_eq!(error["operation"], "store");
    for operation in ["retrieve", "get_context", "clear", "get_statistics"] {
        let error = fails(&buffer, operation, &json!({"message": "Hello"}));
        assert_eq!(error["code"], "invalid_input", "{operation}");
    }
    assert_eq!(ok(&buffer, "get_statistics", &json!({}))["message_count"], 0);
}

#[test]
fn m2_the_buffer_keeps_itself_within_its_bounds() {
    let config = ConversationBufferConfig { max_messages: 3, ..Default::default() };
    let buffer = conversation(&backend().0, config);
    let messages = ["system", "user", "assistant", "user"].map(|role| said(role, "x")).to_vec();
    let answer = store(&buffer, messages);
    assert_eq!((&answer["evicted"], &answer["messages_count"]), (&json!(1), &json!(3)));
    let answer = ok(&buffer, "retrieve", &json!({}));
    assert_eq!(texts(&answer["messages"], "/role"), ["system", "assistant", "user"]);
}

#[test]
fn c3_storing_a_message_again_under_its_id_changes_nothing() {
    let buffer = buffer();
    let input = json!({"message": "Hello", "id": "m1"});
    let first = ok(&buffer, "store", &input);
    let mut again = ok(&buffer, "store", &input);
    assert_eq!(again["replayed"].take(), true);
    assert_eq!((&again["seq"], &again["messages_count"]), (&first["seq"], &json!(1)));
    let error = fails(&buffer, "store", &json!({"message": "Other", "id": "m1"}));
    assert_eq!((&error["code"], &error["backend"]), (&json!("conflict"), &json!("inmemory")));
}

#[test]
fn m2_retrieve_selects_by_role_number_and_time() {
    let (backend, clock) = backend();
    let buffer = conversation(&backend, ConversationBufferConfig::default());
    store(&buffer, vec![said("user", "a"), said("assistant", "b")]);
    clock.advance(Duration::from_millis(1500));
    store(&buffer, vec![said("user", "c"), said("assistant", "d")]);
    let contents = |input: Value| -> String {
        let answer = ok(&buffer, "retrieve", &input);
        assert_eq!(answer["total_in_buffer"], 4);
        texts(&answer["messages"], "/content").concat()
    };
    assert_eq!(contents(json!({"limit": 3.0})), "bcd");
    assert_eq!(contents(json!({"role": "user"})), "ac");
    assert_eq!(contents(json!({"after_seq": 1, "limit": 2})), "cd");
    assert_eq!(contents(json!({"since_timestamp": "2026-11-22T20:31:01.500Z"})), "cd");
    assert_eq!(contents(json!({"since_timestamp": START / 1000})), "abcd");
    assert_eq!(contents(json!({"since_timestamp": START / 1000 + 1, "role": "user"})), "c");
    for wrong in [
        json!({"limit": 0}),
        json!({"limit": -1}),
        json!({"limit": 1.5}),
        json!({"role": "usr"}),
        json!({"since_timestamp": "soon"}),
    ] {
        assert_eq!(fails(&buffer, "retrieve", &wrong)["code"], "invalid_input", "{wrong}");
    }
}

#[test]
fn m2_a_context_shows_the_newest_messages_and_the_system_messages_before_them() {
    let buffer = buffer();
    let mut messages = vec![said("system", "Be brief.")];
    messages.extend((0..30).map(|n| said("user", &n.to_string())));
    store(&buffer, messages);
    let answer = ok(&buffer, "get_context", &json!({"max_messages": 3}));
    assert_eq!(answer["context"], "System: Be brief.\nUser: 28\nUser: 29");
    assert_eq!((&answer["message_count"], &answer["format"]), (&json!(3), &json!("conversation")));
    assert_eq!(texts(&answer["messages"], "/content"), ["Be brief.", "28", "29"]);
    let input = json!({"max_messages": 2, "include_system": false, "format": "compact"});
    assert_eq!(ok(&buffer, "get_context", &input)["context"], "U: 28 | U: 29");
    let answer = ok(&buffer, "get_context", &json!({"format": "summary"}));
    assert_eq!(answer["context"], "Messages: 31 (1 system, 30 user). Tokens: 158.\nUser: 29");
    assert_eq!(ok(&buffer, "get_context", &json!({}))["message_count"], 20);
}

#[test]
fn m5_a_context_stays_within_its_tokens() {
    let buffer = buffer();
    store(&buffer, (0..20).map(|n| said("user", &format!("message number {n}"))).collect());
    for max in 1..60 {
        for format in ["conversation", "compact", "summary"] {
            let answer = ok(&buffer, "get_context", &json!({"max_tokens": max, "format": format}));
            let tokens = HeuristicCounter.count(answer["context"].as_str().unwrap());
            assert!(tokens <= max, "{answer}");
            assert_eq!(answer["tokens"], tokens);
            let shown = answer["messages"].as_array().unwrap().len();
            assert_eq!(
                (&answer["message_count"], &answer["omitted"]),
                (&json!(shown), &json!(20 - shown))
            );
            assert_eq!(answer["newest_omitted"], shown == 0, "{answer}");
        }
    }
    for wrong in [
        json!({"max_tokens": 0}),
        json!({"max_messages": 0}),
        json!({"format": "prose"}),
        json!({"include_system": "yes"}),
    ] {
        let error = fails(&buffer, "get_context", &wrong);
        let key = wrong.as_object().unwrap().keys().next().unwrap().clone();
        assert!(error["message"].as_str().unwrap().contains(&key), "{error}");
    }
}

#[test]
fn m2_statistics_count_by_role() {
    let (backend, clock) = backend();
    let buffer = conversation(&backend, ConversationBufferConfig::default());
    store(&buffer, vec![said("system", "x"), said("user", "x")]);
    clock.advance(Duration::from_secs(1));
    store(&buffer, vec![said("user", "x")]);
    assert_eq!(
        ok(&buffer, "get_statistics", &json!({})),
        json!({"success": true, "conversation_id": "default", "message_count": 3, "tokens": 15,
               "roles": {"system": 1, "user": 2, "assistant": 0, "tool": 0},
               "buffer_utilization": 0.03, "oldest": "2026-11-22T20:31:00.000Z",
               "newest": "2026-11-22T20:31:01.000Z", "last_seq": 3, "max_messages": 100,
               "max_tokens": 4000})
    );
    assert_eq!(ok(&buffer, "clear", &json!({}))["cleared"], 3);
    let answer = ok(&buffer, "store", &json!({"message": "on"}));
    assert_eq!(answer["seq"], 4, "C9: numbering goes on");
}

#[test]
fn m2_each_conversation_id_is_a_conversation() {
    let (backend, _) = backend();
    let named = |id: &str| {
        let config = ConversationBufferConfig { conversation_id: id.into(), ..Default::default() };
        conversation(&backend, config)
    };
    ok(&named("a"), "store", &json!({"message": "x"}));
    assert_eq!(ok(&named("b"), "retrieve", &json!({}))["count"], 0);
    assert_eq!(ok(&named("a"), "retrieve", &json!({}))["count"], 1);
}

#[test]
fn m2_a_wrong_configuration_names_its_key() {
    let (backend, _) = backend();
    let default = ConversationBufferConfig::default;
    for (key, config) in [
        ("max_messages", ConversationBufferConfig { max_messages: 0, ..default() }),
        ("max_tokens", ConversationBufferConfig { max_tokens: 0, ..default() }),
        ("conversation_id", ConversationBufferConfig { conversation_id: "\n".into(), ..default() }),
    ] {
        let store = Arc::clone(backend.conversations().unwrap());
        let error =
            ConversationBuffer::from_config(scope(), store, Arc::new(HeuristicCounter), &config);
        assert!(error.unwrap_err().message().contains(key), "{key}");
    }
}

/// Counts characters.
#[derive(Debug)]
struct Characters;

impl TokenCounter for Characters {
    fn count(&self, text: &str) -> u32 {
        u32::try_from(text.chars().count()).unwrap()
    }
}

#[test]
fn c5_a_configured_counter_gives_messages_their_token_count() {
    let config = ConversationBufferConfig { max_tokens: 40, ..Default::default() };
    let buffer = conversation_counted(&backend().0, Arc::new(Characters), config);
    let answer = ok(&buffer, "store", &json!({"message": "twelve chars"}));
    assert_eq!(answer["tokens"], 16);
    let counted = json!({"role": "user", "content": "x", "token_count": 1});
    assert_eq!(store(&buffer, vec![counted])["tokens"], 17, "the caller's count stays");
    assert_eq!(store(&buffer, vec![said("user", &"x".repeat(20))])["evicted"], 1);
    let answer = run(&buffer, "get_context", &json!({"max_tokens": 30}));
    assert_eq!(answer["context"], format!("User: {}", "x".repeat(20)));
}

#[test]
fn c14_what_was_said_is_taken_back() {
    let (backend, _) = backend();
    let kind = conversation(&backend, ConversationBufferConfig::default());
    for text in ["one", "two", "three", "four"] {
        ok(&kind, "store", &json!({"message": text}));
    }
    let popped = ok(&kind, "pop", &json!({}));
    assert_eq!(texts(&popped["messages"], "/content"), ["four"]);
    let error = fails(&kind, "pop", &json!({"count": 2, "if_newest_seq": 4}));
    assert_eq!(
        (&error["code"], &error["context"]["newest_seq"]),
        (&json!("conflict"), &json!("3"))
    );
    assert_eq!(ok(&kind, "truncate", &json!({"after_seq": 1}))["removed"], 2);
    assert_eq!(ok(&kind, "store", &json!({"message": "five"}))["seq"], 5);
    assert_eq!(fails(&kind, "truncate", &json!({}))["code"], "invalid_input");
    assert_eq!(fails(&kind, "summarize", &json!({}))["code"], "invalid_input");
}

#[test]
fn m2_one_node_serves_the_conversations_that_its_inputs_name() {
    let (backend, _) = backend();
    let kind = conversation(&backend, ConversationBufferConfig::default());
    ok(&kind, "store", &json!({"message": "here"}));
    ok(&kind, "store", &json!({"message": "there", "conversation_id": "other"}));
    let found = ok(&kind, "retrieve", &json!({"conversation_id": "other"}));
    assert_eq!(texts(&found["messages"], "/content"), ["there"]);
    let shown = ok(&kind, "get_context", &json!({"conversation_id": null}));
    assert_eq!(shown["context"], "User: here");
    assert_eq!(ok(&kind, "clear", &json!({"conversation_id": "other"}))["cleared"], 1);
    for wrong in [json!(7), json!(""), json!("a\nb")] {
        let error = fails(&kind, "store", &json!({"message": "x", "conversation_id": wrong}));
        assert_eq!(error["code"], "invalid_input");
        assert!(error["message"].as_str().unwrap().contains("conversation_id"), "{error}");
    }
}
