//! Windows of a `CONVERSATION_BUFFER` (C7): what a context shows, and what is read for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use memquill_core::kinds::{ConversationBuffer, ConversationBufferConfig};
use memquill_core::{
    Append, Appended, ConversationStatistics, ConversationStore, ConversationSummary,
    HeuristicCounter, ListConversations, Message, Messages, Page, Pop, ReadMessages,
    RestoreMessages, Restored, Result, Scope, StoredMessage, Trim, Truncate,
};
use serde_json::{Value, json};

use crate::support::{backend, conversation, ok, scope, texts};

/// A buffer that evicts nothing.
fn large() -> ConversationBufferConfig {
    ConversationBufferConfig {
        max_messages: 1_000_000,
        max_tokens: 100_000_000,
        ..Default::default()
    }
}

fn buffer(messages: &[Value]) -> ConversationBuffer {
    let buffer = conversation(&backend().0, large());
    for batch in messages.chunks(1_000) {
        ok(&buffer, "store", &json!({"messages": batch}));
    }
    buffer
}

fn said(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

fn calls(ids: &[&str]) -> Value {
    let call = |id: &&str| json!({"id": id, "function": {"name": "f", "arguments": "{}"}});
    json!({"role": "assistant", "content": null, "tool_calls": ids.iter().map(call).collect::<Value>()})
}

fn result(id: &str) -> Value {
    json!({"role": "tool", "content": format!("result {id}"), "tool_call_id": id})
}

/// Shows a context and checks its counts.
fn shown(buffer: &ConversationBuffer, input: &Value, total: usize) -> (Vec<u64>, Value) {
    let answer = ok(buffer, "get_context", input);
    let messages = answer["messages"].as_array().unwrap();
    assert_eq!(answer["message_count"], messages.len());
    assert_eq!(answer["omitted"], total - messages.len(), "{answer}");
    let seqs = messages.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    (seqs, answer)
}

#[test]
fn c7_a_context_holds_calls_with_their_results_or_neither() {
    let messages = [said("user", "?"), calls(&["c1"]), result("c1"), said("assistant", "42!")];
    let buffer = buffer(&messages);
    let context = |max: usize| ok(&buffer, "get_context", &json!({"max_messages": max}));
    assert_eq!(context(1)["context"], "Assistant: 42!");
    assert_eq!(context(3)["context"], "User: ?\nAssistant: 42!");
    let all = "User: ?\nAssistant: [calls f({})]\nTool: result c1\nAssistant: 42!";
    assert_eq!(context(4)["context"], all);
}

#[test]
fn c7_nor_is_the_result_shown_of_a_call_that_was_evicted_or_cleared() {
    let few = ConversationBufferConfig { max_messages: 2, ..ConversationBufferConfig::default() };
    let buffer = conversation(&backend().0, few);
    let store = |messages: Value| ok(&buffer, "store", &json!({"messages": messages}));
    store(json!([calls(&["c1"]), result("c1"), said("assistant", "42!")]));
    assert_eq!(ok(&buffer, "get_context", &json!({}))["context"], "Assistant: 42!");
    ok(&buffer, "clear", &json!({}));
    store(json!([result("c1"), said("assistant", "late")]));
    assert_eq!(ok(&buffer, "get_context", &json!({}))["context"], "Assistant: late");
}

#[test]
fn c7_a_late_result_does_not_empty_the_context() {
    let mut messages = vec![said("user", "Order the parts"), calls(&["order"])];
    for n in 0..12 {
        messages.push(said("user", &format!("Aside {n}?")));
        messages.push(said("assistant", &format!("Aside {n}.")));
    }
    messages.push(result("order"));
    let shown_of = |messages: &[Value]| {
        let buffer = buffer(messages);
        shown(&buffer, &json!({}), messages.len())
    };
    let (seqs, answer) = shown_of(&messages);
    assert_eq!(seqs, [vec![1, 2], (10..=27).collect()].concat(), "with the call and its request");
    assert_eq!(answer["newest_omitted"], false);
    messages.extend([said("assistant", "They come."), said("user", "Good.")]);
    let (seqs, _) = shown_of(&messages);
    assert_eq!(seqs, [(9..=26).collect(), vec![28, 29]].concat(), "only the result is left out");
    // A call far before all that a window looks at.
    messages.splice(2..2, (0..3_000).map(|n| said("user", &n.to_string())));
    messages.truncate(messages.len() - 2);
    let (seqs, answer) = shown_of(&messages);
    assert_eq!((seqs.len(), *seqs.last().unwrap()), (20, messages.len() as u64 - 1));
    assert_eq!(answer["newest_omitted"], true);
}

#[test]
fn c7_system_notes_do_not_crowd_out_what_the_user_said() {
    let turn = |n| ["system", "user", "assistant"].map(|role| said(role, &format!("{role} {n}")));
    let messages: Vec<Value> = (0..25).flat_map(turn).collect();
    let buffer = buffer(&messages);
    let (_, answer) = shown(&buffer, &json!({}), 75);
    let contents = texts(&answer["messages"], "/content");
    assert_eq!(contents[18..], ["user 24", "assistant 24"]);
    assert_eq!((contents.len(), contents[0], contents[17]), (20, "system 7", "system 24"));
    let (_, answer) = shown(&buffer, &json!({"max_messages": 4, "format": "compact"}), 75);
    assert_eq!(answer["context"], "S: system 23 | S: system 24 | U: user 24 | A: assistant 24");
    let (_, answer) = shown(&buffer, &json!({"max_messages": 3, "include_system": false}), 75);
    assert_eq!(
        answer["context"],
        "Assistant: assistant 23\nUser: user 24\nAssistant: assistant 24"
    );
    // All that a first read finds are notes.
    let mut messages = vec![said("user", "q"), said("assistant", "a")];
    messages.extend((0..60).map(|n| said("system", &n.to_string())));
    for (include_system, seqs) in [(true, vec![1, 2, 61, 62]), (false, vec![1, 2])] {
        let input = json!({"max_messages": 4, "include_system": include_system});
        assert_eq!(shown(&self::buffer(&messages), &input, 62).0, seqs);
    }
}

#[test]
fn c7_the_request_that_many_calls_serve_is_shown() {
    for rounds in [30, 700] {
        let mut messages = vec![said("system", "Be brief."), said("user", "Audit it.")];
        for n in 0..rounds {
            messages.extend([calls(&[&n.to_string()]), result(&n.to_string())]);
        }
        let total = messages.len();
        let (seqs, _) = shown(&buffer(&messages), &json!({}), total);
        let newest = total as u64 - 17..=total as u64;
        assert_eq!(seqs, [vec![1, 2], newest.collect()].concat(), "{rounds} rounds");
        messages.push(said("assistant", "Done."));
        let input = json!({"max_messages": 3, "include_system": false});
        let (seqs, _) = shown(&buffer(&messages), &input, total + 1);
        assert_eq!(seqs, [2, total as u64 + 1]);
        let answer = ok(&buffer(&messages), "get_context", &json!({"format": "summary"}));
        assert!(
            answer["context"].as_str().unwrap().ends_with("\nUser: Audit it.\nAssistant: Done.")
        );
        assert_eq!((&answer["message_count"], &answer["omitted"]), (&json!(2), &json!(total - 1)));
    }
}

#[test]
fn c7_a_paste_over_the_budget_hides_no_history_and_is_reported() {
    let paste = "word ".repeat(3_000);
    let mut messages =
        vec![said("system", "Be nice"), said("user", "hi"), said("assistant", "hello")];
    messages.push(said("user", &paste));
    let input = json!({"max_tokens": 500});
    let (_, answer) = shown(&buffer(&messages), &input, 4);
    assert_eq!(answer["context"], "System: Be nice\nUser: hi\nAssistant: hello");
    assert_eq!(answer["newest_omitted"], true);
    // Nor where that is all that a first read finds.
    messages.extend((0..60).map(|_| said("user", &paste)));
    let input = json!({"max_tokens": 500, "max_messages": 10});
    let (seqs, answer) = shown(&buffer(&messages), &input, 64);
    assert_eq!((seqs, &answer["newest_omitted"]), (vec![1, 2, 3], &json!(true)));
}

#[test]
fn c7_a_context_may_start_on_a_user_message() {
    let messages = [
        said("system", "s"),
        said("user", "one"),
        calls(&["1"]),
        result("1"),
        said("assistant", "1"),
        said("user", "two"),
        said("assistant", "2"),
    ];
    let buffer = buffer(&messages);
    let seqs =
        |max: usize| shown(&buffer, &json!({"max_messages": max, "start_on_user": true}), 7).0;
    assert_eq!([seqs(4), seqs(6)], [[1, 6, 7], [1, 6, 7]]);
    assert_eq!(seqs(7), [1, 2, 3, 4, 5, 6, 7]);
}

/// Counts the messages and the requests of reads.
#[derive(Debug)]
struct Counting {
    store: Arc<dyn ConversationStore>,
    messages: AtomicUsize,
    requests: AtomicUsize,
}

#[async_trait]
impl ConversationStore for Counting {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        self.store.append(scope, request).await
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
        let read = self.store.read(scope, request).await?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.messages.fetch_add(read.messages.len(), Ordering::Relaxed);
        Ok(read)
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        self.store.trim(scope, request).await
    }

    async fn truncate(&self, scope: &Scope, request: &Truncate) -> Result<u64> {
        self.store.truncate(scope, request).await
    }

    async fn pop(&self, scope: &Scope, request: &Pop) -> Result<Vec<StoredMessage>> {
        self.store.pop(scope, request).await
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        self.store.clear(scope, conversation).await
    }

    async fn delete(&self, scope: &Scope, conversation: &str) -> Result<bool> {
        self.store.delete(scope, conversation).await
    }

    async fn restore(&self, scope: &Scope, request: &RestoreMessages) -> Result<Restored> {
        self.store.restore(scope, request).await
    }

    async fn statistics(&self, scope: &Scope, name: &str) -> Result<ConversationStatistics> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.store.statistics(scope, name).await
    }

    async fn list(
        &self,
        scope: &Scope,
        request: &ListConversations,
    ) -> Result<Page<ConversationSummary>> {
        self.store.list(scope, request).await
    }
}

#[test]
fn c7_a_window_of_a_long_conversation_reads_little_of_it() {
    // (the conversation, the most messages read, the most requests)
    let turns = |n: usize| (0..n).map(|n| Message::user(n.to_string()));
    let prompt = || [Message::system("prompt")].into_iter();
    let orphan = |_| Message { tool_call_id: Some("x".into()), ..Message::user("") };
    let orphans = (0..20_000).map(orphan).map(|m| Message { role: memquill_core::Role::Tool, ..m });
    let cases: [(Vec<Message>, usize, usize); 6] = [
        (turns(10).collect(), 10, 1),
        (prompt().chain(turns(100)).collect(), 30, 2),
        (prompt().chain(turns(20_000)).collect(), 30, 4),
        (turns(9_000).chain(prompt()).chain(turns(9_000)).collect(), 30, 5),
        (turns(20_000).chain((0..500).map(|_| Message::system("note"))).collect(), 1_000, 7),
        (orphans.collect(), 1_000, 7),
    ];
    for (messages, most, requests) in cases {
        let (backend, _) = backend();
        let store = Arc::new(Counting {
            store: Arc::clone(backend.conversations().unwrap()),
            messages: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        });
        let counter = Arc::new(HeuristicCounter);
        let buffer =
            ConversationBuffer::from_config(scope(), Arc::clone(&store) as _, counter, &large())
                .unwrap();
        let prompts = messages.iter().filter(|m| m.text() == "prompt").count();
        for batch in messages.chunks(1_000) {
            buffer.store(batch.to_vec()).now_or_never().unwrap().unwrap();
        }
        let answer = ok(&buffer, "get_context", &json!({}));
        let read = store.messages.load(Ordering::Relaxed);
        let asked = store.requests.load(Ordering::Relaxed);
        assert!(read <= most && asked <= requests, "{read} messages in {asked} requests");
        let contents = texts(&answer["messages"], "/content");
        assert_eq!(contents.iter().filter(|content| **content == "prompt").count(), prompts);
    }
}
