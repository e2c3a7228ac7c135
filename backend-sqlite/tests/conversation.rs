//! Conversations on SQLite (contract, section C).
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use memquill_core::{
    Append, ConversationStore, ErrorKind, ListConversations, Message, PageRequest, ReadMessages,
    Retention, Role, Trim,
};
use proptest::prelude::*;
use serde_json::json;
use support::{in_file, in_memory, scope};

async fn read(store: &dyn ConversationStore) -> Vec<(u64, String)> {
    let read = store.read(&scope(), &ReadMessages::all("c")).await.unwrap();
    assert_eq!(read.total, read.messages.len() as u64);
    read.messages.into_iter().map(|m| (m.seq, m.message.text().to_owned())).collect()
}

fn seqs(messages: &[(u64, String)]) -> Vec<u64> {
    messages.iter().map(|(seq, _)| *seq).collect()
}

#[tokio::test]
async fn c1_numbering_goes_on_over_batches_eviction_and_clearing() {
    let (backend, _) = in_memory().await;
    let store = backend.conversations().unwrap();
    let append =
        |n: usize| Append::new("c", (0..n).map(|i| Message::user(i.to_string())).collect());
    assert_eq!(store.append(&scope(), &append(70)).await.unwrap().messages[69].seq, 70);
    assert_eq!(store.clear(&scope(), "c").await.unwrap(), 70);
    let appended =
        store.append(&scope(), &append(3).with_retention(Retention::messages(2))).await.unwrap();
    assert_eq!(appended.messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [71, 72, 73]);
    assert_eq!((appended.evicted, appended.message_count), (1, 2));
    assert_eq!(read(store.as_ref()).await, [(72, "1".into()), (73, "2".into())]);
}

#[tokio::test]
async fn c3_ids_are_known_for_a_thousand_numbers_after_their_message_went() {
    let (backend, _) = in_memory().await;
    let store = backend.conversations().unwrap();
    let first = Append::new("c", vec![Message::user("x").with_id("1")])
        .with_retention(Retention::messages(1));
    let original = store.append(&scope(), &first).await.unwrap();
    let fill = |n| Append::new("c", vec![Message::user("y"); n]);
    store.append(&scope(), &fill(500).with_retention(Retention::messages(1))).await.unwrap();
    store.append(&scope(), &fill(999)).await.unwrap();
    let replay = store.append(&scope(), &first).await.unwrap();
    assert!(replay.replayed);
    assert_eq!(replay.messages, original.messages);
    assert_eq!((replay.evicted, replay.message_count), (0, 1000));

    let other = Append::new("c", vec![Message::user("z").with_id("1")]);
    assert_eq!(store.append(&scope(), &other).await.unwrap_err().kind(), ErrorKind::Conflict);
    let partly = Append::new("c", vec![Message::user("x").with_id("1"), Message::user("x")]);
    assert_eq!(store.append(&scope(), &partly).await.unwrap_err().kind(), ErrorKind::Conflict);
    let statistics = store.statistics(&scope(), "c").await.unwrap();
    assert_eq!((statistics.message_count, statistics.last_seq), (1000, 1500));

    // Past the promise the id is forgotten at some time, so that storage stays bounded.
    store.append(&scope(), &fill(1000)).await.unwrap();
    assert!(!store.append(&scope(), &first).await.unwrap().replayed);
}

#[tokio::test]
async fn c5_messages_come_back_as_they_went_in() {
    let (backend, clock) = in_memory().await;
    let store = backend.conversations().unwrap();
    let message = Message {
        name: Some("f".into()),
        tool_calls: vec![json!({"id": "1", "x": [1, 1.0, -0.0, u64::MAX, null]})],
        metadata: json!({"b": {"a": "🦀"}, "a": 1e-300}).as_object().unwrap().clone(),
        content: None,
        ..Message::assistant("").with_id("id").with_token_count(u32::MAX)
    };
    let answer = Message { tool_call_id: Some("1".into()), ..Message::new(Role::Tool, "") };
    let batch = Append::new("c", vec![message.clone(), answer.clone()]);
    store.append(&scope(), &batch).await.unwrap();
    let read = store.read(&scope(), &ReadMessages::all("c")).await.unwrap();
    assert_eq!(read.messages[0].message, message);
    assert_eq!(read.messages[1].message, answer);
    assert_eq!(read.messages[0].created_at, memquill_core::Clock::now(&*clock));
}

#[tokio::test]
async fn c6_conditions_of_a_read_combine_and_the_limit_applies_last() {
    let (backend, clock) = in_memory().await;
    let store = backend.conversations().unwrap();
    for i in 0..10 {
        let role = if i % 2 == 0 { Role::User } else { Role::Assistant };
        let append = Append::new("c", vec![Message::new(role, "x")]);
        store.append(&scope(), &append).await.unwrap();
        clock.advance(std::time::Duration::from_secs(1));
    }
    let all = store.read(&scope(), &ReadMessages::all("c")).await.unwrap().messages;
    let request = ReadMessages {
        limit: Some(2),
        roles: vec![Role::User, Role::Tool],
        after_seq: Some(1),
        before_seq: Some(9),
        since: Some(all[2].created_at),
        until: Some(all[6].created_at),
        ..ReadMessages::all("c")
    };
    let read = store.read(&scope(), &request).await.unwrap();
    assert_eq!(read.messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(read.total, 10);
    let nothing = ReadMessages { after_seq: Some(u64::MAX), ..ReadMessages::all("c") };
    let read = store.read(&scope(), &nothing).await.unwrap();
    assert_eq!((read.messages.len(), read.total), (0, 10));
}

#[tokio::test]
async fn g11_a_listing_of_conversations_walks_every_one_once() {
    let (backend, _) = in_memory().await;
    let store = backend.conversations().unwrap();
    for i in 0..7 {
        let append = Append::new(format!("c{i}%"), vec![Message::user("x")]);
        store.append(&scope(), &append).await.unwrap();
    }
    let mut request = ListConversations::by_name(PageRequest::first(3));
    let mut names = Vec::new();
    loop {
        let listed = store.list(&scope(), &request).await.unwrap();
        names.extend(listed.items.into_iter().map(|item| item.conversation));
        let Some(next) = listed.next else { break };
        request.page = request.page.after(next);
    }
    assert_eq!(names, (0..7).map(|i| format!("c{i}%")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_many_writers_leave_no_gap_and_no_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    let backends = [in_file(&file).await, in_file(&file).await];
    let tasks: Vec<_> = (0..16)
        .map(|i| {
            let store = backends[i % 2].conversations().unwrap().clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    let append = Append::new("c", vec![Message::user("x"); 3]);
                    let appended = store.append(&scope(), &append).await.unwrap();
                    assert_eq!(appended.messages[2].seq, appended.messages[0].seq + 2);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let messages = read(backends[0].conversations().unwrap().as_ref()).await;
    assert_eq!(seqs(&messages), (1..=480).collect::<Vec<_>>());
}

/// A step on a conversation.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(Role, u32)>, Option<Retention>),
    Trim(Retention),
    Clear,
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![2 => Just(Role::System), 3 => Just(Role::User), 2 => Just(Role::Assistant)]
}

fn retention() -> impl Strategy<Value = Retention> {
    (prop::option::of(1..12_u64), prop::option::of(1..40_u64), any::<bool>()).prop_map(
        |(max_messages, max_tokens, keep_system)| Retention {
            max_messages,
            max_tokens,
            keep_system,
            up_to_seq: None,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let messages = prop::collection::vec((role(), 0..10_u32), 1..6);
    prop_oneof![
        8 => (messages, prop::option::of(retention())).prop_map(|(m, r)| Step::Append(m, r)),
        2 => retention().prop_map(Step::Trim),
        1 => Just(Step::Clear),
    ]
}

/// What the contract's reference keeps.
fn keep(model: &mut Vec<(u64, Role, u32)>, retention: &Retention) -> u64 {
    let before = model.len();
    let kept = retention.keeps(model);
    let mut kept = kept.iter();
    model.retain(|_| *kept.next().unwrap());
    (before - model.len()) as u64
}

async fn follows_the_reference(steps: Vec<Step>) {
    let (backend, _) = in_memory().await;
    let store = backend.conversations().unwrap();
    let mut model: Vec<(u64, Role, u32)> = Vec::new();
    let mut last = 0;
    for step in steps {
        match step {
            Step::Append(messages, retention) => {
                let batch = messages
                    .iter()
                    .map(|(role, tokens)| Message::new(*role, "x").with_token_count(*tokens))
                    .collect();
                let request = Append { retention, ..Append::new("c", batch) };
                let appended = store.append(&scope(), &request).await.unwrap();
                for (role, tokens) in messages {
                    last += 1;
                    model.push((last, role, tokens));
                }
                let evicted = retention.map_or(0, |retention| keep(&mut model, &retention));
                assert_eq!(appended.evicted, evicted);
                assert_eq!(appended.message_count, model.len() as u64);
            }
            Step::Trim(retention) => {
                let trim = Trim::new("c", retention);
                let trimmed = store.trim(&scope(), &trim).await.unwrap();
                assert_eq!(trimmed, keep(&mut model, &retention));
            }
            Step::Clear => {
                let cleared = store.clear(&scope(), "c").await.unwrap();
                assert_eq!(cleared, model.len() as u64);
                model.clear();
            }
        }
        let held = read(store.as_ref()).await;
        assert_eq!(seqs(&held), model.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>());
        let statistics = store.statistics(&scope(), "c").await.unwrap();
        assert_eq!(statistics.last_seq, last);
        assert_eq!(statistics.token_count, model.iter().map(|(.., t)| u64::from(*t)).sum::<u64>());
        for role in Role::ALL {
            let expected = model.iter().filter(|(_, r, _)| *r == role).count() as u64;
            assert_eq!(statistics.count(role), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c4_retention_keeps_what_the_reference_keeps(steps in prop::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follows_the_reference(steps));
    }
}
