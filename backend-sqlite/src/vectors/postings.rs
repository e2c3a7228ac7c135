//! The index of words (V9).

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use memquill_core::text::bm25;
use memquill_core::{Result, Timestamp};
use sqlx::SqliteConnection;

use super::Namespace;
use crate::codec::{get, text};
use crate::error::translate;

const ADD: &str = "
INSERT INTO embedding_words (namespace, word, record, frequency, length, expires_at)
SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
FROM json_each(?2)";

const REMOVE: &str = "
DELETE FROM embedding_words WHERE record IN (SELECT value FROM json_each(?1))";

const OCCURRENCES: &str = "
SELECT record, frequency, length FROM embedding_words
WHERE namespace = ?1 AND word = ?2 AND (expires_at IS NULL OR expires_at > ?3)";

/// Rows in one INSERT: a batch of long texts has more words than one parameter holds.
const ROWS: usize = 10_000;

/// A record whose words are to be found.
pub(super) struct Posted<'a> {
    pub(super) record: i64,
    /// How many words it has.
    pub(super) length: u32,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) frequencies: &'a HashMap<String, u32>,
}

pub(super) async fn add(
    connection: &mut SqliteConnection,
    namespace: i64,
    posted: &[Posted<'_>],
) -> Result<()> {
    let mut rows: Vec<_> = posted
        .iter()
        .flat_map(|record| {
            let expires_at = record.expires_at.map(Timestamp::as_millis);
            record.frequencies.iter().map(move |(word, frequency)| {
                (word.as_str(), record.record, *frequency, record.length, expires_at)
            })
        })
        .collect();
    // In the table's own order, its pages are filled one after another.
    rows.sort_unstable();
    for rows in rows.chunks(ROWS) {
        let query = sqlx::query(ADD).bind(namespace).bind(text(&rows)?);
        query.execute(&mut *connection).await.map_err(translate)?;
    }
    Ok(())
}

pub(super) async fn remove(connection: &mut SqliteConnection, records: &[i64]) -> Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(REMOVE).bind(text(&records)?);
    query.execute(connection).await.map_err(translate)?;
    Ok(())
}

/// The live records with any of the words, and their relevance.
pub(super) async fn relevance(
    connection: &mut SqliteConnection,
    namespace: &Namespace,
    words: &[String],
    now: Timestamp,
) -> Result<HashMap<i64, f64>> {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    let mean_length = namespace.words as f64 / namespace.records as f64;
    let mut scores = HashMap::new();
    let mut weights = Vec::new();
    for word in words {
        let mut rows = sqlx::query(OCCURRENCES)
            .bind(namespace.key)
            .bind(word)
            .bind(now.as_millis())
            .fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(translate)? {
            let weight = bm25::weight(get(&row, "frequency")?, get(&row, "length")?, mean_length);
            weights.push((get(&row, "record")?, weight));
        }
        let idf = bm25::idf(namespace.records, weights.len() as u64);
        for (record, weight) in weights.drain(..) {
            *scores.entry(record).or_insert(0.0) += idf * weight;
        }
    }
    Ok(scores)
}
