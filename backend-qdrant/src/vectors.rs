//! The vectors facet: reading records. Writing, deleting and searching are in modules of their own.

mod delete;
mod rebinding;
mod search;
mod store;
mod text;
#[cfg(test)]
mod ties;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memquill_core::{
    CountRecords, DeleteRecords, Filter, GetRecords, NamespaceSummary, Page, PageRequest, Rebind,
    Record, RestoreRecords, Restored, Result, ScanRecords, Scope, SearchResult, StoreRecords,
    StoredRecord, TextSearch, VectorSearch, VectorStore, operation as op,
};
use qdrant_client::qdrant::{
    CountPoints, Filter as Native, GetPoints, PayloadIncludeSelector, PointId, RetrievedPoint,
    ScrollPoints, VectorsSelector, WithPayloadSelector, WithVectorsSelector, point_id,
    with_payload_selector, with_vectors_selector,
};

use crate::bindings::Binding;
use crate::codec;
use crate::codec::payload::{self, Payload};
use crate::filter;
use crate::layout::{self, DENSE, Namespace, Place, field};
use crate::store::{MAX_CONCURRENT_REQUESTS, Store, now};

/// Points in one page of a scroll or get, so that no answer grows without bound.
const PAGE_SIZE: usize = 1_000;

/// Selects these fields of the payload.
pub(crate) fn fields<'a>(names: impl IntoIterator<Item = &'a str>) -> WithPayloadSelector {
    let fields = names.into_iter().map(str::to_owned).collect();
    let include =
        with_payload_selector::SelectorOptions::Include(PayloadIncludeSelector { fields });
    WithPayloadSelector { selector_options: Some(include) }
}

/// Selects a record's fields, and its embedding's bits where they are wanted.
fn record_fields(with_embedding: bool) -> WithPayloadSelector {
    fields(field::RECORD.into_iter().chain(with_embedding.then_some(field::RAW)))
}

/// Selects these vectors.
pub(crate) fn vectors(names: &[&str]) -> Option<WithVectorsSelector> {
    if names.is_empty() {
        return None;
    }
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let include = with_vectors_selector::SelectorOptions::Include(VectorsSelector { names });
    Some(WithVectorsSelector { selector_options: Some(include) })
}

fn record_vectors(with_embedding: bool) -> Option<WithVectorsSelector> {
    if with_embedding { vectors(&[DENSE]) } else { None }
}

/// A point's id as text.
pub(crate) fn id_text(id: &PointId) -> String {
    match &id.point_id_options {
        Some(point_id::PointIdOptions::Uuid(uuid)) => uuid.clone(),
        Some(point_id::PointIdOptions::Num(number)) => number.to_string(),
        None => String::new(),
    }
}

fn to_record(point: RetrievedPoint, with_embedding: bool) -> Result<Record> {
    let embedding =
        if with_embedding { Some(codec::embedding(&point.payload, point.vectors)?) } else { None };
    codec::record(point.payload, embedding)
}

/// How long a namespace's former records stay where they were after it was rebound. What is read in
/// less time from a place that was the namespace's when the reading began is whole.
pub(crate) const GRACE_PERIOD: Duration = Duration::from_millis(250);

/// Whether somebody has claimed a record, perhaps to rebind its namespace.
fn is_claimed(payload: &Payload) -> bool {
    payload::get_integer(payload, field::CLAIMED).is_some()
}

impl Store {
    /// Reads a namespace's records where its binding says they are. Nothing if it is not bound.
    ///
    /// The binding that was cached may be of the past. So where a reading is in doubt, because it
    /// finds little, or a record that is claimed, or took long, the binding is looked up; and if the
    /// records are somewhere else by now, they are read there.
    async fn read<T, F: Future<Output = Result<T>>>(
        &self,
        namespace: &Namespace,
        read: impl Fn(Binding) -> F,
        is_doubtful: impl Fn(&T) -> bool,
    ) -> Result<Option<(T, Binding)>> {
        let mut looked_up = None;
        let mut binding = self.cached(namespace);
        if binding.is_none() {
            looked_up = Some(Instant::now());
            binding = self.binding(namespace).await?;
        }
        loop {
            let Some(known) = binding else { return Ok(None) };
            let start = looked_up.unwrap_or_else(Instant::now);
            let collection = layout::collection(&self.prefix, known.space.dimensions);
            let found = self.read_from(&collection, || read(known.clone())).await?;
            let certain = looked_up.is_some() || !is_doubtful(&found);
            if certain && start.elapsed() < GRACE_PERIOD {
                return Ok(Some((found, known)));
            }
            looked_up = Some(Instant::now());
            binding = self.binding(namespace).await?;
            if let Some(now) = binding.take_if(|now| now.is_at(&known)) {
                return Ok(Some((found, now)));
            }
        }
    }

    /// Reads the points of these records at a place.
    pub(crate) async fn points(
        &self,
        place: &Place,
        ids: impl Iterator<Item = &String>,
        with_payload: Option<WithPayloadSelector>,
        with_vectors: Option<WithVectorsSelector>,
    ) -> Result<Vec<RetrievedPoint>> {
        let ids: Vec<PointId> = ids.map(|id| place.point(id)).collect();
        self.points_of(&place.collection, &ids, with_payload, with_vectors).await
    }

    /// Reads points of a collection.
    async fn points_of(
        &self,
        collection: &str,
        ids: &[PointId],
        with_payload: Option<WithPayloadSelector>,
        with_vectors: Option<WithVectorsSelector>,
    ) -> Result<Vec<RetrievedPoint>> {
        let mut points = Vec::new();
        for page in ids.chunks(PAGE_SIZE) {
            let request = GetPoints {
                collection_name: collection.to_owned(),
                ids: page.to_vec(),
                with_payload: with_payload.clone(),
                with_vectors: with_vectors.clone(),
                ..GetPoints::default()
            };
            points.extend(self.transport.get(request).await?);
        }
        Ok(points)
    }

    /// Counts the points that match.
    pub(crate) async fn count_points(&self, collection: &str, filter: Native) -> Result<u64> {
        let request = CountPoints {
            collection_name: collection.to_owned(),
            filter: Some(filter),
            exact: Some(true),
            ..CountPoints::default()
        };
        self.transport.count(request).await
    }

    /// Builds the filter of a request at a place.
    pub(crate) async fn filter(&self, place: &Place, filter: Option<&Filter>) -> Result<Native> {
        // Without a filter nothing could be refused.
        let strict = filter.is_some() && self.is_strict(&place.collection).await?;
        filter::within(place, now(), filter, strict)
    }

    async fn read_page(&self, place: &Place, request: &ScanRecords) -> Result<ScannedPage> {
        let filter = self.filter(place, request.filter.as_ref()).await?;
        let position = request.page.position(op::SCAN_RECORDS)?;
        let mut offset = position.map(|point| layout::first_of_all_generations(&point));
        let mut page = ScannedPage::default();
        loop {
            let wanted = (request.page.limit - page.items.len()).min(PAGE_SIZE);
            let answer = self
                .transport
                .scroll(ScrollPoints {
                    collection_name: place.collection.clone(),
                    filter: Some(filter.clone()),
                    offset,
                    limit: u32::try_from(wanted).ok(),
                    with_payload: Some(record_fields(request.with_embeddings)),
                    with_vectors: record_vectors(request.with_embeddings),
                    ..ScrollPoints::default()
                })
                .await?;
            for point in answer.result {
                page.claimed |= is_claimed(&point.payload);
                page.items.push(to_record(point, request.with_embeddings)?);
            }
            offset = answer.next_page_offset;
            if offset.is_none() || page.items.len() >= request.page.limit {
                page.next = offset;
                return Ok(page);
            }
        }
    }

    /// Reads the living records of these ids at a place, and whether one is claimed.
    async fn read_ids(
        &self,
        place: &Place,
        request: &GetRecords,
    ) -> Result<(HashMap<String, Record>, bool)> {
        let with = request.with_embeddings;
        let (payload, vectors) = (Some(record_fields(with)), record_vectors(with));
        let points = self.points(place, request.ids.iter(), payload, vectors).await?;
        let now = now();
        let mut claimed = false;
        let mut records = HashMap::with_capacity(points.len());
        for point in points {
            claimed |= is_claimed(&point.payload);
            // One that is being deleted is no longer at its place.
            let here = payload::get_text(&point.payload, field::PLACE) == Some(place.as_str());
            let expires = payload::get_moment(&point.payload, field::EXPIRES)?;
            if here && expires.is_none_or(|expires| expires > now) {
                let record = to_record(point, with)?;
                records.insert(record.id.clone(), record);
            }
        }
        Ok((records, claimed))
    }

    /// Counts the records of a namespace that match.
    async fn count_records(&self, namespace: &Namespace, filter: Option<&Filter>) -> Result<u64> {
        let read = |binding: Binding| async move {
            let place = self.place(namespace, &binding);
            let filter = self.filter(&place, filter).await?;
            self.count_points(&place.collection, filter).await
        };
        // A number does not say what it counted.
        let counted = self.read(namespace, read, |_| true).await?;
        Ok(counted.map_or(0, |(count, _)| count))
    }
}

/// A page of a scan.
#[derive(Default)]
struct ScannedPage {
    items: Vec<Record>,
    next: Option<PointId>,
    /// Whether a record of it is claimed.
    claimed: bool,
}

/// The vectors facet.
#[derive(Debug)]
pub(crate) struct Vectors(pub(crate) Arc<Store>);

#[async_trait]
impl VectorStore for Vectors {
    async fn store(&self, scope: &Scope, request: &StoreRecords) -> Result<Vec<StoredRecord>> {
        self.0.store_records(scope, request).await
    }

    async fn get(&self, scope: &Scope, request: &GetRecords) -> Result<Vec<Record>> {
        let namespace = Namespace::of(scope, &request.namespace);
        let read = |binding: Binding| {
            let place = self.0.place(&namespace, &binding);
            async move { self.0.read_ids(&place, request).await }
        };
        let is_doubtful =
            |(found, claimed): &(HashMap<_, _>, bool)| *claimed || found.len() < request.ids.len();
        let found = self.0.read(&namespace, read, is_doubtful).await?;
        let found = found.map(|((found, _), _)| found).unwrap_or_default();
        Ok(request.ids.iter().filter_map(|id| found.get(id).cloned()).collect())
    }

    async fn delete(&self, scope: &Scope, request: &DeleteRecords) -> Result<u64> {
        self.0.delete_records(scope, request).await
    }

    async fn search(&self, scope: &Scope, request: &VectorSearch) -> Result<SearchResult> {
        self.0.search_vectors(scope, request).await
    }

    async fn search_text(&self, scope: &Scope, request: &TextSearch) -> Result<SearchResult> {
        self.0.search_words(scope, request).await
    }

    async fn scan(&self, scope: &Scope, request: &ScanRecords) -> Result<Page<Record>> {
        let namespace = Namespace::of(scope, &request.namespace);
        request.page.position(op::SCAN_RECORDS)?;
        let read = |binding: Binding| {
            let place = self.0.place(&namespace, &binding);
            async move { self.0.read_page(&place, request).await }
        };
        let page =
            self.0.read(&namespace, read, |page| page.claimed || page.items.is_empty()).await?;
        let ScannedPage { items, next, .. } = page.map(|(page, _)| page).unwrap_or_default();
        let cursor = |id| memquill_core::Cursor::new(op::SCAN_RECORDS, id_text(&id));
        Ok(Page { items, next: next.map(cursor) })
    }

    async fn count(&self, scope: &Scope, request: &CountRecords) -> Result<u64> {
        let namespace = Namespace::of(scope, &request.namespace);
        self.0.count_records(&namespace, request.filter.as_ref()).await
    }

    async fn rebind(&self, scope: &Scope, request: &Rebind) -> Result<u64> {
        self.0.rebind_namespace(scope, request).await
    }

    async fn restore(&self, scope: &Scope, request: &RestoreRecords) -> Result<Restored> {
        self.0.restore_records(scope, request).await
    }

    async fn namespaces(
        &self,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<NamespaceSummary>> {
        let after = page.position(op::LIST_NAMESPACES)?;
        let mut bound = self.0.registry().of_scope(scope).await?;
        bound.retain(|bound| after.as_ref().is_none_or(|after| bound.name > *after));
        bound.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        bound.truncate(page.limit + 1);
        let summaries: Vec<NamespaceSummary> = stream::iter(bound)
            .map(|bound| async move {
                let records = self.0.count_records(&bound.namespace, None).await?;
                let space = bound.binding.space;
                Ok(NamespaceSummary { namespace: bound.name, space, records })
            })
            .buffered(MAX_CONCURRENT_REQUESTS)
            .try_collect()
            .await?;
        Ok(Page::cut(summaries, page.limit, op::LIST_NAMESPACES, |s| s.namespace.as_str()))
    }
}
