//! Building a memory: names, gaps, layers, counting, migrating, health and closing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use memquill::config::{CacheConfig, Config};
use memquill::driver::{Control, Registry};
use memquill::layers::{Layers, Retries};
use memquill::nodes::{ExecutionContext, Node};
use memquill::tokens::TokenCounter;
use memquill::{
    Append, ErasureReceipt, ErrorKind, Facet, Health, HealthStatus, Memory, MemoryBuilder, Message,
    Page, PageRequest, ReadMessages, Scope,
};
use memquill_inmemory::InMemory;
use serde_json::{Value, json};

fn node(subtype: &str, configurations: &Value) -> Node {
    let node = json!({"type": "MEMORY", "subtype": subtype, "configurations": configurations});
    Node::from_json(&node).unwrap()
}

async fn memory() -> Memory {
    Memory::connect("memory:").await.unwrap()
}

/// Builds, which must fail as a configuration error, and gives message, with its context, and hint.
async fn refused(builder: MemoryBuilder) -> (String, String) {
    let error = builder.build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let context = error.context().iter().map(|(key, value)| format!("; {key} {value}"));
    let message = format!("{}{}", error.message(), context.collect::<String>());
    (message, error.hint().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn g10_a_name_that_matches_nothing_is_refused_at_build_with_the_nearest_one() {
    let builder = || Memory::builder().store("main", "memory:");
    for (builder, says) in [
        (builder().layers("mian", Layers::new()), "layers: there is no store \"mian\""),
        (builder().bind(Facet::Working, "mian"), "working: there is no store \"mian\""),
        (builder().default_store("mian"), "the default store: there is no store \"mian\""),
        (
            builder().cache(
                Facet::Working,
                CacheConfig { shared: Some("mian".into()), ..CacheConfig::default() },
            ),
            "the cache of working: there is no store \"mian\"",
        ),
    ] {
        let (message, hint) = refused(builder).await;
        assert!(message.contains(says), "{message}");
        assert_eq!(hint, "did you mean \"main\"?");
    }
    let (_, hint) = refused(builder().bind(Facet::Vectors, "elsewhere")).await;
    assert_eq!(hint, "the stores are main");
}

#[tokio::test]
async fn g10_names_that_are_empty_or_given_twice_are_refused_at_build() {
    let builder = || Memory::builder().store("main", "memory:");
    let plan = || node("WORKING_MEMORY", &json!({}));
    for (builder, says) in [
        (builder().store("main", "memory:b"), "the store \"main\" is given twice"),
        (builder().backend("main", InMemory::new().backend()), "the store \"main\" is given twice"),
        (Memory::builder().store("", "memory:"), "a store's name is empty"),
        (Memory::builder().store(" \n", "memory:"), "a store's name is empty"),
        (builder().node("", plan()), "a node's name is empty"),
        (builder().node("n", plan()).node("n", plan()), "the node \"n\" is given twice"),
        (
            builder().bind(Facet::Working, "main").bind(Facet::Working, "main"),
            "the store of working is given twice",
        ),
        (
            builder().layers("main", Layers::new()).layers("main", Layers::default()),
            "the set of layers of \"main\" is given twice",
        ),
        (builder().default_store("main").default_store("main"), "the default store is given twice"),
    ] {
        let (message, _) = refused(builder).await;
        assert!(message.contains(says), "{says:?} is not in {message:?}");
    }
}

#[tokio::test]
async fn g10_a_memory_without_a_store_or_with_nothing_bound_is_refused_at_build() {
    let (message, hint) = refused(Memory::builder()).await;
    assert_eq!(message, "there is no store");
    assert!(hint.contains(".store(\"main\", \"sqlite:agent.db\")"), "{hint}");
    let two = || Memory::builder().store("a", "memory:a").store("b", "memory:b");
    let (message, hint) = refused(two()).await;
    assert!(message.contains("several stores, a, b, and no facet is bound"), "{message}");
    for part in [".default_store(NAME)", ".bind(", "\"default\""] {
        assert!(hint.contains(part), "{hint}");
    }
    let text = "stores: {a: 'memory:a', b: 'memory:b'}";
    let config = Config::from_text("a.yaml", text, &|_| None).unwrap();
    Memory::open(&config, Registry::with_compiled_drivers()).await.unwrap_err();
    // One facet is enough; what is asked of another says how to bind it.
    let memory = two().bind(Facet::Vectors, "b").build().await.unwrap();
    let error = memory.conversations().unwrap_err();
    assert!(error.hint().unwrap().contains(".default_store(NAME)"), "{error:?}");
    memory.vectors().unwrap();
}

#[tokio::test]
async fn everything_that_is_wrong_is_in_one_error_and_no_store_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made.db");
    let builder = Memory::builder()
        .store("main", format!("sqlite:{}", file.display()))
        .store("unreadable", "agent.db")
        .store("main", "memory:")
        .layers("mian", Layers::new())
        .bind(Facet::Vectors, "vektors");
    let (message, _) = refused(builder).await;
    for part in [
        "problem store unreadable: a store URL needs a scheme",
        "problem the store \"main\" is given twice",
        "problem layers: there is no store \"mian\"",
        "problem vectors: there is no store \"vektors\"",
    ] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert!(!file.exists());
}

#[tokio::test]
async fn g14_a_memorys_health_is_there_within_one_deadline_however_many_stores_are_lost() {
    let deadline = Duration::from_millis(300);
    let slow = || {
        InMemory::new().backend().map(|mut parts| {
            parts.control = Arc::new(Hangs(parts.control));
            parts
        })
    };
    let builder = (0..8).fold(Memory::builder(), |b, n| b.backend(format!("s{n}"), slow()));
    let memory = builder.default_store("s0").build().await.unwrap();
    let begun = std::time::Instant::now();
    let health = memory.health(deadline).await;
    assert!(begun.elapsed() < 4 * deadline, "{:?}", begun.elapsed());
    assert_eq!(health.len(), 8);
    assert!(health.values().all(|health| health.status == HealthStatus::Unreachable));
}

/// A store that takes the whole deadline to say that it does not answer.
#[derive(Debug)]
struct Hangs(Arc<dyn Control>);

#[async_trait::async_trait]
impl Control for Hangs {
    async fn health(&self, deadline: Duration) -> Health {
        tokio::time::sleep(deadline).await;
        let health = self.0.health(deadline).await;
        Health { status: HealthStatus::Unreachable, ..health }
    }

    async fn erase(&self, user: &str) -> memquill::Result<ErasureReceipt> {
        self.0.erase(user).await
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> memquill::Result<Page<Scope>> {
        self.0.scopes(user, page).await
    }
}

#[tokio::test]
async fn g15_a_closed_memory_refuses_every_call_its_clones_and_caches_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let url = format!("sqlite:{}", file.display());
    let open = || {
        Memory::builder()
            .store("main", &url)
            .store("other", "memory:")
            .default_store("main")
            .cache(Facet::Conversations, CacheConfig::default())
            .build()
    };
    let memory = open().await.unwrap();
    let scope = Scope::new("ada", "n").unwrap();
    let append = Append::new("c", vec![Message::user("hello"); 3]);
    let read = ReadMessages::newest("c", 2);
    memory.conversations().unwrap().append(&scope, &append).await.unwrap();
    memory.conversations().unwrap().read(&scope, &read).await.unwrap();
    let clone = memory.clone();
    memory.close().await.unwrap();
    memory.close().await.unwrap();
    let error = clone.conversations().unwrap().read(&scope, &read).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Unavailable, false));
    let buffer = node("CONVERSATION_BUFFER", &json!({"operation": "get_statistics"}));
    let answer = clone.execute(&buffer, &ExecutionContext::for_user("ada"), &json!({})).await;
    assert_eq!(answer["error"]["code"], "unavailable");
    let health = clone.health(Duration::from_secs(1)).await;
    assert!(health.values().all(|health| health.status == HealthStatus::Unreachable));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the file alone");
    let again = open().await.unwrap();
    assert_eq!(again.conversations().unwrap().read(&scope, &read).await.unwrap().total, 3);
}

#[tokio::test]
async fn layers_default_is_what_a_store_has_of_which_nothing_is_said() {
    assert_eq!(Layers::default(), Layers::new().retry(Retries::new(3)).metrics(true));
    let text = "stores: {main: {url: 'memory:', layers: {timeout_ms: 2000}}}";
    let config = Config::from_text("a.yaml", text, &|_| None).unwrap();
    assert_eq!(config.layers["main"], Layers::default().timeout(Duration::from_secs(2)));
}

#[derive(Debug)]
struct Ten;

impl TokenCounter for Ten {
    fn count(&self, _: &str) -> u32 {
        10
    }
}

#[tokio::test]
async fn c5_appends_through_the_facet_are_counted_by_the_configured_counter() {
    let builder = || Memory::builder().store("main", "memory:");
    let counting = builder().counter(Arc::new(Ten)).build().await.unwrap();
    let heuristic = builder().build().await.unwrap();
    let scope = Scope::new("ada", "n").unwrap();
    let given = Message { token_count: Some(3), ..Message::user("hello there") };
    let append = Append::new("c", vec![Message::user("hello there"), given]);
    for (memory, tokens) in
        [(&counting, 14 + 3), (&heuristic, u64::from(Message::user("hello there").tokens()) + 3)]
    {
        let appended = memory.conversations().unwrap().append(&scope, &append).await.unwrap();
        assert_eq!(appended.token_count, tokens);
        // A kind on the same conversation counts alike.
        let buffer = node("CONVERSATION_BUFFER", &json!({"conversation_id": "c"}));
        let ada = ExecutionContext::for_user("ada").at_node("n");
        let answer = memory.execute(&buffer, &ada, &json!({"operation": "get_statistics"})).await;
        assert_eq!(answer["tokens"], tokens, "{answer}");
    }
}

#[tokio::test]
async fn m4_a_key_value_store_keeps_its_values_and_a_working_memory_lets_them_expire() {
    let memory = memory().await;
    for (subtype, configurations, ttl, expires) in [
        ("WORKING_MEMORY", json!({}), json!(3600), true),
        ("KEY_VALUE_STORE", json!({}), json!(0), false),
        ("key_value_store", json!({}), json!(0), false),
        ("KEY_VALUE_STORE", json!({"default_ttl": 60}), json!(60), true),
        ("WORKING_MEMORY", json!({"default_ttl": 0}), json!(0), false),
    ] {
        let node = node(subtype, &configurations);
        let ada = ExecutionContext::for_user("ada").at_node("kv");
        let store = json!({"operation": "store", "key": "k", "value": 1});
        let stored = memory.execute(&node, &ada, &store).await;
        assert_eq!(stored["success"], true, "{stored}");
        assert_eq!(stored["expires_at"].is_string(), expires, "{subtype}: {stored}");
        let statistics = json!({"operation": "get_statistics"});
        let statistics = memory.execute(&node, &ada, &statistics).await;
        assert_eq!(statistics["default_ttl"], ttl, "{subtype}");
        let briefly = json!({"operation": "store", "key": "k", "value": 1, "ttl_seconds": 5});
        assert!(memory.execute(&node, &ada, &briefly).await["expires_at"].is_string());
    }
}

#[tokio::test]
async fn g13_a_memory_migrates_its_stores_where_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let url = || format!("sqlite:{}?mode=rw", file.display());
    std::fs::write(&file, "").unwrap();
    let error = Memory::connect(url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "an empty file");
    let memory = Memory::builder().store("main", format!("sqlite:{}", file.display()));
    memory.migrate(true).build().await.unwrap().close().await.unwrap();
    Memory::connect(url()).await.unwrap();
}
