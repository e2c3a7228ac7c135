//! Searching by vector (V4 to V7).

use std::collections::HashMap;

use memquill_core::{Error, ErrorKind, Hit, Result, Scope, SearchResult, VectorSearch};
use qdrant_client::qdrant::vector_input::Variant as Input;
use qdrant_client::qdrant::{
    CountPoints, DenseVector, Filter, Query, QueryPoints, ScoredPoint, SearchParams, VectorInput,
    WithPayloadSelector, query,
};

use super::store::other_space;
use super::{fields, id_text, is_taken, record_fields};
use crate::backend::Store;
use crate::bindings::Binding;
use crate::filter;
use crate::layout::{DENSE, EXACT_UP_TO, Namespace, Place, field};
use crate::payload::{self, Payload};
use crate::record::{self, direction};

/// What rounding may take from a similarity: far below the contract's 1e-4, and enough that a
/// vector is as near to itself as a threshold of 1 asks.
const ROUNDING: f32 = 1e-6;

/// The similarity that a score says, by which hits are ordered: what rounding tells apart, or the
/// sign of a zero, is no difference.
pub(super) fn similarity(score: f32) -> f32 {
    score.clamp(-1.0, 1.0) + 0.0
}

/// The threshold for the store, which is exclusive.
pub(super) fn least(min_similarity: Option<f32>) -> Option<f32> {
    min_similarity.map(|min| min - ROUNDING)
}

/// A request of a search.
pub(super) struct Nearest<'a> {
    pub(super) collection: &'a str,
    pub(super) vector: &'a [f32],
    pub(super) filter: &'a Filter,
    pub(super) min_similarity: Option<f32>,
}

/// What a search finds at a place.
struct Found {
    result: SearchResult,
    /// Whether a hit is taken hold of.
    taken: bool,
}

impl Store {
    pub(super) async fn search_vectors(
        &self,
        scope: &Scope,
        request: &VectorSearch,
    ) -> Result<SearchResult> {
        let namespace = Namespace::of(scope, &request.namespace);
        let read = |binding: Binding| {
            let place = self.place(&namespace, &binding);
            async move {
                // Of another space: either the request's, or what was remembered is.
                if binding.space != request.space {
                    return Ok(None);
                }
                self.search_place(&place, request).await.map(Some)
            }
        };
        let is_doubtful = |found: &Option<Found>| {
            found.as_ref().is_none_or(|found| found.taken || found.result.hits.is_empty())
        };
        match self.read(&namespace, read, is_doubtful).await? {
            None => Ok(SearchResult { hits: Vec::new(), complete: true }),
            Some((Some(found), _)) => Ok(found.result),
            Some((None, binding)) => {
                Err(other_space(&request.namespace, &binding.space, &request.space))
            }
        }
    }

    async fn search_place(&self, place: &Place, request: &VectorSearch) -> Result<Found> {
        let filter = self.filter(place, request.filter.as_ref()).await?;
        let nearest = Nearest {
            collection: &place.collection,
            vector: &direction(&request.embedding),
            filter: &filter,
            min_similarity: request.min_similarity,
        };
        let mut found = self.nearest(&nearest, request.limit, false).await?;
        let mut complete = true;
        if found.len() < request.limit && self.is_large(place).await? {
            match self.nearest(&nearest, request.limit, true).await {
                Ok(exact) => found = exact,
                // Strict mode may forbid it.
                Err(error) if error.kind() == ErrorKind::Unsupported => complete = false,
                Err(error) => return Err(error),
            }
        }
        let taken = found.iter().any(|(_, point)| is_taken(&point.payload));
        let hits = found.into_iter().map(|(_, point)| hit(point)).collect::<Result<_>>()?;
        Ok(Found { result: SearchResult { hits, complete }, taken })
    }

    /// Whether the namespace holds so many records that a search may be approximate.
    async fn is_large(&self, place: &Place) -> Result<bool> {
        let request = CountPoints {
            collection_name: place.collection.clone(),
            filter: Some(filter::all(place)),
            // The estimate is the tenant index's own count.
            exact: Some(false),
            ..CountPoints::default()
        };
        Ok(self.transport.count(request).await? > EXACT_UP_TO)
    }

    /// The best points with their record ids, in the contract's order (V6): descending, and what is
    /// as near by id. The store knows no order among those, so where the limit cuts through them
    /// more is asked for until it does not.
    async fn nearest(
        &self,
        nearest: &Nearest<'_>,
        limit: usize,
        exact: bool,
    ) -> Result<Vec<(String, ScoredPoint)>> {
        let whole = self.query(nearest, limit + 1, exact, record_fields(false)).await?;
        let mut asked = limit + 1;
        let mut points = whole;
        let mut known: HashMap<String, Payload> = HashMap::new();
        while points.len() == asked
            && similarity(points[limit - 1].score) <= similarity(points[asked - 1].score)
        {
            for point in &mut points {
                if let Some(id) = &point.id
                    && point.payload.len() > 1
                {
                    known.insert(id_text(id), std::mem::take(&mut point.payload));
                }
            }
            asked *= 4;
            points = self.query(nearest, asked, exact, fields([field::ID])).await?;
        }
        let mut found = Vec::with_capacity(points.len());
        for point in points {
            found.push((payload::need_text(&point.payload, field::ID)?.to_owned(), point));
        }
        found.sort_by(|(a_id, a), (b_id, b)| {
            similarity(b.score).total_cmp(&similarity(a.score)).then_with(|| a_id.cmp(b_id))
        });
        found.truncate(limit);
        self.complete(nearest.collection, found, &mut known).await
    }

    /// Reads the payloads that are not there yet. What was deleted meanwhile is left out.
    async fn complete(
        &self,
        collection: &str,
        mut found: Vec<(String, ScoredPoint)>,
        known: &mut HashMap<String, Payload>,
    ) -> Result<Vec<(String, ScoredPoint)>> {
        let missing: Vec<_> = found
            .iter_mut()
            .filter(|(_, point)| point.payload.len() <= 1)
            .filter_map(|(_, point)| {
                let id = point.id.clone()?;
                match known.remove(&id_text(&id)) {
                    Some(payload) => {
                        point.payload = payload;
                        None
                    }
                    None => Some(id),
                }
            })
            .collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let mut read = self.payloads(collection, missing).await?;
        for (_, point) in &mut found {
            if point.payload.len() <= 1
                && let Some(payload) = point.id.as_ref().and_then(|id| read.remove(&id_text(id)))
            {
                point.payload = payload;
            }
        }
        found.retain(|(_, point)| point.payload.len() > 1);
        Ok(found)
    }

    async fn query(
        &self,
        nearest: &Nearest<'_>,
        limit: usize,
        exact: bool,
        with_payload: WithPayloadSelector,
    ) -> Result<Vec<ScoredPoint>> {
        let input = Input::Dense(DenseVector { data: nearest.vector.to_vec() });
        let params = SearchParams { exact: Some(true), ..SearchParams::default() };
        self.transport
            .query(QueryPoints {
                collection_name: nearest.collection.to_owned(),
                query: Some(nearest_to(input)),
                using: Some(DENSE.to_owned()),
                filter: Some(nearest.filter.clone()),
                params: exact.then_some(params),
                score_threshold: least(nearest.min_similarity),
                limit: Some(limit as u64),
                with_payload: Some(with_payload),
                ..QueryPoints::default()
            })
            .await
    }
}

/// The query of what is nearest to a vector.
pub(super) fn nearest_to(input: Input) -> Query {
    Query { variant: Some(query::Variant::Nearest(VectorInput { variant: Some(input) })) }
}

fn hit(point: ScoredPoint) -> Result<Hit> {
    let similarity = similarity(point.score);
    if !similarity.is_finite() {
        return Err(Error::corrupted("a similarity is no number"));
    }
    Ok(Hit {
        record: record::record(point.payload, None)?,
        score: f64::from(similarity),
        similarity: Some(similarity),
    })
}
