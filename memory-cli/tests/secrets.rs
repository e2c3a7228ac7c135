//! E3: canaries in URLs, keys and contents, and everything that is printed at TRACE searched for
//! them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use serde_json::json;

use self::common::Place;

/// In every password.
const PASSWORD: &str = "canary-password-7f3a";
/// In every key and content. Names of conversations and namespaces are told by spans, as names of
/// collections.
const CONTENT: &str = "canary-content-91bd";

const TRACE: [&str; 2] = ["--log=trace", "--json"];

#[test]
fn a_password_is_printed_nowhere() {
    let place = Place::new();
    place.file("t.jsonl", r#"{"conversation_id": "c", "messages": []}"#);
    let urls = [
        format!("postgres://ada:{PASSWORD}@127.0.0.1:1/db?role=r"),
        format!("postgres://ada:{PASSWORD}@127.0.0.1:1/db?no_such_option=1"),
        format!("postgres://ada:{PASSWORD}@[::1"),
        format!("redis://ada:{PASSWORD}@127.0.0.1:1"),
        format!("redis://ada:{PASSWORD}@127.0.0.1:no"),
        format!("redis+cluster://ada:{PASSWORD}@127.0.0.1:1,127.0.0.1:2"),
        format!("qdrant://127.0.0.1:1?api_key={PASSWORD}"),
        format!("qdrants://key:{PASSWORD}@127.0.0.1:1"),
        format!("sqlite:/no/such/folder/x.db?password={PASSWORD}"),
        format!("nonsense://ada:{PASSWORD}@host"),
    ];
    for url in &urls {
        let config = format!("stores: {{main: \"{url}\", other: \"{url}\"}}\ndefault: main\n");
        place.file("c.yaml", &config);
        let store = format!("--store={url}");
        let (from, to) = (format!("--from={url}"), format!("--to={url}"));
        for args in [
            vec![store.as_str(), "health", "--deadline=1"],
            vec![store.as_str(), "capabilities"],
            vec![store.as_str(), "migrate"],
            vec![store.as_str(), "chat", "import", "t.jsonl"],
            vec!["--config=c.yaml", "quickstart"],
            vec!["copy", from.as_str(), "--to=memory:"],
            vec!["verify", to.as_str(), "--from=memory:"],
        ] {
            let run = place.run(TRACE.iter().chain(&args));
            assert!(!run.stdout.is_empty(), "{args:?} answers");
            for printed in [&run.stdout, &run.stderr] {
                assert!(!printed.contains(PASSWORD), "{args:?} of {url}: {printed}");
            }
        }
        let in_environment = place.run_in(&[("MEMQUILL_STORE", url)], ["health"], "");
        assert!(!format!("{}{}", in_environment.stdout, in_environment.stderr).contains(PASSWORD));
    }
}

#[test]
fn no_log_tells_keys_or_contents() {
    let place = Place::new();
    let transcript = json!({
        "conversation_id": "c1",
        "messages": [{"role": "user", "content": CONTENT, "metadata": {"m": CONTENT}}],
    });
    place.file("t.jsonl", &transcript.to_string());
    place.file("d/doc.md", &format!("# Title\n\nThe {CONTENT} stands here.\n"));
    let node = json!({"type": "MEMORY", "subtype": "WORKING_MEMORY", "configurations": {}});
    place.file("n.json", &node.to_string());
    let logged = std::cell::Cell::new(0);
    let quiet = |args: &[&str], input: &str| {
        let all = ["--store=sqlite:a.db", "--user=ada"].iter().chain(&TRACE).chain(args);
        let run = place.run_with_input(all, input);
        assert!(!run.stderr.contains(CONTENT), "{args:?}: {}", run.stderr);
        logged.set(logged.get() + usize::from(!run.stderr.is_empty()));
    };
    quiet(&["chat", "import", "t.jsonl", "--index"], "");
    quiet(&["chat", "import", "t.jsonl"], "");
    quiet(&["chat", "show", "c1"], "");
    quiet(&["ingest", "d"], "");
    quiet(&["search", CONTENT], "");
    quiet(&["search", CONTENT, "--search=text", "--filter", r#"{"metadata.source": "x"}"#], "");
    for input in [
        json!({"operation": "store", "key": CONTENT, "value": CONTENT}),
        json!({"operation": "store", "key": CONTENT, "value": 1, "if_absent": true}),
        json!({"operation": "retrieve", "key": CONTENT}),
        json!({"operation": "retrieve", "prefix": CONTENT}),
        json!({"operation": "store", "key": format!("{CONTENT}\u{0}"), "value": 1}),
    ] {
        quiet(&["run", "n.json", "--input=-"], &input.to_string());
    }
    quiet(&["export", "all.jsonl"], "");
    quiet(&["import", "all.jsonl"], "");
    quiet(&["copy", "--from=sqlite:a.db", "--to=sqlite:b.db"], "");
    quiet(&["verify", "--from=sqlite:a.db", "--to=sqlite:b.db"], "");
    quiet(&["erase", "--yes"], "");
    // A span that a thread of the driver still holds at the end is not told.
    assert!(logged.get() > 8, "commands log at TRACE");
}
