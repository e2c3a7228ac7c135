//! Vectors (section V).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use memquill_core::text::{bm25, query_words, terms};
use memquill_core::{
    Clock, CountRecords, DeleteRecords, EmbeddingSpace, Filter, GetRecords, Hit, NamespaceSummary,
    NewRecord, Outcome, Page, PageRequest, Rebind, Record, RestoreRecords, Restored, Result,
    ScanRecords, Scope, SearchResult, Selection, StoreRecords, StoredRecord, TextSearch, Timestamp,
    VectorSearch, VectorStore, conflict, content_hash, cosine_similarity, operation,
};

use super::{is_live, lock, next_items};

/// Records in lists.
#[derive(Debug)]
pub(crate) struct Vectors {
    clock: Arc<dyn Clock>,
    pub(super) state: Mutex<State>,
}

type State = BTreeMap<(Scope, String), Namespace>;

#[derive(Debug)]
pub(super) struct Namespace {
    space: EmbeddingSpace,
    pub(super) records: Vec<Record>,
}

impl Vectors {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    fn live(
        &self,
        scope: &Scope,
        namespace: &str,
        space: Option<&EmbeddingSpace>,
    ) -> Result<Vec<Record>> {
        self.live_in(&lock(&self.state), scope, namespace, space)
    }

    /// The live records, after a check that the space is the namespace's. Who goes on to write
    /// holds the lock throughout.
    fn live_in(
        &self,
        state: &State,
        scope: &Scope,
        namespace: &str,
        space: Option<&EmbeddingSpace>,
    ) -> Result<Vec<Record>> {
        let name = namespace;
        let Some(namespace) = state.get(&(scope.clone(), name.to_owned())) else {
            return Ok(Vec::new());
        };
        if let Some(given) = space.filter(|given| **given != namespace.space) {
            return Err(conflict::other_space(name, &namespace.space, given));
        }
        let now = self.clock.now();
        let live = namespace.records.iter().filter(|record| is_live(record.expires_at, now));
        Ok(live.cloned().collect())
    }
}

fn passes(filter: Option<&Filter>, record: &Record) -> bool {
    filter.is_none_or(|filter| filter.matches(record.filter_target()))
}

impl Namespace {
    fn store(&mut self, new: &NewRecord, now: Timestamp) -> StoredRecord {
        self.records.retain(|record| is_live(record.expires_at, now));
        let id = new.identity();
        let at = self.records.iter().position(|record| record.id == id);
        let outcome = match at.map(|at| &self.records[at]) {
            None => Outcome::Inserted,
            Some(stored) if new.is_unchanged(stored) => Outcome::Unchanged,
            Some(_) => Outcome::Updated,
        };
        if outcome != Outcome::Unchanged {
            let before = at.map(|at| self.records.remove(at));
            self.records.push(Record {
                id: id.clone(),
                content: new.content.clone(),
                content_hash: content_hash(&new.content),
                document_type: new.document_type.clone(),
                metadata: new.metadata.clone(),
                language: new.language,
                created_at: before.map_or(now, |record| record.created_at),
                updated_at: now,
                expires_at: new.ttl.map(|ttl| now.saturating_add(ttl)),
                embedding: Some(new.embedding.clone()),
            });
        }
        let (created_at, updated_at, expires_at) = self
            .records
            .iter()
            .find(|record| record.id == id)
            .map(|record| (record.created_at, record.updated_at, record.expires_at))
            .unwrap_or_default();
        StoredRecord {
            id,
            content_hash: content_hash(&new.content),
            outcome,
            created_at,
            updated_at,
            expires_at,
        }
    }
}

/// The relevance of each record for the query, by BM25 over all of them; none without a word.
pub(crate) fn relevance(records: &[Record], request: &TextSearch) -> Vec<Option<f64>> {
    let mut query = query_words(&request.text, request.language);
    let documents: Vec<_> =
        records.iter().map(|record| terms(&record.content, record.language)).collect();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let total: f64 = documents.iter().map(|document| f64::from(document.length)).sum();
    let mean = total / f64::from(count(documents.len()));
    query.sort_unstable();
    documents
        .iter()
        .map(|document| {
            let parts = query.iter().filter_map(|word| {
                let with =
                    documents.iter().filter(|other| other.frequencies.contains_key(word)).count();
                let idf = bm25::idf(documents.len() as u64, with as u64);
                document
                    .frequencies
                    .get(word)
                    .map(|tf| idf * bm25::weight(*tf, document.length, mean))
            });
            parts.fold(None, |sum, part| Some(sum.unwrap_or(0.0) + part))
        })
        .collect()
}

fn similarity(record: &Record, query: &[f32]) -> f64 {
    cosine_similarity(record.embedding.as_deref().unwrap_or_default(), query)
}

fn is_near(similarity: f64, min: Option<f32>) -> bool {
    min.is_none_or(|min| similarity >= f64::from(min))
}

/// Best first, without embeddings.
fn rank(mut hits: Vec<Hit>, limit: usize) -> SearchResult {
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.record.id.cmp(&b.record.id)));
    hits.truncate(limit);
    for hit in &mut hits {
        hit.record.embedding = None;
    }
    SearchResult { hits, complete: true }
}

#[expect(clippy::cast_possible_truncation, reason = "a similarity is reported as f32")]
fn reported(similarity: f64) -> f32 {
    similarity as f32
}

#[async_trait]
impl VectorStore for Vectors {
    async fn store(&self, scope: &Scope, request: &StoreRecords) -> Result<Vec<StoredRecord>> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let namespace = state
            .entry((scope.clone(), request.namespace.clone()))
            .or_insert_with(|| Namespace { space: request.space.clone(), records: Vec::new() });
        if namespace.space != request.space {
            let given = &request.space;
            return Err(conflict::other_space(&request.namespace, &namespace.space, given));
        }
        let mut stored: Vec<StoredRecord> = Vec::with_capacity(request.records.len());
        for record in &request.records {
            let first = stored.iter().find(|stored| stored.id == record.identity()).cloned();
            stored.push(first.unwrap_or_else(|| namespace.store(record, now)));
        }
        Ok(stored)
    }

    async fn get(&self, scope: &Scope, request: &GetRecords) -> Result<Vec<Record>> {
        let live = self.live(scope, &request.namespace, None)?;
        let found = request.ids.iter().filter_map(|id| live.iter().find(|r| r.id == *id));
        let with = |record: &Record| Record {
            embedding: record.embedding.clone().filter(|_| request.with_embeddings),
            ..record.clone()
        };
        Ok(found.map(with).collect())
    }

    async fn delete(&self, scope: &Scope, request: &DeleteRecords) -> Result<u64> {
        let mut state = lock(&self.state);
        let live = self.live_in(&state, scope, &request.namespace, None)?;
        let goes = |record: &Record| match &request.which {
            Selection::Ids(ids) => ids.contains(&record.id),
            Selection::Matching(filter) => filter.matches(record.filter_target()),
            Selection::Namespace => true,
        };
        let key = (scope.clone(), request.namespace.clone());
        if request.which == Selection::Namespace {
            state.remove(&key);
        } else if let Some(namespace) = state.get_mut(&key) {
            namespace.records.retain(|record| !goes(record));
        }
        Ok(live.iter().filter(|record| goes(record)).count() as u64)
    }

    async fn search(&self, scope: &Scope, request: &VectorSearch) -> Result<SearchResult> {
        let live = self.live(scope, &request.namespace, Some(&request.space))?;
        let hits = live
            .into_iter()
            .filter(|record| passes(request.filter.as_ref(), record))
            .map(|record| (similarity(&record, &request.embedding), record))
            .filter(|(score, _)| is_near(*score, request.min_similarity))
            .map(|(score, record)| Hit { record, score, similarity: Some(reported(score)) })
            .collect();
        Ok(rank(hits, request.limit))
    }

    async fn search_text(&self, scope: &Scope, request: &TextSearch) -> Result<SearchResult> {
        let query = request.similarity_to.as_ref();
        let live = self.live(scope, &request.namespace, query.map(|query| &query.space))?;
        let scores = relevance(&live, request);
        let hits = live
            .into_iter()
            .zip(scores)
            .filter(|(record, _)| passes(request.filter.as_ref(), record))
            .filter_map(|(record, score)| {
                let near = query.map(|query| similarity(&record, &query.embedding));
                let min = query.and_then(|query| query.min_similarity);
                let hit = Hit { record, score: score?, similarity: near.map(reported) };
                near.is_none_or(|near| is_near(near, min)).then_some(hit)
            })
            .collect();
        Ok(rank(hits, request.limit))
    }

    async fn scan(&self, scope: &Scope, request: &ScanRecords) -> Result<Page<Record>> {
        let mut all = self.live(scope, &request.namespace, None)?;
        all.retain(|record| passes(request.filter.as_ref(), record));
        if !request.with_embeddings {
            for record in &mut all {
                record.embedding = None;
            }
        }
        let limit = request.page.limit;
        let position = request.page.position(operation::SCAN_RECORDS)?;
        let items = next_items(all, position, limit, |record| &record.id);
        Ok(Page::cut(items, limit, operation::SCAN_RECORDS, |record| &record.id))
    }

    async fn count(&self, scope: &Scope, request: &CountRecords) -> Result<u64> {
        let live = self.live(scope, &request.namespace, None)?;
        Ok(live.iter().filter(|record| passes(request.filter.as_ref(), record)).count() as u64)
    }

    async fn rebind(&self, scope: &Scope, request: &Rebind) -> Result<u64> {
        let mut state = lock(&self.state);
        let originals = self.live_in(&state, scope, &request.namespace, None)?;
        let counterparts = self.live_in(&state, scope, &request.from, None)?;
        let key = |name: &String| (scope.clone(), name.clone());
        let missing = |name: &String| conflict::no_namespace(name);
        let space =
            state.get(&key(&request.from)).ok_or_else(|| missing(&request.from))?.space.clone();
        let namespace =
            state.get_mut(&key(&request.namespace)).ok_or_else(|| missing(&request.namespace))?;
        let total = originals.len();
        let counterpart = |original: Record| {
            let counterpart = counterparts.iter().find(|c| c.is_counterpart_of(&original))?;
            Some(Record { embedding: counterpart.embedding.clone(), ..original })
        };
        let records: Vec<Record> = originals.into_iter().filter_map(counterpart).collect();
        if records.len() < total {
            let missing = total - records.len();
            return Err(conflict::counterparts_missing(request, missing as u64));
        }
        *namespace = Namespace { space, records };
        let count = namespace.records.len() as u64;
        state.remove(&key(&request.from));
        Ok(count)
    }

    async fn restore(&self, scope: &Scope, request: &RestoreRecords) -> Result<Restored> {
        let mut state = lock(&self.state);
        let live = self.live_in(&state, scope, &request.namespace, Some(&request.space))?;
        let mut to_write = Vec::new();
        for record in &request.records {
            if request.must_write(record, live.iter().find(|held| held.id == record.id))? {
                to_write.push(record.clone());
            }
        }
        let namespace = state
            .entry((scope.clone(), request.namespace.clone()))
            .or_insert_with(|| Namespace { space: request.space.clone(), records: Vec::new() });
        namespace.records.retain(|held| to_write.iter().all(|new| new.id != held.id));
        let restored = Restored::of(request.records.len(), to_write.len());
        namespace.records.extend(to_write);
        Ok(restored)
    }

    async fn namespaces(
        &self,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<NamespaceSummary>> {
        let now = self.clock.now();
        let all = lock(&self.state)
            .iter()
            .filter(|((of, _), _)| of == scope)
            .map(|((_, name), namespace)| NamespaceSummary {
                namespace: name.clone(),
                space: namespace.space.clone(),
                records: namespace
                    .records
                    .iter()
                    .filter(|record| is_live(record.expires_at, now))
                    .count() as u64,
            })
            .collect();
        let position = page.position(operation::LIST_NAMESPACES)?;
        let items = next_items(all, position, page.limit, |summary| &summary.namespace);
        Ok(Page::cut(items, page.limit, operation::LIST_NAMESPACES, |s| &s.namespace))
    }
}
