//! What is asked of a store, and what it answers, in a form that a file can hold.

use std::fmt;
use std::str::FromStr;

use memquill::Scope;
use memquill::embed::EmbeddingSpace;
use serde::{Deserialize, Serialize};

/// How many scopes there are: two nodes of one user, another user, and one of whom everything is
/// removed now and then.
const SCOPES: [(&str, &str); 4] =
    [("ada", "bot"), ("ada", "bot%"), ("bob", "bot"), ("carol", "bot")];

/// The number of the scope of which everything is removed now and then.
pub(crate) const CLEARED: usize = 3;

/// The conversation of each scope of which everything is kept.
pub(crate) const CONVERSATION: &str = "talk";
/// The conversation of each scope of which the newest messages are kept.
pub(crate) const WINDOW: &str = "window";
/// How many messages of the window each append keeps.
pub(crate) const KEPT: u64 = 6;
/// How many a trim leaves.
pub(crate) const TRIMMED: u64 = 3;
/// The namespace of each scope.
pub(crate) const NAMESPACE: &str = "notes";
/// A word that stands in every record.
pub(crate) const WORD: &str = "payload";

/// The scope of this number.
pub fn scope(number: usize) -> Scope {
    let (user, node) = SCOPES[number];
    Scope::new(user, node).unwrap()
}

/// The numbers of all scopes.
pub fn scopes() -> std::ops::Range<usize> {
    0..SCOPES.len()
}

/// The space of every embedding.
pub(crate) fn space() -> EmbeddingSpace {
    EmbeddingSpace::new("faults", 4)
}

/// What marks a payload: no two writes of a run have the same, and it says whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag {
    /// The scope it was written for.
    pub scope: usize,
    /// Who wrote it.
    pub worker: u64,
    /// Its number among the payloads of that worker.
    pub number: u64,
}

impl Tag {
    /// An embedding that no other payload has.
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    pub(crate) fn embedding(self) -> Vec<f32> {
        vec![1.0, self.scope as f32, self.worker as f32, self.number as f32]
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{WORD} s{}w{}n{}", self.scope, self.worker, self.number)
    }
}

impl FromStr for Tag {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parse = || {
            let rest = text.strip_prefix(WORD)?.strip_prefix(" s")?;
            let (scope, rest) = rest.split_once('w')?;
            let (worker, number) = rest.split_once('n')?;
            Some(Self {
                scope: scope.parse().ok()?,
                worker: worker.parse().ok()?,
                number: number.parse().ok()?,
            })
        };
        parse().ok_or(())
    }
}

/// Under what condition a value is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Under none.
    Always,
    /// Only where there is none.
    IfAbsent,
    /// Only over this version.
    IfVersion(u64),
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Appends a batch; the messages' ids are their tags.
    Append(Vec<Tag>),
    /// Reads all messages.
    Read,
    /// Appends a batch to the window, of which the newest messages are kept.
    AppendKept(Vec<Tag>),
    /// Reads the window.
    ReadKept,
    /// Leaves a few messages of the window.
    Trim,
    /// Removes the window's messages.
    ClearWindow,
    /// Adds to a counter.
    Increment {
        /// The counter.
        key: String,
        /// More than nothing.
        by: i64,
    },
    /// Stores a value.
    Put {
        /// Where.
        key: String,
        /// The value.
        tag: Tag,
        /// Under what condition.
        condition: Condition,
        /// How long it lives.
        ttl_ms: Option<u64>,
    },
    /// Stores several values in one step.
    PutMany(Vec<(String, Tag)>),
    /// Reads a value, a counter's too.
    Get(String),
    /// Reads several values.
    GetMany(Vec<String>),
    /// Reads all values.
    List,
    /// Deletes a value.
    Delete {
        /// Which.
        key: String,
        /// Only at this version.
        if_version: Option<u64>,
    },
    /// Deletes all values of the scope.
    ClearWorking,
    /// Stores records, by id.
    Store(Vec<(String, Tag)>),
    /// Reads records.
    GetRecords(Vec<String>),
    /// Finds all records by the word that all of them have.
    SearchText,
    /// Finds all records by a vector.
    Search(Tag),
    /// Deletes records.
    DeleteRecords(Vec<String>),
    /// Deletes the namespace.
    DeleteNamespace,
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its key, or the record's or message's id.
    pub key: String,
    /// What it held.
    pub value: String,
    /// The entry's version, or the message's number.
    pub version: u64,
    /// When it expires, in the store's milliseconds.
    pub expires_at: Option<i64>,
}

/// What a call answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The numbers of the messages appended.
    Numbered {
        /// In the order of the batch.
        seqs: Vec<u64>,
        /// The store's time of the last.
        at: i64,
    },
    /// Messages, how many there are in all.
    Messages(Vec<Seen>, u64),
    /// A counter's value.
    Counted {
        /// Now.
        value: i64,
        /// The entry's version.
        version: u64,
        /// The store's time.
        at: i64,
    },
    /// A value was put.
    Written {
        /// Its version.
        version: u64,
        /// The store's time.
        at: i64,
    },
    /// Several values were put.
    AllWritten {
        /// Their versions, in the order of the batch.
        versions: Vec<u64>,
        /// The store's time of the last.
        at: i64,
    },
    /// Values of these keys that are there.
    Entries(Vec<Seen>),
    /// Whether a value was there to be deleted.
    Deleted(bool),
    /// Records were stored.
    Stored {
        /// The store's time.
        at: i64,
    },
    /// Records that are there.
    Records(Vec<Seen>),
    /// The number of messages, values or records that were removed.
    Removed(u64),
}

impl Answer {
    /// The store's time, where the answer says it.
    pub(crate) fn store_time(&self) -> Option<i64> {
        match self {
            Self::Numbered { at, .. }
            | Self::Counted { at, .. }
            | Self::Written { at, .. }
            | Self::AllWritten { at, .. }
            | Self::Stored { at } => Some(*at),
            _ => None,
        }
    }
}
