//! The summarizer of a configuration.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use memquill_core::{Error, ExtractiveSummarizer, Result, SecretString, Summarizer, did_you_mean};
use memquill_models::{JsonOutput, OpenAiChatConfig};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::document::Document;
use super::form::Within;

/// What makes summaries of conversations.
///
/// In one line it is `extractive`, or `openai:MODEL`.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum SummarizerConfig {
    /// The sentences that say most, without a model.
    #[default]
    Extractive,
    /// A chat model behind a service that speaks OpenAI's API; needs the cargo feature `openai`.
    OpenAi(Box<OpenAiChatConfig>),
}

const TYPES: [&str; 2] = ["extractive", "openai"];

impl FromStr for SummarizerConfig {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("extractive", "") => Ok(Self::Extractive),
            ("openai", "") => Err(Error::config("openai needs a model")
                .with_hint("name one, as in openai:gpt-5-nano")),
            ("openai", model) => Self::OpenAi(Box::new(OpenAiChatConfig::new(model))).compiled(),
            (kind, _) => Err(Error::config(format!("there is no summarizer {kind:?}")).with_hint(
                did_you_mean(kind, TYPES)
                    .unwrap_or_else(|| format!("the summarizers are {}", TYPES.join(", "))),
            )),
        }
    }
}

impl SummarizerConfig {
    /// Makes the summarizer; connects to nothing yet.
    pub fn build(&self) -> Result<Arc<dyn Summarizer>> {
        match self {
            Self::Extractive => Ok(Arc::new(ExtractiveSummarizer)),
            #[cfg(feature = "openai")]
            Self::OpenAi(config) => {
                let model = memquill_models::OpenAiChat::new((**config).clone())?;
                Ok(Arc::new(memquill_core::ModelSummarizer::new(Arc::new(model))))
            }
            #[cfg(not(feature = "openai"))]
            Self::OpenAi(_) => Err(missing()),
        }
    }

    /// Itself, where its summarizer is compiled in.
    fn compiled(self) -> Result<Self> {
        match self {
            Self::OpenAi(_) if cfg!(not(feature = "openai")) => Err(missing()),
            compiled => Ok(compiled),
        }
    }

    /// Reads the summarizer of a file: text as [`FromStr`], or an object with a `type`.
    pub(super) fn read(document: &Document<'_>) -> Result<Self> {
        const PATH: [&str; 1] = ["summarizer"];
        if document.raw(&PATH).is_string() {
            return document.read_by(&PATH, |text| text.as_str().unwrap_or_default().parse());
        }
        let Tagged { kind } = document.read(&PATH)?;
        let config = match kind {
            Kind::Extractive => {
                document.read::<Extractive>(&PATH)?;
                Ok(Self::Extractive)
            }
            Kind::Openai => {
                Self::OpenAi(Box::new(document.read::<OpenAi>(&PATH)?.into())).compiled()
            }
        };
        config.map_err(|error| document.located(&PATH, &error))
    }
}

fn missing() -> Error {
    Error::config("the summarizer openai is not compiled in")
        .with_hint("build with the cargo feature \"openai\", or use extractive")
}

#[derive(Deserialize)]
struct Tagged {
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Extractive,
    Openai,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extractive {
    #[serde(rename = "type")]
    _type: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum JsonName {
    Schema,
    Object,
    Prompt,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenAi {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    model: String,
    base_url: Option<String>,
    api_key: Option<String>,
    temperature: Option<f32>,
    json: Option<JsonName>,
    concurrency: Option<NonZeroUsize>,
    timeout_seconds: Option<Within<1, 86_400>>,
    retries: Option<u32>,
    ca: Option<PathBuf>,
}

impl From<OpenAi> for OpenAiChatConfig {
    fn from(given: OpenAi) -> Self {
        let mut config = Self::new(given.model);
        config.base_url = given.base_url;
        config.api_key = given.api_key.map(SecretString::from);
        config.temperature = given.temperature;
        config.json = given.json.map_or(config.json, |json| match json {
            JsonName::Schema => JsonOutput::Schema,
            JsonName::Object => JsonOutput::Object,
            JsonName::Prompt => JsonOutput::Prompt,
        });
        config.concurrency = given.concurrency.unwrap_or(config.concurrency);
        if let Some(seconds) = given.timeout_seconds {
            config.timeout = Duration::from_secs(seconds.get().into());
        }
        config.retries = given.retries.unwrap_or(config.retries);
        config.ca = given.ca;
        config
    }
}
