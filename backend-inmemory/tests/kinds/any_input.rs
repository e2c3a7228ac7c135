//! What must hold for any input at all (M1, G10).

use memquill_core::kinds::{
    ConversationBufferConfig, KindName, MemoryKind, Operation, SummarizedConversationConfig,
    VectorDatabaseConfig, WorkingMemoryConfig,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Toy, backend, conversation, run, summarized, vectors, working};

/// The keys of all inputs, and one that nobody knows.
const KEYS: [&str; 46] = [
    "message",
    "messages",
    "role",
    "metadata",
    "id",
    "limit",
    "since_timestamp",
    "after_seq",
    "max_messages",
    "max_tokens",
    "include_system",
    "format",
    "content",
    "documents",
    "document_type",
    "embedding",
    "ttl_seconds",
    "namespace",
    "language",
    "query",
    "filter",
    "similarity_threshold",
    "search",
    "ids",
    "key",
    "keys",
    "value",
    "entries",
    "if_absent",
    "if_version",
    "prefix",
    "diversity",
    "recency_half_life",
    "neighbours",
    "embedded_text",
    "cursor",
    "max_keys",
    "tool_calls",
    "name",
    "token_count",
    "tool_call_id",
    "created_at",
    "and",
    "not",
    "metadata.a",
    "nobody",
];

const TEXTS: [&str; 14] = [
    "user",
    "assistant",
    "system",
    "text",
    "hybrid",
    "vector",
    "compact",
    "summary",
    "list",
    "en",
    "",
    "cat",
    "2026-11-22T20:31:00Z",
    "\u{0}",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..12).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(TEXTS.to_vec()).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!([1, 0, 0, 0.5])),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(KEYS.to_vec()), inner, 0..4)
                .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

/// An input that an operation may take: from a seed that it does, with some keys replaced.
fn input() -> impl Strategy<Value = Value> {
    let seeds = vec![
        json!({}),
        json!({"message": "Hello cat"}),
        json!({"messages": [{"role": "user", "content": "x"}]}),
        json!({"content": "a cat"}),
        json!({"query": "cat"}),
        json!({"key": "a", "value": 1}),
        json!({"entries": [{"key": "a", "value": 1}]}),
    ];
    let replaced = prop::collection::vec((prop::sample::select(KEYS.to_vec()), any_json()), 0..3);
    let changed = (prop::sample::select(seeds), replaced).prop_map(|(mut seed, replaced)| {
        for (key, value) in replaced {
            seed[key] = value;
        }
        seed
    });
    prop_oneof![4 => changed, 1 => any_json()]
}

proptest! {
    #[test]
    fn m1_every_input_has_an_answer(
        inputs in prop::collection::vec((prop::sample::select(Operation::ALL.to_vec()), input()), 1..12),
    ) {
        let (backend, _) = backend();
        let kinds: [Box<dyn MemoryKind>; 4] = [
            Box::new(conversation(&backend, ConversationBufferConfig::default())),
            Box::new(summarized(&backend, SummarizedConversationConfig::default())),
            Box::new(vectors(&backend, &Toy::new(), VectorDatabaseConfig::default())),
            Box::new(working(&backend, WorkingMemoryConfig::default())),
        ];
        prop_assert_eq!(kinds.each_ref().map(|kind| kind.name()), KindName::ALL);
        for (operation, input) in inputs {
            for kind in &kinds {
                let answer = run(&**kind, operation.name(), &input);
                match answer["success"].as_bool() {
                    Some(true) => prop_assert!(answer.get("error").is_none()),
                    Some(false) => {
                        let code = answer["error"]["code"].as_str();
                        prop_assert!(matches!(code, Some("invalid_input" | "conflict")), "{answer}");
                        prop_assert!(answer["error"]["operation"].is_string(), "{answer}");
                    }
                    None => prop_assert!(false, "{answer}"),
                }
            }
        }
    }
}
