//! Turning text into vectors.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// The space that embeddings of one model live in; only within it do they compare (V3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EmbeddingSpace {
    /// The model's name, an identifier (G2).
    pub model: String,
    /// How many numbers an embedding has.
    pub dimensions: usize,
}

impl EmbeddingSpace {
    /// The space of `model`.
    pub fn new(model: impl Into<String>, dimensions: usize) -> Self {
        Self { model: model.into(), dimensions }
    }
}

impl std::fmt::Display for EmbeddingSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} dimensions)", self.model, self.dimensions)
    }
}

/// Embeds text as vectors of length 1.
#[async_trait]
pub trait Embedder: Send + Sync + std::fmt::Debug {
    /// The space of its vectors.
    fn space(&self) -> &EmbeddingSpace;

    /// The most texts that one call takes.
    fn max_batch(&self) -> usize;

    /// Embeds texts to be found, one vector each, in their order.
    async fn embed_documents(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>>;

    /// Embeds a text to find others by. Some models treat questions unlike documents.
    async fn embed_query(&self, text: &str) -> Result<Vec<f32>>;
}

/// Cosine similarity in [-1, 1], in 64-bit arithmetic: the exact value that V4 measures drivers
/// against. Zero vectors and vectors of different length have similarity 0.
pub fn cosine_similarity(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return 0.0;
    }
    let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&x, &y) in a.iter().zip(b) {
        let (x, y) = (f64::from(x), f64::from(y));
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    if aa == 0.0 || bb == 0.0 { 0.0 } else { (dot / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0) }
}

/// The vector scaled to length 1; one of length 0 stays as it is.
pub fn normalize(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        for x in &mut vector {
            #[expect(clippy::cast_possible_truncation, reason = "back to the vector's precision")]
            let scaled = (f64::from(*x) / length) as f32;
            *x = scaled;
        }
    }
    vector
}
