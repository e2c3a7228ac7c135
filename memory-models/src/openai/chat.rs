//! OpenAI's chat completions API.

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::json::Object;
use memquill_core::{ChatModel, Completion, Error, Message, Prompt, Result, TokenUsage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::client::{Address, Service};
use super::failure::Api;
use super::repeated;
use crate::config::{JsonOutput, OpenAiChatConfig};

/// Fields of a message that are ours, and that a service refuses.
const OURS: [&str; 3] = ["id", "metadata", "token_count"];

/// A chat model behind a service that speaks OpenAI's chat completions API.
///
/// A transient failure is repeated after the time that `Retry-After` names, up to a minute, or
/// after a pause that doubles. What a model writes before its answer between `<think>` and
/// `</think>`, as open models do, is no part of the answer. Requests are made on Tokio's runtime.
#[derive(Clone)]
pub struct OpenAiChat(Arc<Shared>);

struct Shared {
    service: Service,
    requests: Semaphore,
    config: OpenAiChatConfig,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Object>,
    /// What OpenAI calls the bound of an answer, and what everybody else does.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Value>,
}

/// As much of the answer as is needed: services that speak the API leave out what they like.
#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

impl OpenAiChat {
    /// Connects to nothing yet. `Config` where a key or something else is missing or wrong.
    pub fn new(config: OpenAiChatConfig) -> Result<Self> {
        let address = Address {
            base_url: config.base_url.as_deref(),
            api_key: config.api_key.as_ref(),
            timeout: config.timeout,
            ca: config.ca.as_deref(),
        };
        Ok(Self(Arc::new(Shared {
            service: Service::new(Api::Chat, address)?,
            requests: Semaphore::new(config.concurrency.get()),
            config,
        })))
    }

    /// Asks once.
    async fn ask(&self, prompt: &Prompt) -> Result<Completion> {
        let Shared { service, config, .. } = &*self.0;
        let request = request(config, service.openai, prompt);
        let answer: Answer =
            service.ask(|client| async move { client.chat().create_byot(request).await }).await?;
        completion(answer)
    }
}

fn request<'a>(config: &'a OpenAiChatConfig, openai: bool, prompt: &Prompt) -> Request<'a> {
    let mut messages: Vec<Object> = prompt.messages.iter().map(as_asked).collect();
    let schema = prompt.schema.as_ref();
    if let Some(schema) = schema.filter(|_| config.json != JsonOutput::Schema) {
        let text = format!(
            "Answer with one JSON object and nothing else. It keeps to this JSON Schema: {}",
            schema.schema
        );
        messages.insert(0, as_asked(&Message::system(text)));
    }
    let response_format = schema.and_then(|schema| match config.json {
        JsonOutput::Schema => Some(json!({
            "type": "json_schema",
            "json_schema": {"name": schema.name, "schema": schema.schema, "strict": true},
        })),
        JsonOutput::Object => Some(json!({"type": "json_object"})),
        JsonOutput::Prompt => None,
    });
    Request {
        model: &config.model,
        messages,
        max_completion_tokens: prompt.max_tokens.filter(|_| openai),
        max_tokens: prompt.max_tokens.filter(|_| !openai),
        temperature: config.temperature,
        response_format,
    }
}

fn as_asked(message: &Message) -> Object {
    let mut chat = message.to_chat();
    chat.retain(|field, _| !OURS.contains(&field.as_str()));
    chat
}

fn completion(answer: Answer) -> Result<Completion> {
    let Some(choice) = answer.choices.into_iter().next() else {
        return Err(Error::config("the service's answer has no choice")
            .with_hint("it does not speak OpenAI's chat completions API as it is written"));
    };
    let finish = choice.finish_reason.as_deref().unwrap_or_default();
    if finish == "content_filter" || choice.message.refusal.is_some() {
        return Err(Error::invalid_input("the model refuses to answer")
            .with_hint("look at the text that it was asked about, or use another model"));
    }
    let said = choice.message.content.unwrap_or_default();
    let text = without_thoughts(&said).trim();
    let cut = finish == "length";
    if text.is_empty() {
        let error = Error::internal("the model answered nothing");
        return Err(if cut {
            error.with_hint("it thinks for longer than its answer may be: allow more tokens")
        } else {
            error
        });
    }
    let usage = answer.usage.map_or_else(TokenUsage::default, |usage| TokenUsage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
    });
    Ok(Completion::new(text).with_cut(cut).with_usage(usage))
}

/// What follows a block of thoughts at the beginning; nothing where the block does not end.
fn without_thoughts(said: &str) -> &str {
    match said.trim_start().strip_prefix("<think>") {
        Some(thoughts) => thoughts.split_once("</think>").map_or("", |(_, answer)| answer),
        None => said,
    }
}

#[async_trait]
impl ChatModel for OpenAiChat {
    fn model(&self) -> &str {
        &self.0.config.model
    }

    async fn complete(&self, prompt: &Prompt) -> Result<Completion> {
        let Shared { requests, config, .. } = &*self.0;
        repeated(requests, config.retries, || self.ask(prompt))
            .await
            .map_err(|error| error.with_backend("openai").with_operation("complete"))
    }
}

impl std::fmt::Debug for OpenAiChat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAiChat").field("model", &self.0.config.model).finish_non_exhaustive()
    }
}
