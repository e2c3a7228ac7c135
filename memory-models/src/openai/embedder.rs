//! OpenAI's embeddings API.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future;
use memquill_core::{
    Embedder, EmbedderLimits, EmbeddingSpace, Error, HeuristicCounter, Limits, Result,
    TokenCounter as _, normalize,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::client::{Address, Service};
use super::failure::Api;
use super::repeated;
use crate::config::OpenAiConfig;
use crate::families::prefixes;
use crate::profile::{Profile, embedder};

/// OpenAI's models, and how many numbers their vectors have.
const MODELS: [(&str, usize); 3] = [
    ("text-embedding-3-small", 1_536),
    ("text-embedding-3-large", 3_072),
    ("text-embedding-ada-002", 1_536),
];
/// Those of its models whose vectors can be shortened.
const SHORTENING: &str = "text-embedding-3-";
/// The most tokens of a text that OpenAI's models take.
const MAX_TOKENS: usize = 8_191;

/// An embedder that asks a service that speaks OpenAI's embeddings API.
///
/// Texts go in requests bounded by count and by tokens, some of them at once, all clones together.
/// A transient failure is repeated after the time that `Retry-After` names, up to a minute, or
/// after a pause that doubles. Requests are made on Tokio's runtime.
#[derive(Clone)]
pub struct OpenAiEmbedder(Arc<Shared>);

struct Shared {
    profile: Profile,
    service: Service,
    /// The number of dimensions that the service shortens vectors to.
    shorten: Option<usize>,
    requests: Semaphore,
    config: OpenAiConfig,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

/// As much of the answer as is needed: services that speak the API leave out what they like.
#[derive(Deserialize)]
struct Answer {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    index: usize,
    embedding: Vec<f32>,
}

impl OpenAiEmbedder {
    /// Connects to nothing yet. `Config` where a key, the number of dimensions or something else
    /// is missing or wrong.
    pub fn new(config: OpenAiConfig) -> Result<Self> {
        let known = MODELS.iter().find(|(model, _)| *model == config.model).map(|(_, n)| *n);
        let dimensions = config.dimensions.or(known).ok_or_else(|| {
            Error::config(format!("how many dimensions {:?} has is not known", config.model))
                .with_hint("set dimensions, as in dimensions: 768")
        })?;
        let most = Limits::CONTRACT.dimensions;
        if !(1..=most).contains(&dimensions) {
            return Err(Error::config(format!("dimensions are 1 to {most}")));
        }
        let shortening = config.model.starts_with(SHORTENING);
        let shorten = config.send_dimensions.unwrap_or(shortening && config.dimensions.is_some());
        let tokens = config.max_tokens.map(usize::from).or(known.map(|_| MAX_TOKENS));
        let (query, document) = prefixes(&config.model);
        Ok(Self(Arc::new(Shared {
            profile: Profile {
                space: EmbeddingSpace::new(config.model.clone(), dimensions),
                limits: EmbedderLimits { texts: Limits::CONTRACT.batch_items, tokens },
                query_prefix: config.query_prefix.clone().unwrap_or_else(|| query.to_owned()),
                document_prefix: config
                    .document_prefix
                    .clone()
                    .unwrap_or_else(|| document.to_owned()),
            },
            service: Service::new(
                Api::Embeddings,
                Address {
                    base_url: config.base_url.as_deref(),
                    api_key: config.api_key.as_ref(),
                    timeout: config.timeout,
                    ca: config.ca.as_deref(),
                },
            )?,
            shorten: shorten.then_some(dimensions),
            requests: Semaphore::new(config.concurrency.get()),
            config,
        })))
    }

    async fn embed(
        &self,
        mut texts: Vec<String>,
        operation: &'static str,
    ) -> Result<Vec<Vec<f32>>> {
        // The API refuses an empty text, which the contract allows (G3): a space is sent for it.
        texts.iter_mut().filter(|text| text.is_empty()).for_each(|text| text.push(' '));
        let requests =
            batches(&texts, self.0.config.batch_texts.get(), self.0.config.batch_tokens.get());
        let requests = requests.into_iter().map(|range| self.request(&texts[range]));
        let answers = future::try_join_all(requests).await;
        let answers =
            answers.map_err(|error| error.with_backend("openai").with_operation(operation))?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Sends one request, and repeats it after transient failures.
    async fn request(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let shared = &*self.0;
        let answered =
            repeated(&shared.requests, shared.config.retries, || self.ask(texts)).await?;
        self.checked(answered)
    }

    /// Asks once; the vectors are in the order of the texts, as the service gave them.
    async fn ask(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let Shared { service, shorten, config, .. } = &*self.0;
        let request = Request { model: &config.model, input: texts, dimensions: *shorten };
        let answer: Result<Answer> = service
            .ask(|client| async move { client.embeddings().create_byot(request).await })
            .await;
        let mut data = answer?.data;
        data.sort_by_key(|embedding| embedding.index);
        if !data.iter().map(|embedding| embedding.index).eq(0..texts.len()) {
            return Err(Error::config(format!(
                "the service gave {} vectors for {} texts, or not one for each",
                data.len(),
                texts.len()
            ))
            .with_hint("it does not speak OpenAI's embeddings API as it is written"));
        }
        Ok(data.into_iter().map(|embedding| embedding.embedding).collect())
    }

    fn checked(&self, vectors: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>> {
        let space = &self.0.profile.space;
        if let Some(wrong) = vectors.iter().find(|vector| vector.len() != space.dimensions) {
            return Err(Error::config(format!(
                "the service gave vectors of {} dimensions for {space}",
                wrong.len()
            ))
            .with_hint("set dimensions to what the model has"));
        }
        Ok(vectors.into_iter().map(normalize).collect())
    }
}

embedder!(OpenAiEmbedder);

/// Divides texts into requests, in order.
fn batches(texts: &[String], most_texts: usize, most_tokens: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut tokens) = (0, 0_usize);
    for (at, text) in texts.iter().enumerate() {
        let count = usize::try_from(HeuristicCounter.count(text)).unwrap_or(usize::MAX);
        let full = at - start >= most_texts || tokens.saturating_add(count) > most_tokens;
        if full && at > start {
            ranges.push(start..at);
            (start, tokens) = (at, 0);
        }
        tokens = tokens.saturating_add(count);
    }
    if start < texts.len() {
        ranges.push(start..texts.len());
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn requests_hold_all_texts_in_order_within_both_limits(
            words in prop::collection::vec(0..30_usize, 0..40),
            most_texts in 1..10_usize,
            most_tokens in 1..40_usize,
        ) {
            let texts: Vec<String> = words.iter().map(|n| "word ".repeat(*n)).collect();
            let ranges = batches(&texts, most_texts, most_tokens);
            let all: Vec<usize> = ranges.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..texts.len()).collect::<Vec<_>>());
            for range in ranges {
                let tokens: usize = words[range.clone()].iter().sum();
                prop_assert!(range.len() <= most_texts);
                prop_assert!(tokens <= most_tokens || range.len() == 1);
            }
        }
    }
}
