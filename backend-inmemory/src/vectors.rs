//! Vectors.

mod kernel;
mod matrix;
mod namespace;
mod text;
mod top;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{
    CountRecords, DeleteRecords, EmbeddingSpace, GetRecords, NamespaceSummary, Page, PageRequest,
    Rebind, Record, RestoreRecords, Restored, Result, ScanRecords, Scope, SearchResult, Selection,
    StoreRecords, StoredRecord, TextSearch, Timestamp, VectorSearch, VectorStore, conflict,
    operation as op,
};

use self::namespace::Namespace;
use crate::store::{Held, Memory, Part, Store};

/// A scope's namespaces.
#[derive(Debug, Default)]
pub(crate) struct HeldVectors {
    namespaces: BTreeMap<String, Namespace>,
    /// Before this moment nothing expires; none where nothing ever does.
    next_due: Option<Timestamp>,
}

impl Held for HeldVectors {
    fn part(memory: &Memory) -> &Part<Self> {
        &memory.vectors
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.next_due
    }

    fn sweep(&mut self, now: Timestamp) -> u64 {
        if self.next_due.is_none_or(|at| now < at) {
            return 0;
        }
        let swept = self.namespaces.values_mut().map(|namespace| namespace.sweep(now)).sum();
        self.next_due = self.namespaces.values().filter_map(Namespace::next_due).min();
        swept
    }

    fn count(&self) -> u64 {
        self.namespaces.values().map(Namespace::len).sum()
    }

    /// A namespace without records is still bound to its space (V3).
    fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }
}

const NOTHING: SearchResult = SearchResult { hits: Vec::new(), complete: true };

impl HeldVectors {
    fn store(&mut self, request: &StoreRecords, now: Timestamp) -> Result<Vec<StoredRecord>> {
        let namespace = self.bound(&request.namespace, &request.space)?;
        let stored = namespace.store(request, now);
        let due = namespace.next_due();
        self.next_due = self.next_due.into_iter().chain(due).min();
        Ok(stored)
    }

    fn restore(&mut self, request: &RestoreRecords) -> Result<Restored> {
        let namespace = self.bound(&request.namespace, &request.space)?;
        let restored = namespace.restore(request)?;
        let due = namespace.next_due();
        self.next_due = self.next_due.into_iter().chain(due).min();
        Ok(restored)
    }

    /// The namespace, bound to the space; `Conflict` where it is bound to another (V3).
    fn bound(&mut self, name: &str, space: &EmbeddingSpace) -> Result<&mut Namespace> {
        let bound = self.namespaces.get(name);
        bound.map_or(Ok(()), |bound| bound.check_space(name, space))?;
        let new = || Namespace::new(space.clone());
        Ok(self.namespaces.entry(name.to_owned()).or_insert_with(new))
    }

    fn delete(&mut self, request: &DeleteRecords) -> u64 {
        let Some(namespace) = self.namespaces.get_mut(&request.namespace) else { return 0 };
        match &request.which {
            Selection::Ids(ids) => namespace.remove_all(ids),
            Selection::Matching(filter) => namespace.remove_all(&namespace.ids(filter)),
            Selection::Namespace => {
                self.namespaces.remove(&request.namespace).map_or(0, |removed| removed.len())
            }
        }
    }

    /// The other takes the place of the namespace, so that no reader sees anything between.
    fn rebind(&mut self, request: &Rebind) -> Result<u64> {
        let missing = |name: &str| conflict::no_namespace(name);
        let Rebind { namespace, from } = request;
        let old = self.namespaces.get(namespace).ok_or_else(|| missing(namespace))?;
        let new = self.namespaces.get(from).ok_or_else(|| missing(from))?;
        new.check_counterparts(old, request)?;
        if let (Some(old), Some(mut new)) =
            (self.namespaces.remove(namespace), self.namespaces.remove(from))
        {
            new.take_place_of(&old);
            self.namespaces.insert(namespace.clone(), new);
        }
        self.next_due = self.namespaces.values().filter_map(Namespace::next_due).min();
        Ok(self.namespaces.get(namespace).map_or(0, Namespace::len))
    }

    fn search(&self, request: &VectorSearch) -> Result<SearchResult> {
        let Some(namespace) = self.namespaces.get(&request.namespace) else { return Ok(NOTHING) };
        namespace.check_space(&request.namespace, &request.space)?;
        Ok(namespace.search(request))
    }

    fn search_text(&self, request: &TextSearch) -> Result<SearchResult> {
        let Some(namespace) = self.namespaces.get(&request.namespace) else { return Ok(NOTHING) };
        if let Some(query) = &request.similarity_to {
            namespace.check_space(&request.namespace, &query.space)?;
        }
        Ok(namespace.search_text(request))
    }
}

/// The vectors of a store.
#[derive(Debug)]
pub(crate) struct Vectors(pub(crate) Arc<Store>);

#[async_trait]
impl VectorStore for Vectors {
    async fn store(&self, scope: &Scope, request: &StoreRecords) -> Result<Vec<StoredRecord>> {
        self.0.write(scope, |vectors: &mut HeldVectors, now| vectors.store(request, now))
    }

    async fn get(&self, scope: &Scope, request: &GetRecords) -> Result<Vec<Record>> {
        Ok(self.0.read(scope, |vectors: &HeldVectors| {
            let Some(namespace) = vectors.namespaces.get(&request.namespace) else {
                return Vec::new();
            };
            let get = |id: &String| namespace.get(id, request.with_embeddings);
            request.ids.iter().filter_map(get).collect()
        }))
    }

    async fn delete(&self, scope: &Scope, request: &DeleteRecords) -> Result<u64> {
        Ok(self.0.alter(scope, |vectors: &mut HeldVectors, _| vectors.delete(request)))
    }

    async fn search(&self, scope: &Scope, request: &VectorSearch) -> Result<SearchResult> {
        self.0.read(scope, |vectors: &HeldVectors| vectors.search(request))
    }

    async fn search_text(&self, scope: &Scope, request: &TextSearch) -> Result<SearchResult> {
        self.0.read(scope, |vectors: &HeldVectors| vectors.search_text(request))
    }

    async fn scan(&self, scope: &Scope, request: &ScanRecords) -> Result<Page<Record>> {
        let ScanRecords { namespace, filter, with_embeddings, page } = request;
        let after = page.position(op::SCAN_RECORDS)?;
        let records = self.0.read(scope, |vectors: &HeldVectors| {
            let Some(namespace) = vectors.namespaces.get(namespace) else { return Vec::new() };
            namespace.scan(filter.as_ref(), *with_embeddings, after.as_deref(), page.limit + 1)
        });
        Ok(Page::cut(records, page.limit, op::SCAN_RECORDS, |record| &record.id))
    }

    async fn count(&self, scope: &Scope, request: &CountRecords) -> Result<u64> {
        Ok(self.0.read(scope, |vectors: &HeldVectors| {
            vectors
                .namespaces
                .get(&request.namespace)
                .map_or(0, |n| n.count(request.filter.as_ref()))
        }))
    }

    async fn rebind(&self, scope: &Scope, request: &Rebind) -> Result<u64> {
        self.0.alter(scope, |vectors: &mut HeldVectors, _| vectors.rebind(request))
    }

    async fn restore(&self, scope: &Scope, request: &RestoreRecords) -> Result<Restored> {
        self.0.write(scope, |vectors: &mut HeldVectors, _| vectors.restore(request))
    }

    async fn namespaces(
        &self,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<NamespaceSummary>> {
        let after = page.position(op::LIST_NAMESPACES)?;
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let items = self.0.read(scope, |vectors: &HeldVectors| {
            vectors
                .namespaces
                .range::<str, _>((start, Bound::Unbounded))
                .take(page.limit + 1)
                .map(|(name, namespace)| NamespaceSummary {
                    namespace: name.clone(),
                    space: namespace.space().clone(),
                    records: namespace.len(),
                })
                .collect()
        });
        Ok(Page::cut(items, page.limit, op::LIST_NAMESPACES, |item| &item.namespace))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use memquill_core::{EmbeddingSpace, NewRecord};
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Store(u8, u8, Option<u8>),
        Remove(u8, u8),
        Drop(u8),
        Wait(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (namespace, id) = (0..3_u8, 0..5_u8);
        let ttl = proptest::option::of(1..9_u8);
        prop_oneof![
            4 => (namespace.clone(), id.clone(), ttl).prop_map(|(n, id, ttl)| Step::Store(n, id, ttl)),
            1 => (namespace.clone(), id).prop_map(|(n, id)| Step::Remove(n, id)),
            1 => namespace.prop_map(Step::Drop),
            2 => (1..5_u8).prop_map(Step::Wait),
        ]
    }

    fn store(namespace: u8, id: u8, ttl: Option<u8>) -> StoreRecords {
        let ttl = ttl.map(|ttl| Duration::from_millis(ttl.into()));
        let record = NewRecord { ttl, ..NewRecord::new("word", vec![1.0]) };
        StoreRecords {
            namespace: namespace.to_string(),
            space: EmbeddingSpace::new("m", 1),
            records: vec![record.with_id(id.to_string())],
        }
    }

    proptest! {
        #[test]
        fn v11_nothing_is_held_past_its_expiry(
            steps in proptest::collection::vec(step(), 0..60),
        ) {
            let mut vectors = HeldVectors::default();
            let mut expected: BTreeMap<(u8, u8), Option<Timestamp>> = BTreeMap::new();
            let mut now = Timestamp::default();
            for step in steps {
                match step {
                    Step::Store(namespace, id, ttl) => {
                        vectors.store(&store(namespace, id, ttl), now).unwrap();
                        let expires_at =
                            ttl.map(|ttl| now.saturating_add(Duration::from_millis(ttl.into())));
                        expected.insert((namespace, id), expires_at);
                    }
                    Step::Remove(namespace, id) => {
                        let which = Selection::Ids(vec![id.to_string()]);
                        vectors.delete(&DeleteRecords { namespace: namespace.to_string(), which });
                        expected.remove(&(namespace, id));
                    }
                    Step::Drop(namespace) => {
                        let which = Selection::Namespace;
                        vectors.delete(&DeleteRecords { namespace: namespace.to_string(), which });
                        expected.retain(|(held, _), _| *held != namespace);
                    }
                    Step::Wait(by) => {
                        now = now.saturating_add(Duration::from_millis(by.into()));
                    }
                }
                vectors.sweep(now);
                expected.retain(|_, expires_at| expires_at.is_none_or(|at| at > now));
                prop_assert_eq!(vectors.count(), expected.len() as u64);
                for namespace in 0..3_u8 {
                    let request = TextSearch::new(namespace.to_string(), "word", 10);
                    let found = vectors.search_text(&request).unwrap().hits.len();
                    let held = expected.keys().filter(|(held, _)| *held == namespace).count();
                    prop_assert_eq!(found, held);
                }
            }
        }
    }
}
