//! Questions and passages in the form of `SQuAD` 1.1.

use std::path::Path;

use memquill::{Error, Result, json};
use serde::Deserialize;

use crate::input::text::read_text;

/// The part of the form that is read; answers are not.
#[derive(Debug, Deserialize)]
pub(super) struct Squad {
    pub(super) data: Vec<Article>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Article {
    #[serde(default)]
    pub(super) title: String,
    pub(super) paragraphs: Vec<Paragraph>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Paragraph {
    pub(super) context: String,
    #[serde(default)]
    pub(super) qas: Vec<Question>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Question {
    pub(super) question: String,
}

impl Squad {
    pub(super) fn read(file: &Path) -> Result<Self> {
        Self::parse(&read_text(file)?).map_err(|error| error.at(file.display()))
    }

    /// Reads a file of this form; none where it has another.
    pub(super) fn of(text: &str) -> Option<Self> {
        json::parse(text).ok()
    }

    fn parse(text: &str) -> Result<Self> {
        json::parse(text).map_err(|error| {
            Error::invalid_input(format!("this is not in the format of SQuAD: {}", error.message()))
                .with_hint(r#"write it as {"data": [{"title": "…", "paragraphs": [{"context": "…", "qas": [{"question": "…"}]}]}]}"#)
        })
    }
}
