//! Only what writes makes a store; and URLs as people have them.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use serde_json::json;

use self::common::Place;

const CONVERSATION: &str =
    r#"{"conversation_id": "c", "messages": [{"role": "user", "content": "Hello, parcel!"}]}"#;

/// The names in the place, its folders' own left out.
fn names(place: &Place) -> Vec<String> {
    let names = std::fs::read_dir(place.path()).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn g10_a_command_that_reads_makes_no_file_and_names_those_that_there_are() {
    let place = Place::new();
    place.file("c.jsonl", CONVERSATION);
    place.file("retrieve.json", r#"{"operation": "retrieve"}"#);
    place.file("clear.json", r#"{"operation": "clear"}"#);
    place.file("node.json", r#"{"type": "MEMORY", "subtype": "CONVERSATION_BUFFER"}"#);
    place.file(
        "context.json",
        r#"{"type": "MEMORY", "subtype": "WORKING_MEMORY", "configurations": {"operation": "get_context"}}"#,
    );
    place.run(["--store", "sqlite:agent.db", "chat", "import", "c.jsonl"]).json(0);
    let before = names(&place);
    let commands: [&[&str]; 14] = [
        &["search", "parcel"],
        &["chat", "show", "c"],
        &["chat", "list"],
        &["export", "e.jsonl"],
        &["export", "-"],
        &["reembed", "--namespace=default"],
        &["purge"],
        &["index"],
        &["--user", "ada", "erase", "--yes"],
        &["--user", "ada", "run", "node.json", "--input", "retrieve.json"],
        &["--user", "ada", "run", "node.json", "--input", "clear.json"],
        &["--user", "ada", "run", "context.json"],
        &["copy", "--from", "sqlite:agnet.db", "--to", "sqlite:new.db"],
        &["verify", "--from", "sqlite:agent.db", "--to", "sqlite:agnet.db"],
    ];
    for command in commands {
        let store: &[&str] =
            if command.contains(&"--from") { &[] } else { &["--store", "sqlite:agnet.db"] };
        let error = &place.run([store, command].concat()).json(1)["error"];
        assert_eq!(error["code"], "not_found", "{command:?}: {error}");
        assert!(error["message"].as_str().unwrap().contains("agnet.db"), "{error}");
        assert_eq!(error["hint"], "did you mean \"sqlite:agent.db\"?", "{command:?}");
        assert_eq!(names(&place), before, "{command:?}");
    }
    let health = place.run(["--store", "sqlite:agnet.db", "health"]).json(1);
    assert_eq!(health["stores"]["main"]["status"], "unreachable");
    assert!(health["stores"]["main"]["missing"][0].as_str().unwrap().contains("agnet.db"));
    assert_eq!(names(&place), before, "health");
    // The default store is no exception, and is made by what stores.
    assert_eq!(place.run(["chat", "list"]).json(1)["error"]["code"], "not_found");
    assert!(!place.path().join("data").exists());
    place.run(["chat", "import", "c.jsonl"]).json(0);
    place.run(["chat", "list"]).json(0);
}

#[test]
fn g10_a_source_that_is_empty_or_no_database_or_anothers_is_refused() {
    let place = Place::new();
    place.file("empty.db", "");
    place.file("notes.txt", "These are notes and no database, whatever their name may be. Really.");
    std::fs::create_dir(place.path().join("folder")).unwrap();
    let other = rusqlite::Connection::open(place.path().join("other.db")).unwrap();
    other.execute_batch("CREATE TABLE users (name TEXT); PRAGMA user_version = 3").unwrap();
    drop(other);
    for (name, code, says) in [
        ("empty.db", "not_found", "is empty"),
        ("notes.txt", "corrupted", "not an SQLite database"),
        ("folder", "config", "folder"),
        ("other.db", "config", "\"users\""),
    ] {
        let url = format!("sqlite:{name}");
        for command in [["chat", "list"].as_slice(), &["export", "-"], &["search", "x"]] {
            let error = &place.run([&["--store", &url], command].concat()).json(1)["error"];
            assert_eq!(error["code"], code, "{error}");
            assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        }
    }
    // Nor is anything put into what is another's.
    for command in [["migrate"].as_slice(), &["quickstart"]] {
        let error = &place.run([&["--store", "sqlite:other.db"], command].concat()).json(1);
        assert_eq!(error["error"]["code"], "config", "{error}");
    }
    let other = rusqlite::Connection::open(place.path().join("other.db")).unwrap();
    let tables: i64 =
        other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
    place.run(["--store", "sqlite:empty.db", "migrate"]).json(0);
    place.run(["--store", "sqlite:empty.db", "chat", "list"]).json(0);
}

#[test]
fn urls_of_other_libraries_mean_what_they_mean_there_or_say_what_to_write() {
    let place = Place::new();
    place.file("c.jsonl", CONVERSATION);
    let shown = place.path().display();
    for (url, made) in [
        ("sqlite:plain.db".to_owned(), "plain.db"),
        ("sqlite://double.db".to_owned(), "double.db"),
        ("sqlite:made.db?mode=rwc".to_owned(), "made.db"),
        ("sqlite:~/home.db".to_owned(), "home.db"),
        ("sqlite:file:uri.db?mode=rwc&cache=private".to_owned(), "uri.db"),
        (format!("sqlite://{shown}/absolute.db"), "absolute.db"),
        (format!("sqlite:///{shown}/four.db"), "four.db"),
        ("sqlite:a%20b%3F.db".to_owned(), "a b?.db"),
        ("SQLite:./upper.db".to_owned(), "upper.db"),
    ] {
        let imported = place.run(["--store", &url, "chat", "import", "c.jsonl"]).json(0);
        assert_eq!(imported["messages"], json!(1), "{url}");
        assert!(place.path().join(made).is_file(), "{url}: {:?}", names(&place));
        place.run(["--store", &url, "chat", "list"]).json(0);
    }
    let before = names(&place);
    for (url, hint) in [
        ("sqlite:///rel.db", "sqlite:rel.db"),
        ("sqlite:folder/", "sqlite:folder/memory.db"),
        ("sqlite:C:\\data\\a.db", "separate folders by /"),
        ("sqlite:$HOME/a.db", "double quotes"),
        ("sqlite:new.db?mode=rw", "database"),
        ("sqlite:new.db?mode=ro", "databases"),
        ("sqlite:new.db?cache=shared", "leave it out"),
        ("sqlite:new.db?_busy_timeout=5000", "busy_timeout=5s"),
        ("sqlite:", "sqlite:PATH"),
        ("file:./dev.db", "sqlite:./dev.db"),
        ("sqlite3:dev.db", "sqlite"),
        ("sqlite+aiosqlite:///dev.db", "sqlite:"),
    ] {
        let run = place.run(["--store", url, "chat", "import", "c.jsonl"]);
        assert!(matches!(run.code, Some(1 | 2)), "{url}: {}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains(hint), "{url}: {}", run.stdout);
        assert_eq!(names(&place), before, "{url}");
    }
}
