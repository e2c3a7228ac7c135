//! Searching by vector (V4 to V7), and what it shares with searching by words.

use std::collections::HashMap;

use futures_util::future::OptionFuture;
use memquill_core::{
    EmbeddingSpace, Error, ErrorKind, Hit, Result, Scope, SearchResult, VectorSearch, conflict,
};
use qdrant_client::qdrant::vector_input::Variant as Input;
use qdrant_client::qdrant::{
    CountPoints, DenseVector, Query, QueryPoints, RetrievedPoint, ScoredPoint, SearchParams,
    VectorInput, query,
};

use super::{fields, id_text, is_claimed, record_fields};
use crate::bindings::Binding;
use crate::codec::payload;
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

/// Points that are asked for at least where the first answer does not decide.
const MIN_TIES: usize = 256;

/// Reads the similarity from a score, by which hits are ordered: neither rounding nor the sign of a
/// zero makes a difference.
pub(super) fn similarity(score: f32) -> f32 {
    score.clamp(-1.0, 1.0) + 0.0
}

/// Returns the threshold for the store, which is exclusive.
pub(super) fn least(min_similarity: Option<f32>) -> Option<f32> {
    min_similarity.map(|min| min - ROUNDING)
}

/// What a search finds in a place.
pub(super) struct Found {
    pub(super) hits: Vec<Hit>,
    pub(super) complete: bool,
    /// Whether a hit is claimed.
    pub(super) claimed: bool,
}

impl Found {
    pub(super) const NOTHING: Self = Self { hits: Vec::new(), complete: true, claimed: false };
}

/// The contract's score of a point, and its similarity if it is compared.
pub(super) struct Rank {
    pub(super) score: f64,
    pub(super) similarity: Option<f32>,
}

/// A point that may become a hit.
struct Candidate {
    id: String,
    rank: Rank,
    point: ScoredPoint,
}

impl Store {
    pub(super) async fn search_vectors(
        &self,
        scope: &Scope,
        request: &VectorSearch,
    ) -> Result<SearchResult> {
        let find = |place| async move { self.nearest(&place, request).await };
        self.search(scope, &request.namespace, Some(&request.space), find).await
    }

    /// Searches where a namespace's records are; `Conflict` where it is bound to another space than
    /// the request's.
    pub(super) async fn search<F: Future<Output = Result<Found>>>(
        &self,
        scope: &Scope,
        name: &str,
        space: Option<&EmbeddingSpace>,
        find: impl Fn(Place) -> F,
    ) -> Result<SearchResult> {
        let namespace = Namespace::of(scope, name);
        let read = |binding: Binding| {
            // Of another space: either the request's, or what was cached is.
            let same = space.is_none_or(|space| *space == binding.space);
            let found = same.then(|| find(self.place(&namespace, &binding)));
            async { OptionFuture::from(found).await.transpose() }
        };
        let is_doubtful = |found: &Option<Found>| {
            found.as_ref().is_none_or(|found| found.claimed || found.hits.is_empty())
        };
        match self.read(&namespace, read, is_doubtful).await? {
            None => Ok(SearchResult { hits: Vec::new(), complete: true }),
            Some((Some(Found { hits, complete, .. }), _)) => Ok(SearchResult { hits, complete }),
            Some((None, binding)) => {
                Err(conflict::other_space(name, &binding.space, space.unwrap_or(&binding.space)))
            }
        }
    }

    async fn nearest(&self, place: &Place, request: &VectorSearch) -> Result<Found> {
        let query = |exact: bool| QueryPoints {
            collection_name: place.collection.clone(),
            query: Some(nearest_to(Input::Dense(DenseVector {
                data: direction(&request.embedding),
            }))),
            using: Some(DENSE.to_owned()),
            params: exact.then(|| SearchParams { exact: Some(true), ..SearchParams::default() }),
            score_threshold: least(request.min_similarity),
            ..QueryPoints::default()
        };
        let filter = Some(self.filter(place, request.filter.as_ref()).await?);
        let bound = |score| f64::from(similarity(score));
        let rank = |point: &ScoredPoint| {
            let similarity = similarity(point.score);
            if similarity.is_finite() {
                let score = f64::from(similarity);
                return Ok(Some(Rank { score, similarity: Some(similarity) }));
            }
            Err(Error::corrupted("a similarity is not a number"))
        };
        let usual = QueryPoints { filter: filter.clone(), ..query(false) };
        let found = self.best(usual, request.limit, bound, rank).await?;
        if found.hits.len() >= request.limit || !self.is_large(place).await? {
            return Ok(found);
        }
        match self.best(QueryPoints { filter, ..query(true) }, request.limit, bound, rank).await {
            // Strict mode may forbid it.
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                Ok(Found { complete: false, ..found })
            }
            exact => exact,
        }
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

    /// Finds the best points of a query in the contract's order (V6): descending by the score that
    /// `rank` gives, and what is equal by id. What `rank` leaves out is no hit.
    ///
    /// The store knows no order among what is equal, and its own scores are rounded: `bound` is the
    /// greatest score that a point may have which follows one of a store's score. So where the limit
    /// cuts through such points, or is not filled, this asks for more, up to [`MAX_TIES`], and the
    /// result says whether that was enough.
    pub(super) async fn best(
        &self,
        query: QueryPoints,
        limit: usize,
        bound: impl Fn(f32) -> f64,
        rank: impl Fn(&ScoredPoint) -> Result<Option<Rank>>,
    ) -> Result<Found> {
        let mut asked = limit + 1;
        let most = asked.max(MAX_TIES);
        loop {
            // The first answer has the whole records, as it decides most often.
            let whole = asked == limit + 1;
            let names = if whole { &field::RECORD[..] } else { &[field::ID] };
            let request = QueryPoints {
                limit: Some(asked as u64),
                with_payload: Some(fields(names.iter().copied().chain([field::LENGTH]))),
                ..query.clone()
            };
            let points = self.transport.query(request).await?;
            let all = points.len() < asked;
            let last = points.last().map_or(f64::INFINITY, |point| bound(point.score));
            let mut best = Vec::with_capacity(points.len());
            for point in points {
                if let Some(rank) = rank(&point)? {
                    let id = payload::need_text(&point.payload, field::ID)?.to_owned();
                    best.push(Candidate { id, rank, point });
                }
            }
            best.sort_by(|a, b| {
                b.rank.score.total_cmp(&a.rank.score).then_with(|| a.id.cmp(&b.id))
            });
            let complete = all || best.get(limit - 1).is_some_and(|worst| worst.rank.score > last);
            if complete || asked == most {
                best.truncate(limit);
                let (hits, claimed) = self.hits(&query.collection_name, best, whole).await?;
                return Ok(Found { hits, complete, claimed });
            }
            asked = most.min(MIN_TIES.max(asked * 4));
        }
    }

    /// Makes hits, and says whether one is claimed. Reads the records unless the candidates hold
    /// them; those that were deleted meanwhile are left out.
    async fn hits(
        &self,
        collection: &str,
        mut best: Vec<Candidate>,
        whole: bool,
    ) -> Result<(Vec<Hit>, bool)> {
        if !whole {
            let ids: Vec<_> = best.iter().filter_map(|found| found.point.id.clone()).collect();
            let read = self.points_of(collection, &ids, Some(record_fields(false)), None).await?;
            let record = |point: RetrievedPoint| Some((id_text(&point.id?), point.payload));
            let mut records: HashMap<_, _> = read.into_iter().filter_map(record).collect();
            let mut has_record = |candidate: &mut Candidate| {
                let id = candidate.point.id.as_ref()?;
                candidate.point.payload = records.remove(&id_text(id))?;
                Some(())
            };
            best.retain_mut(|candidate| has_record(candidate).is_some());
        }
        let claimed = best.iter().any(|candidate| is_claimed(&candidate.point.payload));
        let hit = |Candidate { rank: Rank { score, similarity }, point, .. }: Candidate| {
            Ok(Hit { record: codec::record(point.payload, None)?, score, similarity })
        };
        Ok((best.into_iter().map(hit).collect::<Result<_>>()?, claimed))
    }
}

/// Builds the query of what is nearest to a vector.
pub(super) fn nearest_to(input: Input) -> Query {
    Query { variant: Some(query::Variant::Nearest(VectorInput { variant: Some(input) })) }
}
