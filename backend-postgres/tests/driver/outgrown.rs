//! Namespaces beyond exact search: what is indexed, when the index serves, and what it must not do.
#![allow(clippy::cast_precision_loss, reason = "the numbers are small")]

use std::collections::HashSet;
use std::sync::Arc;

use memquill_core::{
    Backend, DeleteRecords, EmbeddingSpace, Field, Filter, NewRecord, Scope, SearchResult,
    Selection, StoreRecords, VectorSearch,
};
use memquill_postgres::driver;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio::sync::OnceCell;

use crate::support::server::Server;
use crate::support::{Fixture, fixture, make_many, run_sql};

const DIMENSIONS: usize = 8;
const INDEX: &str = "embeddings_nearest_8";

/// Rows of a user in a namespace that is there, as the driver would have written them, but fast.
const FILL: &str = "
WITH home AS (SELECT * FROM SCHEMA.namespaces WHERE user_id = 'USER' AND namespace = 'large')
INSERT INTO SCHEMA.embeddings (user_id, namespace_number, id, record_number, content,
    document_type, attributes, digest, created_at, updated_at, embedding, words, word_count,
    index_dimensions)
SELECT home.user_id, home.namespace_number, 'r' || n, nextval('SCHEMA.record_numbers'), 'text',
    'text', jsonb_build_object('n', n, 'half', n % 2), sha256(n::text::bytea), now(), now(),
    (SELECT array_agg(('x' || left(md5('USER' || n || ' ' || d), 8))::bit(32)::integer / 2.0 ^ 31 ORDER BY d)
     FROM generate_series(1, DIMENSIONS) AS d)::real[]::vector,
    '{}', 0, home.index_dimensions
FROM home, generate_series(1, COUNT) AS n;
UPDATE SCHEMA.namespaces SET records = records + COUNT WHERE user_id = 'USER' AND namespace = 'large'";

fn scope(user: &str) -> Scope {
    Scope::new(user, "bot").unwrap()
}

fn space(dimensions: usize) -> EmbeddingSpace {
    EmbeddingSpace::new("m", dimensions)
}

fn towards(side: f32, query: usize) -> Vec<f32> {
    let mut embedding: Vec<f32> = (0..DIMENSIONS).map(|d| ((query * 7 + d) as f32).sin()).collect();
    embedding[0] = side;
    embedding
}

async fn store(backend: &Backend, user: &str, id: &str, embedding: Vec<f32>) {
    let request = StoreRecords {
        namespace: "large".into(),
        space: space(embedding.len()),
        records: vec![NewRecord::new(format!("text of {id}"), embedding).with_id(id)],
    };
    backend.vectors().unwrap().store(&scope(user), &request).await.unwrap();
}

/// Adds records of a user to the namespace `large`.
async fn fill(fixture: &Fixture, user: &str, count: usize) {
    let sql = FILL
        .replace("SCHEMA", &fixture.schema)
        .replace("USER", user)
        .replace("DIMENSIONS", &DIMENSIONS.to_string())
        .replace("COUNT", &count.to_string());
    run_sql(&fixture.superuser, &sql).await.unwrap();
}

async fn index(fixture: &Fixture) -> Vec<String> {
    let admin = driver().admin(&fixture.owner.parse().unwrap()).await.unwrap();
    admin.build_indexes().await.unwrap().built
}

/// All records but those whose field is 1.
fn other_than(field: &str) -> Filter {
    Filter::Not(Box::new(Filter::eq(Field::metadata([field]), 1)))
}

async fn search(backend: &Backend, user: &str, request: &VectorSearch) -> SearchResult {
    backend.vectors().unwrap().search(&scope(user), request).await.unwrap()
}

fn ids(result: &SearchResult) -> Vec<&str> {
    result.hits.iter().map(|hit| hit.record.id.as_str()).collect()
}

/// The ids of the ten nearest, by reading all.
async fn nearest(connection: &mut PgConnection, user: &str, query: &[f32]) -> Vec<String> {
    let sql = "SELECT id FROM (SELECT e.id, (1 - (embedding <=> $2::vector))::real AS similarity
        FROM embeddings AS e JOIN namespaces AS s USING (user_id, namespace_number)
        WHERE user_id = $1 AND namespace = 'large') AS near
        ORDER BY similarity DESC, id LIMIT 10";
    let rows = sqlx::query(sql).bind(user).bind(query).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Alice and bob with 20,001 records each, all indexed; made once for the tests that share it.
async fn outgrown(server: &Server) -> &'static (Fixture, Backend) {
    static SHARED: OnceCell<(Fixture, Backend)> = OnceCell::const_new();
    SHARED.get_or_init(|| make_outgrown(server)).await
}

async fn make_outgrown(server: &Server) -> (Fixture, Backend) {
    let fixture = fixture(server).await;
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    for user in ["alice", "bob"] {
        store(&backend, user, "own", towards(1.0, 0)).await;
        fill(&fixture, user, 19_999).await;
    }
    assert!(index(&fixture).await.is_empty(), "20,000 are searched exactly");
    for user in ["alice", "bob"] {
        store(&backend, user, "the last", towards(1.0, 99)).await;
    }
    assert_eq!(index(&fixture).await, [INDEX]);
    assert!(index(&fixture).await.is_empty(), "all is indexed");
    (fixture, backend)
}

pub(crate) async fn v7_an_index_serves_what_exact_search_has_outgrown(server: Arc<Server>) {
    let (fixture, backend) = outgrown(&server).await;
    let mut superuser = PgConnection::connect(&fixture.superuser).await.unwrap();
    let path = format!("SET search_path = {}, public", fixture.schema);
    superuser.execute(AssertSqlSafe(path)).await.unwrap();

    let mut found = 0;
    for query in 0..20 {
        let embedding = towards(1.0, query);
        let request = VectorSearch::new("large", space(DIMENSIONS), embedding.clone(), 10);
        let result = search(backend, "bob", &request).await;
        assert!(result.complete);
        let in_order = |pair: &[memquill_core::Hit]| {
            let key = |hit: &memquill_core::Hit| (-hit.score, hit.record.id.clone());
            key(&pair[0]) <= key(&pair[1])
        };
        assert!(result.hits.windows(2).all(in_order), "V6: {:?}", ids(&result));
        let exact = nearest(&mut superuser, "bob", &embedding).await;
        found += exact.iter().filter(|id| ids(&result).contains(&id.as_str())).count();
    }
    assert!(found >= 198, "recall {found} of 200");

    // A record that the index lacks tells which way a search went.
    let request = VectorSearch::new("large", space(DIMENSIONS), towards(1.0, 99), 1);
    assert_eq!(ids(&search(backend, "bob", &request).await), ["the last"]);
    let forget =
        "UPDATE embeddings SET index_dimensions = NULL WHERE user_id = 'bob' AND id = 'the last'";
    superuser.execute(forget).await.unwrap();
    assert_ne!(ids(&search(backend, "bob", &request).await), ["the last"]);
    let few = request.clone().with_filter(other_than("half"));
    assert_eq!(ids(&search(backend, "bob", &few).await), ["the last"], "exact");
    let many = request.clone().with_filter(other_than("n"));
    store(backend, "bob", "one more", towards(0.9, 99)).await;
    assert_eq!(ids(&search(backend, "bob", &many).await), ["one more"], "by index");

    // Back among the few, a search is exact again.
    let which = Selection::Matching(Filter::eq(Field::metadata(["half"]), 1));
    let delete = DeleteRecords { namespace: "large".into(), which };
    backend.vectors().unwrap().delete(&scope("bob"), &delete).await.unwrap();
    assert_eq!(ids(&search(backend, "bob", &request).await), ["the last"]);
}

pub(crate) async fn v12_an_index_finds_what_was_stored_since_and_no_ghosts(server: Arc<Server>) {
    let (_, backend) = outgrown(&server).await;
    let at = |query| VectorSearch::new("large", space(DIMENSIONS), towards(3.0, query), 1);
    store(backend, "alice", "moving", towards(3.0, 1)).await;
    assert_eq!(ids(&search(backend, "alice", &at(1)).await), ["moving"]);
    store(backend, "alice", "moving", towards(3.0, 2)).await;
    assert_eq!(ids(&search(backend, "alice", &at(2)).await), ["moving"]);
    let there = search(backend, "alice", &at(1).with_min_similarity(0.9999)).await;
    assert!(there.hits.is_empty() && there.complete, "a ghost: {:?}", ids(&there));
    let which = Selection::Ids(vec!["moving".into()]);
    let delete = DeleteRecords { namespace: "large".into(), which };
    backend.vectors().unwrap().delete(&scope("alice"), &delete).await.unwrap();
    assert_ne!(ids(&search(backend, "alice", &at(2)).await), ["moving"]);
}

pub(crate) async fn g1_users_in_one_index_are_kept_apart(server: Arc<Server>) {
    let (fixture, backend) = outgrown(&server).await;
    // Half of what is near is bob's.
    let request = VectorSearch::new("large", space(DIMENSIONS), towards(1.0, 3), 100);
    let result = search(backend, "alice", &request).await;
    assert_eq!((result.hits.len(), result.complete), (100, true));
    let distinct: HashSet<&str> = ids(&result).into_iter().collect();
    assert_eq!(distinct.len(), 100, "bob's bear the same ids");
    let Fixture { schema, superuser, .. } = fixture;
    let mut superuser = PgConnection::connect(superuser).await.unwrap();
    let path = format!("SET search_path = {schema}, public");
    superuser.execute(AssertSqlSafe(path)).await.unwrap();
    let exact = nearest(&mut superuser, "alice", &towards(1.0, 3)).await;
    let found = exact.iter().filter(|id| ids(&result).contains(&id.as_str())).count();
    assert!(found >= 9, "{found} of 10");

    // Row level security alone, over the index alone.
    let settings = format!(
        "SET ROLE {schema}_data; SET request.jwt.claims = '{{\"sub\": \"alice\"}}';
         SET enable_seqscan = off; SET enable_sort = off; SET hnsw.iterative_scan = relaxed_order"
    );
    superuser.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await.unwrap();
    let select = "FROM embeddings WHERE index_dimensions = 8
        ORDER BY (embedding::vector(8)) <=> '[-1,0,0,0,0,0,0,0]' LIMIT 10";
    let plan = format!("EXPLAIN SELECT user_id {select}");
    let plan = superuser.fetch_all(sqlx::raw_sql(AssertSqlSafe(plan))).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains(INDEX)), "{plan:#?}");
    let rows = format!("SELECT user_id {select}");
    let rows = superuser.fetch_all(sqlx::raw_sql(AssertSqlSafe(rows))).await.unwrap();
    assert_eq!(rows.len(), 10);
    assert!(rows.iter().all(|row| row.get::<&str, _>(0) == "alice"));
}

pub(crate) async fn v7_long_vectors_are_indexed_in_half_precision_or_not_at_all(
    server: Arc<Server>,
) {
    let fixture = fixture(&server).await;
    make_many(&fixture, 20).await;
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    for (dimensions, built) in [
        (2_000, vec!["embeddings_nearest_2000"]),
        (4_000, vec!["embeddings_nearest_4000"]),
        (4_001, vec![]),
    ] {
        // Past what half precision holds, unless it is scaled.
        let embedding = |n: usize| -> Vec<f32> {
            (0..dimensions).map(|d| 1e6 * ((n * d) as f32 * 0.37).sin() + 1.0).collect()
        };
        let scope = Scope::new("alice", format!("{dimensions}")).unwrap();
        let request = StoreRecords {
            namespace: "long".into(),
            space: space(dimensions),
            records: (0..60)
                .map(|n| NewRecord::new("x", embedding(n)).with_id(format!("r{n}")))
                .collect(),
        };
        let vectors = backend.vectors().unwrap();
        vectors.store(&scope, &request).await.unwrap();
        assert_eq!(index(&fixture).await, built);
        for n in [0, 7, 59] {
            let request = VectorSearch::new("long", space(dimensions), embedding(n), 3);
            let result = vectors.search(&scope, &request).await.unwrap();
            assert_eq!(result.hits[0].record.id, format!("r{n}"), "{dimensions}");
            let similarity = result.hits[0].similarity.unwrap();
            assert!((similarity - 1.0).abs() < 1e-4, "V4: {similarity}");
            assert!(result.complete && result.hits.len() == 3);
        }
    }
}

pub(crate) async fn v7_a_scan_that_reached_its_limit_is_not_complete(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    make_many(&fixture, 20).await;
    let Fixture { schema, superuser, .. } = &fixture;
    run_sql(superuser, &format!("ALTER ROLE {schema}_data SET hnsw.max_scan_tuples = 1"))
        .await
        .unwrap();
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    // Alice's records are few beside bob's, and all on the other side.
    store(&backend, "bob", "own", towards(1.0, 0)).await;
    fill(&fixture, "bob", 5_000).await;
    for n in 0..30 {
        store(&backend, "alice", &format!("r{n}"), towards(-50.0, n)).await;
    }
    assert_eq!(index(&fixture).await, [INDEX]);
    let request = VectorSearch::new("large", space(DIMENSIONS), towards(50.0, 3), 10);
    let result = search(&backend, "alice", &request).await;
    assert!(!result.complete && result.hits.len() < 10, "{:?}", ids(&result));
    let result = search(&backend, "bob", &request).await;
    assert!(result.complete && result.hits.len() == 10);
    let near = request.with_min_similarity(0.999);
    let result = search(&backend, "bob", &near).await;
    assert!(result.complete && result.hits.len() < 10, "what is left out is too far");
}

pub(crate) async fn an_index_that_broke_off_is_built_anew(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    make_many(&fixture, 20).await;
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    store(&backend, "alice", "own", towards(1.0, 0)).await;
    fill(&fixture, "alice", 60).await;
    let Fixture { schema, superuser, .. } = &fixture;
    // What a CREATE INDEX CONCURRENTLY leaves that was killed.
    let broken = format!(
        "CREATE INDEX {INDEX} ON {schema}.embeddings (user_id);
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{schema}.{INDEX}'::regclass"
    );
    run_sql(superuser, &broken).await.unwrap();
    let mut other = PgConnection::connect(superuser).await.unwrap();
    other.execute("SELECT pg_advisory_lock(7886134353349338488)").await.unwrap();
    let admin = driver().admin(&fixture.owner.parse().unwrap()).await.unwrap();
    let error = admin.build_indexes().await.unwrap_err();
    assert!(error.is_transient() && error.hint().is_some(), "one builds at a time: {error}");
    other.close().await.unwrap();
    // The lock goes with its session, which the server ends in its own time.
    let built = loop {
        match admin.build_indexes().await {
            Err(error) if error.is_transient() => tokio::task::yield_now().await,
            built => break built.unwrap().built,
        }
    };
    assert_eq!(built, [INDEX]);
    let request = VectorSearch::new("large", space(DIMENSIONS), towards(1.0, 0), 1);
    assert_eq!(ids(&search(&backend, "alice", &request).await), ["own"]);
}
