//! Memory over several stores: binding, gaps, nodes and their routing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use memquill::config::Config;
use memquill::driver::{Backend, Feature, Registry, StoreUrl};
use memquill::kinds::{KindName, Operation};
use memquill::layers::{Faults, Layers, Retries};
use memquill::nodes::{ExecutionContext, Node};
use memquill::{ErrorKind, Facet, HealthStatus, Memory, Message, Scope};
use memquill_inmemory::InMemory;
use serde_json::{Value, json};

fn node(subtype: &str, configurations: &Value) -> Node {
    let node = json!({"type": "MEMORY", "subtype": subtype, "configurations": configurations});
    Node::from_json(&node).unwrap()
}

fn without(store: &InMemory, facet: Facet, feature: Feature) -> Backend {
    store.backend().map(|mut parts| {
        match facet {
            Facet::Conversations => parts.conversations = None,
            Facet::Vectors => parts.vectors = None,
            Facet::Working => parts.working = None,
        }
        parts.capabilities.features.remove(&feature);
        parts
    })
}

async fn memory() -> Memory {
    Memory::builder().store("main", "memory:").build().await.unwrap()
}

#[tokio::test]
async fn each_facet_goes_to_the_store_it_is_bound_to() {
    let (a, b) = (InMemory::new(), InMemory::new());
    let memory = Memory::builder()
        .backend("a", a.backend())
        .backend("b", b.backend())
        .default_store("a")
        .bind(Facet::Working, "b")
        .build()
        .await
        .unwrap();
    let ada = ExecutionContext::for_user("ada");
    let plan = node("WORKING_MEMORY", &json!({"operation": "store"}));
    memory.execute(&plan, &ada, &json!({"key": "k", "value": 1})).await;
    let scope = plan.scope(&ada).unwrap();
    assert_eq!(b.backend().working().unwrap().statistics(&scope).await.unwrap().entries, 1);
    assert_eq!(a.backend().working().unwrap().statistics(&scope).await.unwrap().entries, 0);
}

#[tokio::test]
async fn layers_stand_around_the_store_that_they_are_named_for() {
    let lossy = Faults::new(1).before(0.5);
    let retries = Retries::new(50).with_pause(Duration::ZERO, Duration::ZERO).with_budget(1_000);
    let memory = async |layers| {
        let built = Memory::builder().store("main", "memory:").layers("main", layers);
        built.build().await.unwrap()
    };
    let put = node("WORKING_MEMORY", &json!({"operation": "store"}));
    let ada = ExecutionContext::for_user("ada");
    let failures = async |memory: Memory| {
        let mut failures = 0;
        for i in 0..100 {
            let answer = memory.execute(&put, &ada, &json!({"key": "k", "value": i})).await;
            failures += usize::from(answer["success"] == false);
        }
        failures
    };
    assert!(failures(memory(Layers::new().faults(lossy)).await).await > 20);
    assert_eq!(failures(memory(Layers::new().faults(lossy).retry(retries)).await).await, 0);
}

#[tokio::test]
async fn a_start_with_gaps_is_refused_and_names_them_all() {
    let store = InMemory::new();
    let poor = without(&store, Facet::Working, Feature::TextSearch);
    let error = Memory::builder()
        .backend("poor", poor)
        .bind(Facet::Conversations, "elsewhere")
        .node("plan", node("WORKING_MEMORY", &json!({})))
        .node("facts", node("VECTOR_DATABASE", &json!({})))
        .node("near", node("VECTOR_DATABASE", &json!({"search": "vector"})))
        .node("scratch", node("WORKING_MEMORY", &json!({"use_persistent_storage": false})))
        .build()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    for gap in [
        "conversations: there is no store \"elsewhere\"",
        "the node \"plan\" needs a store bound to working",
        "the node \"facts\" needs text_search, which \"poor\" does not offer",
    ] {
        let named = ("problem", gap.to_owned());
        assert!(error.context().contains(&named), "{gap:?} is not in {:?}", error.context());
    }
    assert_eq!(error.context().len(), 3, "{error}");
}

#[tokio::test]
async fn every_store_that_cannot_be_opened_is_named() {
    let builder = Memory::builder().store("file", "sqlite:/dev/null/none/a.db");
    let builder = builder.store("other", "nonsense://h").store("good", "memory:");
    let error = builder.default_store("good").build().await.unwrap_err();
    let said = error.to_string();
    for part in ["problem: store file: ", "problem: store other: no driver answers"] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert!(!said.contains("store good"), "{said}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_facet_that_is_bound_by_name_must_be_offered() {
    let store = InMemory::new();
    let build = |bind: bool| {
        let poor = without(&store, Facet::Vectors, Feature::Filters);
        let builder = Memory::builder().backend("poor", poor);
        if bind { builder.bind(Facet::Vectors, "poor") } else { builder }.build()
    };
    assert!(build(true).await.unwrap_err().message().contains("\"poor\" does not offer vectors"));
    let memory = build(false).await.unwrap();
    assert!(memory.conversations().is_ok());
    assert_eq!(memory.vectors().unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn it_opens_from_a_configuration() {
    let text = "stores: {main: 'memory:x'}\ntrace: true\nnodes: {buffer: {type: MEMORY, subtype: CONVERSATION_BUFFER, configurations: {operation: get_statistics}}}";
    let config = Config::from_text("a.yaml", text, &|_| None).unwrap();
    let memory = Memory::open(&config, Registry::with_compiled_drivers()).await.unwrap();
    let buffer = memory.node("buffer").unwrap();
    let answer = memory.execute(buffer, &ExecutionContext::for_user("ada"), &json!({})).await;
    assert_eq!((&answer["success"], &answer["message_count"]), (&json!(true), &json!(0)));
}

#[tokio::test]
async fn m6_a_persistent_node_needs_a_user() {
    let memory = memory().await;
    let buffer = node("CONVERSATION_BUFFER", &json!({"operation": "get_statistics"}));
    let answer = memory.execute(&buffer, &ExecutionContext::default(), &json!({})).await;
    assert_eq!(answer["success"], false);
    assert_eq!(answer["error"]["code"], "invalid_input");
    let own =
        node("CONVERSATION_BUFFER", &json!({"operation": "get_statistics", "user_id": "ada"}));
    let answer = memory.execute(&own, &ExecutionContext::default(), &json!({})).await;
    assert_eq!(answer["success"], true);
}

#[tokio::test]
async fn m6_a_node_that_is_not_persistent_stays_out_of_the_stores() {
    let store = InMemory::new();
    let memory = Memory::builder().backend("main", store.backend()).build().await.unwrap();
    let scratch = node("KEY_VALUE_STORE", &json!({"use_persistent_storage": false}));
    let nobody = ExecutionContext::default();
    let put = json!({"operation": "store", "key": "k", "value": [1, null]});
    assert_eq!(memory.execute(&scratch, &nobody, &put).await["success"], true);
    let get = json!({"operation": "retrieve", "key": "k"});
    assert_eq!(memory.execute(&scratch, &nobody, &get).await["value"], json!([1, null]));
    let scope = Scope::new("anonymous", "working_memory").unwrap();
    assert_eq!(scratch.scope(&nobody).unwrap(), scope);
    assert_eq!(store.backend().working().unwrap().statistics(&scope).await.unwrap().entries, 0);
}

#[test]
fn the_node_s_id_is_the_context_s_else_its_own_else_its_subtype() {
    let plain = node("KEY_VALUE_STORE", &json!({}));
    let mut own = node("KEY_VALUE_STORE", &json!({"node_id": "configured"}));
    own.id = Some("id".into());
    let ada = ExecutionContext::for_user("ada");
    assert_eq!(plain.scope(&ada).unwrap().node(), "working_memory");
    assert_eq!(own.scope(&ada).unwrap().node(), "configured");
    own.node_id = None;
    assert_eq!(own.scope(&ada).unwrap().node(), "id");
    assert_eq!(own.scope(&ada.at_node("run")).unwrap().node(), "run");
}

#[test]
fn a_node_is_read_strictly_and_old_keys_are_accepted() {
    let refused = |value: Value, hint: &str| {
        let error = Node::from_json(&value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.hint().unwrap_or_default(), hint, "{error}");
    };
    let buffer = |configurations: Value| json!({"type": "MEMORY", "subtype": "CONVERSATION_BUFFER", "configurations": configurations});
    assert!(Node::from_json(&buffer(json!({"use_advanced": true, "max_messages": 5.0}))).is_ok());
    refused(buffer(json!({"max_mesages": 1})), "did you mean \"max_messages\"?");
    refused(
        buffer(json!({"use_persistant_storage": true})),
        "did you mean \"use_persistent_storage\"?",
    );
    refused(buffer(json!({"operation": "stroe"})), "did you mean \"store\"?");
    refused(
        json!({"type": "MEMORY", "subtype": "CONVERSATION_BUFER"}),
        "did you mean \"CONVERSATION_BUFFER\"?",
    );
    refused(json!({"type": "MEMORY", "subtyp": "X"}), "did you mean \"subtype\"?");
    refused(json!({"type": "LLM", "subtype": "X"}), "set \"type\" to \"MEMORY\"");
    for wrong in [
        json!(1),
        json!({}),
        json!({"type": "MEMORY"}),
        buffer(json!([])),
        buffer(json!({"use_persistent_storage": "yes"})),
        buffer(json!({"max_messages": 0.5})),
    ] {
        assert!(Node::from_json(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn g3_a_number_that_cannot_be_kept_is_refused() {
    let text = r#"{"type": "MEMORY", "subtype": "CONVERSATION_BUFFER",
        "configurations": {"max_messages": 18446744073709551616}}"#;
    assert!(text.parse::<Node>().unwrap_err().message().contains("18446744073709551616"));
}

#[tokio::test]
async fn m1_the_input_s_operation_stands_above_the_node_s() {
    let memory = memory().await;
    let ada = ExecutionContext::for_user("ada");
    let buffer = node("CONVERSATION_BUFFER", &json!({"operation": "store"}));
    let answer = memory.execute(&buffer, &ada, &json!({"message": "Hello"})).await;
    assert_eq!(answer["seq"], 1);
    let answer = memory.execute(&buffer, &ada, &json!({"operation": "clear"})).await;
    assert_eq!(answer["cleared"], 1);
    for wrong in [json!({"operation": "cler"}), json!({"operation": 1}), json!([]), json!({})] {
        let answer = memory.execute(&buffer, &ada, &wrong).await;
        assert_eq!(answer["success"], false, "{wrong}");
        assert_eq!(answer["error"]["code"], "invalid_input", "{wrong}");
    }
    let silent = node("CONVERSATION_BUFFER", &json!({}));
    let answer = memory.execute(&silent, &ada, &json!({})).await;
    assert!(answer["error"]["hint"].as_str().unwrap().contains("get_context"));
}

#[tokio::test]
async fn every_kind_answers_to_every_operation() {
    let memory = memory().await;
    let ada = ExecutionContext::for_user("ada");
    for (subtype, store, retrieve, context) in [
        ("CONVERSATION_BUFFER", json!({"message": "Hello"}), json!({}), json!({})),
        ("CONVERSATION_SUMMARY", json!({"message": "Hello"}), json!({}), json!({})),
        (
            "VECTOR_DATABASE",
            json!({"content": "a red tower"}),
            json!({"query": "tower"}),
            json!({"query": "tower"}),
        ),
        ("WORKING_MEMORY", json!({"key": "k", "value": 1}), json!({"key": "k"}), json!({})),
        ("KEY_VALUE_STORE", json!({"key": "k", "value": 1}), json!({"key": "k"}), json!({})),
    ] {
        let node = node(subtype, &json!({}));
        for operation in Operation::ALL {
            let mut input = match operation {
                Operation::Store => store.clone(),
                Operation::Retrieve => retrieve.clone(),
                Operation::GetContext => context.clone(),
                Operation::Truncate => json!({"after_seq": 0}),
                _ => json!({}),
            };
            let offered = match operation {
                Operation::Truncate | Operation::Pop => subtype.starts_with("CONVERSATION"),
                Operation::Summarize => subtype == "CONVERSATION_SUMMARY",
                _ => true,
            };
            input["operation"] = operation.name().into();
            let answer = memory.execute(&node, &ada, &input).await;
            assert_eq!(answer["success"], offered, "{subtype} {operation}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_kind_can_be_used_by_its_typed_api_too() {
    let memory = memory().await;
    let buffer = node("CONVERSATION_BUFFER", &json!({}));
    let kind = memory.kind(&buffer, &ExecutionContext::for_user("ada")).unwrap();
    assert_eq!(kind.name(), KindName::ConversationBuffer);
}

#[tokio::test]
async fn g12_erasure_reaches_every_store() {
    let (a, b) = (InMemory::new(), InMemory::new());
    let memory = Memory::builder()
        .backend("a", a.backend())
        .backend("b", b.backend())
        .default_store("a")
        .bind(Facet::Working, "b")
        .build()
        .await
        .unwrap();
    let ada = ExecutionContext::for_user("ada");
    let store = json!({"operation": "store", "message": "x"});
    memory.execute(&node("CONVERSATION_BUFFER", &json!({})), &ada, &store).await;
    let store = json!({"operation": "store", "key": "x", "value": 1});
    memory.execute(&node("WORKING_MEMORY", &json!({})), &ada, &store).await;
    let receipts = memory.erase("ada").await.unwrap();
    assert_eq!((receipts["a"].messages, receipts["b"].entries), (1, 1));
    let again = memory.erase("ada").await.unwrap();
    assert_eq!((again["a"].messages, again["b"].entries), (0, 0));
}

#[tokio::test]
async fn g12_an_erasure_that_fails_names_the_store_and_what_was_erased_in_others() {
    let down = Layers::new().faults(Faults::new(1).before(1.0));
    let memory = Memory::builder()
        .store("main", "memory:")
        .store("vec", "memory:")
        .layers("vec", down)
        .default_store("main")
        .bind(Facet::Vectors, "vec")
        .build()
        .await
        .unwrap();
    let ada = ExecutionContext::for_user("ada");
    let store = json!({"operation": "store", "message": "x"});
    memory.execute(&node("CONVERSATION_BUFFER", &json!({})), &ada, &store).await;
    let error = memory.erase("ada").await.unwrap_err();
    let context = [
        ("store", "vec".to_owned()),
        ("erased", "main: 1 messages, 0 records, 0 entries".to_owned()),
    ];
    assert_eq!(error.context(), context, "{error}");
    assert!(error.maybe_applied());
}

#[tokio::test]
async fn g14_every_store_reports_its_health() {
    let health = memory().await.health(Duration::from_secs(1)).await;
    assert_eq!(health["main"].status, HealthStatus::Healthy);
}

#[tokio::test]
async fn a_scheme_nobody_answers_to_is_told_with_the_feature_that_would_bring_it() {
    // Whatever else is compiled in.
    let mut registry = Registry::new();
    registry.register(memquill_inmemory::driver());
    let connect = async |url: &str| registry.connect(&url.parse::<StoreUrl>().unwrap()).await;
    let error = connect("qdrant://u:CANARY@h").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.hint(), Some("build with the cargo feature \"qdrant\""));
    assert!(error.message().contains("memory"));
    assert!(!format!("{error:?}").contains("CANARY"));
    let error = connect("memroy:").await.unwrap_err();
    assert_eq!(error.hint(), Some("did you mean \"memory\"?"));
    let none = Registry::new().connect(&"memory:".parse().unwrap()).await.unwrap_err();
    assert_eq!(none.hint(), Some("build with the cargo feature \"inmemory\""));
}

#[test]
fn the_driver_registered_last_is_asked_first() {
    let mut registry = Registry::new();
    registry.register(memquill_inmemory::driver()).register(memquill_inmemory::driver());
    let url = "memory:".parse().unwrap();
    let last = Arc::as_ptr(&registry.drivers()[1]).cast::<()>();
    assert_eq!(std::ptr::from_ref(registry.driver(&url).unwrap()).cast::<()>(), last);
}

#[tokio::test]
async fn clones_share_the_stores_and_cross_threads() {
    fn shared<T: Clone + Send + Sync + 'static>(value: T) -> T {
        value
    }
    let memory = shared(memory().await);
    let scope = Scope::new("ada", "n").unwrap();
    let other = memory.clone();
    let append = memquill::Append::new("c", vec![Message::user("x")]);
    let task = {
        let scope = scope.clone();
        tokio::spawn(async move { other.conversations()?.append(&scope, &append).await })
    };
    task.await.unwrap().unwrap();
    let read = memquill::ReadMessages::all("c");
    assert_eq!(memory.conversations().unwrap().read(&scope, &read).await.unwrap().total, 1);
}

#[cfg(feature = "cache")]
#[tokio::test]
async fn a_cache_stands_before_the_store_it_is_bound_to() {
    use memquill::config::CacheConfig;
    use memquill::{Get, Put};

    let hour = Duration::from_hours(1);
    let cached = CacheConfig { max_age: hour, ..CacheConfig::default() };
    let (main, other) = (InMemory::new(), InMemory::new());
    let build = |cache: CacheConfig| {
        Memory::builder()
            .backend("main", main.backend())
            .backend("other", other.backend())
            .default_store("main")
            .cache(Facet::Working, cache)
            .build()
    };
    let memory = build(cached.clone()).await.unwrap();
    let scope = Scope::new("ada", "n").unwrap();
    let read = async || {
        let entry = memory.working().unwrap().get(&scope, &Get::new("k")).await.unwrap();
        entry.map(|entry| entry.value)
    };
    memory.working().unwrap().put(&scope, &Put::new("k", 1)).await.unwrap();
    // As another process would, past the cache.
    main.backend().working().unwrap().put(&scope, &Put::new("k", 2)).await.unwrap();
    assert_eq!(read().await, Some(json!(1).into()));
    memory.erase("ada").await.unwrap();
    assert_eq!(read().await, None);
    let error = build(CacheConfig { shared: Some("other".into()), ..cached }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
