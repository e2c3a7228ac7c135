//! One bad line, file or item holds no other: it is left out, and the answer says where it is and
//! why.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use serde_json::{Value, json};

use self::common::Place;

const STORE: &str = "--store=sqlite:s.db";

fn line(conversation: &str, contents: &[&str]) -> String {
    let messages: Vec<Value> =
        contents.iter().map(|content| json!({"role": "user", "content": content})).collect();
    json!({"conversation_id": conversation, "messages": messages}).to_string()
}

/// The places and reasons of what an answer says was left out.
fn left_out(answer: &Value) -> Vec<String> {
    let items = answer["left_out"]["items"].as_array().unwrap();
    let shown = |item: &Value| {
        let line = item["line"].as_u64().map_or(String::new(), |line| format!(":{line}"));
        format!("{}{line}: {}", item["file"].as_str().unwrap(), item["reason"].as_str().unwrap())
    };
    items.iter().map(shown).collect()
}

fn bytes(place: &Place, name: &str, bytes: &[u8]) {
    let path = place.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn conversations(place: &Place) -> Vec<String> {
    let listed = place.run([STORE, "chat", "list", "--by", "name"]).json(0);
    let name = |found: &Value| found["conversation"].as_str().unwrap().to_owned();
    listed["conversations"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn a_line_that_is_cut_off_holds_no_other() {
    let place = Place::new();
    let cut = &line("c", &["a text that ends in the middle"])[..60];
    let text =
        format!("{}\n{}\n{cut}\n{}\n", line("a", &["1"]), line("b", &["2"]), line("d", &["4"]));
    place.file("t.jsonl", &text);
    let answer = place.run([STORE, "chat", "import", "t.jsonl"]).json(1);
    assert_eq!((&answer["success"], &answer["conversations"]), (&json!(false), &json!(3)));
    let reasons = left_out(&answer);
    assert!(reasons.len() == 1 && reasons[0].starts_with("t.jsonl:3: "), "{reasons:?}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("t.jsonl:3: "), "{answer}");
    assert_eq!(conversations(&place), ["a", "b", "d"]);

    let strict = place.run([STORE, "--user=eve", "chat", "import", "--strict", "t.jsonl"]).json(1);
    assert!(strict["error"]["message"].as_str().unwrap().starts_with("t.jsonl:3: "), "{strict}");
    let eves = place.run([STORE, "--user=eve", "chat", "list"]).json(0);
    assert_eq!(eves["conversations"].as_array().unwrap().len(), 2, "those before it");
}

#[test]
fn an_answer_that_was_written_again_costs_its_conversation_alone() {
    let place = Place::new();
    let text = |second: &str, last: &str| {
        let lines =
            [line("a", &["q", "r"]), line("b", &["q", second]), line("c", &["q"]), last.into()];
        lines.join("\n")
    };
    place.file("first.jsonl", &text("r", &line("d", &["q"])));
    place.file("second.jsonl", &text("another r", &line("d", &["q", "r"])));
    place.run([STORE, "chat", "import", "first.jsonl"]).json(0);
    let answer = place.run([STORE, "chat", "import", "second.jsonl"]).json(1);
    assert_eq!((&answer["conversations"], &answer["messages"]), (&json!(3), &json!(1)), "{answer}");
    let reasons = left_out(&answer);
    assert!(reasons[0].starts_with("second.jsonl:2: message 2: it differs"), "{reasons:?}");
    let shown = place.run([STORE, "chat", "show", "b"]).stdout;
    assert!(shown.contains("\"r\"") && !shown.contains("another"), "{shown}");
    assert_eq!(place.run([STORE, "chat", "show", "d", "--format=compact"]).stdout, "U: q | U: r\n");
}

#[test]
fn a_conversation_that_cannot_be_taken_whole_is_not_taken_in_part() {
    let place = Place::new();
    let numbers: Vec<String> = (0..1500).map(|n| n.to_string()).collect();
    let mut contents: Vec<&str> = numbers.iter().map(String::as_str).collect();
    place.file("t.jsonl", &line("long", &contents));
    place.run([STORE, "chat", "import", "t.jsonl"]).json(0);
    // It has grown, and one of the messages that are there has changed.
    contents.push("more");
    contents[1200] = "changed";
    place.file("t.jsonl", &line("long", &contents));
    let answer = place.run([STORE, "chat", "import", "t.jsonl"]).json(1);
    assert!(left_out(&answer)[0].contains("message 1201: "), "{answer}");
    contents[1200] = "1200";
    place.file("t.jsonl", &line("long", &contents));
    let answer = place.run([STORE, "chat", "import", "t.jsonl"]).json(0);
    assert_eq!(answer["messages"], 1, "{answer}");
}

#[test]
fn a_wrong_message_holds_no_other_wherever_it_is_and_under_strict_nothing_is_stored() {
    let place = Place::new();
    for (name, count, at) in [("short", 3, 1), ("long", 1501, 1300)] {
        let numbers: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        let mut contents: Vec<&str> = numbers.iter().map(String::as_str).collect();
        contents[at] = "a NUL: \0";
        place.file("t.jsonl", &line(name, &contents));
        let strict = place.run([STORE, "chat", "import", "--strict", "t.jsonl"]).json(1);
        let message = strict["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("t.jsonl:1: message {}: ", at + 1)), "{strict}");
        assert!(!place.path().join("s.db").exists(), "nothing is stored of {name}");
    }
    for (name, count, at) in [("short", 3, 1), ("long", 1501, 1300)] {
        let numbers: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        let mut contents: Vec<&str> = numbers.iter().map(String::as_str).collect();
        contents[at] = "";
        place.file("t.jsonl", &line(name, &contents));
        let answer = place.run([STORE, "chat", "import", "t.jsonl"]).json(1);
        assert_eq!((&answer["conversations"], &answer["messages"]), (&json!(1), &json!(count - 1)));
        let reasons = left_out(&answer);
        let prefix = format!("t.jsonl:1: message {}: ", at + 1);
        assert!(reasons.len() == 1 && reasons[0].starts_with(&prefix), "{reasons:?}");
        let again = place.run([STORE, "chat", "import", "t.jsonl"]).json(1);
        assert_eq!((&again["messages"], &again["already_there"]), (&json!(0), &json!(count - 1)));
    }
    let shown = place.run([STORE, "chat", "show", "short", "--format=compact"]).stdout;
    assert_eq!(shown, "U: 0 | U: 2\n");
}

#[test]
fn every_message_that_is_refused_has_its_number() {
    let place = Place::new();
    let wrong = [
        json!({"role": "user", "content": "\u{0}"}),
        json!({"role": "tool", "content": "x", "tool_call_id": ""}),
        json!({"role": "use", "content": "x"}),
        json!({"role": "user"}),
        json!({"role": "user", "content": "x", "id": "a\nb"}),
        json!({"role": "user", "content": "x".repeat((16 << 20) + 1)}),
        json!("text"),
    ];
    let lines = wrong.iter().enumerate().map(|(at, wrong)| {
        let good = json!({"role": "user", "content": "good"});
        json!({"conversation_id": format!("c{at}"), "messages": [good, good, wrong]}).to_string()
    });
    let twice = json!({"role": "user", "content": "x", "id": "same"});
    let twice = json!({"conversation_id": "twice", "messages": [twice, {"role": "user", "content": "y"}, twice]});
    let lines: Vec<String> = lines.chain([twice.to_string()]).collect();
    place.file("t.jsonl", &lines.join("\n"));
    let answer = place.run([STORE, "chat", "import", "t.jsonl"]).json(1);
    let reasons = left_out(&answer);
    assert_eq!(reasons.len(), lines.len(), "{reasons:#?}");
    for (at, reason) in reasons.iter().enumerate() {
        assert!(reason.starts_with(&format!("t.jsonl:{}: ", at + 1)), "{reason}");
        assert!(reason.contains("message 3"), "{reason}");
    }
    for conversation in conversations(&place) {
        let shown = place.run([STORE, "chat", "show", &conversation, "--format=json"]).json(0);
        assert_eq!(shown["messages"].as_array().unwrap().len(), 2, "{shown}");
    }
}

#[test]
fn a_line_in_another_encoding_holds_no_other() {
    let place = Place::new();
    let wrong = b"{\"conversation_id\": \"b\", \"messages\": [{\"role\": \"user\", \"content\": \"caf\xE9\"}]}";
    let lines = [line("a", &["1"]).into_bytes(), wrong.to_vec(), line("c", &["3"]).into_bytes()];
    bytes(&place, "t.jsonl", &lines.join(&b'\n'));
    let answer = place.run([STORE, "chat", "import", "t.jsonl"]).json(1);
    let reasons = left_out(&answer);
    assert!(reasons[0].starts_with("t.jsonl:2: ") && reasons[0].contains("0xE9"), "{reasons:?}");
    assert_eq!(conversations(&place), ["a", "c"]);
}

#[test]
fn many_omissions_are_counted_and_not_all_printed() {
    let place = Place::new();
    let wrong = "{\"conversation_id\": 1, \"messages\": []}\n".repeat(5000);
    place.file("t.jsonl", &format!("{wrong}{}\n", line("good", &["x"])));
    let run = place.run([STORE, "chat", "import", "t.jsonl"]);
    let answer = run.json(1);
    assert_eq!((&answer["left_out"]["count"], &answer["conversations"]), (&json!(5000), &json!(1)));
    assert!(run.stdout.len() < 100_000, "{}", run.stdout.len());
}

#[test]
fn a_file_that_is_no_text_holds_no_other_of_its_folder() {
    let place = Place::new();
    place.file("d/a.md", "# Tea\n\nGreen tea.\n");
    bytes(&place, "d/b.txt", b"line one\nline two\ncaf\xE9 au lait\n");
    bytes(&place, "d/c.txt", b"\x00\x01\x02\xFF\xFE\x00");
    bytes(&place, "d/d.pdf", b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n");
    bytes(&place, "d/e.docx", b"PK\x03\x04\x14\x00");
    bytes(&place, "d/f.txt", b"\x1F\x8B\x08\x00");
    place.file(
        "d/g.jsonl",
        "{\"content\": \"one\"}\n{\"content\": \n{\"content\": \"\"}\n{\"content\": \"two\"}\n",
    );
    place.file("d/h.txt", "Black tea.");
    std::fs::File::create(place.path().join("d/i.txt")).unwrap().set_len(300 << 20).unwrap();
    let answer = place.run([STORE, "ingest", "d"]).json(1);
    assert_eq!((&answer["files"], &answer["inserted"]), (&json!(3), &json!(4)), "{answer}");
    let reasons = left_out(&answer);
    for (file, part) in [
        ("d/b.txt:3: ", "0xE9"),
        ("d/c.txt: ", "binary"),
        ("d/d.pdf: ", "PDF"),
        ("d/e.docx: ", "DOCX"),
        ("d/f.txt: ", "gzip"),
        ("d/g.jsonl:2: ", "cut off"),
        ("d/g.jsonl:3: ", "empty"),
        ("d/i.txt: ", "256 MiB"),
    ] {
        assert!(
            reasons.iter().any(|reason| reason.starts_with(file) && reason.contains(part)),
            "{file}{part} in {reasons:#?}"
        );
    }
    let items = answer["left_out"]["items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["hint"].is_string()), "{items:?}");
    let strict = place.run([STORE, "ingest", "--strict", "d"]).json(1);
    assert!(strict["error"]["message"].as_str().unwrap().starts_with("d/b.txt:3: "), "{strict}");
}

#[test]
fn a_file_that_cannot_be_read_for_once_keeps_its_passages() {
    let place = Place::new();
    place.file("d/a.txt", "Green tea.");
    place.file("d/b.txt", "Black tea.");
    place.run([STORE, "ingest", "d"]).json(0);
    bytes(&place, "d/b.txt", b"caf\xE9");
    let answer = place.run([STORE, "ingest", "d"]).json(1);
    assert_eq!(answer["removed"], 0, "{answer}");
    let found = place.run([STORE, "search", "black", "--search=text"]).json(0);
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
}

#[cfg(unix)]
#[test]
fn a_file_or_folder_without_the_right_to_read_it_holds_no_other() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.file("d/a.txt", "Green tea.");
    place.file("d/b.txt", "Black tea.");
    place.file("d/deep/c.txt", "White tea.");
    let mode = |path: &str, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path().join(path), mode).unwrap();
    };
    mode("d/b.txt", 0);
    mode("d/deep", 0);
    // Who may read everything, as in a container, cannot try it.
    if std::fs::read(place.path().join("d/b.txt")).is_err() {
        let answer = place.run([STORE, "ingest", "d"]).json(1);
        assert_eq!(answer["inserted"], 1, "{answer}");
        assert_eq!(left_out(&answer).len(), 2, "{answer}");
    }
    mode("d/deep", 0o755);
    let answer = place.run([STORE, "ingest", "d/a.txt", "missing.txt", "d/deep"]).json(1);
    let reasons = left_out(&answer);
    assert!(reasons.len() == 1 && reasons[0].starts_with("missing.txt: "), "{reasons:?}");
    assert_eq!(answer["files"], 2, "{answer}");
}

#[test]
fn two_documents_of_one_id_are_answered_alike_near_and_far() {
    for between in [0, 300, 700] {
        let place = Place::new();
        let document = |id: &str, content: &str| json!({"id": id, "content": content}).to_string();
        let mut lines = vec![document("a", "one")];
        lines.extend((0..between).map(|n| document(&format!("n{n}"), &format!("other {n}"))));
        lines.extend([document("a", "two"), document("a", "one"), document("z", "last")]);
        place.file("d.jsonl", &lines.join("\n"));
        let answer = place.run([STORE, "ingest", "d.jsonl"]).json(1);
        assert_eq!(answer["inserted"], between + 2, "{answer}");
        assert_eq!(answer["repeated"], 1, "an identical one is one: {answer}");
        let reasons = left_out(&answer);
        assert_eq!(reasons.len(), 1);
        assert!(reasons[0].starts_with(&format!("d.jsonl:{}: ", between + 2)), "{reasons:?}");
        assert!(reasons[0].contains("d.jsonl:1"), "{reasons:?}");
        let found = place.run([STORE, "search", "one", "--search=text"]).json(0);
        assert_eq!(found["results"][0]["id"], "a");
    }
}

#[test]
fn a_document_that_is_refused_costs_itself_alone() {
    let place = Place::new();
    let mut lines: Vec<String> =
        (0..300).map(|n| json!({"content": format!("document {n}")}).to_string()).collect();
    lines[100] = json!({"content": "a NUL: \u{0}"}).to_string();
    lines[200] = json!({"content": "x", "id": "a\nb"}).to_string();
    lines[250] = json!({"content": "x".repeat((1 << 20) + 1)}).to_string();
    place.file("d.jsonl", &lines.join("\n"));
    let answer = place.run([STORE, "ingest", "d.jsonl"]).json(1);
    assert_eq!(answer["inserted"], 297, "{answer}");
    let reasons = left_out(&answer);
    for (reason, line) in reasons.iter().zip([101, 201, 251]) {
        assert!(reason.starts_with(&format!("d.jsonl:{line}: ")), "{reasons:?}");
    }
}

#[test]
fn one_damaged_line_of_an_export_holds_no_other() {
    let place = Place::new();
    let contents: Vec<String> = (0..4).map(|n| line(&format!("c{n}"), &["words"])).collect();
    place.file("t.jsonl", &contents.join("\n"));
    place.run([STORE, "chat", "import", "t.jsonl"]).json(0);
    place.run([STORE, "export", "e.jsonl"]).json(0);
    let export = std::fs::read_to_string(place.path().join("e.jsonl")).unwrap();
    let damaged = export.replacen("words", "wards", 1);
    let at = damaged.lines().position(|line| line.contains("wards")).unwrap() + 1;
    place.file("e.jsonl", &damaged);
    let answer = place.run(["--store=sqlite:u.db", "import", "e.jsonl"]).json(1);
    assert_eq!(answer["written"], 3, "{answer}");
    let reasons = left_out(&answer);
    assert!(
        reasons.len() == 1 && reasons[0].starts_with(&format!("e.jsonl:{at}: ")),
        "{reasons:?}"
    );
    // A conversation that went on elsewhere is left out, and those after it are not.
    place.file("e.jsonl", &export);
    let more = line("c1", &["mine"]);
    place.file("m.jsonl", &more);
    place.run(["--store=sqlite:v.db", "chat", "import", "m.jsonl"]).json(0);
    let answer = place.run(["--store=sqlite:v.db", "import", "e.jsonl"]).json(1);
    assert_eq!(answer["written"], 3, "{answer}");
    let reasons = left_out(&answer);
    assert!(reasons.len() == 1 && reasons[0].contains("\"c1\""), "{reasons:?}");
    assert!(
        Path::new("e.jsonl").is_relative() && reasons[0].starts_with("e.jsonl:"),
        "{reasons:?}"
    );
}
