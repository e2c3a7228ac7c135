//! Each refusal is the right kind of error (section E).

use std::error::Error as _;
use std::time::Duration;

use memquill_core::{Append, HealthStatus, Message, Put, StoreUrl};
use memquill_redis::driver;
use serde_json::Value;

use crate::support::cluster::text;
use crate::support::connect;
use crate::{facts, get, put, scope, until_ok};
use testkit::redis::Server;
use testkit::until;

crate::cases! {
    e2_wrong_credentials_are_denied_and_never_told,
    e2_a_user_without_a_password_is_that_user_or_nobody,
    e2_a_refused_connection_is_unavailable_and_was_not_applied,
    e2_a_killed_server_is_unavailable_until_it_is_back,
    e2_a_stalled_server_is_a_timeout_that_may_have_been_applied,
    e2_a_loading_server_is_unavailable,
    e2_a_full_server_is_unavailable_and_changes_nothing,
    e2_a_replica_is_unavailable_for_writes,
    e2_too_few_replicas_are_an_error_that_was_applied,
    e2_what_another_program_wrote_is_corrupted,
    a_flushed_script_is_sent_again,
}

async fn e2_wrong_credentials_are_denied_and_never_told() {
    let server = Server::start("redis-server", &["--requirepass", "right"]);
    let at = |credentials: &str| format!("redis://{credentials}127.0.0.1:{}", server.port);
    for wrong in [":CANARY@", "default:CANARY@", "nobody:CANARY@", ""] {
        let error = connect(&at(wrong)).await.unwrap_err();
        assert_eq!(facts(&error), ("permission_denied", false, false), "{error:?}");
        let printed = format!("{error} {error:?} {:?}", error.source());
        assert!(!printed.contains("CANARY"), "{printed}");
    }
    assert!(connect(&at(":right@")).await.is_ok());
    assert!(connect(&at("default:right@")).await.is_ok());
}

async fn e2_a_user_without_a_password_is_that_user_or_nobody() {
    let server = Server::start("redis-server", &[]);
    connect(&server.url()).await.unwrap();
    server.command(&["ACL", "SETUSER", "limited", "on", "nopass", "~memory:*", "+@all", "-zadd"]);
    server.command(&["ACL", "SETUSER", "guarded", "on", ">pw", "~memory:*", "+@all"]);
    for (user, why) in [("limited", "ZADD"), ("guarded", "credentials")] {
        for password in ["", ":"] {
            let url = format!("redis://{user}{password}@127.0.0.1:{}", server.port);
            let error = driver().connect(&url.parse().unwrap()).await.unwrap_err();
            assert_eq!(facts(&error), ("permission_denied", false, false), "{error:?}");
            assert!(error.message().contains(why), "{error:?}");
        }
    }
    server.command(&["ACL", "SETUSER", "limited", "+zadd"]);
    let url = format!("redis://limited@127.0.0.1:{}", server.port);
    let backend = driver().connect(&url.parse().unwrap()).await.unwrap();
    put(&backend, "k", "v").await.unwrap();
}

async fn e2_a_refused_connection_is_unavailable_and_was_not_applied() {
    let mut server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    server.kill();
    // The client notices the loss in the background; what is sent before is of unknown outcome.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let error = put(&backend, "k", "v").await.unwrap_err();
    assert_eq!(facts(&error), ("unavailable", true, false), "{error:?}");
    let error = connect(&server.url()).await.unwrap_err();
    assert_eq!(facts(&error), ("unavailable", true, false), "{error:?}");
    let health = backend.control().health(Duration::from_secs(5)).await;
    assert_eq!(health.status, HealthStatus::Unreachable);
}

async fn e2_a_killed_server_is_unavailable_until_it_is_back() {
    let mut server =
        Server::start("redis-server", &["--appendonly", "yes", "--appendfsync", "always"]);
    let backend = connect(&server.url()).await.unwrap();
    let first = put(&backend, "k", "kept").await.unwrap();
    for _ in 0..3 {
        server.kill();
        let error = get(&backend, "k").await.unwrap_err();
        assert_eq!(facts(&error), ("unavailable", true, false), "{error:?}");
        server.run();
        assert_eq!(until_ok(|| get(&backend, "k")).await.as_deref(), Some("kept"));
    }
    let second = until_ok(|| put(&backend, "k", "kept")).await;
    assert!(second.version > first.version);
    assert_eq!(second.created_at, first.created_at);
}

async fn e2_a_stalled_server_is_a_timeout_that_may_have_been_applied() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&format!("{}?timeout=300ms", server.url())).await.unwrap();
    put(&backend, "k", "before").await.unwrap();
    server.signal("STOP");
    let error = put(&backend, "k", "after").await.unwrap_err();
    let health = backend.control().health(Duration::from_millis(200)).await;
    server.signal("CONT");
    assert_eq!(facts(&error), ("timeout", true, true), "{error:?}");
    assert_eq!(health.status, HealthStatus::Unreachable);
    until_ok(|| put(&backend, "k", "again")).await;
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("again"));
}

async fn e2_a_loading_server_is_unavailable() {
    let slow = ["--key-load-delay", "0", "--enable-debug-command", "yes"];
    let mut server = Server::start("redis-server", &slow);
    let backend = connect(&server.url()).await.unwrap();
    server.command(&["DEBUG", "POPULATE", "2000", "filler", "10"]);
    put(&backend, "k", "kept").await.unwrap();
    server.command(&["SAVE"]);
    server.kill();
    server.arguments(&[
        "--key-load-delay",
        "2000",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    server.run();
    let error = loop {
        match get(&backend, "k").await {
            Err(error) if error.message().contains("loading") => break error,
            Err(_) => {}
            Ok(_) => panic!("it had loaded before it was asked"),
        }
    };
    assert_eq!(facts(&error), ("unavailable", true, false), "{error:?}");
    assert_eq!(until_ok(|| get(&backend, "k")).await.as_deref(), Some("kept"));
}

async fn e2_a_full_server_is_unavailable_and_changes_nothing() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    put(&backend, "k", "before").await.unwrap();
    let message = || Append::new("c", vec![Message::user("hello").with_id("1")]);
    let conversations = backend.conversations().unwrap();
    conversations.append(&scope(), &message()).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let more = Append::new("c", vec![Message::user("more").with_id("2")]);
    for error in [
        put(&backend, "k", "after").await.unwrap_err(),
        conversations.append(&scope(), &more).await.unwrap_err(),
    ] {
        assert_eq!(facts(&error), ("unavailable", true, false), "{error:?}");
        assert!(error.hint().unwrap().contains("maxmemory"));
    }
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("before"));
    let counted = conversations.statistics(&scope(), "c").await.unwrap();
    assert_eq!((counted.last_seq, counted.message_count), (1, 1));
    assert!(conversations.append(&scope(), &message()).await.unwrap().replayed);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(conversations.append(&scope(), &more).await.unwrap().messages[0].seq, 2);
}

async fn e2_a_replica_is_unavailable_for_writes() {
    let primary = Server::start("redis-server", &[]);
    let backend = connect(&primary.url()).await.unwrap();
    put(&backend, "k", "v").await.unwrap();
    let replica =
        Server::start("redis-server", &["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    until(|| text(replica.command(&["INFO", "replication"])).contains("master_link_status:up"));
    let url: StoreUrl = replica.url().parse().unwrap();
    let backend = driver().connect(&url).await.unwrap();
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
    let error = put(&backend, "k", "w").await.unwrap_err();
    assert_eq!(facts(&error), ("unavailable", true, false), "{error:?}");
    let health = backend.control().health(Duration::from_secs(5)).await;
    assert_eq!(health.status, HealthStatus::Degraded);
    assert!(health.missing[0].contains("replica"), "{health:?}");
}

async fn e2_too_few_replicas_are_an_error_that_was_applied() {
    let server = Server::start("redis-server", &[]);
    connect(&server.url()).await.unwrap();
    let url = format!("{}?replicas=1&timeout=400ms", server.url());
    let backend = driver().connect(&url.parse().unwrap()).await.unwrap();
    let error = put(&backend, "k", "v").await.unwrap_err();
    assert_eq!(facts(&error), ("unavailable", true, true), "{error:?}");
    let replica =
        Server::start("redis-server", &["--replicaof", "127.0.0.1", &server.port.to_string()]);
    until(|| text(replica.command(&["INFO", "replication"])).contains("master_link_status:up"));
    until_ok(|| put(&backend, "k", "w")).await;
}

async fn e2_what_another_program_wrote_is_corrupted() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    put(&backend, "k", "v").await.unwrap();
    server.command(&["SET", "memory:{alice/bot}:entry:k", "not ours"]);
    let error = get(&backend, "k").await.unwrap_err();
    assert_eq!(facts(&error), ("corrupted", false, false), "{error:?}");
    server.command(&["DEL", "memory:{alice/bot}:entry:k"]);
    server.command(&["RPUSH", "memory:{alice/bot}:entry:k", "not ours"]);
    let error = get(&backend, "k").await.unwrap_err();
    assert_eq!(facts(&error), ("corrupted", false, false), "{error:?}");
}

async fn a_flushed_script_is_sent_again() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    let conversations = backend.conversations().unwrap();
    for seq in 1..4 {
        server.command(&["SCRIPT", "FLUSH"]);
        put(&backend, "k", "v").await.unwrap();
        let append = Append::new("c", vec![Message::user("x")]);
        let appended = conversations.append(&scope(), &append).await.unwrap();
        assert_eq!(appended.messages[0].seq, seq);
    }
    let puts = vec![Put::new("a", Value::Null), Put::new("b", Value::Null)];
    server.command(&["SCRIPT", "FLUSH"]);
    let many = memquill_core::PutMany { entries: puts };
    assert_eq!(backend.working().unwrap().put_many(&scope(), &many).await.unwrap().len(), 2);
}
