//! From a file into a store.

use std::io::BufRead;

use memquill_core::{Error, Facet, RestoreEntries, RestoreMessages, RestoreRecords, Result, Scope};

use crate::batch::{Batch, Moved, Progress, entry_bytes, is_full, message_bytes, record_bytes};
use crate::copy::set_overwrite;
use crate::file::{Line, Lines};
use crate::side::Side;

/// How to import.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// The user whose items to take out of the file; none means everybody's.
    pub user: Option<String>,
    /// Only items of these facets; empty means all.
    pub facets: Vec<Facet>,
    /// Whether records and entries take the place of what stands there and differs.
    pub overwrite: bool,
}

/// Restores what an export holds into `to`; `progress` is told the bytes that were read.
///
/// It can be repeated, as [`copy`](crate::copy()) can. An item of a facet that is wanted and that
/// `to` does not offer is `Unsupported`.
pub async fn import(
    input: &mut (dyn BufRead + Send),
    to: &Side,
    options: &Import,
    progress: Progress<'_>,
) -> Result<Moved> {
    let mut lines = Lines::new(input);
    let mut import = Restoring { to, options, open: None, bytes: 0, moved: Moved::default() };
    while let Some(line) = lines.next()? {
        import.line(line).await?;
        progress(lines.bytes());
    }
    import.close().await?;
    Ok(import.moved)
}

/// Items that are not restored yet, of the container that was begun last.
struct Open {
    scope: Scope,
    batch: Batch,
}

struct Restoring<'a> {
    to: &'a Side,
    options: &'a Import,
    /// None where the container is of somebody else.
    open: Option<Open>,
    bytes: usize,
    moved: Moved,
}

impl Restoring<'_> {
    async fn line(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Conversation { user, node, conversation } => {
                let messages = Vec::new();
                let request = RestoreMessages { conversation, messages, last_seq: 0 };
                self.begin(user, node, Batch::Messages(request)).await
            }
            Line::Namespace { user, node, namespace, space } => {
                let request =
                    RestoreRecords { namespace, space, records: Vec::new(), overwrite: false };
                self.begin(user, node, Batch::Records(request)).await
            }
            Line::Working { user, node } => {
                let request = RestoreEntries { entries: Vec::new(), overwrite: false };
                self.begin(user, node, Batch::Entries(request)).await
            }
            Line::MemquillExport { .. } | Line::End { .. } => Err(misplaced()),
            item => self.item(item).await,
        }
    }

    async fn begin(&mut self, user: String, node: String, batch: Batch) -> Result<()> {
        self.close().await?;
        let Import { user: only, facets, .. } = self.options;
        let wanted = facets.is_empty() || facets.contains(&batch.facet());
        if wanted && only.as_ref().is_none_or(|only| *only == user) {
            self.open = Some(Open { scope: Scope::new(user, node)?, batch });
        }
        Ok(())
    }

    async fn item(&mut self, item: Line) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let (items, bytes) = match (&mut open.batch, item) {
            (Batch::Messages(request), Line::Message(message)) => {
                let stored = message.into_stored();
                let bytes = message_bytes(&stored.message);
                request.last_seq = stored.seq;
                request.messages.push(stored);
                (request.messages.len(), bytes)
            }
            (Batch::Messages(request), Line::Numbered { last_seq }) => {
                request.last_seq = last_seq;
                return self.close().await;
            }
            (Batch::Records(request), Line::Record(record)) => {
                let record = record.into_record()?;
                let bytes = record_bytes(&record);
                request.records.push(record);
                (request.records.len(), bytes)
            }
            (Batch::Entries(request), Line::Entry(entry)) => {
                let bytes = entry_bytes(&entry);
                request.entries.push(entry);
                (request.entries.len(), bytes)
            }
            _ => return Err(misplaced()),
        };
        self.bytes += bytes;
        if is_full(items, self.bytes) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Restores what is held of the container, and goes on with it.
    async fn flush(&mut self) -> Result<()> {
        let Some(Open { scope, batch }) = &mut self.open else { return Ok(()) };
        set_overwrite(batch, self.options.overwrite);
        self.moved.add(batch.counts(), batch.restore(scope, self.to).await?);
        self.bytes = 0;
        match batch {
            Batch::Messages(request) => request.messages.clear(),
            Batch::Records(request) => request.records.clear(),
            Batch::Entries(request) => request.entries.clear(),
        }
        Ok(())
    }

    /// Restores the rest of the container, which may be the container alone.
    async fn close(&mut self) -> Result<()> {
        let nothing_left = match self.open.as_ref().map(|open| &open.batch) {
            Some(Batch::Messages(request)) => request.last_seq == 0,
            Some(Batch::Entries(request)) => request.entries.is_empty(),
            Some(Batch::Records(_)) | None => false,
        };
        if !nothing_left {
            self.flush().await?;
        }
        self.open = None;
        Ok(())
    }
}

fn misplaced() -> Error {
    Error::corrupted("a line of the export stands where it does not belong")
        .with_hint("write the export anew")
}
