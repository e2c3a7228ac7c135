//! Searching by words (V9).
//!
//! A namespace is a corpus of its own: how many records it has, how long they are and how many hold
//! each word is counted by the store's indexes, over what is living now. With these the query's
//! words are weighed, the store finds the best candidates by their sparse vectors, and BM25 is
//! worked out over the candidates' word counts. The store weighs lengths against a usual length
//! instead of the namespace's own mean, so it is asked for more than is wanted.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memquill_core::text::{bm25, query_words};
use memquill_core::{Hit, QueryEmbedding, Result, Scope, SearchResult, TextSearch};
use qdrant_client::qdrant::vector_input::Variant as Input;
use qdrant_client::qdrant::{
    Condition, FacetCounts, Filter, GetPoints, PointId, QueryPoints, ScoredPoint, SparseVector,
    facet_value,
};

use super::search::{least, nearest_to, similarity};
use super::store::other_space;
use super::{PART, fields, id_text, is_taken, record_fields, vectors};
use crate::backend::{AT_ONCE, Store, now};
use crate::bindings::Binding;
use crate::filter;
use crate::layout::{DENSE, Namespace, Place, SPARSE, field};
use crate::payload::{self, Payload};
use crate::record::{self, USUAL_LENGTH, direction};

/// The fewest candidates that are asked for, and how many times the limit.
const CANDIDATES: usize = 256;
const TIMES: usize = 5;

/// A namespace in figures, and a query's words in it.
struct Corpus {
    mean_length: f64,
    /// The words' dimensions and their idf; words of one dimension are added up.
    idf: Vec<(u32, f64)>,
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
                // Of another space: either the request's, or what was remembered is.
                if given.is_some_and(|given| *given != binding.space) {
                    return Ok(None);
                }
                self.words_at(&place, request).await.map(Some)
            }
        };
        let is_doubtful = |found: &Option<(Vec<Hit>, bool)>| {
            found.as_ref().is_none_or(|(hits, taken)| *taken || hits.is_empty())
        };
        let hits = match self.read(&namespace, read, is_doubtful).await? {
            None => Vec::new(),
            Some((Some((hits, _)), _)) => hits,
            Some((None, binding)) => {
                let given = given.unwrap_or(&binding.space);
                return Err(other_space(&request.namespace, &binding.space, given));
            }
        };
        Ok(SearchResult { hits, complete: true })
    }

    /// The hits at a place, and whether one is taken hold of.
    async fn words_at(&self, place: &Place, request: &TextSearch) -> Result<(Vec<Hit>, bool)> {
        let query: BTreeSet<String> =
            query_words(&request.text, request.language).into_iter().collect();
        let mut filter = self.filter(place, request.filter.as_ref()).await?;
        if query.is_empty() {
            return Ok(Default::default());
        }
        let corpus = self.corpus(place, &query).await?;
        if corpus.idf.is_empty() {
            return Ok(Default::default());
        }
        // Two words may share a dimension, but no record is found that has none of the words.
        let query: Vec<String> = query.into_iter().collect();
        filter.must.push(Condition::matches(field::WORDS, query));
        let best = self.best(&place.collection, &filter, &corpus, request).await?;
        self.hits(&place.collection, best).await
    }

    /// Counts the namespace's records, their lengths, and who holds the words.
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
            .buffered(AT_ONCE)
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
        let mut idf: HashMap<u32, f64> = HashMap::new();
        for (word, holding) in holding.into_iter().filter(|(_, holding)| *holding > 0) {
            // Another may have been stored between the counts.
            let of_word = bm25::idf(records.max(holding), holding);
            *idf.entry(record::dimension(&word)).or_default() += of_word;
        }
        #[expect(clippy::cast_precision_loss, reason = "both are far below 2^53")]
        let mean_length = (total as f64 / records.max(1) as f64).max(f64::MIN_POSITIVE);
        Ok(Corpus { mean_length, idf: idf.into_iter().collect() })
    }

    /// The best records, with their scores. Where the limit is not filled, or more may be as good
    /// as the last, more candidates are asked for.
    async fn best(
        &self,
        collection: &str,
        filter: &Filter,
        corpus: &Corpus,
        request: &TextSearch,
    ) -> Result<Vec<Candidate>> {
        let mut asked = CANDIDATES.max(TIMES * request.limit);
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
            if all || (best.len() >= request.limit && !tied) {
                best.truncate(request.limit);
                return Ok(best.into_iter().map(|(candidate, _)| candidate).collect());
            }
            asked *= 4;
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
        let query = record::sparse(corpus.idf.iter().copied());
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
        let taken = payloads.values().any(is_taken);
        let mut hits = Vec::with_capacity(best.len());
        for candidate in best {
            // What was deleted meanwhile is left out.
            if let Some(payload) = payloads.remove(&id_text(&candidate.point)) {
                hits.push(Hit {
                    record: record::record(payload, None)?,
                    score: candidate.score,
                    similarity: candidate.similarity,
                });
            }
        }
        Ok((hits, taken))
    }

    /// The records' payloads by the text of their points' ids.
    pub(super) async fn payloads(
        &self,
        collection: &str,
        points: Vec<PointId>,
    ) -> Result<HashMap<String, Payload>> {
        let mut payloads = HashMap::with_capacity(points.len());
        for part in points.chunks(PART) {
            let request = GetPoints {
                collection_name: collection.to_owned(),
                ids: part.to_vec(),
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
    /// A candidate's relevance; none where it is less near than asked (V5).
    fn rank(
        &self,
        point: ScoredPoint,
        compared: Option<&QueryEmbedding>,
    ) -> Result<Option<Candidate>> {
        let id = payload::need_text(&point.payload, field::ID)?.to_owned();
        let length = payload::get_integer(&point.payload, field::LENGTH).unwrap_or_default();
        let similarity = compared.and_then(|compared| {
            let stored = record::dense(point.vectors.clone())?;
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
        let weights = record::weights(point.vectors).unwrap_or_default();
        let score = self.relevance(&weights, u32::try_from(length).unwrap_or(u32::MAX));
        Ok(point.id.map(|point| Candidate { point, id, score, similarity }))
    }

    /// BM25, from the weights that were worked out for texts of the usual length.
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

/// How often a word occurs, from the weight that [`bm25::weight`] gave it.
fn frequency(weight: f64, length: u32) -> u32 {
    let norm = bm25::K1 * (1.0 - bm25::B + bm25::B * f64::from(length) / USUAL_LENGTH);
    let exact = weight * norm / (bm25::K1 + 1.0 - weight).max(f64::MIN_POSITIVE);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a length")]
    let nearest = exact.round().clamp(1.0, f64::from(length.max(1))) as u32;
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
