//! The writes since the last flush.
//!
//! An entry is a header of 12 bytes and a body. The header holds, in 4 bytes little endian each, the
//! body's length, the body's CRC-32, and the CRC-32 of these two. The body's first byte says which
//! request follows: a write that depends on nothing but itself, as its points are named and it has no
//! condition, so that it can be applied any number of times. An index that exists is not made again.
//!
//! A process that dies while it appends leaves a prefix of an entry at the end of the file, which was
//! never acknowledged and is cut off. Everything else that cannot be read was acknowledged: it is
//! an error that names the file and the byte, and the file stays as it is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use prost::Message;
use tonic::Status;

use super::shard::{Result, io_error};
use crate::transport::Write;

/// Bytes before the body of an entry.
const HEADER: usize = 12;

/// The file of a collection's writes.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    bytes: u64,
    /// Whether something may follow these bytes that is to be removed.
    overlong: bool,
}

impl Journal {
    /// Creates an empty journal.
    pub(super) fn create(path: &Path) -> Result<()> {
        File::create_new(path).map(drop).map_err(|error| io_error(path, &error))
    }

    /// Opens the journal and reads its entries.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Write>)> {
        let failed = |error| io_error(path, &error);
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        let mut all = Vec::new();
        file.read_to_end(&mut all).map_err(failed)?;
        let mut entries = Vec::new();
        let mut rest = all.as_slice();
        let at = |rest: &[u8]| all.len() - rest.len();
        while let Some((entry, after)) = read(rest).map_err(|fault| match fault {
            Fault::Damaged => damaged(path, at(rest)),
            Fault::Unknown => unknown(path, at(rest)),
        })? {
            entries.push(entry);
            rest = after;
        }
        let bytes = at(rest) as u64;
        let mut journal = Self { file, bytes, overlong: true };
        journal.truncate(bytes).map_err(failed)?;
        Ok((journal, entries))
    }

    /// Appends a write, which survives this process from then on. Where this fails, the write is
    /// never applied.
    pub(super) fn append(&mut self, write: &Write) -> io::Result<()> {
        if self.overlong {
            self.truncate(self.bytes)?;
        }
        let bytes = match write {
            Write::Upsert(request) => encode(1, request),
            Write::Delete(request) => encode(2, request),
            Write::SetPayload(request) => encode(3, request),
            Write::CreateIndex(request) => encode(4, request),
        }?;
        self.overlong = true;
        self.file.write_all(&bytes)?;
        self.overlong = false;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Removes everything after the first `bytes` bytes; where this fails, the next append does.
    pub(super) fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.bytes = bytes;
        self.overlong = true;
        self.file.set_len(bytes)?;
        self.file.seek(SeekFrom::Start(bytes))?;
        self.overlong = false;
        Ok(())
    }

    /// Returns its size in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn encode(kind: u8, request: &impl Message) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEADER + 1 + request.encoded_len());
    bytes.extend([0; HEADER]);
    bytes.push(kind);
    request.encode(&mut bytes).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - HEADER).map_err(io::Error::other)?;
    let sum = crc32fast::hash(&bytes[HEADER..]);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    let header_sum = crc32fast::hash(&bytes[..8]);
    bytes[8..HEADER].copy_from_slice(&header_sum.to_le_bytes());
    Ok(bytes)
}

/// Why acknowledged bytes cannot be read.
enum Fault {
    Damaged,
    /// An intact entry that this version cannot apply.
    Unknown,
}

/// Reads the first entry, and returns what follows it. None at the end, or where the entry was never
/// written in full.
fn read(bytes: &[u8]) -> std::result::Result<Option<(Write, &[u8])>, Fault> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
    let word = |at: usize| header.get(at..).and_then(|word| word.first_chunk().copied());
    let [length, sum, header_sum] =
        [0, 4, 8].map(|at| word(at).map(u32::from_le_bytes).unwrap_or_default());
    if crc32fast::hash(&header[..8]) != header_sum {
        // A file system may have extended the file before the machine crashed.
        let unwritten = bytes.iter().all(|byte| *byte == 0);
        return if unwritten { Ok(None) } else { Err(Fault::Damaged) };
    }
    let Some((body, after)) = rest.split_at_checked(length as usize) else { return Ok(None) };
    if crc32fast::hash(body) != sum {
        return Err(Fault::Damaged);
    }
    let entry = decode(body).ok_or(Fault::Unknown)?;
    Ok(Some((entry, after)))
}

fn decode(body: &[u8]) -> Option<Write> {
    /// The request, unless it holds fields that this version would drop.
    fn whole<T: Message + Default>(bytes: &[u8]) -> Option<T> {
        T::decode(bytes).ok().filter(|request| request.encoded_len() == bytes.len())
    }
    let (kind, request) = body.split_first()?;
    match kind {
        1 => whole(request).map(Write::Upsert),
        2 => whole(request).map(Write::Delete),
        3 => whole(request).map(Write::SetPayload),
        4 => whole(request).map(Write::CreateIndex),
        _ => None,
    }
}

fn damaged(path: &Path, at: usize) -> Status {
    let path = path.display();
    Status::data_loss(format!(
        "the journal {path} is damaged at byte {at}: acknowledged writes from there on cannot be \
         read (to give them up: truncate --size {at} {path})"
    ))
}

fn unknown(path: &Path, at: usize) -> Status {
    Status::out_of_range(format!(
        "the journal {} holds a write at byte {at} that this version does not know",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use qdrant_client::qdrant::DeletePoints;
    use tonic::Code;

    use super::*;

    fn entry(name: &str) -> Write {
        Write::Delete(DeletePoints { collection_name: name.into(), ..DeletePoints::default() })
    }

    /// A journal of these entries: its folder and its path.
    fn journal(entries: &[Write]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        Journal::create(&path).unwrap();
        let (mut journal, there) = Journal::open(&path).unwrap();
        assert_eq!(there, []);
        for entry in entries {
            journal.append(entry).unwrap();
        }
        (folder, path)
    }

    fn refused(path: &Path, bytes: &[u8], code: Code, at: usize) {
        std::fs::write(path, bytes).unwrap();
        let error = Journal::open(path).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(&path.display().to_string()), "{error}");
        assert!(error.message().contains(&format!("at byte {at}")), "{error}");
        assert_eq!(std::fs::read(path).unwrap(), bytes, "the file stays as it is");
    }

    #[test]
    fn g6_an_entry_that_was_never_written_in_full_is_cut_off() {
        let (_folder, path) = journal(&[entry("a"), entry("b")]);
        let whole = std::fs::read(&path).unwrap();
        for zeros in [0, 1, 40] {
            for cut in 0..whole.len() {
                if zeros > 0 && cut % (whole.len() / 2) != 0 {
                    continue;
                }
                std::fs::write(&path, [&whole[..cut], &vec![0; zeros]].concat()).unwrap();
                let (mut journal, entries) = Journal::open(&path).unwrap();
                assert_eq!(entries.len(), usize::from(cut >= whole.len() / 2));
                journal.append(&entry("c")).unwrap();
                let (_, again) = Journal::open(&path).unwrap();
                assert_eq!(again.len(), entries.len() + 1);
                assert_eq!(again.last(), Some(&entry("c")));
            }
        }
    }

    #[test]
    fn g6_a_damaged_entry_is_refused_and_left_alone() {
        let (_folder, path) = journal(&[entry("a"), entry("b"), entry("c")]);
        let whole = std::fs::read(&path).unwrap();
        let entry = whole.len() / 3;
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            refused(&path, &damaged, Code::DataLoss, bit / 8 / entry * entry);
        }
    }

    #[test]
    fn g6_an_entry_of_a_newer_version_is_refused_and_left_alone() {
        let (_folder, path) = journal(&[entry("a")]);
        let known = std::fs::read(&path).unwrap();
        let of_unknown_kind = encode(9, &DeletePoints::default()).unwrap();
        // Field 99 of a request that is known.
        let mut with_a_new_field = encode(2, &DeletePoints::default()).unwrap()[HEADER..].to_vec();
        with_a_new_field.extend([0x98, 0x06, 0x01]);
        let sum = crc32fast::hash(&with_a_new_field).to_le_bytes();
        let length = u32::try_from(with_a_new_field.len()).unwrap().to_le_bytes();
        let mut header = [length, sum].concat();
        header.extend(crc32fast::hash(&header).to_le_bytes());
        header.extend(with_a_new_field);
        for new in [of_unknown_kind, header] {
            refused(&path, &[&*known, &*new, &*known].concat(), Code::OutOfRange, known.len());
        }
    }
}
