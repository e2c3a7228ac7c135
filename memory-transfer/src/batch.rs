//! What is moved at once, and how much has been.

use std::ops::Range;

use memquill_core::{
    Error, ErrorKind, Facet, Limits, Message, Record, RestoreEntries, RestoreMessages,
    RestoreRecords, Restored, Result, Scope, json,
};
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::left_out::LeftOut;

/// So many bytes are held at once, about: more where single items are larger.
const BATCH_BYTES: usize = 4 << 20;

/// Items on a page, which may all be larger than those before them.
const PAGE_ITEMS: usize = 250;

/// Items of a scope that are restored in one call.
#[derive(Debug, Clone)]
pub(crate) enum Batch {
    Messages(RestoreMessages),
    Records(RestoreRecords),
    Entries(RestoreEntries),
}

impl Batch {
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        match self {
            Self::Messages(request) => counts.messages = request.messages.len() as u64,
            Self::Records(request) => counts.records = request.records.len() as u64,
            Self::Entries(request) => counts.entries = request.entries.len() as u64,
        }
        counts
    }

    pub(crate) fn facet(&self) -> Facet {
        match self {
            Self::Messages(_) => Facet::Conversations,
            Self::Records(_) => Facet::Vectors,
            Self::Entries(_) => Facet::Working,
        }
    }

    /// Restores it into its facet's store; an error says of whom and where.
    pub(crate) async fn restore(&self, scope: &Scope, to: &Endpoint) -> Result<Restored> {
        let backend = to.backend(self.facet())?;
        let restored = match self {
            Self::Messages(request) => backend.conversations()?.restore(scope, request).await,
            Self::Records(request) => backend.vectors()?.restore(scope, request).await,
            Self::Entries(request) => backend.working()?.restore(scope, request).await,
        };
        restored.map_err(|error| of_scope(error, scope))
    }
}

/// What a batch came to.
pub(crate) struct Taken {
    pub(crate) restored: Restored,
    /// The items that were not taken, by their index.
    pub(crate) left_out: Vec<(usize, Error)>,
    /// Whether nothing more of the container can be taken.
    pub(crate) lost: bool,
}

impl From<Restored> for Taken {
    fn from(restored: Restored) -> Self {
        Self { restored, left_out: Vec::new(), lost: false }
    }
}

/// Whether an error is about what is restored, and not about the store.
fn concerns_items(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::InvalidInput)
}

/// Says how a conflict of a record or an entry ends.
fn replaceable(error: Error) -> Error {
    if error.kind() != ErrorKind::Conflict {
        return error;
    }
    error.with_hint("to replace what is there, repeat the command with --overwrite")
}

/// Says how a conflict of a conversation ends.
fn kept(error: Error) -> Error {
    if error.kind() != ErrorKind::Conflict {
        return error;
    }
    error.with_hint(
        "what is there is kept: messages are never replaced; clear it there to take this",
    )
}

impl Batch {
    /// Restores every item that can be: where one is refused, the others are taken without it. The
    /// messages of a conversation follow one another, so one that is refused ends them.
    pub(crate) async fn restore_what_can(&self, scope: &Scope, to: &Endpoint) -> Result<Taken> {
        let refused = match self.restore(scope, to).await {
            Ok(restored) => return Ok(restored.into()),
            Err(error) if concerns_items(&error) => error,
            Err(error) => return Err(error),
        };
        let whole = |error| {
            let (restored, left_out) = (Restored::default(), vec![(0, error)]);
            Ok(Taken { restored, left_out, lost: true })
        };
        if let Self::Messages(request) = self {
            let conversation = &request.conversation;
            return whole(kept(refused).at(format_args!("the conversation {conversation:?}")));
        }
        let items = self.len();
        if let Self::Records(request) = self {
            // The namespace may be bound to another space, which all records would tell.
            let namespace = self.part(0..0).restore(scope, to).await;
            match namespace {
                Ok(_) => {}
                Err(error) if concerns_items(&error) => {
                    let namespace = &request.namespace;
                    return whole(error.at(format_args!("the namespace {namespace:?}")));
                }
                Err(error) => return Err(error),
            }
        }
        let mut taken = Taken::from(Restored::default());
        // Halves of halves, first to last, down to the items that are refused.
        let mut parts: Vec<_> = std::iter::once(0..items).collect();
        while let Some(part) = parts.pop() {
            match self.part(part.clone()).restore(scope, to).await {
                Ok(restored) => {
                    taken.restored.written += restored.written;
                    taken.restored.unchanged += restored.unchanged;
                }
                Err(error) if !concerns_items(&error) => return Err(error),
                Err(error) if part.len() <= 1 => {
                    let error = replaceable(error).at(self.name_of(part.start));
                    taken.left_out.push((part.start, error));
                }
                Err(_) => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
            }
        }
        Ok(taken)
    }

    /// The number of items.
    fn len(&self) -> usize {
        match self {
            Self::Messages(request) => request.messages.len(),
            Self::Records(request) => request.records.len(),
            Self::Entries(request) => request.entries.len(),
        }
    }

    /// Some of the items.
    fn part(&self, items: Range<usize>) -> Self {
        match self {
            Self::Messages(request) => Self::Messages(RestoreMessages {
                conversation: request.conversation.clone(),
                messages: request.messages[items].to_vec(),
                last_seq: request.last_seq,
                lineage: request.lineage,
            }),
            Self::Records(request) => Self::Records(RestoreRecords {
                namespace: request.namespace.clone(),
                space: request.space.clone(),
                records: request.records[items].to_vec(),
                overwrite: request.overwrite,
            }),
            Self::Entries(request) => Self::Entries(RestoreEntries {
                entries: request.entries[items].to_vec(),
                overwrite: request.overwrite,
            }),
        }
    }

    /// Names an item for people.
    fn name_of(&self, at: usize) -> String {
        match self {
            Self::Messages(request) => format!("message {}", request.messages[at].seq),
            Self::Records(request) => {
                let (id, namespace) = (&request.records[at].id, &request.namespace);
                format!("record {id:?} of the namespace {namespace:?}")
            }
            Self::Entries(request) => format!("entry {:?}", request.entries[at].key),
        }
    }

    /// Names the container for comparing.
    pub(crate) fn container(&self) -> (Facet, &str) {
        match self {
            Self::Messages(request) => (Facet::Conversations, &request.conversation),
            Self::Records(request) => (Facet::Vectors, &request.namespace),
            Self::Entries(_) => (Facet::Working, ""),
        }
    }

    /// Removes the items.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Messages(request) => request.messages.clear(),
            Self::Records(request) => request.records.clear(),
            Self::Entries(request) => request.entries.clear(),
        }
    }
}

/// The error, told with the scope that it is about.
fn of_scope(error: Error, scope: &Scope) -> Error {
    error.at(format_args!("node {:?} of the user {:?}", scope.node(), scope.user()))
}

/// Numbers of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Messages.
    pub messages: u64,
    /// Records.
    pub records: u64,
    /// Working-memory entries.
    pub entries: u64,
}

impl Counts {
    /// All of them.
    pub fn total(self) -> u64 {
        self.messages + self.records + self.entries
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.records += other.records;
        self.entries += other.entries;
    }
}

/// What a copy or an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Moved {
    /// Items that were read.
    pub read: Counts,
    /// How many of them were written; the others were there already, identical.
    pub written: u64,
    /// How many of them were there already, identical.
    pub unchanged: u64,
    /// The items that could not be taken.
    pub left_out: LeftOut,
}

impl Moved {
    pub(crate) fn add(&mut self, counts: Counts, restored: Restored) {
        self.read.add(counts);
        self.written += restored.written;
        self.unchanged += restored.unchanged;
    }
}

/// Is told how many items were done, after each batch.
pub type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// How many items to ask for, by the sizes of those before.
#[derive(Debug)]
pub(crate) struct Sizes {
    items: usize,
}

impl Sizes {
    pub(crate) fn new() -> Self {
        Self { items: 64 }
    }

    pub(crate) fn items(&self) -> usize {
        self.items
    }

    /// Learns from items of so many bytes in all.
    pub(crate) fn learn(&mut self, items: usize, bytes: usize) {
        if let Some(each) = bytes.checked_div(items) {
            self.items = (BATCH_BYTES / each.max(1)).clamp(1, PAGE_ITEMS);
        }
    }
}

/// A page's items in batches. No item is one batch, an empty one.
pub(crate) fn batches<T>(items: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut full, mut batch, mut held) = (Vec::new(), Vec::new(), 0);
    for item in items {
        if is_full(batch.len(), held) {
            full.push(std::mem::take(&mut batch));
            held = 0;
        }
        held += bytes(&item);
        batch.push(item);
    }
    full.push(batch);
    full
}

/// Whether so much is a batch.
pub(crate) fn is_full(items: usize, bytes: usize) -> bool {
    items >= Limits::CONTRACT.batch_items || bytes >= BATCH_BYTES
}

pub(crate) fn message_bytes(message: &Message) -> usize {
    let texts = [&message.content, &message.name, &message.tool_call_id];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    let fields = json::size(&message.metadata) + json::size(&message.extra);
    128 + texts + fields + json::size(&message.tool_calls)
}

pub(crate) fn record_bytes(record: &Record) -> usize {
    let embedding = record.embedding.as_ref().map_or(0, |embedding| 4 * embedding.len());
    256 + record.content.len() + embedding + json::size(&record.metadata)
}

pub(crate) fn entry_bytes(entry: &memquill_core::Entry) -> usize {
    128 + entry.key.len() + entry.value.size() + json::size(&entry.metadata)
}
