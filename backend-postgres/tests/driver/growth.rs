//! That no write reads more the more is stored.

use std::sync::Arc;
use std::time::Duration;

use memquill_core::{
    Append, Backend, Delete, DeleteRecords, EmbeddingSpace, Get, GetMany, GetRecords, Increment,
    Message, NewRecord, Put, PutMany, ReadMessages, Result, Retention, Scope, Selection,
    StoreRecords,
};
use memquill_postgres::driver;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, Row as _};

use crate::support::server::Server;
use crate::support::{fixture, run_sql};

const ROUNDS: usize = 100;
/// Items that a round writes, of each kind.
const ITEMS: usize = 10;
/// Words of a record, all of which every record has.
const TEXT: &str = "these six words are in all";

/// What a round does, on names of its own.
async fn round(backend: &Backend, scope: &Scope, round: usize) -> Result<()> {
    let names: Vec<String> = (0..ITEMS).map(|item| format!("{round}.{item}")).collect();
    let conversations = backend.conversations()?;
    let messages = names.iter().map(|name| Message::user(TEXT).with_id(name));
    let append = Append::new("c", messages.collect());
    conversations.append(scope, &append).await?;
    conversations.append(scope, &append).await?;
    let short = Append::new("short", vec![Message::user(TEXT).with_id(&names[0])]);
    conversations.append(scope, &short.with_retention(Retention::messages(5))).await?;
    conversations.read(scope, &ReadMessages::newest("c", ITEMS)).await?;

    let vectors = backend.vectors()?;
    for version in ["first", "second"] {
        let records = names
            .iter()
            .map(|name| NewRecord::new(format!("{TEXT} {version}"), vec![1.0, 0.5]).with_id(name));
        let store = StoreRecords {
            namespace: "n".into(),
            space: EmbeddingSpace::new("m", 2),
            records: records.collect(),
        };
        vectors.store(scope, &store).await?;
        vectors.store(scope, &store).await?;
    }
    let get = GetRecords { namespace: "n".into(), ids: names.clone(), with_embeddings: true };
    vectors.get(scope, &get).await?;
    let which = Selection::Ids(names[..ITEMS / 2].to_vec());
    vectors.delete(scope, &DeleteRecords { namespace: "n".into(), which }).await?;

    let working = backend.working()?;
    let entries: Vec<Put> = names.iter().map(|name| Put::new(name, TEXT)).collect();
    working.put_many(scope, &PutMany { entries }).await?;
    working.put(scope, &Put::new(&names[0], TEXT)).await?;
    let increment = Increment { key: "counter".into(), by: 1, initial_ttl: None };
    working.increment(scope, &increment).await?;
    working.get(scope, &Get::new(&names[0])).await?;
    working.get_many(scope, &GetMany { keys: names.clone(), extend: None }).await?;
    working.delete(scope, &Delete { key: names[0].clone(), if_version: None }).await?;
    Ok(())
}

/// A session that was there when the tables were empty keeps the plans that it made then. What it
/// reads of each table, by the server's own count, stays in proportion to what it writes.
pub(crate) async fn no_write_reads_more_the_more_is_stored(_shared: Arc<Server>) {
    let settings = ["-c", "autovacuum=off"];
    let Some(server) = Server::for_one(move || Server::own(&settings)).await else { return };
    let fixture = fixture(&server).await;
    let url = format!("{}&max_connections=1", fixture.data).parse().unwrap();
    for statistics in ["", "VACUUM ANALYZE"] {
        let backend = driver().connect(&url).await.unwrap();
        for user in ["alice", "bob", "carol"] {
            backend.control().erase(user).await.unwrap();
        }
        drop(backend);
        run_sql(&fixture.superuser, statistics).await.unwrap();
        run_sql(&fixture.superuser, "SELECT pg_stat_reset()").await.unwrap();
        let scope = Scope::new("carol", "bot").unwrap();
        let backend = driver().connect(&url).await.unwrap();
        for at in 0..ROUNDS {
            round(&backend, &scope, at).await.unwrap();
        }
        drop(backend);
        for (index, read) in read(&fixture.superuser).await {
            // A write of an item looks up a few rows, or, of a record, a few for each of its words.
            let most = ROUNDS * ITEMS * 8 * 6;
            assert!(read < most, "{index} gave {read} rows after {statistics:?}");
        }
    }
}

/// How many rows each index gave, once the other sessions ended, as they tell it then.
async fn read(superuser: &str) -> Vec<(String, usize)> {
    let mut connection = PgConnection::connect(superuser).await.unwrap();
    let others = "SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while connection.fetch_optional(others).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sql = "SELECT indexrelname::text, idx_tup_read FROM pg_stat_user_indexes";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    let count = |row: &sqlx::postgres::PgRow| usize::try_from(row.get::<i64, _>(1)).unwrap();
    rows.iter().map(|row| (row.get(0), count(row))).collect()
}
