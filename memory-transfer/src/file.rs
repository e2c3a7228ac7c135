//! The file that an export writes: a line for each item, each with a checksum.
//!
//! The format is described in `docs/export-format.md`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{BufRead, Write};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memquill_core::json::{self, Object};
use memquill_core::text::Language;
use memquill_core::{
    ConversationSummary, EmbeddingSpace, Entry, Error, ErrorKind, Lineage, Message, Record, Result,
    Scope, StoredMessage, Timestamp, hex,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::batch::{Batch, Counts, Progress};
use crate::endpoint::{Endpoint, UserSelection};
use crate::walk::{Container, Visitor, walk};

/// The version of the format that this crate writes, and the highest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// A line, without its checksum. Items belong to the container before them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Line {
    /// The first line.
    MemquillExport {
        version: u32,
    },
    /// A container of messages.
    Conversation {
        user: String,
        node: String,
        conversation: String,
        #[serde(default)]
        lineage: Lineage,
    },
    Message(MessageLine),
    /// The end of a conversation: the last number that it gave.
    Numbered {
        last_seq: u64,
    },
    /// A container of records.
    Namespace {
        user: String,
        node: String,
        namespace: String,
        space: EmbeddingSpace,
    },
    Record(RecordLine),
    /// A container of entries.
    Working {
        user: String,
        node: String,
    },
    Entry(Entry),
    /// The last line: how many items there are, and the SHA-256 of all lines before it.
    End {
        counts: Counts,
        sha256: String,
    },
}

impl Line {
    /// Whether an item of the batch has the same number, id or key, or a message a higher number.
    pub(crate) fn repeats(&self, batch: &Batch, names: &HashSet<String>) -> bool {
        match (self, batch) {
            (Self::Message(message), Batch::Messages(request)) => {
                !request.messages.is_empty() && message.seq <= request.last_seq
            }
            (Self::Record(record), _) => names.contains(&record.id),
            (Self::Entry(entry), _) => names.contains(&entry.key),
            _ => false,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageLine {
    seq: u64,
    created_at: Timestamp,
    message: Message,
}

impl MessageLine {
    pub(crate) fn into_stored(self) -> StoredMessage {
        let Self { seq, created_at, message } = self;
        StoredMessage { seq, created_at, message }
    }
}

/// A record whose embedding is the base64 of its numbers, each as little-endian f32.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordLine {
    id: String,
    content: String,
    content_hash: String,
    document_type: String,
    metadata: Object,
    language: Option<Language>,
    created_at: Timestamp,
    updated_at: Timestamp,
    expires_at: Option<Timestamp>,
    embedding: String,
}

impl From<Record> for RecordLine {
    fn from(record: Record) -> Self {
        let numbers = record.embedding.unwrap_or_default();
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Self {
            id: record.id,
            content: record.content,
            content_hash: record.content_hash,
            document_type: record.document_type,
            metadata: record.metadata,
            language: record.language,
            created_at: record.created_at,
            updated_at: record.updated_at,
            expires_at: record.expires_at,
            embedding: STANDARD.encode(bytes),
        }
    }
}

impl RecordLine {
    pub(crate) fn into_record(self) -> Result<Record> {
        let damaged = || {
            Error::corrupted(format!("the embedding of the record {:?} is damaged", self.id))
                .with_hint(AGAIN)
        };
        let bytes = STANDARD.decode(&self.embedding).map_err(|_| damaged())?;
        let (numbers, []) = bytes.as_chunks::<4>() else { return Err(damaged()) };
        Ok(Record {
            id: self.id,
            content: self.content,
            content_hash: self.content_hash,
            document_type: self.document_type,
            metadata: self.metadata,
            language: self.language,
            created_at: self.created_at,
            updated_at: self.updated_at,
            expires_at: self.expires_at,
            embedding: Some(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()),
        })
    }
}

/// What stands between a line's JSON and its checksum, which ends it.
const CHECK: &str = ",\"crc32\":\"";
const CHECK_END: &str = "\"}\n";

/// The line with its checksum: the CRC-32, in eight hex digits, of all bytes before it.
fn encode(line: &Line) -> Result<String> {
    let mut text = serde_json::to_string(line)
        .map_err(|error| Error::internal(format!("a line of an export: {error}")))?;
    text.pop(); // the brace that closes it, behind which the checksum comes
    let sum = crc32fast::hash(text.as_bytes());
    text.push_str(CHECK);
    write!(text, "{sum:08x}{CHECK_END}")
        .map_err(|error| Error::internal(format!("a line of an export: {error}")))?;
    Ok(text)
}

fn decode(text: &str) -> Result<Line> {
    let parts = text.rsplit_once(CHECK);
    let (body, sum) = parts.ok_or_else(|| damaged("it has no checksum"))?;
    let sum = sum.strip_suffix(CHECK_END).ok_or_else(|| damaged("its end is missing"))?;
    if u32::from_str_radix(sum, 16) != Ok(crc32fast::hash(body.as_bytes())) {
        return Err(damaged("its checksum is wrong"));
    }
    json::parse(&format!("{body}}}"))
}

/// The hint for a file that is not as it was written.
const AGAIN: &str = "export again: memquill export FILE";

fn damaged(why: &str) -> Error {
    Error::corrupted(format!("the line is damaged: {why}")).with_hint(AGAIN)
}

/// Writes what `whose` users hold in `from`, and says how much it was.
pub async fn export(
    from: &Endpoint,
    whose: &UserSelection,
    out: &mut (dyn Write + Send),
    progress: Progress<'_>,
) -> Result<Counts> {
    let mut export =
        Export { out, hash: Sha256::new(), counts: Counts::default(), last_seq: 0, progress };
    export.line(&Line::MemquillExport { version: FORMAT_VERSION })?;
    walk(from, whose, &mut export).await?;
    let sha256 = hex(&export.hash.clone().finalize());
    export.line(&Line::End { counts: export.counts, sha256 })?;
    export.out.flush().map_err(|error| unwritable(&error))?;
    Ok(export.counts)
}

fn unwritable(error: &std::io::Error) -> Error {
    Error::internal(format!("cannot write the export: {error}"))
        .with_hint("make room, or name another file, and export again")
}

struct Export<'a> {
    out: &'a mut (dyn Write + Send),
    hash: Sha256,
    counts: Counts,
    /// Of the conversation that is being written.
    last_seq: u64,
    progress: Progress<'a>,
}

impl Export<'_> {
    fn line(&mut self, line: &Line) -> Result<()> {
        let text = encode(line)?;
        self.hash.update(&text);
        self.out.write_all(text.as_bytes()).map_err(|error| unwritable(&error))
    }
}

#[async_trait]
impl Visitor for Export<'_> {
    async fn container(&mut self, scope: &Scope, container: &Container) -> Result<bool> {
        let (user, node) = (scope.user().to_owned(), scope.node().to_owned());
        let line = match container.clone() {
            Container::Conversation(summary) => {
                let ConversationSummary { conversation, statistics } = summary;
                self.last_seq = statistics.last_seq;
                Line::Conversation { user, node, conversation, lineage: statistics.lineage }
            }
            Container::Namespace(summary) => {
                Line::Namespace { user, node, namespace: summary.namespace, space: summary.space }
            }
            Container::Working(_) => Line::Working { user, node },
        };
        self.line(&line)?;
        Ok(true)
    }

    async fn batch(&mut self, _: &Scope, batch: Batch) -> Result<()> {
        let counts = batch.counts();
        match batch {
            Batch::Messages(request) => {
                for StoredMessage { seq, created_at, message } in request.messages {
                    self.line(&Line::Message(MessageLine { seq, created_at, message }))?;
                }
                if request.last_seq == self.last_seq {
                    self.line(&Line::Numbered { last_seq: request.last_seq })?;
                }
            }
            Batch::Records(request) => {
                for record in request.records {
                    self.line(&Line::Record(record.into()))?;
                }
            }
            Batch::Entries(request) => {
                for entry in request.entries {
                    self.line(&Line::Entry(entry))?;
                }
            }
        }
        self.counts.add(counts);
        (self.progress)(counts.total());
        Ok(())
    }
}

/// Reads the lines of an export, and sees that each is whole and that none is missing.
pub(crate) struct Lines<'a> {
    input: &'a mut (dyn BufRead + Send),
    hash: Sha256,
    counts: Counts,
    number: u64,
    text: Vec<u8>,
    /// Lines that could not be read.
    damaged: u64,
    ended: bool,
    /// Whether the version of the format is unknown, so that no line can be read.
    unknown: bool,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(input: &'a mut (dyn BufRead + Send)) -> Self {
        Self {
            input,
            hash: Sha256::new(),
            counts: Counts::default(),
            number: 0,
            text: Vec::new(),
            damaged: 0,
            ended: false,
            unknown: false,
        }
    }

    /// Bytes of the line that was read last.
    pub(crate) fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// The number of the line that was read last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether nothing can be read any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether an error of [`next`](Self::next) is of one line, behind which others can be read.
    pub(crate) fn goes_on(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Corrupted && !self.unknown
    }

    /// Whether the line that was read last, and is damaged, was one item.
    pub(crate) fn was_item(&self) -> bool {
        let begins = |with: &str| self.text.starts_with(with.as_bytes());
        let checks = self.text.windows(CHECK.len()).filter(|part| *part == CHECK.as_bytes());
        (begins("{\"message\":") || begins("{\"record\":") || begins("{\"entry\":"))
            && checks.count() <= 1
    }

    /// The next line but the first and the last, which are only checked; none behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<Line>> {
        let read = self.read();
        self.damaged += u64::from(read.is_err());
        read
    }

    fn read(&mut self) -> Result<Option<Line>> {
        if self.number == 0 {
            match self.line() {
                Ok(Line::MemquillExport { version }) if version <= FORMAT_VERSION => {}
                Ok(Line::MemquillExport { version }) => {
                    return Err(Error::unsupported(format!(
                        "the export is of format {version}; this program reads up to \
                         {FORMAT_VERSION}"
                    ))
                    .with_hint("import it with the version that wrote it, or a newer one"));
                }
                Err(error) if error.kind() != ErrorKind::Corrupted => return Err(error),
                // Damaged, but an export: its other lines may be whole.
                Err(error) if self.text.starts_with(b"{\"memquill_export\"") => return Err(error),
                Ok(_) => {
                    self.unknown = true;
                    return Err(damaged("an export begins with its version, which is missing"));
                }
                Err(_) => return Err(no_export()),
            }
        }
        let line = self.line()?;
        let Line::End { counts, sha256 } = &line else {
            match &line {
                Line::Message(_) => self.counts.messages += 1,
                Line::Record(_) => self.counts.records += 1,
                Line::Entry(_) => self.counts.entries += 1,
                _ => {}
            }
            return Ok(Some(line));
        };
        self.ended = true;
        // The last line itself is not hashed yet.
        let so_far = hex(&self.hash.clone().finalize());
        // Where lines were damaged they do not fit, which is said already.
        if self.damaged == 0 && (*counts, sha256) != (self.counts, &so_far) {
            return Err(damaged("lines before it are missing, or others than were written"));
        }
        self.nothing_follows()?;
        Ok(None)
    }

    /// Refuses anything but white space behind the last line.
    fn nothing_follows(&mut self) -> Result<()> {
        loop {
            let behind = self.input.fill_buf().map_err(|error| unreadable(&error))?;
            if behind.is_empty() {
                return Ok(());
            }
            if !behind.iter().all(u8::is_ascii_whitespace) {
                return Err(damaged("something follows the last line"));
            }
            let length = behind.len();
            self.input.consume(length);
        }
    }

    fn line(&mut self) -> Result<Line> {
        self.hash.update(&self.text);
        self.text.clear();
        self.input.read_until(b'\n', &mut self.text).map_err(|error| unreadable(&error))?;
        self.number += 1;
        if self.text.is_empty() {
            self.ended = true;
            return Err(Error::corrupted("the export ends before its last line: it was cut short")
                .with_hint(AGAIN));
        }
        self.normalize();
        decode(std::str::from_utf8(&self.text).map_err(|_| damaged("it is not UTF-8"))?)
    }

    /// Undoes what editors and transfers between systems do to lines: they put a byte order mark
    /// before the first, carriage returns at the ends, and leave the last end out.
    fn normalize(&mut self) {
        const MARK: &[u8] = "\u{FEFF}".as_bytes();
        if self.number == 1 && self.text.starts_with(MARK) {
            self.text.drain(..MARK.len());
        }
        if self.text.last() != Some(&b'\n') {
            self.text.push(b'\n');
        }
        if let [.., b'\r', b'\n'] = self.text.as_slice() {
            self.text.truncate(self.text.len() - 2);
            self.text.push(b'\n');
        }
    }
}

fn no_export() -> Error {
    Error::invalid_input("this is no export: its first line does not say so").with_hint(
        "for transcripts type: memquill chat import FILE; for documents: memquill ingest FILE",
    )
}

fn unreadable(error: &std::io::Error) -> Error {
    Error::internal(format!("cannot read the export: {error}"))
}

/// Reads a whole export and puts nothing anywhere: an error says the line that is damaged, or that
/// lines are missing.
pub fn check(input: &mut (dyn BufRead + Send)) -> Result<Counts> {
    let mut lines = Lines::new(input);
    loop {
        match lines.next() {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(lines.counts),
            Err(error) => return Err(error.at(format_args!("line {}", lines.number()))),
        }
    }
}

/// Reads a whole export without importing it, and counts the items that can be read. It passes over
/// damaged lines, and refuses a file with missing or moved lines: their items could be taken for
/// those of another container.
pub fn check_order(input: &mut (dyn BufRead + Send)) -> Result<Counts> {
    let mut lines = Lines::new(input);
    loop {
        match lines.next() {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(lines.counts),
            Err(error) if lines.damaged == 1 && lines.ended && !lines.text.is_empty() => {
                return Err(error.at(format_args!("line {}", lines.number())));
            }
            Err(error) if !lines.goes_on(&error) => {
                return Err(error.at(format_args!("line {}", lines.number())));
            }
            Err(_) => {
                if lines.ended {
                    return Ok(lines.counts);
                }
            }
        }
    }
}
