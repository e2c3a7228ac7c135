//! Making a summary of messages (contract, section S).

mod extractive;
mod model;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::extractive::ExtractiveSummarizer;
pub use self::model::ModelSummarizer;
use crate::chat_model::TokenUsage;
use crate::conversation::StoredMessage;
use crate::error::Result;
use crate::text::sentences;
use crate::tokens::TokenCounter;

/// The most key points of a summary.
pub const MAX_KEY_POINTS: usize = 20;

/// How a summary grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SummaryStyle {
    /// One text, rewritten with each run of new messages.
    #[default]
    Progressive,
    /// A list of at most [`MAX_KEY_POINTS`] lines.
    KeyPoints,
    /// A text for each run of messages, ten of which become one.
    Hierarchical,
}

/// What a summarizer is given.
#[derive(Debug, Clone, Copy)]
pub struct Summarize<'a> {
    /// The summary of everything before `messages`; none at the beginning.
    pub previous: Option<&'a str>,
    /// The messages to be covered, in their order.
    pub messages: &'a [StoredMessage],
    /// `KeyPoints` asks for a list.
    pub style: SummaryStyle,
    /// The most tokens of the summary.
    pub max_tokens: u32,
    /// What counts them.
    pub counter: &'a dyn TokenCounter,
}

/// What a summarizer made of messages and the summary before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Summary {
    /// The text.
    pub text: String,
    /// The most important lines, where they were asked for.
    pub key_points: Vec<String>,
    /// Whom and what the messages name.
    pub entities: Vec<NamedEntity>,
    /// What a model took.
    pub usage: TokenUsage,
}

impl Summary {
    /// A summary that is one text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// Somebody or something that messages name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NamedEntity {
    /// Its name.
    pub name: String,
    /// What it is: `person`, `organization`, …
    #[serde(rename = "type")]
    pub kind: String,
}

/// Summarizes messages.
///
/// It is asked for a text within `max_tokens`; a longer one is cut at a sentence by whoever asked.
/// It changes nothing anywhere, so that a failure leaves the messages where they are.
#[async_trait]
pub trait Summarizer: Send + Sync + std::fmt::Debug {
    /// Its name, an identifier (G2), kept with each summary that it makes: that of the model, or of
    /// the rule.
    fn name(&self) -> &str;

    /// The version of its prompt or rule, kept with each summary that it makes.
    fn version(&self) -> u32;

    /// Makes the summary of the previous one and exactly these messages (S3).
    async fn summarize(&self, request: &Summarize<'_>) -> Result<Summary>;
}

/// Cuts a text at the end of a sentence, or of a word where its first sentence is too long, so that
/// it has at most `max_tokens` (S6).
pub(crate) fn cut(text: &str, max_tokens: u32, counter: &dyn TokenCounter) -> String {
    if counter.count(text) <= max_tokens {
        return text.to_owned();
    }
    let mut ends = Vec::new();
    let mut at = 0;
    for sentence in sentences(text) {
        at += sentence.len();
        ends.push(at);
    }
    let fits = |end: &usize| counter.count(text[..*end].trim_end()) <= max_tokens;
    let mut whole = ends.partition_point(fits);
    // Counters need not grow with every letter.
    while whole > 0 && !fits(&ends[whole - 1]) {
        whole -= 1;
    }
    if let Some(end) = whole.checked_sub(1).map(|last| ends[last]) {
        return text[..end].trim_end().to_owned();
    }
    let words: Vec<usize> = text
        .char_indices()
        .filter(|(_, c)| c.is_whitespace())
        .map(|(at, _)| at)
        .take_while(|at| *at <= ends.first().copied().unwrap_or(0))
        .collect();
    let mut whole = words.partition_point(fits);
    while whole > 0 && !fits(&words[whole - 1]) {
        whole -= 1;
    }
    whole.checked_sub(1).map(|last| text[..words[last]].trim_end().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::HeuristicCounter;

    #[test]
    fn s6_a_long_summary_is_cut_at_a_sentence_else_at_a_word() {
        let cut = |text, max| cut(text, max, &HeuristicCounter);
        assert_eq!(cut("One two. Three four.", 50), "One two. Three four.");
        assert_eq!(cut("One two three. Four five six.", 5), "One two three.");
        assert_eq!(cut("one two three four five six", 4), "one two three");
        assert_eq!(cut("one two", 0), "");
    }
}
