//! What is declared is what the server is configured for (G6, G14).

use std::time::Duration;

use memquill_core::{Append, Durability, HealthStatus, Message, ReadMessages};

use crate::support::connect;
use crate::{put, scope, until_ok};
use testkit::redis::Server;

crate::cases! {
    g6_the_servers_own_configuration_is_declared,
    g6_without_config_rights_no_more_is_declared_than_is_known,
    g6_what_was_acknowledged_survives_a_crash_where_that_is_declared,
    g14_a_server_that_drops_live_data_is_degraded,
}

async fn g6_the_servers_own_configuration_is_declared() {
    for (arguments, durability, words) in [
        (&[][..], Durability::Process, "nothing is kept"),
        (&["--save", "3600 1"][..], Durability::Restart, "snapshot"),
        (&["--appendonly", "yes"][..], Durability::Restart, "appendfsync"),
        (&["--appendonly", "yes", "--appendfsync", "always"][..], Durability::Crash, "on disk"),
        (
            &[
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--no-appendfsync-on-rewrite",
                "yes",
            ][..],
            Durability::Restart,
            "no-appendfsync-on-rewrite",
        ),
    ] {
        let server = Server::start("redis-server", arguments);
        let backend = connect(&server.url()).await.unwrap();
        assert_eq!(backend.capabilities().durability, durability);
        let notes = &backend.capabilities().notes;
        assert!(notes.iter().any(|note| note.contains(words)), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("no vectors")), "{notes:?}");
        let health = backend.control().health(Duration::from_secs(5)).await;
        assert_eq!(health.status, HealthStatus::Healthy);
        assert!(health.server_version.contains(words), "{health:?}");
    }
}

async fn g6_without_config_rights_no_more_is_declared_than_is_known() {
    let server = Server::start("redis-server", &["--appendonly", "yes", "--appendfsync", "always"]);
    server.command(&["ACL", "SETUSER", "me", "on", ">pw", "~*", "+@all", "-config"]);
    let backend = connect(&format!("redis://me:pw@127.0.0.1:{}", server.port)).await.unwrap();
    assert_eq!(backend.capabilities().durability, Durability::Restart);
}

async fn g6_what_was_acknowledged_survives_a_crash_where_that_is_declared() {
    let mut server =
        Server::start("redis-server", &["--appendonly", "yes", "--appendfsync", "always"]);
    let backend = connect(&server.url()).await.unwrap();
    let conversations = backend.conversations().unwrap().clone();
    let writer = tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        loop {
            let append = Append::new("c", vec![Message::user("x")]);
            match conversations.append(&scope(), &append).await {
                Ok(appended) => acknowledged.push(appended.messages[0].seq),
                Err(error) => {
                    assert!(error.is_transient() && error.maybe_applied(), "{error:?}");
                    return acknowledged;
                }
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.kill();
    let acknowledged = writer.await.unwrap();
    server.run();
    let conversations = backend.conversations().unwrap();
    let (scope, all) = (scope(), ReadMessages::all("c"));
    let read = until_ok(|| conversations.read(&scope, &all)).await;
    let last = acknowledged.last().copied().unwrap();
    assert!(acknowledged.iter().copied().eq(1..=last), "numbers repeat or leave a gap");
    assert!(read.total >= last, "{} of {last} are there", read.total);
}

async fn g14_a_server_that_drops_live_data_is_degraded() {
    let server = Server::start("redis-server", &["--maxmemory", "100mb"]);
    let backend = connect(&server.url()).await.unwrap();
    put(&backend, "k", "v").await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let health = backend.control().health(Duration::from_secs(5)).await;
    assert_eq!(health.status, HealthStatus::Degraded);
    assert!(health.missing[0].contains("noeviction"), "{health:?}");
}
