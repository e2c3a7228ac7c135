//! Searching by words (V9).
//!
//! A namespace is a corpus of its own: how many records it has, how long they are and how many hold
//! each word is counted by the store's indexes, over what is living now. With these the query's
//! words are weighed, the store finds the best candidates by their sparse vectors, and BM25 is
//! computed from the candidates' word counts. The store weighs lengths against a usual length
//! instead of the namespace's own mean, so it is asked for more than is wanted.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memquill_core::text::{bm25, query_words};
use memquill_core::{Hit, QueryEmbedding, Result, Scope, SearchResult, TextSearch, conflict};
use qdrant_client::qdrant::vector_input::Variant as Input;
use qdrant_client::qdrant::{
    Condition, FacetCounts, Filter, GetPoints, PointId, QueryPoints, ScoredPoint, SparseVector,
    facet_value,
};

use super::search::{MAX_TIES, least, nearest_to, similarity};
use super::{PAGE_SIZE, fields, id_text, is_claimed, record_fields, vectors};
use crate::bindings::Binding;
use crate::codec::payload::{self, Payload};
use crate::codec::{self, USUAL_LENGTH, direction};
use crate::filter;
use crate::layout::{DENSE, Namespace, Place, SPARSE, field};
use crate::store::{MAX_CONCURRENT_REQUESTS, Store, now};

/// Candidates that are asked for first: this many, or this many for each hit.
const MIN_CANDIDATES: usize = 256;
const CANDIDATES_PER_HIT: usize = 5;

/// Statistics of a namespace, and a query's words in it.
struct Corpus {
    mean_length: f64,
    /// The idf of the words by their dimensions, in the order in which a score adds them up; words of
    /// one dimension are added up.
    idf: BTreeMap<u32, f64>,
}

/// What a search by words finds at a place.
struct Found {
    hits: Vec<Hit>,
    /// Whether a hit is claimed.
    claimed: bool,
    complete: bool,
}

/// A candidate and what it is ranked by.
struct Candidate {
    point: PointId,
    id: String,
    score: f64,
    similarity: Option<f32>,
}

impl Store {
    pub(super) async fn search_words(
        &self,
        scope: &Scope,
        request: &TextSearch,
    ) -> Result<SearchResult> {
        let namespace = Namespace::of(scope, &request.namespace);
        let given = request.similarity_to.as_ref().map(|compared| &compared.space);
        let read = |binding: Binding| {
            let place = self.place(&namespace, &binding);
            async move {
                // Of another space: either the request's, or what was cached is.
                if given.is_some_and(|given| *given != binding.space) {
                    return Ok(None);
                }
                self.words_at(&place, request).await.map(Some)
            }
        };
        let is_doubtful = |found: &Option<Found>| {
            found.as_ref().is_none_or(|found| found.claimed || found.hits.is_empty())
        };
        match self.read(&namespace, read, is_doubtful).await? {
            None => Ok(SearchResult { hits: Vec::new(), complete: true }),
            Some((Some(Found { hits, complete, .. }), _)) => Ok(SearchResult { hits, complete }),
            Some((None, binding)) => {
                let given = given.unwrap_or(&binding.space);
                Err(conflict::other_space(&request.namespace, &binding.space, given))
            }
        }
    }

    /// Finds the hits at a place.
    async fn words_at(&self, place: &Place, request: &TextSearch) -> Result<Found> {
        let nothing = Found { hits: Vec::new(), claimed: false, complete: true };
        let query: BTreeSet<String> =
            query_words(&request.text, request.language).into_iter().collect();
        let mut filter = self.filter(place, request.filter.as_ref()).await?;
        if query.is_empty() {
            return Ok(nothing);
        }
        let corpus = self.corpus(place, &query).await?;
        if corpus.idf.is_empty() {
            return Ok(nothing);
        }
        // Two words may share a dimension, but no record is found that has none of the words.
        let query: Vec<String> = query.into_iter().collect();
        filter.must.push(Condition::matches(field::WORDS, query));
        let (best, complete) = self.best(&place.collection, &filter, &corpus, request).await?;
        let (hits, claimed) = self.hits(&place.collection, best).await?;
        Ok(Found { hits, claimed, complete })
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
        let mut idf: BTreeMap<u32, f64> = BTreeMap::new();
        for (word, holding) in holding.into_iter().filter(|(_, holding)| *holding > 0) {
            // Another may have been stored between the counts.
            let of_word = bm25::idf(records.max(holding), holding);
            *idf.entry(codec::dimension(&word)).or_default() += of_word;
        }
        #[expect(clippy::cast_precision_loss, reason = "both are far below 2^53")]
        let mean_length = (total as f64 / records.max(1) as f64).max(f64::MIN_POSITIVE);
        Ok(Corpus { mean_length, idf })
    }

    /// Finds the best records with their scores, and says whether none can be missing. Where the
    /// limit is not filled, or more may be as good as the last, more candidates are asked for, up to
    /// as many as a search is exact among.
    async fn best(
        &self,
        collection: &str,
        filter: &Filter,
        corpus: &Corpus,
        request: &TextSearch,
    ) -> Result<(Vec<Candidate>, bool)> {
        let mut asked = MIN_CANDIDATES.max(CANDIDATES_PER_HIT * request.limit);
        let most = asked.max(MAX_TIES);
        let compared = request.similarity_to.as_ref();
        loop {
            let points = self.candidates(collection, filter, corpus, compared, asked).await?;
            let all = points.len() < asked;
            let last = points.last().map_or(0.0, |point| point.score);
            let mut tied = false;
            let mut best = Vec::with_capacity(points.len());
            for point in points {
                let at_end = point.score <= last * (1.0 + f32::EPSILON * 8.0);
                if let Some(candidate) = corpus.rank(point, compared)? {
                    best.push((candidate, at_end));
                }
            }
            best.sort_by(|(a, _), (b, _)| by_score(a, b));
            if let Some((_, at_end)) = best.get(request.limit - 1) {
                tied = *at_end;
            }
            let complete = all || (best.len() >= request.limit && !tied);
            if complete || asked == most {
                best.truncate(request.limit);
                let best = best.into_iter().map(|(candidate, _)| candidate).collect();
                return Ok((best, complete));
            }
            asked = most.min(asked * 4);
        }
    }

    async fn candidates(
        &self,
        collection: &str,
        filter: &Filter,
        corpus: &Corpus,
        compared: Option<&QueryEmbedding>,
        limit: usize,
    ) -> Result<Vec<ScoredPoint>> {
        let query = codec::sparse(corpus.idf.iter().map(|(dimension, idf)| (*dimension, *idf)));
        let wanted: &[&str] = if compared.is_some() { &[SPARSE, DENSE] } else { &[SPARSE] };
        self.transport
            .query(QueryPoints {
                collection_name: collection.to_owned(),
                query: Some(nearest_to(Input::Sparse(query))),
                using: Some(SPARSE.to_owned()),
                filter: Some(filter.clone()),
                limit: Some(limit as u64),
                with_payload: Some(fields([field::ID, field::LENGTH])),
                with_vectors: vectors(wanted),
                ..QueryPoints::default()
            })
            .await
    }

    async fn hits(&self, collection: &str, best: Vec<Candidate>) -> Result<(Vec<Hit>, bool)> {
        let points = best.iter().map(|candidate| candidate.point.clone()).collect();
        let mut payloads = self.payloads(collection, points).await?;
        let claimed = payloads.values().any(is_claimed);
        let mut hits = Vec::with_capacity(best.len());
        for candidate in best {
            // Records that were deleted meanwhile are left out.
            if let Some(payload) = payloads.remove(&id_text(&candidate.point)) {
                hits.push(Hit {
                    record: codec::record(payload, None)?,
                    score: candidate.score,
                    similarity: candidate.similarity,
                });
            }
        }
        Ok((hits, claimed))
    }

    /// Reads the records' payloads, by the text of their points' ids.
    pub(super) async fn payloads(
        &self,
        collection: &str,
        points: Vec<PointId>,
    ) -> Result<HashMap<String, Payload>> {
        let mut payloads = HashMap::with_capacity(points.len());
        for page in points.chunks(PAGE_SIZE) {
            let request = GetPoints {
                collection_name: collection.to_owned(),
                ids: page.to_vec(),
                with_payload: Some(record_fields(false)),
                ..GetPoints::default()
            };
            for point in self.transport.get(request).await? {
                if let Some(id) = &point.id {
                    payloads.insert(id_text(id), point.payload);
                }
            }
        }
        Ok(payloads)
    }
}

fn by_score(a: &Candidate, b: &Candidate) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id))
}

impl Corpus {
    /// Ranks a candidate; none where it is less near than asked (V5).
    fn rank(
        &self,
        point: ScoredPoint,
        compared: Option<&QueryEmbedding>,
    ) -> Result<Option<Candidate>> {
        let id = payload::need_text(&point.payload, field::ID)?.to_owned();
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
            return Ok(None);
        }
        let weights = codec::weights(point.vectors).unwrap_or_default();
        let score = self.relevance(&weights, u32::try_from(length).unwrap_or(u32::MAX));
        Ok(point.id.map(|point| Candidate { point, id, score, similarity }))
    }

    /// Computes BM25 from the weights that were computed for texts of the usual length.
    fn relevance(&self, weights: &SparseVector, length: u32) -> f64 {
        self.idf
            .iter()
            .filter_map(|(dimension, idf)| {
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
}
