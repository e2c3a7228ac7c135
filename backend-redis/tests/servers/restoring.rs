//! Restoring where texts differ and what they say does not, and at the ends of what is counted (C11,
//! W9).

use memquill_core::{
    Append, Backend, Entry, ErrorKind, Get, Message, Put, ReadMessages, RestoreEntries,
    RestoreMessages, Restored, Result, Retention, StoredMessage, Timestamp, Trim,
};
use serde_json::{Value, json};

use crate::scope;
use crate::support::connect;
use testkit::redis::Server;

crate::cases! {
    w9_the_order_of_members_is_no_difference,
    w9_an_entry_that_expired_in_1970_is_not_one_that_never_expires,
    c11_the_order_of_members_is_no_difference,
    c4_the_newest_stays_where_numbers_were_restored_past_it,
    c11_numbers_that_cannot_be_kept_exactly_are_refused,
}

const THERE: Restored = Restored { written: 0, unchanged: 1 };

/// The same object twice, its members in another order.
fn twins() -> [Value; 2] {
    [json!({"a": 1, "b": [1.0, null]}), json!({"b": [1.0, null], "a": 1})]
}

async fn w9_the_order_of_members_is_no_difference() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    let working = backend.working().unwrap();
    let [one, other] = twins();
    working.put(&scope(), &Put::new("k", one.clone())).await.unwrap();
    let held = working.get(&scope(), &Get::new("k")).await.unwrap().unwrap();
    let restore = async |value: Value, overwrite| {
        let entries = vec![Entry { value: value.into(), ..held.clone() }];
        working.restore(&scope(), &RestoreEntries { entries, overwrite }).await
    };
    assert_eq!(restore(one, false).await.unwrap(), THERE);
    assert_eq!(restore(other, false).await.unwrap(), THERE);
    let error = restore(json!({"a": 1, "b": [1, null]}), false).await.unwrap_err();
    assert_eq!((error.kind(), error.current_version()), (ErrorKind::Conflict, Some(held.version)));
    let overwritten = restore(json!(2), true).await.unwrap();
    assert_eq!(overwritten, Restored { written: 1, unchanged: 0 });
}

async fn w9_an_entry_that_expired_in_1970_is_not_one_that_never_expires() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    let working = backend.working().unwrap();
    working.put(&scope(), &Put::new("k", 1)).await.unwrap();
    let held = working.get(&scope(), &Get::new("k")).await.unwrap().unwrap();
    let first = Timestamp::from_millis(0).unwrap();
    let entries = vec![Entry { expires_at: Some(first), ..held }];
    working.restore(&scope(), &RestoreEntries { entries, overwrite: true }).await.unwrap();
    assert_eq!(working.get(&scope(), &Get::new("k")).await.unwrap(), None);
}

async fn restore(
    backend: &Backend,
    messages: Vec<StoredMessage>,
    last_seq: u64,
) -> Result<Restored> {
    let request = RestoreMessages {
        conversation: "c".into(),
        messages,
        last_seq,
        lineage: memquill_core::Lineage::default(),
    };
    backend.conversations().unwrap().restore(&scope(), &request).await
}

async fn c11_the_order_of_members_is_no_difference() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    let [one, other] = twins().map(|members| {
        let metadata = members.as_object().unwrap().clone();
        Message { metadata, ..Message::user("x") }
    });
    let append = Append::new("c", vec![one.clone()]);
    let appended = backend.conversations().unwrap().append(&scope(), &append).await.unwrap();
    let created_at = appended.messages[0].created_at;
    for message in [one.clone(), other] {
        let stored = StoredMessage { seq: 1, created_at, message };
        assert_eq!(restore(&backend, vec![stored], 1).await.unwrap(), THERE);
    }
    let differs = StoredMessage { seq: 1, created_at, message: Message::user("x") };
    let error = restore(&backend, vec![differs], 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

async fn c4_the_newest_stays_where_numbers_were_restored_past_it() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    let created_at = Timestamp::from_millis(1_577_836_800_000).unwrap();
    let message = Message::user("x").with_token_count(10);
    let stored = [1, 2].map(|seq| StoredMessage { seq, created_at, message: message.clone() });
    restore(&backend, stored.into(), 9).await.unwrap();
    let conversations = backend.conversations().unwrap();
    let trim = Trim::new("c", Retention::tokens(1));
    for evicted in [1, 0] {
        assert_eq!(conversations.trim(&scope(), &trim).await.unwrap(), evicted);
        let left = conversations.read(&scope(), &ReadMessages::newest("c", 9)).await.unwrap();
        assert_eq!(left.messages.iter().map(|message| message.seq).collect::<Vec<_>>(), [2]);
    }
}

async fn c11_numbers_that_cannot_be_kept_exactly_are_refused() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    let greatest = 1 << 52;
    let error = restore(&backend, vec![], greatest + 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let created_at = Timestamp::from_millis(1_577_836_800_000).unwrap();
    let stored = StoredMessage { seq: greatest, created_at, message: Message::user("x") };
    restore(&backend, vec![stored], greatest).await.unwrap();
    let append = Append::new("c", vec![Message::user("y")]);
    let appended = backend.conversations().unwrap().append(&scope(), &append).await.unwrap();
    assert_eq!(appended.messages[0].seq, greatest + 1);
    let counted = backend.conversations().unwrap().statistics(&scope(), "c").await.unwrap();
    assert_eq!((counted.last_seq, counted.message_count), (greatest + 1, 2));
}
