//! The summary as it is stored.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::restore::Lineage;
use crate::summarizer::NamedEntity;
use crate::time::Timestamp;
use crate::working::WorkingValue;

/// The summary of the messages of a conversation up to a number, and what it was made of (S3, D6).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ConversationDigest {
    /// The text.
    pub text: String,
    /// The most important lines, in the style `key_points`.
    pub key_points: Vec<String>,
    /// Whom and what the messages name, where the summarizer says so.
    pub entities: Vec<NamedEntity>,
    /// The texts of runs by level, in the style `hierarchical`; `text` is made of them.
    pub levels: Vec<Vec<String>>,
    /// The number through which messages are covered.
    pub through_seq: u64,
    /// How many messages it covers.
    pub messages: u64,
    /// How often it was made.
    pub generation: u64,
    /// What made it.
    pub model: String,
    /// The version of the summarizer's prompt or rule.
    pub version: u32,
    /// When the messages that it covers were stored.
    pub time_range: Option<TimeRange>,
    /// The conversation that it is of, as it was then (C15).
    pub lineage: Lineage,
    /// When the newest message was stored that the summarizer saw.
    pub summarized_at: Option<Timestamp>,
}

/// From when to when messages were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// The time of the first.
    pub start: Timestamp,
    /// The time of the last.
    pub end: Timestamp,
}

impl ConversationDigest {
    pub(super) fn read(value: WorkingValue) -> Result<Self> {
        let none = || {
            Error::corrupted("the entry of a summary is none")
                .with_hint("delete the entry; the summary is made again of what is held")
        };
        let WorkingValue::Json(value) = value else { return Err(none()) };
        serde_json::from_value(value).map_err(|error| none().with_source(error))
    }

    pub(super) fn write(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|error| Error::internal(error.to_string()))
    }

    /// Whether it is of what the conversation holds now (C15).
    pub(super) fn holds(&self, now: Lineage) -> bool {
        self.lineage.holds(self.through_seq, now)
    }
}
