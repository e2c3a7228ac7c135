//! Comparing two sides.

use std::collections::HashMap;

use async_trait::async_trait;
use memquill_core::{
    ConversationStatistics, Entry, Facet, GetMany, GetRecords, NamespaceSummary, PageRequest,
    ReadMessages, Record, Result, Scope, StoredMessage,
};
use serde::Serialize;

use crate::batch::{Batch, Counts, Progress};
use crate::endpoint::{Endpoint, UserSelection};
use crate::walk::{Container, Visitor, walk};

/// So many differences are told one by one; the others are counted.
const TOLD: usize = 100;

/// Something that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whose.
    pub user: String,
    /// Of which memory node.
    pub node: String,
    /// Where, and what: as in `record "a" of the namespace "notes"`.
    pub place: String,
    /// How: as in `is missing in the target`.
    pub what: String,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verification {
    /// Items that were compared.
    pub compared: Counts,
    /// How many differences there are.
    pub differences: u64,
    /// The first 100 of them.
    pub told: Vec<Difference>,
}

impl Verification {
    /// Whether both sides hold the same.
    pub fn is_equal(&self) -> bool {
        self.differences == 0
    }

    fn tell(&mut self, scope: &Scope, place: String, what: impl Into<String>) {
        self.differences += 1;
        if self.told.len() < TOLD {
            let (user, node) = (scope.user().to_owned(), scope.node().to_owned());
            self.told.push(Difference { user, node, place, what: what.into() });
        }
    }
}

/// Compares every field of what `whose` users hold in `from` with what they hold in `to`, numbers,
/// times, versions, expiry and embeddings to the bit; and looks for what `to` holds besides.
///
/// What differs is read once more on both sides before it is told, so that what expires meanwhile
/// is no difference.
pub async fn verify(
    from: &Endpoint,
    to: &Endpoint,
    whose: &UserSelection,
    whose_in_target: &UserSelection,
    progress: Progress<'_>,
) -> Result<Verification> {
    let (namespaces, found) = (Namespaces::new(to), Verification::default());
    let mut comparing = Comparing { from, to, namespaces, found, progress };
    walk(from, whose, &mut comparing).await?;
    let mut besides = Besides { from, namespaces: Namespaces::new(from), found: comparing.found };
    let shared = to.clone().only(&from.facets())?;
    walk(&shared, whose_in_target, &mut besides).await?;
    Ok(besides.found)
}

struct Comparing<'a> {
    from: &'a Endpoint,
    to: &'a Endpoint,
    /// The target's.
    namespaces: Namespaces<'a>,
    found: Verification,
    progress: Progress<'a>,
}

fn conversation_place(conversation: &str) -> String {
    format!("the conversation {conversation:?}")
}

fn namespace_place(namespace: &str) -> String {
    format!("the namespace {namespace:?}")
}

const WORKING_PLACE: &str = "the working memory";

#[async_trait]
impl Visitor for Comparing<'_> {
    async fn container(&mut self, scope: &Scope, container: &Container) -> Result<bool> {
        match container {
            Container::Conversation(summary) => {
                let name = &summary.conversation;
                let ours = statistics(self.from, scope, name).await?;
                let theirs = statistics(self.to, scope, name).await?;
                if ours != theirs {
                    let ours = statistics(self.from, scope, name).await?;
                    let theirs = statistics(self.to, scope, name).await?;
                    for what in unequal_statistics(&ours, &theirs) {
                        self.found.tell(scope, conversation_place(name), what);
                    }
                }
            }
            Container::Namespace(summary) => self.namespace(scope, summary).await?,
            Container::Working(_) => {
                let ours = working(self.from, scope).await?;
                let theirs = working(self.to, scope).await?;
                if ours != theirs && working(self.from, scope).await? != theirs {
                    let what = format!("holds {theirs} entries in the target, not {ours}");
                    self.found.tell(scope, WORKING_PLACE.to_owned(), what);
                }
            }
        }
        Ok(true)
    }

    async fn batch(&mut self, scope: &Scope, batch: Batch) -> Result<()> {
        let counts = batch.counts();
        if counts.total() == 0 {
            return Ok(());
        }
        match batch {
            Batch::Messages(request) => {
                self.messages(scope, &request.conversation, &request.messages).await?;
            }
            Batch::Records(request) => {
                self.records(scope, &request.namespace, &request.records).await?;
            }
            Batch::Entries(request) => self.entries(scope, &request.entries).await?,
        }
        self.found.compared.add(counts);
        (self.progress)(counts.total());
        Ok(())
    }
}

impl Comparing<'_> {
    async fn namespace(&mut self, scope: &Scope, ours: &NamespaceSummary) -> Result<()> {
        let name = &ours.namespace;
        if self.namespaces.get(scope, name).await? == Some(ours) {
            return Ok(());
        }
        let place = namespace_place(name);
        let ours = Namespaces::new(self.from).again(scope, name).await?;
        match (ours, self.namespaces.again(scope, name).await?) {
            (Some(ours), Some(theirs)) => {
                if ours.space != theirs.space {
                    let what = format!("is of {} in the target, not {}", theirs.space, ours.space);
                    self.found.tell(scope, place.clone(), what);
                }
                if ours.records != theirs.records {
                    let what = format!(
                        "holds {} records in the target, not {}",
                        theirs.records, ours.records
                    );
                    self.found.tell(scope, place, what);
                }
            }
            (Some(_), None) => self.found.tell(scope, place, MISSING),
            (None, _) => {}
        }
        Ok(())
    }

    async fn messages(
        &mut self,
        scope: &Scope,
        conversation: &str,
        ours: &[StoredMessage],
    ) -> Result<()> {
        let (Some(first), Some(last)) = (ours.first(), ours.last()) else { return Ok(()) };
        let theirs = messages(self.to, scope, conversation, first.seq, last.seq).await?;
        let by_seq: HashMap<u64, &StoredMessage> = theirs.iter().map(|m| (m.seq, m)).collect();
        for message in ours {
            let other = by_seq.get(&message.seq).copied();
            if other.is_some_and(|other| other.is_identical(message)) {
                continue;
            }
            let seq = message.seq;
            let now = messages(self.from, scope, conversation, seq, seq).await?;
            if !now.first().is_some_and(|now| now.is_identical(message)) {
                continue; // it went meanwhile
            }
            let place = format!("message {seq} of {}", conversation_place(conversation));
            let what = other.map_or_else(|| MISSING.to_owned(), |o| unequal_messages(message, o));
            self.found.tell(scope, place, what);
        }
        Ok(())
    }

    async fn records(&mut self, scope: &Scope, namespace: &str, ours: &[Record]) -> Result<()> {
        let ids: Vec<String> = ours.iter().map(|record| record.id.clone()).collect();
        let theirs = records(self.to, scope, namespace, ids).await?;
        let by_id: HashMap<&str, &Record> = theirs.iter().map(|r| (r.id.as_str(), r)).collect();
        for record in ours {
            let other = by_id.get(record.id.as_str()).copied();
            if other.is_some_and(|other| other.is_identical(record)) {
                continue;
            }
            let now = records(self.from, scope, namespace, vec![record.id.clone()]).await?;
            if !now.first().is_some_and(|now| now.is_identical(record)) {
                continue;
            }
            let place = format!("record {:?} of {}", record.id, namespace_place(namespace));
            let what = other.map_or_else(|| MISSING.to_owned(), |o| unequal_records(record, o));
            self.found.tell(scope, place, what);
        }
        Ok(())
    }

    async fn entries(&mut self, scope: &Scope, ours: &[Entry]) -> Result<()> {
        let keys: Vec<String> = ours.iter().map(|entry| entry.key.clone()).collect();
        let theirs = entries(self.to, scope, keys).await?;
        let by_key: HashMap<&str, &Entry> = theirs.iter().map(|e| (e.key.as_str(), e)).collect();
        for entry in ours {
            let other = by_key.get(entry.key.as_str()).copied();
            if other.is_some_and(|other| other.is_identical(entry)) {
                continue;
            }
            let now = entries(self.from, scope, vec![entry.key.clone()]).await?;
            if !now.first().is_some_and(|now| now.is_identical(entry)) {
                continue;
            }
            let place = format!("entry {:?} of {WORKING_PLACE}", entry.key);
            let what = other.map_or_else(|| MISSING.to_owned(), |o| unequal_entries(entry, o));
            self.found.tell(scope, place, what);
        }
        Ok(())
    }
}

/// Looks for containers that only the target holds.
struct Besides<'a> {
    from: &'a Endpoint,
    /// Those that are looked for.
    namespaces: Namespaces<'a>,
    found: Verification,
}

#[async_trait]
impl Visitor for Besides<'_> {
    async fn container(&mut self, scope: &Scope, container: &Container) -> Result<bool> {
        let (there, place) = match container {
            Container::Conversation(theirs) => {
                let ours = statistics(self.from, scope, &theirs.conversation).await?;
                (ours.last_seq > 0, conversation_place(&theirs.conversation))
            }
            Container::Namespace(theirs) => {
                let ours = self.namespaces.get(scope, &theirs.namespace).await?;
                (ours.is_some(), namespace_place(&theirs.namespace))
            }
            Container::Working(_) => {
                (working(self.from, scope).await? > 0, WORKING_PLACE.to_owned())
            }
        };
        if !there {
            self.found.tell(scope, place, "is in the target alone");
        }
        Ok(false)
    }

    async fn batch(&mut self, _: &Scope, _: Batch) -> Result<()> {
        Ok(())
    }
}

const MISSING: &str = "is missing in the target";

async fn statistics(side: &Endpoint, scope: &Scope, name: &str) -> Result<ConversationStatistics> {
    side.backend(Facet::Conversations)?.conversations()?.statistics(scope, name).await
}

async fn messages(
    side: &Endpoint,
    scope: &Scope,
    conversation: &str,
    first: u64,
    last: u64,
) -> Result<Vec<StoredMessage>> {
    let request = ReadMessages {
        after_seq: Some(first - 1),
        before_seq: Some(last.saturating_add(1)),
        ..ReadMessages::all(conversation)
    };
    let store = side.backend(Facet::Conversations)?.conversations()?;
    Ok(store.read(scope, &request).await?.messages)
}

/// The namespaces of one scope after another.
struct Namespaces<'a> {
    side: &'a Endpoint,
    of: Option<Scope>,
    summaries: HashMap<String, NamespaceSummary>,
}

impl<'a> Namespaces<'a> {
    fn new(side: &'a Endpoint) -> Self {
        Self { side, of: None, summaries: HashMap::new() }
    }

    /// The namespace as it was when the scope's were listed.
    async fn get(&mut self, scope: &Scope, name: &str) -> Result<Option<&NamespaceSummary>> {
        if self.of.as_ref() != Some(scope) {
            self.list(scope).await?;
        }
        Ok(self.summaries.get(name))
    }

    /// The namespace as it is now.
    async fn again(&mut self, scope: &Scope, name: &str) -> Result<Option<NamespaceSummary>> {
        self.list(scope).await?;
        Ok(self.summaries.get(name).cloned())
    }

    async fn list(&mut self, scope: &Scope) -> Result<()> {
        self.of = None;
        self.summaries.clear();
        let store = self.side.backend(Facet::Vectors)?.vectors()?;
        let mut page = PageRequest::first(1_000);
        loop {
            let part = store.namespaces(scope, &page).await?;
            self.summaries.extend(part.items.into_iter().map(|s| (s.namespace.clone(), s)));
            let Some(next) = part.next else { break };
            page = page.after(next);
        }
        self.of = Some(scope.clone());
        Ok(())
    }
}

async fn records(
    side: &Endpoint,
    scope: &Scope,
    namespace: &str,
    ids: Vec<String>,
) -> Result<Vec<Record>> {
    let request = GetRecords { namespace: namespace.to_owned(), ids, with_embeddings: true };
    side.backend(Facet::Vectors)?.vectors()?.get(scope, &request).await
}

async fn entries(side: &Endpoint, scope: &Scope, keys: Vec<String>) -> Result<Vec<Entry>> {
    let request = GetMany { keys, extend: None };
    side.backend(Facet::Working)?.working()?.get_many(scope, &request).await
}

async fn working(side: &Endpoint, scope: &Scope) -> Result<u64> {
    Ok(side.backend(Facet::Working)?.working()?.statistics(scope).await?.entries)
}

/// "differs in" the fields whose names are given with whether they are equal.
fn differs(fields: &[(&str, bool)]) -> String {
    let unequal: Vec<&str> =
        fields.iter().filter(|(_, equal)| !equal).map(|(name, _)| *name).collect();
    format!("differs in {}", unequal.join(", "))
}

fn unequal_statistics(
    ours: &ConversationStatistics,
    theirs: &ConversationStatistics,
) -> Vec<String> {
    if theirs.last_seq == 0 && ours.last_seq > 0 {
        return vec![MISSING.to_owned()];
    }
    let figures = [
        ("messages", ours.message_count, theirs.message_count),
        ("tokens", ours.token_count, theirs.token_count),
        ("as last number", ours.last_seq, theirs.last_seq),
    ];
    let told = |(what, ours, theirs)| format!("has {theirs} {what} in the target, not {ours}");
    let mut unequal: Vec<String> =
        figures.into_iter().filter(|(_, ours, theirs)| ours != theirs).map(told).collect();
    if ours.lineage != theirs.lineage {
        unequal.push("is another conversation in the target, or was corrected there".to_owned());
    }
    unequal
}

fn unequal_messages(ours: &StoredMessage, theirs: &StoredMessage) -> String {
    let (a, b) = (&ours.message, &theirs.message);
    differs(&[
        ("created_at", ours.created_at == theirs.created_at),
        ("id", a.id == b.id),
        ("body", a.body_digest() == b.body_digest()),
    ])
}

fn unequal_records(ours: &Record, theirs: &Record) -> String {
    let bits = |record: &Record| -> Option<Vec<u32>> {
        Some(record.embedding.as_ref()?.iter().map(|number| number.to_bits()).collect())
    };
    differs(&[
        ("content", ours.content == theirs.content),
        ("document_type", ours.document_type == theirs.document_type),
        ("language", ours.language == theirs.language),
        ("metadata", memquill_core::json::identical_objects(&ours.metadata, &theirs.metadata)),
        ("created_at", ours.created_at == theirs.created_at),
        ("updated_at", ours.updated_at == theirs.updated_at),
        ("expires_at", ours.expires_at == theirs.expires_at),
        ("embedding", bits(ours) == bits(theirs)),
    ])
}

fn unequal_entries(ours: &Entry, theirs: &Entry) -> String {
    differs(&[
        ("value", ours.value.is_identical(&theirs.value)),
        ("metadata", memquill_core::json::identical_objects(&ours.metadata, &theirs.metadata)),
        ("version", ours.version == theirs.version),
        ("created_at", ours.created_at == theirs.created_at),
        ("updated_at", ours.updated_at == theirs.updated_at),
        ("expires_at", ours.expires_at == theirs.expires_at),
    ])
}
