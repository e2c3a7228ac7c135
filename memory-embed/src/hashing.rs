//! Feature hashing.

use std::collections::BTreeMap;

use async_trait::async_trait;
use memory_core::text::words;
use memory_core::{Embedder, EmbeddingSpace, Error, Limits, Result, normalize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The name of this way of hashing: whatever changes a vector changes it too.
const MODEL: &str = "hashing-v1";

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
/// The words of a text (those of [`memory_core::text::words`]) and their runs of 3 to 5 characters
/// are hashed to the numbers of the vector, each with a sign from a further bit of the hash, so
/// that features that meet cancel out on average (Weinberger et al. 2009, "Feature Hashing for
/// Large Scale Multitask Learning"). A feature that occurs n times weighs 1 + ln n. Vectors have
/// length 1 and are the same on every machine.
///
/// ```
/// use memory_core::{Embedder, cosine_similarity};
/// use memory_embed::HashingEmbedder;
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
        for ((hash, _), (weight, count)) in features(text) {
            self.add(&mut vector, hash, weight * (1.0 + f64::from(count).ln()));
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
