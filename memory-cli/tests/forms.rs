//! Files as they are on disk, and hints that say what to type.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use serde_json::{Value, json};

use self::common::Place;

const STORE: &str = "--store=sqlite:s.db";

fn line(conversation: &str) -> String {
    json!({"conversation_id": conversation, "messages": [{"role": "user", "content": "né"}]})
        .to_string()
}

fn pretty(conversation: &str) -> String {
    let value: Value = serde_json::from_str(&line(conversation)).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    format!("\u{FEFF}{text}").encode_utf16().flat_map(bytes).collect()
}

fn bytes(place: &Place, name: &str, bytes: &[u8]) {
    std::fs::write(place.path().join(name), bytes).unwrap();
}

#[test]
fn a_transcript_is_read_however_it_is_written() {
    let (a, b) = (line("a"), line("b"));
    let array: Vec<Value> = [&a, &b].iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    for text in [
        format!("\u{FEFF}{a}\n{b}\n").into_bytes(),
        format!("{a}\r\n{b}\r\n").into_bytes(),
        format!("{a}\r\n\r\n\n  \n{b}").into_bytes(),
        format!("{}\n{}\n", pretty("a"), pretty("b")).into_bytes(),
        format!("{}\r\n{}", pretty("a").replace('\n', "\r\n"), pretty("b")).into_bytes(),
        format!("[{a},{b}]").into_bytes(),
        format!("[\n{a},\n{b},\n]\n").into_bytes(),
        serde_json::to_vec_pretty(&array).unwrap(),
        format!("{a}{b}").into_bytes(),
        format!("{a},\n{b},\n").into_bytes(),
        utf16(&format!("{a}\n{b}\n"), u16::to_le_bytes),
        utf16(&format!("{a}\r\n{b}"), u16::to_be_bytes),
    ] {
        let place = Place::new();
        bytes(&place, "t.jsonl", &text);
        let answer = place.run([STORE, "chat", "import", "t.jsonl"]).json(0);
        assert_eq!(answer["conversations"], 2, "{}", String::from_utf8_lossy(&text));
        let shown = place.run([STORE, "chat", "show", "b", "--format=compact"]);
        assert_eq!(shown.stdout, "U: né\n", "{}", String::from_utf8_lossy(&text));
    }
}

#[test]
fn text_is_stored_without_a_byte_order_mark() {
    let place = Place::new();
    bytes(&place, "a.md", "\u{FEFF}# Tea\r\n\r\nGreen tea.\r\n".as_bytes());
    bytes(&place, "b.txt", &utf16("Black tea.", u16::to_le_bytes));
    bytes(&place, "c.jsonl", "\u{FEFF}{\"content\": \"White tea.\"}\n".as_bytes());
    bytes(&place, "d.json", b"[\n  {\n    \"content\": \"Red tea.\"\n  }\n]\n");
    let answer = place.run([STORE, "ingest", "a.md", "b.txt", "c.jsonl", "d.json"]).json(0);
    assert_eq!(answer["inserted"], 4, "{answer}");
    let found = place.run([STORE, "search", "tea", "--search=text"]).json(0);
    let mut contents: Vec<&str> = found["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["content"].as_str().unwrap())
        .collect();
    contents.sort_unstable();
    assert_eq!(contents, ["# Tea\n\nGreen tea.", "Black tea.", "Red tea.", "White tea."]);
}

#[test]
fn nodes_inputs_configurations_and_filters_may_begin_with_a_mark() {
    let place = Place::new();
    let node = r#"{"type": "MEMORY", "subtype": "WORKING_MEMORY"}"#;
    let input = r#"{"operation": "store", "key": "k", "value": "é"}"#;
    for (name, text) in [("n.json", node), ("i.json", input)] {
        bytes(&place, name, format!("\u{FEFF}{text}\r\n").as_bytes());
        bytes(&place, &format!("u-{name}"), &utf16(text, u16::to_le_bytes));
    }
    for mark in ["", "u-"] {
        let (node, input) = (format!("{mark}n.json"), format!("--input={mark}i.json"));
        place.run([STORE, "run", &node, &input, "--user=ada"]).json(0);
    }
    let text = std::fs::read_to_string(place.path().join("i.json")).unwrap();
    place.run_with_input([STORE, "run", "n.json", "--input=-", "--user=ada"], &text).json(0);
    let yaml = "stores: {main: \"sqlite:y.db\"}\r\n";
    bytes(&place, "c.yaml", format!("\u{FEFF}{yaml}").as_bytes());
    bytes(&place, "d.yaml", &utf16(yaml, u16::to_be_bytes));
    place.run(["--config=c.yaml", "migrate"]).json(0);
    place.run(["--config=d.yaml", "health"]).json(0);
    place.run([STORE, "search", "x", "--filter=\u{FEFF}{\"document_type\": \"text\"}"]).json(0);
    bytes(&place, "f.json", &utf16("{\"document_type\": \"text\"}", u16::to_le_bytes));
    place.run([STORE, "search", "x", "--filter=@f.json"]).json(0);
    let missing = place.run([STORE, "search", "x", "--filter=@g.json"]);
    assert!(missing.code == Some(2) && missing.stderr.contains("g.json"), "{}", missing.stderr);
    let trailing =
        place.file("t.json", "{\"type\": \"MEMORY\",\n \"subtype\": \"WORKING_MEMORY\",\n}");
    let answer = place.run([STORE, "run", trailing.to_str().unwrap(), "--user=ada"]).json(1);
    assert!(answer["error"]["message"].as_str().unwrap().contains("trailing comma at line 3"));
}

#[test]
fn each_command_points_at_the_one_that_reads_the_file() {
    let place = Place::new();
    place.file("t.jsonl", &line("a"));
    place.file("d.jsonl", "{\"content\": \"tea\"}\n");
    place.run([STORE, "chat", "import", "t.jsonl"]).json(0);
    place.run([STORE, "export", "e.jsonl"]).json(0);
    let hint = |args: &[&str]| -> String {
        let all = [&[STORE, "--user=local"], args].concat();
        let answer = place.run(all).json(1);
        answer["error"]["hint"].as_str().unwrap_or_default().to_owned()
    };
    let with = "memquill --store sqlite:s.db --user local";
    assert_eq!(hint(&["import", "t.jsonl"]), format!("type: {with} chat import t.jsonl"));
    assert_eq!(hint(&["import", "d.jsonl"]), format!("type: {with} ingest d.jsonl"));
    assert_eq!(hint(&["chat", "import", "e.jsonl"]), format!("type: {with} import e.jsonl"));
    assert_eq!(hint(&["chat", "import", "d.jsonl"]), format!("type: {with} ingest d.jsonl"));
    assert_eq!(hint(&["ingest", "e.jsonl"]), format!("type: {with} import e.jsonl"));
    assert_eq!(hint(&["ingest", "t.jsonl"]), format!("type: {with} chat import --index t.jsonl"));
    // Each of them is true.
    for args in [&["import", "e.jsonl"][..], &["ingest", "d.jsonl"], &["chat", "import", "t.jsonl"]]
    {
        place.run([&[STORE, "--user=local"], args].concat()).json(0);
    }
    assert!(hint(&["import", "s.db"]).contains("--store sqlite:s.db"));
}

#[test]
fn an_unknown_form_is_named() {
    let place = Place::new();
    for (text, name) in [
        (json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}), "Gemini"),
        (json!({"prompt": "x", "completion": "y"}), "fine-tuning"),
        (json!({"memquill_export": {"version": 1}}), "an export"),
    ] {
        place.file("t.json", &text.to_string());
        let answer = place.run([STORE, "chat", "import", "t.json"]).json(1);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("t.json:1: ") && message.contains(name), "{message}");
        assert!(answer["error"]["hint"].is_string(), "{answer}");
    }
    place.file("t.json", "{\"something\": 1}");
    let answer = place.run([STORE, "chat", "import", "t.json"]).json(1);
    assert!(answer["error"]["hint"].as_str().unwrap().contains("--from"), "{answer}");
}

#[test]
fn each_form_of_transcripts_is_told_by_itself() {
    let place = Place::new();
    let node = |parent: Option<&str>, message: Value| json!({"parent": parent, "children": [], "message": message});
    let said =
        json!({"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["x"]}});
    for (text, form) in [
        (
            json!([{"conversation_id": "g", "title": "t", "current_node": "a", "mapping": {
            "r": node(None, Value::Null), "a": node(Some("r"), said.clone()), "b": node(Some("r"), said)}}]),
            "chatgpt",
        ),
        (
            json!([{"uuid": "u", "chat_messages": [{"uuid": "m", "sender": "human", "text": "x"}]}]),
            "claude",
        ),
        (
            json!({"type": "user", "uuid": "a", "sessionId": "s", "message": {"role": "user", "content": "x"}}),
            "claude-code",
        ),
        (json!({"conversations": [{"from": "human", "value": "x"}]}), "sharegpt"),
        (json!({"messages": [{"type": "human", "data": {"content": "x"}}]}), "langchain"),
        (json!([{"role": "user", "content": "x"}]), "chat"),
        (
            json!({"custom_id": "1", "body": {"model": "m", "messages": [{"role": "user", "content": "x"}]}}),
            "openai",
        ),
        (json!({"system": "s", "messages": [{"role": "user", "content": "x"}]}), "anthropic"),
        (json!({"model": "m", "input": "x"}), "responses"),
    ] {
        let name = format!("{form}.json");
        place.file(&name, &text.to_string());
        let answer = place.run([STORE, "chat", "import", &name]).json(0);
        assert_eq!(answer["conversations"], 1, "{form}: {answer}");
        assert_eq!(answer["set_aside"]["count"], u64::from(form == "chatgpt"), "{answer}");
        let again = place.run([STORE, "chat", "import", &name, "--from", form]).json(0);
        assert_eq!((&again["messages"], &again["conversations"]), (&json!(0), &json!(1)), "{form}");
        // A transcript given to the wrong command.
        let wrong = place.run([STORE, "import", &name]).json(1);
        assert!(wrong["error"]["hint"].as_str().unwrap().contains(" chat import "), "{wrong}");
    }
    // Several files: one that cannot be read holds no other.
    place.file("no.md", "text");
    let answer = place
        .run([
            STORE,
            "--user=eve",
            "chat",
            "import",
            "no.md",
            "gone.json",
            "chat.json",
            "claude.json",
        ])
        .json(1);
    assert_eq!(
        (&answer["conversations"], &answer["left_out"]["count"]),
        (&json!(2), &json!(2)),
        "{answer}"
    );
}

#[test]
fn a_conversation_is_shown_as_an_api_takes_it() {
    let place = Place::new();
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let messages = json!([
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "x"},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "y"}]);
    place.file("t.json", &json!({"conversation_id": "t", "messages": messages}).to_string());
    place.run([STORE, "chat", "import", "t.json"]).json(0);
    let shown = |format: &str| place.run([STORE, "chat", "show", "t", "--format", format]).json(0);
    assert_eq!(shown("openai")["messages"], messages);
    let anthropic = shown("anthropic");
    assert_eq!(anthropic["system"], "Be brief.");
    assert_eq!(anthropic["messages"][2]["content"][0]["type"], "tool_result");
    place.file("a.json", &anthropic.to_string());
    place.run([STORE, "chat", "import", "a.json"]).json(0);
    let listed = place.run([STORE, "chat", "list"]).json(0);
    let ids = listed["conversations"].as_array().unwrap().iter();
    let id = ids.map(|c| c["conversation"].as_str().unwrap()).find(|id| *id != "t").unwrap();
    assert_eq!(place.run([STORE, "chat", "show", id, "--format=anthropic"]).json(0), anthropic);
}

#[test]
fn an_export_in_which_another_branch_was_taken_is_not_mixed_with_the_first() {
    let place = Place::new();
    let export = |current: &str, leaf: &str| {
        let said = |text: &str| json!({"author": {"role": "user"}, "content": {"content_type": "text", "parts": [text]}});
        json!([{"conversation_id": "g", "current_node": current, "mapping": {
            "q": {"parent": null, "message": said("q")},
            "a": {"parent": "q", "message": said("a")},
            leaf: {"parent": if leaf == "b" { "q" } else { "a" }, "message": said("leaf")}}}])
    };
    let import = |export: &Value, code| {
        place.file("c.json", &export.to_string());
        place.run([STORE, "chat", "import", "c.json"]).json(code)
    };
    assert_eq!(import(&export("a", "z"), 0)["messages"], 2);
    assert_eq!(import(&export("z", "z"), 0)["messages"], 1, "it went on");
    let answer = import(&export("b", "b"), 1);
    assert!(
        answer["left_out"]["items"][0]["reason"].as_str().unwrap().contains("another branch"),
        "{answer}"
    );
}

#[test]
fn text_that_is_no_json_is_named_and_a_line_of_it_holds_no_conversation() {
    let place = Place::new();
    place.file("t.md", "# Notes\n\nof a meeting\n");
    let answer = place.run([STORE, "chat", "import", "t.md"]).json(1);
    assert!(answer["error"]["message"].as_str().unwrap().contains("no JSON"), "{answer}");
    let hint = answer["error"]["hint"].as_str().unwrap();
    assert!(hint.ends_with("memquill --store sqlite:s.db ingest t.md"), "{hint}");
    // The rest of a line that was cut off is only that.
    place.file("u.jsonl", &format!("t\": \"x\"}}]}}\n{}\n", line("a")));
    let answer = place.run([STORE, "chat", "import", "u.jsonl"]).json(1);
    assert_eq!(
        (&answer["conversations"], &answer["left_out"]["items"][0]["line"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn a_namespace_of_another_embedder_is_told_how_to_move() {
    let place = Place::new();
    place.file("a.txt", "Green tea.");
    place.run([STORE, "--embedder=hashing:64", "ingest", "a.txt"]).json(0);
    place.file("t.jsonl", &line("a"));
    let import = ["chat", "import", "t.jsonl", "--index", "--namespace=default"];
    for args in [&["ingest", "a.txt"][..], &["search", "tea"], &import] {
        let answer = place.run([&[STORE, "--embedder=hashing:128"], args].concat()).json(1);
        let hint = answer["error"]["hint"].as_str().unwrap();
        let command =
            "memquill --store sqlite:s.db --embedder hashing:128 reembed --namespace default";
        assert!(hint.contains(command), "{hint}");
    }
    let reembed = ["reembed", "--namespace=default", STORE, "--embedder=hashing:128"];
    assert_eq!(place.run(reembed).json(0)["embedded"], 1);
}

#[test]
fn nothing_is_found_for_nothing() {
    let place = Place::new();
    place.file("a.txt", "Green tea.");
    place.run([STORE, "ingest", "a.txt"]).json(0);
    for text in ["", " ", "\n"] {
        assert_eq!(place.run([STORE, "search", text]).code, Some(2), "{text:?}");
    }
    for text in ["*", "%", "?", ".*"] {
        let answer = place.run([STORE, "search", text]).json(0);
        assert_eq!(answer["results"], json!([]), "{answer}");
        assert!(answer["note"].as_str().unwrap().contains("no word"), "{answer}");
    }
}

#[test]
fn a_fine_tuning_file_is_the_same_conversations_each_time() {
    let place = Place::new();
    let function = json!({"type": "function", "function": {"name": "f"}});
    let text = [
        json!({"messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Where does the sun set?"},
            {"role": "assistant", "content": "In the west.", "weight": 0},
        ]}),
        json!({"tools": [function], "parallel_tool_calls": false, "messages": [
            {"role": "user", "content": "And rise?"},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function",
                "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "east"},
        ]}),
    ];
    let lines: Vec<String> = text.iter().map(Value::to_string).collect();
    place.file("f.jsonl", &lines.join("\n"));
    let answer = place.run([STORE, "chat", "import", "f.jsonl"]).json(0);
    assert_eq!((&answer["conversations"], &answer["messages"]), (&json!(2), &json!(6)));
    assert_eq!(answer["not_kept"], json!(["parallel_tool_calls", "tools"]));
    // In another order, and in another file.
    place.file("g.jsonl", &format!("{}\n{}\n", lines[1], lines[0]));
    let again = place.run([STORE, "chat", "import", "g.jsonl"]).json(0);
    assert_eq!((&again["messages"], &again["already_there"]), (&json!(0), &json!(6)), "{again}");
    let listed = place.run([STORE, "chat", "list"]).json(0);
    assert_eq!(listed["conversations"].as_array().unwrap().len(), 2);
    let ids: Vec<_> = listed["conversations"].as_array().unwrap().iter().collect();
    let shown =
        |at: usize| place.run([STORE, "chat", "show", ids[at]["conversation"].as_str().unwrap()]);
    let both = format!("{}{}", shown(0).stdout, shown(1).stdout);
    assert!(both.contains("\"weight\":0"), "{both}");
}

#[test]
fn the_time_of_a_message_is_kept_and_can_be_searched_by() {
    let place = Place::new();
    let message = |content: &str, key: &str, time: &str| {
        let mut message = json!({"role": "user", "content": content});
        message[key] = time.into();
        message
    };
    let text = json!({"conversation_id": "c", "messages": [
        message("Green tea.", "timestamp", "2025-01-01T00:00:00Z"),
        message("Black tea.", "created_at", "2025-02-01T00:00:00Z"),
    ]});
    place.file("t.jsonl", &text.to_string());
    place.run([STORE, "chat", "import", "t.jsonl", "--index"]).json(0);
    let shown = place.run([STORE, "chat", "show", "c"]).stdout;
    assert!(shown.contains("2025-01-01T00:00:00Z"), "{shown}");
    let filter = r#"--filter={"metadata.date": {"gte": "2025-01-15"}}"#;
    let found = place.run([STORE, "search", "tea", "--namespace=turns", filter]).json(0);
    let results = found["results"].as_array().unwrap();
    assert_eq!(results.len(), 1, "{found}");
    assert_eq!(results[0]["content"], "Black tea.");
    // What is shown can be imported again.
    place.file("again.jsonl", &shown);
    let again = place.run([STORE, "chat", "import", "again.jsonl"]).json(0);
    assert_eq!((&again["messages"], &again["already_there"]), (&json!(0), &json!(2)), "{again}");
}
