//! Vectors with faults.

use std::cmp::Ordering;

use memquill_conformance::async_trait;
use memquill_core::json::Object;
use memquill_core::{
    CountRecords, DeleteRecords, EmbeddingSpace, Filter, GetRecords, Hit, IDENTIFIER_BYTES,
    NamespaceSummary, NewRecord, Outcome, Page, PageRequest, Predicate, Rebind, Record,
    RestoreRecords, Restored, Result, ScanRecords, Scope, SearchResult, Selection, StoreRecords,
    StoredRecord, TextSearch, VectorSearch, VectorStore, normalize,
};
use serde_json::Value;

use super::{Broken, Fault};

/// More than any scenario stores.
const ALL: usize = 10_000;

impl Broken {
    fn namespace(&self, namespace: &str) -> String {
        match self.fault {
            Fault::FoldsNamespaces => namespace.to_lowercase(),
            _ => namespace.to_owned(),
        }
    }

    fn filter(&self, filter: &Filter) -> Filter {
        if self.is(Fault::FiltersAsSqlDoes) { as_sql(filter) } else { filter.clone() }
    }

    fn filtered(&self, filter: Option<&Filter>) -> Option<Filter> {
        filter.map(|filter| self.filter(filter))
    }

    fn record(&self, record: &NewRecord) -> NewRecord {
        let mut record = record.clone();
        match self.fault {
            Fault::DropsNulls => without_nulls(&mut record.metadata),
            Fault::NormalisesEmbeddings => record.embedding = normalize(record.embedding),
            Fault::IgnoresRecordTtls => record.ttl = None,
            Fault::FoldsIds => record.id = record.id.map(|id| id.to_lowercase()),
            Fault::LosesLanguages => record.language = None,
            Fault::CutsContent => {
                record.content.truncate(record.content.floor_char_boundary(64 << 10));
            }
            _ => {}
        }
        record
    }

    fn space(&self, space: &EmbeddingSpace) -> EmbeddingSpace {
        if self.is(Fault::TakesAnySpace) {
            return EmbeddingSpace::new("any", space.dimensions);
        }
        space.clone()
    }

    /// Keeps the stale store as the fault has it.
    async fn store_stale(&self, scope: &Scope, request: &StoreRecords) -> Result<()> {
        let mut request = request.clone();
        match self.fault {
            Fault::FindsDeletedVectors => {}
            Fault::FindsOldTexts => {
                // What is there already keeps its old words.
                for record in std::mem::take(&mut request.records) {
                    let namespace = request.namespace.clone();
                    let get = GetRecords {
                        namespace,
                        ids: vec![record.identity()],
                        with_embeddings: false,
                    };
                    if self.stale_vectors().get(scope, &get).await?.is_empty() {
                        request.records.push(record);
                    }
                }
                if request.records.is_empty() {
                    return Ok(());
                }
            }
            Fault::LetsExpiredTakePlaces | Fault::WeighsExpiredTexts => {
                request.records.iter_mut().for_each(|record| record.ttl = None);
            }
            Fault::SearchesAllNamespaces => {
                let namespace = request.namespace.clone();
                request.namespace = "all".into();
                for record in &mut request.records {
                    let mut id = format!("{namespace}/{}", record.identity());
                    id.truncate(id.floor_char_boundary(IDENTIFIER_BYTES));
                    record.id = Some(id);
                }
            }
            Fault::IndexesLate => {
                let mut state = self.state.lock().await;
                let due = std::mem::replace(&mut state.late, vec![(scope.clone(), request)]);
                for (scope, request) in due {
                    self.stale_vectors().store(&scope, &request).await?;
                }
                return Ok(());
            }
            _ => return Ok(()),
        }
        // A conflict here is the fault's own affair.
        let _ = self.stale_vectors().store(scope, &request).await;
        Ok(())
    }

    /// The batch as it comes to a store that treats what is there already as the fault has it.
    async fn over_what_is_there(&self, scope: &Scope, request: &mut StoreRecords) -> Result<()> {
        if !matches!(self.fault, Fault::KeepsOldRecordTtls | Fault::ForgetsCreatedAt) {
            return Ok(());
        }
        let namespace = request.namespace.clone();
        for new in &mut request.records {
            let ids = vec![new.identity()];
            let get = GetRecords { namespace: namespace.clone(), ids, with_embeddings: true };
            let Some(old) = self.vectors().get(scope, &get).await?.pop() else { continue };
            if self.is(Fault::KeepsOldRecordTtls) {
                let expires = old.expires_at.is_some() && new.ttl.is_none();
                new.ttl = if expires { Some(memquill_core::MAX_TTL) } else { new.ttl };
            } else if !new.is_unchanged(&old) {
                let which = Selection::Ids(get.ids);
                let delete = DeleteRecords { namespace: namespace.clone(), which };
                self.vectors().delete(scope, &delete).await?;
            }
        }
        Ok(())
    }

    /// The hits of a text search as a store ranks them that weighs words otherwise.
    #[expect(clippy::cast_precision_loss, reason = "the counts are small")]
    fn rerank(&self, text: &str, result: &mut SearchResult) {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        for hit in &mut result.hits {
            let content: Vec<String> =
                hit.record.content.split_whitespace().map(str::to_lowercase).collect();
            let said = content.iter().filter(|word| words.contains(word)).count() as f64;
            hit.score = if self.is(Fault::IgnoresLengths) {
                said
            } else {
                said / (said + content.len() as f64)
            };
        }
        result.hits.sort_by(|a, b| {
            b.score.total_cmp(&a.score).then_with(|| a.record.id.cmp(&b.record.id))
        });
    }

    /// Adds what has no word of the query in common with it.
    async fn add_the_rest(
        &self,
        scope: &Scope,
        request: &TextSearch,
        result: &mut SearchResult,
    ) -> Result<()> {
        let all = ScanRecords {
            namespace: request.namespace.clone(),
            filter: request.filter.clone(),
            with_embeddings: false,
            page: PageRequest::first(ALL),
        };
        for record in self.vectors().scan(scope, &all).await?.items {
            if result.hits.iter().all(|hit| hit.record.id != record.id) {
                result.hits.push(Hit { record, score: 0.0, similarity: None });
            }
        }
        result.hits.truncate(request.limit);
        Ok(())
    }

    /// What a search by the stale store finds, as the fault has it.
    async fn search_stale(&self, scope: &Scope, request: &VectorSearch) -> Result<SearchResult> {
        let mut request = request.clone();
        let namespace = request.namespace.clone();
        if self.is(Fault::SearchesAllNamespaces) {
            request.namespace = "all".into();
        }
        let mut result = self.stale_vectors().search(scope, &request).await?;
        if self.is(Fault::LetsExpiredTakePlaces) {
            let mut live = Vec::new();
            for hit in result.hits {
                let get = GetRecords {
                    namespace: namespace.clone(),
                    ids: vec![hit.record.id.clone()],
                    with_embeddings: false,
                };
                if !self.vectors().get(scope, &get).await?.is_empty() {
                    live.push(hit);
                }
            }
            result.hits = live;
        }
        for hit in &mut result.hits {
            if let Some(id) = hit.record.id.strip_prefix(&format!("{namespace}/")) {
                hit.record.id = id.to_owned();
            }
        }
        Ok(result)
    }
}

/// SQL's NULL: what is missing is neither equal nor unequal, and its negation is no more true.
fn as_sql(filter: &Filter) -> Filter {
    match filter {
        Filter::Field(field, check @ (Predicate::Ne(_) | Predicate::NotIn(_))) => {
            Filter::And(vec![
                Filter::Field(field.clone(), Predicate::Exists(true)),
                Filter::Field(field.clone(), check.clone()),
            ])
        }
        Filter::And(all) => Filter::And(all.iter().map(as_sql).collect()),
        Filter::Or(any) => Filter::Or(any.iter().map(as_sql).collect()),
        Filter::Not(inner) => Filter::Not(Box::new(as_sql(inner))),
        Filter::Field(..) => filter.clone(),
    }
}

fn without_nulls(object: &mut Object) {
    object.retain(|_, value| !value.is_null());
    for value in object.values_mut() {
        if let Value::Object(inner) = value {
            without_nulls(inner);
        }
    }
}

/// The record as if it were stored for the first time.
fn to_new(record: Record) -> NewRecord {
    NewRecord {
        id: Some(record.id),
        content: record.content,
        document_type: record.document_type,
        metadata: record.metadata,
        embedding: record.embedding.unwrap_or_default(),
        language: record.language,
        ttl: None,
    }
}

fn ties_reversed(a: &Hit, b: &Hit) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| b.record.id.cmp(&a.record.id))
}

#[async_trait]
impl VectorStore for Broken {
    async fn store(&self, scope: &Scope, request: &StoreRecords) -> Result<Vec<StoredRecord>> {
        let scope = self.scope(scope);
        let request = StoreRecords {
            namespace: self.namespace(&request.namespace),
            space: self.space(&request.space),
            records: request.records.iter().map(|record| self.record(record)).collect(),
        };
        let mut request = request;
        self.over_what_is_there(&scope, &mut request).await?;
        self.note_stored(&scope, request.records.len()).await;
        let mut stored = self.report(self.vectors().store(&scope, &request).await)?;
        self.store_stale(&scope, &request).await?;
        if self.is(Fault::CallsEverythingUpdated) {
            for record in stored.iter_mut().filter(|r| r.outcome == Outcome::Unchanged) {
                record.outcome = Outcome::Updated;
            }
        }
        Ok(stored)
    }

    async fn get(&self, scope: &Scope, request: &GetRecords) -> Result<Vec<Record>> {
        let request =
            GetRecords { namespace: self.namespace(&request.namespace), ..request.clone() };
        let mut found = self.vectors().get(&self.scope(scope), &request).await?;
        if self.is(Fault::ReadsByIdOrder) {
            found.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Ok(found)
    }

    async fn delete(&self, scope: &Scope, request: &DeleteRecords) -> Result<u64> {
        let which = match &request.which {
            Selection::Matching(filter) => Selection::Matching(self.filter(filter)),
            which => which.clone(),
        };
        let request = DeleteRecords { namespace: self.namespace(&request.namespace), which };
        let scope = self.scope(scope);
        let deleted = self.vectors().delete(&scope, &request).await?;
        let count = CountRecords { namespace: request.namespace.clone(), filter: None };
        if self.is(Fault::UnbindsWhenEmpty) && self.vectors().count(&scope, &count).await? == 0 {
            let all = DeleteRecords { which: Selection::Namespace, ..request };
            self.vectors().delete(&scope, &all).await?;
        }
        Ok(deleted)
    }

    async fn search(&self, scope: &Scope, request: &VectorSearch) -> Result<SearchResult> {
        let scope = self.scope(scope);
        let asked = request;
        let mut request = VectorSearch {
            namespace: self.namespace(&request.namespace),
            space: self.space(&request.space),
            filter: self.filtered(request.filter.as_ref()),
            ..request.clone()
        };
        match self.fault {
            Fault::IgnoresFilters | Fault::FiltersAfterLimit => request.filter = None,
            Fault::InvertsSimilarity => request.embedding.iter_mut().for_each(|x| *x = -*x),
            Fault::ReversesTies => request.limit = ALL,
            Fault::IgnoresThresholds => request.min_similarity = None,
            _ => {}
        }
        let mut result = match self.fault {
            Fault::FindsDeletedVectors
            | Fault::LetsExpiredTakePlaces
            | Fault::SearchesAllNamespaces
            | Fault::IndexesLate => self.search_stale(&scope, &request).await?,
            _ => self.report(self.vectors().search(&scope, &request).await)?,
        };
        match self.fault {
            Fault::FiltersAfterLimit => {
                let filter = asked.filter.as_ref();
                let passes =
                    |hit: &Hit| filter.is_none_or(|f| f.matches(hit.record.filter_target()));
                result.hits.retain(passes);
            }
            Fault::TakesThresholdAsExclusive => {
                result.hits.retain(|hit| hit.similarity != asked.min_similarity);
            }
            Fault::ScalesSimilarityFromZero => {
                for hit in &mut result.hits {
                    hit.similarity =
                        hit.similarity.map(|similarity| f32::midpoint(similarity, 1.0));
                    hit.score = f64::midpoint(hit.score, 1.0);
                }
            }
            Fault::NeverComplete => result.complete = false,
            Fault::HitsCarryEmbeddings => {
                for hit in &mut result.hits {
                    hit.record.embedding = Some(asked.embedding.clone());
                }
            }
            Fault::ReversesTies => {
                result.hits.sort_by(ties_reversed);
                result.hits.truncate(asked.limit);
            }
            _ => {}
        }
        Ok(result)
    }

    async fn search_text(&self, scope: &Scope, request: &TextSearch) -> Result<SearchResult> {
        let scope = self.scope(scope);
        let asked = request;
        let mut request = TextSearch {
            namespace: self.namespace(&request.namespace),
            filter: self.filtered(request.filter.as_ref()),
            ..request.clone()
        };
        if let Some(query) = &mut request.similarity_to {
            query.space = self.space(&query.space);
            if self.is(Fault::IgnoresThresholdOfWords) {
                query.min_similarity = None;
            }
        }
        if self.is(Fault::LooksForStopWords) {
            // Each word by itself: one that stands alone is kept.
            let mut result = SearchResult { hits: Vec::new(), complete: true };
            for word in request.text.split(' ') {
                let alone = TextSearch { text: word.to_owned(), ..request.clone() };
                result.hits.extend(self.vectors().search_text(&scope, &alone).await?.hits);
            }
            result.hits.sort_by(|a, b| {
                b.score.total_cmp(&a.score).then_with(|| a.record.id.cmp(&b.record.id))
            });
            let mut seen = std::collections::BTreeSet::new();
            result.hits.retain(|hit| seen.insert(hit.record.id.clone()));
            result.hits.truncate(asked.limit);
            return Ok(result);
        }
        if self.is(Fault::WeighsExpiredTexts) {
            let all = TextSearch { limit: ALL, ..request.clone() };
            let mut result = self.stale_vectors().search_text(&scope, &all).await?;
            let live = self.vectors().search_text(&scope, &all).await?.hits;
            result.hits.retain(|hit| live.iter().any(|live| live.record.id == hit.record.id));
            result.hits.truncate(asked.limit);
            return Ok(result);
        }
        if self.is(Fault::FindsOldTexts) {
            return self.stale_vectors().search_text(&scope, &request).await;
        }
        let mut result = self.report(self.vectors().search_text(&scope, &request).await)?;
        match self.fault {
            Fault::WeighsAllWordsAlike | Fault::IgnoresLengths => {
                self.rerank(&asked.text, &mut result);
            }
            Fault::FindsWithoutWords => {
                self.add_the_rest(&scope, &request, &mut result).await?;
            }
            _ => {}
        }
        if self.is(Fault::ObeysOperators) {
            let without: Vec<&str> =
                asked.text.split(' ').filter_map(|word| word.strip_prefix('-')).collect();
            result.hits.retain(|hit| without.iter().all(|word| !hit.record.content.contains(word)));
        }
        Ok(result)
    }

    async fn scan(&self, scope: &Scope, request: &ScanRecords) -> Result<Page<Record>> {
        let request = ScanRecords {
            namespace: self.namespace(&request.namespace),
            filter: match self.fault {
                Fault::ScansWithoutFilters => None,
                _ => self.filtered(request.filter.as_ref()),
            },
            ..request.clone()
        };
        self.vectors().scan(&self.scope(scope), &request).await
    }

    async fn count(&self, scope: &Scope, request: &CountRecords) -> Result<u64> {
        let request = CountRecords {
            namespace: self.namespace(&request.namespace),
            filter: match self.fault {
                Fault::CountsWithoutFilters => None,
                _ => self.filtered(request.filter.as_ref()),
            },
        };
        if !self.reach()? {
            return Ok(0);
        }
        self.vectors().count(&self.scope(scope), &request).await
    }

    async fn rebind(&self, scope: &Scope, request: &Rebind) -> Result<u64> {
        let scope = self.scope(scope);
        let request = Rebind {
            namespace: self.namespace(&request.namespace),
            from: self.namespace(&request.from),
        };
        match self.fault {
            Fault::RebindsByRenaming => {
                let which = Selection::Namespace;
                let namespace = request.namespace.clone();
                let everything = ScanRecords {
                    namespace: request.from.clone(),
                    filter: None,
                    with_embeddings: true,
                    page: PageRequest::first(ALL),
                };
                let page = PageRequest::first(ALL);
                let spaces = self.vectors().namespaces(&scope, &page).await?;
                let space = spaces.items.into_iter().find(|s| s.namespace == request.from);
                let Some(space) = space else {
                    return self.vectors().rebind(&scope, &request).await;
                };
                let records = self.vectors().scan(&scope, &everything).await?.items;
                let old = DeleteRecords { namespace: namespace.clone(), which: which.clone() };
                self.vectors().delete(&scope, &old).await?;
                let records: Vec<NewRecord> = records.into_iter().map(to_new).collect();
                let stored = records.len() as u64;
                let store = StoreRecords { namespace, space: space.space, records };
                self.vectors().store(&scope, &store).await?;
                let from = DeleteRecords { namespace: request.from, which };
                self.vectors().delete(&scope, &from).await?;
                Ok(stored)
            }
            _ => self.report(self.vectors().rebind(&scope, &request).await),
        }
    }

    async fn restore(&self, scope: &Scope, request: &RestoreRecords) -> Result<Restored> {
        let request = RestoreRecords {
            namespace: self.namespace(&request.namespace),
            space: self.space(&request.space),
            overwrite: request.overwrite || self.is(Fault::OverwritesByRestoring),
            ..request.clone()
        };
        self.report(self.vectors().restore(&self.scope(scope), &request).await)
    }

    async fn namespaces(
        &self,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<NamespaceSummary>> {
        self.vectors().namespaces(&self.scope(scope), page).await
    }
}
