//! What of a conversation a model is shown (contract, C7).

use serde::{Deserialize, Serialize};

use super::{Role, StoredMessage};

/// How much of a conversation fits a model's context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Window {
    /// At most so many messages.
    pub max_messages: Option<u64>,
    /// At most so many tokens.
    pub max_tokens: Option<u64>,
    /// Whether system messages stay in the window wherever they stand. They count against the
    /// budget first; where they alone exceed it, the earliest that fit stay.
    pub include_system: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self { max_messages: None, max_tokens: None, include_system: true }
    }
}

impl Window {
    /// Whether these are all the messages that a conversation ever had: nothing was evicted or
    /// cleared, since no number is missing.
    pub fn is_complete(messages: &[StoredMessage]) -> bool {
        messages.last().is_none_or(|last| last.seq == messages.len() as u64)
    }

    /// Cuts the window out of `messages`, ascending and without gaps except by eviction.
    ///
    /// The window is a suffix within the budget, and before it the system messages where asked.
    /// It never starts between an assistant's tool call and its results: such results are left
    /// out. `complete` says that nothing of the conversation is missing before `messages`
    /// ([`Window::is_complete`]); where something is, a result whose call is not among them counts as answering an earlier one.
    ///
    /// `tokens` is what a message counts for in the form in which the model will see it.
    pub fn cut<'a>(
        &self,
        messages: &'a [StoredMessage],
        complete: bool,
        tokens: impl Fn(&StoredMessage) -> u64,
    ) -> Vec<&'a StoredMessage> {
        let mut left = (self.max_messages.unwrap_or(u64::MAX), self.max_tokens.unwrap_or(u64::MAX));
        let mut take = |message: &StoredMessage| {
            let cost = tokens(message);
            let fits = left.0 > 0 && cost <= left.1;
            if fits {
                left = (left.0 - 1, left.1 - cost);
            }
            fits
        };
        let is_system = |message: &StoredMessage| message.message.role == Role::System;
        let mut system = Vec::new();
        if self.include_system {
            system.extend(messages.iter().filter(|m| is_system(m)).take_while(|m| take(m)));
        }
        let mut start = messages.len();
        for (at, message) in messages.iter().enumerate().rev() {
            // With the system messages taken first, they cost nothing more here.
            if !(is_system(message) || take(message)) {
                break;
            }
            start = at;
        }
        start = after_open_calls(messages, start, complete);
        let mut window = system;
        window.extend(messages[start..].iter().filter(|message| !is_system(message)));
        window.sort_unstable_by_key(|message| message.seq);
        window
    }
}

/// Moves `start` behind every tool result whose call stands before it.
fn after_open_calls(messages: &[StoredMessage], start: usize, complete: bool) -> usize {
    (start..messages.len()).filter(|&at| messages[at].message.role == Role::Tool).fold(
        start,
        |start, result| match call_of(messages, result) {
            Some(call) if call >= start => start,
            None if complete => start, // there never was such a call
            _ => start.max(result + 1),
        },
    )
}

/// Where the call stands that the tool result at `result` answers: the nearest assistant message
/// before it with a call of that id, or with any call where the result names none.
fn call_of(messages: &[StoredMessage], result: usize) -> Option<usize> {
    let wanted = messages[result].message.tool_call_id.as_deref();
    messages[..result].iter().rposition(|earlier| {
        let calls = &earlier.message.tool_calls;
        match wanted {
            Some(id) => {
                calls.iter().any(|call| call.get("id").and_then(|v| v.as_str()) == Some(id))
            }
            None => !calls.is_empty(),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conversation::Message;
    use crate::time::Timestamp;

    fn conversation(spec: &str) -> Vec<StoredMessage> {
        let mut calls = 0;
        let messages = spec.chars().map(|c| match c {
            's' => Message::system("s"),
            'c' => {
                calls += 1;
                Message {
                    tool_calls: vec![json!({"id": format!("call_{calls}")})],
                    ..Message::assistant("")
                }
            }
            't' => Message {
                tool_call_id: Some(format!("call_{calls}")),
                ..Message::new(Role::Tool, "t")
            },
            _ => Message::user("u"),
        });
        messages
            .zip(1..)
            .map(|(message, seq)| StoredMessage { seq, created_at: Timestamp::default(), message })
            .collect()
    }

    fn cut(spec: &str, window: Window) -> Vec<u64> {
        let messages = conversation(spec);
        window.cut(&messages, true, |_| 1).iter().map(|m| m.seq).collect()
    }

    fn newest(max_messages: u64) -> Window {
        Window { max_messages: Some(max_messages), ..Window::default() }
    }

    #[test]
    fn c7_a_window_never_starts_between_a_call_and_its_results() {
        assert_eq!(cut("ucttu", newest(4)), [2, 3, 4, 5]);
        assert_eq!(cut("ucttu", newest(3)), [5]);
        assert_eq!(cut("ucttu", newest(2)), [5]);
        assert_eq!(cut("ucutu", newest(3)), [5], "a user who interrupts does not hide it");
    }

    #[test]
    fn c7_a_result_whose_call_is_out_of_reach_opens_no_window() {
        let messages = conversation("tu");
        let seqs = |complete| -> Vec<u64> {
            Window::default().cut(&messages, complete, |_| 1).iter().map(|m| m.seq).collect()
        };
        assert_eq!(seqs(false), [2]);
        assert_eq!(seqs(true), [1, 2]);
    }

    #[test]
    fn c7_system_messages_stay_when_asked_and_count_first() {
        assert_eq!(cut("suuuu", newest(3)), [1, 4, 5]);
        assert_eq!(cut("suusu", newest(3)), [1, 4, 5]);
        let without = Window { include_system: false, ..newest(3) };
        assert_eq!(cut("suusu", without), [2, 3, 5]);
        assert_eq!(cut("ssss", newest(2)), [1, 2]);
    }

    #[test]
    fn c7_the_token_budget_is_never_exceeded() {
        let messages = conversation("uuu");
        let window = Window { max_tokens: Some(5), ..Window::default() };
        assert_eq!(window.cut(&messages, true, |_| 2).len(), 2);
        assert_eq!(window.cut(&messages, true, |_| 6).len(), 0);
    }
}
