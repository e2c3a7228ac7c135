//! The vectors facet: reading records. Writing, deleting and searching are in modules of their own.

mod rebinding;
mod remove;
mod search;
mod store;
mod text;

use std::collections::HashMap;
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

use crate::backend::{AT_ONCE, Store, now};
use crate::bindings::Binding;
use crate::filter;
use crate::layout::{self, DENSE, Namespace, Place, field};
use crate::payload::{self, Payload};
use crate::record;
use crate::transport::or_empty;

/// Points in one answer of a scroll or get, so that no answer grows without bound.
const PART: usize = 1_000;

/// These fields of the payload.
pub(crate) fn fields<'a>(names: impl IntoIterator<Item = &'a str>) -> WithPayloadSelector {
    let fields = names.into_iter().map(str::to_owned).collect();
    let include =
        with_payload_selector::SelectorOptions::Include(PayloadIncludeSelector { fields });
    WithPayloadSelector { selector_options: Some(include) }
}

/// A record's fields, and its embedding's bits where they are wanted.
fn record_fields(with_embedding: bool) -> WithPayloadSelector {
    fields(field::RECORD.into_iter().chain(with_embedding.then_some(field::RAW)))
}

/// These vectors.
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
        if with_embedding { Some(record::embedding(&point.payload, point.vectors)?) } else { None };
    record::record(point.payload, embedding)
}

/// For so long after a namespace was rebound its former records stay where they were. What is read
/// in less time from a place that was the namespace's when the reading began is whole.
pub(crate) const GRACE: Duration = Duration::from_millis(250);

/// Whether somebody has taken hold of a record, perhaps to rebind its namespace.
fn is_taken(payload: &Payload) -> bool {
    payload::get_integer(payload, field::TAKEN).is_some()
}

impl Store {
    /// Reads where a namespace is bound to. Nothing if it is not bound.
    ///
    /// The bond that was remembered may be of the past. So where a reading is in doubt, because it
    /// finds little, or a record that is taken hold of, or took long, the bond is looked up; and if
    /// the records are somewhere else by now, they are read there.
    async fn read<T: Default, F: Future<Output = Result<T>>>(
        &self,
        namespace: &Namespace,
        read: impl Fn(Binding) -> F,
        is_doubtful: impl Fn(&T) -> bool,
    ) -> Result<Option<(T, Binding)>> {
        let mut looked_up = None;
        let mut binding = self.remembered(namespace);
        if binding.is_none() {
            looked_up = Some(Instant::now());
            binding = self.binding(namespace).await?;
        }
        loop {
            let Some(known) = binding else { return Ok(None) };
            let start = looked_up.unwrap_or_else(Instant::now);
            let found = or_empty(read(known.clone()).await)?;
            let certain = looked_up.is_some() || !is_doubtful(&found);
            if certain && start.elapsed() < GRACE {
                return Ok(Some((found, known)));
            }
            looked_up = Some(Instant::now());
            binding = self.binding(namespace).await?;
            if let Some(now) = binding.take_if(|now| now.is_at(&known)) {
                return Ok(Some((found, now)));
            }
        }
    }

    /// The points of these records at a place.
    pub(crate) async fn points(
        &self,
        place: &Place,
        ids: impl Iterator<Item = &String>,
        with_payload: Option<WithPayloadSelector>,
        with_vectors: Option<WithVectorsSelector>,
    ) -> Result<Vec<RetrievedPoint>> {
        let ids: Vec<PointId> = ids.map(|id| place.point(id)).collect();
        let mut points = Vec::new();
        for part in ids.chunks(PART) {
            let request = GetPoints {
                collection_name: place.collection.clone(),
                ids: part.to_vec(),
                with_payload: with_payload.clone(),
                with_vectors: with_vectors.clone(),
                ..GetPoints::default()
            };
            points.extend(self.transport.get(request).await?);
        }
        Ok(points)
    }

    /// How many points match.
    pub(crate) async fn count_points(&self, collection: &str, filter: Native) -> Result<u64> {
        let request = CountPoints {
            collection_name: collection.to_owned(),
            filter: Some(filter),
            exact: Some(true),
            ..CountPoints::default()
        };
        self.transport.count(request).await
    }

    /// The filter of a request at a place.
    pub(crate) async fn filter(&self, place: &Place, filter: Option<&Filter>) -> Result<Native> {
        // Without a filter nothing could be refused.
        let strict = filter.is_some() && self.is_strict(&place.collection).await?;
        filter::within(place, now(), filter, strict)
    }

    async fn read_page(&self, place: &Place, request: &ScanRecords) -> Result<Part> {
        let filter = self.filter(place, request.filter.as_ref()).await?;
        let position = request.page.position(op::SCAN_RECORDS)?;
        let mut offset = position.map(|point| layout::first_of_all_generations(&point));
        let mut part = Part::default();
        loop {
            let wanted = (request.page.limit - part.items.len()).min(PART);
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
                part.taken |= is_taken(&point.payload);
                part.items.push(to_record(point, request.with_embeddings)?);
            }
            offset = answer.next_page_offset;
            if offset.is_none() || part.items.len() >= request.page.limit {
                part.next = offset;
                return Ok(part);
            }
        }
    }

    /// The records of these ids that are living at a place, and whether one is taken hold of.
    async fn read_ids(
        &self,
        place: &Place,
        request: &GetRecords,
    ) -> Result<(HashMap<String, Record>, bool)> {
        let with = request.with_embeddings;
        let (payload, vectors) = (Some(record_fields(with)), record_vectors(with));
        let points = self.points(place, request.ids.iter(), payload, vectors).await?;
        let now = now();
        let mut taken = false;
        let mut records = HashMap::with_capacity(points.len());
        for point in points {
            taken |= is_taken(&point.payload);
            // One that is being deleted is at no place any more.
            let here = payload::get_text(&point.payload, field::PLACE) == Some(place.as_str());
            let expires = payload::get_moment(&point.payload, field::EXPIRES)?;
            if here && expires.is_none_or(|expires| expires > now) {
                let record = to_record(point, with)?;
                records.insert(record.id.clone(), record);
            }
        }
        Ok((records, taken))
    }

    /// How many records of a namespace match.
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

/// A part of a walk.
#[derive(Default)]
struct Part {
    items: Vec<Record>,
    next: Option<PointId>,
    /// Whether a record of it is taken hold of.
    taken: bool,
}

#[async_trait]
impl VectorStore for Store {
    async fn store(&self, scope: &Scope, request: &StoreRecords) -> Result<Vec<StoredRecord>> {
        self.store_records(scope, request).await
    }

    async fn get(&self, scope: &Scope, request: &GetRecords) -> Result<Vec<Record>> {
        let namespace = Namespace::of(scope, &request.namespace);
        let read = |binding: Binding| {
            let place = self.place(&namespace, &binding);
            async move { self.read_ids(&place, request).await }
        };
        let found = self
            .read(&namespace, read, |(found, taken)| *taken || found.len() < request.ids.len())
            .await?;
        let found = found.map(|((found, _), _)| found).unwrap_or_default();
        Ok(request.ids.iter().filter_map(|id| found.get(id).cloned()).collect())
    }

    async fn delete(&self, scope: &Scope, request: &DeleteRecords) -> Result<u64> {
        self.delete_records(scope, request).await
    }

    async fn search(&self, scope: &Scope, request: &VectorSearch) -> Result<SearchResult> {
        self.search_vectors(scope, request).await
    }

    async fn search_text(&self, scope: &Scope, request: &TextSearch) -> Result<SearchResult> {
        self.search_words(scope, request).await
    }

    async fn scan(&self, scope: &Scope, request: &ScanRecords) -> Result<Page<Record>> {
        let namespace = Namespace::of(scope, &request.namespace);
        request.page.position(op::SCAN_RECORDS)?;
        let read = |binding: Binding| {
            let place = self.place(&namespace, &binding);
            async move { self.read_page(&place, request).await }
        };
        let part = self.read(&namespace, read, |part| part.taken || part.items.is_empty()).await?;
        let Part { items, next, .. } = part.map(|(part, _)| part).unwrap_or_default();
        let cursor = |id| memquill_core::Cursor::new(op::SCAN_RECORDS, id_text(&id));
        Ok(Page { items, next: next.map(cursor) })
    }

    async fn count(&self, scope: &Scope, request: &CountRecords) -> Result<u64> {
        let namespace = Namespace::of(scope, &request.namespace);
        self.count_records(&namespace, request.filter.as_ref()).await
    }

    async fn rebind(&self, scope: &Scope, request: &Rebind) -> Result<u64> {
        self.rebind_namespace(scope, request).await
    }

    async fn restore(&self, scope: &Scope, request: &RestoreRecords) -> Result<Restored> {
        self.restore_records(scope, request).await
    }

    async fn namespaces(
        &self,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<NamespaceSummary>> {
        let behind = page.position(op::LIST_NAMESPACES)?;
        let mut bound = self.registry().of_scope(scope).await?;
        bound.retain(|bound| behind.as_ref().is_none_or(|behind| bound.name > *behind));
        bound.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        bound.truncate(page.limit + 1);
        let summaries: Vec<NamespaceSummary> = stream::iter(bound)
            .map(|bound| async move {
                let records = self.count_records(&bound.namespace, None).await?;
                let space = bound.binding.space;
                Ok(NamespaceSummary { namespace: bound.name, space, records })
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Page::cut(summaries, page.limit, op::LIST_NAMESPACES, |s| s.namespace.as_str()))
    }
}
