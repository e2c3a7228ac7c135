//! The entities are the tables as they are, read what the driver wrote, and show a user's rows only.

use std::fmt::Debug;
use std::sync::Arc;

use memquill_core::Scope;
use memquill_postgres::entities::{
    conversation_buffers, conversations, embeddings, joined, memory_data, namespaces, set_user,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ColumnType, JoinType};
use sea_orm::{
    Database, DatabaseTransaction, FromQueryResult, QuerySelect as _, Statement,
    TransactionTrait as _,
};
use serde_json::json;

use crate::support::server::Server;
use crate::support::{connect, fill, fresh_name, run_sql};

/// An application's own table.
mod ticket {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tickets")]
    pub(super) struct Model {
        #[sea_orm(primary_key)]
        pub(super) id: i64,
        pub(super) conversation: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(super) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A database with the default schema, something of alice and of bob, and the application's table.
async fn application(server: &Server) -> DatabaseConnection {
    let name = fresh_name();
    run_sql(&server.url("postgres"), &format!("CREATE DATABASE {name}")).await.unwrap();
    let url = server.url(&name);
    let backend = connect(&format!("{url}?role=memquill_data")).await.unwrap();
    for user in ["alice", "bob"] {
        fill(&backend, &Scope::new(user, "bot").unwrap()).await.unwrap();
    }
    let tickets = "CREATE TABLE tickets (id bigint PRIMARY KEY, conversation text NOT NULL);
        GRANT SELECT ON tickets TO memquill_data;
        INSERT INTO tickets VALUES (7, 'talk'), (8, 'other')";
    run_sql(&url, tickets).await.unwrap();
    Database::connect(url).await.unwrap()
}

/// Begins a transaction of the data role.
async fn begin(application: &DatabaseConnection) -> DatabaseTransaction {
    let transaction = application.begin().await.unwrap();
    transaction.execute_unprepared("SET LOCAL ROLE memquill_data").await.unwrap();
    transaction
}

/// The columns of a table: name, type, and whether it may be null.
async fn columns(transaction: &DatabaseTransaction, table: &str) -> Vec<(String, String, bool)> {
    let sql = "SELECT column_name::text AS name, udt_name::text AS type,
            is_nullable = 'YES' AS nullable
        FROM information_schema.columns
        WHERE table_schema = 'memquill' AND table_name = $1 ORDER BY ordinal_position";
    let backend = transaction.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, sql, [table.into()]);
    let rows = transaction.query_all_raw(statement).await.unwrap();
    let column = |row: &QueryResult| {
        (
            row.try_get("", "name").unwrap(),
            row.try_get("", "type").unwrap(),
            row.try_get("", "nullable").unwrap(),
        )
    };
    rows.iter().map(column).collect()
}

/// The same as an entity declares it.
fn declared<C: ColumnTrait>() -> Vec<(String, String, bool)> {
    fn name(kind: &ColumnType) -> String {
        match kind {
            ColumnType::Text => "text".into(),
            ColumnType::BigInteger => "int8".into(),
            ColumnType::Integer => "int4".into(),
            ColumnType::Float => "float4".into(),
            ColumnType::Boolean => "bool".into(),
            ColumnType::Blob => "bytea".into(),
            ColumnType::Json => "json".into(),
            ColumnType::JsonBinary => "jsonb".into(),
            ColumnType::TimestampWithTimeZone => "timestamptz".into(),
            ColumnType::Vector(None) => "vector".into(),
            ColumnType::Array(element) => format!("_{}", name(element)),
            other => panic!("a column of the type {other:?}"),
        }
    }
    let describe = |column: C| {
        let definition = column.def();
        (column.as_str().to_owned(), name(definition.get_column_type()), definition.is_null())
    };
    C::iter().map(describe).collect()
}

/// The rows of an entity that is its table as it is.
macro_rules! rows {
    ($transaction:expr, $table:ident) => {{
        let name = $table::Entity.as_str();
        assert_eq!(declared::<$table::Column>(), columns($transaction, name).await, "{name}");
        let backend = $transaction.get_database_backend();
        let select = backend.build(&$table::Entity::select());
        $table::Model::find_by_statement(select).all($transaction).await.unwrap()
    }};
}

/// The one row.
fn only<T: Debug>(mut rows: Vec<T>) -> T {
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

pub(crate) async fn g1_entities_are_the_tables_and_show_the_rows_of_one_user(server: Arc<Server>) {
    let application = application(&server).await;
    let transaction = begin(&application).await;
    assert!(rows!(&transaction, memory_data).is_empty(), "no user was stated");
    set_user(&transaction, "alice").await.unwrap();

    let conversation = only(rows!(&transaction, conversations));
    assert_eq!((conversation.user_id.as_str(), conversation.user_count), ("alice", 1));
    let message = only(rows!(&transaction, conversation_buffers));
    assert_eq!((message.user_id.as_str(), message.content.as_deref()), ("alice", Some("hello")));
    assert!(message.created_at.timestamp() > 1_700_000_000);
    let namespace = only(rows!(&transaction, namespaces));
    assert_eq!((namespace.namespace.as_str(), namespace.dimensions), ("notes", 2));
    let record = only(rows!(&transaction, embeddings));
    assert_eq!(
        (record.content.as_str(), record.embedding.as_slice()),
        ("hello world", &[1.0, 0.0][..])
    );
    assert_eq!((record.attributes, record.words.len()), (json!({}), 2));
    let entry = only(rows!(&transaction, memory_data));
    assert_eq!((entry.user_id.as_str(), entry.value), ("alice", Some(json!(1))));
}

pub(crate) async fn g1_an_application_joins_messages_under_its_own_tenancy(server: Arc<Server>) {
    #[derive(Debug, FromQueryResult, PartialEq)]
    struct Line {
        id: i64,
        user_id: String,
        content: Option<String>,
    }

    let application = application(&server).await;
    let transaction = begin(&application).await;
    let own = "SET LOCAL request.jwt.claims = '{\"sub\": \"x\", \"org\": \"acme\"}'";
    transaction.execute_unprepared(own).await.unwrap();
    for user in ["alice", "bob"] {
        set_user(&transaction, user).await.unwrap();
        let talk = [(ticket::Column::Conversation, conversation_buffers::Column::ConversationId)];
        let select = ticket::Entity::find()
            .join(JoinType::InnerJoin, joined(talk))
            .columns([conversation_buffers::Column::UserId, conversation_buffers::Column::Content]);
        let lines = select.into_model::<Line>().all(&transaction).await.unwrap();
        let content = Some("hello".to_owned());
        assert_eq!(lines, [Line { id: 7, user_id: user.into(), content }]);
    }
    let claims = "SELECT current_setting('request.jwt.claims')::json ->> 'org' AS org";
    let statement = Statement::from_string(transaction.get_database_backend(), claims);
    let row = transaction.query_one_raw(statement).await.unwrap().unwrap();
    assert_eq!(row.try_get::<String>("", "org").unwrap(), "acme", "its own claims stay");
    transaction.commit().await.unwrap();

    let transaction = begin(&application).await;
    assert!(rows!(&transaction, memory_data).is_empty(), "the user ended with its transaction");
}

pub(crate) async fn g1_a_role_that_sees_all_rows_is_refused(server: Arc<Server>) {
    let application = application(&server).await;
    let transaction = application.begin().await.unwrap();
    let error = set_user(&transaction, "alice").await.unwrap_err();
    assert!(error.to_string().contains("row level security"), "{error}");
}
