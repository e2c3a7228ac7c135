//! C11: messages are put back as they were elsewhere.

use memquill_core::{
    ConversationStatistics, ErrorKind, Facet, Lineage, Message, ReadMessages, RestoreMessages,
    Restored, Result, Retention, Role, StoredMessage, Timestamp,
};
use serde_json::json;

use crate::scenario::{Family, Test, scenarios};
use crate::support::{
    Conversation, batch, batch_with_ids, conflict, numbers, object, refused, seqs, together,
};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Example;
    c11: messages_come_back_with_their_numbers_and_times [Restoring];
    c11: what_one_store_gives_another_takes [Restoring];
    c11: a_repeated_restore_changes_nothing [Restoring];
    c11: a_batch_that_is_partly_there_is_completed [Restoring];
    c11: numbering_goes_on_behind_the_last_number [Restoring];
    c11: a_conversation_without_messages_keeps_its_numbering [Restoring];
    c11: the_last_number_never_falls [Restoring];
    c11: statistics_count_what_was_restored [Restoring];
    c11: times_select_what_was_restored [Restoring];
    c11: a_number_of_another_message_is_a_conflict_that_changes_nothing [Restoring];
    c11: every_difference_is_a_conflict [Restoring];
    c11: a_number_whose_message_is_gone_is_a_conflict [Restoring];
    c11: an_id_that_outlived_its_message_is_a_conflict [SafeRetry, Restoring];
    c11: an_id_of_another_message_is_a_conflict_that_changes_nothing [Restoring, SafeRetry];
    c11: a_restored_message_is_known_by_its_id [Restoring, SafeRetry];
    c11: no_retention_is_applied_and_a_later_one_reckons_with_all [Restoring, Retention];
    c11: system_messages_that_stay_leave_holes_behind [Restoring, Retention];
    c11: illegal_restores_are_invalid_input [Restoring];
    c11: concurrent_restores_of_one_batch_write_it_once [Restoring];
    c11: appends_meanwhile_number_behind_or_make_it_a_conflict [Restoring];
}

/// A moment in 2020, a number of seconds after its beginning.
fn then(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_577_836_800_000 + 1_000 * seconds).unwrap()
}

fn stored(seq: u64, message: Message) -> StoredMessage {
    StoredMessage { seq, created_at: then(i64::try_from(seq).unwrap()), message }
}

/// Messages of these numbers, each with its number as its text.
fn messages(numbers: &[u64]) -> Vec<StoredMessage> {
    numbers.iter().map(|&seq| stored(seq, Message::user(seq.to_string()))).collect()
}

async fn try_restore(
    conversation: &Conversation,
    messages: Vec<StoredMessage>,
    last_seq: u64,
) -> Result<Restored> {
    let conversation_name = conversation.name().to_owned();
    let request = RestoreMessages {
        conversation: conversation_name,
        messages,
        last_seq,
        lineage: Lineage::default(),
    };
    conversation.store().restore(conversation.scope(), &request).await
}

/// Restores messages up to the last one's number.
async fn restore(conversation: &Conversation, messages: Vec<StoredMessage>) -> Restored {
    let last_seq = messages.last().unwrap().seq;
    try_restore(conversation, messages, last_seq).await.unwrap()
}

fn rich() -> Message {
    Message {
        id: Some("the id".into()),
        name: Some("the name".into()),
        tool_calls: vec![json!({"id": "call", "function": {"name": "f", "arguments": "{}"}})],
        tool_call_id: Some("another call".into()),
        metadata: object(json!({"z": 1, "a": [null, 1.5, u64::MAX, {"deep": -0.0}]})),
        token_count: Some(7),
        extra: object(json!({"refusal": null, "n": [1, 1.0]})),
        ..Message::assistant("ten thousand 𓀀")
    }
}

async fn messages_come_back_with_their_numbers_and_times(test: Test) {
    let conversation = Conversation::new(&test);
    let silent = Message { content: None, ..Message::assistant("") };
    let image = json!({"type": "image_url", "image_url": {"url": "data:,"}});
    let mut all = vec![
        stored(1, Message::from_parts(Role::User, vec![image]).unwrap()),
        stored(2, Message::system("be kind")),
        stored(3, Message::user("")),
        stored(7, silent),
        stored(8, Message::new(Role::Tool, "42")),
    ];
    if test.has(memquill_core::Feature::SafeRetry) {
        all.push(stored(11, rich()));
    }
    let restored = restore(&conversation, all.clone()).await;
    assert_eq!(restored, Restored { written: all.len() as u64, unchanged: 0 });
    assert_eq!(conversation.read().await, all);
    assert_eq!(conversation.over(&test.connect().await).read().await, all);
}

async fn what_one_store_gives_another_takes(test: Test) {
    let source = Conversation::new(&test);
    source.append(batch("first", 3)).await;
    source.append(batch("second", 2)).await;
    let target = Conversation::new(&test);
    let ConversationStatistics { last_seq, lineage, .. } = source.statistics().await;
    let request = RestoreMessages {
        conversation: target.name().to_owned(),
        messages: source.read().await,
        last_seq,
        lineage,
    };
    target.store().restore(target.scope(), &request).await.unwrap();
    assert_eq!(target.state().await, source.state().await);
}

async fn a_repeated_restore_changes_nothing(test: Test) {
    let conversation = Conversation::new(&test);
    restore(&conversation, messages(&[1, 2, 5])).await;
    let before = conversation.state().await;
    let again = restore(&conversation, messages(&[1, 2, 5])).await;
    assert_eq!(again, Restored { written: 0, unchanged: 3 });
    let part = restore(&conversation, messages(&[2])).await;
    assert_eq!(part, Restored { written: 0, unchanged: 1 });
    assert_eq!(conversation.state().await, before);
}

async fn a_batch_that_is_partly_there_is_completed(test: Test) {
    let conversation = Conversation::new(&test);
    restore(&conversation, messages(&[1, 3])).await;
    let restored = restore(&conversation, messages(&[1, 3, 4, 9])).await;
    assert_eq!(restored, Restored { written: 2, unchanged: 2 });
    assert_eq!(conversation.read().await, messages(&[1, 3, 4, 9]));
}

async fn numbering_goes_on_behind_the_last_number(test: Test) {
    let conversation = Conversation::new(&test);
    try_restore(&conversation, messages(&[4, 5]), 9).await.unwrap();
    assert_eq!(conversation.statistics().await.last_seq, 9);
    assert_eq!(numbers(&conversation.append(batch("x", 2)).await), [10, 11]);
    assert_eq!(conversation.seqs().await, [4, 5, 10, 11]);
}

async fn a_conversation_without_messages_keeps_its_numbering(test: Test) {
    let conversation = Conversation::new(&test);
    let restored = try_restore(&conversation, vec![], 6).await.unwrap();
    assert_eq!(restored, Restored::default());
    let statistics = conversation.statistics().await;
    assert_eq!((statistics.message_count, statistics.last_seq), (0, 6));
    let listed = conversation
        .store()
        .list(conversation.scope(), &memquill_core::ListConversations::default())
        .await
        .unwrap();
    assert_eq!(listed.items.len(), 1, "it is listed, as a cleared one is");
    assert_eq!(numbers(&conversation.append(batch("x", 1)).await), [7]);
}

async fn the_last_number_never_falls(test: Test) {
    let conversation = Conversation::new(&test);
    try_restore(&conversation, messages(&[1]), 9).await.unwrap();
    try_restore(&conversation, messages(&[1]), 1).await.unwrap();
    try_restore(&conversation, vec![], 3).await.unwrap();
    assert_eq!(conversation.statistics().await.last_seq, 9);
}

async fn statistics_count_what_was_restored(test: Test) {
    let conversation = Conversation::new(&test);
    let all = vec![
        stored(1, Message::system("s").with_token_count(5)),
        stored(2, Message::user("u").with_token_count(7)),
        stored(3, Message::user("u").with_token_count(11)),
        stored(4, Message::assistant("a").with_token_count(13)),
        stored(6, Message::new(Role::Tool, "t").with_token_count(17)),
    ];
    let half = all[..2].to_vec();
    restore(&conversation, half).await;
    restore(&conversation, all).await;
    let statistics = conversation.statistics().await;
    assert_eq!(statistics.message_count, 5);
    assert_eq!(statistics.token_count, 53);
    let counts = Role::ALL.map(|role| statistics.count(role));
    assert_eq!(counts, [1, 2, 1, 1]);
    assert_eq!((statistics.oldest, statistics.newest), (Some(then(1)), Some(then(6))));
    assert_eq!(statistics.last_seq, 6);
}

async fn times_select_what_was_restored(test: Test) {
    let conversation = Conversation::new(&test);
    restore(&conversation, messages(&[1, 2, 3, 4])).await;
    conversation.append(batch("now", 1)).await;
    let between = ReadMessages { since: Some(then(2)), until: Some(then(4)), ..Default::default() };
    assert_eq!(seqs(&conversation.read_with(between).await.messages), [2, 3]);
    let newest = ReadMessages { limit: Some(2), ..Default::default() };
    assert_eq!(seqs(&conversation.read_with(newest).await.messages), [4, 5]);
}

async fn a_number_of_another_message_is_a_conflict_that_changes_nothing(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch("mine", 2)).await;
    let before = conversation.state().await;
    let error = conflict(try_restore(&conversation, messages(&[2, 3]), 3).await);
    assert!(error.message().contains('2'), "{error}");
    assert_eq!(conversation.state().await, before);
}

async fn every_difference_is_a_conflict(test: Test) {
    let conversation = Conversation::new(&test);
    let plain = Message { id: None, ..rich() };
    restore(&conversation, vec![stored(1, plain.clone())]).await;
    let before = conversation.state().await;
    let alter: [fn(&mut Message); 9] = [
        |m| m.content = Some("other".into()),
        |m| m.content = None,
        |m| m.role = Role::User,
        |m| m.name = None,
        |m| m.tool_calls.clear(),
        |m| m.tool_call_id = Some("other".into()),
        |m| m.metadata = object(json!({"z": 1, "a": [null, 1.5, u64::MAX, {"deep": 0.0}]})),
        |m| m.token_count = None,
        |m| m.extra = object(json!({"refusal": null, "n": [1, 1]})),
    ];
    for alter in alter {
        let mut other = plain.clone();
        alter(&mut other);
        let shown = format!("{other:?}");
        let answer = try_restore(&conversation, vec![stored(1, other)], 1).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Conflict, "{shown}");
    }
    let later = StoredMessage { created_at: then(2), ..stored(1, plain) };
    conflict(try_restore(&conversation, vec![later], 1).await);
    assert_eq!(conversation.state().await, before);
}

async fn a_number_whose_message_is_gone_is_a_conflict(test: Test) {
    let conversation = Conversation::new(&test);
    restore(&conversation, messages(&[1, 2, 3])).await;
    conversation.clear().await;
    conflict(try_restore(&conversation, messages(&[2]), 3).await);
    // And so is a number that was left out.
    let other = conversation.sibling("other");
    restore(&other, messages(&[1, 3])).await;
    conflict(try_restore(&other, messages(&[2]), 3).await);
    assert_eq!(other.seqs().await, [1, 3]);
}

async fn an_id_that_outlived_its_message_is_a_conflict(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch_with_ids("x", 2)).await;
    conversation.clear().await;
    let twin = stored(3, Message::user("another").with_id("x 0"));
    conflict(try_restore(&conversation, vec![twin], 3).await);
    assert_eq!(conversation.read().await, []);
}

async fn an_id_of_another_message_is_a_conflict_that_changes_nothing(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch_with_ids("x", 1)).await;
    let before = conversation.state().await;
    let twin = stored(3, Message::user("x 0").with_id("x 0"));
    let two = vec![stored(2, Message::user("new")), twin];
    conflict(try_restore(&conversation, two, 3).await);
    assert_eq!(conversation.state().await, before);
}

async fn a_restored_message_is_known_by_its_id(test: Test) {
    let conversation = Conversation::new(&test);
    restore(&conversation, vec![stored(5, rich())]).await;
    let again = conversation.append(vec![rich()]).await;
    assert!(again.replayed);
    assert_eq!((again.messages[0].seq, again.messages[0].created_at), (5, then(5)));
    let other = Message { content: Some("other".into()), ..rich() };
    conflict(conversation.try_append(vec![other]).await);
    assert_eq!(conversation.seqs().await, [5]);
}

async fn no_retention_is_applied_and_a_later_one_reckons_with_all(test: Test) {
    let conversation = Conversation::new(&test);
    let weighted = |seq| stored(seq, Message::user("x").with_token_count(10));
    restore(&conversation, (1..=5).map(weighted).collect()).await;
    assert_eq!(conversation.seqs().await, [1, 2, 3, 4, 5]);
    let new = vec![Message::user("y").with_token_count(10)];
    let appended = conversation.append_keeping(new, Retention::tokens(30)).await;
    assert_eq!(appended.evicted, 3);
    assert_eq!(conversation.seqs().await, [4, 5, 6]);
    assert_eq!(conversation.trim(Retention::messages(1)).await, 2);
    assert_eq!(conversation.statistics().await.token_count, 10);
}

async fn system_messages_that_stay_leave_holes_behind(test: Test) {
    let conversation = Conversation::new(&test);
    let all = vec![
        stored(1, Message::system("one")),
        stored(4, Message::user("four")),
        stored(6, Message::system("six")),
        stored(9, Message::user("nine")),
    ];
    restore(&conversation, all).await;
    let keep = Retention::messages(3).keeping_system();
    let appended = conversation.append_keeping(batch("x", 1), keep).await;
    assert_eq!(appended.evicted, 2);
    assert_eq!(conversation.seqs().await, [1, 6, 10]);
}

async fn illegal_restores_are_invalid_input(test: Test) {
    let conversation = Conversation::new(&test);
    let early = StoredMessage {
        created_at: Timestamp::from_millis(-1).unwrap(),
        ..stored(1, Message::user("x"))
    };
    let twice = |seq| stored(seq, Message::user("x").with_id("id"));
    let too_many: Vec<u64> = (1..=1_001).collect();
    let illegal = [
        (messages(&[2, 1]), 2),
        (messages(&[1, 1]), 1),
        (messages(&[0]), 1),
        (messages(&[3]), 2),
        (messages(&[1]), u64::MAX),
        (vec![], 0),
        (vec![early], 1),
        (vec![twice(1), twice(2)], 2),
        (messages(&too_many), 1_001),
    ];
    for (messages, last_seq) in illegal {
        refused(try_restore(&conversation, messages, last_seq).await, ErrorKind::InvalidInput);
    }
    assert_eq!(conversation.statistics().await.last_seq, 0);
}

async fn concurrent_restores_of_one_batch_write_it_once(test: Test) {
    let conversation = Conversation::new(&test);
    let all: Vec<u64> = (1..=50).collect();
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let conversation = conversation.over(&test.connect().await);
        let all = all.clone();
        tasks.push(async move { restore(&conversation, messages(&all)).await });
    }
    let written: u64 = together(tasks).await.iter().map(|restored| restored.written).sum();
    assert_eq!(written, 50);
    assert_eq!(conversation.read().await, messages(&all));
    assert_eq!(conversation.statistics().await.message_count, 50);
}

async fn appends_meanwhile_number_behind_or_make_it_a_conflict(test: Test) {
    for round in 0..10 {
        let conversation = Conversation::new(&test);
        let appending = conversation.over(&test.connect().await);
        let restoring = conversation.clone();
        let tasks: [std::pin::Pin<Box<dyn Future<Output = bool> + Send>>; 2] = [
            Box::pin(async move { appending.try_append(batch("x", 3)).await.is_ok() }),
            Box::pin(async move {
                match try_restore(&restoring, messages(&[1, 2]), 2).await {
                    Err(error) if error.kind() == ErrorKind::Conflict => false,
                    restored => restored.map(|_| true).unwrap(),
                }
            }),
        ];
        let done = together(tasks).await;
        assert!(done[0], "an append never fails, round {round}");
        let expected: &[u64] = if done[1] { &[1, 2, 3, 4, 5] } else { &[1, 2, 3] };
        assert_eq!(conversation.seqs().await, expected, "round {round}");
    }
}
