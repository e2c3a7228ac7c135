//! The writes since the last flush.
//!
//! An entry is its length and the CRC-32 of its bytes, both in 4 bytes little endian, and the
//! bytes: one that says which request it is, and the request. What is left of an entry that was
//! being written when the process died does not fit its sum, and ends the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use prost::Message as _;
use qdrant_client::qdrant::{
    CreateFieldIndexCollection, DeletePoints, SetPayloadPoints, UpsertPoints,
};

/// A write that depends on nothing but itself: its points are named, and it has no condition. So
/// it can be applied any number of times. An index that is there is not made again.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    Upsert(UpsertPoints),
    Delete(DeletePoints),
    SetPayload(SetPayloadPoints),
    CreateIndex(CreateFieldIndexCollection),
}

/// The file of a collection's writes.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    bytes: u64,
}

impl Journal {
    /// Opens the journal and reads what stands in it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Entry>)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut all = Vec::new();
        file.read_to_end(&mut all)?;
        let mut entries = Vec::new();
        let mut rest = all.as_slice();
        while let Some((entry, behind)) = read(rest) {
            entries.push(entry);
            rest = behind;
        }
        let bytes = (all.len() - rest.len()) as u64;
        file.set_len(bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok((Self { file, bytes }, entries))
    }

    /// Puts a write down. It survives this process from then on.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let (kind, size) = match entry {
            Entry::Upsert(request) => (1, request.encoded_len()),
            Entry::Delete(request) => (2, request.encoded_len()),
            Entry::SetPayload(request) => (3, request.encoded_len()),
            Entry::CreateIndex(request) => (4, request.encoded_len()),
        };
        let mut bytes = Vec::with_capacity(size + 9);
        bytes.extend([0; 8]);
        bytes.push(kind);
        let encoded = match entry {
            Entry::Upsert(request) => request.encode(&mut bytes),
            Entry::Delete(request) => request.encode(&mut bytes),
            Entry::SetPayload(request) => request.encode(&mut bytes),
            Entry::CreateIndex(request) => request.encode(&mut bytes),
        };
        encoded.map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len() - 8).map_err(io::Error::other)?;
        let sum = crc32fast::hash(&bytes[8..]);
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        if let Err(error) = self.file.write_all(&bytes) {
            // Half an entry would hide all behind it.
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::End(0))?;
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Takes the last entry back, which could not be applied.
    pub(super) fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.file.seek(SeekFrom::End(0))?;
        self.bytes = bytes;
        Ok(())
    }

    /// Its size in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn read(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (body, behind) = rest.split_at_checked(length)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (kind, request) = body.split_first()?;
    let entry = match kind {
        1 => Entry::Upsert(UpsertPoints::decode(request).ok()?),
        2 => Entry::Delete(DeletePoints::decode(request).ok()?),
        3 => Entry::SetPayload(SetPayloadPoints::decode(request).ok()?),
        4 => Entry::CreateIndex(CreateFieldIndexCollection::decode(request).ok()?),
        _ => return None,
    };
    Some((entry, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry::Delete(DeletePoints { collection_name: name.into(), ..DeletePoints::default() })
    }

    #[test]
    fn g6_what_was_put_down_is_read_up_to_where_it_breaks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, entries) = Journal::open(&path).unwrap();
        assert_eq!(entries, []);
        journal.append(&entry("a")).unwrap();
        journal.append(&entry("b")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, entries) = Journal::open(&path).unwrap();
            assert_eq!(entries.len(), usize::from(cut >= whole.len() / 2));
            journal.append(&entry("c")).unwrap();
            let (_, again) = Journal::open(&path).unwrap();
            assert_eq!(again.len(), entries.len() + 1);
            assert_eq!(again.last(), Some(&entry("c")));
        }
    }
}
