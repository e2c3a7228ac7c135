//! `export`, `import`, `copy` and `verify`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use serde_json::{Value, json};

use self::common::Place;

const TRANSCRIPT: &str = r#"{"conversation_id": "c1", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}]}"#;

/// A place whose store `a.db` holds something of everything, of two users.
fn filled() -> Place {
    let place = Place::new();
    place.file("t.jsonl", TRANSCRIPT);
    place.file("d/notes.md", "# Towers\n\nThe red tower stands by the river.\n");
    let node = json!({"type": "MEMORY", "subtype": "WORKING_MEMORY", "configurations": {}});
    place.file("n.json", &node.to_string());
    for user in ["ada", "it's * \"bob\""] {
        let of = ["--store=sqlite:a.db", "--user", user];
        let run = |args: &[&str]| place.run(of.iter().chain(args)).json(0);
        run(&["chat", "import", "t.jsonl"]);
        run(&["ingest", "d"]);
        let input = json!({"operation": "store", "key": "plan", "value": {"n": u64::MAX}});
        let args = of.iter().chain(&["run", "n.json", "--input=-"]);
        place.run_with_input(args, &input.to_string()).json(0);
    }
    place
}

fn run(place: &Place, args: &[&str], code: i32) -> Value {
    place.run(args).json(code)
}

#[test]
fn everything_moves_by_file_and_by_copy_and_is_the_same() {
    let place = filled();
    let exported = run(&place, &["--store=sqlite:a.db", "export", "all.jsonl", "--all-users"], 0);
    assert_eq!(exported["exported"], json!({"messages": 4, "records": 2, "entries": 2}));
    let imported = run(&place, &["--store=sqlite:b.db", "import", "all.jsonl"], 0);
    assert_eq!((&imported["written"], &imported["unchanged"]), (&json!(8), &json!(0)));
    let again = run(&place, &["--store=sqlite:b.db", "import", "all.jsonl"], 0);
    assert_eq!((&again["written"], &again["unchanged"]), (&json!(0), &json!(8)));
    run(&place, &["copy", "--from=sqlite:b.db", "--to=sqlite:c.db", "--all-users"], 0);
    let verified =
        run(&place, &["verify", "--from=sqlite:a.db", "--to=sqlite:c.db", "--all-users"], 0);
    assert_eq!(verified["differences"], 0);
    assert_eq!(verified["compared"], exported["exported"]);

    let shown = place.run(["--store=sqlite:c.db", "--user=ada", "chat", "show", "c1"]);
    let shown: Value = serde_json::from_str(shown.stdout.lines().next().unwrap()).unwrap();
    let transcript: Value = serde_json::from_str(TRANSCRIPT).unwrap();
    assert_eq!(shown["messages"], transcript["messages"]);
}

#[test]
fn one_user_s_memory_moves_alone_and_through_pipes() {
    let place = filled();
    let out = place.run(["--store=sqlite:a.db", "--user=ada", "export", "-"]);
    assert_eq!(out.code, Some(0), "{}", out.stderr);
    assert!(!out.stdout.contains("bob"));
    let imported = place.run_with_input(["--store=sqlite:b.db", "import", "-"], &out.stdout);
    assert_eq!(imported.json(0)["written"], 4);
    let args = ["verify", "--from=sqlite:a.db", "--to=sqlite:b.db"];
    let all = run(&place, &[&args[..], &["--all-users"]].concat(), 1);
    assert_eq!(all["success"], false);
    assert!(all["told"].as_array().unwrap().iter().all(|told| told["user"] == "it's * \"bob\""));
    run(&place, &[&args[..], &["--user=ada"]].concat(), 0);
}

#[test]
fn a_configuration_is_a_side_of_its_own() {
    let place = filled();
    let config = "stores: {talk: 'sqlite:talk.db', rest: 'sqlite:rest.db'}
conversations: talk
vectors: rest
working: rest
";
    place.file("many.yaml", config);
    let user = "--user=ada";
    run(&place, &["copy", "--from=sqlite:a.db", "--to=many.yaml", user], 0);
    run(&place, &["verify", "--from=many.yaml", "--to=sqlite:a.db", user], 0);
    let list = ["--store=sqlite:talk.db", user, "chat", "list"];
    assert_eq!(run(&place, &list, 0)["conversations"].as_array().unwrap().len(), 1);
    run(&place, &["copy", "--from=many.yaml", "--to=sqlite:back.db", user], 0);
    run(&place, &["verify", "--from=sqlite:a.db", "--to=sqlite:back.db", user], 0);
}

#[test]
fn a_damaged_file_writes_nothing_where_that_is_asked_for() {
    let place = filled();
    run(&place, &["--store=sqlite:a.db", "--user=ada", "export", "all.jsonl"], 0);
    let whole = std::fs::read_to_string(place.path().join("all.jsonl")).unwrap();
    place.file("bad.jsonl", &whole.replace("river", "rover"));
    let (short, _) = whole.trim_end().rsplit_once('\n').unwrap();
    place.file("short.jsonl", &format!("{short}\n"));
    for file in ["bad.jsonl", "short.jsonl"] {
        let refused = run(&place, &["--store=sqlite:b.db", "import", "--strict", file], 1);
        assert_eq!(refused["error"]["code"], "corrupted", "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(file), "{refused}");
        let nothing =
            run(&place, &["--store=sqlite:b.db", "export", "none.jsonl", "--all-users"], 1);
        assert_eq!(nothing["error"]["code"], "not_found", "a refused file makes no store");
    }
}

#[test]
fn what_differs_is_left_out_of_a_copy_unless_it_is_to_be_overwritten() {
    let place = filled();
    let sides = ["--from=sqlite:a.db", "--to=sqlite:b.db", "--user=ada"];
    let args = ["--store=sqlite:b.db", "--user=ada", "run", "n.json", "--input=-"];
    let input = json!({"operation": "store", "key": "plan", "value": "mine"});
    place.run_with_input(args, &input.to_string()).json(0);
    let stopped = run(&place, &[&["copy", "--strict"], &sides[..]].concat(), 1);
    assert_eq!(stopped["error"]["code"], "conflict", "{stopped}");
    let copied = run(&place, &[&["copy"], &sides[..]].concat(), 1);
    assert_eq!(copied["left_out"]["count"], 1, "{copied}");
    let taken = copied["written"].as_u64().unwrap() + copied["unchanged"].as_u64().unwrap();
    assert_eq!(taken, 3, "{copied}");
    assert!(copied["error"]["message"].as_str().unwrap().contains("entry \"plan\""), "{copied}");
    run(&place, &[&["copy", "--overwrite"], &sides[..]].concat(), 0);
    run(&place, &[&["verify"], &sides[..]].concat(), 0);
}

#[test]
fn facets_are_chosen_by_name() {
    let place = filled();
    let user = "--user=ada";
    let sides = ["--from=sqlite:a.db", "--to=sqlite:b.db", user];
    let copied = run(&place, &[&["copy", "--facets=vectors"], &sides[..]].concat(), 0);
    assert_eq!(copied["read"], json!({"messages": 0, "records": 1, "entries": 0}));
    run(&place, &[&["verify", "--facets=vectors"], &sides[..]].concat(), 0);
    run(&place, &[&["verify", "--facets=vectors,working"], &sides[..]].concat(), 1);
    let wrong = place.run(["copy", "--facets=vector", "--from=memory:", "--to=memory:"]);
    assert_eq!(wrong.code, Some(2));
    let both = place.run(["export", "x", "--all-users", "--user=ada", "--store=memory:"]);
    assert_eq!(both.code, Some(2), "{}", both.stdout);
}
