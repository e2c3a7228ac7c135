//! The two searches, within the caller's transaction (V4 to V9).

use std::cmp::Ordering;

use futures_util::TryStreamExt as _;
use memquill_core::text::query_words;
use memquill_core::{
    Filter, Hit, QueryEmbedding, Result, Scope, TextSearch, Timestamp, VectorSearch,
};
use sqlx::SqliteConnection;

use super::{Namespace, bytes, filter_text, postings, record, record_columns};
use crate::codec::{get, integer, text};
use crate::error::translate;

/// The records lie in the file in the order of their keys, and are read in it; what is kept is no
/// more than the limit.
const NEAREST: &str = concat!(
    "SELECT ",
    record_columns!("FALSE"),
    ", found.score
FROM (
    SELECT record, cosine_similarity(?3, embedding) AS score
    FROM embeddings
    WHERE namespace = ?1 AND (expires_at IS NULL OR expires_at > ?2)
        AND filter_matches(?4, metadata, document_type, created_at)
    ORDER BY score DESC, id LIMIT ?5
) found
CROSS JOIN embeddings r USING (record)
ORDER BY found.score DESC, r.id"
);

const CANDIDATES: &str = "
SELECT r.record, r.id,
    CASE WHEN ?2 IS NOT NULL THEN cosine_similarity(?2, r.embedding) END AS similarity
FROM json_each(?1) asked
CROSS JOIN embeddings r ON r.record = asked.value
WHERE filter_matches(?3, r.metadata, r.document_type, r.created_at)
ORDER BY asked.key";

const LOAD: &str = concat!(
    "SELECT ",
    record_columns!("FALSE"),
    "
FROM json_each(?1) asked
CROSS JOIN embeddings r ON r.record = asked.value
ORDER BY asked.key"
);

/// Records found by words that are looked at together, at least.
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
    let rows = sqlx::query(NEAREST)
        .bind(namespace.key)
        .bind(now.as_millis())
        .bind(bytes(&request.embedding))
        .bind(filter_text(request.filter.as_ref())?)
        .bind(integer(request.limit))
        .fetch_all(connection)
        .await
        .map_err(translate)?;
    let hit = |row| {
        let cosine: f64 = get(row, "score")?;
        Ok(Hit { record: record(row)?, score: cosine, similarity: Some(narrow(cosine)) })
    };
    let mut hits = rows.iter().map(hit).collect::<Result<Vec<_>>>()?;
    // Best first, so the threshold takes the last ones, and took no other's place (V5).
    if let Some(least) = request.min_similarity {
        hits.retain(|hit| hit.similarity >= Some(least));
    }
    Ok(hits)
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
    let mut rows = sqlx::query(CANDIDATES)
        .bind(text(&records)?)
        .bind(query.map(|query| bytes(&query.embedding)))
        .bind(filter_text(filter)?)
        .fetch(connection);
    let least = query.and_then(|query| query.min_similarity);
    let mut found = Vec::new();
    let mut ranked = ranked.iter();
    while let Some(row) = rows.try_next().await.map_err(translate)? {
        let record: i64 = get(&row, "record")?;
        // Those between did not pass.
        let Some((_, score)) = ranked.find(|(ranked, _)| *ranked == record) else { break };
        let similarity = get::<Option<f64>>(&row, "similarity")?.map(narrow);
        if least.is_none_or(|least| similarity >= Some(least)) {
            found.push(Found { score: *score, id: get(&row, "id")?, record, similarity });
        }
    }
    Ok(found)
}

/// Reads the records found, in their order.
async fn load(connection: &mut SqliteConnection, found: Vec<Found>) -> Result<Vec<Hit>> {
    let records: Vec<i64> = found.iter().map(|found| found.record).collect();
    let query = sqlx::query(LOAD).bind(text(&records)?);
    let rows = query.fetch_all(connection).await.map_err(translate)?;
    found
        .into_iter()
        .zip(&rows)
        .map(|(found, row)| {
            Ok(Hit { record: record(row)?, score: found.score, similarity: found.similarity })
        })
        .collect()
}
