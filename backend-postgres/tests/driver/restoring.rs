//! What the server itself decides when something is put back or rebound: whether JSON is the same,
//! and how far versions are raised.

use std::sync::Arc;

use memquill_core::json::{Object, parse};
use memquill_core::{
    Entry, ErrorKind, Message, Put, Rebind, Record, RestoreEntries, RestoreMessages,
    RestoreRecords, Restored, Result, Scope, StoredMessage, Timestamp, content_hash,
};
use memquill_postgres::driver;

use crate::support::server::Server;
use crate::support::{fixture, run_sql};

/// The same, with keys in different orders at each depth.
const SAME: [&str; 2] = [
    r#"{"a": 1, "b": [{"c": "é\n", "d": null}, -0.0]}"#,
    r#"{"b": [{"d": null, "c": "é\n"}, -0.0], "a": 1}"#,
];
/// Another: numbers that are equal and not identical.
const OTHER: &str = r#"{"a": 1.0, "b": [{"c": "é\n", "d": null}, -0.0]}"#;

fn object(text: &str) -> Object {
    parse(text).unwrap()
}

fn messages(metadata: &str) -> RestoreMessages {
    let call = serde_json::Value::Object(object(metadata));
    let message =
        Message { tool_calls: vec![call], metadata: object(metadata), ..Message::assistant("x") };
    let stored = StoredMessage { seq: 1, created_at: Timestamp::default(), message };
    RestoreMessages {
        conversation: "c".into(),
        messages: vec![stored],
        last_seq: 1,
        lineage: memquill_core::Lineage::default(),
    }
}

fn records(metadata: &str) -> RestoreRecords {
    let record = Record {
        id: "r".into(),
        content: "x".into(),
        content_hash: content_hash("x"),
        document_type: "text".into(),
        metadata: object(metadata),
        language: None,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        expires_at: None,
        embedding: Some(vec![1.0, 0.0]),
    };
    RestoreRecords {
        namespace: "n".into(),
        space: memquill_core::EmbeddingSpace::new("m", 2),
        records: vec![record],
        overwrite: false,
    }
}

fn entries(metadata: &str, version: u64) -> RestoreEntries {
    let entry = Entry {
        key: "k".into(),
        value: serde_json::Value::Object(object(metadata)).into(),
        metadata: object(metadata),
        version,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        expires_at: None,
    };
    RestoreEntries { entries: vec![entry], overwrite: false }
}

pub(crate) async fn json_is_identical_in_any_order_of_its_keys(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    let scope = Scope::new("carol", "bot").unwrap();
    let restore = async |metadata: &str| -> [Result<Restored>; 3] {
        [
            backend.conversations().unwrap().restore(&scope, &messages(metadata)).await,
            backend.vectors().unwrap().restore(&scope, &records(metadata)).await,
            backend.working().unwrap().restore(&scope, &entries(metadata, 7)).await,
        ]
    };
    for (metadata, written) in SAME.into_iter().zip([1, 0]) {
        for restored in restore(metadata).await {
            assert_eq!(restored.unwrap(), Restored { written, unchanged: 1 - written });
        }
    }
    for restored in restore(OTHER).await {
        assert_eq!(restored.unwrap_err().kind(), ErrorKind::Conflict);
    }
}

pub(crate) async fn v13_a_counterpart_may_have_its_keys_in_another_order(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    let scope = Scope::new("carol", "bot").unwrap();
    let vectors = backend.vectors().unwrap();
    let restore = async |namespace: &str, metadata: &str| {
        let request = RestoreRecords { namespace: namespace.into(), ..records(metadata) };
        vectors.restore(&scope, &request).await.unwrap();
    };
    restore("home", SAME[0]).await;
    restore("other", OTHER).await;
    let rebind = |from: &str| Rebind { namespace: "home".into(), from: from.into() };
    let error = vectors.rebind(&scope, &rebind("other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    restore("same", SAME[1]).await;
    assert_eq!(vectors.rebind(&scope, &rebind("same")).await.unwrap(), 1);
}

pub(crate) async fn w9_versions_are_raised_to_an_end_and_never_lowered(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    let scope = Scope::new("carol", "bot").unwrap();
    let working = backend.working().unwrap();
    working.restore(&scope, &entries("{}", 5_000_000)).await.unwrap();
    let raise = |version: u64| format!("SELECT {}.raise_versions({version})", fixture.schema);
    run_sql(&fixture.data, &raise(3)).await.unwrap();
    let put = working.put(&scope, &Put::new("other", 1)).await.unwrap();
    assert!(put.version > 5_000_000, "{}", put.version);
    assert!(run_sql(&fixture.data, &raise((1 << 52) + 1)).await.is_err());
    let set = format!("SELECT setval('{}.entry_versions', 1)", fixture.schema);
    assert!(run_sql(&fixture.data, &set).await.is_err(), "a data role sets no version");
    let next = working.put(&scope, &Put::new("other", 2)).await.unwrap();
    // A put takes a number or two.
    assert!((1..=2).contains(&(next.version - put.version)), "{next:?} behind {put:?}");
}
