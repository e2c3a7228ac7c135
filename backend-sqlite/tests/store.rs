//! The file itself: schema, other programs' files, erasure, purging, health.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::Path;
use std::time::Duration;

use memquill_core::{
    Append, EmbeddingSpace, ErasureReceipt, ErrorKind, Get, HealthStatus, ListEntries, Message,
    NewRecord, PageRequest, Put, PutMany, ReadMessages, Scope, StoreRecords, TextSearch,
};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use support::{in_file, in_memory, scope, url};

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

fn record(content: &str, ttl: Option<Duration>) -> StoreRecords {
    StoreRecords {
        namespace: "n".into(),
        space: EmbeddingSpace::new("model", 1),
        records: vec![NewRecord { ttl, ..NewRecord::new(content, vec![1.0]) }],
    }
}

#[tokio::test]
async fn g13_connecting_makes_folder_file_and_schema_and_migrating_again_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a/b/x.db");
    let driver = memquill_sqlite::driver();
    let admin = driver.admin(&url(&file)).await.unwrap();
    let error = admin.purge_expired().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().unwrap().contains("migrate"));
    assert_eq!(admin.migrate().await.unwrap().applied, ["schema 1"]);
    assert!(admin.migrate().await.unwrap().applied.is_empty());
    let backend = driver.connect(&url(&file)).await.unwrap();
    let health = backend.control().health(Duration::from_secs(5)).await;
    assert_eq!(health.status, HealthStatus::Healthy);
    assert!(health.server_version.starts_with("SQLite 3."));
}

#[tokio::test(flavor = "multi_thread")]
async fn g13_many_may_migrate_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let url = url(&file);
            tokio::spawn(async move { memquill_sqlite::driver().connect(&url).await.map(drop) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn g13_a_newer_schema_is_refused_and_says_to_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    let backend = in_file(&file).await;
    run(&file, "UPDATE memquill_schema SET version = 1000").await;
    let error = memquill_sqlite::driver().connect(&url(&file)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().unwrap().contains("upgrade"));
    let health = backend.control().health(Duration::from_secs(5)).await;
    assert_eq!(health.status, HealthStatus::Degraded);
}

#[tokio::test]
async fn e1_a_locked_database_is_unavailable_and_worth_a_retry() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    let url = format!("sqlite:{}?busy_timeout=20ms", file.display()).parse().unwrap();
    let backend = memquill_sqlite::driver().connect(&url).await.unwrap();
    let working = backend.working().unwrap();
    let mut other = plain(&file).await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = working.put(&scope(), &Put::new("k", 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_transient() && !error.maybe_applied());
    assert!(working.get(&scope(), &Get::new("k")).await.unwrap().is_none(), "readers do not wait");
    drop(lock);
    other.close().await.unwrap();
    working.put(&scope(), &Put::new("k", 1)).await.unwrap();
}

#[tokio::test]
async fn g7_a_transaction_that_sqlite_itself_rolls_back_leaves_the_handle_usable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    let backend = in_file(&file).await;
    let working = backend.working().unwrap();
    // As it does when the disk is full.
    run(
        &file,
        "CREATE TRIGGER full BEFORE INSERT ON memory_data WHEN NEW.key = 'big'
         BEGIN SELECT RAISE(ROLLBACK, 'rolled back by SQLite itself'); END",
    )
    .await;
    for _ in 0..3 {
        let batch = PutMany { entries: vec![Put::new("small", 1), Put::new("big", 1)] };
        working.put_many(&scope(), &batch).await.unwrap_err();
    }
    assert!(working.get(&scope(), &Get::new("small")).await.unwrap().is_none());
    working.put_many(&scope(), &PutMany { entries: vec![Put::new("small", 1)] }).await.unwrap();
}

#[tokio::test]
async fn g12_erasing_a_user_leaves_nothing_of_theirs_and_everything_of_others() {
    let (backend, clock) = in_memory().await;
    let scopes = [scope(), Scope::new("alice", "other").unwrap(), Scope::new("alic", "e").unwrap()];
    for scope in &scopes {
        let append = Append::new("c", vec![Message::user("x").with_id("1"); 1]);
        backend.conversations().unwrap().append(scope, &append).await.unwrap();
        let vectors = backend.vectors().unwrap();
        vectors.store(scope, &record("fox", None)).await.unwrap();
        vectors.store(scope, &record("old", Some(Duration::from_millis(1)))).await.unwrap();
        let working = backend.working().unwrap();
        working.put(scope, &Put::new("k", 1)).await.unwrap();
        let expiring = Put::new("old", 1).with_ttl(Duration::from_millis(1));
        working.put(scope, &expiring).await.unwrap();
    }
    clock.advance(Duration::from_millis(1));
    let control = backend.control();
    let listed = control.scopes("alice", &PageRequest::first(1)).await.unwrap();
    assert_eq!(listed.items, [scopes[0].clone()]);
    let listed =
        control.scopes("alice", &PageRequest::first(1).after(listed.next.unwrap())).await.unwrap();
    assert_eq!((listed.items, listed.next), (vec![scopes[1].clone()], None));

    let receipt = control.erase("alice").await.unwrap();
    assert_eq!(receipt, ErasureReceipt { messages: 2, records: 2, entries: 2 });
    assert_eq!(control.erase("alice").await.unwrap(), ErasureReceipt::default());
    assert!(control.scopes("alice", &PageRequest::first(9)).await.unwrap().items.is_empty());
    let find = TextSearch::new("n", "fox", 5);
    let vectors = backend.vectors().unwrap();
    assert!(vectors.search_text(&scopes[0], &find).await.unwrap().hits.is_empty());
    assert_eq!(vectors.search_text(&scopes[2], &find).await.unwrap().hits.len(), 1);
    let read = ReadMessages::all("c");
    let conversations = backend.conversations().unwrap();
    assert_eq!(conversations.read(&scopes[0], &read).await.unwrap().total, 0);
    assert_eq!(conversations.read(&scopes[2], &read).await.unwrap().total, 1);
}

#[tokio::test]
async fn g12_what_is_erased_is_overwritten_in_the_file_and_its_log() {
    const SECRET: &[u8] = b"they call me Ishmael";
    let folder = tempfile::tempdir().unwrap();
    let backend = in_file(&folder.path().join("x.db")).await;
    let text = String::from_utf8(SECRET.to_vec()).unwrap();
    let append = Append::new("c", vec![Message::user(&text); 50]);
    backend.conversations().unwrap().append(&scope(), &append).await.unwrap();
    backend.vectors().unwrap().store(&scope(), &record(&text, None)).await.unwrap();
    backend.working().unwrap().put(&scope(), &Put::new("k", text.repeat(500))).await.unwrap();
    let on_disk = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect::<Vec<u8>>()
    };
    let holds = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|part| part == SECRET);
    assert!(holds(&on_disk()));
    backend.control().erase("alice").await.unwrap();
    assert!(!holds(&on_disk()));
}

#[tokio::test]
async fn w8_purging_removes_what_has_expired_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock = std::sync::Arc::new(memquill_core::ManualClock::new(start));
    let driver = memquill_sqlite::driver_with_clock(clock.clone());
    let backend = driver.connect(&url(&file)).await.unwrap();
    let working = backend.working().unwrap();
    let second = Duration::from_secs(1);
    for batch in 0..3 {
        let entries =
            (0..1000).map(|i| Put::new(format!("{batch}-{i}"), i).with_ttl(second)).collect();
        working.put_many(&scope(), &PutMany { entries }).await.unwrap();
    }
    working.put(&scope(), &Put::new("stays", 1).with_ttl(2 * second)).await.unwrap();
    let vectors = backend.vectors().unwrap();
    vectors.store(&scope(), &record("goes", Some(second))).await.unwrap();
    vectors.store(&scope(), &record("stays", None)).await.unwrap();
    clock.advance(second);
    let admin = driver.admin(&url(&file)).await.unwrap();
    assert_eq!(admin.users(&PageRequest::first(5)).await.unwrap().items, ["alice"]);
    let receipt = admin.purge_expired().await.unwrap();
    assert_eq!((receipt.entries, receipt.records), (3000, 1));
    let receipt = admin.purge_expired().await.unwrap();
    assert_eq!((receipt.entries, receipt.records), (0, 0));
    let listed = working.list(&scope(), &ListEntries::default()).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    let listed = vectors.namespaces(&scope(), &PageRequest::first(5)).await.unwrap();
    assert_eq!(listed.items[0].records, 1);
}

#[tokio::test]
async fn g7_a_dropped_call_leaves_nothing_half_done_and_the_handle_usable() {
    let folder = tempfile::tempdir().unwrap();
    let backend = in_file(&folder.path().join("x.db")).await;
    let conversations = backend.conversations().unwrap();
    for micros in 0..300_u64 {
        let batch = (0..3).map(|i| Message::user("x").with_id(format!("{micros}-{i}"))).collect();
        let append = Append::new("c", batch);
        let patience = Duration::from_micros(micros * 5);
        let _ = tokio::time::timeout(patience, conversations.append(&scope(), &append)).await;
    }
    let last = Append::new("c", vec![Message::user("x")]);
    let appended = conversations.append(&scope(), &last).await.unwrap();
    let read = conversations.read(&scope(), &ReadMessages::all("c")).await.unwrap();
    assert_eq!(read.messages.len() as u64, appended.messages[0].seq);
    assert_eq!(read.messages.len() % 3, 1);
}
