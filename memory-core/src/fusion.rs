//! Hybrid search: one ranking from two (contract, V10).
//!
//! The hits by meaning (dense) and by words are fused here and not in a store, so that the same two
//! rankings give the same order on every driver.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::vector::Hit;

/// The rank constant of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009).
const RRF_K: f64 = 60.0;

/// The share of its configured weight that a dense side keeps that nothing bears out.
const LEAST_TRUST: f64 = 0.4;

/// The share of the words' weight, or of the dense side's where that is less, that goes over to a
/// clear dense side from words that say nothing.
const SURPLUS: f64 = 0.4;

/// The score in a convex combination of the least near candidate without a word. It is above 0, as
/// everything that is found has something in common with the query.
const LEAST_SCORE: f64 = 0.01;

/// The number of candidates of each side in the first part of a ranking.
const FIRST_CANDIDATES: usize = 100;

/// The factor by which the candidates of all parts grow with each further part.
const GROWTH: usize = 4;

/// Returns the number of candidates of each side that a result of `limit` hits is chosen from: 100,
/// 400, 1,600, 6,400 or 10,000, the first that is not below `limit`.
///
/// ```
/// assert_eq!(memquill_core::fusion::candidates(10), 100);
/// assert_eq!(memquill_core::fusion::candidates(101), 400);
/// ```
pub fn candidates(limit: usize) -> usize {
    let most = Limits::CONTRACT.page_items;
    let end = part_ends(FIRST_CANDIDATES).find(|end| *end >= limit || *end >= most);
    end.unwrap_or(most).min(most).max(limit)
}

/// Returns the ranks at which the parts of a ranking end.
fn part_ends(first: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(first), |end| end.checked_mul(GROWTH))
}

/// Splits a ranking by one side into the parts whose order does not depend on a limit.
pub(crate) fn parts(hits: Vec<Hit>) -> Vec<Vec<Hit>> {
    let mut hits = hits.into_iter().peekable();
    let mut parts = Vec::new();
    let mut begin = 0;
    for end in part_ends(FIRST_CANDIDATES) {
        if hits.peek().is_none() {
            break;
        }
        parts.push(hits.by_ref().take(end - begin).collect());
        begin = end;
    }
    parts
}

/// Returns the score of a hit in a further part of a ranking, which is below `last`, the last score
/// of the part before it. `score` is its score in [0, 1] within its own part.
pub(crate) fn score_below(last: f64, score: f64) -> f64 {
    last * (0.99 + score) / 2.0
}

/// A way of making one ranking of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// A convex combination of both scores, each normalised over the candidates.
    #[default]
    Convex,
    /// Reciprocal rank fusion: only ranks count. Equal scores share a rank.
    Rrf,
}

/// A method and its weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fusion {
    method: Method,
    dense_weight: f64,
}

impl Default for Fusion {
    fn default() -> Self {
        Self { method: Method::Convex, dense_weight: Self::DENSE_WEIGHT }
    }
}

impl Fusion {
    /// The default weight of the dense side in a convex combination. `docs/recall.md` has the
    /// measurements that it was chosen by.
    pub const DENSE_WEIGHT: f64 = 0.5;

    /// Fuses by `method`. A convex combination gives the dense side `dense_weight` and the words'
    /// side the rest.
    pub fn new(method: Method, dense_weight: f64) -> Result<Self> {
        if (0.0..=1.0).contains(&dense_weight) {
            return Ok(Self { method, dense_weight });
        }
        Err(Error::invalid_input(format!("dense_weight {dense_weight} is outside [0, 1]"))
            .with_hint("0 ranks by words alone, 1 by meaning as far as the words bear it out"))
    }

    /// Returns the `limit` best of both sides: fused score in [0, 1] descending, then id ascending.
    ///
    /// `dense` are hits of a vector search; `words` hits of a text search that say their similarity
    /// to the same query; of each the best [`candidates`] of the limit. Every hit keeps its
    /// similarity. Where one side has no hits, the other's order stays.
    ///
    /// The result is a prefix of the result of every greater limit: the best 100 of each side are
    /// fused first and come first, then those among the best 400 that are not there yet, and so on.
    ///
    /// In a convex combination the similarities are normalised from the least to the greatest of
    /// the candidates of a part, and the words' scores from 0, which is also the score of a
    /// candidate that only the dense side found, to the greatest. A side without signal has less
    /// weight: a model that does not know the language must not outvote the words, nor words that
    /// are everywhere the model.
    pub fn fuse(&self, dense: Vec<Hit>, words: Vec<Hit>, limit: usize) -> Vec<Hit> {
        let mut fused: Vec<Hit> =
            self.fuse_parts(dense, words, limit).into_iter().flatten().collect();
        fused.truncate(limit);
        fused
    }

    /// Fuses as [`Self::fuse`] does, and returns the parts, as many as hold `limit` hits, uncut.
    pub(crate) fn fuse_parts(
        &self,
        dense: Vec<Hit>,
        words: Vec<Hit>,
        limit: usize,
    ) -> Vec<Vec<Hit>> {
        self.fuse_from(FIRST_CANDIDATES, dense, words, limit)
    }

    fn fuse_from(
        &self,
        first: usize,
        dense: Vec<Hit>,
        words: Vec<Hit>,
        limit: usize,
    ) -> Vec<Vec<Hit>> {
        let mut sides =
            [ranked(dense).into_iter().peekable(), ranked(words).into_iter().peekable()];
        let mut parts: Vec<Vec<Hit>> = Vec::new();
        let mut placed: HashSet<String> = HashSet::new();
        let (mut begin, mut found, mut last) = (0, 0, None);
        for end in part_ends(first) {
            let more = sides.iter_mut().any(|side| side.peek().is_some());
            if found >= limit || !more {
                break;
            }
            let [dense, words] = sides.each_mut().map(|side| {
                let hits = side.by_ref().take(end - begin);
                hits.filter(|(_, hit)| !placed.contains(&hit.record.id)).collect()
            });
            let part = self.fuse_part(dense, words, last);
            // A part can be empty whose records are all placed.
            last = part.last().map_or(last, |hit| Some(hit.score));
            found += part.len();
            let further = found < limit;
            if further {
                placed.extend(part.iter().map(|hit| hit.record.id.clone()));
            }
            parts.push(part);
            begin = end;
        }
        parts
    }

    fn fuse_part(
        &self,
        dense: Vec<(f64, Hit)>,
        words: Vec<(f64, Hit)>,
        last: Option<f64>,
    ) -> Vec<Hit> {
        let (sides, near) = ((dense.is_empty(), words.is_empty()), dense.len());
        let mut hits = dense;
        hits.extend(words);
        let mut candidates = merge(&mut hits, near);
        match self.method {
            Method::Convex => self.convex(&mut candidates, sides),
            Method::Rrf => reciprocal_ranks(&mut candidates),
        }
        if let Some(last) = last {
            for candidate in &mut candidates {
                candidate.score = score_below(last, candidate.score);
            }
        }
        let id = |candidate: &Candidate| hits[candidate.at].1.record.id.as_str();
        candidates
            .sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| id(a).cmp(id(b))));
        let mut hits: Vec<Option<Hit>> = hits.into_iter().map(|(_, hit)| Some(hit)).collect();
        let fused = |Candidate { at, score, .. }| Some(Hit { score, ..hits[at].take()? });
        candidates.into_iter().filter_map(fused).collect()
    }

    fn convex(&self, candidates: &mut [Candidate], (no_dense, no_words): (bool, bool)) {
        let similarities = candidates.iter().filter_map(|candidate| candidate.similarity);
        let least = similarities.fold(f64::INFINITY, f64::min);
        // Without a similarity, a candidate counts as the least similar.
        let dense: Vec<f64> = candidates.iter().map(|c| c.similarity.unwrap_or(least)).collect();
        let words: Vec<f64> = candidates.iter().map(|c| c.words.unwrap_or(0.0)).collect();
        let weight = match (no_dense, no_words) {
            (true, _) => 0.0,
            (false, true) => 1.0,
            (false, false) => weight(self.dense_weight, &dense, &words),
        };
        let (dense, words) = (normalised(&dense, least), normalised(&words, 0.0));
        for (candidate, (dense, words)) in candidates.iter_mut().zip(dense.into_iter().zip(words)) {
            let score = weight * dense + (1.0 - weight) * words;
            candidate.score = LEAST_SCORE + (1.0 - LEAST_SCORE) * score;
        }
    }
}

/// Sorts the hits of one side and gives each its rank from 1; equal scores share a rank.
fn ranked(mut hits: Vec<Hit>) -> Vec<(f64, Hit)> {
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.record.id.cmp(&b.record.id)));
    let (mut rank, mut last) = (0.0, f64::NAN);
    (1_u32..)
        .zip(hits)
        .map(|(position, hit)| {
            if hit.score.total_cmp(&last) != Ordering::Equal {
                (rank, last) = (f64::from(position), hit.score);
            }
            (rank, hit)
        })
        .collect()
}

/// A record that at least one side found, with each side's score. The hit itself, which is large,
/// stays where it is.
struct Candidate {
    /// Which hit.
    at: usize,
    similarity: Option<f64>,
    words: Option<f64>,
    /// The ranks on the sides that found it.
    ranks: [Option<f64>; 2],
    /// The fused score.
    score: f64,
}

/// Merges the hits to one candidate for each record, ascending by id, so that nothing depends on the
/// order of the hits. The first `near` hits are the dense side's.
fn merge(hits: &mut [(f64, Hit)], near: usize) -> Vec<Candidate> {
    for (_, hit) in &mut hits[..near] {
        #[expect(clippy::cast_possible_truncation, reason = "a similarity's own precision")]
        hit.similarity.get_or_insert(hit.score as f32);
    }
    let id = |at: usize| hits[at].1.record.id.as_str();
    let mut order: Vec<(u64, usize)> = (0..hits.len()).map(|at| (beginning(id(at)), at)).collect();
    // Of a record that both found, the dense side's hit stands first.
    order.sort_unstable_by(|&(x, a), &(y, b)| {
        x.cmp(&y).then_with(|| id(a).cmp(id(b))).then(a.cmp(&b))
    });
    let mut candidates: Vec<Candidate> = Vec::with_capacity(order.len());
    for (_, at) in order {
        let (rank, hit) = &hits[at];
        let similarity = hit.similarity.map(f64::from);
        let words = (at >= near).then_some(hit.score);
        match candidates.last_mut() {
            Some(last) if id(last.at) == id(at) => {
                last.words = words;
                last.ranks[1] = Some(*rank);
            }
            _ => {
                let ranks = if at < near { [Some(*rank), None] } else { [None, Some(*rank)] };
                candidates.push(Candidate { at, similarity, words, ranks, score: 0.0 });
            }
        }
    }
    candidates
}

/// Returns the first bytes of an id as a number of the same order: most ids differ there.
fn beginning(id: &str) -> u64 {
    let mut first = [0; 8];
    for (byte, of_id) in first.iter_mut().zip(id.bytes()) {
        *byte = of_id;
    }
    u64::from_be_bytes(first)
}

/// Scales the scores from `least` to the greatest to 0 to 1; all are 0 where they are equal.
fn normalised(scores: &[f64], least: f64) -> Vec<f64> {
    let range = scores.iter().copied().fold(least, f64::max) - least;
    let scale = |score: f64| ((score - least) / range).clamp(0.0, 1.0);
    scores.iter().map(|&score| if range > 0.0 { scale(score) } else { 0.0 }).collect()
}

/// Returns the dense side's weight for one query, from the scores at hand.
///
/// It is the configured one where the words bear the dense side out, its three best having half the
/// words' greatest score or more on the mean; where its best stands out 1.3 times as far as the
/// words' best does; or where no record stands out by its words. Where none of it holds, the words
/// are right and 0.4 of the weight is left. Where the words single out nothing at all and the dense
/// side does, it is more than the configured one. Each of it comes on gradually.
///
/// `docs/recall.md` has the measurements: for models that know the language, for models that do not, and
/// for words that say little.
fn weight(configured: f64, dense: &[f64], words: &[f64]) -> f64 {
    let (far, clarity) = (prominence(dense), prominence(words));
    let clearer = if far > 0.0 { share(far / clarity, 1.0, 1.3) } else { 0.0 };
    let vague = 1.0 - share(clarity, 0.3, 0.45);
    let borne_out = share(worded(dense, words), 0.1, 0.5).max(clearer).max(vague);
    let empty = (1.0 - share(clarity, 0.2, 0.3)) * clearer;
    configured * (LEAST_TRUST + (1.0 - LEAST_TRUST) * borne_out)
        + configured.min(1.0 - configured) * SURPLUS * empty
}

/// Returns how far a value is on its way from `none` to `all`, from 0 to 1.
fn share(value: f64, none: f64, all: f64) -> f64 {
    ((value - none) / (all - none)).clamp(0.0, 1.0)
}

/// Returns the mean score by words of the dense side's three best, 1 being the greatest of all.
fn worded(dense: &[f64], words: &[f64]) -> f64 {
    let mut best: Vec<(f64, f64)> = dense.iter().copied().zip(words.iter().copied()).collect();
    let wanted = best.len().min(3);
    let descending = |a: &(f64, f64), b: &(f64, f64)| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1));
    if best.len() > wanted {
        best.select_nth_unstable_by(wanted, descending);
    }
    let greatest = words.iter().copied().fold(0.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "three at most")]
    let count = wanted as f64;
    let sum: f64 = best[..wanted].iter().map(|(_, words)| words).sum();
    if greatest > 0.0 { sum / (greatest * count) } else { 0.0 }
}

/// Returns how far the greatest score stands out from the others, from 0 to 1: its distance from the mean
/// in standard deviations, of the greatest distance that so many scores allow, √(n - 1).
fn prominence(scores: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "some hundred candidates")]
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let deviation = (scores.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if deviation > f64::EPSILON * greatest.abs() {
        (greatest - mean) / (deviation * (n - 1.0).sqrt())
    } else {
        0.0
    }
}

fn reciprocal_ranks(candidates: &mut [Candidate]) {
    for candidate in candidates {
        candidate.score = candidate.ranks.iter().flatten().map(|rank| 1.0 / (RRF_K + rank)).sum();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::json::Object;
    use crate::time::Timestamp;
    use crate::vector::Record;

    fn hit(id: &str, score: f64, similarity: Option<f32>) -> Hit {
        let record = Record {
            id: id.into(),
            content: id.into(),
            content_hash: String::new(),
            document_type: "text".into(),
            metadata: Object::new(),
            language: None,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            expires_at: None,
            embedding: None,
        };
        Hit { record, score, similarity }
    }

    #[expect(clippy::cast_possible_truncation)]
    fn near(id: &str, similarity: f64) -> Hit {
        hit(id, similarity, Some(similarity as f32))
    }

    fn ids(hits: &[Hit]) -> Vec<&str> {
        hits.iter().map(|hit| hit.record.id.as_str()).collect()
    }

    #[test]
    fn v10_both_sides_together_beat_either_alone() {
        let dense = vec![near("a", 0.9), near("both", 0.85), near("c", 0.1)];
        let words =
            vec![hit("x", 5.0, Some(0.1)), hit("both", 4.8, Some(0.85)), hit("y", 1.0, Some(0.1))];
        for method in [Method::Convex, Method::Rrf] {
            let fusion = Fusion::new(method, 0.5).unwrap();
            let fused = fusion.fuse(dense.clone(), words.clone(), 3);
            assert_eq!(fused[0].record.id, "both", "{method:?}");
            assert_eq!(fused[0].similarity, Some(0.85));
            assert_eq!(fused.len(), 3);
        }
    }

    #[test]
    fn v10_a_flat_dense_side_does_not_change_the_order_of_the_words() {
        let dense = ["a", "b", "c", "d"].map(|id| near(id, 0.7)).to_vec();
        let words = vec![hit("c", 3.0, Some(0.7)), hit("a", 1.0, Some(0.7))];
        let fused = Fusion::default().fuse(dense, words, 10);
        assert_eq!(ids(&fused), ["c", "a", "b", "d"]);
    }

    #[test]
    fn v10_words_that_say_little_are_outvoted() {
        // One record is by far the nearest; the query's only word is everywhere else.
        let mut dense: Vec<Hit> = (0..50).map(|n| near(&format!("{n:02}"), 0.1)).collect();
        dense[30] = near("30", 0.8);
        let words: Vec<Hit> = (0..50)
            .filter(|n| *n != 30)
            .map(|n| hit(&format!("{n:02}"), 0.3 - f64::from(n) / 500.0, Some(0.1)))
            .collect();
        let fused = Fusion::default().fuse(dense, words, 1);
        assert_eq!(ids(&fused), ["30"]);
    }

    #[test]
    fn v10_a_dense_side_that_knows_nothing_is_outvoted() {
        // Evenly spread similarities say nothing; one record has the words.
        let names: Vec<String> = (0..50).map(|n| format!("{n:02}")).collect();
        let dense: Vec<Hit> =
            names.iter().zip(0_u32..).map(|(id, n)| near(id, 0.5 + f64::from(n) / 500.0)).collect();
        let words = vec![hit("00", 9.0, Some(0.5)), hit("49", 4.0, Some(0.598))];
        let fused = Fusion::new(Method::Convex, 0.5).unwrap().fuse(dense, words, 1);
        assert_eq!(ids(&fused), ["00"]);
    }

    #[test]
    fn a_weight_outside_its_range_is_refused() {
        for wrong in [-0.1, 1.1, f64::NAN] {
            assert!(Fusion::new(Method::Convex, wrong).is_err());
        }
    }

    #[test]
    fn v10_candidates_stay_within_what_a_search_may_return() {
        assert_eq!(candidates(1), 100);
        assert_eq!(candidates(100), 100);
        assert_eq!(candidates(401), 1_600);
        assert_eq!(candidates(9_000), 10_000);
        assert_eq!(candidates(10_000), 10_000);
        assert_eq!(candidates(20_000), 20_000, "which core's checks refuse");
    }

    /// Both sides of a search: some records, of which each side finds some.
    fn sides() -> impl Strategy<Value = (Vec<Hit>, Vec<Hit>)> {
        let found = (any::<u8>(), -1000_i32..=1000, prop::option::of(0_u32..1000), any::<bool>());
        prop::collection::vec(found, 0..30).prop_map(|found| {
            let (mut dense, mut words) = (BTreeMap::new(), BTreeMap::new());
            for (id, similarity, score, near_enough) in found {
                let (id, similarity) = (format!("{id:03}"), f64::from(similarity) / 1000.0);
                words.remove(&id);
                if let Some(score) = score {
                    let found = Hit { score: f64::from(score) / 100.0, ..near(&id, similarity) };
                    words.insert(id.clone(), found);
                }
                dense.remove(&id);
                if near_enough {
                    dense.insert(id.clone(), near(&id, similarity));
                }
            }
            (dense.into_values().collect(), words.into_values().collect())
        })
    }

    fn methods() -> impl Strategy<Value = Fusion> {
        (prop::bool::ANY, 0.0..=1.0).prop_map(|(rrf, weight)| {
            Fusion::new(if rrf { Method::Rrf } else { Method::Convex }, weight).unwrap()
        })
    }

    proptest! {
        #[test]
        fn v10_the_order_of_the_hits_does_not_matter((dense, words) in sides(), fusion in methods()) {
            let mut reversed = (dense.clone(), words.clone());
            reversed.0.reverse();
            reversed.1.reverse();
            prop_assert_eq!(fusion.fuse(dense, words, 20), fusion.fuse(reversed.0, reversed.1, 20));
        }

        #[test]
        fn v10_scores_are_in_range_and_descend((dense, words) in sides(), fusion in methods()) {
            let fused = fusion.fuse(dense, words, 100);
            prop_assert!(fused.iter().all(|hit| hit.score > 0.0 && hit.score <= 1.0));
            let descends = fused.is_sorted_by(|a, b| {
                a.score.total_cmp(&b.score).reverse().then(a.record.id.cmp(&b.record.id)).is_lt()
            });
            prop_assert!(descends);
        }

        #[test]
        fn v10_a_greater_limit_only_appends(
            (dense, words) in sides(), fusion in methods(), first in 1_usize..6,
        ) {
            let best = |mut hits: Vec<Hit>, most: usize| {
                hits.sort_by(|a, b| {
                    b.score.total_cmp(&a.score).then_with(|| a.record.id.cmp(&b.record.id))
                });
                hits.truncate(most);
                hits
            };
            let mut before: Vec<Hit> = Vec::new();
            for limit in 1..60 {
                let most = part_ends(first).find(|end| *end >= limit).unwrap();
                let sides = (best(dense.clone(), most), best(words.clone(), most));
                let parts = fusion.fuse_from(first, sides.0, sides.1, limit);
                let mut fused: Vec<Hit> = parts.into_iter().flatten().collect();
                fused.truncate(limit);
                prop_assert_eq!(&fused[..before.len()], &before[..]);
                let descends = fused.is_sorted_by(|a, b| {
                    a.score.total_cmp(&b.score).reverse().then(a.record.id.cmp(&b.record.id)).is_le()
                });
                prop_assert!(descends);
                before = fused;
            }
            let all: std::collections::BTreeSet<_> =
                dense.iter().chain(&words).map(|hit| &hit.record.id).collect();
            prop_assert_eq!(before.len(), all.len(), "nothing is lost");
        }

        #[test]
        fn v10_an_empty_side_leaves_the_order_of_the_other((dense, words) in sides(), fusion in methods()) {
            for (dense, words) in [(dense, Vec::new()), (Vec::new(), words)] {
                let mut alone: Vec<Hit> = dense.iter().chain(&words).cloned().collect();
                alone.sort_by(|a, b| {
                    b.score.total_cmp(&a.score).then_with(|| a.record.id.cmp(&b.record.id))
                });
                let fused = fusion.fuse(dense, words, 100);
                prop_assert_eq!(ids(&fused), ids(&alone));
            }
        }
    }
}
