//! The core of a service: chat turns with a bounded context, a searchable handbook, sessions that
//! expire, a sidebar of conversations, errors as HTTP knows them, health, and the right to be
//! forgotten. `cargo run --example service_core`.
#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use memquill::layers::{Layers, Retries};
use memquill::stream::TryStreamExt as _;
use memquill::{
    ConversationOrder, Document, Error, ErrorKind, Filter, HealthStatus, Memory, Message, Result,
    Retention, StoredMessage,
};
use serde::{Deserialize, Serialize};

/// What a request of the service works on; axum takes it as its state.
#[derive(Debug, Clone)]
struct Service {
    memory: Memory,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Session {
    language: String,
    turns: u32,
}

impl Service {
    async fn open(url: &str) -> Result<Self> {
        let layers = Layers::default().timeout(Duration::from_secs(2)).retry(Retries::new(5));
        let memory = Memory::builder().store("main", url).layers("main", layers);
        Ok(Self { memory: memory.migrate(true).build().await? })
    }

    /// Stores what the user says and returns what the model is to see.
    async fn turn(&self, user: &str, chat: &str, text: &str) -> Result<Vec<StoredMessage>> {
        let user = self.memory.scope(user, "support")?;
        let chat = user.conversation(chat).with_retention(Retention::messages(1_000));
        chat.append([Message::user(text)]).await?;
        let session = |session: Option<Session>| {
            let session = session.unwrap_or_else(|| Session { language: "en".into(), turns: 0 });
            Session { turns: session.turns + 1, ..session }
        };
        user.working().with_ttl(Duration::from_hours(1)).update("session", session).await?;
        chat.window(20).await
    }

    /// Adds a page of the handbook, which all users share.
    async fn publish(&self, page: u32, text: &str) -> Result<()> {
        let page =
            Document::new(text).with_id(format!("page-{page}")).with_metadata([("page", page)]);
        self.memory.scope("shared", "support")?.documents("handbook").add(page).await.map(drop)
    }

    /// Writes what the handbook knows, from a page on, as text for a model.
    async fn knowledge(&self, query: &str, from: u32) -> Result<String> {
        let handbook = self.memory.scope("shared", "support")?.documents("handbook");
        let found = handbook.search(query).filter(Filter::gte("page", from)).limit(3);
        Ok(found.context(400).await?.context.text)
    }

    /// The names of a user's conversations, the most recent first.
    async fn sidebar(&self, user: &str) -> Result<Vec<String>> {
        let conversations = self.memory.scope(user, "support")?;
        let conversations = conversations.conversations(ConversationOrder::Activity);
        conversations.map_ok(|summary| summary.conversation).try_collect().await
    }

    async fn is_ready(&self) -> bool {
        let health = self.memory.health(Duration::from_secs(1)).await;
        health.values().all(|store| store.status == HealthStatus::Healthy)
    }

    async fn forget(&self, user: &str) -> Result<u64> {
        Ok(self.memory.erase(user).await?.values().map(|receipt| receipt.messages).sum())
    }
}

/// The status of a response; its body is the error's serde form.
fn status(error: &Error) -> u16 {
    match error.kind() {
        ErrorKind::InvalidInput => 400,
        ErrorKind::NotFound => 404,
        ErrorKind::Conflict => 409,
        ErrorKind::RateLimited => 429,
        ErrorKind::Unavailable | ErrorKind::Timeout => 503,
        _ => 500,
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let service = Service::open("memory:").await?;
    service.publish(1, "Orders arrive within three days.").await?;
    service.publish(2, "Returned orders are free of charge.").await?;
    service.turn("alice", "chat-1", "Where is my order?").await?;
    service.turn("alice", "chat-2", "May I send it back?").await?;
    let window = service.turn("alice", "chat-1", "Are you there?").await?;
    assert_eq!(window.len(), 2);
    assert_eq!(service.sidebar("alice").await?.len(), 2);
    println!("{}", service.knowledge("returned orders", 2).await?);

    let session: Option<Session> =
        service.memory.scope("alice", "support")?.working().get("session").await?;
    assert_eq!(session, Some(Session { language: "en".into(), turns: 3 }));

    if let Err(error) = service.turn("", "chat-1", "Nobody says this.").await {
        println!("{} {}", status(&error), serde_json::json!(error));
    }

    assert!(service.is_ready().await);
    assert_eq!(service.forget("alice").await?, 3);
    assert_eq!(service.sidebar("alice").await?, [""; 0]);
    service.memory.close().await
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() -> memquill::Result<()> {
        super::main()
    }
}
