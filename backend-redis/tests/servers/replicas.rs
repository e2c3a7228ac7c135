//! With `replicas` a write is acknowledged where they have it, and nowhere else (G6).

use std::sync::Arc;
use std::time::Duration;

use memquill_core::{Append, Backend, Delete, Error, HealthStatus, Message};
use memquill_redis::driver;

use crate::support::cluster::{Cluster, text};
use crate::support::connect;
use crate::support::pair::Pair;
use crate::{facts, get, put, scope, until_ok};
use testkit::Gate;
use testkit::redis::Server;
use testkit::until;

crate::cases! {
    g6_a_write_that_a_demotion_undoes_is_not_acknowledged,
    g6_a_repeat_waits_for_what_was_written_over_another_connection,
    g6_rights_to_wait_are_tried_at_connect_and_missed_later,
    g6_on_a_cluster_every_write_waits,
    g12_waiting_leaves_nothing_behind,
    e2_a_full_server_with_replicas_still_deletes,
    e2_a_demoted_primary_is_given_up,
    g14_health_counts_the_replicas_that_writes_wait_for,
}

/// What an error says of a write that is on the primary, and perhaps on no replica.
const UNREPLICATED: (&str, bool, bool) = ("unavailable", true, true);

async fn waiting(url: &str, options: &str) -> Backend {
    connect(url).await.unwrap();
    driver().connect(&format!("{url}?replicas=1&{options}").parse().unwrap()).await.unwrap()
}

async fn delete(backend: &Backend, key: &str) -> Result<bool, Error> {
    backend.working().unwrap().delete(&scope(), &Delete::new(key)).await
}

async fn g6_a_write_that_a_demotion_undoes_is_not_acknowledged() {
    let server = Server::start("redis-server", &[]);
    let other = Server::start("redis-server", &[]);
    // So that the scope is registered and the script known, and the write that waits is the put's.
    put(&connect(&server.url()).await.unwrap(), "k", "before").await.unwrap();
    let backend = waiting(&server.url(), "timeout=20s").await;
    let writing = tokio::spawn(async move { put(&backend, "k", "v").await });
    until(|| text(server.command(&["INFO", "clients"])).contains("blocked_clients:1"));
    server.command(&["REPLICAOF", "127.0.0.1", &other.port.to_string()]);
    let error = writing.await.unwrap().unwrap_err();
    assert_eq!(facts(&error), UNREPLICATED, "{error:?}");
    assert!(error.message().contains("UNBLOCKED"), "{error:?}");
}

async fn g6_a_repeat_waits_for_what_was_written_over_another_connection() {
    let pair = Pair::start().await;
    let one = waiting(&pair.url(), "timeout=4s").await;
    let other = waiting(&pair.url(), "timeout=4s").await;
    for backend in [&one, &other] {
        until_ok(|| put(backend, "k", "v")).await;
    }
    pair.signal_replica("STOP").await;
    let append = Append::new("c", vec![Message::user("x").with_id("1")]);
    let appended = |backend: &Backend| {
        let conversations = backend.conversations().unwrap().clone();
        let append = append.clone();
        async move { conversations.append(&scope(), &append).await }
    };
    // Written, and on the primary alone. Who repeats it writes nothing, and finds the same.
    for backend in [&one, &other] {
        let error = appended(backend).await.unwrap_err();
        assert_eq!(facts(&error), UNREPLICATED, "{error:?}");
    }
    for backend in [&one, &other] {
        let error = delete(backend, "k").await.unwrap_err();
        assert_eq!(facts(&error), UNREPLICATED, "{error:?}");
    }
    pair.signal_replica("CONT").await;
    assert!(until_ok(|| appended(&other)).await.replayed);
    assert!(!until_ok(|| delete(&other, "k")).await);
}

async fn g6_rights_to_wait_are_tried_at_connect_and_missed_later() {
    let pair = Pair::local();
    let Pair::Local { primary, .. } = &pair else { panic!("{pair:?}") };
    connect(&primary.url()).await.unwrap();
    primary.command(&["ACL", "SETUSER", "some", "on", ">pw", "~memory:*", "+@all", "-wait"]);
    let url = format!("redis://some:pw@127.0.0.1:{}?replicas=1", primary.port);
    let error = driver().connect(&url.parse().unwrap()).await.unwrap_err();
    assert_eq!(facts(&error), ("permission_denied", false, false), "{error:?}");
    assert!(error.message().contains("WAIT"), "{error:?}");
    primary.command(&["ACL", "SETUSER", "some", "+wait"]);
    let backend = driver().connect(&url.parse().unwrap()).await.unwrap();
    until_ok(|| put(&backend, "k", "v")).await;
    primary.command(&["ACL", "SETUSER", "some", "-wait"]);
    let error = put(&backend, "k", "w").await.unwrap_err();
    assert_eq!(facts(&error), UNREPLICATED, "{error:?}");
    assert!(error.message().contains("wait"), "{error:?}");
}

async fn g6_on_a_cluster_every_write_waits() {
    let cluster = Cluster::start("redis-server", 1, &[]);
    let url = format!("{}?replicas=1", cluster.url());
    let backend = connect(&url).await.unwrap();
    // The keys of the schema, the registry, the scopes and the cache are in slots of their own.
    for node in 0..12 {
        let scope = memquill_core::Scope::new("alice", format!("node {node}")).unwrap();
        let append = Append::new("c", vec![Message::user("x").with_id("1")]);
        let conversations = backend.conversations().unwrap();
        for replayed in [false, true] {
            let appended = conversations.append(&scope, &append).await.unwrap();
            assert_eq!(appended.replayed, replayed);
        }
    }
    assert_eq!(backend.control().erase("alice").await.unwrap().messages, 12);
}

async fn g12_waiting_leaves_nothing_behind() {
    let pair = Pair::local();
    let backend = waiting(&pair.url(), "").await;
    put(&backend, "k", "v").await.unwrap();
    backend.control().erase("alice").await.unwrap();
    let Pair::Local { primary, replica } = &pair else { panic!("{pair:?}") };
    for server in [primary, replica] {
        let keys: Vec<String> = redis::from_redis_value(server.command(&["KEYS", "*"])).unwrap();
        assert_eq!(keys, ["memory:schema"]);
    }
}

async fn e2_a_full_server_with_replicas_still_deletes() {
    let pair = Pair::local();
    let backend = waiting(&pair.url(), "").await;
    put(&backend, "k", "v").await.unwrap();
    let Pair::Local { primary, .. } = &pair else { panic!("{pair:?}") };
    primary.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = put(&backend, "new", "v").await.unwrap_err();
    assert_eq!(facts(&error), ("unavailable", true, false), "{error:?}");
    assert!(delete(&backend, "k").await.unwrap());
    assert!(!delete(&backend, "k").await.unwrap());
}

async fn e2_a_demoted_primary_is_given_up() {
    let pair = Pair::local();
    let Pair::Local { primary, replica } = &pair else { panic!("{pair:?}") };
    let gate: Arc<Gate> = Gate::before(format!("127.0.0.1:{}", primary.port)).await;
    let backend = connect(&format!("redis://{}", gate.address())).await.unwrap();
    put(&backend, "k", "before").await.unwrap();
    until(|| text(replica.command(&["EXISTS", "memory:{alice/bot}:entry:k"])) == "1");
    // What a managed server does: the name leads to the heir, and connections stay with the old one.
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    primary.command(&["REPLICAOF", "127.0.0.1", &replica.port.to_string()]);
    gate.lead_to(format!("127.0.0.1:{}", replica.port));
    let error = put(&backend, "k", "after").await.unwrap_err();
    assert_eq!(facts(&error), ("unavailable", true, false), "{error:?}");
    put(&backend, "k", "after").await.unwrap();
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("after"));
}

async fn g14_health_counts_the_replicas_that_writes_wait_for() {
    let primary = Server::start("redis-server", &["--repl-diskless-sync-delay", "0"]);
    let backend = waiting(&primary.url(), "").await;
    let health = backend.control().health(Duration::from_secs(5)).await;
    assert_eq!(health.status, HealthStatus::Degraded);
    assert!(health.missing[0].contains("0 of 1 replicas"), "{health:?}");
    let port = primary.port.to_string();
    let _replica = Server::start("redis-server", &["--replicaof", "127.0.0.1", &port]);
    until(|| text(primary.command(&["INFO", "replication"])).contains("state=online"));
    let health = backend.control().health(Duration::from_secs(5)).await;
    assert_eq!(health.status, HealthStatus::Healthy, "{health:?}");
}
