//! Tables partitioned by user, as docs/operations.md says it.

use std::sync::Arc;
use std::time::Duration;

use memquill_core::{
    Append, Backend, DeleteRecords, EmbeddingSpace, Get, GetRecords, Message, NewRecord, Put,
    ReadMessages, Result, Scope, Selection, StoreRecords, TextSearch, VectorSearch,
};
use memquill_postgres::driver;

use crate::support::server::Server;
use crate::support::{fixture, run_sql};

/// What makes a table a partitioned one, with what `LIKE` does not copy.
const PARTITION: &str = "
ALTER TABLE SCHEMA.TABLE_NAME RENAME TO TABLE_NAME_before;
CREATE TABLE SCHEMA.TABLE_NAME (LIKE SCHEMA.TABLE_NAME_before INCLUDING ALL) PARTITION BY HASH (user_id);
CREATE TABLE SCHEMA.TABLE_NAME_0 PARTITION OF SCHEMA.TABLE_NAME FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE SCHEMA.TABLE_NAME_1 PARTITION OF SCHEMA.TABLE_NAME FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE SCHEMA.TABLE_NAME ENABLE ROW LEVEL SECURITY;
ALTER TABLE SCHEMA.TABLE_NAME FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON SCHEMA.TABLE_NAME
    USING (user_id = (SELECT SCHEMA.current_user_id()))
    WITH CHECK (user_id = (SELECT SCHEMA.current_user_id()));
CREATE POLICY administration ON SCHEMA.TABLE_NAME TO SCHEMA_owner
    USING ((SELECT current_setting('memquill.administration', true)) = 'on');
INSERT INTO SCHEMA.TABLE_NAME SELECT * FROM SCHEMA.TABLE_NAME_before;
DROP TABLE SCHEMA.TABLE_NAME_before;
ALTER TABLE SCHEMA.TABLE_NAME OWNER TO SCHEMA_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON SCHEMA.TABLE_NAME TO SCHEMA_data;
";
/// All but the heads, whose rows functions take as arguments.
const TABLES: [&str; 5] =
    ["conversation_buffers", "message_ids", "embeddings", "embedding_words", "memory_data"];

fn space() -> EmbeddingSpace {
    EmbeddingSpace::new("m", 2)
}

/// Writes in every table, twice over what is there.
async fn work(backend: &Backend, scope: &Scope) -> Result<()> {
    let append = Append::new("c", vec![Message::user("hello").with_id("m")]);
    backend.conversations()?.append(scope, &append).await?;
    for text in ["first words", "other words"] {
        let record = |id: &str| NewRecord::new(text, vec![1.0, 0.0]).with_id(id);
        let mut due = record("due");
        due.ttl = Some(Duration::from_millis(1));
        let records = vec![record("kept"), record("gone"), due];
        let request = StoreRecords { namespace: "n".into(), space: space(), records };
        backend.vectors()?.store(scope, &request).await?;
    }
    let which = Selection::Ids(vec!["gone".into()]);
    let delete = DeleteRecords { namespace: "n".into(), which };
    assert_eq!(backend.vectors()?.delete(scope, &delete).await?, 1);
    backend.working()?.put(scope, &Put::new("kept", 1)).await?;
    let mut due = Put::new("due", 1);
    due.ttl = Some(Duration::from_millis(1));
    backend.working()?.put(scope, &due).await?;
    Ok(())
}

/// Asserts that all is there that was not to go.
async fn check(backend: &Backend, scope: &Scope) -> Result<()> {
    let read = ReadMessages::newest("c", 10);
    assert_eq!(backend.conversations()?.read(scope, &read).await?.messages.len(), 1);
    let vectors = backend.vectors()?;
    let get = GetRecords {
        namespace: "n".into(),
        ids: vec!["kept".into(), "gone".into(), "due".into()],
        with_embeddings: false,
    };
    assert_eq!(vectors.get(scope, &get).await?.len(), 1);
    let found = vectors.search_text(scope, &TextSearch::new("n", "other words", 10)).await?;
    assert_eq!(found.hits.len(), 1);
    assert!(found.hits[0].score > 0.2, "both words are found: {}", found.hits[0].score);
    assert!(vectors.search_text(scope, &TextSearch::new("n", "first", 10)).await?.hits.is_empty());
    let near = VectorSearch::new("n", space(), vec![1.0, 0.1], 10);
    assert_eq!(vectors.search(scope, &near).await?.hits.len(), 1);
    assert!(backend.working()?.get(scope, &Get::new("kept")).await?.is_some());
    Ok(())
}

pub(crate) async fn tables_may_be_partitioned_by_user(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    for table in TABLES {
        let sql = PARTITION.replace("SCHEMA", &fixture.schema).replace("TABLE_NAME", table);
        run_sql(&fixture.superuser, &sql).await.unwrap();
    }
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    // Enough users that rows of several partitions stand in equal places.
    let scopes: Vec<Scope> =
        (0..12).map(|n| Scope::new(format!("user {n}"), "bot").unwrap()).collect();
    for scope in &scopes {
        work(&backend, scope).await.unwrap();
    }
    for scope in &scopes {
        check(&backend, scope).await.unwrap();
    }
    let admin = driver().admin(&fixture.owner.parse().unwrap()).await.unwrap();
    let purged = admin.purge_expired().await.unwrap();
    assert_eq!((purged.records, purged.entries), (12, 12));
    for scope in &scopes {
        check(&backend, scope).await.unwrap();
    }
    let erased = backend.control().erase("user 1").await.unwrap();
    assert_eq!((erased.messages, erased.records, erased.entries), (1, 1, 1));
    check(&backend, &scopes[2]).await.unwrap();
    let get =
        GetRecords { namespace: "notes".into(), ids: vec!["r1".into()], with_embeddings: false };
    let alice = Scope::new("alice", "bot").unwrap();
    let before = backend.vectors().unwrap().get(&alice, &get).await.unwrap();
    assert_eq!(before.len(), 1, "what was there is there");
    assert!(admin.build_indexes().await.unwrap().built.is_empty());
}
