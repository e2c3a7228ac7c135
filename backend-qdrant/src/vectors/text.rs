//! Searching by words (V9).
//!
//! A namespace is a corpus of its own: how many records it has, how long they are and how many hold
//! each word is counted by the store's indexes, over what is living now. With these the store
//! computes BM25 itself: the sparse vectors give each word's weight in a text of the usual length,
//! and a formula makes of it the weight by the namespace's own mean. Scores are computed once more
//! here, since the store rounds them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memquill_core::text::{bm25, query_words};
use memquill_core::{QueryEmbedding, Result, Scope, SearchResult, TextSearch};
use qdrant_client::qdrant::vector_input::Variant as Input;
use qdrant_client::qdrant::{
    Condition, Expression, FacetCounts, Filter, Formula, PrefetchQuery, Query, QueryPoints,
    ScoredPoint, SparseVector, facet_value, query,
};

use super::search::{Found, MAX_TIES, Rank, least, nearest_to, similarity};
use super::vectors;
use crate::codec::payload;
use crate::codec::{self, USUAL_LENGTH, direction};
use crate::filter;
use crate::layout::{DENSE, Place, SPARSE, field};
use crate::store::{MAX_CONCURRENT_REQUESTS, Store, now};

/// The greatest fraction by which a store's score, of 32 bits, may be less than the exact one.
const ROUNDING: f64 = 1e-4;

/// Records that may come to hold a word between counting and searching.
const MAX_STORED_MEANWHILE: u64 = 100;

/// Statistics of a namespace, and a query's words in it.
struct Corpus {
    mean_length: f64,
    /// The words by their dimensions, in the order in which a score adds them up; words of one
    /// dimension are added up.
    words: BTreeMap<u32, Word>,
}

/// A query's word.
#[derive(Default)]
struct Word {
    texts: Vec<String>,
    idf: f64,
    /// Records that hold it.
    holding: u64,
}

impl Store {
    pub(super) async fn search_words(
        &self,
        scope: &Scope,
        request: &TextSearch,
    ) -> Result<SearchResult> {
        let given = request.similarity_to.as_ref().map(|compared| &compared.space);
        let find = |place| async move { self.words_at(&place, request).await };
        self.search(scope, &request.namespace, given, find).await
    }

    async fn words_at(&self, place: &Place, request: &TextSearch) -> Result<Found> {
        let query: BTreeSet<String> =
            query_words(&request.text, request.language).into_iter().collect();
        let filter = self.filter(place, request.filter.as_ref()).await?;
        if query.is_empty() {
            return Ok(Found::NOTHING);
        }
        let corpus = self.corpus(place, &query).await?;
        if corpus.words.is_empty() {
            return Ok(Found::NOTHING);
        }
        let compared = request.similarity_to.as_ref();
        let formula = Formula { expression: Some(corpus.score()), ..Formula::default() };
        let query = QueryPoints {
            collection_name: place.collection.clone(),
            prefetch: corpus.words.iter().map(|word| weights(word, filter.clone())).collect(),
            query: Some(Query { variant: Some(query::Variant::Formula(formula)) }),
            with_vectors: vectors(if compared.is_some() { &[SPARSE, DENSE] } else { &[SPARSE] }),
            ..QueryPoints::default()
        };
        let bound = |score| f64::from(score) * (1.0 + ROUNDING);
        let found = self
            .best(query, request.limit, bound, |point| Ok(corpus.rank(point, compared)))
            .await?;
        // Of a word that more records hold than are weighed, some of them may be missing.
        let weighed = corpus.words.values().all(|word| word.holding < MAX_TIES as u64);
        let complete = found.complete && (weighed || found.hits.len() >= request.limit);
        Ok(Found { complete, ..found })
    }

    /// Counts the namespace's records, their lengths, and those that hold each word.
    async fn corpus(&self, place: &Place, query: &BTreeSet<String>) -> Result<Corpus> {
        let collection = &place.collection;
        let living = filter::living(place, now());
        let lengths = self.transport.facet(FacetCounts {
            collection_name: collection.clone(),
            key: field::LENGTH.to_owned(),
            filter: Some(living.clone()),
            limit: Some(u32::MAX.into()),
            exact: Some(true),
            ..FacetCounts::default()
        });
        let holding = stream::iter(query.iter().cloned())
            .map(|word| {
                let mut filter = living.clone();
                filter.must.push(filter::is(field::WORDS, &*word));
                async move { Ok((word, self.count_points(collection, filter).await?)) }
            })
            .buffered(MAX_CONCURRENT_REQUESTS)
            .try_collect::<Vec<_>>();
        let (lengths, holding) = tokio::try_join!(lengths, holding)?;
        let (mut records, mut total) = (0_u64, 0_u64);
        for hit in lengths {
            if let Some(facet_value::Variant::IntegerValue(length)) =
                hit.value.and_then(|value| value.variant)
            {
                records += hit.count;
                total += hit.count * u64::try_from(length).unwrap_or_default();
            }
        }
        let mut words: BTreeMap<u32, Word> = BTreeMap::new();
        for (word, holding) in holding.into_iter().filter(|(_, holding)| *holding > 0) {
            let all = words.entry(codec::dimension(&word)).or_default();
            // Another may have been stored between the counts.
            all.idf += bm25::idf(records.max(holding), holding);
            all.holding += holding;
            all.texts.push(word);
        }
        Ok(Corpus { mean_length: mean_length(total, records), words })
    }
}

/// Returns the mean length of `records` texts that have `total` words.
///
/// The first records of a namespace may be stored between the counts, so that words are counted and
/// lengths are not.
#[expect(clippy::cast_precision_loss, reason = "both are far below 2^53")]
fn mean_length(total: u64, records: u64) -> f64 {
    if total == 0 { USUAL_LENGTH } else { total as f64 / records as f64 }
}

/// Finds the weights of a word, among the records that match.
fn weights((dimension, word): (&u32, &Word), mut filter: Filter) -> PrefetchQuery {
    // Other words may share the dimension, but no record is found that has none of the query's.
    filter.must.push(Condition::matches(field::WORDS, word.texts.clone()));
    PrefetchQuery {
        query: Some(nearest_to(Input::Sparse(codec::sparse([(*dimension, 1.0)].into_iter())))),
        using: Some(SPARSE.to_owned()),
        filter: Some(filter),
        limit: Some((word.holding + MAX_STORED_MEANWHILE).min(MAX_TIES as u64)),
        ..PrefetchQuery::default()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "what the store takes")]
fn number(number: f64) -> Expression {
    Expression::from(number as f32)
}

impl Corpus {
    /// Builds the formula of a score from the words' weights, which are the prefetches' scores.
    ///
    /// With `u(l)` and `m(l)` for `K1 (1 - B + B l / length)` of the usual and of the mean length, a
    /// word's weight `w` in a text of length `l` is `f (K1 + 1) / (f + u(l))`. Its frequency `f` is
    /// `w u(l) / (K1 + 1 - w)`, and so `f (K1 + 1) / (f + m(l))` is
    /// `w u(l) / (m(l) + w (u(l) - m(l)) / (K1 + 1))`.
    fn score(&self) -> Expression {
        let length = || Expression::variable(field::LENGTH);
        let by_word = |length: f64| bm25::K1 * bm25::B / length;
        let (usual, mean) = (by_word(USUAL_LENGTH), by_word(self.mean_length));
        let norm = |by_word| {
            let of_length = Expression::mult_with([number(by_word), length()]);
            Expression::sum_with([number(bm25::K1 * (1.0 - bm25::B)), of_length])
        };
        Expression::sum_with(self.words.values().enumerate().map(|(at, Word { idf, .. })| {
            let weight = || Expression::score_idx(at);
            let longer = number((usual - mean) / (bm25::K1 + 1.0));
            let longer = Expression::mult_with([weight(), longer, length()]);
            // The weight is first, since the store leaves the rest where it is 0.
            Expression::div_with(
                Expression::mult_with([weight(), number(*idf), norm(usual)]),
                Expression::sum_with([norm(mean), longer]),
                None,
            )
        }))
    }

    /// Ranks a point; none where it is less near than asked (V5).
    fn rank(&self, point: &ScoredPoint, compared: Option<&QueryEmbedding>) -> Option<Rank> {
        let length = payload::get_integer(&point.payload, field::LENGTH).unwrap_or_default();
        let similarity = compared.and_then(|compared| {
            let stored = codec::dense(point.vectors.clone())?;
            let query = direction(&compared.embedding);
            let dot: f64 =
                stored.iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            #[expect(clippy::cast_possible_truncation, reason = "a similarity is an f32")]
            Some(similarity(dot as f32))
        });
        let least = compared.and_then(|compared| least(compared.min_similarity));
        if least.is_some_and(|least| similarity.is_none_or(|similarity| similarity <= least)) {
            return None;
        }
        let weights = codec::weights(point.vectors.clone()).unwrap_or_default();
        let score = self.relevance(&weights, u32::try_from(length).unwrap_or(u32::MAX));
        Some(Rank { score, similarity })
    }

    /// Computes BM25 from the weights that were computed for texts of the usual length.
    fn relevance(&self, weights: &SparseVector, length: u32) -> f64 {
        self.words
            .iter()
            .filter_map(|(dimension, Word { idf, .. })| {
                let at = weights.indices.iter().position(|index| index == dimension)?;
                let frequency = frequency(f64::from(*weights.values.get(at)?), length);
                Some(idf * bm25::weight(frequency, length, self.mean_length))
            })
            .sum()
    }
}

/// Computes how often a word occurs from the weight that [`bm25::weight`] gave it.
fn frequency(weight: f64, length: u32) -> u32 {
    let norm = bm25::K1 * (1.0 - bm25::B + bm25::B * f64::from(length) / USUAL_LENGTH);
    let exact = weight * norm / (bm25::K1 + 1.0 - weight).max(f64::MIN_POSITIVE);
    // Single characters are not counted in the length, and are at most twice as many.
    let most = 2.0 * f64::from(length.max(1));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within u32")]
    let nearest = exact.round().clamp(1.0, most.min(f64::from(u32::MAX))) as u32;
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "what the store keeps")]
    fn v9_a_words_frequency_is_read_back_from_its_weight() {
        for length in [1, 7, 64, 1_000, 20_000] {
            for times in [1, 2, 3, 10, 63] {
                if times <= length {
                    let kept = bm25::weight(times, length, USUAL_LENGTH) as f32;
                    assert_eq!(frequency(f64::from(kept), length), times, "of {length}");
                }
            }
        }
    }

    /// The fault suite found a search between the counts of an empty namespace and its first record.
    #[test]
    fn v9_a_namespace_whose_lengths_are_not_counted_yet_has_a_mean_that_the_store_can_take() {
        assert!((mean_length(0, 0) - USUAL_LENGTH).abs() < f64::EPSILON);
        assert!((mean_length(30, 10) - 3.0).abs() < f64::EPSILON);
    }
}
