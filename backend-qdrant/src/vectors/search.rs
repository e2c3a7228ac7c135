//! Searching by vector (V4 to V7).

use std::collections::HashMap;

use memquill_core::{Error, ErrorKind, Hit, Result, Scope, SearchResult, VectorSearch, conflict};
use qdrant_client::qdrant::vector_input::Variant as Input;
use qdrant_client::qdrant::{
    CountPoints, DenseVector, Filter, Query, QueryPoints, ScoredPoint, SearchParams, VectorInput,
    WithPayloadSelector, query,
};

use super::{fields, id_text, is_claimed, record_fields};
use crate::bindings::Binding;
use crate::codec::payload::{self, Payload};
use crate::codec::{self, direction};
use crate::filter;
use crate::layout::{DENSE, EXACT_SEARCH_LIMIT, Namespace, Place, field};
use crate::store::Store;

/// The rounding error of a similarity at most: far below the contract's 1e-4, and enough that a
/// vector is as near to itself as a threshold of 1 asks.
const ROUNDING: f32 = 1e-6;

/// Points that are asked for at most to order what is equally near: more than a namespace has whose
/// searches are exact.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
pub(super) const MAX_TIES: usize = EXACT_SEARCH_LIMIT as usize + 1;

/// Reads the similarity from a score, by which hits are ordered: neither rounding nor the sign of a
/// zero makes a difference.
pub(super) fn similarity(score: f32) -> f32 {
    score.clamp(-1.0, 1.0) + 0.0
}

/// Returns the threshold for the store, which is exclusive.
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
    /// Whether a hit is claimed.
    claimed: bool,
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
                // Of another space: either the request's, or what was cached is.
                if binding.space != request.space {
                    return Ok(None);
                }
                self.search_place(&place, request).await.map(Some)
            }
        };
        let is_doubtful = |found: &Option<Found>| {
            found.as_ref().is_none_or(|found| found.claimed || found.result.hits.is_empty())
        };
        match self.read(&namespace, read, is_doubtful).await? {
            None => Ok(SearchResult { hits: Vec::new(), complete: true }),
            Some((Some(found), _)) => Ok(found.result),
            Some((None, binding)) => {
                Err(conflict::other_space(&request.namespace, &binding.space, &request.space))
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
        let (mut found, mut complete) = self.nearest(&nearest, request.limit, false).await?;
        if found.len() < request.limit && self.is_large(place).await? {
            match self.nearest(&nearest, request.limit, true).await {
                Ok(exact) => (found, complete) = exact,
                // Strict mode may forbid it.
                Err(error) if error.kind() == ErrorKind::Unsupported => complete = false,
                Err(error) => return Err(error),
            }
        }
        let claimed = found.iter().any(|(_, point)| is_claimed(&point.payload));
        let hits = found.into_iter().map(|(_, point)| hit(point)).collect::<Result<_>>()?;
        Ok(Found { result: SearchResult { hits, complete }, claimed })
    }

    /// Whether the namespace holds more records than an exact search reads.
    async fn is_large(&self, place: &Place) -> Result<bool> {
        let request = CountPoints {
            collection_name: place.collection.clone(),
            filter: Some(filter::all(place)),
            // The estimate is the tenant index's own count.
            exact: Some(false),
            ..CountPoints::default()
        };
        Ok(self.transport.count(request).await? > EXACT_SEARCH_LIMIT)
    }

    /// Finds the best points with their record ids, in the contract's order (V6): descending, and
    /// what is equally near by id. The store knows no order among those, so where the limit cuts
    /// through them, more is asked for until it does not, and this says whether that was enough.
    async fn nearest(
        &self,
        nearest: &Nearest<'_>,
        limit: usize,
        exact: bool,
    ) -> Result<(Vec<(String, ScoredPoint)>, bool)> {
        let mut asked = limit + 1;
        let most = asked.max(MAX_TIES);
        let mut points = self.query(nearest, asked, exact, record_fields(false)).await?;
        let mut known: HashMap<String, Payload> = HashMap::new();
        let cuts_ties = |points: &[ScoredPoint], asked: usize| {
            points.len() == asked
                && similarity(points[limit - 1].score) <= similarity(points[asked - 1].score)
        };
        while asked < most && cuts_ties(&points, asked) {
            for point in &mut points {
                if let Some(id) = &point.id
                    && point.payload.len() > 1
                {
                    known.insert(id_text(id), std::mem::take(&mut point.payload));
                }
            }
            asked = most.min(asked * 4);
            points = self.query(nearest, asked, exact, fields([field::ID])).await?;
        }
        let complete = !cuts_ties(&points, asked);
        let mut found = Vec::with_capacity(points.len());
        for point in points {
            found.push((payload::need_text(&point.payload, field::ID)?.to_owned(), point));
        }
        found.sort_by(|(a_id, a), (b_id, b)| {
            similarity(b.score).total_cmp(&similarity(a.score)).then_with(|| a_id.cmp(b_id))
        });
        found.truncate(limit);
        Ok((self.with_payloads(nearest.collection, found, &mut known).await?, complete))
    }

    /// Reads the payloads that are missing. Records that were deleted meanwhile are left out.
    async fn with_payloads(
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

/// Builds the query of what is nearest to a vector.
pub(super) fn nearest_to(input: Input) -> Query {
    Query { variant: Some(query::Variant::Nearest(VectorInput { variant: Some(input) })) }
}

fn hit(point: ScoredPoint) -> Result<Hit> {
    let similarity = similarity(point.score);
    if !similarity.is_finite() {
        return Err(Error::corrupted("a similarity is not a number"));
    }
    Ok(Hit {
        record: codec::record(point.payload, None)?,
        score: f64::from(similarity),
        similarity: Some(similarity),
    })
}
