//! The requests of conversations (contract, section C).

use super::{Request, when};
use crate::capability::{Facet, Feature};
use crate::check::{batch, each, identifier, metadata, repeated, result_limit, time, within};
use crate::conversation::{
    Append, ListConversations, Message, Pop, ReadMessages, Retention, Role, Trim, Truncate,
};
use crate::error::{Error, Result};
use crate::json;
use crate::limits::Limits;
use crate::operation as op;
use crate::restore::{MAX_RESTORED, RestoreMessages};

const FACET: Option<Facet> = Some(Facet::Conversations);

fn retention(retention: &Retention) -> Result<()> {
    if retention.max_messages == Some(0) || retention.max_tokens == Some(0) {
        return Err(Error::invalid_input("a retention limit is 0")
            .with_hint("keep at least 1, or clear the conversation"));
    }
    Ok(())
}

/// Refuses a message that says nothing: without text, parts, tool calls, other fields and metadata.
/// White space is no text. A tool's empty result says that there was none.
fn says_something(message: &Message) -> Result<()> {
    let silent = message.text().trim().is_empty()
        && message.tool_calls.is_empty()
        && message.metadata.is_empty()
        && !message.says_more()
        && message.role != Role::Tool;
    if silent {
        return Err(Error::invalid_input("the message has neither content nor tool calls")
            .with_hint("leave the message out, or give it a content"));
    }
    Ok(())
}

/// Refuses what no store could keep.
fn message(message: &Message, limits: &Limits) -> Result<()> {
    for (what, text) in [
        ("message id", &message.id),
        ("message name", &message.name),
        ("tool call id", &message.tool_call_id),
    ] {
        if let Some(text) = text {
            identifier(what, text)?;
        }
    }
    json::check_text("the content", message.text())?;
    let mut bytes = message.text().len();
    if !message.tool_calls.is_empty() {
        each("tool call", &message.tool_calls, |call| json::check("the tool call", call))?;
        bytes += json::size(&message.tool_calls);
    }
    if !message.extra.is_empty() {
        message.check_extra()?;
        bytes += json::size(&message.extra);
    }
    within("the message", bytes, limits.message_bytes, "bytes")?;
    metadata(&message.metadata, limits)
}

impl Message {
    /// Refuses a message that no append takes (G2 to G4).
    pub fn check(&self) -> Result<()> {
        says_something(self)?;
        message(self, &Limits::CONTRACT)
    }
}

impl Request for Append {
    const OPERATION: &'static str = op::APPEND;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        identifier("conversation", &self.conversation)?;
        batch("message", self.messages.len(), limits)?;
        each("message", &self.messages, |one| {
            says_something(one)?;
            message(one, limits)
        })?;
        repeated("messages", "id", self.messages.iter().map(|message| message.id.as_deref()))?;
        self.retention.as_ref().map_or(Ok(()), retention)
    }

    fn required(&self) -> [Option<Feature>; 2] {
        let with_ids = self.messages.iter().any(|message| message.id.is_some());
        [when(self.retention.is_some(), Feature::Retention), when(with_ids, Feature::SafeRetry)]
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_repeatable(&self) -> bool {
        Self::is_repeatable(self)
    }

    fn items(&self) -> Option<usize> {
        Some(self.messages.len())
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.conversation)
    }
}

impl Request for ReadMessages {
    const OPERATION: &'static str = op::READ_MESSAGES;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        identifier("conversation", &self.conversation)?;
        let Some(limit) = self.limit else { return Ok(()) };
        result_limit(limit, limits).map_err(|error| match limit {
            0 => error,
            _ => error.with_hint("read the newest first, and those before them with before_seq"),
        })
    }

    fn writes(&self) -> bool {
        false
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.conversation)
    }
}

impl Request for Trim {
    const OPERATION: &'static str = op::TRIM;
    const FACET: Option<Facet> = FACET;

    fn check(&self, _: &Limits) -> Result<()> {
        identifier("conversation", &self.conversation)?;
        retention(&self.retention)
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [Some(Feature::Retention), None]
    }

    fn writes(&self) -> bool {
        true
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.conversation)
    }
}

/// Removes the messages of a conversation (C9).
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClearConversation<'a>(pub(crate) &'a str);

impl Request for ClearConversation<'_> {
    const OPERATION: &'static str = op::CLEAR_CONVERSATION;
    const FACET: Option<Facet> = FACET;

    fn check(&self, _: &Limits) -> Result<()> {
        identifier("conversation", self.0)
    }

    fn writes(&self) -> bool {
        true
    }

    fn collection(&self) -> Option<&str> {
        Some(self.0)
    }
}

impl Request for Truncate {
    const OPERATION: &'static str = op::TRUNCATE;
    const FACET: Option<Facet> = FACET;

    fn check(&self, _: &Limits) -> Result<()> {
        identifier("conversation", &self.conversation)
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_repeatable(&self) -> bool {
        // What was appended since would go with the repetition.
        self.if_newest_seq.is_some()
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.conversation)
    }
}

impl Request for Pop {
    const OPERATION: &'static str = op::POP;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        identifier("conversation", &self.conversation)?;
        batch("message", self.count, limits)
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_repeatable(&self) -> bool {
        false
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.conversation)
    }
}

/// Removes a conversation (C13).
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeleteConversation<'a>(pub(crate) &'a str);

impl Request for DeleteConversation<'_> {
    const OPERATION: &'static str = op::DELETE_CONVERSATION;
    const FACET: Option<Facet> = FACET;

    fn check(&self, _: &Limits) -> Result<()> {
        identifier("conversation", self.0)
    }

    fn writes(&self) -> bool {
        true
    }

    fn collection(&self) -> Option<&str> {
        Some(self.0)
    }
}

/// Reads the statistics of a conversation (C8).
#[derive(Debug, Clone, Copy)]
pub(crate) struct GetConversationStatistics<'a>(pub(crate) &'a str);

impl Request for GetConversationStatistics<'_> {
    const OPERATION: &'static str = op::CONVERSATION_STATISTICS;
    const FACET: Option<Facet> = FACET;

    fn check(&self, _: &Limits) -> Result<()> {
        identifier("conversation", self.0)
    }

    fn writes(&self) -> bool {
        false
    }

    fn collection(&self) -> Option<&str> {
        Some(self.0)
    }
}

impl Request for ListConversations {
    const OPERATION: &'static str = op::LIST_CONVERSATIONS;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        result_limit(self.page.limit, limits)?;
        self.position().map(drop)
    }

    fn writes(&self) -> bool {
        false
    }
}

impl Request for RestoreMessages {
    const OPERATION: &'static str = op::RESTORE_MESSAGES;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        identifier("conversation", &self.conversation)?;
        within("the batch", self.messages.len(), limits.batch_items, "messages")?;
        let mut last = 0;
        for stored in &self.messages {
            if stored.seq <= last {
                return Err(Error::invalid_input(format!(
                    "the message {} comes after the message {last}: numbers ascend from 1",
                    stored.seq
                ))
                .with_hint("restore what a store gave, in its order"));
            }
            last = stored.seq;
        }
        each("message", &self.messages, |stored| {
            time("created_at", stored.created_at)?;
            message(&stored.message, limits)
        })?;
        if self.last_seq < last.max(1) || self.last_seq > MAX_RESTORED {
            return Err(Error::invalid_input(format!(
                "the last number {} is less than that of a message, or 0, or past {MAX_RESTORED}",
                self.last_seq
            ))
            .with_hint("give the `last_seq` of the conversation's statistics"));
        }
        let ids = self.messages.iter().map(|stored| stored.message.id.as_deref());
        repeated("messages", "id", ids)
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [Some(Feature::Restoring), None]
    }

    fn writes(&self) -> bool {
        true
    }

    fn items(&self) -> Option<usize> {
        Some(self.messages.len())
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.conversation)
    }
}
