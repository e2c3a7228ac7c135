//! The vectors facet: reading records. Writing, deleting and searching are in modules of their own.

mod remove;
mod search;
mod store;
mod text;

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memory_core::{
    CountRecords, DeleteRecords, EmbeddingSpace, Error, Filter, GetRecords, NamespaceSummary, Page,
    PageRequest, Rebind, Record, Result, ScanRecords, Scope, SearchResult, StoreRecords,
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
use crate::layout::{DENSE, Place, field};
use crate::payload;
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

impl Store {
    /// Runs `read` in the collection of the namespace's space. Where it finds little, the bond that
    /// was remembered may be of the past: then it is looked up, and if it is another, read again.
    async fn in_space<T: Default, F: Future<Output = Result<T>>>(
        &self,
        place: &Place,
        read: impl Fn(EmbeddingSpace) -> F,
        is_little: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let (known, fresh) = self.known_binding(place).await?;
        let Some(known) = known else { return Ok(T::default()) };
        let found = or_empty(read(known.space.clone()).await)?;
        if fresh || !is_little(&found) {
            return Ok(found);
        }
        match self.binding(place).await? {
            Some(Binding { space, .. }) if space != known.space => or_empty(read(space).await),
            _ => Ok(found),
        }
    }

    /// The living points of these records in a collection.
    pub(crate) async fn points(
        &self,
        space: &EmbeddingSpace,
        place: &Place,
        ids: impl Iterator<Item = &String>,
        with_payload: Option<WithPayloadSelector>,
        with_vectors: Option<WithVectorsSelector>,
    ) -> Result<Vec<RetrievedPoint>> {
        let ids: Vec<PointId> = ids.map(|id| place.point(id)).collect();
        let mut points = Vec::new();
        for part in ids.chunks(PART) {
            let request = GetPoints {
                collection_name: self.collection(space),
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

    /// The filter of a request in a space.
    pub(crate) async fn filter(
        &self,
        space: &EmbeddingSpace,
        place: &Place,
        filter: Option<&Filter>,
    ) -> Result<Native> {
        // Without a filter nothing could be refused.
        let strict = filter.is_some() && self.is_strict(space).await?;
        filter::within(place, now(), filter, strict)
    }

    async fn read_page(
        &self,
        space: &EmbeddingSpace,
        place: &Place,
        request: &ScanRecords,
    ) -> Result<Page<Record>> {
        let filter = self.filter(space, place, request.filter.as_ref()).await?;
        let mut offset = request.page.position(op::SCAN_RECORDS)?.map(PointId::from);
        let mut items = Vec::new();
        loop {
            let wanted = (request.page.limit - items.len()).min(PART);
            let part = self
                .transport
                .scroll(ScrollPoints {
                    collection_name: self.collection(space),
                    filter: Some(filter.clone()),
                    offset,
                    limit: u32::try_from(wanted).ok(),
                    with_payload: Some(record_fields(request.with_embeddings)),
                    with_vectors: record_vectors(request.with_embeddings),
                    ..ScrollPoints::default()
                })
                .await?;
            for point in part.result {
                items.push(to_record(point, request.with_embeddings)?);
            }
            let next = part.next_page_offset;
            if next.is_none() || items.len() >= request.page.limit {
                let cursor = |id| memory_core::Cursor::new(op::SCAN_RECORDS, id_text(&id));
                return Ok(Page { items, next: next.map(cursor) });
            }
            offset = next;
        }
    }
}

#[async_trait]
impl VectorStore for Store {
    async fn store(&self, scope: &Scope, request: &StoreRecords) -> Result<Vec<StoredRecord>> {
        self.store_records(scope, request).await
    }

    async fn get(&self, scope: &Scope, request: &GetRecords) -> Result<Vec<Record>> {
        let place = Place::of(scope, &request.namespace);
        let with = request.with_embeddings;
        let place = &place;
        let read = |space: EmbeddingSpace| async move {
            let (payload, vectors) = (Some(record_fields(with)), record_vectors(with));
            let points = self.points(&space, place, request.ids.iter(), payload, vectors).await?;
            let now = crate::backend::now();
            let mut records = HashMap::with_capacity(points.len());
            for point in points {
                // One that is being deleted is at no place any more.
                let here = payload::get_text(&point.payload, field::PLACE) == Some(place.as_str());
                let expires = payload::get_moment(&point.payload, field::EXPIRES)?;
                if here && expires.is_none_or(|expires| expires > now) {
                    let record = to_record(point, with)?;
                    records.insert(record.id.clone(), record);
                }
            }
            Ok(records)
        };
        let is_little = |found: &HashMap<String, Record>| found.len() < request.ids.len();
        let found = self.in_space(place, read, is_little).await?;
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
        let place = Place::of(scope, &request.namespace);
        request.page.position(op::SCAN_RECORDS)?;
        let place = &place;
        let read = |space: EmbeddingSpace| async move {
            Ok(Some(self.read_page(&space, place, request).await?))
        };
        let page = self.in_space(place, read, |page: &Option<Page<Record>>| {
            page.as_ref().is_none_or(|page| page.items.is_empty())
        });
        Ok(page.await?.unwrap_or(Page { items: Vec::new(), next: None }))
    }

    async fn count(&self, scope: &Scope, request: &CountRecords) -> Result<u64> {
        let place = Place::of(scope, &request.namespace);
        let place = &place;
        let read = |space: EmbeddingSpace| async move {
            let filter = self.filter(&space, place, request.filter.as_ref()).await?;
            self.count_points(&self.collection(&space), filter).await
        };
        self.in_space(place, read, |count| *count == 0).await
    }

    /// Not to be had: where a namespace's records are follows from its name, and to move them is no
    /// one step. The capability is not claimed, so that core refuses the call (V13).
    async fn rebind(&self, _: &Scope, _: &Rebind) -> Result<u64> {
        Err(Error::unsupported("qdrant does not bind a namespace to another space"))
    }

    async fn namespaces(
        &self,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<NamespaceSummary>> {
        let behind = page.position(op::LIST_NAMESPACES)?;
        let mut bound = self.registry().of_scope(scope).await?;
        bound.retain(|bound| behind.as_ref().is_none_or(|behind| bound.namespace > *behind));
        bound.sort_unstable_by(|a, b| a.namespace.cmp(&b.namespace));
        bound.truncate(page.limit + 1);
        let now = crate::backend::now();
        let summaries: Vec<NamespaceSummary> = stream::iter(bound)
            .map(|bound| async move {
                let collection = self.collection(&bound.binding.space);
                let living = filter::living(&bound.place, now);
                let records = or_empty(self.count_points(&collection, living).await)?;
                let space = bound.binding.space;
                Ok(NamespaceSummary { namespace: bound.namespace, space, records })
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Page::cut(summaries, page.limit, op::LIST_NAMESPACES, |s| s.namespace.as_str()))
    }
}
