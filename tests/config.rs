//! The configuration file: what it says, and how it is told that it is wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::time::Duration;

use memquill::config::{Config, EmbedderConfig, SummarizerConfig, Tokens};
use memquill::layers::{CircuitBreaker, ConcurrencyLimit, Layers, Retries};
use memquill::nodes::Settings;
use memquill::{Error, ErrorKind, Facet};

const FULL: &str = r#"
stores:
  main: sqlite:${HOME}/agent.db
  cache:
    url: "redis://u:${SECRET}@h"
    layers:
      retry: {attempts: 5, pause_ms: 10}
      circuit_breaker: {failures: 5, pause_s: 2}
      concurrency: {calls: 64, patience_ms: 100}
      timeout_ms: "${TIMEOUT:-500}"
      metrics: false
default: main
vectors: main
working: cache
embedder: {type: hashing, dimensions: "${DIMENSIONS:-256}"}
tokens: heuristic
trace: ${TRACE:-true}
nodes:
  buffer: {type: MEMORY, subtype: CONVERSATION_BUFFER, configurations: {conversation_id: "${USER}$$1"}}
  facts:
    type: MEMORY
    subtype: VECTOR_DATABASE
    id: shared
    configurations: {language: no}
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/home/ada".into()),
        "USER" => Some("ada".into()),
        "SECRET" => Some("CANARY".into()),
        "FIFTY" => Some("50".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Config, Error> {
    Config::from_text("a.yaml", text, &env)
}

#[track_caller]
fn refused(text: &str, message: &str, hint: &str) {
    let error = read(text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.message(), message);
    assert_eq!(error.hint().unwrap_or_default(), hint);
}

#[test]
fn a_file_binds_facets_to_stores() {
    let config = read(FULL).unwrap();
    assert_eq!(config.stores["main"].expose(), "sqlite:/home/ada/agent.db");
    assert_eq!(config.binding(Facet::Conversations), Some("main"));
    assert_eq!(config.binding(Facet::Vectors), Some("main"));
    assert_eq!(config.binding(Facet::Working), Some("cache"));
    assert!(matches!(config.embedder, EmbedderConfig::Hashing { dimensions: 256 }));
    assert_eq!(config.tokens, Tokens::Heuristic);
    assert!(config.trace);
    let second = Duration::from_secs(1);
    let layers = Layers::new()
        .retry(Retries::new(5).with_pause(second / 100, 2 * second))
        .circuit_breaker(CircuitBreaker::new(5).with_pause(2 * second, 30 * second))
        .concurrency(ConcurrencyLimit::new(64).with_patience(second / 10))
        .timeout(second / 2);
    assert_eq!(config.layers.into_iter().collect::<Vec<_>>(), [("cache".to_owned(), layers)]);
}

#[test]
fn what_is_wrong_with_layers_is_told_with_its_place() {
    let wrong = |layers| format!("stores: {{main: {{url: \"memory:\", layers: {{{layers}}}}}}}");
    let place = |path: &str, column, message: &str| {
        format!("a.yaml:1:{column}: stores.main.layers{path}: {message}")
    };
    refused(
        &wrong("retries: {}"),
        &place("", 42, "there is no key \"retries\" here"),
        "did you mean \"retry\"?",
    );
    refused(
        &wrong("timeout_ms: 0"),
        &place(".timeout_ms", 54, "found number `0`, expected a whole number from 1 to 86400000"),
        "",
    );
    refused(
        &wrong("retry: {pause_ms: 1}"),
        &place(".retry", 49, "the key \"attempts\" is missing"),
        "",
    );
}

#[test]
fn nodes_are_read_and_have_their_names_for_ids() {
    let config = read(FULL).unwrap();
    assert_eq!(config.nodes["buffer"].id.as_deref(), Some("buffer"));
    assert_eq!(config.nodes["facts"].id.as_deref(), Some("shared"));
    let Settings::ConversationBuffer(buffer) = &config.nodes["buffer"].settings else {
        panic!("not a buffer")
    };
    assert_eq!(buffer.conversation_id, "ada$1");
    let Settings::VectorDatabase(facts) = &config.nodes["facts"].settings else {
        panic!("not vectors")
    };
    // Norwegian, not false: YAML 1.2.
    assert_eq!(facts.language.unwrap().code(), "no");
}

#[test]
fn json_is_read_by_the_same_rules() {
    let config =
        read("{\"stores\": {\"main\": \"memory:\\ud83d\\ude00\"},\n\t\"trace\": true}").unwrap();
    assert_eq!(config.stores["main"].expose(), "memory:😀");
    assert!(config.trace);
    refused(
        "{\"stores\": {\"main\": \"memory:\"},\n \"tarce\": true}",
        "a.yaml:2:2: there is no key \"tarce\" here",
        "did you mean \"trace\"?",
    );
}

#[test]
fn a_store_alone_is_the_default_and_several_are_not() {
    let config = read("stores: {only: 'memory:'}").unwrap();
    assert_eq!(config.binding(Facet::Working), Some("only"));
    let config = read("stores: {a: 'memory:', b: 'memory:'}").unwrap();
    assert_eq!(config.binding(Facet::Working), None);
}

#[test]
fn an_error_says_line_column_path_and_the_nearest_name() {
    refused(
        "stores:\n  main: 'memory:'\nworking: mian\n",
        "a.yaml:3:10: working: there is no store of this name",
        "did you mean \"main\"?",
    );
    refused(
        "stores: {main: {uri: 'memory:'}}",
        "a.yaml:1:17: stores.main: there is no key \"uri\" here",
        "did you mean \"url\"?",
    );
    refused(
        "stores: {main: 'memory:'}\nembedder: {type: hashign}",
        "a.yaml:2:18: embedder.type: \"hashign\" is not known here",
        "did you mean \"hashing\"?",
    );
    refused(
        "stores: {main: 'memory:'}\nembedder: {type: hashing, dimensions: many}",
        "a.yaml:2:39: embedder.dimensions: found text \"many\", expected a whole number \
         from 0",
        "",
    );
    let error = read(
        "stores: {main: 'memory:'}\nnodes:\n  b: {type: MEMORY, subtype: CONVERSATION_BUFFER, configurations: {max_mesages: 1}}",
    )
    .unwrap_err();
    assert!(error.message().starts_with("a.yaml:3:6: nodes.b: "), "{error}");
    assert_eq!(error.hint(), Some("did you mean \"max_messages\"?"));
}

#[test]
fn what_is_missing_is_named() {
    refused("trace: true", "a.yaml:1:1: the key \"stores\" is missing", "");
    for empty in ["stores: {}", "", "stores:"] {
        assert!(read(empty).unwrap_err().to_string().contains("stores"), "{empty:?}");
    }
    refused(
        "stores: {main: 'sqlite:${NOWHERE}/a.db'}",
        "a.yaml:1:16: stores.main: the environment variable NOWHERE is not set",
        "set it, or give a default: ${NOWHERE:-default}",
    );
}

#[test]
fn a_default_stands_in_for_what_is_unset_or_empty() {
    let url = |text: &str| {
        let config = read(&format!("stores: {{main: 'memory:{text}'}}")).unwrap();
        config.stores["main"].expose().to_owned()
    };
    assert_eq!(url("${NOWHERE:-x}"), "memory:x");
    assert_eq!(url("${EMPTY:-x}"), "memory:x");
    assert_eq!(url("${EMPTY}"), "memory:");
    assert_eq!(url("${USER:-x}-$$"), "memory:ada-$");
    for lone in ["$USER", "${USER", "${A B}", "${}", "${A:-${B}}"] {
        assert!(read(&format!("stores: {{main: 'memory:{lone}'}}")).is_err(), "{lone}");
    }
}

#[test]
fn e3_no_secret_is_printed() {
    let config = read(FULL).unwrap();
    assert_eq!(config.stores["cache"].expose(), "redis://u:CANARY@h");
    assert!(!format!("{config:?}").contains("CANARY"));
    for wrong in [
        "stores: {main: '${SECRET}'}",
        "stores: {main: 'memory:'}\ntokens: ${SECRET}",
        "stores: {main: 'memory:'}\ntrace: ${SECRET}",
        "stores: {main: 'memory:'}\nworking: ${SECRET}",
        "stores: {main: 'memory:'}\nembedder: {type: '${SECRET}'}",
        "stores: {main: 'memory:'}\nembedder: ${SECRET}",
        "stores: {main: 'memory:'}\nnodes: {b: {type: MEMORY, subtype: '${SECRET}'}}",
        "stores: {main: 'memory:'}\nnodes: {b: {type: MEMORY, subtype: KEY_VALUE_STORE, configurations: {ttl_seconds: '${SECRET}'}}}",
        "stores: {main: 'postgres://u:CANARY@h', main: 'memory:'}",
        "stores: {main: 'postgres://u:CANARY@h'\nbad",
        "stores: {main: 'CANARY'}",
        "stores: {main: ['postgres://u:CANARY@h']}",
    ] {
        let error = read(wrong).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("CANARY"), "{wrong}: {error}");
    }
}

#[test]
fn a_variable_of_a_node_is_a_number_or_a_truth_where_one_is_wanted() {
    let node = |configurations: &str| {
        let node = format!("type: MEMORY, subtype: CONVERSATION_BUFFER, {configurations}");
        read(&format!("stores: {{main: 'memory:'}}\nnodes: {{b: {{{node}}}}}"))
    };
    let plain = "configurations: {max_messages: 50, use_persistent_storage: true}";
    let variable =
        "configurations: {max_messages: '${FIFTY}', use_persistent_storage: '${TRUE:-true}'}";
    let shown = |text| format!("{:?}", node(text).unwrap().nodes);
    assert_eq!(shown(variable), shown(plain));
    // Some are wanted as text and some as numbers.
    let mixed =
        "id: '${FIFTY}', configurations: {max_messages: '${FIFTY}', max_tokens: '${FIFTY}'}";
    assert_eq!(node(mixed).unwrap().nodes["b"].id.as_deref(), Some("50"));
    let error = node("configurations: {conversation_id: '${USER}', max_mesages: 1}").unwrap_err();
    assert_eq!(error.hint(), Some("did you mean \"max_messages\"?"));
    // A text stays text, whatever it looks like; a number in quotes is one where one is wanted.
    assert_eq!(node("id: '${FIFTY}'").unwrap().nodes["b"].id.as_deref(), Some("50"));
    assert_eq!(shown("configurations: {max_messages: '50'}"), shown(plain));
}

#[test]
fn any_number_of_variables_of_a_node_are_numbers_where_these_are_wanted() {
    let numbers = ["0.5", "7", "0.25", "0.75", "3600", "2", "11", "12", "13", "14", "15"];
    let env = |name: &str| match name.strip_prefix('N') {
        Some(number) => numbers.get(number.parse::<usize>().ok()?).map(|&text| text.to_owned()),
        None => (name == "TRUE").then(|| "true".to_owned()),
    };
    let text = "
stores: {main: 'memory:'}
nodes:
  facts:
    type: MEMORY
    subtype: VECTOR_DATABASE
    id: ${N6}
    name: ${N7}
    configurations:
      similarity_threshold: ${N0}
      max_results: ${N1}
      dense_weight: ${N2}
      diversity: ${N3}
      recency_half_life: ${N4}
      neighbours: ${N5}
      namespace: ${N8}
      user_id: ${N9}
      node_id: ${N10}
      use_persistent_storage: ${TRUE}
";
    let config = Config::from_text("a.yaml", text, &env).unwrap();
    let node = &config.nodes["facts"];
    let names = [&node.id, &node.name, &node.user_id, &node.node_id].map(Option::as_deref);
    assert_eq!(names, ["11", "12", "14", "15"].map(Some));
    let Settings::VectorDatabase(facts) = &node.settings else { panic!("not vectors") };
    assert_eq!((facts.max_results, facts.neighbours, facts.namespace.as_str()), (7, 2, "13"));
    assert_eq!(format!("{:?}", (facts.similarity_threshold, facts.diversity)), "(0.5, 0.75)");
    assert!(node.persistent);
}

#[test]
fn what_a_variable_holds_stays_the_text_that_it_is_where_text_is_wanted() {
    for held in ["00123", "1e5", "yes", "null", "true", "~", "0x10", "", " padded "] {
        let env = |_: &str| Some(held.to_owned());
        let text = "
stores: {main: 'memory:', other: 'memory:${V}'}
default: main
nodes:
  b: {type: MEMORY, subtype: CONVERSATION_BUFFER, id: '${V}', configurations: {user_id: '${V}'}}
";
        let config = Config::from_text("a.yaml", text, &env).unwrap();
        assert_eq!(config.stores["other"].expose(), format!("memory:{held}"));
        assert_eq!(config.nodes["b"].id.as_deref(), Some(held));
        assert_eq!(config.nodes["b"].user_id.as_deref(), Some(held));
    }
}

#[test]
fn what_a_variable_holds_is_data_and_adds_nothing_to_the_file() {
    for held in [
        "main}, trace: true, tokens: {",
        "main\ntrace: true",
        "main: x",
        "'\"",
        "${SECRET}",
        "# no comment",
        "*alias",
    ] {
        let env = |name: &str| (name == "V").then(|| held.to_owned());
        for yaml in ["${V}", "'${V}'", "\"${V}\""] {
            let text = format!(
                "stores: {{main: 'memory:'}}\nnodes: {{b: {{type: MEMORY, subtype: KEY_VALUE_STORE, id: {yaml}}}}}"
            );
            let Ok(config) = Config::from_text("a.yaml", &text, &env) else {
                // `{` begins an object where nothing quotes it.
                assert_eq!(yaml, "${V}");
                continue;
            };
            assert_eq!(config.nodes["b"].id.as_deref(), Some(held), "{yaml}");
            assert!(!config.trace);
        }
    }
}

#[test]
fn a_variable_that_is_no_number_is_refused_without_saying_what_it_holds() {
    for (text, message) in [
        (
            "stores: {m: {url: 'memory:', layers: {timeout_ms: '${SECRET}'}}}",
            "a.yaml:1:51: stores.m.layers.timeout_ms: found the text of an environment variable, \
             expected a whole number from 0",
        ),
        (
            "stores: {m: 'memory:'}\ntokens: '${SECRET}'",
            "a.yaml:2:9: tokens: found the text of an environment variable, expected one of \
             heuristic, o200k_base, cl100k_base",
        ),
        (
            "stores: {m: 'memory:'}\nnodes: {b: {type: MEMORY, subtype: CONVERSATION_BUFFER, \
             configurations: {max_messages: '${SECRET}'}}}",
            "a.yaml:2:12: nodes.b: the environment variables here hold what is not accepted",
        ),
    ] {
        assert_eq!(read(text).unwrap_err().message(), message);
    }
}

#[test]
fn a_key_that_is_given_twice_is_refused() {
    for text in [
        "stores: {m: 'memory:'}\ntrace: true\ntrace: false",
        "{\"stores\": {\"m\": \"memory:\"},\n\"trace\": true,\n\"trace\": false}",
    ] {
        refused(text, "a.yaml:3:1: the key \"trace\" is given twice", "the file is YAML, or JSON");
    }
}

#[test]
fn no_error_shows_a_name_of_the_program() {
    for (text, said) in [
        ("stores: 5", "stores: found number `5`, expected an object"),
        ("stores: {m: 5}", "stores.m: found number `5`, expected a URL, or an object"),
        ("stores: {m: 'memory:'}\nworking: [a]", "working: found a list, expected the name of a"),
        ("stores: {m: 'memory:'}\ntrace: maybe", "trace: found text \"maybe\", expected true or"),
        ("stores: {m: 'memory:'}\ntokens: 7", "tokens: found number `7`, expected one of"),
        ("stores: {m: 'memory:'}\nembedder: 7", "embedder: found number `7`, expected an object"),
        ("[]", "found a list, expected an object"),
        ("stores: {m: {url: ~}}", "stores.m.url: found nothing, expected text"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.message().contains(said), "{text}: {error}");
    }
}

#[test]
fn an_exact_token_counter_needs_its_feature() {
    let config = read("stores: {main: 'memory:'}\ntokens: o200k_base");
    if cfg!(feature = "tiktoken") {
        assert_eq!(config.unwrap().tokens, Tokens::O200kBase);
    } else {
        assert!(config.unwrap_err().hint().unwrap().contains("\"tiktoken\""));
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::from_file("/no/such/file.yaml").unwrap_err();
    assert!(error.message().contains("/no/such/file.yaml"), "{error}");
}

#[test]
fn a_file_is_read_with_this_process_s_environment() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "stores: {{main: 'memory:${{PATH}}'}}").unwrap();
    let config = Config::from_file(file.path()).unwrap();
    assert_eq!(
        config.stores["main"].expose(),
        format!("memory:{}", std::env::var("PATH").unwrap())
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z:{}\\[\\]\"'$&*!|>#%@\n\t \\-]{0,80}") {
        let _ = read(&text);
        let _ = read(&format!("stores: {{main: 'memory:'}}\n{text}"));
    }
}

#[cfg(feature = "cache")]
#[test]
fn a_binding_may_have_a_cache() {
    let config = read(
        r#"
stores: {main: "memory:", other: "memory:other"}
default: main
conversations: {cache: {}}
working: {store: main, cache: {capacity_mib: 2, max_age_ms: 50, shared: other, shared_ttl_ms: 9}}
"#,
    )
    .unwrap();
    assert_eq!(config.binding(Facet::Conversations), Some("main"));
    assert_eq!(config.caches[&Facet::Conversations], memquill::config::CacheConfig::default());
    let working = &config.caches[&Facet::Working];
    assert_eq!((working.capacity_bytes, working.max_age.as_millis()), (2 << 20, 50));
    assert_eq!((working.shared.as_deref(), working.shared_ttl.as_millis()), (Some("other"), 9));
    refused(
        "stores: {main: \"memory:\"}\nvectors: {cache: {}}",
        "a.yaml:2:18: vectors.cache: vectors have no cache",
        "cache conversations or working",
    );
    refused(
        "stores: {main: \"memory:\"}\nworking: {cache: {max_age: 1}}",
        "a.yaml:2:19: working.cache: there is no key \"max_age\" here",
        "did you mean \"max_age_ms\"?",
    );
    refused(
        "stores: {main: \"memory:\"}\nworking: {cache: {max_age_ms: 0}}",
        "a.yaml:2:31: working.cache.max_age_ms: found number `0`, expected a whole number from 1 \
         to 86400000",
        "",
    );
}

#[cfg(not(feature = "cache"))]
#[test]
fn a_cache_that_is_not_compiled_in_is_refused() {
    refused(
        "stores: {main: \"memory:\"}\nworking: {cache: {}}",
        "a.yaml:2:18: working.cache: caches are not compiled in",
        "build with the cargo feature \"cache\", or leave the cache out",
    );
}

#[test]
fn an_embedder_is_text_or_an_object() {
    let embedder = |yaml: &str| read(&format!("stores: {{m: 'memory:'}}\nembedder: {yaml}"));
    for (yaml, dimensions) in [("hashing", 512), ("hashing:64", 64), ("{type: hashing}", 512)] {
        let config = embedder(yaml).unwrap();
        assert_eq!(config.embedder.build().unwrap().space().dimensions, dimensions, "{yaml}");
    }
    for (yaml, message, hint) in [
        ("hasing", "a.yaml:2:11: embedder: there is no embedder \"hasing\"", "hashing"),
        ("hashing:none", "a.yaml:2:11: embedder: hashing takes a number of dimensions", ""),
        ("hashing:0", "a.yaml:2:11: embedder: dimensions are 1 to 16000", ""),
        ("'fastembed:'", "a.yaml:2:11: embedder: fastembed needs a model", "MiniLM"),
        ("openai", "a.yaml:2:11: embedder: openai needs a model", "text-embedding-3-small"),
        ("{type: openai}", "a.yaml:2:11: embedder: the key \"model\" is missing", ""),
        (
            "{type: hashing, modell: x}",
            "a.yaml:2:27: embedder: there is no key \"modell\"",
            "type, dimensions",
        ),
        (
            "{type: hashing, model: x}",
            "a.yaml:2:27: embedder: there is no key \"model\"",
            "dimensions",
        ),
        (
            "{type: openai, model: m, concurrency: 0}",
            "a.yaml:2:49: embedder.concurrency: found number `0`, expected a whole number from 1",
            "",
        ),
    ] {
        let error = embedder(yaml).unwrap_err();
        assert!(error.message().starts_with(message), "{yaml}: {error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{yaml}: {error}");
    }
}

#[test]
#[cfg(feature = "openai")]
fn e3_the_key_of_a_service_is_read_and_never_shown() {
    let config = read(
        "stores: {m: 'memory:'}\nembedder: {type: openai, model: m, dimensions: 8, \
         base_url: 'http://h/v1', api_key: '${SECRET}', timeout_seconds: 5, retries: 0, cache_mib: 0}",
    )
    .unwrap();
    assert!(!format!("{config:?}").contains("CANARY"));
    let EmbedderConfig::OpenAi(openai) = &config.embedder else { panic!("not openai") };
    assert_eq!((openai.retries, openai.cache_mib, openai.timeout.as_secs()), (0, 0, 5));
    assert_eq!(config.embedder.build().unwrap().space().to_string(), "m (8 dimensions)");
}

#[test]
#[cfg(not(feature = "openai"))]
fn an_embedder_that_is_not_compiled_in_says_which_feature_brings_it() {
    refused(
        "stores: {m: 'memory:'}\nembedder: openai:m",
        "a.yaml:2:11: embedder: the embedder openai is not compiled in",
        "build with the cargo feature \"openai\", or use hashing",
    );
}

#[test]
fn a_summarizer_is_a_line_or_an_object_and_a_secret_of_it_is_not_printed() {
    let with =
        |summarizer: &str| format!("stores: {{main: \"memory:\"}}\nsummarizer: {summarizer}");
    assert!(matches!(read(&with("extractive")).unwrap().summarizer, SummarizerConfig::Extractive));
    read(&with("{type: extractive}")).unwrap();
    refused(
        &with("extractiv"),
        "a.yaml:2:13: summarizer: there is no summarizer \"extractiv\"",
        "did you mean \"extractive\"?",
    );
    let error = read(&with("{type: extractive, model: m}")).unwrap_err();
    assert_eq!(error.message(), "a.yaml:2:32: summarizer: there is no key \"model\" here");
    let openai = "{type: openai, model: m, base_url: \"http://h/v1\", api_key: \"${SECRET}\"}";
    if cfg!(feature = "openai") {
        let config = read(&with(openai)).unwrap();
        assert!(!format!("{config:?}").contains("CANARY"));
    } else {
        let error = read(&with(openai)).unwrap_err();
        assert!(error.hint().unwrap().contains("openai"), "{error}");
    }
}
