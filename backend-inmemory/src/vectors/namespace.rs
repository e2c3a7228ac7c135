//! One namespace: its records, and the indexes over them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use memquill_core::text::{Terms, query_words, terms};
use memquill_core::{
    EmbeddingSpace, Filter, Hit, NewRecord, Outcome, Rebind, Record, RestoreRecords, Restored,
    Result, SearchResult, StoreRecords, StoredRecord, TextSearch, Timestamp, VectorSearch,
    conflict, content_hash,
};

use super::kernel::{MARGIN, Query};
use super::matrix::Matrix;
use super::text::TextIndex;
use super::top::{Found, Top};

/// Records in dense rows: row n of `records`, `embeddings` and `text` is one record.
#[derive(Debug)]
pub(super) struct Namespace {
    space: EmbeddingSpace,
    records: Vec<Record>,
    embeddings: Matrix,
    text: TextIndex,
    /// The row of each id.
    rows: BTreeMap<String, usize>,
    /// The records that expire, soonest first.
    expiry: BTreeSet<(Timestamp, String)>,
}

fn passes(filter: Option<&Filter>, record: &Record) -> bool {
    filter.is_none_or(|filter| filter.matches(record.filter_target()))
}

impl Namespace {
    pub(super) fn new(space: EmbeddingSpace) -> Self {
        Self {
            embeddings: Matrix::new(space.dimensions),
            space,
            records: Vec::new(),
            text: TextIndex::default(),
            rows: BTreeMap::new(),
            expiry: BTreeSet::new(),
        }
    }

    pub(super) fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    pub(super) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// Refuses an embedding of another space (V3).
    pub(super) fn check_space(&self, name: &str, asked: &EmbeddingSpace) -> Result<()> {
        if *asked == self.space {
            return Ok(());
        }
        Err(conflict::other_space(name, &self.space, asked))
    }

    /// When the next record expires.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.expiry.first().map(|(at, _)| *at)
    }

    pub(super) fn sweep(&mut self, now: Timestamp) -> u64 {
        let mut swept = 0;
        while self.next_due().is_some_and(|at| at <= now) {
            if let Some((_, id)) = self.expiry.pop_first() {
                swept += u64::from(self.remove(&id));
            }
        }
        swept
    }

    pub(super) fn store(&mut self, request: &StoreRecords, now: Timestamp) -> Vec<StoredRecord> {
        let mut first: HashMap<String, usize> = HashMap::with_capacity(request.records.len());
        let mut stored: Vec<StoredRecord> = Vec::with_capacity(request.records.len());
        for record in &request.records {
            let id = record.identity();
            let outcome = match first.get(&id) {
                Some(&at) => stored[at].clone(), // an identical record is stored once
                None => self.put(id.clone(), record, now),
            };
            first.entry(id).or_insert(stored.len());
            stored.push(outcome);
        }
        stored
    }

    fn put(&mut self, id: String, new: &NewRecord, now: Timestamp) -> StoredRecord {
        let Some(&row) = self.rows.get(&id) else {
            let record = record(id, new, now, now);
            let stored = receipt(&record, Outcome::Inserted);
            self.insert(record, &new.embedding);
            return stored;
        };
        if new.is_unchanged(&self.record(row, true)) {
            return receipt(&self.records[row], Outcome::Unchanged);
        }
        let old = &self.records[row];
        self.update(row, record(id, new, old.created_at, now), &new.embedding);
        receipt(&self.records[row], Outcome::Updated)
    }

    /// Puts records back, all or none (V14).
    pub(super) fn restore(&mut self, request: &RestoreRecords) -> Result<Restored> {
        let mut to_write = Vec::with_capacity(request.records.len());
        for record in &request.records {
            if request.must_write(record, self.get(&record.id, true).as_ref())? {
                to_write.push(record);
            }
        }
        for restored in &to_write {
            let embedding = restored.embedding.as_deref().unwrap_or_default();
            let record = Record { embedding: None, ..(*restored).clone() };
            match self.rows.get(&restored.id) {
                Some(&row) => self.update(row, record, embedding),
                None => self.insert(record, embedding),
            }
        }
        Ok(Restored::of(request.records.len(), to_write.len()))
    }

    fn insert(&mut self, record: Record, embedding: &[f32]) {
        self.text.push(terms(&record.content, record.language));
        self.embeddings.push(embedding);
        self.rows.insert(record.id.clone(), self.records.len());
        self.expiry.extend(record.expires_at.map(|at| (at, record.id.clone())));
        self.records.push(record);
    }

    fn update(&mut self, row: usize, updated: Record, embedding: &[f32]) {
        let old = &self.records[row];
        if (&old.content, old.language) != (&updated.content, updated.language) {
            let old_words = terms(&old.content, old.language);
            self.text.set(row, &old_words, terms(&updated.content, updated.language));
        }
        self.embeddings.set(row, embedding);
        if let Some(at) = old.expires_at {
            self.expiry.remove(&(at, old.id.clone()));
        }
        self.expiry.extend(updated.expires_at.map(|at| (at, updated.id.clone())));
        self.records[row] = updated;
    }

    /// Removes records, and says how many were there.
    pub(super) fn remove_all(&mut self, ids: &[String]) -> u64 {
        ids.iter().map(|id| u64::from(self.remove(id))).sum()
    }

    /// Removes a record from everywhere; the last row takes its place (V12).
    fn remove(&mut self, id: &str) -> bool {
        let Some(row) = self.rows.remove(id) else { return false };
        let removed = self.records.swap_remove(row);
        self.embeddings.swap_remove(row);
        let moved_words = match self.records.get(row) {
            Some(moved) => {
                self.rows.insert(moved.id.clone(), row);
                terms(&moved.content, moved.language)
            }
            None => Terms::default(),
        };
        let words = terms(&removed.content, removed.language);
        self.text.swap_remove(row, &words, moved_words);
        if let Some(at) = removed.expires_at {
            self.expiry.remove(&(at, removed.id));
        }
        true
    }

    /// Refuses to take the place of `old` while a record of it has no counterpart here (V13).
    pub(super) fn check_counterparts(&self, old: &Self, request: &Rebind) -> Result<()> {
        let has_counterpart = |record: &&Record| {
            let row = self.rows.get(&record.id);
            row.is_some_and(|&row| self.records[row].is_counterpart_of(record))
        };
        let missing = old.records.iter().filter(|record| !has_counterpart(record)).count();
        if missing == 0 {
            return Ok(());
        }
        Err(conflict::counterparts_missing(request, missing as u64))
    }

    /// Keeps the counterparts of the records of `old`, with the times of those.
    pub(super) fn take_place_of(&mut self, old: &Self) {
        let surplus: Vec<String> =
            self.rows.keys().filter(|id| !old.rows.contains_key(*id)).cloned().collect();
        self.remove_all(&surplus);
        for old in &old.records {
            if let Some(&row) = self.rows.get(&old.id) {
                let record = &mut self.records[row];
                (record.created_at, record.updated_at) = (old.created_at, old.updated_at);
                record.expires_at = old.expires_at;
            }
        }
        self.expiry.clone_from(&old.expiry);
    }

    pub(super) fn get(&self, id: &str, with_embedding: bool) -> Option<Record> {
        self.rows.get(id).map(|&row| self.record(row, with_embedding))
    }

    fn record(&self, row: usize, with_embedding: bool) -> Record {
        let embedding = with_embedding.then(|| self.embeddings.row(row).to_vec());
        Record { embedding, ..self.records[row].clone() }
    }

    pub(super) fn count(&self, filter: Option<&Filter>) -> u64 {
        self.records.iter().filter(|record| passes(filter, record)).count() as u64
    }

    pub(super) fn ids(&self, filter: &Filter) -> Vec<String> {
        let matching = self.records.iter().filter(|record| passes(Some(filter), record));
        matching.map(|record| record.id.clone()).collect()
    }

    /// The records after `after` that match, by id.
    pub(super) fn scan(
        &self,
        filter: Option<&Filter>,
        with_embeddings: bool,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<Record> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.rows
            .range::<str, _>((start, Bound::Unbounded))
            .filter(|(_, row)| passes(filter, &self.records[**row]))
            .take(limit)
            .map(|(_, row)| self.record(*row, with_embeddings))
            .collect()
    }

    /// The nearest records, exactly: the kernel only passes over rows that are too far away; the
    /// rest are compared as core compares. The filter, which costs most, comes last.
    pub(super) fn search(&self, request: &VectorSearch) -> SearchResult {
        let query = Query::new(&request.embedding);
        let mut top = Top::new(request.limit);
        let least = request.min_similarity.unwrap_or(-1.0);
        let mut floor = f64::from(least - MARGIN);
        self.embeddings.compare(&query, |row, vector, approximate| {
            // A row whose similarity is not a number is always compared exactly.
            if f64::from(approximate) < floor {
                return;
            }
            let score = query.exact(vector);
            let similarity = single(score);
            let record = &self.records[row];
            let found = Found { score, id: &record.id, row, similarity: Some(similarity) };
            if similarity >= least
                && top.would_take(&found)
                && passes(request.filter.as_ref(), record)
            {
                top.offer(found);
                floor = floor.max(top.floor().map_or(floor, |score| score - f64::from(MARGIN)));
            }
        });
        self.result(top)
    }

    /// The records with the query's words, by BM25 over the namespace.
    pub(super) fn search_text(&self, request: &TextSearch) -> SearchResult {
        let query = request.similarity_to.as_ref().map(|to| Query::new(&to.embedding));
        let least = request.similarity_to.as_ref().and_then(|to| to.min_similarity);
        let mut top = Top::new(request.limit);
        for (row, score) in self.text.rank(&query_words(&request.text, request.language)) {
            let record = &self.records[row];
            let mut found = Found { score, id: &record.id, row, similarity: None };
            if !top.would_take(&found) {
                continue;
            }
            found.similarity =
                query.as_ref().map(|query| single(query.exact(self.embeddings.row(row))));
            let near = least.is_none_or(|least| found.similarity >= Some(least));
            if near && passes(request.filter.as_ref(), record) {
                top.offer(found);
            }
        }
        self.result(top)
    }

    fn result(&self, top: Top<'_>) -> SearchResult {
        let hit = |found: Found<'_>| Hit {
            record: self.record(found.row, false),
            score: found.score,
            similarity: found.similarity,
        };
        SearchResult { hits: top.into_sorted().into_iter().map(hit).collect(), complete: true }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "similarities are given in 32 bits")]
fn single(similarity: f64) -> f32 {
    similarity as f32
}

fn record(id: String, new: &NewRecord, created_at: Timestamp, now: Timestamp) -> Record {
    Record {
        id,
        content_hash: content_hash(&new.content),
        content: new.content.clone(),
        document_type: new.document_type.clone(),
        metadata: new.metadata.clone(),
        language: new.language,
        created_at,
        updated_at: now,
        expires_at: new.ttl.map(|ttl| now.saturating_add(ttl)),
        embedding: None,
    }
}

fn receipt(record: &Record, outcome: Outcome) -> StoredRecord {
    StoredRecord {
        id: record.id.clone(),
        content_hash: record.content_hash.clone(),
        outcome,
        created_at: record.created_at,
        updated_at: record.updated_at,
        expires_at: record.expires_at,
    }
}
