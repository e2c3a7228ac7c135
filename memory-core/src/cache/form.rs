//! What is kept, and its form in a shared cache.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::conversation::{Message, Messages, StoredMessage};
use crate::json::{self, Object};
use crate::time::Timestamp;
use crate::working::{Entry, WorkingValue};

/// What is kept of an item.
#[derive(Debug, Clone)]
pub(super) enum CacheEntry {
    Entry(Entry),
    Window(Window),
}

/// The newest messages of a conversation.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Ascending by number.
    pub(super) messages: Vec<StoredMessage>,
    /// How many the conversation holds.
    pub(super) total: u64,
    /// How many were asked for.
    pub(super) asked: usize,
}

impl Window {
    /// The newest `limit` messages, where they are all here.
    pub(super) fn newest(&self, limit: usize) -> Option<Messages> {
        let whole = self.messages.len() as u64 == self.total;
        (whole || limit <= self.asked).then(|| {
            let from = self.messages.len().saturating_sub(limit);
            Messages { messages: self.messages[from..].to_vec(), total: self.total }
        })
    }
}

#[derive(Serialize, Deserialize)]
enum Form {
    Entry(Entry),
    Window { messages: Vec<(u64, Timestamp, Message)>, total: u64, asked: usize },
}

impl CacheEntry {
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let form = match self.clone() {
            Self::Entry(entry) => Form::Entry(entry),
            Self::Window(Window { messages, total, asked }) => {
                let messages = messages.into_iter().map(|m| (m.seq, m.created_at, m.message));
                Form::Window { messages: messages.collect(), total, asked }
            }
        };
        serde_json::to_vec(&form).ok()
    }

    /// Nothing where it is not understood, as what another version kept, or nests too deep in its
    /// form.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(match json::parse(std::str::from_utf8(bytes).ok()?).ok()? {
            Form::Entry(entry) => Self::Entry(entry),
            Form::Window { messages, total, asked } => {
                let messages = messages
                    .into_iter()
                    .map(|(seq, created_at, message)| StoredMessage { seq, created_at, message });
                Self::Window(Window { messages: messages.collect(), total, asked })
            }
        })
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => {
                let value = match &entry.value {
                    WorkingValue::Json(value) => of(value),
                    WorkingValue::Bytes(bytes) => bytes.len(),
                };
                256 + 2 * entry.key.len() + value + all(&entry.metadata)
            }
            Self::Window(window) => 256 + window.messages.iter().map(message).sum::<usize>(),
        }
    }
}

fn message(stored: &StoredMessage) -> usize {
    let message = &stored.message;
    let texts = [&message.id, &message.content, &message.name, &message.tool_call_id];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    size_of::<StoredMessage>()
        + texts
        + message.tool_calls.iter().map(of).sum::<usize>()
        + all(&message.metadata)
        + all(&message.extra)
}

fn all(object: &Object) -> usize {
    object.iter().map(|(key, value)| 48 + key.len() + of(value)).sum()
}

fn of(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(of).sum(),
            Value::Object(object) => all(object),
        }
}
