//! `CONVERSATION_SUMMARY`: a conversation whose older part is kept as a summary (section S).

mod advance;
mod json;
mod record;
mod render;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::record::{ConversationDigest, TimeRange};
use super::Context;
use super::strict::at_least_one;
use crate::check::identifier;
use crate::conversation::{
    Append, Appended, ConversationStatistics, ConversationStore, Message, Pop, ReadMessages, Role,
    StoredMessage, Truncate,
};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::scope::Scope;
use crate::summarizer::{Summarizer, SummaryStyle};
use crate::tokens::TokenCounter;
use crate::working::{Delete, Get, WorkingStore};

/// When a summary is made: the measure of the messages beyond the window that no summary covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SummaryTrigger {
    /// Their number.
    #[default]
    MessageCount,
    /// Their tokens.
    TokenCount,
    /// The minutes since the oldest of them was stored.
    TimeInterval,
}

/// What happens to messages that no summary covers when there are too many of them (S5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnsummarised {
    /// The oldest are evicted, and counted.
    #[default]
    Evict,
    /// Nothing more is stored before they are summarized.
    Refuse,
}

/// How the [`SummarizedConversation`] of a workflow node behaves (section S).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SummarizedConversationConfig {
    /// What `trigger_threshold` counts; default the number of messages.
    pub summary_trigger: SummaryTrigger,
    /// From how many on a summary is made, at least 1; default 10.
    pub trigger_threshold: u64,
    /// The newest messages, which stay as they are, at least 1; default 10.
    pub buffer_window_size: u64,
    /// How the summary grows; default progressive.
    pub summary_style: SummaryStyle,
    /// The name of the summarizer that the node counts on; none for whichever is configured.
    pub summarization_model: Option<String>,
    /// Whether whom and what the summarizer names is kept; default true.
    pub preserve_entities: bool,
    /// The summary's share of a context, from 0 to 1; default 0.3. What one side leaves the other
    /// may use.
    pub summary_context_weight: f64,
    /// The most tokens of a context, at least 1; default 4000.
    pub max_total_tokens: u64,
    /// The most tokens of the summary, at least 1; none for its share of a context.
    pub summary_tokens: Option<u32>,
    /// What happens past twice the limit; default evict.
    pub when_unsummarised: WhenUnsummarised,
    /// The conversation's name in the scope; default `default`.
    pub conversation_id: String,
    /// Whether system messages are never evicted, and so not summarized; default true.
    pub keep_system: bool,
}

impl Default for SummarizedConversationConfig {
    fn default() -> Self {
        Self {
            summary_trigger: SummaryTrigger::default(),
            trigger_threshold: 10,
            buffer_window_size: 10,
            summary_style: SummaryStyle::default(),
            summarization_model: None,
            preserve_entities: true,
            summary_context_weight: 0.3,
            max_total_tokens: 4000,
            summary_tokens: None,
            when_unsummarised: WhenUnsummarised::default(),
            conversation_id: "default".into(),
            keep_system: true,
        }
    }
}

impl SummarizedConversationConfig {
    fn check(&self) -> Result<()> {
        at_least_one("trigger_threshold", self.trigger_threshold)?;
        at_least_one("buffer_window_size", self.buffer_window_size)?;
        at_least_one("max_total_tokens", self.max_total_tokens)?;
        self.summary_tokens.map_or(Ok(()), |most| at_least_one("summary_tokens", most.into()))?;
        if !(0.0..=1.0).contains(&self.summary_context_weight) {
            return Err(Error::invalid_input("summary_context_weight is not from 0 to 1"));
        }
        let most = Limits::CONTRACT.page_items as u64 / 4;
        if self.buffer_window_size > most {
            return Err(Error::invalid_input(format!("buffer_window_size is more than {most}")));
        }
        identifier("conversation_id", &self.conversation_id)?;
        identifier("the key of the summary", &key(&self.conversation_id))
    }

    /// The most tokens of the summary (S6).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a number of tokens, which saturates"
    )]
    fn summary_tokens(&self) -> u32 {
        let share = self.max_total_tokens as f64 * self.summary_context_weight;
        self.summary_tokens.unwrap_or(share as u32).max(1)
    }
}

/// What a store or a request to summarize did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Advanced {
    /// Whether the summary covers more than before.
    pub updated: bool,
    /// The number through which messages are covered; 0 for none.
    pub through_seq: u64,
    /// Why there is no newer summary although one was due; the messages wait (S5).
    pub error: Option<Error>,
    /// Messages that were evicted although no summary covers them (S5).
    pub unsummarised_evicted: u64,
}

/// A conversation with the summary of what is no longer shown.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SummarizedMessages {
    /// The summary; none before the first, or where it no longer holds.
    pub digest: Option<ConversationDigest>,
    /// The messages that it does not cover, ascending by number; with `keep_system` the system
    /// messages before them, too.
    pub messages: Vec<StoredMessage>,
    /// The number of messages held.
    pub total: u64,
}

/// A summarized conversation as text for a model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SummarizedContext {
    /// The text: the summary, then a line for each message.
    pub context: Context,
    /// The summary as it stands in the text, empty where there is none.
    pub summary: String,
    /// The messages that the text shows.
    pub messages: Vec<StoredMessage>,
}

/// A conversation whose older part is kept as a summary. Messages leave the store only when a stored
/// summary covers them (S1).
#[derive(Debug, Clone)]
pub struct SummarizedConversation {
    scope: Scope,
    conversations: Arc<dyn ConversationStore>,
    working: Arc<dyn WorkingStore>,
    counter: Arc<dyn TokenCounter>,
    summarizer: Arc<dyn Summarizer>,
    config: SummarizedConversationConfig,
}

impl SummarizedConversation {
    /// Makes the kind of a node. `Config` where the node counts on another summarizer.
    pub fn new(
        scope: Scope,
        conversations: Arc<dyn ConversationStore>,
        working: Arc<dyn WorkingStore>,
        counter: Arc<dyn TokenCounter>,
        summarizer: Arc<dyn Summarizer>,
        config: SummarizedConversationConfig,
    ) -> Result<Self> {
        config.check()?;
        if let Some(model) = &config.summarization_model
            && model != summarizer.name()
        {
            return Err(Error::config(format!(
                "the node counts on the summarizer {model:?}, and {:?} is configured",
                summarizer.name()
            ))
            .with_hint("leave summarization_model out, or configure that summarizer"));
        }
        Ok(Self { scope, conversations, working, counter, summarizer, config })
    }

    /// Where the summary is kept.
    fn key(&self) -> String {
        key(&self.config.conversation_id)
    }

    /// Appends messages, all or none, and makes a summary where one is due. A summary that fails
    /// fails no append: the answer says why (S5).
    pub async fn store(&self, mut messages: Vec<Message>) -> Result<(Appended, Advanced)> {
        self.counter.count_missing(&mut messages);
        if self.config.when_unsummarised == WhenUnsummarised::Refuse {
            self.refuse_if_full().await?;
        }
        let append = Append::new(&self.config.conversation_id, messages);
        let mut appended = self.conversations.append(&self.scope, &append).await?;
        let advanced = if self.may_be_due(appended.message_count, appended.token_count) {
            let advanced = self.advance(false).await;
            appended.evicted += advanced.unsummarised_evicted;
            advanced
        } else {
            Advanced::default()
        };
        Ok((appended, advanced))
    }

    /// Makes a summary of everything beyond the window now, whether it is due or not.
    pub async fn summarize(&self) -> Result<Advanced> {
        let advanced = self.advance(true).await;
        match advanced.error {
            Some(error) => Err(error),
            None => Ok(advanced),
        }
    }

    /// Reads the summary and the messages that it does not cover.
    pub async fn retrieve(&self, limit: Option<usize>) -> Result<SummarizedMessages> {
        let limit = limit.unwrap_or(Limits::CONTRACT.page_items);
        let request = ReadMessages::newest(self.config.conversation_id.as_str(), limit);
        // The messages before their summary: what leaves meanwhile is in the newer summary.
        let read = self.conversations.read(&self.scope, &request).await?;
        let digest = self.digest().await?;
        let through = digest.as_ref().map_or(0, |digest| digest.through_seq);
        let mut messages = read.messages;
        messages.retain(|stored| stored.seq > through || self.stays(stored));
        Ok(SummarizedMessages { digest, messages, total: read.total })
    }

    /// Reads the summary, where it still holds.
    pub async fn digest(&self) -> Result<Option<ConversationDigest>> {
        let conversation = &self.config.conversation_id;
        let (entry, statistics) = futures_util::future::try_join(
            async { self.working.get(&self.scope, &Get::new(self.key())).await },
            self.conversations.statistics(&self.scope, conversation),
        )
        .await?;
        let Some(entry) = entry else { return Ok(None) };
        let digest = ConversationDigest::read(entry.value)?;
        Ok(digest.holds(statistics.lineage).then_some(digest))
    }

    /// Removes the messages, and then the summary; returns how many messages there were.
    pub async fn clear(&self) -> Result<u64> {
        let conversation = &self.config.conversation_id;
        let cleared = self.conversations.clear(&self.scope, conversation).await?;
        self.working.delete(&self.scope, &Delete::new(self.key())).await?;
        Ok(cleared)
    }

    /// Removes all messages behind a number and returns how many (C14); the summary goes with what
    /// it covers.
    pub async fn truncate(&self, after_seq: u64, if_newest_seq: Option<u64>) -> Result<u64> {
        let conversation = &self.config.conversation_id;
        let request = Truncate { if_newest_seq, ..Truncate::new(conversation, after_seq) };
        self.conversations.truncate(&self.scope, &request).await
    }

    /// Removes the newest messages and returns them in their order (C14).
    pub async fn pop(
        &self,
        count: usize,
        if_newest_seq: Option<u64>,
    ) -> Result<Vec<StoredMessage>> {
        let request = Pop { if_newest_seq, ..Pop::new(&self.config.conversation_id, count) };
        self.conversations.pop(&self.scope, &request).await
    }

    /// Reads the conversation's statistics.
    pub async fn statistics(&self) -> Result<ConversationStatistics> {
        self.conversations.statistics(&self.scope, &self.config.conversation_id).await
    }

    /// Whether a message is never evicted, and so never summarized.
    fn stays(&self, stored: &StoredMessage) -> bool {
        self.config.keep_system && stored.message.role == Role::System
    }
}

/// The key of a conversation's summary, an identifier too (G2).
fn key(conversation: &str) -> String {
    format!("summary/{conversation}")
}
