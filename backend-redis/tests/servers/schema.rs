//! The schema's version: preparing, emptied servers, newer versions, and keys of others (G13, G14).

use std::time::Duration;

use memquill_core::{ErrorKind, HealthStatus, StoreUrl};
use memquill_redis::driver;

use crate::support::cluster::text;
use crate::support::connect;
use crate::{facts, get, put, scope, until_ok};
use testkit::redis::Server;

crate::cases! {
    g13_an_unprepared_or_newer_store_is_a_config_error,
    g13_a_volatile_server_that_restarted_empty_refuses_nobody,
    g13_a_writer_puts_the_schema_of_an_emptied_volatile_server_back,
    g13_a_prefix_of_another_application_is_refused_and_left_alone,
    g13_keys_of_others_are_never_touched,
    g14_an_emptied_store_is_degraded_and_says_what_to_run,
    g14_a_store_of_a_newer_schema_is_degraded,
}

const DURABLE: [&str; 2] = ["--appendonly", "yes"];

async fn g13_an_unprepared_or_newer_store_is_a_config_error() {
    let server = Server::start("redis-server", &DURABLE);
    let url: StoreUrl = server.url().parse().unwrap();
    let error = driver().connect(&url).await.unwrap_err();
    assert_eq!(facts(&error), ("config", false, false), "{error:?}");
    assert!(error.hint().unwrap().contains("memquill migrate"));
    let admin = driver().admin(&url).await.unwrap();
    assert_eq!(admin.purge_expired().await.unwrap_err().code(), "config");
    assert_eq!(admin.migrate().await.unwrap().applied, ["schema 1"]);
    assert_eq!(admin.migrate().await.unwrap().applied, [""; 0]);
    driver().connect(&url).await.unwrap();
    server.command(&["SET", "memory:schema", "3"]);
    for error in [driver().connect(&url).await.unwrap_err(), admin.migrate().await.unwrap_err()] {
        assert_eq!(facts(&error), ("config", false, false), "{error:?}");
        assert!(error.message().contains("schema 3"), "{error:?}");
    }
    assert_eq!(text(server.command(&["GET", "memory:schema"])), "3");
}

async fn g13_a_volatile_server_that_restarted_empty_refuses_nobody() {
    let mut server = Server::start("redis-server", &[]);
    let url: StoreUrl = format!("{}?prefix=app", server.url()).parse().unwrap();
    let old = connect(url.expose()).await.unwrap();
    put(&old, "k", "before").await.unwrap();
    server.kill();
    server.run();
    let new = driver().connect(&url).await.unwrap();
    assert_eq!(get(&new, "k").await.unwrap(), None);
    until_ok(|| put(&old, "k", "after")).await;
    assert_eq!(get(&new, "k").await.unwrap().as_deref(), Some("after"));
    let health = new.control().health(Duration::from_secs(5)).await;
    assert_eq!(health.status, HealthStatus::Healthy, "{health:?}");
    // What a newer version prepared is not taken over.
    server.command(&["SET", "app:schema", "2"]);
    let error = driver().connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert_eq!(text(server.command(&["GET", "app:schema"])), "2");
}

async fn g13_a_writer_puts_the_schema_of_an_emptied_volatile_server_back() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    server.command(&["FLUSHALL"]);
    put(&backend, "k", "v").await.unwrap();
    assert_eq!(text(server.command(&["GET", "memory:schema"])), "1");
    // Others are found to be its own by their form, also without the schema's version.
    server.command(&["DEL", "memory:schema"]);
    let again = driver().connect(&server.url().parse().unwrap()).await.unwrap();
    assert_eq!(get(&again, "k").await.unwrap().as_deref(), Some("v"));
}

async fn g13_a_prefix_of_another_application_is_refused_and_left_alone() {
    for (arguments, taken) in [(&DURABLE[..], "memory:session:7"), (&[], "memory:{u}:cart")] {
        let server = Server::start("redis-server", arguments);
        server.command(&["SET", taken, "theirs"]);
        let url: StoreUrl = server.url().parse().unwrap();
        let admin = driver().admin(&url).await.unwrap();
        let error = admin.migrate().await.unwrap_err();
        assert_eq!(facts(&error), ("config", false, false), "{error:?}");
        assert!(error.message().contains(taken), "{error:?}");
        assert!(error.hint().unwrap().contains("?prefix="), "{error:?}");
        assert_eq!(driver().connect(&url).await.unwrap_err().kind(), ErrorKind::Config);
        let keys: Vec<String> = redis::from_redis_value(server.command(&["KEYS", "*"])).unwrap();
        assert_eq!(keys, [taken]);
        // A prefix is no pattern, and another one is free, also one inside another's.
        for free in ["mem?ry", "m*", "mem", "memory2", "own"] {
            let url = format!("{}?prefix={free}", server.url());
            connect(&url).await.unwrap_or_else(|error| panic!("{free}: {error:?}"));
        }
        connect(&format!("{}?prefix=own:inner", server.url())).await.unwrap();
    }
    for (kind, value) in [("SET", "theirs"), ("LPUSH", "theirs")] {
        let server = Server::start("redis-server", &[]);
        server.command(&[kind, "memory:schema", value]);
        let url: StoreUrl = server.url().parse().unwrap();
        let admin = driver().admin(&url).await.unwrap();
        for error in [admin.migrate().await.unwrap_err(), driver().connect(&url).await.unwrap_err()]
        {
            assert_eq!(facts(&error), ("config", false, false), "{error:?}");
            assert!(error.message().contains("memory:schema"), "{error:?}");
        }
    }
}

async fn g13_keys_of_others_are_never_touched() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    put(&backend, "k", "v").await.unwrap();
    let theirs = ["memory:{alice/bot}:own", "memory:{alice/bot}:entry:not-listed", "memory", "x"];
    for key in theirs {
        server.command(&["SET", key, "theirs"]);
    }
    let admin = driver().admin(&server.url().parse().unwrap()).await.unwrap();
    admin.migrate().await.unwrap();
    admin.purge_expired().await.unwrap();
    backend.working().unwrap().clear(&scope()).await.unwrap();
    backend.control().erase("alice").await.unwrap();
    for key in theirs {
        assert_eq!(text(server.command(&["GET", key])), "theirs", "{key}");
    }
}

async fn g14_an_emptied_store_is_degraded_and_says_what_to_run() {
    for arguments in [&DURABLE[..], &[]] {
        let server = Server::start("redis-server", arguments);
        let backend = connect(&server.url()).await.unwrap();
        put(&backend, "k", "v").await.unwrap();
        server.command(&["FLUSHALL"]);
        let health = backend.control().health(Duration::from_secs(5)).await;
        assert_eq!(health.status, HealthStatus::Degraded, "{health:?}");
        assert!(health.missing[0].contains("memquill migrate"), "{health:?}");
        let admin = driver().admin(&server.url().parse().unwrap()).await.unwrap();
        admin.migrate().await.unwrap();
        let health = backend.control().health(Duration::from_secs(5)).await;
        assert_eq!(health.status, HealthStatus::Healthy, "{health:?}");
    }
}

async fn g14_a_store_of_a_newer_schema_is_degraded() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    server.command(&["SET", "memory:schema", "2"]);
    let health = backend.control().health(Duration::from_secs(5)).await;
    assert_eq!(health.status, HealthStatus::Degraded, "{health:?}");
    assert!(health.missing[0].contains("schema 2"), "{health:?}");
}
