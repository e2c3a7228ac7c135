//! Messages as the API of a provider takes them.

mod anthropic;
mod openai;
mod turns;

use memquill_core::json::Object;
use memquill_core::{Error, Message, Result};
use serde_json::Value;

use super::Form;

/// A transcript for an API.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Written {
    /// `messages`, and `system` where the API has instructions apart.
    pub transcript: Object,
    /// What the API does not take.
    pub left_out: Vec<String>,
}

/// Writes messages in a form: [`Form::Chat`] without loss, [`Form::OpenAi`] and
/// [`Form::Anthropic`] so that the provider's API takes them.
///
/// Parts are translated; what was in the API's own form before comes out equal. For an API every
/// result of a tool stands directly behind its call, whenever it came, and a call without a result
/// is left out, unless it is what the transcript ends with, as are results without their call.
///
/// # Errors
///
/// `Unsupported` for a form that is only read.
pub fn write(form: Form, messages: &[Message]) -> Result<Written> {
    match form {
        Form::Chat => {
            let messages = messages.iter().map(|message| Value::Object(message.to_chat()));
            let transcript = Object::from_iter([("messages".to_owned(), messages.collect())]);
            Ok(Written { transcript, left_out: Vec::new() })
        }
        Form::OpenAi => Ok(openai::write(messages)),
        Form::Anthropic => Ok(anthropic::write(messages)),
        form => Err(Error::unsupported(format!("transcripts are not written in the form {form}"))
            .with_hint("write them as chat, openai or anthropic")),
    }
}

/// The fields of a part, by names that APIs have for the same.
fn text<'a>(part: &'a Value, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| part.get(name)?.as_str())
}

fn kind(part: &Value) -> &str {
    part.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The text of a part that is text.
fn part_text(part: &Value) -> Option<&str> {
    match kind(part) {
        "text" | "input_text" | "output_text" => text(part, &["text"]),
        "refusal" => text(part, &["refusal"]),
        _ => None,
    }
}

/// What a part holds, wherever its API puts it.
enum Media<'a> {
    /// Data in base64, and their media type.
    Data {
        media_type: &'a str,
        data: &'a str,
    },
    Url(&'a str),
}

impl<'a> Media<'a> {
    /// Reads a URL, which may hold the data itself.
    fn of_url(url: &'a str) -> Self {
        let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
        match data {
            Some((media_type, data)) => Self::Data { media_type, data },
            None => Self::Url(url),
        }
    }

    /// Reads Anthropic's `source`.
    fn of_source(source: &'a Value) -> Option<Self> {
        match kind(source) {
            "base64" => Some(Self::Data {
                media_type: text(source, &["media_type"])?,
                data: text(source, &["data"])?,
            }),
            "url" => text(source, &["url"]).map(Self::Url),
            _ => None,
        }
    }

    /// The image of a part, in any API's form.
    fn image(part: &'a Value) -> Option<Self> {
        match kind(part) {
            "image" => Self::of_source(part.get("source")?),
            "image_url" => {
                let url = part.get("image_url")?;
                url.as_str().or_else(|| text(url, &["url"])).map(Self::of_url)
            }
            "input_image" => text(part, &["image_url"]).map(Self::of_url),
            _ => None,
        }
    }

    fn into_url(self) -> String {
        match self {
            Self::Data { media_type, data } => format!("data:{media_type};base64,{data}"),
            Self::Url(url) => url.to_owned(),
        }
    }
}
