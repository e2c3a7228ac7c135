//! The languages whose words are stemmed and whose stop words are known.

use std::collections::HashSet;
use std::sync::OnceLock;

use rust_stemmers::{Algorithm, Stemmer};
use serde::{Deserialize, Serialize};

use super::fold;

/// The English stop words that a query keeps: negations and quantities, which change what a question
/// asks.
const STOP_WORD_EXCEPTIONS: [&str; 22] = [
    "no", "nor", "not", "all", "any", "both", "each", "few", "more", "most", "other", "some",
    "such", "only", "own", "same", "too", "very", "once", "just", "further", "again",
];

/// A language with a stemmer and a list of stop words, by its ISO 639-1 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum Language {
    #[serde(rename = "ar")]
    Arabic,
    #[serde(rename = "da")]
    Danish,
    #[serde(rename = "nl")]
    Dutch,
    #[serde(rename = "en")]
    English,
    #[serde(rename = "fi")]
    Finnish,
    #[serde(rename = "fr")]
    French,
    #[serde(rename = "de")]
    German,
    #[serde(rename = "el")]
    Greek,
    #[serde(rename = "hu")]
    Hungarian,
    #[serde(rename = "it")]
    Italian,
    #[serde(rename = "no")]
    Norwegian,
    #[serde(rename = "pt")]
    Portuguese,
    #[serde(rename = "ro")]
    Romanian,
    #[serde(rename = "ru")]
    Russian,
    #[serde(rename = "es")]
    Spanish,
    #[serde(rename = "sv")]
    Swedish,
    #[serde(rename = "ta")]
    Tamil,
    #[serde(rename = "tr")]
    Turkish,
}

impl Language {
    /// Every language with its code.
    pub const ALL: [(Self, &'static str); 18] = [
        (Self::Arabic, "ar"),
        (Self::Danish, "da"),
        (Self::German, "de"),
        (Self::Greek, "el"),
        (Self::English, "en"),
        (Self::Spanish, "es"),
        (Self::Finnish, "fi"),
        (Self::French, "fr"),
        (Self::Hungarian, "hu"),
        (Self::Italian, "it"),
        (Self::Dutch, "nl"),
        (Self::Norwegian, "no"),
        (Self::Portuguese, "pt"),
        (Self::Romanian, "ro"),
        (Self::Russian, "ru"),
        (Self::Swedish, "sv"),
        (Self::Tamil, "ta"),
        (Self::Turkish, "tr"),
    ];

    /// Returns the ISO 639-1 code.
    pub fn code(self) -> &'static str {
        Self::ALL.iter().find(|(language, _)| *language == self).map_or("", |(_, code)| code)
    }

    /// Returns the language of an ISO 639-1 code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == code).map(|(language, _)| *language)
    }

    /// Returns the language's stop words, folded.
    pub(super) fn stop_words(self) -> &'static HashSet<String> {
        static LISTS: [OnceLock<HashSet<String>>; Language::ALL.len()] =
            [const { OnceLock::new() }; Language::ALL.len()];
        LISTS[self as usize].get_or_init(|| {
            let list = stop_words::lookup(self.code()).unwrap_or_default();
            let is_dropped = |word: &&&str| {
                let kept = STOP_WORD_EXCEPTIONS.contains(*word) || word.contains("n't");
                self != Self::English || !kept
            };
            list.iter().filter(is_dropped).map(|word| fold(word)).collect()
        })
    }

    /// Creates the language's Snowball stemmer.
    pub(super) fn stemmer(self) -> Stemmer {
        Stemmer::create(match self {
            Self::Arabic => Algorithm::Arabic,
            Self::Danish => Algorithm::Danish,
            Self::Dutch => Algorithm::Dutch,
            Self::English => Algorithm::English,
            Self::Finnish => Algorithm::Finnish,
            Self::French => Algorithm::French,
            Self::German => Algorithm::German,
            Self::Greek => Algorithm::Greek,
            Self::Hungarian => Algorithm::Hungarian,
            Self::Italian => Algorithm::Italian,
            Self::Norwegian => Algorithm::Norwegian,
            Self::Portuguese => Algorithm::Portuguese,
            Self::Romanian => Algorithm::Romanian,
            Self::Russian => Algorithm::Russian,
            Self::Spanish => Algorithm::Spanish,
            Self::Swedish => Algorithm::Swedish,
            Self::Tamil => Algorithm::Tamil,
            Self::Turkish => Algorithm::Turkish,
        })
    }
}
