//! What `ingest` makes of documents: passages that say where they are from and can stand alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use serde_json::{Value, json};

use self::common::Place;

const STORE: &str = "--store=sqlite:s.db";

/// Ingests a file and gives its records in their order.
fn passages(place: &Place, file: &str, args: &[&str]) -> Vec<Value> {
    place.run([&[STORE, "ingest", file], args].concat()).json(0);
    let export = place.run([STORE, "export", "-", "--facets=vectors"]).stdout;
    let mut records: Vec<Value> = export
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap().get("record").cloned())
        .collect();
    records.sort_by_key(|record| record["metadata"]["passage"].as_u64());
    records
}

fn content(record: &Value) -> &str {
    record["content"].as_str().unwrap()
}

fn assert_short(records: &[Value], size: usize) {
    assert!(!records.is_empty());
    for record in records {
        assert!(content(record).chars().count() <= size, "{record}");
    }
}

#[test]
fn passages_of_markdown_carry_their_headings() {
    let place = Place::new();
    let long = |of: &str| format!("The {of} has words that go on for a while. ").repeat(12);
    let text = format!(
        "# Guide\n\n{}\n\n## Install\n\n{}\n\n## Remove\n\n{}\n",
        long("guide"),
        long("installation"),
        long("removal")
    );
    place.file("guide.md", &text);
    let records = passages(&place, "guide.md", &["--passage=300"]);
    assert_short(&records, 300);
    for record in &records {
        let headings = &record["metadata"]["headings"];
        let expected = match content(record) {
            text if text.contains("installation") => json!(["Guide", "Install"]),
            text if text.contains("removal") => json!(["Guide", "Remove"]),
            _ => json!(["Guide"]),
        };
        assert_eq!(*headings, expected, "{record}");
        assert!(!content(record).trim_start_matches(['#', ' ']).starts_with("Install\n\n##"));
    }
    let of = |heading: &str| {
        let filter = format!("--filter={}", json!({"metadata.headings": {"contains": heading}}));
        place.run([STORE, "search", "words", filter.as_str()]).json(0)["results"]
            .as_array()
            .unwrap()
            .len()
    };
    assert!(of("Install") >= 2 && of("Guide") > of("Install"));
}

#[test]
fn what_is_embedded_has_the_headings_and_is_embedded_so_again() {
    let place = Place::new();
    let long = "It is poured slowly and it is drunk warm by everybody. ".repeat(20);
    place.file("a.md", &format!("# Darjeeling\n\n{long}"));
    place.file("b.txt", &long);
    place.run([STORE, "ingest", "a.md", "b.txt", "--passage=200"]).json(0);
    let best = |embedder: &str| -> Vec<(String, f64)> {
        let args =
            ["search", "Darjeeling", "--search=vector", "--limit=50", "--embedder", embedder];
        let found = place.run([&[STORE], &args[..]].concat()).json(0);
        let results = found["results"].as_array().unwrap();
        let hit = |hit: &Value| {
            let source = hit["metadata"]["source"].as_str().unwrap().to_owned();
            (source, hit["score"].as_f64().unwrap())
        };
        results.iter().map(hit).collect()
    };
    let before = best("hashing");
    let of = |hits: &[(String, f64)], file: &str| {
        hits.iter()
            .filter(|(source, _)| source == file)
            .map(|(_, score)| *score)
            .fold(0.0, f64::max)
    };
    let count = before.iter().filter(|(source, _)| source == "a.md").count();
    assert!(before[..count].iter().all(|(source, _)| source == "a.md"), "{before:?}");
    assert!(of(&before, "a.md") > of(&before, "b.txt") + 0.05, "{before:?}");
    place.run([STORE, "--embedder=hashing:1024", "reembed", "--namespace=default"]).json(0);
    let after = best("hashing:1024");
    assert!(after[..count].iter().all(|(source, _)| source == "a.md"), "{after:?}");
    // Embedded once more in the first space, they are what ingesting made them.
    place.run([STORE, "--embedder=hashing", "reembed", "--namespace=default"]).json(0);
    let answer = place.run([STORE, "ingest", "a.md", "b.txt", "--passage=200"]).json(0);
    assert_eq!((&answer["updated"], &answer["inserted"]), (&json!(0), &json!(0)), "{answer}");
}

#[test]
fn no_passage_is_a_fence_or_a_heading_alone() {
    let place = Place::new();
    let functions: Vec<String> = (0..30)
        .map(|n| format!("fn f{n}() -> u32 {{\n    // # no heading\n    {n}\n}}\n"))
        .collect();
    let text = format!(
        "# Code\n\nBefore it.\n\n```rust\n{}```\n\n## Short\n\n```sh\nmake\n\nmake test\n```\n\n## Last\n\nEnd.\n",
        functions.join("\n")
    );
    place.file("code.md", &text);
    for size in [60, 120, 400, 1000] {
        let argument = format!("--passage={size}");
        let records = passages(&place, "code.md", &[&argument]);
        assert_short(&records, size);
        for record in &records {
            let text = content(record);
            let says = text.lines().any(|line| {
                !line.trim().is_empty()
                    && !line.starts_with("```")
                    && !line.starts_with("# ")
                    && !line.starts_with("## ")
            });
            assert!(says, "{size}: {text:?}");
            assert_eq!(text.matches("```").count() % 2, 0, "{size}: {text:?}");
        }
        if size > 60 {
            let whole = "```sh\nmake\n\nmake test\n```";
            assert!(records.iter().any(|record| content(record).contains(whole)), "{size}");
        }
        let numbers: Vec<_> =
            records.iter().map(|r| r["metadata"]["passage"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..records.len() as u64).collect::<Vec<_>>());
    }
    let args = ["search", "make test", "--search=text", "--neighbours=1", "--limit=1"];
    let found = place.run([&[STORE], &args[..]].concat()).json(0);
    assert!(!found["results"][0]["before"].as_array().unwrap().is_empty(), "{found}");
}

#[test]
fn rows_of_a_table_keep_their_header() {
    let place = Place::new();
    let rows: Vec<String> = (0..60).map(|n| format!("| city {n} | {} |", n * 1000)).collect();
    place.file("t.md", &format!("# Cities\n\n| name | people |\n|---|---|\n{}\n", rows.join("\n")));
    let rows: Vec<String> = (0..60).map(|n| format!("\"city, {n}\",{}", n * 1000)).collect();
    place.file("t.csv", &format!("name,people\r\n{}\r\n", rows.join("\r\n")));
    let rows: Vec<String> = (0..60).map(|n| format!("city {n}\t{}", n * 1000)).collect();
    place.file("t.tsv", &format!("name\tpeople\n{}\n", rows.join("\n")));
    for (file, header, row) in [
        ("t.md", "| name | people |\n|---|---|\n| city", "| city"),
        ("t.csv", "name,people\n\"city", "\"city"),
        ("t.tsv", "name\tpeople\ncity", "city"),
    ] {
        let place_of = |record: &Value| record["metadata"]["source"] == file;
        let records: Vec<Value> =
            passages(&place, file, &["--passage=200"]).into_iter().filter(place_of).collect();
        assert_short(&records, 200);
        assert!(records.len() > 3, "{file}");
        let rows: usize = records
            .iter()
            .map(|record| {
                assert!(content(record).contains(header), "{file}: {}", content(record));
                content(record).lines().filter(|line| line.starts_with(row)).count()
            })
            .sum();
        assert_eq!(rows, 60, "{file}");
    }
    // A folder has them, too, and ingesting them again changes nothing.
    let answer = place.run([STORE, "ingest", ".", "--passage=200"]).json(0);
    assert_eq!(
        (&answer["files"], &answer["inserted"], &answer["removed"]),
        (&json!(3), &json!(0), &json!(0))
    );
}

#[test]
fn html_becomes_text_with_a_title() {
    let place = Place::new();
    place.file(
        "page.html",
        "<!DOCTYPE html>\n<html><head><title>All about tea &mdash; a page</title>\
         <style>.x { color: red }</style><script>var hidden = 1;</script></head><body>\
         <h1>Tea</h1><p>Green tea is <em>steamed</em>.</p><h2>Brewing</h2>\
         <ul><li>Boil water</li><li>Wait</li></ul>\
         <pre><code>pour()</code></pre></body></html>",
    );
    let records = passages(&place, "page.html", &["--passage=60"]);
    assert_short(&records, 60);
    let all: String = records.iter().map(content).collect();
    for part in ["steamed", "Boil water", "pour()"] {
        assert!(all.contains(part), "{all}");
    }
    for part in ["<p>", "hidden", "color", "&mdash;"] {
        assert!(!all.contains(part), "{all}");
    }
    assert!(
        records.iter().all(|r| r["metadata"]["title"] == "All about tea — a page"),
        "{records:?}"
    );
    assert!(records.iter().any(|r| r["metadata"]["headings"] == json!(["Tea", "Brewing"])));
    assert!(records.iter().all(|r| r["document_type"] == "html"));
}

/// The work is bounded by unit tests; this is about what comes out of giants.
#[test]
fn a_giant_of_any_kind_is_ingested() {
    let place = Place::new();
    let size = 50_000;
    for (name, text) in [
        ("line.txt", "x".repeat(size)),
        ("words.txt", "word ".repeat(size / 5)),
        ("lines.txt", "a\n".repeat(size / 2)),
        ("cjk.txt", "人工智能技术发展".repeat(size / 24)),
        ("line.md", "x".repeat(size)),
        ("list.md", "- item\n".repeat(size / 7)),
        ("row.md", format!("| a | b |\n|---|---|\n| {} | y |\n", "x".repeat(size))),
        ("page.html", format!("<p>{}</p>", "word ".repeat(size / 5))),
        ("row.csv", format!("a,b\n{},y\n", "x".repeat(size))),
    ] {
        place.file(name, &text);
        let answer = place.run([STORE, "ingest", name]).json(0);
        let stored = answer["inserted"].as_u64().unwrap();
        assert!((10..=400).contains(&stored), "{name}: {answer}");
    }
}
