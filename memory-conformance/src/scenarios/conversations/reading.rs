//! Messages and reading them (C2, C5, C6, C7).

use std::time::Duration;

use memquill_core::{
    Facet, HeuristicCounter, Message, ReadMessages, Role, StoredMessage, Timestamp,
    TokenCounter as _, Window,
};
use serde_json::{Value, json};

use crate::scenario::{Family, Test, scenarios};
use crate::support::{Conversation, batch, batch_with_ids, object, seqs, weighted};

scenarios! {
    facet: Some(Facet::Conversations), family: Family::Example;
    c5: a_chat_transcript_comes_out_unchanged;
    c5: content_in_parts_and_what_clients_dump_come_out_unchanged;
    c5: a_large_image_comes_back;
    c5: developer_and_function_count_as_system_and_tool;
    c5: null_content_and_empty_content_differ;
    c5: the_callers_id_comes_back [SafeRetry];
    c5: a_message_without_a_count_weighs_what_the_heuristic_counts;
    c6: limit_takes_the_newest_and_returns_them_ascending;
    c6: roles_select;
    c6: after_and_before_are_exclusive;
    c6: since_is_inclusive_and_until_exclusive;
    c6: bounds_beyond_every_message_are_legal;
    c6: conditions_combine_and_limit_applies_last;
    c6: a_read_says_how_many_the_conversation_holds;
    c6: without_a_limit_it_is_ten_thousand;
    c6: reading_what_does_not_exist_finds_nothing;
    c7: a_window_over_a_stored_transcript_never_opens_between_call_and_result;
}

fn transcript() -> Vec<Value> {
    let call = |id: &str| {
        json!({"id": id, "type": "function",
               "function": {"name": "get_weather", "arguments": "{\"city\": \"Zürich\"}"}})
    };
    vec![
        json!({"role": "system", "content": "Be brief."}),
        json!({"role": "user", "content": "Weather in Zürich and Bern?", "name": "anna"}),
        json!({"role": "assistant", "content": null, "tool_calls": [call("call_1"), call("call_2")]}),
        json!({"role": "tool", "content": "{\"celsius\": 7}", "tool_call_id": "call_1"}),
        json!({"role": "tool", "content": "", "name": "get_weather", "tool_call_id": "call_2"}),
        json!({"role": "assistant", "content": "7 °C. 🌧️", "metadata": {"model": "m", "cost": 0.1},
               "token_count": 6}),
        json!({"role": "assistant", "content": "Both.", "tool_calls": [call("call_3")]}),
    ]
}

fn messages(transcript: &[Value]) -> Vec<Message> {
    transcript.iter().map(|message| Message::from_chat(message).unwrap()).collect()
}

async fn a_chat_transcript_comes_out_unchanged(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(messages(&transcript())).await;
    let read: Vec<Value> =
        conversation.read().await.into_iter().map(|m| Value::from(m.message)).collect();
    assert_eq!(read, transcript());
}

async fn content_in_parts_and_what_clients_dump_come_out_unchanged(test: Test) {
    let dumped = vec![
        json!({"role": "developer", "content": "Be brief."}),
        json!({"role": "user", "content": [
            {"type": "text", "text": "What is on these?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
            {"type": "file", "file": {"file_id": "f-1"}, "x": [1, 1.0, -0.0, u64::MAX, null]}]}),
        json!({"role": "assistant", "content": [
            {"type": "thinking", "thinking": "a cat", "signature": "c2ln"},
            {"type": "text", "text": "I shall look."},
            {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
            {"type": "tool_use", "id": "t2", "name": "look", "input": {"at": 2}}]}),
        json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "a dog"}]},
            {"type": "tool_result", "tool_use_id": "t1", "content": "a cat", "is_error": false}]}),
        json!({"role": "assistant", "content": "A cat and a dog.", "refusal": null, "annotations": [],
               "audio": null, "function_call": null, "tool_calls": null, "weight": 1}),
        json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function",
               "function": {"name": "f", "arguments": "{}"}}], "reasoning_content": "hm"}),
        json!({"role": "function", "name": "f", "content": "42", "tool_calls": []}),
        json!({"role": "assistant", "content": null, "refusal": "No."}),
        json!({"role": "user", "content": []  , "name": null, "metadata": {}, "note": "x"}),
    ];
    let conversation = Conversation::new(&test);
    conversation.append(messages(&dumped)).await;
    let read = conversation.over(&test.connect().await).read().await;
    let texts: Vec<&str> = read.iter().map(|stored| stored.message.text()).collect();
    assert_eq!(texts[1..3], ["What is on these?", "I shall look."]);
    let read: Vec<Value> = read.into_iter().map(|stored| Value::from(stored.message)).collect();
    assert_eq!(read, dumped);
}

async fn a_large_image_comes_back(test: Test) {
    let conversation = Conversation::new(&test);
    let url = format!("data:image/jpeg;base64,{}", "QUJD".repeat(1 << 20));
    let image = json!({"type": "image_url", "image_url": {"url": url}});
    let text = json!({"type": "text", "text": "A photo of 4 MiB."});
    let photo = Message::from_parts(Role::User, vec![text, image]).unwrap();
    conversation.append(vec![photo.clone()]).await;
    assert!(conversation.read().await[0].message == photo);
}

async fn developer_and_function_count_as_system_and_tool(test: Test) {
    let conversation = Conversation::new(&test);
    let dumped = [
        json!({"role": "developer", "content": "Be brief."}),
        json!({"role": "function", "name": "f", "content": "42"}),
    ];
    conversation.append(messages(&dumped)).await;
    let statistics = conversation.statistics().await;
    assert_eq!((statistics.system_count, statistics.tool_count), (1, 1));
    let read = conversation.read().await;
    assert_eq!(
        [read[0].message.role_name(), read[1].message.role_name()],
        ["developer", "function"]
    );
}

async fn null_content_and_empty_content_differ(test: Test) {
    let conversation = Conversation::new(&test);
    let calls = vec![json!({"id": "call_1"})];
    let null = Message { content: None, tool_calls: calls.clone(), ..Message::assistant("") };
    let empty = Message { tool_calls: calls, ..Message::assistant("") };
    let nothing_found = Message::new(Role::Tool, "");
    conversation.append(vec![null.clone(), empty.clone(), nothing_found.clone()]).await;
    let read: Vec<Message> = conversation.read().await.into_iter().map(|m| m.message).collect();
    assert_eq!(read, [null, empty, nothing_found]);
}

async fn the_callers_id_comes_back(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch_with_ids("a", 2)).await;
    let read: Vec<Message> = conversation.read().await.into_iter().map(|m| m.message).collect();
    assert_eq!(read, batch_with_ids("a", 2));
}

async fn a_message_without_a_count_weighs_what_the_heuristic_counts(test: Test) {
    let conversation = Conversation::new(&test);
    let transcript = messages(&transcript());
    let appended = conversation.append(transcript.clone()).await;
    let expected: u64 = transcript
        .iter()
        .map(|m| m.token_count.unwrap_or_else(|| HeuristicCounter.count_message(m)))
        .map(u64::from)
        .sum();
    assert_eq!(appended.token_count, expected);
    assert_eq!(conversation.statistics().await.token_count, expected);
    let read = conversation.read().await;
    assert_eq!(read[0].message.token_count, None, "the count is not written into the message");
}

async fn limit_takes_the_newest_and_returns_them_ascending(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch("x", 10)).await;
    for (limit, first) in [(1, 10), (3, 8), (10, 1), (11, 1), (10_000, 1)] {
        let read = conversation.read_with(ReadMessages::newest("", limit)).await;
        assert_eq!(seqs(&read.messages), (first..=10).collect::<Vec<_>>(), "limit {limit}");
    }
}

async fn roles_select(test: Test) {
    let conversation = Conversation::new(&test);
    let roles = [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User];
    conversation.append(weighted(&roles.map(|role| (role, 1)))).await;
    let read = async |roles: &[Role]| {
        let request = ReadMessages { roles: roles.to_vec(), ..ReadMessages::default() };
        seqs(&conversation.read_with(request).await.messages)
    };
    assert_eq!(read(&[Role::User]).await, [2, 5]);
    assert_eq!(read(&[Role::Tool, Role::System]).await, [1, 4]);
    assert_eq!(read(&[Role::Tool, Role::Tool]).await, [4]);
    assert_eq!(read(&Role::ALL).await, [1, 2, 3, 4, 5]);
    assert_eq!(read(&[]).await, [1, 2, 3, 4, 5]);
}

async fn after_and_before_are_exclusive(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch("x", 6)).await;
    let read = async |after_seq, before_seq| {
        let request = ReadMessages { after_seq, before_seq, ..ReadMessages::default() };
        seqs(&conversation.read_with(request).await.messages)
    };
    assert_eq!(read(Some(4), None).await, [5, 6]);
    assert_eq!(read(None, Some(3)).await, [1, 2]);
    assert_eq!(read(Some(2), Some(5)).await, [3, 4]);
    assert!(read(Some(3), Some(4)).await.is_empty());
    assert!(read(Some(5), Some(2)).await.is_empty());
    assert_eq!(read(Some(0), Some(7)).await, [1, 2, 3, 4, 5, 6]);
}

/// Appends three pairs of messages, each pair at a time of its own.
async fn pairs(test: &Test) -> (Conversation, Vec<StoredMessage>) {
    let conversation = Conversation::new(test);
    for pair in 0..3 {
        if pair > 0 {
            test.pass(Duration::from_millis(20)).await;
        }
        conversation.append(vec![Message::user("question"), Message::assistant("answer")]).await;
    }
    let read = conversation.read().await;
    (conversation, read)
}

async fn since_is_inclusive_and_until_exclusive(test: Test) {
    let (conversation, all) = pairs(&test).await;
    let read = async |since, until| {
        let request = ReadMessages { since, until, ..ReadMessages::default() };
        seqs(&conversation.read_with(request).await.messages)
    };
    let times = [all[0].created_at, all[2].created_at, all[4].created_at];
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    assert_eq!(read(Some(times[1]), None).await, [3, 4, 5, 6]);
    assert_eq!(read(None, Some(times[1])).await, [1, 2]);
    assert_eq!(read(Some(times[0]), Some(times[2])).await, [1, 2, 3, 4]);
    assert!(read(Some(times[1]), Some(times[1])).await.is_empty());
    let moment_later = times[1].saturating_add(Duration::from_millis(1));
    assert_eq!(read(Some(moment_later), None).await, [5, 6]);
    assert_eq!(read(Some(times[1]), Some(moment_later)).await, [3, 4]);
}

async fn bounds_beyond_every_message_are_legal(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch("x", 2)).await;
    let all = ReadMessages::default();
    let (everything, nothing) = (vec![1, 2], vec![]);
    for (request, expected) in [
        (ReadMessages { after_seq: Some(u64::MAX), ..all.clone() }, &nothing),
        (ReadMessages { after_seq: Some(1 << 63), ..all.clone() }, &nothing),
        (ReadMessages { before_seq: Some(0), ..all.clone() }, &nothing),
        (ReadMessages { before_seq: Some(1), ..all.clone() }, &nothing),
        (ReadMessages { before_seq: Some(u64::MAX), ..all.clone() }, &everything),
        (ReadMessages { since: Some(Timestamp::MAX), ..all.clone() }, &nothing),
        (ReadMessages { since: Some(Timestamp::MIN), ..all.clone() }, &everything),
        (ReadMessages { until: Some(Timestamp::MIN), ..all.clone() }, &nothing),
        (ReadMessages { until: Some(Timestamp::MAX), ..all.clone() }, &everything),
    ] {
        let read = conversation.read_with(request.clone()).await;
        assert_eq!(seqs(&read.messages), *expected, "{request:?}");
        assert_eq!(read.total, 2);
    }
}

async fn conditions_combine_and_limit_applies_last(test: Test) {
    let (conversation, all) = pairs(&test).await;
    for limit in [None, Some(1), Some(2)] {
        for roles in [vec![], vec![Role::User], vec![Role::System, Role::Assistant]] {
            for given in 0..16 {
                let request = ReadMessages {
                    limit,
                    roles: roles.clone(),
                    after_seq: (given & 1 != 0).then_some(2),
                    before_seq: (given & 2 != 0).then_some(6),
                    since: (given & 4 != 0).then_some(all[2].created_at),
                    until: (given & 8 != 0).then_some(all[4].created_at),
                    ..ReadMessages::default()
                };
                let mut expected: Vec<_> =
                    all.iter().filter(|m| request.matches(m)).cloned().collect();
                let surplus = expected.len().saturating_sub(limit.unwrap_or(10_000));
                expected.drain(..surplus);
                let read = conversation.read_with(request.clone()).await;
                assert_eq!(read.messages, expected, "{request:?}");
            }
        }
    }
}

async fn a_read_says_how_many_the_conversation_holds(test: Test) {
    let conversation = Conversation::new(&test);
    conversation.append(batch("x", 5)).await;
    let only_tools = ReadMessages { roles: vec![Role::Tool], ..ReadMessages::default() };
    for request in [ReadMessages::default(), ReadMessages::newest("", 2), only_tools] {
        assert_eq!(conversation.read_with(request).await.total, 5);
    }
    conversation.clear().await;
    assert_eq!(conversation.read_with(ReadMessages::default()).await.total, 0);
}

async fn without_a_limit_it_is_ten_thousand(test: Test) {
    let conversation = Conversation::new(&test);
    let limits = test.backend().capabilities().limits;
    let wanted = limits.page_items as u64;
    let mut stored = 0;
    while stored <= wanted {
        stored = conversation.append(batch("x", limits.batch_items)).await.message_count;
    }
    let read = conversation.read_with(ReadMessages::default()).await;
    assert_eq!(seqs(&read.messages), (stored - wanted + 1..=stored).collect::<Vec<_>>());
    assert_eq!(read.total, stored);
}

async fn reading_what_does_not_exist_finds_nothing(test: Test) {
    let conversation = Conversation::new(&test);
    for request in [ReadMessages::default(), ReadMessages::newest("", 1)] {
        let read = conversation.read_with(request).await;
        assert_eq!((read.messages, read.total), (vec![], 0));
    }
}

async fn a_window_over_a_stored_transcript_never_opens_between_call_and_result(test: Test) {
    let conversation = Conversation::new(&test);
    let mut transcript = messages(&transcript());
    transcript.push(Message {
        tool_call_id: Some("call_3".into()),
        metadata: object(json!({"ok": true})),
        ..Message::new(Role::Tool, "Bern: 5 °C")
    });
    conversation.append(transcript).await;
    let read = conversation.read().await;
    let windows = |max_messages| {
        let window = Window { max_messages: Some(max_messages), ..Window::default() };
        window.cut(&read, |m| u64::from(m.message.tokens())).iter().map(|m| m.seq).collect()
    };
    let cut: [Vec<u64>; 6] = [1, 2, 3, 4, 7, 8].map(windows);
    let expected: [&[u64]; 6] =
        [&[6], &[7, 8], &[2, 7, 8], &[1, 2, 7, 8], &[1, 2, 6, 7, 8], &[1, 2, 3, 4, 5, 6, 7, 8]];
    assert_eq!(cut, expected);
}
