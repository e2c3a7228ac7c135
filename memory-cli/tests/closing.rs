//! The file of a store is whole by itself when a command has ended, however it ended (G15).
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use self::common::Place;

fn conversation(id: &str, messages: usize) -> String {
    let messages: Vec<_> = (0..messages)
        .map(|at| json!({"role": "user", "content": format!("{id} {at}, {}", "word ".repeat(50))}))
        .collect();
    json!({"conversation_id": id, "messages": messages}).to_string()
}

/// The number of messages in a copy of the main file alone, which must be a whole database.
fn messages_in_a_copy(place: &Place, store: &str) -> u64 {
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("copy.db");
    std::fs::copy(place.path().join(store), &file).unwrap();
    let database = Connection::open(&file).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    drop(database);
    let url = format!("sqlite:{}", file.display());
    let listed = place.run(["--store", &url, "chat", "list"]).json(0);
    let conversations = listed["conversations"].as_array().unwrap();
    conversations.iter().map(|listed| listed["statistics"]["message_count"].as_u64().unwrap()).sum()
}

fn no_log_beside(file: &Path) {
    let log = file.with_extension("db-wal");
    assert!(!log.exists(), "{} is left", log.display());
}

#[test]
fn g15_a_copy_of_the_file_is_whole_after_each_of_twenty_imports() {
    let place = Place::new();
    for run in 1..=20 {
        place.file("c.jsonl", &conversation(&format!("c{run}"), 40));
        place.run(["--store", "sqlite:agent.db", "chat", "import", "c.jsonl"]).json(0);
        no_log_beside(&place.path().join("agent.db"));
        assert_eq!(messages_in_a_copy(&place, "agent.db"), run * 40);
    }
}

#[test]
fn g15_the_file_is_whole_after_every_command_also_one_that_fails() {
    let place = Place::new();
    place.file("c.jsonl", &format!("{}\nnot JSON\n", conversation("c", 40)));
    place.file("d.md", "# Parcels\n\nThey are late.\n");
    place.file("n.json", r#"{"type": "MEMORY", "subtype": "WORKING_MEMORY"}"#);
    let store = |node: &str| json!({"operation": "store", "key": node, "value": 1}).to_string();
    place.file("i.json", &store("k"));
    let commands: [(&[&str], i32); 12] = [
        (&["migrate"], 0),
        (&["chat", "import", "c.jsonl"], 1),
        (&["chat", "list"], 0),
        (&["ingest", "d.md"], 0),
        (&["search", "parcels"], 0),
        (&["--user", "local", "run", "n.json", "--input", "i.json"], 0),
        (&["export", "e.jsonl"], 0),
        (&["import", "e.jsonl"], 0),
        (&["health"], 0),
        (&["index"], 0),
        (&["purge"], 0),
        (&["quickstart"], 0),
    ];
    for (command, code) in commands {
        let run = place.run([&["--store", "sqlite:agent.db"], command].concat());
        assert_eq!(run.code, Some(code), "{command:?}: {}{}", run.stdout, run.stderr);
        no_log_beside(&place.path().join("agent.db"));
    }
    assert!(messages_in_a_copy(&place, "agent.db") >= 40);
    place.run(["copy", "--from", "sqlite:agent.db", "--to", "sqlite:other.db"]).json(0);
    let all = messages_in_a_copy(&place, "agent.db");
    assert_eq!(messages_in_a_copy(&place, "other.db"), all);
}

#[cfg(unix)]
#[test]
fn g15_the_file_is_whole_after_a_signal_while_the_command_reads_its_input() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let place = Place::new();
        let url = "sqlite:agent.db";
        place.run(["--store", url, "migrate"]).json(0);
        let mut import = place.start(&[], ["--store", url, "chat", "import", "-"]);
        let mut input = import.stdin.take().unwrap();
        writeln!(input, "{}", conversation("c", 40)).unwrap();
        input.flush().unwrap();
        let begun = Instant::now();
        // What is in the log by now is not in the file.
        while !stored(&place) {
            assert!(begun.elapsed() < Duration::from_secs(30), "nothing was stored");
            std::thread::sleep(Duration::from_millis(20));
        }
        let id = import.id().to_string();
        std::process::Command::new("kill").args([signal, &id]).status().unwrap();
        assert_eq!(import.wait().unwrap().code(), Some(code));
        drop(input);
        no_log_beside(&place.path().join("agent.db"));
        assert_eq!(messages_in_a_copy(&place, "agent.db"), 40);
    }
}

/// Whether the conversation is there, by a connection that changes nothing.
#[cfg(unix)]
fn stored(place: &Place) -> bool {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let count =
        Connection::open_with_flags(place.path().join("agent.db"), flags).and_then(|database| {
            database.query_row("SELECT count(*) FROM conversation_buffers", [], |row| {
                row.get::<_, i64>(0)
            })
        });
    count.is_ok_and(|count| count > 0)
}
