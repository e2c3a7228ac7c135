//! From a file into a store.

use std::collections::HashSet;
use std::io::BufRead;

use memquill_core::{
    Error, ErrorKind, Facet, RestoreEntries, RestoreMessages, RestoreRecords, Result, Scope,
};

use crate::batch::{Batch, Moved, Progress, entry_bytes, is_full, message_bytes, record_bytes};
use crate::copy::set_overwrite;
use crate::endpoint::Endpoint;
use crate::file::{Line, Lines};
use crate::left_out::Omission;

/// How to import.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// The user whose items to take out of the file; none means everybody's.
    pub user: Option<String>,
    /// Only items of these facets; empty means all.
    pub facets: Vec<Facet>,
    /// Whether records and entries take the place of what is there and differs.
    pub overwrite: bool,
    /// Whether the first item that cannot be taken ends the import; otherwise it is left out.
    pub strict: bool,
}

/// Restores the items of an export into `to`, and reports those that it left out; `progress` is
/// told the bytes that were read.
///
/// It can be repeated, as [`copy`](crate::copy()) can. An item of a facet that is wanted and that
/// `to` does not offer is `Unsupported`.
pub async fn import(
    input: &mut (dyn BufRead + Send),
    to: &Endpoint,
    options: &Import,
    progress: Progress<'_>,
) -> Result<Moved> {
    let mut lines = Lines::new(input);
    let mut import = Restoring { to, options, open: Container::None, moved: Moved::default() };
    loop {
        let read = lines.next();
        progress(lines.bytes());
        let taken = match read {
            Ok(Some(line)) => import.line(line, lines.number()).await,
            Ok(None) => break,
            Err(error) if lines.goes_on(&error) => import.damaged(&lines, error).await,
            Err(error) => return Err(error),
        };
        taken?;
        if lines.has_ended() {
            break;
        }
    }
    import.close().await?;
    Ok(import.moved)
}

/// The container whose items the next lines are.
enum Container {
    /// None was begun.
    None,
    /// It is of another user or facet than is wanted.
    Unwanted,
    /// It cannot be taken, which is reported already.
    Lost,
    Open(Box<Open>),
}

/// A container, and its items that are not restored yet.
struct Open {
    scope: Scope,
    batch: Batch,
    /// The line of the container.
    line: u64,
    /// The line of each item.
    lines: Vec<u64>,
    /// The ids or keys of the items.
    names: HashSet<String>,
    bytes: usize,
}

struct Restoring<'a> {
    to: &'a Endpoint,
    options: &'a Import,
    open: Container,
    moved: Moved,
}

impl Restoring<'_> {
    async fn line(&mut self, line: Line, number: u64) -> Result<()> {
        match line {
            Line::Conversation { user, node, conversation, lineage } => {
                let messages = Vec::new();
                let request = RestoreMessages { conversation, messages, last_seq: 0, lineage };
                self.begin(user, node, Batch::Messages(request), number).await
            }
            Line::Namespace { user, node, namespace, space } => {
                let request =
                    RestoreRecords { namespace, space, records: Vec::new(), overwrite: false };
                self.begin(user, node, Batch::Records(request), number).await
            }
            Line::Working { user, node } => {
                let request = RestoreEntries { entries: Vec::new(), overwrite: false };
                self.begin(user, node, Batch::Entries(request), number).await
            }
            Line::MemquillExport { .. } | Line::End { .. } => self.leave_out(number, misplaced()),
            item => self.item(item, number).await,
        }
    }

    async fn begin(&mut self, user: String, node: String, batch: Batch, line: u64) -> Result<()> {
        self.close().await?;
        let Import { user: only, facets, .. } = self.options;
        let wanted = facets.is_empty() || facets.contains(&batch.facet());
        self.open = if wanted && only.as_ref().is_none_or(|only| *only == user) {
            match Scope::new(user, node) {
                Ok(scope) => {
                    let (lines, names) = (Vec::new(), HashSet::new());
                    let open = Open { scope, batch, line, lines, names, bytes: 0 };
                    Container::Open(Box::new(open))
                }
                Err(error) => {
                    self.leave_out(line, error)?;
                    Container::Lost
                }
            }
        } else {
            Container::Unwanted
        };
        Ok(())
    }

    async fn item(&mut self, item: Line, line: u64) -> Result<()> {
        let open = match &mut self.open {
            Container::Open(open) => open,
            Container::None => return self.leave_out(line, misplaced()),
            Container::Unwanted | Container::Lost => return Ok(()),
        };
        // An item that was there before in the file is judged as one that the store holds, whether
        // they are near or far from each other.
        if item.repeats(&open.batch, &open.names) {
            self.flush().await?;
        }
        let Container::Open(open) = &mut self.open else { return Ok(()) };
        let bytes = match (&mut open.batch, item) {
            (Batch::Messages(request), Line::Message(message)) => {
                let stored = message.into_stored();
                let bytes = message_bytes(&stored.message);
                request.last_seq = stored.seq;
                request.messages.push(stored);
                bytes
            }
            (Batch::Messages(request), Line::Numbered { last_seq }) => {
                request.last_seq = last_seq;
                return self.close().await;
            }
            (Batch::Records(request), Line::Record(record)) => match record.into_record() {
                Ok(record) => {
                    let bytes = record_bytes(&record);
                    open.names.insert(record.id.clone());
                    request.records.push(record);
                    bytes
                }
                Err(error) => return self.leave_out(line, error),
            },
            (Batch::Entries(request), Line::Entry(entry)) => {
                let bytes = entry_bytes(&entry);
                open.names.insert(entry.key.clone());
                request.entries.push(entry);
                bytes
            }
            _ => return self.leave_out(line, misplaced()),
        };
        open.lines.push(line);
        open.bytes += bytes;
        if is_full(open.lines.len(), open.bytes) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Goes on behind a line that cannot be read.
    async fn damaged(&mut self, lines: &Lines<'_>, error: Error) -> Result<()> {
        self.leave_out(lines.number(), error)?;
        // What was no item may have begun a container: the items that follow are of an unknown one.
        if !lines.was_item() {
            self.close().await?;
            self.open = Container::Lost;
        }
        Ok(())
    }

    /// Reports what is left out, or ends the import with it.
    fn leave_out(&mut self, line: u64, error: Error) -> Result<()> {
        if self.options.strict {
            return Err(error.at(format_args!("line {line}")));
        }
        self.moved.left_out.add(Omission { line: Some(line), ..Omission::of(&error) });
        Ok(())
    }

    /// Restores what is held of the container, and goes on with it.
    async fn flush(&mut self) -> Result<()> {
        let Container::Open(open) = &mut self.open else { return Ok(()) };
        set_overwrite(&mut open.batch, self.options.overwrite);
        let counts = open.batch.counts();
        let taken = if self.options.strict {
            let restored = open.batch.restore(&open.scope, self.to).await;
            let line = open.lines.first().copied().unwrap_or(open.line);
            restored.map_err(|error| error.at(format_args!("line {line}")))?.into()
        } else {
            open.batch.restore_what_can(&open.scope, self.to).await?
        };
        self.moved.add(counts, taken.restored);
        for (at, error) in &taken.left_out {
            let line = open.lines.get(*at).copied().or(Some(open.line));
            self.moved.left_out.add(Omission { line, ..Omission::of(error) });
        }
        open.batch.clear();
        open.lines.clear();
        open.names.clear();
        open.bytes = 0;
        if taken.lost {
            self.open = Container::Lost;
        }
        Ok(())
    }

    /// Restores the rest of the container, which may be the container alone.
    async fn close(&mut self) -> Result<()> {
        let nothing_left = match &self.open {
            Container::Open(open) => match &open.batch {
                Batch::Messages(request) => request.last_seq == 0,
                Batch::Entries(request) => request.entries.is_empty(),
                Batch::Records(_) => false,
            },
            _ => true,
        };
        if !nothing_left {
            self.flush().await?;
        }
        self.open = Container::None;
        Ok(())
    }
}

fn misplaced() -> Error {
    Error::new(ErrorKind::Corrupted, "the line is not where it belongs")
        .with_hint("export again, and import that file")
}
