//! Counting tokens.

use serde_json::Value;

use crate::conversation::{Message, parts};

/// Counts the tokens a model would make of a text.
pub trait TokenCounter: Send + Sync + std::fmt::Debug {
    /// The tokens of a text.
    fn count(&self, text: &str) -> u32;

    /// The tokens of a message: its text, name and tool calls, its parts that are no text (each by
    /// its declared `token_count`, calls and results by their text, and media 765), and 4 for the
    /// frame that chat models put around a message (OpenAI's cookbook, "How to count tokens").
    fn count_message(&self, message: &Message) -> u32 {
        let mut tokens = 4 + self.count(message.text());
        if let Some(name) = &message.name {
            tokens = tokens.saturating_add(self.count(name));
        }
        for call in &message.tool_calls {
            tokens = tokens.saturating_add(self.count(&call.to_string()));
        }
        if let Some(parts) = message.parts() {
            tokens = tokens.saturating_add(parts::tokens(parts, self));
        }
        if let Some(call @ Value::Object(_)) = message.extra.get("function_call") {
            tokens = tokens.saturating_add(self.count(&call.to_string()));
        }
        tokens
    }

    /// Gives each message without `token_count` one, where this counter counts otherwise than the
    /// message would by itself (C5): with core's own counter a transcript comes out as it went in.
    fn count_missing(&self, messages: &mut [Message]) {
        for message in messages.iter_mut().filter(|message| message.token_count.is_none()) {
            let tokens = self.count_message(message);
            if tokens != message.tokens() {
                message.token_count = Some(tokens);
            }
        }
    }
}

/// Counts without a vocabulary: a word of letters and digits is one token per four bytes of ASCII
/// begun, any other character outside ASCII a token by itself for scripts without an alphabet and
/// half a token otherwise, and punctuation a token per character; white space is free.
///
/// On English prose it is within some 15 % of OpenAI's `o200k_base`, mostly above.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeuristicCounter;

impl TokenCounter for HeuristicCounter {
    fn count(&self, text: &str) -> u32 {
        // In quarters of a token, rounded up at the end of every word.
        let (mut tokens, mut quarters) = (0_u32, 0_u32);
        for c in text.chars() {
            let add = match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' => 1,
                c if c.is_ascii() || c.is_whitespace() => 0,
                // Up to U+07FF stand the alphabets: Latin, Greek, Cyrillic, Hebrew, Arabic.
                '\u{80}'..='\u{7FF}' => 2,
                _ => 4,
            };
            if add > 0 {
                quarters += add;
                if quarters >= 1 << 20 {
                    tokens = tokens.saturating_add(quarters / 4);
                    quarters %= 4;
                }
                continue;
            }
            tokens = tokens.saturating_add(quarters.div_ceil(4));
            quarters = 0;
            if !c.is_whitespace() {
                tokens = tokens.saturating_add(1);
            }
        }
        tokens.saturating_add(quarters.div_ceil(4))
    }
}

/// Exact counts for OpenAI's models.
#[cfg(feature = "tiktoken")]
#[derive(Clone, Copy)]
pub struct TiktokenCounter(&'static tiktoken_rs::CoreBPE);

#[cfg(feature = "tiktoken")]
impl TiktokenCounter {
    /// The counter of the vocabulary `o200k_base`, or of the older `cl100k_base`.
    pub fn new(vocabulary: &str) -> crate::Result<Self> {
        match vocabulary {
            "o200k_base" => Ok(Self(tiktoken_rs::o200k_base_singleton())),
            "cl100k_base" => Ok(Self(tiktoken_rs::cl100k_base_singleton())),
            other => Err(crate::Error::config(format!("there is no vocabulary {other:?}"))
                .with_hint("the vocabularies are o200k_base and cl100k_base")),
        }
    }
}

#[cfg(feature = "tiktoken")]
impl std::fmt::Debug for TiktokenCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TiktokenCounter")
    }
}

#[cfg(feature = "tiktoken")]
impl TokenCounter for TiktokenCounter {
    fn count(&self, text: &str) -> u32 {
        u32::try_from(self.0.encode_ordinary(text).len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_punctuation_and_scripts_count() {
        let count = |text| HeuristicCounter.count(text);
        assert_eq!(count(""), 0);
        assert_eq!(count("a cat"), 2);
        assert_eq!(count("hello, world!"), 6);
        assert_eq!(count("东京"), 2);
        assert_eq!(count("привет"), 3);
    }

    #[cfg(feature = "tiktoken")]
    #[test]
    fn the_exact_counter_counts_as_the_model_does() {
        let counter = TiktokenCounter::new("cl100k_base").unwrap();
        assert_eq!(counter.count("tiktoken is great!"), 6); // OpenAI's cookbook
        assert!(TiktokenCounter::new("p50k").is_err());
    }
}
