//! What an earlier schema wrote is read, changed and kept (G13). The scripts that write it here are
//! those of its time.

use memquill_core::{
    Append, Backend, Delete, Driver as _, ErrorKind, Get, ListEntries, Message, PageRequest, Put,
    PutCondition, ReadMessages, Retention, Role, StoreUrl, Trim,
};
use memquill_redis::driver;
use redis::Value;

use crate::support::server::Server;
use crate::{get, put, scope};

crate::cases! {
    g13_a_store_of_schema_1_is_refused_until_it_is_migrated,
    g13_migration_keeps_the_entries_of_schema_1,
    g13_migration_keeps_the_conversations_of_schema_1,
    g13_retention_counts_what_schema_1_stored,
}

const PUT: &str = include_str!("schema_1/put.lua");
const APPEND: &str = include_str!("schema_1/append.lua");

/// A store of schema 1, with a registered scope.
struct Old(Server);

impl Old {
    fn new() -> Self {
        let server = Server::start("redis-server", &[]);
        server.command(&["SET", "memory:schema", "1"]);
        server.command(&["ZADD", "memory:{/}:users", "0", "alice"]);
        server.command(&["ZADD", "memory:{alice}:nodes", "0", "bot"]);
        server.command(&["SET", "memory:{alice/bot}:versions", "1795380660000000"]);
        Self(server)
    }

    fn url(&self) -> StoreUrl {
        self.0.url().parse().unwrap()
    }

    fn run(&self, script: &str, keys: &[&str], arguments: &[&str]) -> String {
        let keys: Vec<String> =
            keys.iter().map(|key| format!("memory:{{alice/bot}}:{key}")).collect();
        let count = keys.len().to_string();
        let mut words = vec!["EVAL", script, &count];
        words.extend(keys.iter().map(String::as_str));
        words.extend(arguments);
        match self.0.command(&words) {
            Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn put(&self, key: &str, ttl: &str, body: &str) {
        let entry = format!("entry:{key}");
        let answer =
            self.run(PUT, &["versions", "working", "expiries", &entry], &[key, "", ttl, body]);
        assert!(answer.starts_with("ok "), "{answer}");
    }

    fn append(&self, conversation: &str, role: &str, tokens: u32, id: &str, text: &str) {
        let names = ["figures", "messages", "ids", "gone"].map(|n| format!("{n}:{conversation}"));
        let mut keys = vec!["versions", "conversations"];
        keys.extend(names.iter().map(String::as_str));
        let message = Message { id: (!id.is_empty()).then(|| id.into()), ..message(role, text) };
        let digest = if id.is_empty() { String::new() } else { message.body_digest() };
        let with_ids = if id.is_empty() { "0" } else { "1" };
        let body = format!(r#"{{"content":"{text}"}}"#);
        let tokens = tokens.to_string();
        let letter = &role[..1];
        let arguments = [conversation, "", "", "0", with_ids, letter, &tokens, id, &digest, &body];
        let answer = self.run(APPEND, &keys, &arguments);
        assert!(answer.starts_with("ok "), "{answer}");
    }

    async fn migrated(&self) -> Backend {
        let migration = driver().admin(&self.url()).await.unwrap().migrate().await.unwrap();
        assert_eq!(migration.applied, ["schema 2"]);
        driver().connect(&self.url()).await.unwrap()
    }
}

fn message(role: &str, text: &str) -> Message {
    Message { role: role.parse::<Role>().unwrap(), ..Message::user(text) }
}

async fn texts(backend: &Backend, conversation: &str) -> Vec<(u64, String, String)> {
    let read = ReadMessages::newest(conversation, 100);
    let read = backend.conversations().unwrap().read(&scope(), &read).await.unwrap();
    let text = |message: memquill_core::StoredMessage| {
        let Message { role, content, .. } = message.message;
        (message.seq, role.as_str().to_owned(), content.unwrap())
    };
    read.messages.into_iter().map(text).collect()
}

async fn g13_a_store_of_schema_1_is_refused_until_it_is_migrated() {
    let old = Old::new();
    let error = driver().connect(&old.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().unwrap().contains("migrate"), "{error:?}");
    let admin = driver().admin(&old.url()).await.unwrap();
    assert_eq!(admin.users(&PageRequest::default()).await.unwrap_err().kind(), ErrorKind::Config);
    old.migrated().await;
    let again = admin.migrate().await.unwrap();
    assert_eq!(again.applied, [""; 0]);
}

async fn g13_migration_keeps_the_entries_of_schema_1() {
    let old = Old::new();
    old.put("lasting", "", "{\"a\":1}\n\"one\"");
    old.put("expiring", "3600000", "\n\"two\"");
    old.put("gone", "1", "\n\"three\"");
    let backend = old.migrated().await;
    let working = backend.working().unwrap();
    let all = working.list(&scope(), &ListEntries::default()).await.unwrap().items;
    let keys: Vec<&str> = all.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["expiring", "lasting"]);
    let before = working.get(&scope(), &Get::new("lasting")).await.unwrap().unwrap();
    assert_eq!((&before.value, &before.metadata["a"]), (&"one".into(), &1.into()));
    assert_eq!((all[0].expires_at.is_some(), before.expires_at), (true, None));
    // Versions go on, and what was first put stays so.
    let at = Put::new("lasting", "new").with_condition(PutCondition::IfVersion(before.version));
    let written = working.put(&scope(), &at).await.unwrap();
    assert!(written.version > before.version);
    assert_eq!(written.created_at, before.created_at);
    let error = working.put(&scope(), &at).await.unwrap_err();
    assert_eq!(error.current_version(), Some(written.version));
    let delete = Delete { if_version: Some(all[0].version), ..Delete::new("expiring") };
    assert!(working.delete(&scope(), &delete).await.unwrap());
    put(&backend, "gone", "again").await.unwrap();
    assert_eq!(get(&backend, "gone").await.unwrap().as_deref(), Some("again"));
}

async fn g13_migration_keeps_the_conversations_of_schema_1() {
    let old = Old::new();
    old.append("c", "system", 3, "", "be kind");
    old.append("c", "user", 5, "first", "hello");
    old.append("c", "assistant", 7, "", "hi");
    let backend = old.migrated().await;
    let conversations = backend.conversations().unwrap();
    let expected = [(1, "system", "be kind"), (2, "user", "hello"), (3, "assistant", "hi")]
        .map(|(seq, role, text)| (seq, role.to_owned(), text.to_owned()));
    assert_eq!(texts(&backend, "c").await, expected);
    let before = conversations.statistics(&scope(), "c").await.unwrap();
    assert_eq!((before.last_seq, before.message_count, before.token_count), (3, 3, 15));
    let listed = conversations.list(&scope(), &PageRequest::default()).await.unwrap();
    assert_eq!(listed.items[0].statistics, before);
    // A retry of what was appended before is known, and another body under its id a conflict.
    let retry = Append::new("c", vec![message("user", "hello").with_id("first")]);
    let again = conversations.append(&scope(), &retry).await.unwrap();
    assert_eq!((again.replayed, again.messages[0].seq), (true, 2));
    let other = Append::new("c", vec![message("user", "other").with_id("first")]);
    let error = conversations.append(&scope(), &other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    // Old and new stand side by side.
    let more = Append::new("c", vec![message("user", "more").with_id("second")]);
    conversations.append(&scope(), &more).await.unwrap();
    let by_user = ReadMessages { roles: vec![Role::User], ..ReadMessages::newest("c", 10) };
    let read = conversations.read(&scope(), &by_user).await.unwrap();
    let seqs: Vec<u64> = read.messages.iter().map(|message| message.seq).collect();
    assert_eq!((seqs, read.total), (vec![2, 4], 4));
    let ids: Vec<Option<&str>> = read.messages.iter().map(|m| m.message.id.as_deref()).collect();
    assert_eq!(ids, [Some("first"), Some("second")]);
}

async fn g13_retention_counts_what_schema_1_stored() {
    let old = Old::new();
    for (role, tokens) in [("system", 10), ("user", 20), ("assistant", 30), ("user", 40)] {
        old.append("c", role, tokens, "", role);
    }
    let backend = old.migrated().await;
    let conversations = backend.conversations().unwrap();
    let kept = Retention { keep_system: true, ..Retention::messages(3) };
    let new = Message { token_count: Some(50), ..message("tool", "tool") };
    let append = Append::new("c", vec![new]).with_retention(kept);
    let appended = conversations.append(&scope(), &append).await.unwrap();
    assert_eq!((appended.evicted, appended.message_count, appended.token_count), (2, 3, 100));
    let left: Vec<u64> = texts(&backend, "c").await.into_iter().map(|(seq, ..)| seq).collect();
    assert_eq!(left, [1, 4, 5]);
    let trim = Trim {
        conversation: "c".into(),
        retention: Retention { max_tokens: Some(60), ..Retention::default() },
    };
    assert_eq!(conversations.trim(&scope(), &trim).await.unwrap(), 2);
    let figures = conversations.statistics(&scope(), "c").await.unwrap();
    assert_eq!((figures.message_count, figures.token_count, figures.system_count), (1, 50, 0));
    assert_eq!((figures.tool_count, figures.last_seq), (1, 5));
}
