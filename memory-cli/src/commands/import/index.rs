//! `chat import --index`: turns as records that can be found.

use std::collections::HashMap;

use memquill::driver::content_hash;
use memquill::json::Object;
use memquill::kinds::{Document, VectorDatabase};
use memquill::text::Language;
use memquill::transfer::transcript::Conversation;
use memquill::{Message, Result, Role, StoredMessage, Timestamp};
use serde_json::Value;

use crate::args;
use crate::commands::together::embed_together;

/// How many turns are embedded and stored at once.
const BATCH: usize = 256;

/// The keys of a message, or of its metadata, that say when it was said.
const SAID_AT: [&str; 4] = ["sent_at", "timestamp", "created_at", "create_time"];

/// The time when a message was said, as a field of it or its metadata has it: a text, or seconds or milliseconds
/// since 1970.
fn said_at(message: &Message) -> Option<String> {
    /// The first number that is milliseconds: as seconds it is in the year 5138.
    const MILLISECONDS: f64 = 1.0e11;
    let said = |key: &&str| message.extra.get(*key).or_else(|| message.metadata.get(*key));
    SAID_AT.iter().find_map(|key| match said(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => {
            let number = number.as_f64()?;
            let millis = if number < MILLISECONDS { number * 1000.0 } else { number };
            #[expect(clippy::cast_possible_truncation, reason = "whole milliseconds are wanted")]
            let time = Timestamp::from_millis(millis.round() as i64);
            time.ok().map(|time| time.to_string())
        }
        _ => None,
    })
}

/// Where turns go.
pub(super) struct Index {
    documents: VectorDatabase,
    namespace: String,
    embed_with: usize,
    language: Option<Language>,
    waiting: Vec<Document>,
    stored: u64,
}

impl Index {
    pub(super) fn new(args: &args::Import, documents: VectorDatabase) -> Self {
        Self {
            documents,
            namespace: args.namespace.clone(),
            embed_with: args.embed_with,
            language: args.language,
            waiting: Vec::new(),
            stored: 0,
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Adds the turns of a conversation: what its user and its assistant said. `stored` is what the
    /// store holds of it, which gives the numbers.
    pub(super) async fn add(
        &mut self,
        read: &Conversation,
        stored: &[StoredMessage],
    ) -> Result<()> {
        let Conversation { id: conversation, messages, .. } = read;
        let by_id: HashMap<&str, &StoredMessage> = stored
            .iter()
            .filter_map(|stored| Some((stored.message.id.as_deref()?, stored)))
            .collect();
        let said = messages.iter().filter(|message| {
            matches!(message.role, Role::User | Role::Assistant)
                && !message.text().trim().is_empty()
        });
        let mut turns = Vec::new();
        let mut kept = Vec::new();
        for (turn, message) in said.enumerate() {
            let stored = message.id.as_deref().and_then(|id| by_id.get(id));
            kept.push(stored.is_some());
            let seq = stored.map_or(0, |stored| stored.seq);
            let created_at = stored.map(|stored| stored.created_at.to_string());
            let date = read.date.clone().or_else(|| said_at(message)).or(created_at);
            let mut metadata = Object::from_iter([
                ("conversation_id".to_owned(), Value::from(conversation.as_str())),
                ("seq".to_owned(), seq.into()),
                ("turn".to_owned(), turn.into()),
                ("role".to_owned(), message.role.as_str().into()),
                ("date".to_owned(), date.unwrap_or_default().into()),
            ]);
            if let Some(title) = &read.title {
                metadata.insert("title".into(), title.as_str().into());
            }
            turns.push(Document {
                id: Some(content_hash(&format!("{conversation}\0{seq}"))),
                document_type: "turn".to_owned(),
                metadata,
                language: self.language,
                ..Document::new(message.text())
            });
        }
        embed_together(&mut turns, self.embed_with);
        // What was evicted since is context for its neighbours, and no record.
        let turns = turns.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(turn, _)| turn);
        self.waiting.extend(turns);
        while self.waiting.len() >= BATCH {
            let rest = self.waiting.split_off(BATCH);
            let batch = std::mem::replace(&mut self.waiting, rest);
            self.store(batch).await?;
        }
        Ok(())
    }

    /// Stores what waits, and returns how many turns there were in all.
    pub(super) async fn finish(&mut self) -> Result<u64> {
        let rest = std::mem::take(&mut self.waiting);
        if !rest.is_empty() {
            self.store(rest).await?;
        }
        Ok(self.stored)
    }

    async fn store(&mut self, batch: Vec<Document>) -> Result<()> {
        self.stored += batch.len() as u64;
        self.documents.store(Some(&self.namespace), batch).await.map(drop)
    }
}
