//! Nodes as workflow engines write them (contract, N1 to N5).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use memquill::kinds::KindName;
use memquill::layers::{Faults, Layers};
use memquill::nodes::{ExecutionContext, Node, Settings};
use memquill::{Error, ErrorKind, Facet, Memory};
use serde_json::{Value, json};

fn buffer(configurations: Value) -> Value {
    json!({"type": "MEMORY", "subtype": "CONVERSATION_BUFFER", "configurations": configurations})
}

fn with(mut node: Value, key: &str, value: Value) -> Value {
    node.as_object_mut().unwrap().insert(key.to_owned(), value);
    node
}

fn refused(node: &Value) -> Error {
    let error = Node::from_json(node).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    error
}

#[test]
fn n1_what_an_engine_writes_around_a_node_means_nothing() {
    let node = json!({
        "id": "chat", "name": "Chat", "description": "What was said", "type": "MEMORY",
        "subtype": "CONVERSATION_BUFFER", "position": {"x": 10.5, "y": -3},
        "input_params": {"operation": "clear", "message": ""}, "output_params": {"messages": []},
        "input_ports": [], "output_ports": null, "attached_nodes": null,
        "configurations": {"max_messages": 7},
    });
    let node = Node::from_json(&node).unwrap();
    assert_eq!(node.operation, None, "input_params are no defaults");
    assert_eq!(node.id.as_deref(), Some("chat"));
    assert!(Node::from_json(&with(buffer(json!({})), "position", Value::Null)).is_ok());
    for (key, wrong) in [
        ("attached_nodes", json!(["tool"])),
        ("input_ports", json!([{"name": "in"}])),
        ("output_ports", json!("out")),
        ("description", json!(5)),
        ("position", json!([1, 2])),
        ("input_params", json!("none")),
    ] {
        let error = refused(&with(buffer(json!({})), key, wrong));
        assert!(error.message().contains(key), "{error}");
    }
}

#[test]
fn n2_old_names_are_the_names_that_they_stand_for() {
    for (name, kind) in [
        ("MEMORY_SIMPLE", KindName::WorkingMemory),
        ("key_value", KindName::WorkingMemory),
        ("MEMORY_BUFFER", KindName::ConversationBuffer),
        ("MEMORY_VECTOR_STORE", KindName::VectorDatabase),
        ("Vector_DB", KindName::VectorDatabase),
    ] {
        let node = json!({"type": "MEMORY_NODE", "subtype": name, "parameters": {}});
        assert_eq!(Node::from_json(&node).unwrap().kind(), kind, "{name}");
    }
    let simple = json!({"type": "MEMORY", "subtype": "MEMORY_SIMPLE"});
    let Settings::WorkingMemory(config) = Node::from_json(&simple).unwrap().settings else {
        unreachable!("a key-value store is a working memory")
    };
    assert_eq!(config.default_ttl, None, "M4: its values do not expire");

    let both = with(buffer(json!({})), "parameters", json!({}));
    assert!(refused(&both).message().contains("configurations and parameters"));
    for (name, nearest) in
        [("MEMORY_EMBEDDING", "VECTOR_DATABASE"), ("redis_cache", "WORKING_MEMORY")]
    {
        let error = refused(&json!({"type": "MEMORY", "subtype": name}));
        assert!(error.hint().unwrap().contains(nearest), "{error:?}");
    }
    let waiting = refused(&json!({"type": "MEMORY", "subtype": "MEMORY_KNOWLEDGE"}));
    assert!(
        waiting.message().contains("MEMORY_KNOWLEDGE")
            && waiting.message().contains("KNOWLEDGE_BASE")
    );
}

#[test]
fn n3_the_engine_s_keys_are_for_every_subtype() {
    for subtype in ["CONVERSATION_BUFFER", "VECTOR_DATABASE", "WORKING_MEMORY", "KEY_VALUE_STORE"] {
        let node = json!({"type": "MEMORY", "subtype": subtype, "configurations": {
            "timeout": 420, "timeout_seconds": "30", "retry_attempts": 3, "enabled": true,
            "retry_backoff_seconds": 1.5, "retry_backoff_factor": 2}});
        let node = Node::from_json(&node).unwrap();
        assert_eq!(node.timeout, Some(Duration::from_secs(30)), "timeout_seconds stands above");
    }
    for wrong in [
        json!({"timeout": 0}),
        json!({"timeout": 1001}),
        json!({"timeout_seconds": -5}),
        json!({"retry_attempts": 11}),
        json!({"retry_backoff_factor": "twice"}),
        json!({"enabled": "yes"}),
    ] {
        let key = wrong.as_object().unwrap().keys().next().unwrap().clone();
        let error = refused(&with(buffer(wrong), "id", json!("chat")));
        assert!(error.message().starts_with("node \"chat\": "), "{error}");
        assert!(error.message().contains(&key), "{error}");
    }
}

#[tokio::test]
async fn n3_a_node_that_is_not_enabled_does_nothing_and_says_so() {
    let memory = Memory::connect("memory:").await.unwrap();
    let node = Node::from_json(&buffer(json!({"enabled": false, "operation": "store"}))).unwrap();
    let ada = ExecutionContext::for_user("ada");
    let answer = memory.execute(&node, &ada, &json!({"message": "Hello"})).await;
    assert_eq!(answer, json!({"success": true, "skipped": true}));
    let node = Node::from_json(&buffer(json!({"operation": "get_statistics"}))).unwrap();
    assert_eq!(memory.execute(&node, &ada, &json!({})).await["message_count"], 0);
}

#[tokio::test(start_paused = true)]
async fn n3_a_call_past_its_timeout_may_have_been_applied() {
    let slow = Layers::new().faults(Faults::new(1).delay(1.0, Duration::from_secs(100_000)));
    let memory =
        Memory::builder().store("main", "memory:").layers("main", slow).build().await.unwrap();
    assert!(memory.backend(Facet::Conversations).is_ok());
    let ada = ExecutionContext::for_user("ada");
    for (operation, applied) in [("store", json!(true)), ("retrieve", Value::Null)] {
        let node = buffer(json!({"timeout": 1, "operation": operation}));
        let input = if operation == "store" { json!({"message": "Hello"}) } else { json!({}) };
        let answer = memory.execute(&Node::from_json(&node).unwrap(), &ada, &input).await;
        assert_eq!(answer["error"]["code"], "timeout", "{answer}");
        assert_eq!(answer["error"]["maybe_applied"], applied, "{answer}");
    }
}

#[test]
fn n4_a_typed_default_is_the_value_that_it_gives() {
    let read =
        |configurations: Value| match Node::from_json(&buffer(configurations)).unwrap().settings {
            Settings::ConversationBuffer(config) => (config.max_messages, config.keep_system),
            _ => unreachable!("a buffer"),
        };
    let typed = json!({"type": "integer", "default": 30, "min": 1, "description": "How many"});
    let set = json!({"type": "boolean", "default": true, "value": false});
    assert_eq!(read(json!({"max_messages": typed, "keep_system": set})), (30, false));
    let unset = json!({"type": "integer", "default": null});
    assert_eq!(read(json!({"max_messages": unset})), (100, true));
    assert!(
        refused(&buffer(json!({"max_messages": {"default": 30}})))
            .message()
            .contains("max_messages")
    );
}

#[tokio::test]
async fn n5_numbers_and_truths_may_be_text() {
    let memory = Memory::connect("memory:").await.unwrap();
    let ada = ExecutionContext::for_user("ada");
    let node = buffer(json!({"max_messages": "2", "keep_system": "false", "operation": "store"}));
    let node = Node::from_json(&node).unwrap();
    for message in ["1", "2", "3"] {
        memory.execute(&node, &ada, &json!({"message": message})).await;
    }
    let read = json!({"operation": "retrieve", "limit": "1"});
    let answer = memory.execute(&node, &ada, &read).await;
    assert_eq!((&answer["total_in_buffer"], &answer["count"]), (&json!(2), &json!(1)));
    assert_eq!(answer["messages"][0]["content"], "3", "text stays text");
    for wrong in ["five", "", "5.5", "true"] {
        let read = json!({"operation": "retrieve", "limit": wrong});
        assert_eq!(memory.execute(&node, &ada, &read).await["success"], false, "{wrong:?}");
    }
}
