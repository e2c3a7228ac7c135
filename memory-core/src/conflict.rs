//! What a driver says where a request contradicts what is stored: one wording for all drivers.
//!
//! The rules of restores have theirs on the requests: [`RestoreMessages`](crate::RestoreMessages),
//! [`RestoreRecords`](crate::RestoreRecords), [`RestoreEntries`](crate::RestoreEntries).

use crate::conversation::{Append, MessagePosition};
use crate::embed::EmbeddingSpace;
use crate::error::{Error, Result};
use crate::vector::Rebind;
use crate::working::Increment;

/// The hint of [`other_space`], for a driver whose server words the message.
pub const OTHER_SPACE_HINT: &str = "use the namespace's embedding model or another namespace; \
     `memquill reembed` moves the namespace to another model";

/// The hint of [`counterparts_missing`], for a driver whose server words the message.
pub const COUNTERPARTS_HINT: &str =
    "store them there with their new embeddings, and repeat the call";

/// The hint of [`no_namespace`], for a driver whose server words the message.
pub const NO_NAMESPACE_HINT: &str = "list the namespaces to see which there are";

/// The condition of a put or delete fails: the entry is at `current`, or does not exist (W3).
pub fn stale_version(key: &str, current: Option<u64>) -> Error {
    let state = match current {
        None | Some(0) => "does not exist".to_owned(),
        Some(version) => format!("is at version {version}"),
    };
    Error::conflict(format!("the condition fails: the entry {key:?} {state}"))
        .with_hint("read the entry again and decide by what it holds now")
        .with_current_version(current.unwrap_or(0))
}

/// The value to increment is not an integer from -2^63 to 2^63-1 (W6).
pub fn not_an_integer(request: &Increment) -> Error {
    Error::conflict(format!("the entry {:?} does not hold a 64-bit integer", request.key))
        .with_hint("put an integer there first, or count under another key")
}

/// The sum would be past -2^63 or 2^63-1 (W6).
pub fn counter_overflow(request: &Increment) -> Error {
    Error::conflict(format!(
        "adding {} to the entry {:?} would leave the 64-bit integers",
        request.by, request.key
    ))
    .with_hint("put a number nearer to 0 there first")
}

/// The newest message held has another number than the condition says; 0 where none is held (C14).
pub fn newer_message(conversation: &str, current: u64) -> Error {
    let state = match current {
        0 => "holds no message".to_owned(),
        seq => format!("ends with message {seq}"),
    };
    Error::conflict(format!("the condition fails: the conversation {conversation:?} {state}"))
        .with_hint("read the conversation again and decide by what it holds now")
        .with_context("newest_seq", current.to_string())
}

/// The conversation is of another incarnation or revision than the condition says (C15).
pub fn other_lineage(conversation: &str) -> Error {
    Error::conflict(format!(
        "the condition fails: the conversation {conversation:?} was corrected, or deleted and begun again"
    ))
    .with_hint("read the conversation again and decide by what it holds now")
}

/// An id of a message that is stored, or was, with another body (C3).
pub fn message_id_taken(id: &str) -> Error {
    Error::conflict(format!("the message id {id:?} belongs to a message with another body"))
        .with_hint("give every message an id of its own")
}

/// Some of a batch's messages are stored and others are not (C3).
pub fn batch_partly_known(known: usize, messages: usize) -> Error {
    Error::conflict(format!("{known} of the batch's {messages} messages are stored already"))
        .with_hint("repeat a batch exactly as it was, or send only the messages that are new")
}

/// An embedding of another space than the namespace is bound to (V3).
pub fn other_space(namespace: &str, bound: &EmbeddingSpace, given: &EmbeddingSpace) -> Error {
    Error::conflict(format!(
        "the namespace {namespace:?} holds embeddings of {bound}, not of {given}"
    ))
    .with_hint(OTHER_SPACE_HINT)
}

/// Records of a namespace that is to be rebound have no counterpart (V13).
pub fn counterparts_missing(request: &Rebind, missing: u64) -> Error {
    Error::conflict(format!(
        "{missing} records of the namespace {:?} have no counterpart in {:?}",
        request.namespace, request.from
    ))
    .with_hint(COUNTERPARTS_HINT)
}

/// A namespace that is to be rebound does not exist (V13).
pub fn no_namespace(namespace: &str) -> Error {
    Error::not_found(format!("there is no namespace {namespace:?}")).with_hint(NO_NAMESPACE_HINT)
}

impl Append {
    /// For drivers: where the messages are or were if the batch was stored before, nothing if it is
    /// new (C3). `known` says which body (see [`Message::body_digest`](crate::Message::body_digest))
    /// an id belongs to, and where that message is.
    ///
    /// `Conflict` where an id belongs to another body, or only a part of the batch is known.
    pub fn replay<'a>(
        &self,
        mut known: impl FnMut(&str) -> Option<(&'a str, MessagePosition)>,
    ) -> Result<Option<Vec<MessagePosition>>> {
        let mut replayed = Vec::new();
        for message in &self.messages {
            let Some(id) = &message.id else { continue };
            let Some((digest, numbered)) = known(id) else { continue };
            if message.body_digest() != digest {
                return Err(message_id_taken(id));
            }
            replayed.push(numbered);
        }
        match replayed.len() {
            0 => Ok(None),
            all if all == self.messages.len() => Ok(Some(replayed)),
            some => Err(batch_partly_known(some, self.messages.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Message;
    use crate::time::Timestamp;

    #[test]
    fn c3_a_batch_is_new_or_known_as_a_whole() {
        let stored = Message::user("a").with_id("1");
        let (digest, at) = (stored.body_digest(), Timestamp::default());
        let known = |id: &str| {
            (id == "1").then_some((digest.as_str(), MessagePosition { seq: 7, created_at: at }))
        };
        let replay = |messages| Append::new("c", messages).replay(known);
        assert_eq!(replay(vec![Message::user("a")]).unwrap(), None);
        assert_eq!(replay(vec![Message::user("a").with_id("2")]).unwrap(), None);
        assert_eq!(replay(vec![stored.clone()]).unwrap().unwrap()[0].seq, 7);
        let partly = replay(vec![stored.clone(), Message::user("b")]).unwrap_err();
        assert_eq!(partly.message(), "1 of the batch's 2 messages are stored already");
        // An id that belongs to another body is the graver fault, and is named first.
        let taken = replay(vec![Message::user("b").with_id("1"), Message::user("c")]).unwrap_err();
        assert!(taken.message().contains(r#"the message id "1""#), "{taken}");
    }
}
