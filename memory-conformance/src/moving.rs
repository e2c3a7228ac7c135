//! Moving between two drivers: what one holds is the same in the other.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use memquill_core::text::Language;
use memquill_core::{
    Append, Backend, DeleteRecords, EmbeddingSpace, Facet, Feature, Message, NewRecord, Put,
    Result, Retention, Role, Scope, Selection, StoreRecords, Trim,
};
use memquill_transfer::{CopyOptions, Endpoint, UserSelection, copy, count, verify};
use serde_json::json;

use crate::support::{batch_with_ids, object};

/// Every item is to be taken.
const STRICT: CopyOptions = CopyOptions { overwrite: false, strict: true };

/// Fills `from` with something of everything, for a user of its own; copies it to `to`, compares
/// the two to the bit, copies it again, which changes nothing, and erases it in both. Facets that
/// the two do not share are left out.
///
/// # Panics
///
/// Where anything is different, or fails.
pub async fn moves(from: &Backend, to: &Backend) {
    let shared: BTreeSet<Facet> =
        from.facets().into_iter().filter(|facet| to.facets().contains(facet)).collect();
    let user = fresh_user();
    for node in ["bot", "it's \"{node}\" %_*:/"] {
        fill(from, &Scope::new(user.as_str(), node).unwrap()).await.unwrap();
    }
    let side = |backend| Endpoint::of(backend).only(&shared).unwrap();
    let (source, target) = (side(from), side(to));
    let whose = UserSelection::User(user.clone());
    let held = count(&source, &whose).await.unwrap();
    assert!(held.total() > 0, "there is something to move");

    let moved = copy(&source, &target, &whose, STRICT, &|_| {}).await.unwrap();
    assert_eq!((moved.read, moved.written), (held, held.total()));
    for (a, b) in [(&source, &target), (&target, &source)] {
        let found = verify(a, b, &whose, &whose, &|_| {}).await.unwrap();
        assert_eq!(found.told, []);
        assert_eq!(found.compared, held);
    }
    let again = copy(&source, &target, &whose, STRICT, &|_| {}).await.unwrap();
    assert_eq!((again.written, again.unchanged), (0, held.total()));
    for backend in [from, to] {
        backend.control().erase(&user).await.unwrap();
    }
}

fn fresh_user() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let moment = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("mover-{:x}-{}", moment.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn fill(backend: &Backend, scope: &Scope) -> Result<()> {
    let has = |feature| backend.capabilities().has(feature);
    if let Ok(conversations) = backend.conversations() {
        let rich = Message {
            name: Some("the name".into()),
            tool_calls: vec![json!({"id": "c", "function": {"name": "f", "arguments": "{}"}})],
            metadata: object(json!({"z": 1, "a": [null, 1.5, u64::MAX, {"deep": -0.0}]})),
            token_count: Some(7),
            extra: object(json!({"refusal": null, "annotations": [{"url": "u"}]})),
            ..Message::assistant("ten thousand 𓀀")
        };
        let silent =
            Message { content: None, tool_calls: vec![json!({})], ..Message::assistant("") };
        let answer = Message { tool_call_id: Some("c".into()), ..Message::new(Role::Tool, "42") };
        let mut messages = vec![Message::system("be kind"), rich, silent, answer];
        if has(Feature::SafeRetry) {
            messages.extend(batch_with_ids("said", 300));
        }
        conversations.append(scope, &Append::new("long", messages)).await?;
        if has(Feature::Retention) {
            let retention = Retention::messages(40).keeping_system();
            conversations.trim(scope, &Trim::new("long", retention)).await?;
        }
        let gone = Append::new("cleared; --", vec![Message::user("gone")]);
        conversations.append(scope, &gone).await?;
        conversations.clear(scope, "cleared; --").await?;
    }
    if let Ok(vectors) = backend.vectors() {
        let ttl = Some(Duration::from_hours(1)).filter(|_| has(Feature::RecordExpiry));
        let rich = NewRecord {
            metadata: object(json!({"n": [u64::MAX, i64::MIN, 1.0, -0.0, null, {"deep": "🙂"}]})),
            language: Some(Language::English),
            document_type: "faq".into(),
            ..NewRecord::new("runners run", vec![-0.0, 1.0e-40, 0.5])
        };
        let expiring =
            NewRecord { ttl, ..NewRecord::new("soon gone", vec![0.1, 0.2, 0.3]).with_id("e/%") };
        let many = (0..250)
            .map(|n: u8| NewRecord::new(format!("number {n}"), vec![f32::from(n), 1.0, -1.0]));
        let space = EmbeddingSpace::new("model's", 3);
        let records = [rich, expiring].into_iter().chain(many).collect();
        let store = StoreRecords { namespace: "notes".into(), space: space.clone(), records };
        vectors.store(scope, &store).await?;
        let records = vec![NewRecord::new("x", vec![1.0, 0.0, 0.0]).with_id("x")];
        let store = StoreRecords { namespace: "empty {}".into(), space, records };
        vectors.store(scope, &store).await?;
        let which = Selection::Ids(vec!["x".into()]);
        vectors.delete(scope, &DeleteRecords { namespace: "empty {}".into(), which }).await?;
    }
    if let Ok(working) = backend.working() {
        let put = Put {
            metadata: object(json!({"m": 1.0})),
            ..Put::new("k:{}*", json!({"v": u64::MAX, "": null}))
        };
        working.put(scope, &put).await?;
        working.put(scope, &put.with_ttl(Duration::from_hours(1))).await?;
        for n in 0..150 {
            working.put(scope, &Put::new(format!("{n}"), n)).await?;
        }
    }
    Ok(())
}
