//! What is there in the end.

use memquill::{Facet, Memory, Result};

use crate::operation::{Answer, CONVERSATION, Operation, Seen, WINDOW, scope, scopes};
use crate::perform::perform;
use crate::plan::records;

/// Messages, how many the store says there are, and the last number it says it gave.
pub(crate) type Held = (Vec<Seen>, u64, u64);

/// What a scope holds, read after everything, by a handle that took no part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The messages of which all are kept.
    pub messages: Option<Held>,
    /// The messages of the window.
    pub window: Option<Held>,
    /// Its entries, each read by its key.
    pub entries: Option<Vec<Seen>>,
    /// Its entries, listed.
    pub listed: Vec<Seen>,
    /// Its records, read by id.
    pub records: Option<Vec<Seen>>,
    /// Its records, found by words and by a vector.
    pub hits: [Vec<Seen>; 2],
}

impl Found {
    /// Reads all scopes.
    pub async fn read(memory: &Memory) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for number in scopes() {
            let mut found = Self::default();
            if memory.backend(Facet::Conversations).is_ok() {
                let all = messages(memory, number, CONVERSATION, &Operation::Read);
                found.messages = all.await?;
                found.window = messages(memory, number, WINDOW, &Operation::ReadKept).await?;
            }
            if memory.backend(Facet::Working).is_ok() {
                found.read_entries(memory, number).await?;
            }
            if memory.backend(Facet::Vectors).is_ok() {
                found.read_records(memory, number).await?;
            }
            all.push(found);
        }
        Ok(all)
    }

    async fn read_entries(&mut self, memory: &Memory, number: usize) -> Result<()> {
        let mut entries = Vec::new();
        for key in crate::plan::keys() {
            entries.extend(seen(perform(memory, number, &Operation::Get(key.into())).await?));
        }
        self.entries = Some(entries);
        self.listed = seen(perform(memory, number, &Operation::List).await?);
        Ok(())
    }

    async fn read_records(&mut self, memory: &Memory, number: usize) -> Result<()> {
        let answer = perform(memory, number, &Operation::GetRecords(records())).await?;
        self.records = Some(seen(answer));
        let tag = crate::operation::Tag { scope: number, worker: 0, number: 0 };
        for (hits, search) in
            self.hits.iter_mut().zip([Operation::SearchText, Operation::Search(tag)])
        {
            *hits = seen(perform(memory, number, &search).await?);
        }
        Ok(())
    }
}

async fn messages(
    memory: &Memory,
    number: usize,
    conversation: &str,
    read: &Operation,
) -> Result<Option<Held>> {
    let answer = perform(memory, number, read).await?;
    let statistics = memory.conversations()?.statistics(&scope(number), conversation).await?;
    Ok(match answer {
        Answer::Messages(messages, _) => {
            Some((messages, statistics.message_count, statistics.last_seq))
        }
        _ => None,
    })
}

fn seen(answer: Answer) -> Vec<Seen> {
    match answer {
        Answer::Entries(seen) | Answer::Records(seen) => seen,
        _ => Vec::new(),
    }
}
