//! A cache of embeddings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use memquill_core::{
    Embedder, EmbedderLimits, EmbeddingSpace, Error, Result, check_batch, check_embedded,
};
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

/// The approximate size of an entry besides its numbers, in bytes: its key and the cache's own
/// bookkeeping.
const ENTRY_OVERHEAD: usize = 200;

/// The SHA-256 of the space, of what the text is embedded for, and of the text.
type Key = [u8; 32];
type Vector = Arc<[f32]>;
/// The outcome for a text that a task embeds; none until it ends.
type Outcome = Option<Result<Vector>>;

/// The purpose that a text is embedded for.
#[derive(Debug, Clone, Copy)]
enum Use {
    Document = 1,
    Query = 2,
}

/// An embedder that remembers the vectors that another one made, up to a number of bytes; the
/// least used go first.
///
/// A batch asks the other embedder for what is not remembered, in one call, and each distinct text
/// once; a text that another task is embedding is waited for, not embedded again. Where that task
/// fails, its waiters get the same error; where it is dropped, one of them takes its place. Clones
/// share what is remembered, which is of the one embedder's space.
#[derive(Debug, Clone)]
pub struct CachingEmbedder {
    inner: Arc<dyn Embedder>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    vectors: Cache<Key, Vector>,
    /// The texts that are being embedded. A vector is remembered before its text leaves here, so
    /// that who finds it in neither has to embed it.
    under_way: Mutex<HashMap<Key, watch::Receiver<Outcome>>>,
}

impl CachingEmbedder {
    /// Remembers up to `bytes` of the vectors of `inner`.
    pub fn new(inner: Arc<dyn Embedder>, bytes: u64) -> Self {
        let vectors = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, vector: &Vector| {
                u32::try_from(size_of_val::<[f32]>(vector) + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
            })
            .build();
        Self { inner, shared: Arc::new(Shared { vectors, under_way: Mutex::default() }) }
    }

    fn key(&self, what_for: Use, text: &str) -> Key {
        let space = self.inner.space();
        let mut hash = Sha256::new();
        hash.update(space.model.len().to_le_bytes());
        hash.update(&space.model);
        hash.update(space.dimensions.to_le_bytes());
        hash.update([what_for as u8]);
        hash.update(text);
        hash.finalize().into()
    }

    async fn embed(&self, what_for: Use, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let keys: Vec<Key> = texts.iter().map(|text| self.key(what_for, text)).collect();
        let mut found: HashMap<Key, Vector> = HashMap::with_capacity(keys.len());
        loop {
            let mut claims = self.shared.claim(texts, &keys, &mut found);
            if !claims.texts.is_empty() {
                let embedded = match what_for {
                    Use::Document => self.inner.embed_documents(&claims.texts).await,
                    Use::Query => self.one(claims.texts[0]).await,
                };
                // What is wrong is not remembered.
                let embedded = embedded.and_then(|vectors| {
                    check_embedded(self.space(), claims.texts.len(), &vectors).map(|()| vectors)
                });
                match embedded {
                    Ok(vectors) => found.extend(claims.fulfil(vectors)),
                    Err(error) => return Err(claims.fail(error)),
                }
            }
            for (key, mut waiting) in std::mem::take(&mut claims.others) {
                // An error of `wait_for` says that the other task was dropped: once more around.
                if let Ok(outcome) = waiting.wait_for(Option::is_some).await {
                    match outcome.as_ref() {
                        Some(Ok(vector)) => drop(found.insert(key, Arc::clone(vector))),
                        Some(Err(error)) => return Err(error.clone()),
                        None => {}
                    }
                }
            }
            let vectors = keys.iter().map(|key| Some(found.get(key)?.to_vec()));
            if let Some(vectors) = vectors.collect() {
                return Ok(vectors);
            }
        }
    }

    async fn one(&self, text: &str) -> Result<Vec<Vec<f32>>> {
        Ok(vec![self.inner.embed_query(text).await?])
    }
}

#[async_trait]
impl Embedder for CachingEmbedder {
    fn space(&self) -> &EmbeddingSpace {
        self.inner.space()
    }

    fn limits(&self) -> EmbedderLimits {
        self.inner.limits()
    }

    async fn embed_documents(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        check_batch(self.limits(), texts)?;
        self.embed(Use::Document, texts).await
    }

    async fn embed_query(&self, text: &str) -> Result<Vec<f32>> {
        let vectors = self.embed(Use::Query, &[text]).await?;
        vectors.into_iter().next().ok_or_else(|| Error::internal("a query was not embedded"))
    }
}

impl Shared {
    /// Finds what is remembered, and divides the rest into what this task is to embed and what
    /// others embed already.
    fn claim<'a>(
        &self,
        texts: &[&'a str],
        keys: &[Key],
        found: &mut HashMap<Key, Vector>,
    ) -> Claims<'a, '_> {
        let mut claims = Claims { shared: self, texts: vec![], mine: vec![], others: vec![] };
        let mut under_way = self.under_way();
        for (text, key) in texts.iter().zip(keys) {
            if found.contains_key(key) {
                continue;
            }
            if let Some(waiting) = under_way.get(key) {
                // This batch's own repetitions are found here too, and not waited for.
                if !claims.mine.iter().any(|(mine, _)| mine == key) {
                    claims.others.push((*key, waiting.clone()));
                }
            } else if let Some(vector) = self.vectors.get(key) {
                found.insert(*key, vector);
            } else {
                let (tell, waiting) = watch::channel(None);
                under_way.insert(*key, waiting);
                claims.mine.push((*key, tell));
                claims.texts.push(text);
            }
        }
        drop(under_way);
        claims
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Outcome>>> {
        // A panic elsewhere leaves the map whole.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The texts that this task embeds, and those that it waits for. Dropped, it gives its own up.
struct Claims<'a, 's> {
    shared: &'s Shared,
    texts: Vec<&'a str>,
    mine: Vec<(Key, watch::Sender<Outcome>)>,
    others: Vec<(Key, watch::Receiver<Outcome>)>,
}

impl Claims<'_, '_> {
    /// Remembers the vectors and tells whoever waits for them.
    fn fulfil(&mut self, vectors: Vec<Vec<f32>>) -> Vec<(Key, Vector)> {
        let vectors = vectors.into_iter().map(Vector::from);
        let made: Vec<(Key, Vector)> = self.mine.iter().map(|(key, _)| *key).zip(vectors).collect();
        for (key, vector) in &made {
            self.shared.vectors.insert(*key, Arc::clone(vector));
        }
        for ((_, tell), (_, vector)) in self.mine.iter().zip(&made) {
            tell.send_replace(Some(Ok(Arc::clone(vector))));
        }
        self.release();
        made
    }

    fn fail(&mut self, error: Error) -> Error {
        for (_, tell) in &self.mine {
            tell.send_replace(Some(Err(error.clone())));
        }
        error
    }

    fn release(&mut self) {
        let mut under_way = self.shared.under_way();
        for (key, _) in self.mine.drain(..) {
            under_way.remove(&key);
        }
    }
}

impl Drop for Claims<'_, '_> {
    fn drop(&mut self) {
        self.release();
    }
}
