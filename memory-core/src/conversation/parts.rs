//! Content in parts, as chat APIs have it (contract, C5).

use serde_json::Value;

use super::calls::{is_call, is_result, result_content};
use super::{Message, Role};
use crate::error::{Error, Result};
use crate::json::{self, Object};
use crate::tokens::TokenCounter;

/// What a part that is neither text nor JSON for a model counts where it declares no `token_count`:
/// an image of 1024 × 1024 pixels in OpenAI's pricing of high detail.
const MEDIA_TOKENS: u32 = 765;

/// Types of parts whose text is the message's text.
const TEXT: [&str; 3] = ["text", "input_text", "output_text"];

impl Message {
    /// A message of `role` whose content is a list of parts: JSON objects that have a `type`, such
    /// as `{"type": "text", "text": "What is this?"}` and
    /// `{"type": "image_url", "image_url": {"url": "…"}}`. They come back exactly, in order.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where a part is no object with a `type`.
    pub fn from_parts(role: Role, content: Vec<Value>) -> Result<Self> {
        check(&content)?;
        let text = text(&content);
        let extra = Object::from_iter([("content".to_owned(), Value::Array(content))]);
        Ok(Self { content: text, extra, ..Self::new(role, "") })
    }

    /// The parts, where the content came in parts.
    pub fn parts(&self) -> Option<&[Value]> {
        match self.extra.get("content") {
            Some(Value::Array(parts)) => Some(parts),
            _ => None,
        }
    }
}

/// Refuses parts that are no objects with a `type`.
pub(super) fn check(parts: &[Value]) -> Result<()> {
    for (at, part) in parts.iter().enumerate() {
        if kind(part).is_empty() {
            return Err(Error::invalid_input(format!(
                "part {} of the content is not an object with a type",
                at + 1
            ))
            .with_hint(r#"write a text part as {"type": "text", "text": "Hello"}"#));
        }
    }
    Ok(())
}

/// The text of the text parts, each on a line of its own; none where there is no text part.
pub(crate) fn text(parts: &[Value]) -> Option<String> {
    let texts: Vec<&str> = parts.iter().filter_map(part_text).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// What the parts count beside their text.
pub(crate) fn tokens(parts: &[Value], counter: &(impl TokenCounter + ?Sized)) -> u32 {
    parts
        .iter()
        .filter(|part| part_text(part).is_none())
        .fold(0_u32, |sum, part| sum.saturating_add(part_tokens(part, counter)))
}

fn part_tokens(part: &Value, counter: &(impl TokenCounter + ?Sized)) -> u32 {
    if let Some(declared) = part.get("token_count").and_then(Value::as_u64) {
        return u32::try_from(declared).unwrap_or(u32::MAX);
    }
    match kind(part) {
        // What a model reads as text: calls with their arguments, results, refusals, thoughts.
        "refusal" => counter.count(&part.to_string()),
        _ if is_call(part) => counter.count(&part.to_string()),
        _ if is_result(part) => match result_content(part) {
            Some(Value::String(text)) => counter.count(text),
            Some(Value::Array(inner)) => counter
                .count(&text(inner).unwrap_or_default())
                .saturating_add(tokens(inner, counter)),
            Some(other) => counter.count(&other.to_string()),
            None => 0,
        },
        "thinking" | "reasoning" => {
            counter.count(field(part, &["thinking", "text", "reasoning"]).unwrap_or_default())
        }
        _ => MEDIA_TOKENS,
    }
}

pub(crate) fn part_text(part: &Value) -> Option<&str> {
    if TEXT.contains(&kind(part)) { part.get("text")?.as_str() } else { None }
}

pub(crate) fn kind(part: &Value) -> &str {
    part.get("type").and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn field<'a>(part: &'a Value, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| part.get(name)?.as_str())
}

impl Message {
    /// Refuses what cannot be kept, and parts that do not agree with the text beside them.
    pub(crate) fn check_extra(&self) -> Result<()> {
        if self.extra.is_empty() {
            return Ok(());
        }
        json::check_object("the message", &self.extra)?;
        if let Some(parts) = self.parts() {
            check(parts)?;
            if text(parts).as_deref() != self.content.as_deref() {
                return Err(Error::invalid_input("the text differs from the content's parts")
                    .with_hint("make a message of parts with Message::from_parts"));
            }
        }
        Ok(())
    }
}
