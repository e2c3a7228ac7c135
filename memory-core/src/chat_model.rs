//! Asking a chat model.

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::conversation::Message;
use crate::error::{Error, Result};
use crate::json;

/// The most characters of a wrong answer that the model is shown when it is asked to repair it.
const MAX_SHOWN: usize = 4_000;

/// What a chat model is asked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Prompt {
    /// Instructions and what they are about, in the order of a chat.
    pub messages: Vec<Message>,
    /// The most tokens of the answer, by the model's count; none for as many as the model likes.
    pub max_tokens: Option<u32>,
    /// The form of the answer; none for text.
    pub schema: Option<AnswerSchema>,
}

impl Prompt {
    /// Asks for text.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, max_tokens: None, schema: None }
    }

    /// Bounds the answer.
    #[must_use]
    pub fn with_max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Asks for JSON.
    #[must_use]
    pub fn with_schema(mut self, schema: AnswerSchema) -> Self {
        self.schema = Some(schema);
        self
    }
}

/// The form of an answer in JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerSchema {
    /// A name that the model sees: ASCII letters, digits, `_` and `-`.
    pub name: String,
    /// A JSON Schema of an object. Models that keep to schemas strictly want every property
    /// `required` and `additionalProperties` false.
    pub schema: Value,
}

impl AnswerSchema {
    /// A schema by its name.
    pub fn new(name: impl Into<String>, schema: Value) -> Self {
        Self { name: name.into(), schema }
    }
}

/// What a chat model answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completion {
    /// The answer, never empty.
    pub text: String,
    /// Whether it ends where [`Prompt::max_tokens`], or the model's own limit, was reached.
    pub cut: bool,
    /// What it took.
    pub usage: TokenUsage,
}

impl Completion {
    /// A whole answer.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), cut: false, usage: TokenUsage::default() }
    }

    /// Says that the answer was cut.
    #[must_use]
    pub fn with_cut(mut self, cut: bool) -> Self {
        self.cut = cut;
        self
    }

    /// Says what it took.
    #[must_use]
    pub fn with_usage(mut self, usage: TokenUsage) -> Self {
        self.usage = usage;
        self
    }
}

/// Tokens by the model's count, as it reports them; 0 where it reports none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens of the prompts.
    pub prompt_tokens: u64,
    /// Tokens of the answers.
    pub completion_tokens: u64,
}

impl std::ops::AddAssign for TokenUsage {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
    }
}

/// Answers chats.
///
/// Clones of a handle share what is heavy. Errors are those of section E; a model changes nothing
/// anywhere, so that none is `maybe_applied` and each transient one may be repeated. What a model
/// says is data: nothing that memquill does with it depends on the model's honesty.
#[async_trait]
pub trait ChatModel: Send + Sync + std::fmt::Debug {
    /// The model's name, an identifier (G2).
    fn model(&self) -> &str;

    /// Answers a prompt. An empty answer is `Internal`, the model's fault; a refusal is
    /// `InvalidInput`.
    async fn complete(&self, prompt: &Prompt) -> Result<Completion>;
}

/// Asks for JSON of a schema, and once more where the answer is none; says what both took.
///
/// Whatever a model writes around its JSON (a code fence, a sentence before) is passed over. An
/// answer that is not JSON of the schema twice is `Internal`, the model's fault, and so is one that
/// was cut.
pub async fn complete_json<T: DeserializeOwned>(
    model: &dyn ChatModel,
    mut prompt: Prompt,
    schema: AnswerSchema,
) -> Result<(T, TokenUsage)> {
    let name = schema.name.clone();
    prompt.schema = Some(schema);
    let first = model.complete(&prompt).await?;
    let mut usage = first.usage;
    let fault = match read(&first) {
        Ok(answer) => return Ok((answer, usage)),
        Err(fault) => fault,
    };
    let shown: String = first.text.chars().take(MAX_SHOWN).collect();
    prompt.messages.push(Message::assistant(shown));
    prompt.messages.push(Message::user(format!(
        "That is not valid: {fault}. Answer again with the JSON object alone."
    )));
    let second = model.complete(&prompt).await?;
    usage += second.usage;
    let answer = read(&second).map_err(|fault| {
        Error::internal(format!("the model {} gave no JSON of {name}: {fault}", model.model()))
            .with_hint("use a model that keeps to a schema; what was stored is untouched")
    })?;
    Ok((answer, usage))
}

/// Reads an answer; what is wrong with it, in bounded words that repeat nothing of it.
fn read<T: DeserializeOwned>(answer: &Completion) -> std::result::Result<T, String> {
    if answer.cut {
        return Err("it was cut before its end; answer more briefly".into());
    }
    let text = answer.text.trim();
    let value: Value = json::parse(text)
        .or_else(|error| within(text).map_or(Err(error), json::parse))
        .map_err(|_| "it is not a JSON object".to_owned())?;
    serde_json::from_value(value).map_err(|error| {
        let said: String = json::in_plain_words(&error.to_string()).chars().take(200).collect();
        said
    })
}

/// The text from the first brace to the last.
fn within(text: &str) -> Option<&str> {
    text.get(text.find('{')?..=text.rfind('}')?)
}
