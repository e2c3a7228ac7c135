//! Behind `PgBouncer` in transaction mode, where every statement may run on another connection.

use std::sync::Arc;

use memquill_core::{Append, Get, Increment, Message, PageRequest, ReadMessages, Result, Scope};
use memquill_postgres::driver;
use tokio::task::JoinSet;

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

/// A fixture, and the data URL that leads through the pooler.
async fn pooled(server: &Arc<Server>) -> (Fixture, String) {
    let fixture = fixture(server).await;
    let (server, user) = (Arc::clone(server), format!("{}_data", fixture.schema));
    let start = move || {
        server.shell("postgres", "cat > /tiny/users", &format!("\"{user}\" \"secret\"\n"));
        server.shell("postgres", START, SETTINGS);
        (server.address().to_owned(), format!("{}:6432", server.bridge()))
    };
    let (direct, pooler) = tokio::task::spawn_blocking(start).await.unwrap();
    let url = format!("{}&sslmode=disable", fixture.data.replace(&direct, &pooler));
    (fixture, url)
}

pub(crate) async fn many_users_share_two_connections_and_nothing_else(_shared: Arc<Server>) {
    let Some(server) = Server::for_one(|| Server::of_own_image(&[])).await else { return };
    let (_fixture, url) = pooled(&server).await;
    let url: memquill_core::StoreUrl = url.parse().unwrap();
    let mut users: JoinSet<Result<()>> = JoinSet::new();
    for user in 0..8 {
        // A process each, with statements of its own.
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
