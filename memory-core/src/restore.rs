//! Putting back what was read elsewhere, with its numbers, times and versions (contract: C11, V14,
//! W9).
//!
//! What is there already and identical stays as it is, so that a restore can be repeated. What is
//! there and differs is `Conflict`: the functions here say which, the same on every driver.

use serde::{Deserialize, Serialize};

use crate::conflict::{message_id_taken, other_lineage};
use crate::conversation::StoredMessage;
use crate::embed::EmbeddingSpace;
use crate::error::{Error, Result};
use crate::json::identical_objects;
use crate::vector::{Record, same_bits};
use crate::working::Entry;

/// The highest number of a message and version of an entry that can be restored, so that as many can
/// follow on a store that counts in doubles (C11, W9).
pub const MAX_RESTORED: u64 = 1 << 52;

/// The result of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Restored {
    /// Items that were not there, or took the place of others.
    pub written: u64,
    /// Items that were there already, identical.
    pub unchanged: u64,
}

impl Restored {
    /// Of `all` items `written` were written, the others were there.
    pub fn of(all: usize, written: usize) -> Self {
        Self { written: written as u64, unchanged: all.saturating_sub(written) as u64 }
    }
}

/// Writes messages back after those that a conversation holds (C11).
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreMessages {
    /// The conversation.
    pub conversation: String,
    /// Up to 1,000 messages, ascending by `seq`; ids, where given, differ from each other.
    pub messages: Vec<StoredMessage>,
    /// The last number given so far where they come from, evicted and cleared ones counted: at
    /// least that of the last message, and at least 1.
    pub last_seq: u64,
    /// Which conversation it was there (C15); a conversation that begins here takes it over.
    pub lineage: Lineage,
}

/// Which conversation of its name one is, and how far summaries of it hold (C15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lineage {
    /// What tells it from others of its name, before and after a deletion: a random number from 1
    /// to 2^52; 0 where it is not known.
    pub incarnation: u64,
    /// How often messages were removed other than by retention.
    pub revision: u64,
    /// The greatest [`Retention::up_to_seq`](crate::Retention::up_to_seq) that was applied, as far
    /// as nothing up to it was removed since other than by retention.
    pub summarized_through: u64,
}

impl Lineage {
    /// Whether both are of one incarnation and revision.
    pub fn is_same(self, other: Self) -> bool {
        (self.incarnation, self.revision) == (other.incarnation, other.revision)
    }

    /// Whether what was derived from the messages up to the number `through`, while the lineage was
    /// this, holds of a conversation whose lineage is now `now` (C15).
    pub fn holds(self, through: u64, now: Self) -> bool {
        self.is_same(now)
            || (self.incarnation == now.incarnation && through <= now.summarized_through)
    }

    /// For drivers: refuses a request whose condition on the lineage fails.
    pub fn check(self, conversation: &str, wanted: Option<Self>) -> Result<()> {
        match wanted {
            Some(wanted) if !wanted.is_same(self) => Err(other_lineage(conversation)),
            _ => Ok(()),
        }
    }

    /// For drivers: the lineage of a conversation that begins, of this random number.
    pub fn begun(random: u64) -> Self {
        Self { incarnation: random % MAX_RESTORED + 1, ..Self::default() }
    }

    /// For drivers: the lineage after a restore (C11). It is another conversation's where the
    /// incarnations differ, and then stays.
    #[must_use]
    pub fn joined(self, restored: Self) -> Self {
        if self.incarnation != restored.incarnation {
            return self;
        }
        Self {
            incarnation: self.incarnation,
            revision: self.revision.max(restored.revision),
            summarized_through: self.summarized_through.max(restored.summarized_through),
        }
    }

    /// For drivers: the lineage after a removal of all messages behind `seq`.
    #[must_use]
    pub fn truncated(self, seq: u64) -> Self {
        Self {
            revision: self.revision + 1,
            summarized_through: self.summarized_through.min(seq),
            ..self
        }
    }
}

impl RestoreMessages {
    /// For drivers: the messages that are to be written where `last_seq` is the last number given
    /// and `held` are the messages held, ascending, of the numbers that the request names.
    /// `Conflict` where another message has or had one of the numbers.
    pub fn missing(&self, last_seq: u64, held: &[StoredMessage]) -> Result<&[StoredMessage]> {
        let known = self.messages.partition_point(|message| message.seq <= last_seq);
        let (known, missing) = self.messages.split_at(known);
        for message in known {
            let at = held.binary_search_by_key(&message.seq, |held| held.seq);
            if !at.is_ok_and(|at| held[at].is_identical(message)) {
                return Err(self.number_taken(message.seq));
            }
        }
        Ok(missing)
    }

    /// For drivers: the `Conflict` of a number that was given to another message.
    pub fn number_taken(&self, seq: u64) -> Error {
        Error::conflict(format!(
            "the number {seq} of the conversation {:?} was given to another message",
            self.conversation
        ))
        .with_hint("restore into a scope of its own, or erase what was written there since")
    }

    /// For drivers: the `Conflict` of an id that another message has.
    pub fn id_taken(&self, id: &str) -> Error {
        message_id_taken(id)
            .with_hint("restore into a scope of its own, or erase what was written there since")
    }
}

/// Writes records back (V14).
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreRecords {
    /// The namespace; it is bound to `space` even without a record.
    pub namespace: String,
    /// The space of the embeddings.
    pub space: EmbeddingSpace,
    /// Up to 1,000 records of ids that differ, each with its embedding and the hash of its content.
    pub records: Vec<Record>,
    /// Whether they replace stored items that differ.
    pub overwrite: bool,
}

impl RestoreRecords {
    /// For drivers: returns whether to write `record` where `held` is stored under its id.
    /// `Conflict` where that differs and is not to be overwritten.
    pub fn must_write(&self, record: &Record, held: Option<&Record>) -> Result<bool> {
        let Some(held) = held else { return Ok(true) };
        let same = held.is_identical(record);
        if same || self.overwrite { Ok(!same) } else { Err(self.differs(&record.id)) }
    }

    /// For drivers: the `Conflict` of a record that is there and differs.
    pub fn differs(&self, id: &str) -> Error {
        Error::conflict(format!(
            "the record {id:?} of the namespace {:?} is stored already and differs",
            self.namespace
        ))
        .with_hint("overwrite it, or restore into a scope of its own")
    }
}

/// Writes entries back at the versions that they had (W9).
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreEntries {
    /// 1 to 1,000 entries of keys that differ.
    pub entries: Vec<Entry>,
    /// Whether they take the place of what stands there and differs.
    pub overwrite: bool,
}

impl RestoreEntries {
    /// For drivers: returns whether to write `entry` where `held` is stored under its key.
    /// `Conflict` where that differs and is not to be overwritten.
    pub fn must_write(&self, entry: &Entry, held: Option<&Entry>) -> Result<bool> {
        let Some(held) = held else { return Ok(true) };
        let same = held.is_identical(entry);
        if same || self.overwrite { Ok(!same) } else { Err(Self::differs(held)) }
    }

    /// For drivers: the `Conflict` of an entry that is there and differs.
    pub fn differs(held: &Entry) -> Error {
        Error::conflict(format!("the entry {:?} is stored already and differs", held.key))
            .with_hint("overwrite it, or restore into a scope of its own")
            .with_current_version(held.version)
    }
}

impl StoredMessage {
    /// Whether both are the same message to the bit, number and time included.
    pub fn is_identical(&self, other: &Self) -> bool {
        self.seq == other.seq
            && self.created_at == other.created_at
            && self.message.id == other.message.id
            && self.message.body_digest() == other.message.body_digest()
    }
}

impl Record {
    /// Whether both are the same record to the bit, times and embedding included.
    pub fn is_identical(&self, other: &Self) -> bool {
        let embeddings = match (&self.embedding, &other.embedding) {
            (Some(a), Some(b)) => same_bits(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        embeddings
            && self.is_counterpart_of(other)
            && self.created_at == other.created_at
            && self.updated_at == other.updated_at
            && self.expires_at == other.expires_at
    }
}

impl Entry {
    /// Whether both are the same entry to the bit, version and times included.
    pub fn is_identical(&self, other: &Self) -> bool {
        self.key == other.key
            && self.value.is_identical(&other.value)
            && identical_objects(&self.metadata, &other.metadata)
            && self.version == other.version
            && self.created_at == other.created_at
            && self.updated_at == other.updated_at
            && self.expires_at == other.expires_at
    }
}
