//! Records column by column, as `store_records` takes them.

use std::collections::HashMap;
use std::fmt::Write as _;

use memquill_core::text::{Language, terms};
use memquill_core::{NewRecord, Result, normalize};
use serde_json::Value;

use super::filter::comparable;
use crate::codec::{metadata, millis};
use crate::pool::Call;

/// Lengths between which 32-bit sums of squares neither overflow nor vanish.
const SAFE_LENGTHS: std::ops::RangeInclusive<f64> = 1e-15..=1e15;

#[derive(Default)]
pub(super) struct Columns<'a> {
    /// The place in the columns of each given record: identical ones have one.
    positions: Vec<usize>,
    ids: Vec<String>,
    contents: Vec<&'a str>,
    types: Vec<&'a str>,
    metadata: Vec<Option<String>>,
    /// For filters, where that is not the same text as the metadata's.
    attributes: Vec<Option<String>>,
    languages: Vec<Option<&'static str>>,
    digests: Vec<Vec<u8>>,
    ttls: Vec<Option<i64>>,
    /// All embeddings, one after the other, and the same as they were given where any was scaled.
    embeddings: Vec<f32>,
    originals: Vec<f32>,
    scaled: Vec<bool>,
    words: Vec<String>,
    frequencies: Vec<String>,
    word_counts: Vec<i32>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(records: &'a [NewRecord]) -> Result<Self> {
        let mut columns = Self::default();
        let mut first: HashMap<String, usize> = HashMap::with_capacity(records.len());
        let mut distinct = Vec::with_capacity(records.len());
        for record in records {
            let id = record.identity();
            let next = first.len();
            let position = *first.entry(id.clone()).or_insert(next);
            columns.positions.push(position);
            if position == next {
                distinct.push(record);
                columns.push(id, record)?;
            }
        }
        if columns.scaled.contains(&true) {
            columns.originals =
                distinct.iter().flat_map(|record| record.embedding.iter().copied()).collect();
        }
        Ok(columns)
    }

    fn push(&mut self, id: String, record: &'a NewRecord) -> Result<()> {
        let text = metadata(&record.metadata)?;
        let attributes = comparable(Value::Object(record.metadata.clone()));
        self.attributes.push(text.as_ref().filter(|text| **text != attributes).map(|_| attributes));
        self.metadata.push(text);
        self.digests.push(record.digest().to_vec());
        self.ids.push(id);
        self.contents.push(&record.content);
        self.types.push(&record.document_type);
        self.languages.push(record.language.map(Language::code));
        self.ttls.push(record.ttl.map(millis));
        self.push_embedding(&record.embedding);
        self.push_words(record);
        Ok(())
    }

    fn push_embedding(&mut self, embedding: &[f32]) {
        let length = embedding.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        let scaled = !SAFE_LENGTHS.contains(&length);
        if scaled {
            self.embeddings.extend(normalize(embedding.to_vec()));
        } else {
            self.embeddings.extend_from_slice(embedding);
        }
        self.scaled.push(scaled);
    }

    fn push_words(&mut self, record: &NewRecord) {
        let terms = terms(&record.content, record.language);
        self.word_counts.push(i32::try_from(terms.length).unwrap_or(i32::MAX));
        let (distinct, frequencies) = joined(terms.frequencies);
        self.words.push(distinct);
        self.frequencies.push(frequencies);
    }

    pub(super) fn positions(&self) -> &[usize] {
        &self.positions
    }

    pub(super) fn ttls(&self) -> &[Option<i64>] {
        &self.ttls
    }

    /// Binds what comes before the times.
    pub(super) fn bind_texts(&self, call: Call) -> Call {
        call.bind(&self.ids)
            .bind(&self.contents)
            .bind(&self.types)
            .bind(&self.metadata)
            .bind(&self.attributes)
            .bind(&self.languages)
            .bind(&self.digests)
    }

    /// Binds what comes after them.
    pub(super) fn bind_numbers(&self, call: Call) -> Call {
        call.bind(&self.embeddings)
            .bind(&self.originals)
            .bind(&self.scaled)
            .bind(&self.words)
            .bind(&self.frequencies)
            .bind(&self.word_counts)
    }
}

/// Words, and how often each occurs, both separated by spaces: words have none in them.
fn joined(words: impl IntoIterator<Item = (String, u32)>) -> (String, String) {
    let (mut distinct, mut frequencies) = (String::new(), String::new());
    for (at, (word, frequency)) in words.into_iter().enumerate() {
        if at > 0 {
            distinct.push(' ');
            frequencies.push(' ');
        }
        distinct.push_str(&word);
        // Writing to a string cannot fail.
        let _ = write!(frequencies, "{frequency}");
    }
    (distinct, frequencies)
}

#[cfg(test)]
mod tests {
    use memquill_core::json::Object;
    use serde_json::json;

    use super::*;

    fn record(metadata: Value, embedding: Vec<f32>) -> NewRecord {
        let Value::Object(metadata) = metadata else { unreachable!() };
        NewRecord::new("a b a", embedding).with_metadata(metadata)
    }

    #[test]
    fn v1_identical_records_stand_once() {
        let twice = [record(json!({}), vec![1.0]), record(json!({}), vec![1.0])];
        let columns = Columns::of(&twice).unwrap();
        assert_eq!(columns.positions(), [0, 0]);
        assert_eq!(columns.ids.len(), 1);
        assert_eq!(columns.word_counts, [3]);
        assert_eq!(columns.words[0].split(' ').count(), 2);
    }

    #[test]
    fn v9_every_word_has_a_frequency_of_its_own() {
        let words = ["", "a", "b"].map(str::to_owned).into_iter().zip([3, 1, 2]);
        assert_eq!(joined(words), (" a b".into(), "3 1 2".into()));
    }

    #[test]
    fn v4_only_extreme_embeddings_are_scaled() {
        let records = [
            NewRecord::new("a", vec![3e38, 3e38]),
            NewRecord::new("b", vec![3.0, 4.0]),
            NewRecord::new("c", vec![1e-40, 0.0]),
        ];
        let columns = Columns::of(&records).unwrap();
        assert_eq!(columns.scaled, [true, false, true]);
        assert_eq!(columns.embeddings[2..4], [3.0, 4.0]);
        assert_eq!(columns.originals[..2], [3e38, 3e38]);
        assert!(columns.embeddings.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn metadata_that_filters_read_as_it_is_is_sent_once() {
        let records = [
            NewRecord::new("a", vec![1.0]).with_metadata(Object::new()),
            record(json!({"a": 1.5}), vec![1.0]).with_id("b"),
            record(json!({"a": 1e18}), vec![1.0]).with_id("c"),
        ];
        let columns = Columns::of(&records).unwrap();
        assert_eq!(columns.attributes[..2], [None, None]);
        assert_eq!(columns.attributes[2].as_deref(), Some(r#"{"a":1000000000000000000}"#));
    }
}
