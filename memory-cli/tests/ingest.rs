//! What `ingest` removes: passages of its own that are gone, and nothing else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use memquill::driver::content_hash;
use serde_json::{Value, json};

use self::common::Place;

#[track_caller]
fn counts(answer: &Value, inserted: u64, removed: u64) {
    let counts = (&answer["inserted"], &answer["removed"]);
    assert_eq!(counts, (&json!(inserted), &json!(removed)), "{answer}");
}

/// The sources of the passages with a word, in order.
fn sources(place: &Place, word: &str) -> Vec<String> {
    let found = place.run(["search", word, "--search=text", "--limit=50"]).json(0);
    let source = |hit: &Value| hit["metadata"]["source"].as_str().unwrap().to_owned();
    let mut sources: Vec<_> = found["results"].as_array().unwrap().iter().map(source).collect();
    sources.sort();
    sources
}

#[cfg(unix)]
#[test]
fn a_folder_keeps_what_it_is_not_searched_for_and_what_is_no_file_of_its() {
    let place = Place::new();
    place.file("shared/s.md", "A kept tower of the shared folder.");
    place.file("proj/b.md", "A kept boat.");
    place.file("proj/README", "A kept readme.");
    place.file("proj/.hidden.md", "A kept secret.");
    let paragraph = json!({"context": "A kept paragraph.", "qas": []});
    place.file("proj/q.json", &json!({"data": [{"paragraphs": [paragraph]}]}).to_string());
    place.file("elsewhere.txt", "A kept link.");
    std::os::unix::fs::symlink("../elsewhere.txt", place.path().join("proj/l.txt")).unwrap();
    counts(&place.run_at("proj", ["ingest", "../shared"]).json(0), 1, 0);
    let named = ["ingest", "README", ".hidden.md", "q.json", "l.txt"];
    counts(&place.run_at("proj", named).json(0), 4, 0);
    // Records of one's own in the same words.
    place.file("n.json", r#"{"type": "MEMORY", "subtype": "VECTOR_DATABASE"}"#);
    for source in ["https://example.org/page.md", "gone.md"] {
        let input = json!({"operation": "store", "content": format!("A kept record of {source}"),
                           "metadata": {"source": source, "passage": 0, "offset": 0}});
        let args = ["run", "n.json", "--user=local", "--input=-"];
        place.run_with_input(args, &input.to_string()).json(0);
    }
    counts(&place.run_at("proj", ["ingest", "."]).json(0), 1, 0);
    let all = ["../shared/s.md", ".hidden.md", "README", "b.md", "gone.md"];
    let all = [&all[..], &["https://example.org/page.md", "l.txt", "q.json"]].concat();
    assert_eq!(sources(&place, "kept"), all);

    // A file that is gone is gone, also for the folder above it.
    place.file("proj/c.md", "A boat that stays.");
    place.file("proj/deep/d.md", "A boat below.");
    counts(&place.run_at("proj", ["ingest", "."]).json(0), 2, 0);
    std::fs::remove_file(place.path().join("proj/b.md")).unwrap();
    std::fs::remove_dir_all(place.path().join("proj/deep")).unwrap();
    counts(&place.run_at("proj", ["ingest", "."]).json(0), 0, 2);
    assert_eq!(sources(&place, "boat"), ["c.md"]);
    place.file("shared/t.md", "Another.");
    std::fs::remove_file(place.path().join("shared/s.md")).unwrap();
    counts(&place.run_at("proj", ["ingest", "../shared"]).json(0), 1, 1);
}

#[test]
fn a_folder_leaves_the_files_of_another_of_the_same_names() {
    let place = Place::new();
    place.file("one/b.md", "A boat of the first.");
    place.file("one/README.md", "The first readme.");
    place.file("two/c.md", "A boat of the second.");
    place.file("two/README.md", "The second readme.");
    counts(&place.run_at("one", ["ingest", "."]).json(0), 2, 0);
    counts(&place.run_at("two", ["ingest", "."]).json(0), 2, 0);
    assert_eq!(sources(&place, "boat"), ["b.md", "c.md"]);
    assert_eq!(sources(&place, "readme"), ["README.md", "README.md"]);
    // Each takes what is its own.
    place.file("one/README.md", "The first, changed.");
    counts(&place.run_at("one", ["ingest", "README.md"]).json(0), 1, 1);
    std::fs::remove_file(place.path().join("two/c.md")).unwrap();
    counts(&place.run_at("two", ["ingest", "."]).json(0), 0, 1);
    assert_eq!(sources(&place, "boat"), ["b.md"]);
    // A folder that was moved is the same one once it is ingested again.
    std::fs::rename(place.path().join("one"), place.path().join("moved")).unwrap();
    counts(&place.run_at("moved", ["ingest", "."]).json(0), 0, 0);
    std::fs::remove_file(place.path().join("moved/b.md")).unwrap();
    counts(&place.run_at("moved", ["ingest", "."]).json(0), 0, 1);
}

#[test]
fn a_passage_that_two_folders_have_stays_as_long_as_one_of_them_has_it() {
    let place = Place::new();
    for folder in ["one", "two"] {
        place.file(&format!("{folder}/LICENSE.md"), "Do with it what you like.");
        place.file(&format!("{folder}/{folder}.md"), "A boat.");
        place.run_at(folder, ["ingest", "."]).json(0);
    }
    // In either order: the last to ingest it is not its only owner, nor is the first.
    place.file("two/LICENSE.md", "All rights reserved.");
    counts(&place.run_at("two", ["ingest", "."]).json(0), 1, 0);
    assert_eq!(sources(&place, "like"), ["LICENSE.md"]);
    assert_eq!(place.run_at("one", ["ingest", "."]).json(0)["unchanged"], 2, "and is settled");
    std::fs::remove_file(place.path().join("one/LICENSE.md")).unwrap();
    counts(&place.run_at("one", ["ingest", "."]).json(0), 0, 1);
    assert_eq!(sources(&place, "like"), [""; 0]);
    assert_eq!(sources(&place, "rights"), ["LICENSE.md"]);
}

/// A record as versions stored it that did not tell of which folder it was.
fn former(source: &str, content: &str) -> Value {
    let id = content_hash(&format!("{source}\0{content}\x000"));
    json!({"id": id, "content": content, "document_type": "markdown",
           "metadata": {"source": source, "passage": 0, "offset": 0}})
}

#[test]
fn what_a_former_version_ingested_is_a_folders_once_it_is_ingested_again() {
    let place = Place::new();
    let of_others = former("a.md", "Perhaps of another folder.");
    let ours = former("b.md", "A boat.");
    let absolute = place.path().join("c.md").display().to_string();
    let gone = former(&absolute, "It says so no more.");
    place.file("former.jsonl", &format!("{of_others}\n{ours}\n{gone}\n"));
    counts(&place.run(["ingest", "former.jsonl"]).json(0), 3, 0);
    place.file("proj/a.md", "A tower.");
    place.file("proj/b.md", "A boat.");
    let answer = place.run_at("proj", ["ingest", "."]).json(0);
    counts(&answer, 1, 0);
    assert_eq!(answer["updated"], 1, "it is this folder's now");
    assert_eq!(sources(&place, "perhaps"), ["a.md"], "nobody knows whose it is");
    std::fs::remove_file(place.path().join("proj/b.md")).unwrap();
    counts(&place.run_at("proj", ["ingest", "."]).json(0), 0, 1);
    // A whole path is one file, wherever from.
    place.file("c.md", "It says this.");
    counts(&place.run_at("proj", ["ingest", &absolute]).json(0), 1, 1);
}
