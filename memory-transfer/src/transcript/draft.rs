//! A conversation while it is read.

use std::collections::{BTreeSet, HashMap};

use memquill_core::json::Object;
use memquill_core::{Error, Message, Result, Timestamp, content_hash, hex};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Conversation, Form};
use crate::left_out::Omission;

/// Makes the id of a message without one of its own, so that importing it again is a replay (C3).
/// It says the message's position in its conversation, and cannot be met by chance.
pub(super) fn derived_id(conversation: &str, position: usize) -> String {
    let hash = content_hash(&format!("{conversation}\0{position}"));
    format!("import-{position}-{}", &hash[..16])
}

/// Returns whether `id` was derived for a message of `conversation` that had none of its own.
pub fn is_derived_id(conversation: &str, id: &str) -> bool {
    id.strip_prefix("import-")
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(position, _)| position.parse().ok())
        .is_some_and(|position| derived_id(conversation, position) == id)
}

/// What is known of a conversation so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) id: Option<String>,
    pub(super) title: Option<String>,
    pub(super) date: Option<String>,
    pub(super) not_kept: BTreeSet<String>,
    pub(super) set_aside: Vec<String>,
    pub(super) other_branches: Vec<String>,
    /// Why messages were left out.
    left_out: Vec<Error>,
    /// Each with its position in the transcript.
    messages: Vec<(usize, Message)>,
    /// The number of the message that has an id of its own.
    ids: HashMap<String, usize>,
    /// The number of positions so far, messages that were left out counted.
    positions: usize,
    /// What the messages were in the transcript: an id for a conversation without one.
    raw: Sha256,
}

impl Draft {
    pub(super) fn new(id: Option<String>) -> Self {
        Self { id, ..Self::default() }
    }

    /// Adds what a message was in the transcript to what the conversation's id is derived from.
    pub(super) fn digest(&mut self, raw: &Value) {
        self.raw.update(if self.positions == 0 { "[" } else { "," });
        self.raw.update(raw.to_string());
    }

    /// Adds a message that stands at the next position.
    pub(super) fn push(&mut self, message: Message) -> Result<()> {
        message.check()?;
        let number = self.positions + 1;
        if let Some(id) = &message.id {
            if let Some(earlier) = self.ids.get(id) {
                return Err(Error::invalid_input(format!(
                    "it has the id {id:?}, as message {earlier} has"
                ))
                .with_hint("give each message an id of its own, or none"));
            }
            self.ids.insert(id.clone(), number);
        }
        self.messages.push((self.positions, message));
        self.positions += 1;
        Ok(())
    }

    /// Adds a message that was `raw` in a list of the transcript. One that is wrong is left out.
    pub(super) fn push_numbered(
        &mut self,
        raw: Value,
        read: impl FnOnce(Value) -> Result<Message>,
    ) {
        self.digest(&raw);
        let added = read(raw).and_then(|message| self.push(message));
        self.note(added);
    }

    /// Leaves the message of the next position out, where it was not `added`, and keeps why, with
    /// its number.
    pub(super) fn note(&mut self, added: Result<()>) {
        if let Err(error) = added {
            self.leave_out(error.at(format_args!("message {}", self.positions + 1)));
        }
    }

    /// Leaves the message of the next position out, and keeps why.
    pub(super) fn leave_out(&mut self, error: Error) {
        self.skip();
        self.left_out.push(error);
    }

    /// Leaves a position without a message.
    pub(super) fn skip(&mut self) {
        self.positions += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The number of positions so far, messages that were left out counted.
    pub(super) fn positions(&self) -> usize {
        self.positions
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Message> {
        self.messages.last_mut().map(|(_, message)| message)
    }

    /// Notes fields that are not kept.
    pub(super) fn not_kept<'a>(&mut self, fields: impl IntoIterator<Item = &'a str>) {
        self.not_kept.extend(fields.into_iter().map(str::to_owned));
    }

    /// Takes over what another draft has, which stood at `place`.
    pub(super) fn append(&mut self, other: Self, place: &str) {
        self.id = self.id.take().or(other.id);
        self.title = self.title.take().or(other.title);
        self.date = self.date.take().or(other.date);
        self.not_kept.extend(other.not_kept);
        self.set_aside.extend(other.set_aside);
        let left_out = other.left_out.into_iter().map(|error| error.at(place));
        self.left_out.extend(left_out);
        for (_, message) in other.messages {
            let raw = Value::from(message.clone());
            self.push_numbered(raw, |_| Ok(message));
        }
    }

    /// Gives conversation and messages their ids.
    pub(super) fn finish(mut self, form: Form) -> Result<Conversation> {
        if self.messages.is_empty() {
            let count = self.left_out.len();
            if let Some(first) = self.left_out.into_iter().next() {
                return Err(match count {
                    1 => first,
                    _ => first.at(format_args!("none of its {count} messages can be taken")),
                });
            }
            return Err(Error::invalid_input("the conversation has no message")
                .with_hint("take it out of the file"));
        }
        let id = self.id.unwrap_or_else(|| {
            self.raw.update("]");
            format!("import-{}", &hex(&self.raw.finalize())[..32])
        });
        let messages = self
            .messages
            .into_iter()
            .map(|(position, mut message)| {
                message.id.get_or_insert_with(|| derived_id(&id, position));
                message
            })
            .collect();
        Ok(Conversation {
            form,
            id,
            title: self.title,
            date: self.date,
            messages,
            not_kept: self.not_kept,
            set_aside: self.set_aside,
            other_branches: self.other_branches,
            left_out: self.left_out.iter().map(Omission::of).collect(),
        })
    }
}

/// Takes a text out of an object; `null` is none, and anything else an error.
pub(super) fn take_text(object: &mut Object, key: &str) -> Result<Option<String>> {
    match object.shift_remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::invalid_input(format!("{key} is not text"))),
    }
}

/// Takes a list out of an object.
pub(super) fn take_list(object: &mut Object, key: &str) -> Result<Vec<Value>> {
    match object.shift_remove(key) {
        Some(Value::Array(items)) => Ok(items),
        None | Some(Value::Null) => {
            Err(Error::invalid_input(format!("the conversation has no {key}")))
        }
        Some(_) => Err(Error::invalid_input(format!("{key} is not a list"))),
    }
}

/// Takes a time out of an object, as RFC 3339 in UTC; what is no time is none.
pub(super) fn take_time(object: &mut Object, key: &str) -> Option<Value> {
    sent_at(&object.shift_remove(key)?)
}

/// Reads a time as exports have it, a text or a number since 1970.
pub(super) fn sent_at(time: &Value) -> Option<Value> {
    /// The first number that is milliseconds: as seconds it is in the year 5138.
    const MILLISECONDS: f64 = 1.0e11;
    let time = match time {
        // A time without offset is UTC.
        Value::String(text) => text.parse().or_else(|_| format!("{text}Z").parse()).ok()?,
        Value::Number(number) => {
            let number = number.as_f64()?;
            let millis = if number < MILLISECONDS { number * 1000.0 } else { number };
            #[expect(clippy::cast_possible_truncation, reason = "what saturates is no time")]
            Timestamp::from_millis(millis.round() as i64).ok()?
        }
        _ => return None,
    };
    Some(time.to_string().into())
}

/// Keeps a field that the chat form does not know beside the message; one whose name means
/// something else there, or is a slip of such a name, in its metadata.
pub(super) fn keep(message: &mut Message, field: String, value: Value) {
    let probe = json!({"role": "user", "content": "x", &*field: {"as": "it is"}});
    let is_other = Message::from_chat(&probe).is_ok_and(|m| m.extra.contains_key(&field));
    let beside = if is_other { &mut message.extra } else { &mut message.metadata };
    beside.insert(field, value);
}

/// Sets when a message was sent.
pub(super) fn set_sent_at(message: &mut Message, time: Option<Value>) {
    if let Some(time) = time {
        message.metadata.insert("sent_at".into(), time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_is_known_again_and_no_other_passes_for_one() {
        let id = derived_id("dlg-1", 7);
        assert!(is_derived_id("dlg-1", &id));
        assert!(!is_derived_id("dlg-2", &id));
        assert!(!is_derived_id("dlg-1", "import-7"));
        assert!(!is_derived_id("dlg-1", "import-8-0000000000000000"));
    }

    #[test]
    fn times_are_utc_however_they_are_written() {
        let at = json!("2026-11-22T20:31:00.500Z");
        for time in [
            json!("2026-11-22T21:31:00.5+01:00"),
            json!("2026-11-22T20:31:00.500"),
            json!(1_795_379_460.5),
            json!(1_795_379_460_500_u64),
        ] {
            assert_eq!(sent_at(&time).unwrap(), at);
        }
        for wrong in [json!("yesterday"), json!(1e300), json!({}), json!(null)] {
            assert_eq!(sent_at(&wrong), None, "{wrong}");
        }
    }
}
