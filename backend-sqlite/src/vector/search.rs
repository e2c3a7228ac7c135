//! The two searches, within the caller's transaction (V4 to V9).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use futures_util::TryStreamExt as _;
use memory_core::text::query_words;
use memory_core::{
    Filter, Hit, QueryEmbedding, Result, Scope, TextSearch, Timestamp, VectorSearch,
    cosine_similarity,
};
use sqlx::SqliteConnection;

use super::{Namespace, floats, passes, postings, record, record_columns};
use crate::error::sql;
use crate::rows::{get, text};

/// In the order in which the records lie in the file.
const EMBEDDINGS: &str = "
SELECT record, id, embedding FROM records
WHERE namespace = ?1 AND (expires_at IS NULL OR expires_at > ?2)
ORDER BY record";

const EMBEDDINGS_AND_SUBJECTS: &str = "
SELECT record, id, embedding, document_type, created_at, metadata FROM records
WHERE namespace = ?1 AND (expires_at IS NULL OR expires_at > ?2)
ORDER BY record";

const CANDIDATES: &str = "
SELECT r.id, r.document_type, r.created_at, r.metadata,
    CASE WHEN ?2 THEN r.embedding END AS embedding
FROM json_each(?1) asked
CROSS JOIN records r ON r.record = asked.value
ORDER BY asked.key";

const LOAD: &str = concat!(
    "SELECT ",
    record_columns!("FALSE"),
    "
FROM json_each(?1) asked
CROSS JOIN records r ON r.record = asked.value
ORDER BY asked.key"
);

/// At least so many records found by words are looked at together.
const CANDIDATES_AT_ONCE: usize = 256;

/// A record that may become a hit. The least is the best: highest score first, then by id (V6).
#[derive(Debug)]
struct Found {
    score: f64,
    id: String,
    record: i64,
    similarity: Option<f32>,
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Found {}

/// The similarity of an embedding as it is stored; `stored` is room for its numbers.
fn similarity(query: &[f32], bytes: &[u8], stored: &mut Vec<f32>) -> f64 {
    stored.clear();
    stored.extend(floats(bytes));
    cosine_similarity(query, stored)
}

#[expect(clippy::cast_possible_truncation, reason = "to the precision of embeddings")]
fn narrow(similarity: f64) -> f32 {
    similarity as f32
}

pub(super) async fn by_vector(
    connection: &mut SqliteConnection,
    scope: &Scope,
    request: &VectorSearch,
    now: Timestamp,
) -> Result<Vec<Hit>> {
    let found = Namespace::find(connection, scope, &request.namespace, now).await?;
    let Some(namespace) = found else { return Ok(Vec::new()) };
    namespace.require(&request.space)?;
    let best = nearest(connection, namespace.key, request, now).await?;
    load(connection, best).await
}

/// The best records, best first, with room for no more than the limit of them.
async fn nearest(
    connection: &mut SqliteConnection,
    namespace: i64,
    request: &VectorSearch,
    now: Timestamp,
) -> Result<Vec<Found>> {
    let filter = request.filter.as_ref();
    let statement = if filter.is_some() { EMBEDDINGS_AND_SUBJECTS } else { EMBEDDINGS };
    let mut rows = sqlx::query(statement).bind(namespace).bind(now.as_millis()).fetch(connection);
    let mut stored = Vec::with_capacity(request.embedding.len());
    // The greatest, at the top, is the worst.
    let mut best: BinaryHeap<Found> = BinaryHeap::new();
    while let Some(row) = rows.try_next().await.map_err(sql)? {
        let score = similarity(&request.embedding, get(&row, "embedding")?, &mut stored);
        let full = best.len() == request.limit;
        if full && best.peek().is_some_and(|worst| score < worst.score) {
            continue;
        }
        let narrow = narrow(score);
        if request.min_similarity.is_some_and(|least| narrow < least) || !passes(&row, filter)? {
            continue;
        }
        let (id, record) = (get(&row, "id")?, get(&row, "record")?);
        best.push(Found { score, id, record, similarity: Some(narrow) });
        if full {
            best.pop();
        }
    }
    Ok(best.into_sorted_vec())
}

pub(super) async fn by_words(
    connection: &mut SqliteConnection,
    scope: &Scope,
    request: &TextSearch,
    now: Timestamp,
) -> Result<Vec<Hit>> {
    let found = Namespace::find(connection, scope, &request.namespace, now).await?;
    let Some(namespace) = found else { return Ok(Vec::new()) };
    if let Some(query) = &request.similarity_to {
        namespace.require(&query.space)?;
    }
    let asked = query_words(&request.text, request.language);
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let relevance = postings::relevance(connection, &namespace, &asked, now).await?;
    let mut ranked: Vec<(i64, f64)> = relevance.into_iter().collect();
    ranked.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
    let best = most_relevant(connection, &ranked, request).await?;
    load(connection, best).await
}

/// Takes the best of the ranked records that pass, part by part, until there are enough.
async fn most_relevant(
    connection: &mut SqliteConnection,
    ranked: &[(i64, f64)],
    request: &TextSearch,
) -> Result<Vec<Found>> {
    let mut best: Vec<Found> = Vec::new();
    let mut rest = ranked;
    while best.len() < request.limit && !rest.is_empty() {
        let wanted = (request.limit - best.len()).max(CANDIDATES_AT_ONCE);
        let (part, tail) = rest.split_at(through_equals(rest, wanted));
        let (filter, query) = (request.filter.as_ref(), request.similarity_to.as_ref());
        let mut found = candidates(connection, part, filter, query).await?;
        found.sort_unstable();
        best.append(&mut found);
        rest = tail;
    }
    best.truncate(request.limit);
    Ok(best)
}

/// How many to take so that at least `wanted` are taken and equal scores stay together.
fn through_equals(ranked: &[(i64, f64)], wanted: usize) -> usize {
    let Some((_, last)) = ranked.get(wanted - 1) else { return ranked.len() };
    wanted + ranked[wanted..].iter().take_while(|(_, score)| score.total_cmp(last).is_eq()).count()
}

async fn candidates(
    connection: &mut SqliteConnection,
    ranked: &[(i64, f64)],
    filter: Option<&Filter>,
    query: Option<&QueryEmbedding>,
) -> Result<Vec<Found>> {
    let records: Vec<i64> = ranked.iter().map(|(record, _)| *record).collect();
    let records = text(&records)?;
    let mut rows = sqlx::query(CANDIDATES).bind(&records).bind(query.is_some()).fetch(connection);
    let mut found = Vec::new();
    let mut stored = Vec::new();
    for &(record, score) in ranked {
        let Some(row) = rows.try_next().await.map_err(sql)? else { break };
        if !passes(&row, filter)? {
            continue;
        }
        let similarity = match query {
            Some(query) => {
                let bytes = get(&row, "embedding")?;
                Some(narrow(similarity(&query.embedding, bytes, &mut stored)))
            }
            None => None,
        };
        let least = query.and_then(|query| query.min_similarity);
        if least.is_none_or(|least| similarity.is_some_and(|similarity| similarity >= least)) {
            found.push(Found { score, id: get(&row, "id")?, record, similarity });
        }
    }
    Ok(found)
}

/// Reads the records found, in their order.
async fn load(connection: &mut SqliteConnection, found: Vec<Found>) -> Result<Vec<Hit>> {
    let records: Vec<i64> = found.iter().map(|found| found.record).collect();
    let query = sqlx::query(LOAD).bind(text(&records)?);
    let rows = query.fetch_all(connection).await.map_err(sql)?;
    found
        .into_iter()
        .zip(&rows)
        .map(|(found, row)| {
            Ok(Hit { record: record(row)?, score: found.score, similarity: found.similarity })
        })
        .collect()
}
