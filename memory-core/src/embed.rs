//! Turning text into vectors.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The space that embeddings of one model live in; only within it do they compare (V3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EmbeddingSpace {
    /// The model's name, an identifier (G2).
    pub model: String,
    /// The number of numbers in an embedding.
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

/// The limits of an embedder's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedderLimits {
    /// The most texts in one call, at least 1.
    pub texts: usize,
    /// How many of the model's tokens of a text count; what follows is cut off or refused, as the
    /// embedder says. None: all of them.
    pub tokens: Option<usize>,
}

/// Embeds text as vectors of length 1.
///
/// Clones of a handle share what is heavy: a model, connections. Errors are those of section E; an
/// embedder changes nothing anywhere, so that none is `maybe_applied` and each transient one may be
/// repeated.
#[async_trait]
pub trait Embedder: Send + Sync + std::fmt::Debug {
    /// The space of its vectors.
    fn space(&self) -> &EmbeddingSpace;

    /// Returns the limits of its input.
    fn limits(&self) -> EmbedderLimits;

    /// Embeds texts to be found, one vector each, in their order. No texts give no vectors, and
    /// more than [`EmbedderLimits::texts`] are `InvalidInput`: [`embed_documents`] takes any number.
    async fn embed_documents(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>>;

    /// Embeds a text to find others by. Some models treat questions unlike documents.
    async fn embed_query(&self, text: &str) -> Result<Vec<f32>>;
}

/// Embeds any number of texts to be found, in as few calls as the embedder allows, in their order.
///
/// An embedder that breaks its promise is `Internal` here, before its vectors reach a store.
pub async fn embed_documents(embedder: &dyn Embedder, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
    let mut vectors = Vec::with_capacity(texts.len());
    for batch in texts.chunks(embedder.limits().texts.max(1)) {
        let found = embedder.embed_documents(batch).await?;
        check_embedded(embedder.space(), batch.len(), &found)?;
        vectors.extend(found);
    }
    Ok(vectors)
}

/// Embeds a text to find others by.
///
/// An embedder that breaks its promise is `Internal` here, as in [`embed_documents`].
pub async fn embed_query(embedder: &dyn Embedder, text: &str) -> Result<Vec<f32>> {
    let vector = embedder.embed_query(text).await?;
    check_embedded(embedder.space(), 1, std::slice::from_ref(&vector))?;
    Ok(vector)
}

/// Checks what an embedder gave for `texts` texts: one vector each, of the space's dimensions,
/// finite and not all zero (V3). Anything else is `Internal`: the embedder is at fault, and never
/// whoever gave the texts.
pub fn check_embedded(space: &EmbeddingSpace, texts: usize, vectors: &[Vec<f32>]) -> Result<()> {
    let wrong = |what: String| {
        Error::internal(format!("the embedder of {space} gave {what}"))
            .with_hint("check the model and the service that runs it; the texts are not at fault")
    };
    if vectors.len() != texts {
        return Err(wrong(format!("{} vectors for {texts} texts", vectors.len())));
    }
    for vector in vectors {
        if vector.len() != space.dimensions {
            return Err(wrong(format!("a vector of {} dimensions", vector.len())));
        }
        if vector.iter().any(|x| !x.is_finite()) {
            return Err(wrong("a vector with a number that is not finite".into()));
        }
        if vector.iter().all(|x| *x == 0.0) {
            return Err(wrong("a vector of zeros alone".into()));
        }
    }
    Ok(())
}

/// Refuses more texts than an embedder takes in one call: for the embedders themselves.
pub fn check_batch(limits: EmbedderLimits, texts: &[&str]) -> Result<()> {
    if texts.len() > limits.texts {
        return Err(Error::invalid_input(format!(
            "{} texts to embed at once, more than {}",
            texts.len(),
            limits.texts
        ))
        .with_hint("split them, or call memquill_core::embed_documents, which does"));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// An embedder that gives what it is made of, whatever it is asked.
    #[derive(Debug)]
    struct Fixed(EmbeddingSpace, Vec<Vec<f32>>);

    #[async_trait]
    impl Embedder for Fixed {
        fn space(&self) -> &EmbeddingSpace {
            &self.0
        }

        fn limits(&self) -> EmbedderLimits {
            EmbedderLimits { texts: 10, tokens: None }
        }

        async fn embed_documents(&self, _: &[&str]) -> Result<Vec<Vec<f32>>> {
            Ok(self.1.clone())
        }

        async fn embed_query(&self, _: &str) -> Result<Vec<f32>> {
            Ok(self.1[0].clone())
        }
    }

    /// The result of a future that never waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn e2_a_wrong_vector_is_the_embedders_fault_at_store_and_at_query() {
        for wrong in [vec![1.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 0.0], vec![0.0, -0.0]] {
            let embedder = Fixed(EmbeddingSpace::new("mine", 2), vec![wrong]);
            for error in [
                now(embed_query(&embedder, "a")).unwrap_err(),
                now(embed_documents(&embedder, &["a"])).unwrap_err(),
            ] {
                assert_eq!(error.code(), "internal", "{error}");
                assert!(error.message().contains("mine (2 dimensions)"), "{error}");
                assert!(!error.is_transient() && error.hint().is_some(), "{error}");
            }
        }
        let embedder = Fixed(EmbeddingSpace::new("mine", 2), vec![vec![1.0, 0.0]]);
        assert_eq!(now(embed_query(&embedder, "a")).unwrap(), [1.0, 0.0]);
        assert_eq!(now(embed_documents(&embedder, &["a", "b"])).unwrap_err().code(), "internal");
    }
}
