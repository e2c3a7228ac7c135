//! Behind `PgBouncer` in transaction mode, where every statement may run on another connection.

use std::sync::Arc;

use memquill_core::{
    Append, ErrorKind, Get, Increment, Message, PageRequest, ReadMessages, Result, Scope, StoreUrl,
};
use memquill_postgres::driver;
use tokio::task::JoinSet;

use crate::faults::facts;
use crate::support::server::Server;
use crate::support::{Fixture, fixture};

/// Two connections to the server, for however many there are to the pooler.
const SETTINGS: &str = "[databases]
* = host=127.0.0.1 port=5432 pool_size=2
[pgbouncer]
listen_addr = *
listen_port = 6432
auth_type = trust
auth_file = /tiny/users
pool_mode = transaction
max_prepared_statements = 200
pidfile = /tiny/pgbouncer.pid
logfile = /tiny/pgbouncer.log
";

/// Starts the pooler, and waits until it listens: `-d` does not.
const START: &str = "cat > /tiny/pgbouncer.ini
pgbouncer -q -d /tiny/pgbouncer.ini
timeout 30 bash -c 'until : < /dev/tcp/127.0.0.1/6432; do sleep 0.1; done' 2>/dev/null";

/// A fixture, and the data URL that leads through the pooler, which keeps so many prepared
/// statements.
async fn pooled(server: &Arc<Server>, prepared: u32) -> (Fixture, String) {
    let fixture = fixture(server).await;
    let (server, user) = (Arc::clone(server), format!("{}_data", fixture.schema));
    let settings = SETTINGS
        .replace("max_prepared_statements = 200", &format!("max_prepared_statements = {prepared}"));
    let start = move || {
        server.shell("postgres", "cat > /tiny/users", &format!("\"{user}\" \"secret\"\n"));
        server.shell("postgres", START, &settings);
        (server.address().to_owned(), format!("{}:6432", server.bridge()))
    };
    let (direct, pooler) = tokio::task::spawn_blocking(start).await.unwrap();
    let url = format!("{}&sslmode=disable", fixture.data.replace(&direct, &pooler));
    (fixture, url)
}

/// Lets eight users work at once, each as a process with statements of its own.
async fn work(url: &str) {
    let url: StoreUrl = url.parse().unwrap();
    let mut users: JoinSet<Result<()>> = JoinSet::new();
    for user in 0..8 {
        let backend = driver().connect(&url).await.unwrap();
        users.spawn(async move {
            let scope = Scope::new(format!("user {user}"), "bot").unwrap();
            for n in 1..=20 {
                let append = Append::new("talk", vec![Message::user(format!("{user}: {n}"))]);
                backend.conversations()?.append(&scope, &append).await?;
                let add = Increment { key: "n".into(), by: 1, initial_ttl: None };
                assert_eq!(backend.working()?.increment(&scope, &add).await?.value, n);
                let read = ReadMessages::newest("talk", 1);
                let page = backend.conversations()?.read(&scope, &read).await?;
                assert_eq!(page.messages[0].message.content, Some(format!("{user}: {n}")));
                assert_eq!(page.messages[0].seq, n.unsigned_abs());
            }
            assert!(backend.working()?.get(&scope, &Get::new("key")).await?.is_none());
            let nodes = backend.control().scopes(scope.user(), &PageRequest::default()).await?;
            assert_eq!(nodes.items, [scope]);
            Ok(())
        });
    }
    while let Some(user) = users.join_next().await {
        user.unwrap().unwrap();
    }
}

pub(crate) async fn many_users_share_two_connections_and_nothing_else(_shared: Arc<Server>) {
    let Some(server) = Server::for_one(|| Server::of_own_image(&[])).await else { return };
    let (_fixture, url) = pooled(&server, 200).await;
    // A pooler that is not told otherwise refuses settings.
    let error = driver().connect(&url.parse().unwrap()).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Config, false, false), "{error}");
    assert!(error.hint().unwrap().contains("startup_options=false"), "{error:?}");
    work(&format!("{url}&startup_options=false")).await;
}

pub(crate) async fn a_pooler_without_prepared_statements_is_config_and_can_be_used(
    _shared: Arc<Server>,
) {
    let Some(server) = Server::for_one(|| Server::of_own_image(&[])).await else { return };
    let (_fixture, url) = pooled(&server, 0).await;
    let unprepared: StoreUrl = format!("{url}&startup_options=false").parse().unwrap();
    let mut refused = 0;
    let mut connected = Vec::new();
    for _ in 0..6 {
        match driver().connect(&unprepared).await {
            // Its statement stays on the server's connection, in the way of the next.
            Ok(backend) => connected.push(backend),
            Err(error) => {
                refused += 1;
                assert_eq!(facts(&error), (ErrorKind::Config, false, false), "{error}");
                assert!(error.hint().unwrap().contains("pgbouncer=true"), "{error:?}");
            }
        }
    }
    assert!(refused > 0, "nothing was in the way");
    drop(connected);
    work(&format!("{url}&pgbouncer=true")).await;
}
