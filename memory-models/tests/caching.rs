//! The cache around an embedder.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future;
use memquill_core::{
    Embedder, EmbedderLimits, EmbeddingSpace, Error, ErrorKind, Result, check_batch,
};
use memquill_models::{CachingEmbedder, HashingEmbedder};
use tokio::sync::Semaphore;

/// Hashes, remembers what it was asked, and does nothing before it is let.
#[derive(Debug)]
struct Asked {
    inner: HashingEmbedder,
    calls: Mutex<Vec<Vec<String>>>,
    go: Semaphore,
    fails: AtomicBool,
}

impl Asked {
    fn new(go: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: HashingEmbedder::new(8).unwrap(),
            calls: Mutex::default(),
            go: Semaphore::new(go),
            fails: AtomicBool::new(false),
        })
    }

    fn calls(&self) -> Vec<Vec<String>> {
        self.calls.lock().unwrap().clone()
    }

    async fn asked(&self, texts: &[&str]) -> Result<()> {
        self.calls.lock().unwrap().push(texts.iter().map(ToString::to_string).collect());
        self.go.acquire().await.unwrap().forget();
        if self.fails.load(Ordering::SeqCst) {
            return Err(
                Error::new(ErrorKind::RateLimited, "busy").with_retry_after(Duration::from_secs(7))
            );
        }
        Ok(())
    }
}

#[async_trait]
impl Embedder for Asked {
    fn space(&self) -> &EmbeddingSpace {
        self.inner.space()
    }

    fn limits(&self) -> EmbedderLimits {
        EmbedderLimits { texts: 4, tokens: Some(7) }
    }

    async fn embed_documents(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        check_batch(self.limits(), texts)?;
        self.asked(texts).await?;
        self.inner.embed_documents(texts).await
    }

    async fn embed_query(&self, text: &str) -> Result<Vec<f32>> {
        self.asked(&[text]).await?;
        self.inner.embed_query(&format!("question {text}")).await
    }
}

const MANY: usize = 1_000;
const BYTES: u64 = 1 << 20;

fn plain(texts: &[&str]) -> Vec<Vec<f32>> {
    let inner = HashingEmbedder::new(8).unwrap();
    texts.iter().map(|text| inner.embed(text)).collect()
}

#[tokio::test]
async fn a_batch_asks_for_what_is_new_once_each_and_answers_in_order() {
    let asked = Asked::new(MANY);
    let cache = CachingEmbedder::new(asked.clone(), BYTES);
    let embed = async |texts: &[&str]| cache.embed_documents(texts).await.unwrap();
    assert_eq!(embed(&["a", "b", "a"]).await, plain(&["a", "b", "a"]));
    assert_eq!(embed(&["c", "b", "c", "a"]).await, plain(&["c", "b", "c", "a"]));
    assert!(embed(&[]).await.is_empty());
    assert_eq!(asked.calls(), [vec!["a", "b"], vec!["c"]]);
    assert_eq!((cache.space(), cache.limits()), (asked.space(), asked.limits()));
}

#[tokio::test]
async fn a_query_is_not_a_document() {
    let asked = Asked::new(MANY);
    let cache = CachingEmbedder::new(asked.clone(), BYTES);
    let document = cache.embed_documents(&["a"]).await.unwrap();
    let query = cache.embed_query("a").await.unwrap();
    assert_ne!(document[0], query);
    assert_eq!(cache.embed_query("a").await.unwrap(), query);
    assert_eq!(asked.calls().len(), 2);
}

#[tokio::test]
async fn a_text_that_is_being_embedded_is_not_embedded_again() {
    let asked = Asked::new(0);
    let cache = CachingEmbedder::new(asked.clone(), BYTES);
    let batches = [vec!["a", "b"], vec!["b", "c"], vec!["a", "c", "b"], vec!["b"]];
    let all = future::join_all(batches.iter().map(|batch| cache.embed_documents(batch)));
    let (all, ()) = future::join(all, async {
        // Every batch has asked, or waits, before the first is answered.
        tokio::task::yield_now().await;
        asked.go.add_permits(MANY);
    })
    .await;
    for (batch, found) in batches.iter().zip(all) {
        assert_eq!(found.unwrap(), plain(batch));
    }
    assert_eq!(asked.calls(), [vec!["a", "b"], vec!["c"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_embed_a_text_once() {
    let asked = Asked::new(MANY);
    let cache = CachingEmbedder::new(asked.clone(), BYTES);
    let tasks = (0..100_usize).map(|task| {
        let cache = cache.clone();
        tokio::spawn(async move {
            for step in 0..20 {
                let texts = [task % 7, step, 30, task % 3].map(|n| n.to_string());
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                assert_eq!(cache.embed_documents(&texts).await.unwrap(), plain(&texts));
            }
        })
    });
    for task in future::join_all(tasks).await {
        task.unwrap();
    }
    let mut texts: Vec<String> = asked.calls().into_iter().flatten().collect();
    let all = texts.len();
    texts.sort();
    texts.dedup();
    assert_eq!((all, texts.len()), (21, 21));
}

#[tokio::test]
async fn who_waits_gets_the_error_too_and_it_is_not_remembered() {
    let asked = Asked::new(0);
    let cache = CachingEmbedder::new(asked.clone(), BYTES);
    asked.fails.store(true, Ordering::SeqCst);
    let both = future::join(cache.embed_query("a"), cache.embed_query("a"));
    let ((first, second), ()) = future::join(both, async {
        tokio::task::yield_now().await;
        asked.go.add_permits(MANY);
    })
    .await;
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert_eq!((error.kind(), error.message()), (ErrorKind::RateLimited, "busy"));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert!(error.is_transient());
    }
    assert_eq!(asked.calls().len(), 1);

    asked.fails.store(false, Ordering::SeqCst);
    cache.embed_query("a").await.unwrap();
    assert_eq!(asked.calls().len(), 2);
}

#[tokio::test]
async fn g7_a_dropped_call_leaves_its_texts_to_who_waits() {
    let asked = Asked::new(0);
    let cache = CachingEmbedder::new(asked.clone(), BYTES);
    let mut first = Box::pin(cache.embed_documents(&["a", "b"]));
    let mut second = Box::pin(cache.embed_documents(&["b"]));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    asked.go.add_permits(MANY);
    assert_eq!(second.await.unwrap(), plain(&["b"]));
    assert_eq!(asked.calls(), [vec!["a", "b"], vec!["b"]]);
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let asked = Asked::new(usize::MAX >> 4);
    // Room for about ten.
    let cache = CachingEmbedder::new(asked.clone(), 2_500);
    for round in 0..3 {
        for text in 0..200 {
            cache.embed_query(&text.to_string()).await.unwrap();
        }
        let calls = asked.calls().len();
        assert!(calls >= 150 * (round + 1), "{calls} calls after round {round}");
    }
}
