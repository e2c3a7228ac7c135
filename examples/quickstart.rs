//! A conversation, documents and a counter, in a SQLite file or in this process:
//! `cargo run --example quickstart sqlite:agent.db`.
#![allow(clippy::print_stdout, reason = "an example")]

use memquill::{Memory, Message};

#[tokio::main]
async fn main() -> memquill::Result<()> {
    let url = std::env::args().nth(1).filter(|url| url.contains(':'));
    let memory = Memory::connect(url.as_deref().unwrap_or("memory:")).await?;
    let alice = memory.scope("alice", "support-bot")?;

    let chat = alice.conversation("chat-1");
    chat.append([Message::user("Where is my order?"), Message::assistant("On its way.")]).await?;
    println!("{}", chat.context(500).await?.context.text);

    let faq = alice.documents("faq");
    faq.add_all(["Orders arrive within three days.", "Returns are free."]).await?;
    for hit in faq.search("When does my order arrive?").limit(1).await?.hits() {
        println!("{}", hit.record.content);
    }

    println!("visit {}", alice.working().increment("visits", 1).await?);
    memory.close().await
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() -> memquill::Result<()> {
        super::main()
    }
}
