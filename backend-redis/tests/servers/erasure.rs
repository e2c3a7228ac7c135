//! An erasure finds everything, whatever goes on at the same time (G12).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memquill_core::{Append, Backend, Message, PageRequest, Put, PutCondition, Scope};

use crate::support::connect;
use crate::{put, scope};
use testkit::redis::Server;

crate::cases! {
    g12_nothing_of_a_user_remains,
    g12_what_is_written_during_an_erasure_is_found_by_the_next,
    w3_no_version_comes_back_after_an_erasure,
}

async fn fill(backend: &Backend, scope: &Scope) {
    let message = Message::user("x").with_id("1");
    let append = Append::new("c}:{", vec![message]);
    backend.conversations().unwrap().append(scope, &append).await.unwrap();
    backend.conversations().unwrap().clear(scope, "c}:{").await.unwrap();
    backend
        .conversations()
        .unwrap()
        .append(scope, &Append::new("d", vec![Message::user("y")]))
        .await
        .unwrap();
    backend.working().unwrap().put(scope, &Put::new("k", 1)).await.unwrap();
}

fn keys(server: &Server) -> Vec<String> {
    redis::from_redis_value(server.command(&["KEYS", "*"])).unwrap()
}

async fn g12_nothing_of_a_user_remains() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    for node in ["a", "b", "{/}", "%"] {
        fill(&backend, &Scope::new("alice", node).unwrap()).await;
    }
    let receipt = backend.control().erase("alice").await.unwrap();
    assert_eq!((receipt.messages, receipt.entries), (4, 4));
    assert_eq!(keys(&server), ["memory:schema"]);
}

async fn g12_what_is_written_during_an_erasure_is_found_by_the_next() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for at in 0..8 {
        // Connections of their own, as other processes have.
        let backend = connect(&server.url()).await.unwrap();
        let over = Arc::clone(&over);
        writers.push(tokio::spawn(async move {
            let scope = Scope::new("alice", format!("node {}", at % 4)).unwrap();
            let mut written = 0;
            while !over.load(Ordering::Relaxed) {
                // An erasure that comes between registration and write each time is an error.
                let put = backend.working().unwrap().put(&scope, &Put::new("k", at)).await;
                assert!(
                    put.as_ref().err().is_none_or(memquill_core::Error::is_transient),
                    "{put:?}"
                );
                written += 1;
            }
            written
        }));
    }
    for _ in 0..200 {
        let (one, two) =
            tokio::join!(backend.control().erase("alice"), backend.control().erase("alice"));
        one.unwrap();
        two.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
    backend.control().erase("alice").await.unwrap();
    assert_eq!(keys(&server), ["memory:schema"]);
    let scopes = backend.control().scopes("alice", &PageRequest::first(10)).await.unwrap();
    assert!(scopes.items.is_empty());
}

async fn w3_no_version_comes_back_after_an_erasure() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    let mut last = 0;
    for _ in 0..3 {
        for _ in 0..3 {
            let version = put(&backend, "k", "v").await.unwrap().version;
            assert!(version > last);
            last = version;
        }
        backend.control().erase("alice").await.unwrap();
    }
    let stale = Put::new("k", 1).with_condition(PutCondition::IfVersion(last));
    let error = backend.working().unwrap().put(&scope(), &stale).await.unwrap_err();
    assert_eq!(error.current_version(), Some(0));
}
