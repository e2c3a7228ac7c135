//! Reordering of hits by age, and by likeness to the hits before them (M3).

use std::collections::HashMap;
use std::time::Duration;

use super::VectorDatabase;
use crate::embed::cosine_similarity;
use crate::error::{Error, Result};
use crate::fusion;
use crate::limits::Limits;
use crate::time::Timestamp;
use crate::vector::{GetRecords, Hit};

/// The ways in which the order of hits may differ from that of their scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reranking {
    pub(super) diversity: f64,
    pub(super) half_life: Option<Duration>,
}

impl Reranking {
    /// Returns whether the order is the scores'.
    pub(super) fn is_none(self) -> bool {
        self.diversity == 0.0 && self.half_life.is_none()
    }
}

/// Refuses a diversity outside [0, 1].
pub(super) fn check_diversity(diversity: f64) -> Result<()> {
    if (0.0..=1.0).contains(&diversity) {
        return Ok(());
    }
    Err(Error::invalid_input(format!("diversity {diversity} is outside [0, 1]"))
        .with_hint("set 0 to rank by relevance alone, 1 by unlikeness to the hits before"))
}

/// Makes scores comparable: the greatest becomes 1, and negative ones 0.
pub(super) fn scale(hits: &mut [Hit]) {
    let greatest = hits.iter().map(|hit| hit.score).fold(0.0, f64::max);
    for hit in hits {
        hit.score = if greatest > 0.0 { (hit.score / greatest).max(0.0) } else { 0.0 };
    }
}

/// Halves a score for every half-life that the record is older than the newest of `hits`.
///
/// Exponential decay as in Li and Croft 2003, "Time-Based Language Models". Ages are counted from
/// the newest hit and not from now, which gives the same order and needs no clock: a common factor
/// changes no order.
pub(super) fn decay(hits: &mut [Hit], half_life: Duration) {
    let newest = hits.iter().map(|hit| hit.record.created_at).max();
    for hit in hits {
        let age = newest.map_or(0.0, |newest| seconds_between(hit.record.created_at, newest));
        hit.score *= (-age / half_life.as_secs_f64()).exp2();
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of ten thousand years")]
fn seconds_between(older: Timestamp, newer: Timestamp) -> f64 {
    newer.as_millis().saturating_sub(older.as_millis()) as f64 / 1000.0
}

/// Sorts hits: best first, equal ones by id.
pub(super) fn sort(hits: &mut [Hit]) {
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.record.id.cmp(&b.record.id)));
}

/// Takes hits by maximal marginal relevance (Carbonell and Goldstein 1998, "The Use of MMR,
/// Diversity-Based Reranking for Reordering Documents and Producing Summaries"): one after another,
/// the hit of the greatest `(1 - diversity) · score - diversity · likeness`, the likeness being the
/// greatest cosine similarity to a hit taken before. A hit's score becomes that value, which never
/// rises. Continues after the hits in `taken`, until there are `limit`.
fn diverse(
    taken: &mut Vec<Hit>,
    hits: Vec<Hit>,
    embeddings: &HashMap<String, Vec<f32>>,
    diversity: f64,
    limit: usize,
) {
    let embedding = |hit: &Hit| embeddings.get(&hit.record.id).map_or(&[][..], Vec::as_slice);
    // The greatest likeness to what is taken; none before anything is.
    let mut rest: Vec<(Hit, Option<f64>)> = hits.into_iter().map(|hit| (hit, None)).collect();
    let nearer = |rest: &mut Vec<(Hit, Option<f64>)>, hit: &Hit| {
        for (other, likeness) in rest {
            let near = cosine_similarity(embedding(hit), embedding(other));
            *likeness = Some(likeness.map_or(near, |likeness| likeness.max(near)));
        }
    };
    for hit in taken.iter() {
        nearer(&mut rest, hit);
    }
    while taken.len() < limit {
        let value = |(hit, likeness): &(Hit, Option<f64>)| {
            (1.0 - diversity) * hit.score - diversity * likeness.unwrap_or(0.0)
        };
        let best = (0..rest.len()).max_by(|&a, &b| {
            value(&rest[a])
                .total_cmp(&value(&rest[b]))
                .then_with(|| rest[a].0.score.total_cmp(&rest[b].0.score))
                .then_with(|| rest[b].0.record.id.cmp(&rest[a].0.record.id))
        });
        let Some(best) = best else { break };
        let least = taken.last().map_or(f64::INFINITY, |last| last.score);
        let score = value(&rest[best]).min(least);
        let (mut hit, _) = rest.swap_remove(best);
        nearer(&mut rest, &hit);
        hit.score = score;
        taken.push(hit);
    }
}

impl VectorDatabase {
    /// Returns the `limit` best of the candidates, in the order that was asked for.
    ///
    /// The candidates come in parts that no limit changes, and each part stays before the next, so
    /// that a greater limit only appends (V10).
    pub(super) async fn rerank(
        &self,
        namespace: &str,
        parts: Vec<Vec<Hit>>,
        by: Reranking,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        let mut ranked: Vec<Hit> = Vec::new();
        let mut embeddings = HashMap::new();
        for mut hits in parts {
            scale(&mut hits);
            if let Some(half_life) = by.half_life {
                decay(&mut hits, half_life);
            }
            if by.diversity > 0.0 {
                embeddings.extend(self.embeddings(namespace, &hits).await?);
                diverse(&mut ranked, hits, &embeddings, by.diversity, limit);
                continue;
            }
            if let Some(last) = ranked.last().map(|hit| hit.score) {
                for hit in &mut hits {
                    hit.score = fusion::score_below(last, hit.score);
                }
            }
            sort(&mut hits);
            ranked.extend(hits);
        }
        ranked.truncate(limit);
        Ok(ranked)
    }

    async fn embeddings(&self, namespace: &str, hits: &[Hit]) -> Result<HashMap<String, Vec<f32>>> {
        let mut embeddings = HashMap::with_capacity(hits.len());
        for part in hits.chunks(Limits::CONTRACT.batch_items) {
            let request = GetRecords {
                namespace: namespace.to_owned(),
                ids: part.iter().map(|hit| hit.record.id.clone()).collect(),
                with_embeddings: true,
            };
            for record in self.store.get(&self.scope, &request).await? {
                embeddings.extend(record.embedding.map(|embedding| (record.id, embedding)));
            }
        }
        Ok(embeddings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Object;
    use crate::vector::Record;

    fn hit(id: &str, score: f64, seconds: i64) -> Hit {
        let record = Record {
            id: id.into(),
            content: id.into(),
            content_hash: String::new(),
            document_type: "text".into(),
            metadata: Object::new(),
            language: None,
            created_at: Timestamp::from_millis(seconds * 1000).unwrap(),
            updated_at: Timestamp::default(),
            expires_at: None,
            embedding: None,
        };
        Hit { record, score, similarity: None }
    }

    fn ids(hits: &[Hit]) -> Vec<&str> {
        hits.iter().map(|hit| hit.record.id.as_str()).collect()
    }

    #[test]
    fn m3_a_half_life_halves_the_score() {
        let mut hits = vec![hit("old", 1.0, 0), hit("new", 0.6, 100), hit("middle", 0.8, 50)];
        decay(&mut hits, Duration::from_secs(50));
        let scores: Vec<f64> = hits.iter().map(|hit| hit.score).collect();
        assert_eq!(scores, [0.25, 0.6, 0.4]);
        sort(&mut hits);
        assert_eq!(ids(&hits), ["new", "middle", "old"]);
    }

    #[test]
    fn m3_a_twin_of_what_was_taken_waits() {
        let hits = || vec![hit("a", 1.0, 0), hit("a's twin", 0.95, 0), hit("b", 0.7, 0)];
        let embeddings = HashMap::from([
            ("a".to_owned(), vec![1.0, 0.0]),
            ("a's twin".to_owned(), vec![1.0, 0.01]),
            ("b".to_owned(), vec![0.0, 1.0]),
        ]);
        let order = |diversity, limit| {
            let mut taken = Vec::new();
            diverse(&mut taken, hits(), &embeddings, diversity, limit);
            taken
        };
        assert_eq!(ids(&order(0.5, 3)), ["a", "b", "a's twin"]);
        assert_eq!(ids(&order(0.5, 2)), ["a", "b"]);
        assert_eq!(ids(&order(0.05, 3)), ["a", "a's twin", "b"]);
        let scores: Vec<f64> = order(0.5, 3).iter().map(|hit| hit.score).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    }

    #[test]
    fn m3_scores_are_comparable_before_they_are_weighed() {
        let mut hits = vec![hit("a", 12.0, 0), hit("b", 3.0, 0), hit("c", -0.5, 0)];
        scale(&mut hits);
        assert_eq!(hits.iter().map(|hit| hit.score).collect::<Vec<_>>(), [1.0, 0.25, 0.0]);
        let mut nothing = vec![hit("a", -1.0, 0)];
        scale(&mut nothing);
        assert_eq!(nothing[0].score.to_bits(), 0.0_f64.to_bits());
    }
}
