//! Feature hashing.

use std::collections::BTreeMap;

use async_trait::async_trait;
use memquill_core::text::words;
use memquill_core::{
    Embedder, EmbedderLimits, EmbeddingSpace, Error, Limits, Result, check_batch, normalize,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The name of this way of hashing. Whatever would change a vector is another model.
const MODEL: &str = "hashing-v2";

/// Few enough to be cheap, enough that a text's features seldom meet in one number.
const DIMENSIONS: usize = 512;

/// The lengths in characters of the parts of a word that are features beside the word itself.
const GRAMS: std::ops::RangeInclusive<usize> = 3..=5;

const WORD_WEIGHT: f64 = 1.0;
/// A word has several parts, so that all of them together weigh about as much as the word.
const GRAM_WEIGHT: f64 = 0.3;

/// What a feature is: its hash's seed, so that a word and a part that read alike are two features.
#[derive(Debug, Clone, Copy)]
enum Feature {
    Word = 1,
    Gram = 2,
    Raw = 3,
}

/// An embedder that needs no model: **lexical, not semantic**.
///
/// Texts are near each other where they share words or parts of words (`deploy`, `deployment`), in
/// any language; it knows nothing of meaning, and `car` is as far from `automobile` as from
/// `banana`. Use it for tests, offline, or where word overlap is what is wanted.
///
/// The words of a text (those of [`memquill_core::text::words`]) and their runs of 3 to 5 characters
/// are hashed to the numbers of the vector, each with a sign from a further bit of the hash, so
/// that features that meet cancel out on average (Weinberger et al. 2009, "Feature Hashing for
/// Large Scale Multitask Learning"). A feature that occurs n times weighs 1 + ln n. Vectors have
/// length 1 and, rounding in the last place aside, the same on every machine and in every version:
/// another way of hashing will have another model name.
///
/// ```
/// use memquill_core::{Embedder, cosine_similarity};
/// use memquill_models::HashingEmbedder;
///
/// let embedder = HashingEmbedder::default();
/// assert_eq!(embedder.space().dimensions, 512);
/// let [deploy, deployment, soup] =
///     ["deploy the service", "service deployment", "tomato soup"].map(|text| embedder.embed(text));
/// assert!(cosine_similarity(&deploy, &deployment) > 0.4);
/// assert!(cosine_similarity(&deploy, &soup).abs() < 0.2);
/// ```
#[derive(Debug, Clone)]
pub struct HashingEmbedder {
    space: EmbeddingSpace,
}

impl HashingEmbedder {
    /// An embedder of so many dimensions, 1 to 16,000; `Config` otherwise. Fewer than some hundred
    /// blur texts into each other.
    pub fn new(dimensions: usize) -> Result<Self> {
        let most = Limits::CONTRACT.dimensions;
        if !(1..=most).contains(&dimensions) {
            return Err(Error::config(format!("an embedding cannot have {dimensions} dimensions"))
                .with_hint(format!("ask for 1 to {most}; {DIMENSIONS} is usual")));
        }
        Ok(Self { space: EmbeddingSpace::new(MODEL, dimensions) })
    }

    /// Embeds a text as a vector of length 1, without the ceremony of [`Embedder`].
    pub fn embed(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; self.space.dimensions];
        for (hash, Occurrences { weight, count }) in features(text) {
            self.add(&mut vector, hash, weight * (1.0 + count.ln()));
        }
        if vector.iter().all(|x| *x == 0.0) {
            // No word at all, as in "!!!", or features that cancelled out: the text itself.
            self.add(&mut vector, hash(Feature::Raw, text), 1.0);
        }
        normalize(vector)
    }

    fn add(&self, vector: &mut [f32], hash: u64, weight: f64) {
        let (magnitude, sign) = (hash >> 1, hash & 1);
        let at = magnitude % self.space.dimensions as u64;
        #[expect(clippy::cast_possible_truncation, reason = "it is less than the dimensions")]
        let at = at as usize;
        #[expect(clippy::cast_possible_truncation, reason = "vectors have 32 bits")]
        let weight = weight as f32;
        vector[at] += if sign == 0 { weight } else { -weight };
    }
}

impl Default for HashingEmbedder {
    /// 512 dimensions.
    fn default() -> Self {
        Self { space: EmbeddingSpace::new(MODEL, DIMENSIONS) }
    }
}

fn hash(feature: Feature, text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), feature as u64)
}

struct Occurrences {
    weight: f64,
    count: f64,
}

/// The features of a text by their hashes, in an order that depends on nothing else, so that
/// rounding does not either.
fn features(text: &str) -> BTreeMap<u64, Occurrences> {
    let mut features = BTreeMap::new();
    let mut count = |feature, text: &str, weight| {
        let new = Occurrences { weight, count: 0.0 };
        features.entry(hash(feature, text)).or_insert(new).count += 1.0;
    };
    for word in words(text, None) {
        count(Feature::Word, &word, WORD_WEIGHT);
        for gram in grams(&word) {
            count(Feature::Gram, gram, GRAM_WEIGHT);
        }
    }
    features
}

/// The parts of a word.
fn grams(word: &str) -> Vec<&str> {
    let mut bounds: Vec<usize> = word.char_indices().map(|(at, _)| at).collect();
    bounds.push(word.len());
    GRAMS
        .flat_map(|length| bounds.windows(length + 1))
        .filter_map(|window| Some(&word[*window.first()?..*window.last()?]))
        .collect()
}

#[async_trait]
impl Embedder for HashingEmbedder {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn limits(&self) -> EmbedderLimits {
        EmbedderLimits { texts: Limits::CONTRACT.batch_items, tokens: None }
    }

    async fn embed_documents(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        check_batch(self.limits(), texts)?;
        Ok(texts.iter().map(|text| self.embed(text)).collect())
    }

    async fn embed_query(&self, text: &str) -> Result<Vec<f32>> {
        Ok(self.embed(text))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use memquill_core::cosine_similarity;
    use proptest::prelude::*;

    use super::*;

    fn similarity(a: &str, b: &str) -> f64 {
        let embedder = HashingEmbedder::default();
        cosine_similarity(&embedder.embed(a), &embedder.embed(b))
    }

    #[test]
    fn texts_that_share_words_are_nearer_than_texts_that_do_not() {
        for (text, near, far) in [
            ("how do I reset my password", "reset a forgotten password", "the weather in Oslo"),
            ("the deployment failed", "deployments fail", "a recipe for soup"),
            ("我想预订去北京的机票", "预订北京机票", "今天的天气很好"),
            ("كيف أعيد تعيين كلمة المرور", "تعيين كلمة المرور الجديدة", "الطقس جميل اليوم"),
            ("Как сбросить пароль", "сброс пароля", "погода в Осло"),
            ("Crème brûlée", "CREME BRULEE", "tarte"),
        ] {
            let (near, far) = (similarity(text, near), similarity(text, far));
            assert!(near > far + 0.2, "{text}: {near} and {far}");
        }
    }

    #[test]
    fn the_numbers_of_a_text_stay_what_they_are() {
        let embedder = HashingEmbedder::new(8).unwrap();
        let found = embedder.embed("to be or not to be");
        let expected: [f32; 8] = [0.0, 0.089_603, 0.0, -0.804_380, -0.298_677, 0.0, 0.0, 0.505_704];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_word_repeated_counts_less_than_so_many_words() {
        let once = similarity("cat dog", "cat");
        let often = similarity("cat cat cat cat dog", "cat");
        assert!(often > once && often < 0.99, "{once} and {often}");
    }

    #[test]
    fn an_impossible_number_of_dimensions_is_refused() {
        for dimensions in [0, 16_001] {
            assert_eq!(HashingEmbedder::new(dimensions).unwrap_err().code(), "config");
        }
    }

    #[test]
    fn a_batch_is_its_texts_in_their_order() {
        let embedder = HashingEmbedder::default();
        let batch = embedder.embed_documents(&["a", "b"]).now_or_never().unwrap().unwrap();
        assert_eq!(batch, [embedder.embed("a"), embedder.embed("b")]);
        let query = embedder.embed_query("a").now_or_never().unwrap().unwrap();
        assert_eq!(query, batch[0]);
    }

    proptest! {
        #[test]
        fn every_text_has_a_vector_of_length_one(text in ".{0,40}", dimensions in 1..600_usize) {
            let embedder = HashingEmbedder::new(dimensions).unwrap();
            for text in [text.as_str(), "", "!!!"] {
                let vector = embedder.embed(text);
                prop_assert_eq!(vector.len(), dimensions);
                let length: f64 = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                prop_assert!((length - 1.0).abs() < 1e-5, "{:?}: {}", text, length);
                prop_assert_eq!(vector, embedder.embed(text));
            }
        }
    }
}
