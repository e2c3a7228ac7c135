//! Faults of a Postgres in a container, which keeps everything (`fsync` on).

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use memquill::ErrorKind;
use memquill_faults::{Expected, Proxy, Running};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::server::Server;
use crate::inmemory::{dropped, injected};
use crate::network::{self, Behind};
use crate::process::kill_clients;
use crate::trial::{Places, Trial, fresh_name, registry};
use crate::{Test, clock};

#[allow(dead_code, reason = "the driver's own tests use all of it")]
#[path = "../../../backend-postgres/tests/support/server.rs"]
mod server;

/// The servers, which are there until [`clean_up`].
static SERVERS: parking_lot::Mutex<Servers> =
    parking_lot::const_mutex(Servers { shared: None, fragile: None });

struct Servers {
    /// The one that tests share, or why there is none.
    shared: Option<Result<Arc<Server>, String>>,
    /// The one that tests break, one after the other.
    fragile: Option<Arc<Mutex<Server>>>,
}

fn shared() -> Result<Arc<Server>, String> {
    let start = || Server::own(&["-c", "fsync=on", "-c", "max_connections=200"]).map(Arc::new);
    SERVERS.lock().shared.get_or_insert_with(start).clone()
}

fn fragile() -> Arc<Mutex<Server>> {
    let start = || Arc::new(Mutex::new(Server::own(&["-c", "fsync=on"]).unwrap()));
    Arc::clone(SERVERS.lock().fragile.get_or_insert_with(start))
}

/// Ends the servers: nothing else ends what is static.
pub(crate) fn clean_up() {
    let mut servers = SERVERS.lock();
    (servers.shared, servers.fragile) = (None, None);
}

pub(crate) fn missing() -> Option<String> {
    shared().err()
}

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = network::tests("postgres", behind);
    tests.extend([
        Test::new("postgres::dropped::at_random_points", |seed| alone(seed, "", dropped)),
        Test::new("postgres::injected::before_and_after_the_call", |seed| {
            alone(seed, "", move |trial| injected(trial, seed))
        }),
        Test::new("postgres::pool_exhausted::by_many_workers", |seed| broken(seed, pool_exhausted)),
        Test::new("postgres::two_schemas::under_an_open_handle", two_schemas),
        Test::new("postgres::client_killed::at_random_points", client_killed),
        Test::new("postgres::clock_set_back::by_an_hour", clock_set_back),
        Test::new("postgres::paused::for_a_while", |seed| broken(seed, paused)),
        Test::new("postgres::killed::under_load", |seed| broken(seed, killed)),
        Test::new("postgres::killed::during_commit", |seed| broken(seed, killed_in_commit)),
        Test::new("postgres::cut::during_commit", |seed| broken(seed, cut_in_commit)),
        Test::new("postgres::restarted::under_load", |seed| broken(seed, restarted)),
        Test::new("postgres::connections_ended::by_the_server", |seed| broken(seed, ended)),
        Test::new("postgres::disk_full::and_emptied", |seed| broken(seed, disk_full)),
    ]);
    for test in &mut tests {
        test.missing = missing();
        if test.name.contains("clock") {
            test.missing = test.missing.take().or_else(clock::missing);
        }
    }
    tests
}

async fn run_sql(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await?;
    connection.close().await
}

/// A database of a test's own, at its schema.
struct Database {
    /// Its name, that of its schema, and of the data role.
    name: String,
    /// A superuser's URL.
    raw: String,
    /// The URL for work.
    url: String,
}

async fn database(server: &Server) -> Database {
    let name = fresh_name();
    run_sql(&server.url("postgres"), &format!("CREATE DATABASE {name}")).await.unwrap();
    let raw = server.url(&name);
    let url = format!("{raw}?role={name}&schema={name}");
    Places::one(&url).migrate().await;
    Database { name, raw, url }
}

/// A database of a test's own, for work.
pub(crate) async fn fresh_url() -> String {
    database(&shared().unwrap()).await.url
}

const IMPATIENT: &str = "&statement_timeout=500ms&acquire_timeout=1s&max_connections=4";

async fn behind(seed: u64) -> Behind {
    let server = shared().unwrap();
    let Database { url, .. } = database(&server).await;
    let proxy = Proxy::before(server.address(), seed).await;
    let through = url.replace(server.address(), &proxy.address()) + IMPATIENT;
    Behind { proxy, _held: Box::new(()), through, past: url }
}

async fn alone<F: Future<Output = ()>>(seed: u64, options: &str, run: impl FnOnce(Trial) -> F) {
    let Database { url, .. } = database(&shared().unwrap()).await;
    run(Trial::new(seed, format!("{url}{options}")).checked_at(url)).await;
}

/// A newer program migrates the store: who has it open goes on or says `Config`, and nobody opens
/// it any more (G13).
async fn two_schemas(seed: u64) {
    let Database { name, raw, url } = database(&shared().unwrap()).await;
    let comment = async || {
        let mut connection = PgConnection::connect(&raw).await.unwrap();
        let sql = format!("SELECT obj_description('{name}.conversations'::regclass, 'pg_class')");
        let row = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
        row.get::<String, _>(0)
    };
    let mark = async |comment: &str| {
        let sql = format!("COMMENT ON TABLE {name}.conversations IS '{comment}'");
        run_sql(&raw, &sql).await.unwrap();
    };
    let mut trial = Trial::new(seed, &url);
    trial.expected.errors.push("config");
    trial
        .run(async |running| {
            let before = comment().await;
            mark("memquill schema 999").await;
            running.ended(60).await;
            let error = registry().connect(&url.parse().unwrap()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            mark(&before).await;
        })
        .await;
}

async fn client_killed(seed: u64) {
    let Database { url, .. } = database(&shared().unwrap()).await;
    kill_clients(seed, Places::one(url), Expected::default(), |_, _| {}).await;
}

/// Times are the server's, whatever clock the client has (G8).
async fn clock_set_back(seed: u64) {
    let Database { url, .. } = database(&shared().unwrap()).await;
    clock::kill_clients_with_two_clocks(seed, Places::one(url), Expected::default()).await;
}

/// A database on the fragile server, and the way there that stays when the server has another port.
struct Fragile {
    server: OwnedMutexGuard<Server>,
    proxy: Proxy,
    database: Database,
}

/// Breaks the server itself while workers work.
async fn broken(seed: u64, fault: impl AsyncFnOnce(&Fragile, &Running)) {
    let server = tokio::task::spawn_blocking(fragile).await.unwrap();
    let server = server.lock_owned().await;
    // Its port is another one each time that it was started.
    let proxy = Proxy::before(server.address(), seed).await;
    proxy.lead_to(&address(&server).await);
    let mut database = database_through(&server, &proxy).await;
    let past = database.url.clone();
    database.url += IMPATIENT;
    let trial = Trial::new(seed, &database.url).checked_at(past);
    let fragile = Fragile { server, proxy, database };
    trial.run(async |running| fault(&fragile, running).await).await;
}

async fn database_through(server: &Server, proxy: &Proxy) -> Database {
    let name = fresh_name();
    let at = |database: &str| server.url(database).replace(server.address(), &proxy.address());
    run_sql(&at("postgres"), &format!("CREATE DATABASE {name}")).await.unwrap();
    let raw = at(&name);
    let url = format!("{raw}?role={name}&schema={name}");
    Places::one(&url).migrate().await;
    Database { name, raw, url }
}

/// Where the server's port is published now.
async fn address(server: &Server) -> String {
    let id = server.container().unwrap().id();
    let output = docker(&["port", id, "5432/tcp"]).await;
    let port = output.lines().next().and_then(|line| line.rsplit_once(':')).unwrap().1.to_owned();
    format!("127.0.0.1:{port}")
}

async fn docker(arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let run = move || Command::new("docker").args(&arguments).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Fragile {
    fn id(&self) -> &str {
        self.server.container().unwrap().id()
    }

    /// Ends the server by a signal, and waits until it has ended.
    async fn end(&self, signal: &str) {
        docker(&["kill", "-s", signal, self.id()]).await;
        docker(&["wait", self.id()]).await;
    }

    async fn start(&self) {
        docker(&["start", self.id()]).await;
        self.proxy.lead_to(&address(&self.server).await);
    }

    async fn sql(&self, sql: &str) {
        run_sql(&self.database.raw, sql).await.unwrap();
    }

    /// As [`Fragile::sql`], on a server that may be starting still.
    async fn sql_soon(&self, sql: &str) {
        let soon = async {
            while run_sql(&self.database.raw, sql).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), soon).await.unwrap();
    }

    /// Lets every COMMIT wait for ever, when it is on disk, for a standby that does not exist; returns
    /// once one does.
    async fn hold_commits(&self) {
        self.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
        self.sql("SELECT pg_reload_conf()").await;
        let mut connection = PgConnection::connect(&self.database.raw).await.unwrap();
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'SyncRep'";
        while connection.fetch_one(waiting).await.unwrap().get::<i64, _>(0) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

const RELEASE: &str = "ALTER SYSTEM RESET synchronous_standby_names";

async fn paused(fragile: &Fragile, running: &Running) {
    docker(&["pause", fragile.id()]).await;
    running.failed(4).await;
    docker(&["unpause", fragile.id()]).await;
}

async fn killed(fragile: &Fragile, running: &Running) {
    fragile.end("KILL").await;
    running.failed(6).await;
    fragile.start().await;
}

async fn killed_in_commit(fragile: &Fragile, running: &Running) {
    fragile.hold_commits().await;
    fragile.end("KILL").await;
    running.failed(6).await;
    fragile.start().await;
    fragile.sql_soon(RELEASE).await;
    fragile.sql("SELECT pg_reload_conf()").await;
}

async fn cut_in_commit(fragile: &Fragile, running: &Running) {
    fragile.hold_commits().await;
    fragile.proxy.cut();
    running.failed(6).await;
    fragile.proxy.repair();
    fragile.sql_soon(RELEASE).await;
    fragile.sql("SELECT pg_reload_conf()").await;
}

/// In order, but without waiting for clients.
async fn restarted(fragile: &Fragile, running: &Running) {
    fragile.end("INT").await;
    running.failed(6).await;
    fragile.start().await;
}

async fn ended(fragile: &Fragile, running: &Running) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..5 {
        fragile.sql(end).await;
        running.ended(12).await;
    }
}

const TABLES: [&str; 3] = ["memory_data", "conversation_buffers", "embeddings"];

/// Whoever has a connection waits for a lock, and nobody else gets one in time.
async fn pool_exhausted(fragile: &Fragile, running: &Running) {
    let schema = &fragile.database.name;
    let mut other = PgConnection::connect(&fragile.database.raw).await.unwrap();
    let tables = TABLES.map(|table| format!("{schema}.{table}")).join(", ");
    let lock = format!("BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE");
    other.execute(sqlx::raw_sql(AssertSqlSafe(lock))).await.unwrap();
    running.failed(12).await;
    other.execute("ROLLBACK").await.unwrap();
}

/// The tables stand on a file system of 32 MiB, which something else fills.
async fn disk_full(fragile: &Fragile, running: &Running) {
    let schema = &fragile.database.name;
    let folder = format!("mkdir /tiny/{schema} && chown postgres /tiny/{schema}");
    docker(&["exec", "-u", "root", fragile.id(), "sh", "-ec", &folder]).await;
    fragile.sql(&format!("CREATE TABLESPACE {schema} LOCATION '/tiny/{schema}'")).await;
    // Each in a statement of its own, between those of the workers.
    for table in TABLES {
        fragile.sql_soon(&format!("ALTER TABLE {schema}.{table} SET TABLESPACE {schema}")).await;
    }
    let filler = format!(
        "CREATE TABLE {schema}.filler (bytes text) TABLESPACE {schema};
         ALTER TABLE {schema}.filler ALTER COLUMN bytes SET STORAGE PLAIN"
    );
    fragile.sql(&filler).await;
    let fill = |count: u32, size: u32| {
        format!(
            "INSERT INTO {schema}.filler SELECT repeat('x', {size}) FROM generate_series(1, {count})"
        )
    };
    run_sql(&fragile.database.raw, &fill(8_000, 8_000)).await.unwrap_err();
    running.failed(3).await;
    fragile.sql(&format!("DROP TABLE {schema}.filler")).await;
    // What is in memory is gone when the server is restarted.
    for table in TABLES {
        fragile.sql_soon(&format!("ALTER TABLE {schema}.{table} SET TABLESPACE pg_default")).await;
    }
    fragile.sql(&format!("DROP TABLESPACE {schema}")).await;
}
