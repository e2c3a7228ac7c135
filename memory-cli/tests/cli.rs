//! The command line: answers, exit codes, and what is never printed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use proptest::prelude::*;
use serde_json::{Value, json};

use self::common::Place;

const MEMORY: &str = "--store=memory:";

fn node(place: &Place, subtype: &str, configurations: &Value) -> String {
    let node = json!({"type": "MEMORY", "subtype": subtype, "configurations": configurations});
    place.file(&format!("{subtype}.json"), &node.to_string()).display().to_string()
}

#[test]
fn run_answers_for_every_kind_and_operation() {
    let place = Place::new();
    for (subtype, inputs) in [
        (
            "CONVERSATION_BUFFER",
            [
                (json!({"operation": "store", "message": "Hi"}), "seq"),
                (json!({"operation": "retrieve"}), "messages"),
                (json!({"operation": "get_context", "format": "compact"}), "context"),
                (json!({"operation": "clear"}), "cleared"),
                (json!({"operation": "get_statistics"}), "message_count"),
            ],
        ),
        (
            "VECTOR_DATABASE",
            [
                (json!({"operation": "store", "content": "a red tower"}), "content_hash"),
                (json!({"operation": "retrieve", "query": "tower"}), "results"),
                (json!({"operation": "get_context", "query": "tower"}), "context"),
                (json!({"operation": "clear"}), "deleted"),
                (json!({"operation": "get_statistics"}), "total_documents"),
            ],
        ),
        (
            "WORKING_MEMORY",
            [
                (json!({"operation": "store", "key": "k", "value": null}), "version"),
                (json!({"operation": "retrieve", "key": "k"}), "found"),
                (json!({"operation": "get_context"}), "context"),
                (json!({"operation": "clear"}), "cleared"),
                (json!({"operation": "get_statistics"}), "entries"),
            ],
        ),
    ] {
        let node = node(&place, subtype, &json!({}));
        for (input, field) in inputs {
            let args = [MEMORY, "run", &node, "--user=ada", "--input=-"];
            let answer = place.run_with_input(args, &input.to_string()).json(0);
            assert_eq!(answer["success"], true, "{answer}");
            assert!(answer.get(field).is_some(), "{subtype} {input}: no {field} in {answer}");
        }
    }
}

#[test]
fn m1_a_failed_run_is_an_answer_and_exit_code_1() {
    let place = Place::new();
    let buffer = node(&place, "CONVERSATION_BUFFER", &json!({"operation": "store"}));
    for (args, input, code) in [
        (vec![buffer.as_str(), "--user=ada"], json!({}), "invalid_input"),
        (vec![buffer.as_str()], json!({"message": "x"}), "invalid_input"),
        (vec!["/no/such/node.json", "--user=ada"], json!({}), "invalid_input"),
    ] {
        let all = [MEMORY, "run", "--input=-"].into_iter().chain(args);
        let answer = place.run_with_input(all, &input.to_string()).json(1);
        assert_eq!(answer["success"], false);
        for field in ["code", "message", "hint", "backend", "operation", "retryable"] {
            assert!(answer["error"].get(field).is_some(), "no {field} in {answer}");
        }
        assert_eq!(answer["error"]["code"], code);
    }
}

#[test]
fn a_misspelt_key_is_told_with_the_nearest() {
    let place = Place::new();
    let wrong = node(&place, "WORKING_MEMORY", &json!({"refresh_on_reed": true}));
    let answer = place.run([MEMORY, "run", &wrong, "--user=ada"]).json(1);
    assert_eq!(answer["error"]["hint"], "did you mean \"refresh_on_read\"?");
    let right = node(&place, "WORKING_MEMORY", &json!({"operation": "store"}));
    let args = [MEMORY, "run", &right, "--user=ada", "--input=-"];
    let answer = place.run_with_input(args, r#"{"key": "k", "valeu": 1}"#).json(1);
    assert_eq!(answer["error"]["hint"], "did you mean \"value\"?");
}

#[test]
fn a_node_of_the_configuration_is_run_by_its_name() {
    let place = Place::new();
    place.file(
        "m.yaml",
        "stores: {main: 'memory:'}\nnodes: {buffer: {type: MEMORY, subtype: CONVERSATION_BUFFER}}",
    );
    let args = ["--config=m.yaml", "run", "buffer", "--user=ada", "--input=-"];
    let answer = place.run_with_input(args, r#"{"operation": "get_statistics"}"#).json(0);
    assert_eq!(answer["message_count"], 0);
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let place = Place::new();
    for args in [
        vec!["rum"],
        vec![MEMORY, "search"],
        vec![MEMORY, "search", "x", "--limit=0"],
        vec![MEMORY, "search", "x", "--filter={"],
        vec![MEMORY, "search", "x", r#"--filter={"metdata.x": 1}"#],
        vec![MEMORY, "search", "x", "--language=xx"],
        vec![MEMORY, "chat", "show", "c", "--format=yaml"],
        vec![MEMORY, "--log=a=b=c", "health"],
        vec![MEMORY, "--config=x.yaml", "health"],
        vec![MEMORY, "erase", "--yes"],
        vec![MEMORY, "erase", "--user=ada"],
        vec![MEMORY, "erase", "--user=ada", "--yes", "--node=n"],
        vec![MEMORY, "export", "all.jsonl", "--node=n"],
        vec![MEMORY, "import", "all.jsonl", "--node=n"],
        vec!["copy", "--from=memory:a", "--to=memory:b", "--node=n"],
        vec!["verify", "--from=memory:a", "--to=memory:b", "--node=n"],
        vec![MEMORY, "purge", "--node=n"],
        vec!["--config=/no/such.yaml", "health"],
        vec!["--store=no-scheme", "health"],
        vec!["--store=//u:CANARY@h/x", "health"],
    ] {
        let run = place.run(&args);
        assert_eq!(run.code, Some(2), "{args:?}: {}{}", run.stdout, run.stderr);
        assert!(!format!("{}{}", run.stdout, run.stderr).contains("CANARY"), "{args:?}");
    }
}

#[test]
fn a_hint_comes_with_a_wrong_filter() {
    let run = Place::new().run([MEMORY, "search", "x", r#"--filter={"documnt_type": "a"}"#]);
    assert!(run.stderr.contains("did you mean \"document_type\"?"), "{}", run.stderr);
}

#[test]
fn e3_a_secret_in_a_url_is_not_printed() {
    let place = Place::new();
    let url = "--store=postgres://u:CANARY@127.0.0.1:1/x?password=CANARY";
    for command in ["health", "migrate", "purge", "quickstart", "capabilities"] {
        for log in ["--log=warn", "--log=trace"] {
            let run = place.run([url, log, command]);
            assert!(!format!("{}{}", run.stdout, run.stderr).contains("CANARY"), "{command}");
            assert!(run.code == Some(1) || command == "capabilities", "{command}: {:?}", run.code);
        }
    }
}

#[test]
fn health_capabilities_migrate_purge_and_index_answer() {
    let place = Place::new();
    let health = place.run([MEMORY, "health"]).json(0);
    assert_eq!(health["stores"]["main"]["status"], "healthy");
    let capabilities = place.run([MEMORY, "capabilities"]).json(0);
    assert_eq!(capabilities["stores"]["inmemory"]["capabilities"]["durability"], "process");
    assert_eq!(place.run([MEMORY, "migrate"]).json(0)["success"], true);
    assert_eq!(place.run([MEMORY, "purge"]).json(0)["purged"]["main"]["entries"], 0);
    assert_eq!(place.run([MEMORY, "index"]).json(0)["built"]["main"], json!([]));
    let erased = place.run([MEMORY, "erase", "--user=ada", "--yes"]).json(0);
    assert_eq!(erased["erased"]["main"], json!({"messages": 0, "records": 0, "entries": 0}));
}

/// Connecting counts, too: the listener takes the connection, and says nothing.
#[cfg(feature = "postgres")]
#[test]
fn g14_health_answers_within_its_deadline() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("--store=postgres://u:p@{}/x", listener.local_addr().unwrap());
    let begun = std::time::Instant::now();
    let health = Place::new().run([url.as_str(), "health", "--deadline=1"]).json(1);
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
    assert_eq!(health["stores"]["main"]["status"], "unreachable", "{health}");
}

#[test]
fn completions_and_help_are_printed() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = place.run(["completions", shell]);
        assert_eq!(run.code, Some(0));
        assert!(run.stdout.contains("quickstart"), "{shell}");
    }
    let help = place.run(["--help"]);
    assert!(help.stdout.contains("Examples:") && help.code == Some(0));
    assert!(!place.run(["run", "--help"]).stdout.is_empty());
}

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    for command in [
        &["run"][..],
        &["chat"],
        &["chat", "import"],
        &["chat", "show"],
        &["chat", "list"],
        &["chat", "truncate"],
        &["chat", "pop"],
        &["chat", "delete"],
        &["search"],
        &["ingest"],
        &["reembed"],
        &["eval"],
        &["eval", "retrieval"],
        &["export"],
        &["import"],
        &["copy"],
        &["verify"],
        &["health"],
        &["capabilities"],
        &["migrate"],
        &["erase"],
        &["purge"],
        &["index"],
        &["quickstart"],
        &["completions"],
    ] {
        let help = place.run([command, &["--help"]].concat());
        assert_eq!(help.code, Some(0));
        let (_, example) =
            help.stdout.split_once("Example").unwrap_or_else(|| panic!("{command:?}"));
        assert!(example.contains("memquill "), "{command:?}: {example}");
    }
}

#[test]
fn quickstart_goes_through_all_kinds() {
    let answer = Place::new().run([MEMORY, "quickstart"]).json(0);
    let steps = answer["steps"].as_array().unwrap();
    for subtype in ["CONVERSATION_BUFFER", "VECTOR_DATABASE", "WORKING_MEMORY"] {
        assert!(steps.iter().any(|step| step["subtype"] == subtype));
    }
    assert!(steps.iter().all(|step| step["answer"]["success"] == true));
}

#[test]
fn quickstart_says_first_which_facet_has_no_store() {
    let place = Place::new();
    place.file(
        "m.yaml",
        "stores: {a: \"memory:\", b: \"memory:b\"}\nconversations: a\nworking: a\n",
    );
    let answer = place.run(["--config=m.yaml", "quickstart"]).json(1);
    assert!(answer.get("steps").is_none(), "{answer}");
    let error = &answer["error"];
    assert!(error["message"].as_str().unwrap().contains("needs vectors"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("`vectors: other`"), "{error}");
}

#[test]
fn a_strict_import_stops_and_says_what_came_before() {
    let place = Place::new();
    place.file(
        "chats.jsonl",
        "{\"conversation_id\": \"a\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n\
         \n{\"conversation_id\": \"b\", \"mesages\": []}\n",
    );
    let answer = place.run([MEMORY, "chat", "import", "chats.jsonl", "--strict"]).json(1);
    let error = &answer["error"];
    assert!(error["message"].as_str().unwrap().starts_with("chats.jsonl:3: "), "{error}");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("did you mean \"messages\"?"), "{hint}");
    assert!(hint.contains("1 conversations before it are imported"), "{hint}");
}

#[test]
fn an_import_says_what_it_imported() {
    let place = Place::new();
    let line = json!({"conversation_id": "a", "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "1"}, {"id": "2"}]}]});
    let text = format!("{line}\n{line}\n");
    let answer = place.run_with_input([MEMORY, "chat", "import", "-"], &text).json(0);
    assert_eq!(answer["conversations"], 2);
    assert_eq!(answer["messages"], 2);
    assert_eq!(answer["already_there"], 2);
    assert_eq!(answer["tool_calls"], 4);
}

#[test]
fn ingest_splits_counts_and_repeats_nothing() {
    let place = Place::new();
    place.file("docs/a.md", "# Title\n\nA red tower stands here.\n\n# Other\n\nA blue boat.\n");
    place.file("docs/b.txt", "A red tower stands here.");
    place.file("docs/.hidden.md", "not this");
    place.file("docs/deep/c.jsonl", "{\"content\": \"third\"}\n{\"content\": \"third\"}\n");
    place.file("docs/d.bin", "nor this");
    let answer = place.run([MEMORY, "ingest", "docs", "--passage=50"]).json(0);
    assert_eq!(answer["files"], 3);
    assert_eq!(answer["repeated"], 1);
    assert_eq!(answer["inserted"].as_u64().unwrap(), 4);
    let wrong = place.file("w.jsonl", "{\"content\": \"a\"}\n{\"contents\": \"b\"}\n");
    let answer = place.run([MEMORY, "ingest", wrong.to_str().unwrap()]).json(1);
    assert!(answer["error"]["message"].as_str().unwrap().contains("w.jsonl:2: "), "{answer}");
    assert_eq!(answer["error"]["hint"], "did you mean \"content\"?");
}

#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let place = Place::new();
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{} completions bash | head -c 1", env!("CARGO_BIN_EXE_memquill")))
        .current_dir(place.path())
        .output()
        .unwrap();
    assert!(status.stderr.is_empty(), "{}", String::from_utf8_lossy(&status.stderr));
}

fn value() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "operation",
        "message",
        "messages",
        "role",
        "content",
        "documents",
        "query",
        "key",
        "keys",
        "value",
        "ttl_seconds",
        "limit",
        "filter",
        "max_tokens",
        "format",
        "type",
        "subtype",
        "configurations",
        "and",
        "not",
        "metadata.x",
        "entries",
        "id",
        "metadata",
        "embedding",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["store", "retrieve", "get_context", "MEMORY", "", "\u{0}", "💥"])
            .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
        ]
    })
}

proptest! {
    // Every case starts a process.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_node_input_or_filter_makes_it_panic(
        configurations in value(),
        input in value(),
        filter in value(),
        subtype in prop::sample::select(vec!["CONVERSATION_BUFFER", "VECTOR_DATABASE", "WORKING_MEMORY"]),
    ) {
        let place = Place::new();
        let node = node(&place, subtype, &configurations);
        let args = [MEMORY, "run", &node, "--user=ada", "--input=-"];
        let run = place.run_with_input(args, &input.to_string());
        prop_assert!(matches!(run.code, Some(0 | 1)), "{}", run.stderr);
        let answer: Value = serde_json::from_str(&run.stdout).unwrap();
        prop_assert_eq!(&answer["success"], &Value::from(run.code == Some(0)));
        let filter = format!("--filter={filter}");
        let run = place.run([MEMORY, "search", "x", &filter]);
        prop_assert!(matches!(run.code, Some(0..=2)), "{}", run.stderr);
    }

    #[test]
    fn no_argument_makes_it_panic(args in prop::collection::vec("[^\u{0}]{0,12}", 0..4)) {
        let place = Place::new();
        let run = place.run([MEMORY.to_owned()].into_iter().chain(args.clone()));
        prop_assert!(matches!(run.code, Some(0..=2)), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn conversations_are_listed_by_activity_and_deleted_as_a_whole() {
    let place = Place::new();
    let store = "--store=sqlite:agent.db";
    for name in ["b", "a", "c"] {
        let file = format!("{name}.jsonl");
        place.file(&file, r#"{"role": "user", "content": "hi"}"#);
        place.run([store, "chat", "import", &file]).json(0);
        // Activity is a time in milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let listed = |by: &str| -> Vec<String> {
        let answer = place.run([store, "chat", "list", "--by", by]).json(0);
        let found = answer["conversations"].as_array().unwrap().iter();
        found.map(|c| c["conversation"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("activity"), ["c", "a", "b"]);
    assert_eq!(listed("name"), ["a", "b", "c"]);
    let deleted = place.run([store, "chat", "delete", "a", "nobody", "c"]).json(0);
    assert_eq!(deleted["deleted"], serde_json::json!(["a", "c"]));
    assert_eq!(listed("activity"), ["b"]);
}

#[test]
fn c14_a_conversation_is_corrected() {
    let place = Place::new();
    let store = "--store=sqlite:chat.db";
    let chat = r#"{"conversation_id": "a", "messages": [
        {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"}, {"role": "assistant", "content": "four"}]}"#;
    place.file("chat.json", chat);
    place.run([store, "chat", "import", "chat.json"]).json(0);
    let popped = place.run([store, "chat", "pop", "a"]).json(0);
    assert_eq!(popped["messages"][0]["content"], "four");
    let refused = place.run([store, "chat", "pop", "a", "--if-newest", "4"]).json(1);
    assert_eq!(refused["error"]["context"]["newest_seq"], "3", "{refused}");
    let removed = place.run([store, "chat", "truncate", "a", "--after", "1"]).json(0);
    assert_eq!(removed["removed"], 2);
    // What was taken back does not return with the transcript that it came from.
    place.run([store, "chat", "import", "chat.json"]).json(0);
    let shown = place.run([store, "chat", "show", "a"]).json(0);
    assert_eq!(shown["messages"].as_array().unwrap().len(), 1);
}
