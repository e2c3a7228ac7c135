//! A command that stores nothing creates no store.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use serde_json::json;

use self::common::Place;

/// Fails where a store was created, be it the default one or `s.db`.
#[track_caller]
fn no_store(place: &Place, after: &[&str]) {
    for path in ["data", "s.db"] {
        assert!(!place.path().join(path).exists(), "{path} exists after {after:?}");
    }
}

fn node(operation: &str, persistent: bool) -> String {
    let configurations = json!({"operation": operation, "use_persistent_storage": persistent});
    json!({"type": "MEMORY", "subtype": "WORKING_MEMORY", "configurations": configurations})
        .to_string()
}

#[test]
fn m6_a_node_that_is_not_persistent_creates_no_store() {
    let place = Place::new();
    place.file("node.json", &node("store", false));
    let args = ["run", "node.json", "--input=-"];
    let answer = place.run_with_input(args, r#"{"key": "k", "value": 1}"#).json(0);
    assert_eq!(answer["success"], true, "{answer}");
    no_store(&place, &args);
}

#[test]
fn a_node_that_is_refused_creates_no_store() {
    let place = Place::new();
    place.file("node.json", &node("store", true));
    let run = |args: &[&str], input: &str| {
        let answer = place.run_with_input(args, input).json(1);
        no_store(&place, args);
        answer["error"]["message"].as_str().unwrap().to_owned()
    };
    let args = ["run", "node.json", "--user=ada", "--input=-"];
    assert!(run(&args, r#"{"value": 1}"#).contains("key"));
    assert!(
        run(&["run", "node.json", "--input=-"], r#"{"key": "k", "value": 1}"#).contains("user")
    );
    let stored = place.run_with_input(args, r#"{"key": "k", "value": 1}"#).json(0);
    assert_eq!(stored["success"], true, "{stored}");
    assert!(place.path().join("data").exists());
}

#[test]
fn an_import_that_finds_nothing_creates_no_store() {
    let place = Place::new();
    let line = json!({"conversation_id": "c", "messages": [{"role": "user", "content": "words"}]});
    place.file("t.jsonl", &line.to_string());
    place.run(["--store=sqlite:a.db", "chat", "import", "t.jsonl"]).json(0);
    place.run(["--store=sqlite:a.db", "export", "e.jsonl"]).json(0);
    let export = std::fs::read_to_string(place.path().join("e.jsonl")).unwrap();
    let lines: Vec<String> =
        export.lines().map(|line| line.replacen("words", "wards", 1)).collect();
    assert!(lines.concat().contains("wards"));
    place.file("damaged.jsonl", &(lines.join("\n") + "\n"));
    let args = ["--store=sqlite:s.db", "import", "damaged.jsonl"];
    let answer = place.run(args).json(1);
    assert_eq!(answer["left_out"]["items"].as_array().unwrap().len(), 1, "{answer}");
    no_store(&place, &args);
    place.run(["--store=sqlite:s.db", "import", "e.jsonl"]).json(0);
    assert!(place.path().join("s.db").exists());
}

#[test]
fn an_import_from_stdin_that_finds_nothing_creates_no_store() {
    let place = Place::new();
    let args = ["--store=sqlite:s.db", "import", "-"];
    for input in ["", "no export\n", "{\"some\": \"thing\"}\n"] {
        place.run_with_input(args, input).json(1);
        no_store(&place, &args);
    }
    let line = json!({"conversation_id": "c", "messages": [{"role": "user", "content": "words"}]});
    place.file("t.jsonl", &line.to_string());
    place.run(["--store=sqlite:a.db", "chat", "import", "t.jsonl"]).json(0);
    let export = place.run(["--store=sqlite:a.db", "export", "-"]).stdout;
    place.run_with_input(args, &export.replace("words", "wards")).json(1);
    no_store(&place, &args);
    assert_eq!(place.run_with_input(args, &export).json(0)["written"], 1);
    assert!(place.path().join("s.db").exists());
}

#[test]
fn transcripts_without_a_conversation_create_no_store() {
    let place = Place::new();
    let line = |content: &str| json!({"messages": [{"role": "user", "content": content}]});
    place.file("text.jsonl", "no JSON\n");
    place.file("blank.jsonl", &line("").to_string());
    place.file("empty.jsonl", "");
    for files in
        [["text.jsonl"].as_slice(), &["blank.jsonl"], &["blank.jsonl", "text.jsonl", "no.jsonl"]]
    {
        for more in [[].as_slice(), &["--strict"], &["--index"]] {
            let args = [&["--store=sqlite:s.db", "chat", "import"], more, files].concat();
            place.run(&args).json(1);
            no_store(&place, &args);
        }
    }
    let args = ["--store=sqlite:s.db", "chat", "import", "-"];
    place.run_with_input(args, &line("").to_string()).json(1);
    no_store(&place, &args);
    place.run(["--store=sqlite:s.db", "chat", "import", "empty.jsonl"]);
    no_store(&place, &["empty.jsonl"]);
    place.run_with_input(args, &line("words").to_string()).json(0);
    assert!(place.path().join("s.db").exists());
}

#[test]
fn files_without_a_passage_create_no_store() {
    let place = Place::new();
    place.file("docs/a.pdf", "%PDF-1.7\n");
    place.file("docs/b.jsonl", "{\"content\": \n");
    let args = ["ingest", "docs"];
    let answer = place.run(args).json(1);
    assert_eq!(answer["left_out"]["items"].as_array().unwrap().len(), 2, "{answer}");
    no_store(&place, &args);
    place.file("docs/c.md", "# C\n\nof c.\n");
    assert_eq!(place.run(args).json(1)["inserted"], 1);
    assert!(place.path().join("data").exists());
}

#[test]
fn what_reads_creates_no_store() {
    let place = Place::new();
    place.file("node.json", &node("get_statistics", true));
    for args in [
        ["search", "x"].as_slice(),
        &["chat", "list"],
        &["chat", "show", "c"],
        &["run", "node.json", "--user=ada"],
        &["export", "e.jsonl"],
        &["verify", "--from=sqlite:s.db", "--to=memory:"],
        &["copy", "--from=sqlite:s.db", "--to=sqlite:t.db"],
        &["erase", "--user=ada", "--yes"],
        &["reembed", "--namespace=default"],
        &["purge"],
        &["index"],
        &["health"],
    ] {
        assert_eq!(place.run(args).code, Some(1), "{args:?}");
        no_store(&place, args);
    }
    assert!(!place.path().join("t.db").exists());
    place.run(["capabilities"]).json(0);
    no_store(&place, &["capabilities"]);
}
