//! What only a store that keeps can show: what one run stored, another finds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use serde_json::{Value, json};

use self::common::Place;

fn call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}})
}

/// A conversation with tool calls, null content, an id of its own and metadata.
fn conversation(id: &str, turns: usize) -> Value {
    let mut messages = vec![json!({"role": "system", "content": "Be brief."})];
    for turn in 0..turns {
        let called = format!("call_{turn}");
        messages.extend([
            json!({"role": "user", "content": format!("Question {turn}?")}),
            json!({"role": "assistant", "content": null, "tool_calls": [call(&called)]}),
            json!({"role": "tool", "content": "{}", "name": "f", "tool_call_id": called}),
            json!({"role": "assistant", "content": "Answer.", "id": format!("a{turn}"),
                   "metadata": {"big": u64::MAX, "f": 1.0, "n": null}}),
        ]);
    }
    json!({"conversation_id": id, "messages": messages})
}

#[test]
fn what_was_imported_is_shown_message_for_message() {
    let place = Place::new();
    let source = [conversation("dlg 1", 3), conversation("dlg/2", 1)];
    place.file("c.jsonl", &format!("{}\n{}\n", source[0], source[1]));
    let first = place.run(["chat", "import", "c.jsonl"]).json(0);
    assert_eq!((&first["conversations"], &first["messages"]), (&json!(2), &json!(18)));
    for conversation in &source {
        let id = conversation["conversation_id"].as_str().unwrap();
        assert_eq!(&place.run(["chat", "show", id]).json(0), conversation);
    }
    let again = place.run(["chat", "import", "c.jsonl"]).json(0);
    assert_eq!((&again["messages"], &again["already_there"]), (&json!(0), &json!(18)));
    assert_eq!(place.run(["chat", "show", "dlg 1"]).json(0), source[0]);
}

#[test]
fn a_transcript_that_has_grown_adds_what_is_new_and_a_changed_one_is_refused() {
    let place = Place::new();
    place.file("c.jsonl", &conversation("c", 300).to_string());
    place.run(["chat", "import", "c.jsonl"]).json(0);
    let grown = conversation("c", 310);
    place.file("c.jsonl", &grown.to_string());
    let added = place.run(["chat", "import", "c.jsonl"]).json(0);
    assert_eq!((&added["messages"], &added["already_there"]), (&json!(40), &json!(1201)));
    assert_eq!(place.run(["chat", "show", "c"]).json(0), grown);
    let mut changed = grown.clone();
    changed["messages"][5]["content"] = "Another question?".into();
    place.file("c.jsonl", &changed.to_string());
    let refused = place.run(["chat", "import", "c.jsonl"]).json(1);
    assert_eq!(refused["error"]["code"], "conflict");
    assert_eq!(place.run(["chat", "show", "c"]).json(0), grown);
}

#[test]
fn a_derived_id_is_shown_only_when_asked() {
    let place = Place::new();
    place.file("c.jsonl", &conversation("c", 1).to_string());
    place.run(["chat", "import", "c.jsonl"]).json(0);
    let shown = place.run(["chat", "show", "c", "--with-ids"]).json(0);
    let ids: Vec<_> =
        shown["messages"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert!(ids[0].starts_with("import-0-") && ids[4] == "a0", "{ids:?}");
}

#[test]
fn c7_a_window_keeps_calls_and_results_together_and_to_its_budget() {
    let place = Place::new();
    place.file("c.jsonl", &conversation("c", 4).to_string());
    place.run(["chat", "import", "c.jsonl"]).json(0);
    for max_tokens in [1, 10, 30, 45, 60, 80, 120, 1000] {
        let budget = format!("--max-tokens={max_tokens}");
        let window = place.run(["chat", "show", "c", &budget]).json(0);
        let messages = window["messages"].as_array().unwrap();
        let called: Vec<_> = messages.iter().filter_map(|m| m.get("tool_calls")).collect();
        let results = messages.iter().filter(|m| m["role"] == "tool").count();
        assert_eq!(called.len(), results, "{budget}: {window}");
    }
    let run = place.run(["chat", "show", "c", "--format=compact", "--max-tokens=20"]);
    assert_eq!((run.code, run.stdout.lines().count()), (Some(0), 1));
}

#[test]
fn chat_list_and_the_other_formats_tell_of_the_conversation() {
    let place = Place::new();
    place.file("c.jsonl", &conversation("c", 2).to_string());
    place.run(["chat", "import", "c.jsonl"]).json(0);
    let list = place.run(["chat", "list"]).json(0);
    assert_eq!(list["conversations"][0]["statistics"]["message_count"], 9);
    assert_eq!(list["more"], false);
    let text = place.run(["chat", "show", "c", "--format=conversation"]).stdout;
    assert!(text.starts_with("System: Be brief.\nUser: Question 0?"), "{text}");
    assert!(place.run(["chat", "show", "c", "--format=summary"]).stdout.contains('9'));
    let newest = place.run(["chat", "show", "c", "--limit=1"]).json(0);
    assert_eq!(newest["messages"].as_array().unwrap().len(), 1);
    let none = place.run(["chat", "show", "nobody"]).json(1);
    assert_eq!(none["error"]["code"], "not_found");
}

#[test]
fn a_limit_shows_the_newest_in_every_format() {
    let place = Place::new();
    let messages =
        [("system", "Be kind."), ("user", "One?"), ("assistant", "1."), ("user", "Two?")]
            .map(|(role, content)| json!({"role": role, "content": content}));
    let line = json!({"conversation_id": "c", "messages": messages});
    place.file("c.jsonl", &line.to_string());
    place.run(["chat", "import", "c.jsonl"]).json(0);
    let show = |args: &[&str]| {
        let run = place.run(["chat", "show", "c"].iter().chain(args));
        assert_eq!(run.code, Some(0), "{args:?}: {}{}", run.stdout, run.stderr);
        run.stdout
    };
    for budget in [&[][..], &["--max-tokens=1000"]] {
        let show = |args: &[&str]| show(&[args, budget].concat());
        assert_eq!(show(&["--format=conversation", "--limit=1"]), "User: Two?\n");
        assert_eq!(show(&["--format=compact", "--limit=2"]), "A: 1. | U: Two?\n");
        let value: Value = serde_json::from_str(&show(&["--format=json", "--limit=2"])).unwrap();
        assert_eq!(value["messages"], json!(messages[2..]));
        let whole = show(&["--format=conversation", "--limit=9"]);
        assert_eq!(whole, "System: Be kind.\nUser: One?\nAssistant: 1.\nUser: Two?\n");
    }
    // A window keeps the system messages of the newest so many, and no others.
    let text = show(&["--format=compact", "--limit=4", "--max-tokens=12"]);
    assert!(text.starts_with("S: Be kind. | ") && text.ends_with("U: Two?\n"), "{text}");
    assert!(!text.contains("One"), "{text}");
    let summary = show(&["--format=summary", "--limit=1"]);
    assert!(summary.contains("Messages: 4") && summary.ends_with("User: Two?\n"), "{summary}");
}

#[test]
fn a_conversation_is_shown_whole_where_no_budget_cuts_it() {
    let place = Place::new();
    let mut odd = conversation("c", 2);
    let arguments = "x".repeat(300);
    odd["messages"].as_array_mut().unwrap().extend([
        json!({"role": "user", "name": "Ada", "content": "Two\nlines  and\ta tab"}),
        json!({"role": "assistant", "content": "I call.", "tool_calls": [
            {"id": "1", "function": {"name": "long", "arguments": arguments}},
            {"id": "2", "function": {"name": "object", "arguments": {"a": [1]}}},
            {"id": "3", "name": "bare", "arguments": null}, {"id": "4"}]}),
    ]);
    place.file("c.jsonl", &odd.to_string());
    place.run(["chat", "import", "c.jsonl"]).json(0);
    let node = r#"{"type": "MEMORY", "subtype": "CONVERSATION_BUFFER",
        "configurations": {"operation": "get_context", "conversation_id": "c"}}"#;
    place.file("n.json", node);
    for format in ["conversation", "compact"] {
        // As a model is given it.
        for most in [10, 40, 80, 9_999] {
            let input = json!({"format": format, "max_tokens": most, "max_messages": 1_000});
            let run = ["run", "n.json", "--user=local", "--input=-"];
            let context = place.run_with_input(run, &input.to_string()).json(0);
            let show = |budget: &[&str]| {
                let format = format!("--format={format}");
                place.run(["chat", "show", "c", &format].iter().chain(budget)).stdout
            };
            let shown = show(&[&format!("--max-tokens={most}")]);
            assert_eq!(shown.trim_end_matches('\n'), context["context"], "{most}");
            assert!(most < 9_999 || shown == show(&[]), "all of it, as without a budget");
        }
        // A result is among the newest messages, too, where its call is not.
        let format = format!("--format={format}");
        let result = place.run(["chat", "show", "c", &format, "--limit=4"]);
        assert!(result.stdout.starts_with('T'), "{}{}", result.stdout, result.stderr);
    }

    let turn = |n: u32| json!({"role": "user", "content": format!("line {n}")});
    let messages: Vec<Value> = (0..10_001).map(turn).collect();
    let line = json!({"conversation_id": "long", "messages": messages});
    place.file("long.jsonl", &line.to_string());
    place.run(["chat", "import", "long.jsonl"]).json(0);
    let lines = |args: &[&str]| {
        let all = ["chat", "show", "long", "--format=conversation"];
        place.run(all.iter().chain(args)).stdout.lines().count()
    };
    assert_eq!((lines(&[]), lines(&["--limit=10001"])), (10_001, 10_001));
}

#[test]
fn g1_another_user_and_another_node_see_nothing() {
    let place = Place::new();
    place.file("c.jsonl", &conversation("c", 1).to_string());
    place.run(["chat", "import", "c.jsonl", "--user=ada"]).json(0);
    for args in [vec!["--user=bob"], vec!["--user=ada", "--node=x"], vec![]] {
        let all = ["chat", "show", "c"].into_iter().chain(args);
        assert_eq!(place.run(all).json(1)["error"]["code"], "not_found");
    }
    place.run(["erase", "--user=ada", "--yes"]).json(0);
    assert_eq!(place.run(["chat", "show", "c", "--user=ada"]).code, Some(1));
}

#[test]
fn what_was_ingested_is_found_by_words_in_its_language_and_filtered() {
    let place = Place::new();
    place.file("en.txt", "The retries back off exponentially after timeouts.");
    place.file("zh.jsonl", "{\"content\": \"东京塔是红色的\", \"metadata\": {\"year\": 1958}}");
    place.file("ar.txt", "عاصمة فرنسا هي باريس");
    for (file, language) in [("en.txt", "en"), ("zh.jsonl", ""), ("ar.txt", "ar")] {
        let language = (!language.is_empty()).then(|| format!("--language={language}"));
        let args = ["ingest", file].into_iter().chain(language.as_deref());
        assert_eq!(place.run(args).json(0)["inserted"], 1);
    }
    let first = |args: &[&str]| {
        let answer = place.run(["search"].iter().chain(args)).json(0);
        answer["results"][0]["content"].as_str().unwrap_or_default().to_owned()
    };
    assert!(first(&["retry timeout", "--search=text", "--language=en"]).contains("back off"));
    assert!(first(&["东京", "--search=text"]).contains("东京塔"));
    assert!(first(&["باريس", "--search=text", "--language=ar"]).contains("باريس"));
    let filter = r#"--filter={"metadata.year": {"lt": 1960}}"#;
    let answer = place.run(["search", "东京塔 timeouts", filter, "--search=vector"]).json(0);
    assert_eq!(answer["results"].as_array().unwrap().len(), 1);
    assert_eq!(place.run(["ingest", "ar.txt", "--language=ar"]).json(0)["unchanged"], 1);
    let nothing = place.run(["search", "timeouts", "--namespace=other"]).json(0);
    assert_eq!(nothing["results"], json!([]));
}

#[test]
fn a_second_quickstart_finds_what_the_first_one_stored() {
    let place = Place::new();
    assert_eq!(place.run(["quickstart"]).json(0)["remembered_messages"], 0);
    let second = place.run(["quickstart"]).json(0);
    assert_eq!(second["remembered_messages"], 2);
    assert_eq!(second["steps"][2]["answer"]["unchanged"], 3);
    assert_eq!(second["steps"][0]["answer"]["messages_count"], 4);
    let shown = place.run(["chat", "show", "default", "--node=quickstart"]).json(0);
    assert_eq!(shown["messages"].as_array().unwrap().len(), 4);
}

#[test]
fn run_and_chat_meet_at_a_node_without_an_id() {
    let place = Place::new();
    place.file("n.json", r#"{"type": "MEMORY", "subtype": "CONVERSATION_BUFFER"}"#);
    let input = r#"{"operation": "store", "message": "Hello"}"#;
    place.run_with_input(["run", "n.json", "--user=local", "--input=-"], input).json(0);
    let shown = place.run(["chat", "show", "default"]).json(0);
    assert_eq!(shown["messages"][0]["content"], "Hello");
}
