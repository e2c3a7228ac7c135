//! What the tracing layer writes: names, sizes and outcomes, and nothing that a user wrote (E3).
#![allow(clippy::unwrap_used, reason = "it is a test: it fails by panicking")]

use std::io::Write;
use std::sync::Arc;

use futures_util::FutureExt as _;
use memquill_core::layer::Trace;
use memquill_core::{Append, Delete, Message, Put, Scope};
use memquill_inmemory::InMemory;
use parking_lot::Mutex;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn e3_spans_name_the_operation_and_its_outcome_and_hold_no_content() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let work = async {
            let backend = InMemory::new().backend().layered(Trace);
            let scope = Scope::new("CANARY-user", "CANARY-node").unwrap();
            let message = Message::user("CANARY-content").with_id("CANARY-id");
            let append = Append::new("chat", vec![message]);
            backend.conversations().unwrap().append(&scope, &append).await.unwrap();
            let working = backend.working().unwrap();
            working.put(&scope, &Put::new("CANARY-key", "CANARY-value")).await.unwrap();
            let delete = Delete { key: "CANARY-key".into(), if_version: Some(u64::MAX) };
            working.delete(&scope, &delete).await.unwrap_err();
        };
        work.now_or_never().unwrap();
    });
    let log = String::from_utf8(log.0.lock().clone()).unwrap();
    for expected in [
        "db.operation.name=\"append\"",
        "db.operation.batch.size=1",
        "db.collection.name=\"chat\"",
        "db.system.name=\"inmemory\"",
        "memory.facet=\"working\"",
        "error.type=\"conflict\"",
    ] {
        assert!(log.contains(expected), "{expected} is not in\n{log}");
    }
    assert!(!log.contains("CANARY"), "{log}");
}
