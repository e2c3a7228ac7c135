//! `CONVERSATION_SUMMARY` in JSON.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Advanced, ConversationDigest, SummarizedConversation, SummarizedConversationConfig};
use crate::conversation::StoredMessage;
use crate::error::Result;
use crate::json::Object;
use crate::kinds::conversation_buffer::json::{
    PopInput, StoreInput, TruncateInput, named, popped_messages, stored,
};
use crate::kinds::strict::from_object;
use crate::kinds::{KindName, MemoryKind, Operation, fields, moment, object};

#[derive(Default, Deserialize)]
#[serde(default)]
struct RetrieveInput {
    limit: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContextInput {
    max_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct NoInput {}

#[async_trait]
impl MemoryKind for SummarizedConversation {
    fn name(&self) -> KindName {
        KindName::ConversationSummary
    }

    async fn try_execute(&self, operation: Operation, input: &Object) -> Result<Object> {
        let (named, input) = named(input)?;
        let other = named.map(|conversation_id| {
            let config = SummarizedConversationConfig { conversation_id, ..self.config.clone() };
            config.check().map(|()| Self { config, ..self.clone() })
        });
        let other = other.transpose()?;
        other.as_ref().unwrap_or(self).execute_here(operation, &input).await
    }
}

impl SummarizedConversation {
    async fn execute_here(&self, operation: Operation, input: &Object) -> Result<Object> {
        let what = operation.name();
        match operation {
            Operation::Store => {
                let input: StoreInput = from_object(what, input)?;
                let (appended, advanced) = self.store(input.into_messages()?).await?;
                let mut answer = stored(&appended);
                answer.extend(said(&advanced));
                Ok(answer)
            }
            Operation::Summarize => {
                let NoInput {} = from_object(what, input)?;
                let mut answer = said(&self.summarize().await?);
                answer.extend(summary(self.digest().await?.as_ref()));
                Ok(answer)
            }
            Operation::Truncate => {
                let TruncateInput { after_seq, if_newest_seq } = from_object(what, input)?;
                let removed = self.truncate(after_seq, if_newest_seq).await?;
                Ok(object([("removed", removed.into())]))
            }
            Operation::Pop => {
                let PopInput { count, if_newest_seq } = from_object(what, input)?;
                let popped = self.pop(count.unwrap_or(1), if_newest_seq).await?;
                Ok(popped_messages(&popped))
            }
            Operation::Retrieve => {
                let input: RetrieveInput = from_object(what, input)?;
                let found = self.retrieve(input.limit).await?;
                let mut answer = object([
                    ("count", found.messages.len().into()),
                    ("total_in_buffer", found.total.into()),
                    ("messages", found.messages.iter().map(StoredMessage::to_json).collect()),
                ]);
                answer.extend(summary(found.digest.as_ref()));
                Ok(answer)
            }
            Operation::GetContext => {
                let input: ContextInput = from_object(what, input)?;
                let shown = self.context(input.max_tokens).await?;
                let messages: Value = shown.messages.iter().map(StoredMessage::to_json).collect();
                Ok(object([
                    ("context", shown.context.text.as_str().into()),
                    ("combined_context", shown.context.text.as_str().into()),
                    ("summary", shown.summary.into()),
                    ("recent_messages", messages.clone()),
                    ("messages", messages),
                    ("tokens", shown.context.tokens.into()),
                    ("token_count", shown.context.tokens.into()),
                    ("message_count", shown.context.items.into()),
                    ("omitted", shown.context.omitted.into()),
                ]))
            }
            Operation::Clear => {
                let NoInput {} = from_object(what, input)?;
                Ok(object([("cleared", self.clear().await?.into())]))
            }
            Operation::GetStatistics => {
                let NoInput {} = from_object(what, input)?;
                let statistics = self.statistics().await?;
                let mut answer = object([
                    ("conversation_id", self.config.conversation_id.as_str().into()),
                    ("message_count", statistics.message_count.into()),
                    ("tokens", statistics.token_count.into()),
                    ("oldest", moment(statistics.oldest)),
                    ("newest", moment(statistics.newest)),
                    ("last_seq", statistics.last_seq.into()),
                ]);
                let digest = self.digest().await?;
                answer.insert("summary_metadata".into(), metadata(digest.as_ref()));
                Ok(answer)
            }
        }
    }
}

fn said(advanced: &Advanced) -> Object {
    let error = advanced.error.as_ref();
    object([
        ("summary_updated", advanced.updated.into()),
        ("through_seq", advanced.through_seq.into()),
        ("summary_error", error.map(|error| Value::Object(fields(error))).into()),
        ("unsummarised_evicted", advanced.unsummarised_evicted.into()),
    ])
}

fn summary(digest: Option<&ConversationDigest>) -> Object {
    let empty = ConversationDigest::default();
    let shown = digest.unwrap_or(&empty);
    object([
        ("summary", shown.text.as_str().into()),
        ("key_points", shown.key_points.iter().map(String::as_str).collect()),
        ("entities", json!(shown.entities)),
        ("summary_metadata", metadata(digest)),
    ])
}

/// What a summary covers and was made by; `null` where there is none.
fn metadata(digest: Option<&ConversationDigest>) -> Value {
    let Some(digest) = digest else { return Value::Null };
    json!({
        "through_seq": digest.through_seq,
        "messages_summarized": digest.messages,
        "summary_generation_count": digest.generation,
        "last_summary_timestamp": moment(digest.summarized_at),
        "model": digest.model,
        "version": digest.version,
        "time_range": digest.time_range,
    })
}
