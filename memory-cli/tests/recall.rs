//! Finding again: what was ingested and imported, neighbours, other embedders, and figures.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::common::Place;

fn contents(answer: &Value) -> Vec<&str> {
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|hit| hit["content"].as_str().unwrap()).collect()
}

#[test]
fn ingesting_again_removes_what_files_have_no_more() {
    let place = Place::new();
    place.file("docs/a.txt", "The old tower.");
    place.file("docs/b.txt", "The old tower.");
    place.file("docs/c.md", "A boat.\n");
    place.file("other/d.txt", "A house.");
    let answer = place.run(["ingest", "docs", "./other/d.txt"]).json(0);
    assert_eq!((&answer["inserted"], &answer["removed"]), (&json!(4), &json!(0)), "{answer}");

    place.file("docs/a.txt", "The new tower.");
    let answer = place.run(["ingest", "docs/a.txt"]).json(0);
    assert_eq!((&answer["inserted"], &answer["removed"]), (&json!(1), &json!(1)), "{answer}");
    let found = place.run(["search", "old", "--search=text"]).json(0);
    assert_eq!(contents(&found), ["The old tower."], "the other file still has it");
    assert_eq!(found["results"][0]["metadata"]["source"], "docs/b.txt");

    std::fs::remove_file(place.path().join("docs/c.md")).unwrap();
    let answer = place.run(["ingest", "./docs/"]).json(0);
    assert_eq!((&answer["unchanged"], &answer["removed"]), (&json!(2), &json!(1)), "{answer}");
    assert_eq!(contents(&place.run(["search", "boat", "--search=text"]).json(0)), [""; 0]);
    assert_eq!(contents(&place.run(["search", "house", "--search=text"]).json(0)).len(), 1);
}

#[test]
fn a_passage_that_moved_is_the_same_record() {
    let place = Place::new();
    let paragraph = |n: u32| format!("Paragraph {n} says something of its own, at some length.");
    let text = |numbers: &[u32]| numbers.iter().map(|n| paragraph(*n)).collect::<Vec<_>>();
    place.file("a.txt", &text(&[1, 2, 2, 3]).join("\n\n"));
    let answer = place.run(["ingest", "a.txt", "--passage=60"]).json(0);
    assert_eq!(answer["inserted"], 4, "{answer}");
    place.file("a.txt", &text(&[0, 1, 2, 2, 3]).join("\n\n"));
    let answer = place.run(["ingest", "a.txt", "--passage=60"]).json(0);
    assert_eq!(answer["inserted"], 1, "{answer}");
    assert_eq!((&answer["updated"], &answer["removed"]), (&json!(4), &json!(0)), "{answer}");
}

#[test]
fn neighbours_come_with_their_hit_and_twins_wait() {
    let place = Place::new();
    let lines = [
        "The first step is to boil water.",
        "Then the needle goes in.",
        "Here it ends, at the end of everything.",
    ];
    place.file("a.txt", &lines.join("\n\n"));
    place.file("b.txt", "A needle in a haystack, they say.");
    place.file("c.txt", "A needle in a haystack, they say!");
    place.run(["ingest", ".", "--passage=50"]).json(0);
    let args = ["search", "needle goes", "--search=text", "--neighbours=1", "--limit=1"];
    let answer = place.run(args).json(0);
    assert_eq!(contents(&answer), [lines[1]]);
    assert_eq!(answer["results"][0]["before"], json!([lines[0]]));
    assert_eq!(answer["results"][0]["after"], json!([lines[2]]));
    let sources = |answer: &Value| -> Vec<String> {
        let results = answer["results"].as_array().unwrap();
        results.iter().map(|hit| hit["metadata"]["source"].as_str().unwrap().to_owned()).collect()
    };
    let query = ["search", "a needle in a haystack", "--search=text", "--limit=2"];
    let mut twins = sources(&place.run(query).json(0));
    twins.sort();
    assert_eq!(twins, ["b.txt", "c.txt"]);
    let diverse = place.run(query.into_iter().chain(["--diversity=0.7"])).json(0);
    assert_eq!(sources(&diverse)[1], "a.txt", "the second twin waits");
    let wrong = place.run(query.into_iter().chain(["--diversity=2"])).json(1);
    assert_eq!(wrong["error"]["code"], "invalid_input");
}

fn conversation(id: &str, turns: &[(&str, &str)]) -> String {
    let message = |(role, content): &(&str, &str)| json!({"role": role, "content": content});
    let messages: Vec<Value> = turns.iter().map(message).collect();
    json!({"conversation_id": id, "messages": messages, "date": "2024-05-01"}).to_string()
}

#[test]
fn conversations_are_found_by_their_turns() {
    let place = Place::new();
    let pizza = conversation(
        "pizza",
        &[
            ("system", "You take orders for pizza."),
            ("user", "A pizza with olives."),
            ("tool", "{\"pizza\": 1}"),
            ("assistant", "One pizza with olives, anything else?"),
            ("user", "Some water."),
        ],
    );
    let train =
        conversation("train", &[("user", "A ticket to Bern."), ("assistant", "Which day?")]);
    place.file("t.jsonl", &format!("{pizza}\n{train}\n"));
    assert_eq!(place.run(["chat", "import", "t.jsonl"]).json(0)["indexed"], Value::Null);
    let answer = place.run(["chat", "import", "t.jsonl", "--index", "--language=en"]).json(0);
    assert_eq!((&answer["messages"], &answer["indexed"]), (&json!(0), &json!(5)), "{answer}");
    let args = ["search", "olives pizza", "--namespace=turns", "--search=text"];
    let grouped = place.run(args.into_iter().chain(["--group-by=conversation_id"])).json(0);
    let groups = grouped["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{grouped}");
    assert_eq!(groups[0]["key"], "pizza");
    let turn = &groups[0]["results"][0]["metadata"];
    assert_eq!(
        (&turn["seq"], &turn["turn"], &turn["date"]),
        (&json!(2), &json!(0), &json!("2024-05-01"))
    );
    let beside = place.run(args.into_iter().chain(["--limit=1", "--neighbours=1"])).json(0);
    assert_eq!(beside["results"][0]["after"][0], "One pizza with olives, anything else?");
    let args = args.into_iter().chain(["--group-by=conversation_id", "--neighbours=1"]);
    let grouped = place.run(args).json(0);
    let beside: Vec<&Value> = grouped["groups"][0]["results"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|hit| hit["after"].as_array().unwrap())
        .collect();
    assert_eq!(beside, ["Some water."], "each once");
    let again = place.run(["chat", "import", "t.jsonl", "--index", "--language=en"]).json(0);
    assert_eq!(again["indexed"], 5);
    // Without a threshold, what has nothing in common with the query is no hit (V10).
    let all = ["search", "anything", "--namespace=turns", "--limit=50", "--min-similarity=-1"];
    let all = place.run(all).json(0);
    assert_eq!(all["results"].as_array().unwrap().len(), 5, "importing again adds nothing");
}

#[test]
fn a_namespace_moves_to_another_embedder_and_keeps_everything_else() {
    let place = Place::new();
    let text: Vec<String> =
        (0..30).map(|n| format!("Chapter {n} is about number {n} and its friends.")).collect();
    place.file("a.txt", &text.join("\n\n"));
    let ingest = ["ingest", "a.txt", "--passage=60", "--embed-with=1", "--embedder=hashing:64"];
    place.run(ingest).json(0);
    let search = |embedder: &str, code| {
        place.run(["search", "chapter 7", "--limit=3", "--embedder", embedder]).json(code)
    };
    let before = search("hashing:64", 0);
    let reembed = ["reembed", "--namespace=default", "--embedder=hashing:256"];
    let answer = place.run(reembed).json(0);
    assert_eq!((&answer["records"], &answer["embedded"]), (&json!(30), &json!(30)), "{answer}");
    assert_eq!(search("hashing:64", 1)["error"]["code"], "conflict");
    let after = search("hashing:256", 0);
    assert_eq!(after["results"][0]["created_at"], before["results"][0]["created_at"]);
    assert_eq!(place.run(reembed).json(0)["embedded"], 0, "it is there already");
    // What was embedded together with its neighbours still is: nothing differs from ingesting anew.
    let ingest = ["ingest", "a.txt", "--passage=60", "--embed-with=1", "--embedder=hashing:256"];
    assert_eq!(place.run(ingest).json(0)["unchanged"], 30);
    let missing = place.run(["reembed", "--namespace=nothing", "--embedder=hashing:256"]).json(1);
    assert_eq!(missing["error"]["code"], "not_found");
}

#[test]
fn a_move_that_was_killed_goes_on_and_is_readable_meanwhile() {
    let place = Place::new();
    let lines: Vec<String> =
        (0..3_000).map(|n| json!({"content": format!("line {n} of many")}).to_string()).collect();
    place.file("a.jsonl", &lines.join("\n"));
    place.run(["ingest", "a.jsonl", "--embedder=hashing:64"]).json(0);
    let moving = ["reembed", "--namespace=default", "--embedder=hashing:256"];
    for delay in [60, 120, 240, 480] {
        let mut child = place.start(&[], moving);
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        let old = place.run(["search", "line 77", "--limit=1", "--embedder=hashing:64"]);
        let new = place.run(["search", "line 77", "--limit=1", "--embedder=hashing:256"]);
        assert_ne!(old.code, new.code, "in one space or the other");
        let found = if old.code == Some(0) { old.json(0) } else { new.json(0) };
        assert_eq!(contents(&found), ["line 77 of many"]);
    }
    let answer = place.run(moving).json(0);
    assert_eq!(answer["records"], 3_000);
    assert!(answer["embedded"].as_u64().unwrap() < 3_000, "what was done is not done again");
    let spaces = place.file(
        "n.json",
        r#"{"type": "MEMORY", "subtype": "VECTOR_DATABASE",
        "configurations": {"operation": "get_statistics"}}"#,
    );
    let run = ["run", spaces.to_str().unwrap(), "--user=local", "--embedder=hashing:256"];
    let statistics = place.run(run).json(0);
    assert_eq!(statistics["namespaces"].as_array().unwrap().len(), 1, "{statistics}");
}

/// The expiries of the records of each content, in every namespace.
fn expiries(place: &Place) -> BTreeMap<String, Vec<String>> {
    let mut expiries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in place.run(["export", "-"]).stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let record = &line["record"];
        if let Some(content) = record["content"].as_str() {
            expiries.entry(content.to_owned()).or_default().push(record["expires_at"].to_string());
        }
    }
    expiries
}

#[test]
fn what_an_interrupted_move_leaves_expires_with_its_originals() {
    let place = Place::new();
    place.file("n.json", r#"{"type": "MEMORY", "subtype": "VECTOR_DATABASE"}"#);
    let node = |input: &Value| {
        let run = ["run", "n.json", "--user=local", "--input=-", "--embedder=hashing:64"];
        place.run_with_input(run, &input.to_string()).json(0)
    };
    for part in 0..3 {
        let document = |n: u32| {
            let ttl = if n.is_multiple_of(2) { 3_600 + n } else { 0 };
            json!({"content": format!("line {n} of {part}"), "ttl_seconds": ttl})
        };
        let documents: Vec<Value> = (0..1_000).map(document).collect();
        node(&json!({"operation": "store", "documents": documents}));
    }
    let moving = ["reembed", "--namespace=default", "--embedder=hashing:2048"];
    let mut child = place.start(&[], moving);
    let namespaces = || {
        let found = node(&json!({"operation": "get_statistics"}));
        found["namespaces"].as_array().unwrap().len()
    };
    while namespaces() < 2 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be interrupted");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = expiries(&place);
    let copied = left.values().filter(|both| both.len() == 2).count();
    assert!((1..3_000).contains(&copied), "{copied} of them were copied");
    for (content, both) in &left {
        assert!(both.iter().all(|at| *at == both[0]), "{content}: {both:?}");
    }
    let answer = place.run(moving).json(0);
    assert_eq!((&answer["records"], &answer["embedded"]), (&json!(3_000), &json!(3_000 - copied)));
    let moved = expiries(&place);
    assert!(moved.iter().all(|(content, at)| at[..] == left[content][..1]), "expiry stays");
}

#[test]
fn a_move_takes_any_metadata() {
    let place = Place::new();
    let lines = [json!(500), json!(u64::MAX), json!("many")].map(|number| {
        let metadata = json!({"embedded_with": number, "source": "a", "passage": 1});
        json!({"content": format!("with {number}"), "metadata": metadata}).to_string()
    });
    place.file("a.jsonl", &lines.join("\n"));
    place.run(["ingest", "a.jsonl", "--embedder=hashing:64"]).json(0);
    let moving = ["reembed", "--namespace=default", "--embedder=hashing:256"];
    assert_eq!(place.run(moving).json(0)["records"], 3);
}

#[test]
fn groups_are_as_many_as_asked_or_all() {
    let place = Place::new();
    let of = |source: &str, text: &str| {
        json!({"content": text, "metadata": {"source": source}}).to_string()
    };
    let mut lines: Vec<String> = (0..800).map(|n| of("big", &format!("zebra zebra {n}"))).collect();
    let long = "and much else that says nothing of it ".repeat(5);
    lines.extend(["small", "other"].map(|source| of(source, &format!("{source}: zebra {long}"))));
    place.file("a.jsonl", &lines.join("\n"));
    place.run(["ingest", "a.jsonl"]).json(0);
    let search = |limit: &str| {
        let args = ["search", "zebra", "--group-by=source", "--search=text", limit];
        let found = place.run(args).json(0);
        let groups: Vec<String> = found["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| group["key"].as_str().unwrap().to_owned())
            .collect();
        (groups, found["complete"].clone())
    };
    let (groups, complete) = search("--limit=3");
    assert_eq!((groups.len(), groups[0].as_str(), complete), (3, "big", json!(true)));
    assert_eq!(search("--limit=1"), (vec!["big".to_owned()], json!(true)));
    let (groups, complete) = search("--limit=4");
    assert_eq!((groups.len(), complete), (3, json!(true)), "there are no more");
    let args = ["search", "zebra", "--group-by=source", "--search=text", "--limit=3"];
    let found = place.run(args).json(0);
    let shown = found["groups"][0]["results"].as_array().unwrap().len();
    assert_eq!(shown, 60, "what was looked through for other groups is not shown");
}

#[test]
fn groups_behind_the_most_hits_are_told_of() {
    let place = Place::new();
    let of = |source: &str, text: &str| {
        json!({"content": text, "metadata": {"source": source}}).to_string()
    };
    let mut lines: Vec<String> = (0..10_000).map(|n| of("big", &format!("zebra {n}"))).collect();
    lines.push(of("small", "one zebra among other animals that are none"));
    place.file("a.jsonl", &lines.join("\n"));
    place.run(["ingest", "a.jsonl", "--embedder=hashing:8"]).json(0);
    let args = ["search", "zebra", "--group-by=source", "--search=text", "--limit=2"];
    let found = place.run(args.into_iter().chain(["--embedder=hashing:8"])).json(0);
    let groups = found["groups"].as_array().unwrap().len();
    assert_eq!((groups, &found["complete"]), (1, &json!(false)));
}

#[test]
fn retrieval_is_measured_and_drawn() {
    let place = Place::new();
    let paragraph = |context: &str, questions: &[&str]| {
        let qas: Vec<Value> = questions.iter().map(|q| json!({"id": "x", "question": q})).collect();
        json!({"context": context, "qas": qas})
    };
    let squad = json!({"version": "1.1", "data": [{"title": "T", "paragraphs": [
        paragraph("The red tower is in Bern.", &["Where is the red tower?"]),
        paragraph("Boats sail on the lake.", &["What does sail on the lake?", "zzz?"]),
        paragraph("The red tower is in Bern.", &["What colour is the tower? red"]),
    ]}]});
    place.file("squad.json", &squad.to_string());
    let args = ["eval", "retrieval", "squad.json", "--language=en", "--compare=hashing:64"];
    let args = args.into_iter().chain(["--plot=figures.svg", "--store=memory:"]);
    let answer = place.run(args).json(0);
    assert_eq!((&answer["passages"], &answer["questions"]), (&json!(2), &json!(4)));
    let rows = answer["results"].as_array().unwrap();
    assert_eq!(rows.len(), 6);
    assert_eq!((&rows[1]["search"], &rows[1]["recall_at_1"]), (&json!("text"), &json!(75.0)));
    assert_eq!(rows[0]["recall_at_5"], 75.0, "by vector, but for zzz, which is like nothing (V10)");
    let drawn = std::fs::read_to_string(place.path().join("figures.svg")).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains("recall@5"), "{drawn}");
    place.file("empty.json", r#"{"data": []}"#);
    let nothing = place.run(["eval", "retrieval", "empty.json", "--store=memory:"]).json(1);
    assert_eq!(nothing["error"]["code"], "invalid_input");
    let wrong = place.run(["eval", "retrieval", "squad.json", "--plot=figures.pdf"]);
    assert_eq!(wrong.code, Some(2));
    let ingested = place.run(["ingest", "squad.json"]).json(0);
    assert_eq!(ingested["inserted"], 3);
}
