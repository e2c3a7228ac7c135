//! Windows of conversations that are written as words: `s`, `u` and `a` are messages of system, user
//! and assistant, `d` one of a developer, `c:1,2` is an assistant that makes the calls 1 and 2, `t:1` the result of call 1,
//! `c:` a call without an id, and `t:` a result that names no call. `p:1` makes the call 1 in a part
//! and `r:1,2` has the results 1 and 2 in the parts of a user's message, as Anthropic's chats have
//! them; `q:1` says something beside the result. `9u` is a message of 9 tokens,
//! others are of one.

use proptest::prelude::*;
use serde_json::json;

use super::Window;
use crate::conversation::{Message, Role, StoredMessage};
use crate::time::Timestamp;

fn message(word: &str) -> Message {
    let (kind, ids) = word.split_once(':').map_or((word, None), |(kind, ids)| (kind, Some(ids)));
    let kind = kind.trim_start_matches(|c: char| c.is_ascii_digit());
    let tokens = word[..word.find(kind).unwrap()].parse().unwrap_or(1);
    let message = match (kind, ids) {
        ("s", _) => Message::system("s"),
        ("d", _) => Message::from_chat(&json!({"role": "developer", "content": "d"})).unwrap(),
        ("u", _) => Message::user("u"),
        ("a", _) => Message::assistant("a"),
        ("c", Some("")) => {
            Message { tool_calls: vec![json!({"name": "f"})], ..Message::assistant("") }
        }
        ("c", Some(ids)) => Message {
            tool_calls: ids.split(',').map(|id| json!({"id": id})).collect(),
            ..Message::assistant("")
        },
        ("t", Some(id)) => Message {
            tool_call_id: Some(id.to_owned()).filter(|id| !id.is_empty()),
            ..Message::new(Role::Tool, "t")
        },
        ("p", Some(ids)) => {
            let part = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
            Message::from_parts(Role::Assistant, ids.split(',').map(part).collect()).unwrap()
        }
        ("r" | "q", Some(ids)) => {
            let part = |id| json!({"type": "tool_result", "tool_use_id": id, "content": "r"});
            let text = (kind == "q").then(|| json!({"type": "text", "text": "q"}));
            let parts = ids.split(',').map(part).chain(text).collect();
            Message::from_parts(Role::User, parts).unwrap()
        }
        _ => panic!("{word}"),
    };
    message.with_token_count(tokens)
}

fn conversation(words: &str) -> Vec<StoredMessage> {
    (1..)
        .zip(words.split_whitespace())
        .map(|(seq, word)| StoredMessage {
            seq,
            created_at: Timestamp::default(),
            message: message(word),
        })
        .collect()
}

fn tokens(message: &StoredMessage) -> u64 {
    message.message.tokens().into()
}

fn cut(words: &str, window: Window) -> Vec<u64> {
    window.cut(&conversation(words), tokens).iter().map(|m| m.seq).collect()
}

fn messages(max_messages: u64) -> Window {
    Window { max_messages: Some(max_messages), ..Window::default() }
}

fn budget(max_tokens: u64) -> Window {
    Window { max_tokens: Some(max_tokens), ..Window::default() }
}

fn all() -> Window {
    Window::default()
}

#[test]
fn c7_history_is_shown_from_new_to_old() {
    assert_eq!(cut("u a u a u", messages(3)), [3, 4, 5]);
    assert_eq!(cut("u a u a u", all()), [1, 2, 3, 4, 5]);
    assert_eq!(cut("", messages(3)), [0; 0]);
}

#[test]
fn c7_a_call_is_shown_with_all_its_results_or_not_at_all() {
    assert_eq!(cut("u c:1,2 t:1 t:2 u", messages(4)), [2, 3, 4, 5]);
    assert_eq!(cut("u c:1,2 t:1 t:2 u", messages(3)), [5]);
    assert_eq!(cut("u c:1,2 t:1 u a", all()), [1, 4, 5], "a result is missing");
    assert_eq!(cut("u c:1 u a", all()), [1, 3, 4], "the result is missing");
    assert_eq!(cut("u t:1 a u", all()), [1, 3, 4], "the call is missing");
    assert_eq!(cut("u t:1 c:1 u a", all()), [1, 4, 5], "the result is before its call");
    assert_eq!(cut("u c:1 t:2 t:1 a", all()), [1, 2, 4, 5], "one result without a call");
}

#[test]
fn c7_calls_and_results_in_parts_are_calls_and_results() {
    assert_eq!(cut("u p:1,2 r:1,2 a", messages(3)), [1, 4]);
    assert_eq!(cut("u p:1,2 r:1,2 a", messages(4)), [1, 2, 3, 4]);
    assert_eq!(cut("u p:1,2 r:1 u a", all()), [1, 4, 5], "a result is missing");
    assert_eq!(cut("u r:1 a u", all()), [1, 3, 4], "the call is missing");
    assert_eq!(cut("u p:1 r:1,2 a u", all()), [1, 4, 5], "one of two calls is missing");
    assert_eq!(cut("u p:1 t:1 c:2 r:2 a", all()), [1, 2, 3, 4, 5, 6], "forms may mix");
    assert_eq!(cut("u a u p:1", all()), [1, 2, 3, 4], "its results may be on their way");
    assert_eq!(cut("u a p:1 r:1 a p:2 r:2", messages(3)), [1, 6, 7], "results ask for nothing");
    assert_eq!(cut("u a p:1 q:1 a p:2 r:2", messages(4)), [3, 4, 6, 7], "a user speaks beside one");
}

#[test]
fn c7_a_message_with_results_of_two_calls_makes_them_one_unit() {
    assert_eq!(cut("u p:1 a p:2 r:1,2 a", all()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(cut("u p:1 a p:2 r:1,2 a", messages(4)), [1, 3, 6]);
    assert_eq!(cut("u p:1,3 a p:2 r:1,2 a", all()), [1, 3, 6], "a result is missing");
    assert_eq!(cut("u p:1,3 a p:2 r:1,2 r:3 a", all()), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn c7_the_forms_of_the_chat_apis_are_one() {
    let read = |chat: serde_json::Value| Message::from_chat(&chat).unwrap();
    let forms = [
        // The Responses API's, LangChain's, the AI SDK's, and OpenAI's of 2023.
        [
            json!({"role": "assistant", "content": [
                {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}]}),
            json!({"role": "tool", "content": [
                {"type": "function_call_output", "call_id": "1", "output": "42"}]}),
        ],
        [
            json!({"role": "assistant", "content": [{"type": "tool_use", "id": "1"}],
                   "tool_calls": [{"id": "1", "name": "f", "args": {}}]}),
            json!({"role": "tool", "content": "42", "tool_call_id": "1"}),
        ],
        [
            json!({"role": "assistant", "content": [
                {"type": "tool-call", "toolCallId": "1", "toolName": "f", "input": {}}]}),
            json!({"role": "tool", "content": [
                {"type": "tool-result", "toolCallId": "1", "output": {"type": "text"}}]}),
        ],
        [
            json!({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}),
            json!({"role": "function", "name": "f", "content": "42"}),
        ],
    ];
    for [call, result] in forms {
        let all = [Message::user("u"), read(call), read(result), Message::user("u")];
        let shown = |which: &[usize], max: u64| {
            let messages: Vec<StoredMessage> = (1..)
                .zip(which)
                .map(|(seq, &at)| StoredMessage {
                    seq,
                    created_at: Timestamp::default(),
                    message: all[at].clone(),
                })
                .collect();
            let window = Window { max_messages: Some(max), ..Window::default() };
            window.cut(&messages, tokens).iter().map(|m| m.seq).collect::<Vec<_>>()
        };
        assert_eq!(shown(&[0, 1, 2, 3], 4), [1, 2, 3, 4]);
        assert_eq!(shown(&[0, 1, 2, 3], 2), [4]);
        assert_eq!(shown(&[0, 1, 3], 4), [1, 3]);
        assert_eq!(shown(&[0, 2, 3], 4), [1, 3]);
    }
    // What a service runs itself is answered in the same message.
    let searched = read(json!({"role": "assistant", "content": [
        {"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "1", "content": []},
        {"type": "text", "text": "42"}]}));
    let messages: Vec<StoredMessage> = (1..)
        .zip([Message::user("u"), searched, Message::user("u")])
        .map(|(seq, message)| StoredMessage { seq, created_at: Timestamp::default(), message })
        .collect();
    assert_eq!(Window::default().cut(&messages, tokens).len(), 3);
}

#[test]
fn c7_a_late_result_empties_no_window() {
    let words = "u c:long u a u a u a t:long";
    assert_eq!(cut(words, messages(5)), [1, 2, 7, 8, 9], "the newest exchange, then history");
    assert_eq!(cut(words, all()), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(cut(&format!("{words} a u"), messages(5)), [6, 7, 8, 10, 11]);
    let view = "u a u a t:long";
    assert_eq!(cut(view, all()), [1, 2, 3, 4], "the call is out of sight");
}

#[test]
fn c7_ids_may_repeat() {
    assert_eq!(cut("u c:1 t:1 a u c:1 t:1 a", messages(4)), [5, 6, 7, 8]);
    assert_eq!(cut("u c:1 a u c:1 t:1 a", all()), [1, 3, 4, 5, 6, 7], "the nearest call counts");
    assert_eq!(cut("u c:1 t:1 t:1 a", all()), [1, 2, 3, 5], "a call has one result");
    assert_eq!(cut("u c:1,1 t:1 t:1 a", all()), [1, 2, 3, 4, 5]);
    assert_eq!(cut("u c:1,1 t:1 a", all()), [1, 2, 3, 4]);
}

#[test]
fn c7_a_result_that_names_no_call_answers_the_nearest() {
    assert_eq!(cut("u c:1,2 t: a", all()), [1, 2, 3, 4]);
    assert_eq!(cut("u c: t: t: a", all()), [1, 2, 3, 4, 5]);
    assert_eq!(cut("u c: a", all()), [1, 3]);
    assert_eq!(cut("t: u a", all()), [2, 3]);
}

#[test]
fn c7_a_call_that_is_the_newest_message_is_shown() {
    assert_eq!(cut("u a u c:1,2", all()), [1, 2, 3, 4]);
    assert_eq!(cut("u a u c:1,2 t:1", all()), [1, 2, 3]);
    assert_eq!(cut("u c:1 s", all()), [1, 3]);
    assert_eq!(cut("u c:1 s", Window { include_system: false, ..all() }), [1, 2]);
}

#[test]
fn c7_the_newest_exchange_comes_before_the_newest_system_messages() {
    assert_eq!(cut("s u a s u a s u a", messages(4)), [4, 7, 8, 9]);
    assert_eq!(cut("s s s s u a", messages(3)), [4, 5, 6]);
    assert_eq!(cut("u u u s s s", messages(1)), [3]);
    assert_eq!(cut("s u u s u", messages(4)), [1, 3, 4, 5]);
    assert_eq!(cut("s s s s", messages(2)), [3, 4]);
    let without = Window { include_system: false, ..messages(3) };
    assert_eq!(cut("s u u s u", without), [2, 3, 5]);
    assert_eq!(cut("s 7s s 3u a", budget(6)), [1, 3, 4, 5], "a long one hides no other");
}

#[test]
fn c7_a_developers_message_is_a_system_message() {
    assert_eq!(cut("d u a d u a s u a", messages(4)), [4, 7, 8, 9]);
    assert_eq!(cut("d d d d u a", messages(3)), [4, 5, 6]);
    let without = Window { include_system: false, ..messages(3) };
    assert_eq!(cut("d u u d u", without), [2, 3, 5]);
    assert_eq!(cut("d a u a", Window { start_on_user: true, ..all() }), [1, 3, 4]);
}

#[test]
fn c7_the_request_that_calls_serve_stays() {
    let calls = (1..=30).map(|n| format!(" c:{n} t:{n}")).collect::<Vec<_>>().concat();
    let shown = cut(&format!("s u{calls}"), messages(20));
    assert_eq!(shown, [vec![1, 2], (45..=62).collect()].concat());
    let shown = cut(&format!("u a u{calls} a"), messages(8));
    assert_eq!(shown, [3, 58, 59, 60, 61, 62, 63, 64], "the newest groups, whole");
    // So does that of an older exchange.
    assert_eq!(cut("u c:1 t:1 c:2 t:2 a u a", messages(6)), [1, 4, 5, 6, 7, 8]);
    assert_eq!(cut("9u c:1 t:1 c:2 t:2 a u a", budget(7)), [2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn c7_a_message_over_the_budget_evicts_no_history() {
    assert_eq!(cut("s u a 30u", budget(9)), [1, 2, 3]);
    assert_eq!(cut("s u a 30u a u", budget(9)), [1, 2, 3, 5, 6]);
    assert_eq!(cut("u a u c:1 30t:1 a", budget(9)), [1, 2, 3, 6]);
    assert_eq!(cut("u a c:1,2,3 t:1 t:2 t:3 a", messages(3)), [1, 2, 7], "four are over it alone");
    assert_eq!(cut("u 5a u a", budget(6)), [3, 4], "one that would fit alone ends the window");
}

#[test]
fn c7_a_window_may_start_on_a_user_message() {
    let window = |max| Window { start_on_user: true, ..messages(max) };
    assert_eq!(cut("s u c:1 t:1 a u a", window(5)), [1, 6, 7]);
    assert_eq!(cut("s u c:1 t:1 a u a", window(6)), [1, 6, 7]);
    assert_eq!(cut("s u c:1 t:1 a u a", window(7)), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(cut("s a a", window(3)), [1], "there is none");
    assert_eq!(cut("c:1 u t:1 a", window(4)), [2, 4]);
}

#[test]
fn m5_a_budget_of_nothing_shows_nothing() {
    for window in [messages(0), budget(0)] {
        assert_eq!(cut("s u a c:1 t:1", window), [0; 0]);
    }
    assert_eq!(cut("s u a", budget(1)), [3]);
}

fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        2 => Just("s"), 4 => Just("u"), 3 => Just("a"), 1 => Just("9a"), 1 => Just("20u"),
        2 => Just("c:1"), 1 => Just("c:2"), 2 => Just("c:1,2"), 1 => Just("c:1,1"), 1 => Just("c:"),
        3 => Just("t:1"), 2 => Just("t:2"), 1 => Just("t:3"), 1 => Just("t:"), 1 => Just("12t:1"),
    ];
    prop::collection::vec(word, 0..30).prop_map(|words| words.join(" "))
}

fn windows() -> impl Strategy<Value = Window> {
    (prop::option::of(0..12_u64), prop::option::of(0..40_u64), any::<bool>(), any::<bool>())
        .prop_map(|(max_messages, max_tokens, include_system, start_on_user)| Window {
            max_messages,
            max_tokens,
            include_system,
            start_on_user,
        })
}

proptest! {
    #[test]
    fn c7_every_window_keeps_its_promises(words in words(), window in windows()) {
        let messages = conversation(&words);
        let shown = window.cut(&messages, tokens);
        prop_assert!(shown.is_sorted_by(|a, b| a.seq < b.seq));
        prop_assert!(window.max_messages.is_none_or(|max| shown.len() as u64 <= max));
        let total: u64 = shown.iter().map(|m| tokens(m)).sum();
        prop_assert!(window.max_tokens.is_none_or(|max| total <= max));
        // Every call has its results after it, and every result its call before it.
        for (at, stored) in shown.iter().enumerate() {
            let message = &stored.message;
            let (before, after) = (&shown[..at], &shown[at + 1..]);
            let results = after.iter().filter(|m| m.message.role == Role::Tool);
            let answered = |id: &str| results.clone().any(|m| {
                m.message.tool_call_id.as_deref().is_none_or(|answered| answered == id)
            });
            let newest = messages.iter().rfind(|m| {
                window.include_system || m.message.role != Role::System
            });
            for call in &message.tool_calls {
                let id = call.get("id").and_then(|id| id.as_str()).unwrap_or_default();
                prop_assert!(answered(id) || newest == Some(stored), "call {id} of {}", stored.seq);
            }
            if message.role == Role::Tool {
                let id = message.tool_call_id.as_deref();
                let called = before.iter().flat_map(|m| &m.message.tool_calls).any(|call| {
                    id.is_none_or(|id| call.get("id").and_then(|v| v.as_str()) == Some(id))
                });
                prop_assert!(called, "result {}", stored.seq);
            }
        }
        let mut roles = shown.iter().map(|m| m.message.role).filter(|role| *role != Role::System);
        prop_assert!(!window.start_on_user || matches!(roles.next(), None | Some(Role::User)));
        // A message that fits alone is shown.
        let fits = |m: &&StoredMessage| {
            m.message.role == Role::User
                && window.max_messages != Some(0)
                && window.max_tokens.is_none_or(|max| tokens(m) <= max)
        };
        prop_assert!(!messages.iter().any(|m| fits(&m)) || !shown.is_empty() || window.start_on_user);
    }

    /// Where every call with its results fits the smaller window.
    #[test]
    fn c7_a_window_of_more_messages_shows_all_of_a_smaller_one(
        words in words(),
        max in 30_u64..40,
        include_system in any::<bool>(),
    ) {
        let messages = conversation(&format!("{words} {}", "u ".repeat(20)));
        let window = |max| Window { include_system, ..self::messages(max) };
        let smaller = window(max).cut(&messages, tokens);
        let larger = window(max + 1).cut(&messages, tokens);
        prop_assert!(smaller.iter().all(|m| larger.contains(m)));
    }

    /// What is before the window's view changes nothing that it shows, but what it asks for.
    #[test]
    fn c7_a_plan_that_needs_nothing_is_the_same_over_more(words in words(), window in windows()) {
        let messages = conversation(&words);
        for from in 0..messages.len() {
            let plan = window.plan(&messages[from..], tokens);
            let systems_seen = !window.include_system
                || messages[..from].iter().all(|m| m.message.role != Role::System);
            if plan.needs_older || plan.needs_request || !systems_seen {
                continue;
            }
            let seqs = |shown: Vec<&StoredMessage>| shown.iter().map(|m| m.seq).collect::<Vec<_>>();
            prop_assert_eq!(
                seqs(window.cut(&messages[from..], tokens)),
                seqs(window.cut(&messages, tokens)),
                "from {}", from
            );
        }
    }
}
