//! What the driver costs, as ratios: against SQL written by hand on sqlx for the same rows, and with
//! much stored against little.
//!
//! Both sides of a ratio take turns within one run, so that a busy machine slows both; the ratios of
//! their medians and of their 99th percentiles are printed. By hand, a read gives the same values
//! as the driver's, read from the rows: text, numbers, times, and JSON where it is. It comes in three
//! kinds:
//!
//! - *with identity* is the same work: the data role's, with BEGIN, the claim, the statements and
//!   COMMIT, as setting a claim for one transaction usually goes;
//! - *in one message* is the same as one text of four statements, in which all values are written
//!   out, so that it is one round trip; its rows are not read;
//! - *unscoped* is less: a superuser's bare statement, which no row level security binds and which
//!   knows of no users but what its WHERE clause names.
//!
//! `cargo bench -p memquill-postgres`, on the server of `MEMQUILL_TEST_POSTGRES_URL` or in a container.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use memquill_core::{
    Append, Backend, EmbeddingSpace, Field, Filter, Get, Message, Put, ReadMessages, Scope,
    VectorSearch,
};
use memquill_postgres::driver;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgConnection, PgRow, PgTypeInfo, PgValueRef};
use sqlx::{AssertSqlSafe, Connection as _, Decode, Executor as _, Postgres, Row as _, Type};
use support::server::Server;
use support::{Fixture, fixture, run_sql};

const CONTENT: &str = "The quick brown fox jumps over the lazy dog, and then it does so once more, \
                       since one jump makes a message rather shorter than messages usually are.";
const DIMENSIONS: usize = 384;
const TURNS: usize = 3_000;
/// Vectors, in a thousand users' namespaces of 100 each, and once more in one of 100,000.
const VECTORS: &str = "
CREATE TABLE centres AS
SELECT c, (SELECT array_agg(random() - 0.5) FROM generate_series(1, 384) WHERE c = c)::real[]::vector AS v
FROM generate_series(0, 999) AS c;
INSERT INTO namespaces (user_id, node_id, namespace, model, dimensions, records)
SELECT CASE WHEN u = 0 THEN 'large' ELSE 'user ' || u END, 'bot', 'v', 'm', 384,
    CASE WHEN u = 0 THEN 100000 ELSE 100 END
FROM generate_series(0, 1000) AS u;
INSERT INTO embeddings (user_id, namespace_number, id, record_number, content, document_type,
    attributes, digest, created_at, updated_at, embedding, words, word_count)
SELECT s.user_id, s.namespace_number, 'r' || n, nextval('record_numbers'), 'CONTENT', 'text',
    jsonb_build_object('half', n % 2), '\\x00', now(), now(),
    (SELECT v FROM centres WHERE c = n % 1000)
        + (SELECT array_agg(random() - 0.5) FROM generate_series(1, 384) WHERE n = n)::real[]::vector,
    '{}', 0
FROM generate_series(0, 99999) AS n
JOIN namespaces AS s ON s.user_id = 'user ' || (1 + n / 100);
INSERT INTO embeddings (user_id, namespace_number, id, record_number, content, document_type,
    attributes, digest, created_at, updated_at, embedding, words, word_count)
SELECT s.user_id, s.namespace_number, e.id, nextval('record_numbers'), e.content, e.document_type,
    e.attributes, e.digest, e.created_at, e.updated_at, e.embedding, '{}', 0
FROM embeddings AS e, namespaces AS s
WHERE e.user_id LIKE 'user %' AND s.user_id = 'large';
ANALYZE";

fn quantile(times: &[f64], quantile: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = (times.len() as f64 * quantile) as usize;
    times[at.min(times.len() - 1)]
}

/// Times both by turns; prints their medians, and the ratios of medians and 99th percentiles.
async fn compare(
    what: &str,
    turns: usize,
    mut ours: impl AsyncFnMut(),
    mut other: impl AsyncFnMut(),
) {
    let (mut times, mut others) = (Vec::new(), Vec::new());
    for turn in 0..turns + 10 {
        let start = Instant::now();
        ours().await;
        let middle = Instant::now();
        other().await;
        if turn >= 10 {
            times.push((middle - start).as_secs_f64());
            others.push(middle.elapsed().as_secs_f64());
        }
    }
    let (ours, hand) = (quantile(&times, 0.5), quantile(&others, 0.5));
    println!(
        "{what:<58} {:>9.0?} / {:>9.0?}  p50 {:.2}  p99 {:.2}",
        Duration::from_secs_f64(ours),
        Duration::from_secs_f64(hand),
        ours / hand,
        quantile(&times, 0.99) / quantile(&others, 0.99)
    );
}

struct Bench {
    backend: Backend,
    fixture: Fixture,
    scope: Scope,
}

impl Bench {
    /// A connection for statements by hand: a superuser's, or the data role's.
    async fn raw(&self, url: &str) -> PgConnection {
        let mut raw = PgConnection::connect(url).await.unwrap();
        let path = format!("SET search_path = {}, public", self.fixture.schema);
        raw.execute(AssertSqlSafe(path)).await.unwrap();
        raw
    }

    async fn append(&self, conversation: &str, messages: usize) {
        let append = Append::new(conversation, vec![Message::user(CONTENT); messages]);
        self.backend.conversations().unwrap().append(&self.scope, &append).await.unwrap();
    }

    async fn newest(&self, conversation: &str) {
        let read = ReadMessages::newest(conversation, 20);
        let page = self.backend.conversations().unwrap().read(&self.scope, &read).await.unwrap();
        assert_eq!(page.messages.len(), 20);
    }
}

const GET: &str = "SELECT key, value::text, metadata::text, version, created_at, updated_at, \
                   expires_at FROM memory_data WHERE user_id = $1 AND node_id = 'bot' \
                   AND key = 'key' AND (expires_at IS NULL OR expires_at > clock_timestamp())";
const PUT: &str = "INSERT INTO memory_data AS d (user_id, node_id, key, value, version, created_at, \
                   updated_at) VALUES ($1, 'bot', 'hand', $2::text::json, nextval('entry_versions'), \
                   clock_timestamp(), clock_timestamp()) ON CONFLICT (user_id, node_id, key) \
                   DO UPDATE SET value = excluded.value, version = excluded.version, \
                   updated_at = excluded.updated_at RETURNING version, created_at, updated_at";
const NEWEST: &str = "SELECT c.user_count, m.* FROM conversations AS c JOIN LATERAL (SELECT seq, \
                      created_at, message_id, role, content, name, tool_calls::text, tool_call_id, \
                      metadata::text, token_count FROM conversation_buffers WHERE user_id = $1 AND \
                      node_id = 'bot' AND conversation_id = 'short' ORDER BY seq DESC LIMIT 20) AS m \
                      ON true WHERE c.user_id = $1 AND c.node_id = 'bot' AND \
                      c.conversation_id = 'short'";
const APPEND: &str = "WITH head AS (UPDATE conversations SET last_seq = last_seq + 1, \
                      user_count = user_count + 1, other_tokens = other_tokens + 40 \
                      WHERE user_id = $1 AND node_id = 'bot' AND conversation_id = 'hand' \
                      RETURNING last_seq, other_tokens) INSERT INTO conversation_buffers (user_id, \
                      node_id, conversation_id, seq, created_at, role, content, tokens, \
                      system_count_before, system_tokens_before, other_tokens_before) \
                      SELECT $1, 'bot', 'hand', last_seq, clock_timestamp(), 'user', $2, 40, 0, 0, \
                      other_tokens FROM head RETURNING seq, created_at";

const UNNEST: &str = "INSERT INTO conversation_buffers (user_id, node_id, conversation_id, seq, \
                      created_at, role, content, tokens, system_count_before, \
                      system_tokens_before, other_tokens_before) SELECT $1, 'bot', $2, g.seq, now(), \
                      g.role, g.content, g.tokens, 0, 0, g.before FROM unnest($3::bigint[], \
                      $4::text[], $5::text[], $6::bigint[], $7::bigint[]) \
                      AS g (seq, role, content, tokens, before)";
const ADVANCE: &str = "UPDATE conversations SET last_seq = last_seq + $3, user_count = user_count + $3, \
                       other_tokens = other_tokens + 40 * $3, \
                       ever_other_tokens = ever_other_tokens + 40 * $3 WHERE user_id = $1 AND \
                       node_id = 'bot' AND conversation_id = $2 RETURNING last_seq, ever_other_tokens";
const CLAIM: &str = "SELECT set_config('request.jwt.claims', $1, true)";

/// A `timestamptz` as it comes: sqlx has no type of its own for it.
struct Moment(#[expect(dead_code, reason = "it is read, and that is all")] i64);

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    fn decode(value: PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        <i64 as Decode<'r, Postgres>>::decode(value).map(Self)
    }
}

type Text = Option<String>;

fn json(text: Text) -> Option<serde_json::Value> {
    text.map(|text| serde_json::from_str(&text).unwrap())
}

/// Reads an entry by hand.
fn read_entry(row: &PgRow) {
    black_box((
        row.get::<String, _>(0),
        json(row.get(1)),
        json(row.get(2)),
        row.get::<i64, _>(3),
        (row.get::<Moment, _>(4), row.get::<Moment, _>(5), row.get::<Option<Moment>, _>(6)),
    ));
}

/// Reads messages by hand.
fn read_messages(rows: &[PgRow]) {
    assert_eq!(rows.len(), 20);
    for row in rows {
        black_box((
            row.get::<i64, _>(0),
            row.get::<i64, _>(1),
            row.get::<Moment, _>(2),
            (row.get::<Text, _>(3), row.get::<String, _>(4), row.get::<Text, _>(5)),
            (row.get::<Text, _>(6), json(row.get(7)), row.get::<Text, _>(8), json(row.get(9))),
            row.get::<Option<i64>, _>(10),
        ));
    }
}

/// Statements by hand for a user: the data role's within a transaction that states the user, in one
/// message with all values written out, and a superuser's.
struct Hand {
    user: String,
    claims: String,
    bound: PgConnection,
    simple: PgConnection,
    unscoped: PgConnection,
}

impl Hand {
    async fn new(bench: &Bench) -> Self {
        let user = bench.scope.user().to_owned();
        Self {
            claims: format!("{{\"sub\": \"{user}\"}}"),
            user,
            bound: bench.raw(&bench.fixture.data).await,
            simple: bench.raw(&bench.fixture.data).await,
            unscoped: bench.raw(&bench.fixture.superuser).await,
        }
    }

    async fn begin(&mut self) {
        self.bound.execute("BEGIN").await.unwrap();
        self.bound.execute(sqlx::query(CLAIM).bind(&self.claims)).await.unwrap();
    }

    async fn with_identity(&mut self, sql: &'static str) -> Vec<PgRow> {
        self.begin().await;
        let rows = self.bound.fetch_all(sqlx::query(sql).bind(&self.user)).await.unwrap();
        self.bound.execute("COMMIT").await.unwrap();
        rows
    }

    async fn in_one_message(&mut self, sql: &str) {
        let sql = sql.replace("$1", &format!("'{}'", self.user));
        let claims = &self.claims;
        let all = format!(
            "BEGIN; SELECT set_config('request.jwt.claims', '{claims}', true); {sql}; COMMIT"
        );
        self.simple.fetch_all(sqlx::raw_sql(AssertSqlSafe(all))).await.unwrap();
    }

    async fn unscoped(&mut self, sql: &'static str) -> Vec<PgRow> {
        self.unscoped.fetch_all(sqlx::query(sql).bind(&self.user)).await.unwrap()
    }
}

async fn reads(bench: &Bench) {
    let mut hand = Hand::new(bench).await;
    let working = bench.backend.working().unwrap();
    let value = serde_json::json!({"step": 3, "note": CONTENT});
    working.put(&bench.scope, &Put::new("key", value)).await.unwrap();
    let get = async || {
        working.get(&bench.scope, &Get::new("key")).await.unwrap().unwrap();
    };
    compare("get to by hand with identity", TURNS, get, async || {
        read_entry(&hand.with_identity(GET).await[0]);
    })
    .await;
    compare("get to by hand in one message", TURNS, get, async || {
        hand.in_one_message(GET).await;
    })
    .await;
    compare("get to unscoped", TURNS, get, async || read_entry(&hand.unscoped(GET).await[0])).await;
    let newest = async || bench.newest("short").await;
    compare("newest 20 to by hand with identity", TURNS, newest, async || {
        read_messages(&hand.with_identity(NEWEST).await);
    })
    .await;
    compare("newest 20 to by hand in one message", TURNS, newest, async || {
        hand.in_one_message(NEWEST).await;
    })
    .await;
    compare("newest 20 to unscoped", TURNS, newest, async || {
        read_messages(&hand.unscoped(NEWEST).await);
    })
    .await;
}

async fn writes(bench: &Bench) {
    let mut hand = Hand::new(bench).await;
    let (user, working) = (hand.user.clone(), bench.backend.working().unwrap());
    let value = serde_json::json!({"step": 3, "note": CONTENT});
    let text = value.to_string();
    working.put(&bench.scope, &Put::new("hand", value.clone())).await.unwrap();
    let put = async || {
        working.put(&bench.scope, &Put::new("key", value.clone())).await.unwrap();
    };
    for (what, sql, given) in [("put", PUT, &text[..]), ("append", APPEND, CONTENT)] {
        let ours = async || {
            if what == "put" {
                put().await;
            } else {
                bench.append("short", 1).await;
            }
        };
        compare(&format!("{what} to by hand with identity"), TURNS, ours, async || {
            hand.begin().await;
            hand.bound.fetch_one(sqlx::query(sql).bind(&user).bind(given)).await.unwrap();
            hand.bound.execute("COMMIT").await.unwrap();
        })
        .await;
        compare(&format!("{what} to unscoped"), TURNS, ours, async || {
            hand.unscoped.fetch_one(sqlx::query(sql).bind(&user).bind(given)).await.unwrap();
        })
        .await;
    }
}

/// A thousand messages a call, against UNNEST for the same work: tokens counted, the head advanced and
/// the running totals written, within a transaction of the data role that states the user. And
/// against the bare statements UNNEST and COPY, unscoped, for rows alone. All write into the same table; COPY
/// into a table with row level security is not to be had for whom it binds.
async fn batches(bench: &Bench) {
    let mut hand = Hand::new(bench).await;
    let user = hand.user.clone();
    let (contents, roles) = (vec![CONTENT; 1_000], vec!["user"; 1_000]);
    let before = |first: i64| -> Vec<i64> { (0..1_000).map(|n| first + 40 * n).collect() };
    for conversation in ["batches", "by hand"] {
        bench.append(conversation, 1).await;
    }
    let request = Append::new("batches", vec![Message::user(CONTENT); 1_000]);
    let conversations = bench.backend.conversations().unwrap();
    let ours = async || {
        conversations.append(&bench.scope, &request).await.unwrap();
    };
    // Both sides count the tokens of what they are given.
    let count = || -> Vec<i64> {
        request.messages.iter().map(|message| i64::from(message.tokens())).collect()
    };
    compare("append of 1,000 to UNNEST with identity", 100, ours, async || {
        hand.begin().await;
        let query = sqlx::query(ADVANCE).bind(&user).bind("by hand").bind(1_000_i64);
        let row = hand.bound.fetch_one(query).await.unwrap();
        let (last, total): (i64, i64) = (row.get(0), row.get(1));
        let query = sqlx::query(UNNEST).bind(&user).bind("by hand");
        let query = query.bind((last - 999..=last).collect::<Vec<_>>()).bind(&roles);
        let query = query.bind(&contents).bind(count()).bind(before(total - 40_000));
        hand.bound.execute(query).await.unwrap();
        hand.bound.execute("COMMIT").await.unwrap();
    })
    .await;
    let mut next = 0_i64;
    compare("append of 1,000 to UNNEST, unscoped", 100, ours, async || {
        let query = sqlx::query(UNNEST).bind(&user).bind("bare");
        let query = query.bind((next..next + 1_000).collect::<Vec<_>>()).bind(&roles);
        let query = query.bind(&contents).bind(count()).bind(before(40 * next));
        next += 1_000;
        hand.unscoped.execute(query).await.unwrap();
    })
    .await;
    let copy = "COPY conversation_buffers (user_id, node_id, conversation_id, seq, created_at, role, \
                content, tokens, system_count_before, system_tokens_before, other_tokens_before) \
                FROM STDIN";
    compare("append of 1,000 to COPY, unscoped", 100, ours, async || {
        let mut rows = String::new();
        for seq in next..next + 1_000 {
            let tokens = seq * 40;
            writeln!(rows, "{user}\tbot\tbare\t{seq}\tnow\tuser\t{CONTENT}\t40\t0\t0\t{tokens}")
                .unwrap();
        }
        next += 1_000;
        let mut sink = hand.unscoped.copy_in_raw(copy).await.unwrap();
        sink.send(rows.as_bytes()).await.unwrap();
        sink.finish().await.unwrap();
    })
    .await;
}

async fn growth(bench: &Bench) {
    bench.append("few", 100).await;
    for _ in 0..100 {
        bench.append("many", 1_000).await;
    }
    let (few, many) = ("few", "many");
    let newest = async |name: &str| bench.newest(name).await;
    compare(
        "newest 20 at 100,000 to 100",
        2_000,
        async || newest(many).await,
        async || {
            newest(few).await;
        },
    )
    .await;
    let append = async |name: &str| bench.append(name, 1).await;
    compare(
        "append at 100,000 to 100",
        2_000,
        async || append(many).await,
        async || {
            append(few).await;
        },
    )
    .await;
}

/// A query near one of the vectors.
fn query(centre: &[f32], turn: usize) -> Vec<f32> {
    let noise = |d: usize| ((turn * 31 + d * 17) as f32).sin() * 0.3;
    centre.iter().enumerate().map(|(d, x)| x + noise(d)).collect()
}

/// The ten nearest by plain pgvector; what stands before LIMIT is the way it is done.
async fn plain(raw: &mut PgConnection, sql: &str, user: &str, query: &[f32]) -> Vec<String> {
    let sql = format!(
        "SELECT id, content, attributes::text, created_at, 1 - (embedding <=> $2::vector) \
         FROM embeddings WHERE user_id = $1 AND namespace_number = (SELECT namespace_number FROM \
         namespaces WHERE user_id = $1 AND node_id = 'bot' AND namespace = 'v') AND {sql} LIMIT 10"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(user).bind(query);
    raw.fetch_all(query).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn vectors(bench: &Bench) {
    let sql = VECTORS.replace("CONTENT", CONTENT);
    let path = format!(
        "SET search_path = {}, public; SET synchronous_commit = off; {sql}",
        bench.fixture.schema
    );
    run_sql(&bench.fixture.superuser, &path).await.unwrap();
    let mut raw = bench.raw(&bench.fixture.superuser).await;
    let rows = raw.fetch_all("SELECT v::real[] FROM centres ORDER BY c").await.unwrap();
    let centres: Vec<Vec<f32>> = rows.iter().map(|row| row.get(0)).collect();
    let start = Instant::now();
    let admin = driver().admin(&bench.fixture.owner.parse().unwrap()).await.unwrap();
    let built = admin.build_indexes().await.unwrap().built;
    println!("built {built:?} over 100,000 × {DIMENSIONS} in {:.0?}", start.elapsed());
    raw.execute("SET hnsw.iterative_scan = relaxed_order").await.unwrap();
    raw.execute("SET hnsw.ef_search = 200").await.unwrap();

    let half = Filter::eq(Field::metadata(["half"]), 1);
    let exact = "ORDER BY embedding <=> $2::vector, id";
    let by_index = "index_dimensions = 384 ORDER BY embedding::vector(384) <=> $2::vector(384)";
    let filtered = "attributes -> 'half' = '1'::jsonb";
    for (what, users, filter, way) in [
        ("top 10 of 100, one user of 1,000", 1_000, None, format!("true {exact}")),
        ("the same, filtered", 1_000, Some(&half), format!("{filtered} {exact}")),
        ("top 10 of 100,000", 0, None, by_index.to_owned()),
        ("the same, filtered by half", 0, Some(&half), format!("{filtered} AND {by_index}")),
    ] {
        let user_of = |turn: usize| match users {
            0 => "large".to_owned(),
            users => format!("user {}", 1 + turn * 7 % users),
        };
        let search = async |turn: usize| {
            let embedding = query(&centres[turn * 13 % centres.len()], turn);
            let space = EmbeddingSpace::new("m", DIMENSIONS);
            let mut request = VectorSearch::new("v", space, embedding.clone(), 10);
            request.filter = filter.cloned();
            let scope = Scope::new(user_of(turn), "bot").unwrap();
            let result = bench.backend.vectors().unwrap().search(&scope, &request).await.unwrap();
            let ids: Vec<String> = result.hits.into_iter().map(|hit| hit.record.id).collect();
            (embedding, ids)
        };
        let (mut turn, mut other_turn) = (0, 0);
        let ours = async || {
            search(turn).await;
            turn += 1;
        };
        compare(&format!("{what} to plain pgvector"), 300, ours, async || {
            let embedding = query(&centres[other_turn * 13 % centres.len()], other_turn);
            plain(&mut raw, &way, &user_of(other_turn), &embedding).await;
            other_turn += 1;
        })
        .await;
        let condition = if filter.is_some() { filtered } else { "true" };
        let (mut found, mut plainly, mut all) = (0, 0, 0);
        for turn in 0..50 {
            let (embedding, ids) = search(turn).await;
            let user = user_of(turn);
            let right = plain(&mut raw, &format!("{condition} {exact}"), &user, &embedding).await;
            let theirs = plain(&mut raw, &way, &user, &embedding).await;
            all += right.len();
            found += right.iter().filter(|id| ids.contains(id)).count();
            plainly += right.iter().filter(|id| theirs.contains(id)).count();
        }
        let share = |count| f64::from(count) / f64::from(u32::try_from(all).unwrap());
        println!(
            "    recall {:.3}, plain {:.3}",
            share(u32::try_from(found).unwrap()),
            share(u32::try_from(plainly).unwrap())
        );
    }
}

async fn run(server: &Server) {
    let fixture = fixture(server).await;
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    let scope = Scope::new("bench", "bot").unwrap();
    let bench = Bench { backend, fixture, scope };
    for conversation in ["short", "hand"] {
        bench.append(conversation, 100).await;
    }
    let wanted = std::env::args().nth(1).filter(|name| !name.starts_with('-'));
    let is_wanted = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    if is_wanted("single") {
        reads(&bench).await;
        writes(&bench).await;
    }
    if is_wanted("batches") {
        batches(&bench).await;
    }
    if is_wanted("growth") {
        growth(&bench).await;
    }
    if is_wanted("vectors") {
        vectors(&bench).await;
    }
}

fn main() {
    let server = Server::any().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(&server));
}
