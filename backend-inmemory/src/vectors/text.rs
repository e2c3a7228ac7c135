//! The words of a namespace's records.

use std::collections::{BTreeMap, HashMap};

use memquill_core::text::{Terms, bm25};

/// An inverted index. Documents are numbered as the namespace's rows, densely.
#[derive(Debug, Default)]
pub(super) struct TextIndex {
    /// For each word, the documents that hold it, and how often.
    postings: HashMap<String, BTreeMap<u32, u32>>,
    /// The length of each document in words.
    lengths: Vec<u32>,
    total_length: u64,
}

/// A document's number in the postings.
#[expect(clippy::cast_possible_truncation, reason = "more records than 2^32 do not fit a machine")]
fn number(document: usize) -> u32 {
    document as u32
}

impl TextIndex {
    /// Adds a document after the others.
    pub(super) fn push(&mut self, words: Terms) {
        let document = self.lengths.len();
        self.lengths.push(words.length);
        self.total_length += u64::from(words.length);
        self.link(document, words);
    }

    /// Replaces the words of a document.
    pub(super) fn set(&mut self, document: usize, old: &Terms, new: Terms) {
        self.total_length += u64::from(new.length);
        self.total_length -= u64::from(old.length);
        self.lengths[document] = new.length;
        self.unlink(document, old);
        self.link(document, new);
    }

    /// Removes a document; the last one, which has the words `last`, takes its number.
    pub(super) fn swap_remove(&mut self, document: usize, words: &Terms, last: Terms) {
        let end = self.lengths.len() - 1;
        self.total_length -= u64::from(words.length);
        self.unlink(document, words);
        if document != end {
            self.unlink(end, &last);
            self.link(document, last);
        }
        self.lengths.swap_remove(document);
    }

    fn link(&mut self, document: usize, words: Terms) {
        for (word, frequency) in words.frequencies {
            self.postings.entry(word).or_default().insert(number(document), frequency);
        }
    }

    fn unlink(&mut self, document: usize, words: &Terms) {
        for word in words.frequencies.keys() {
            if let Some(documents) = self.postings.get_mut(word) {
                documents.remove(&number(document));
                if documents.is_empty() {
                    self.postings.remove(word);
                }
            }
        }
    }

    /// The documents that hold any of the words, each given once, with their relevance by BM25.
    pub(super) fn rank(&self, query: &[String]) -> Vec<(usize, f64)> {
        let documents = self.lengths.len();
        #[expect(clippy::cast_precision_loss, reason = "both are far below 2^53")]
        let mean_length = self.total_length as f64 / documents as f64;
        let mut scores = vec![0.0; documents];
        for postings in query.iter().filter_map(|word| self.postings.get(word)) {
            let idf = bm25::idf(documents as u64, postings.len() as u64);
            for (document, frequency) in postings {
                let document = *document as usize;
                scores[document] +=
                    idf * bm25::weight(*frequency, self.lengths[document], mean_length);
            }
        }
        // Every word adds more than 0.
        scores.into_iter().enumerate().filter(|(_, score)| *score > 0.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    fn terms(text: &str) -> Terms {
        let mut terms = Terms::default();
        for word in words(text) {
            *terms.frequencies.entry(word).or_default() += 1;
            terms.length += 1;
        }
        terms
    }

    /// BM25 over the texts themselves.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn recount(texts: &[String], query: &str) -> Vec<(usize, f64)> {
        let total: usize = texts.iter().map(String::len).sum();
        let mean = total as f64 / texts.len() as f64;
        let mut query = words(query);
        query.sort();
        query.dedup();
        let score = |text: &String| -> f64 {
            query
                .iter()
                .map(|word| {
                    let holding = texts.iter().filter(|t| t.contains(word.as_str())).count();
                    let frequency = text.matches(word.as_str()).count();
                    let idf = bm25::idf(texts.len() as u64, holding as u64);
                    idf * bm25::weight(frequency as u32, text.len() as u32, mean)
                })
                .sum()
        };
        let scored = texts.iter().map(score).enumerate();
        scored.filter(|(_, score)| *score > 0.0).collect()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(String),
        Set(usize, String),
        Remove(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => "[a-e]{0,6}".prop_map(Step::Push),
            1 => (any::<usize>(), "[a-e]{0,6}").prop_map(|(at, text)| Step::Set(at, text)),
            2 => any::<usize>().prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn v9_the_index_ranks_as_a_recount_of_the_texts_does(
            steps in proptest::collection::vec(step(), 1..40),
            query in "[a-f]{0,4}",
        ) {
            let mut index = TextIndex::default();
            let mut texts: Vec<String> = Vec::new();
            for step in steps {
                match step {
                    Step::Push(text) => {
                        index.push(terms(&text));
                        texts.push(text);
                    }
                    Step::Set(at, text) if !texts.is_empty() => {
                        let at = at % texts.len();
                        index.set(at, &terms(&texts[at]), terms(&text));
                        texts[at] = text;
                    }
                    Step::Remove(at) if !texts.is_empty() => {
                        let at = at % texts.len();
                        index.swap_remove(at, &terms(&texts[at]), terms(texts.last().unwrap()));
                        texts.swap_remove(at);
                    }
                    _ => {}
                }
            }
            let mut asked = words(&query);
            asked.sort();
            asked.dedup();
            let (found, expected) = (index.rank(&asked), recount(&texts, &query));
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert_eq!(found.0, expected.0);
                prop_assert!((found.1 - expected.1).abs() < 1e-9);
            }
            let distinct: HashSet<char> =
                texts.iter().flat_map(|text| text.chars()).collect();
            prop_assert_eq!(index.postings.len(), distinct.len(), "V12: no word without a text");
        }
    }
}
