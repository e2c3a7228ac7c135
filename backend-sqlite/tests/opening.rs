//! What is opened, made, refused and left alone; and that a closed file is whole.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::Path;

use memquill_core::{Append, ErrorKind, Get, Message, PageRequest, Put, ReadMessages, StoreUrl};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use support::{in_file, scope, url};

/// A plain connection, as another program would open it.
async fn plain(file: &Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

async fn run(file: &Path, text: &'static str) {
    let mut connection = plain(file).await;
    sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Everything in a folder, with its bytes.
fn all_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() })
        })
        .collect();
    all.sort();
    all
}

fn parse(url: &str) -> StoreUrl {
    url.parse().unwrap()
}

#[tokio::test]
async fn g13_files_of_other_programs_are_refused_by_name_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    run(&path("tables.db"), "CREATE TABLE users (x); CREATE VIEW active AS SELECT * FROM users")
        .await;
    run(&path("wal.db"), "PRAGMA journal_mode = WAL; CREATE TABLE orders (x)").await;
    run(&path("like ours.db"), "CREATE TABLE embeddings (x); CREATE TABLE memory_data (y)").await;
    run(&path("counted.db"), "PRAGMA user_version = 7").await;
    run(&path("marked.db"), "PRAGMA application_id = 42").await;
    run(
        &path("many.db"),
        "CREATE TABLE a (x); CREATE TABLE b (x); CREATE TABLE c (x); CREATE TABLE d (x);
         CREATE TABLE e (x); CREATE TABLE f (x INTEGER PRIMARY KEY AUTOINCREMENT)",
    )
    .await;
    let prose = "not a database, but longer than the header of one".repeat(100);
    std::fs::write(path("notes.txt"), prose).unwrap();
    std::fs::write(path("short.txt"), "short").unwrap();
    // A program that died left a log, which is the owner's to take up.
    let mut other = plain(&path("wal.db")).await;
    sqlx::raw_sql("PRAGMA wal_autocheckpoint = 0; INSERT INTO orders VALUES (1)")
        .execute(&mut other)
        .await
        .unwrap();
    let before = all_of(folder.path());
    for (name, kind, says) in [
        ("tables.db", ErrorKind::Config, "\"active\", \"users\""),
        ("wal.db", ErrorKind::Config, "\"orders\""),
        ("like ours.db", ErrorKind::Config, "\"embeddings\", \"memory_data\""),
        ("counted.db", ErrorKind::Config, "user_version 7"),
        ("marked.db", ErrorKind::Config, "application_id 0x2a"),
        ("many.db", ErrorKind::Config, "and 1 more"),
        ("notes.txt", ErrorKind::Corrupted, "not an SQLite database"),
        ("short.txt", ErrorKind::Corrupted, "not an SQLite database"),
    ] {
        for url in [url(&path(name)), url(&path(name)).existing()] {
            let connected = memquill_sqlite::driver().connect(&url).await;
            let administered = memquill_sqlite::driver().admin(&url).await;
            for error in [connected.unwrap_err(), administered.unwrap_err()] {
                assert_eq!(error.kind(), kind, "{name}: {error}");
                assert!(error.message().contains(says), "{name}: {error}");
                assert!(error.message().contains(name), "{name}: {error}");
                assert!(error.hint().is_some());
            }
        }
        let after = all_of(folder.path());
        let names = |all: &[(String, Vec<u8>)]| all.iter().map(|a| a.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(&after), names(&before), "{name}");
        // The index of a log in use is shared memory.
        let kept = |all: Vec<(String, Vec<u8>)>| {
            all.into_iter().filter(|a| !a.0.ends_with("-shm")).collect::<Vec<_>>()
        };
        assert!(kept(after) == kept(before.clone()), "{name} was changed");
    }
    other.close().await.unwrap();
}

#[tokio::test]
async fn g13_tables_and_counters_that_an_application_adds_to_our_file_are_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    let backend = in_file(&file).await;
    backend.working().unwrap().put(&scope(), &Put::new("k", 1)).await.unwrap();
    backend.close().await.unwrap();
    run(&file, "CREATE TABLE theirs (x); PRAGMA user_version = 9; PRAGMA application_id = 1").await;
    let backend = in_file(&file).await;
    assert!(backend.working().unwrap().get(&scope(), &Get::new("k")).await.unwrap().is_some());
    assert!(memquill_sqlite::driver().admin(&url(&file)).await.unwrap().migrate().await.is_ok());
}

#[tokio::test]
async fn a_store_that_must_exist_is_never_made_and_the_error_names_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.db");
    in_file(&file).await.close().await.unwrap();
    std::fs::write(folder.path().join("empty.db"), "").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no database").unwrap();
    let before = all_of(folder.path());
    let shown = folder.path().display();
    for (name, hint) in [
        ("agnet.db", format!("did you mean \"sqlite:{shown}/agent.db\"?")),
        ("memories.sqlite", format!("the databases there are sqlite:{shown}/agent.db")),
        ("empty.db", format!("sqlite:{shown}/agent.db")),
        ("none/agent.db", "there is no folder".to_owned()),
    ] {
        let url = parse(&format!("sqlite:{shown}/{name}"));
        let by_mode = ["rw", "ro"].map(|mode| parse(&format!("sqlite:{shown}/{name}?mode={mode}")));
        for url in [url.existing()].into_iter().chain(by_mode) {
            let error = memquill_sqlite::driver().connect(&url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(error.message().contains(name), "{error}");
            assert!(error.hint().unwrap().contains(&hint), "{error:?}");
            memquill_sqlite::driver().admin(&url).await.unwrap_err();
        }
    }
    assert!(all_of(folder.path()) == before);
    // One that was never migrated is not migrated by reading.
    let other = folder.path().join("never.db");
    run(&other, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); DROP TABLE t").await;
    let error = memquill_sqlite::driver().connect(&url(&other).existing()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().unwrap().contains("migrate"));
    memquill_sqlite::driver().connect(&url(&other)).await.unwrap();
}

#[tokio::test]
async fn e1_a_folder_and_a_place_below_a_file_are_config_errors_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    in_file(&file).await.close().await.unwrap();
    for path in [folder.path().to_owned(), file.join("below.db")] {
        let error = memquill_sqlite::driver().connect(&url(&path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn a_file_opened_for_reading_is_read_and_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    let backend = in_file(&file).await;
    backend.working().unwrap().put(&scope(), &Put::new("k", 1)).await.unwrap();
    backend.close().await.unwrap();
    let before = std::fs::read(&file).unwrap();
    for options in ["mode=ro", "immutable=1", "mode=ro&immutable=true"] {
        let url = parse(&format!("sqlite:{}?{options}", file.display()));
        let backend = memquill_sqlite::driver().connect(&url).await.unwrap();
        let working = backend.working().unwrap();
        assert!(working.get(&scope(), &Get::new("k")).await.unwrap().is_some());
        let error = working.put(&scope(), &Put::new("k", 2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        let error = backend.control().erase("alice").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        backend.close().await.unwrap();
        let admin = memquill_sqlite::driver().admin(&url).await.unwrap();
        assert_eq!(admin.users(&PageRequest::first(1)).await.unwrap().items, ["alice"]);
        admin.close().await.unwrap();
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn g15_the_file_alone_is_the_database_once_the_last_connection_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    let log = folder.path().join("x.db-wal");
    for round in 1..=5_u64 {
        let (first, second) = (in_file(&file).await, in_file(&file).await);
        for backend in [&first, &second] {
            let append = Append::new("c", vec![Message::user("word ".repeat(200)); 25]);
            backend.conversations().unwrap().append(&scope(), &append).await.unwrap();
        }
        first.close().await.unwrap();
        // What was folded in so far is whole, although the file is still open.
        let part = folder.path().join("part.db");
        std::fs::copy(&file, &part).unwrap();
        let copied = in_file(&part).await;
        let read = copied.conversations().unwrap().read(&scope(), &ReadMessages::all("c")).await;
        assert_eq!(read.unwrap().total, round * 50);
        copied.close().await.unwrap();
        second.close().await.unwrap();
        assert!(!log.exists());
    }
}

#[tokio::test]
async fn g15_a_dropped_connection_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    for n in 0..5 {
        let backend = in_file(&file).await;
        backend.working().unwrap().put(&scope(), &Put::new(format!("k{n}"), n)).await.unwrap();
        drop(backend);
    }
    let backend = in_file(&file).await;
    assert_eq!(backend.working().unwrap().statistics(&scope()).await.unwrap().entries, 5);
}
