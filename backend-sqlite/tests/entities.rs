//! The entities are the tables as they are, and read what the driver wrote.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fmt::Debug;

use memquill_core::{
    Append, Backend, EmbeddingSpace, Message, NewRecord, Put, Scope, StoreRecords,
};
use memquill_sqlite::entities::{
    conversation_buffers, conversations, embeddings, memory_data, namespaces,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ColumnType, SelectStatement};
use sea_orm::{Database, FromQueryResult};
use serde_json::json;

/// A column's name, its type, and whether it may be null.
type Described = (String, &'static str, bool);

/// Describes the columns of an entity.
fn declared<C: ColumnTrait>() -> Vec<Described> {
    let describe = |column: C| {
        let definition = column.def();
        let kind = match definition.get_column_type() {
            ColumnType::BigInteger => "INTEGER",
            ColumnType::Text => "TEXT",
            ColumnType::Blob => "BLOB",
            other => panic!("a column of the type {other:?}"),
        };
        (column.as_str().to_owned(), kind, definition.is_null())
    };
    C::iter().map(describe).collect()
}

/// Compares an entity with its table, and reads the rows of the table.
async fn rows<C, M>(database: &DatabaseConnection, select: SelectStatement) -> Vec<M>
where
    C: ColumnTrait,
    M: FromQueryResult + Debug,
{
    let table = C::EntityName::default().as_str();
    let columns = database
        .query_all_raw(sea_orm::Statement::from_string(
            sea_orm::DbBackend::Sqlite,
            format!("SELECT name, type, \"notnull\" OR pk > 0 AS required FROM pragma_table_info('{table}')"),
        ))
        .await
        .unwrap();
    let found: Vec<(String, String, bool)> = columns
        .iter()
        .map(|row| {
            let required: bool = row.try_get("", "required").unwrap();
            (row.try_get("", "name").unwrap(), row.try_get("", "type").unwrap(), !required)
        })
        .collect();
    let declared: Vec<(String, String, bool)> =
        declared::<C>().into_iter().map(|(name, kind, null)| (name, kind.into(), null)).collect();
    assert_eq!(found, declared, "{table}");
    let statement = database.get_database_backend().build(&select);
    M::find_by_statement(statement).all(database).await.unwrap()
}

/// Stores something in every table.
async fn fill(backend: &Backend) {
    let scope = Scope::new("alice", "bot").unwrap();
    let message = Message::user("hello").with_id("m1");
    let append = Append::new("talk", vec![message]);
    backend.conversations().unwrap().append(&scope, &append).await.unwrap();
    let request = StoreRecords {
        namespace: "notes".into(),
        space: EmbeddingSpace::new("m", 2),
        records: vec![NewRecord::new("hello world", vec![1.0, 0.5]).with_id("r1")],
    };
    backend.vectors().unwrap().store(&scope, &request).await.unwrap();
    let put = Put::new("key", json!({"a": [1]}));
    backend.working().unwrap().put(&scope, &put).await.unwrap();
}

#[tokio::test]
async fn entities_are_the_tables_and_read_what_the_driver_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("x.db").display());
    fill(&memquill_sqlite::driver().connect(&url.parse().unwrap()).await.unwrap()).await;
    let database = Database::connect(&url).await.unwrap();

    let select = conversations::Entity::select();
    let found: Vec<conversations::Model> =
        rows::<conversations::Column, _>(&database, select).await;
    assert_eq!((found[0].user.as_str(), found[0].name.as_str()), ("alice", "talk"));

    let select = conversation_buffers::Entity::select();
    let messages: Vec<conversation_buffers::Model> =
        rows::<conversation_buffers::Column, _>(&database, select).await;
    assert_eq!(messages[0].content.as_deref(), Some("hello"));
    assert_eq!((messages[0].conversation, messages[0].seq), (found[0].conversation, 1));

    let select = namespaces::Entity::select();
    let spaces: Vec<namespaces::Model> = rows::<namespaces::Column, _>(&database, select).await;
    assert_eq!((spaces[0].name.as_str(), spaces[0].records), ("notes", 1));

    let select = embeddings::Entity::select();
    let records: Vec<embeddings::Model> = rows::<embeddings::Column, _>(&database, select).await;
    let numbers: Vec<f32> =
        records[0].embedding.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!((records[0].content.as_str(), numbers), ("hello world", vec![1.0, 0.5]));

    let select = memory_data::Entity::select();
    let entries: Vec<memory_data::Model> = rows::<memory_data::Column, _>(&database, select).await;
    assert_eq!((entries[0].key.as_str(), &entries[0].value), ("key", &Some(json!({"a": [1]}))));
}
