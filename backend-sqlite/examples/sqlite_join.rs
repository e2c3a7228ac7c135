//! Joins an application's own table with the messages of memory in one SQLite file.
//!
//! `cargo run -p memquill-sqlite --features entities --example sqlite_join -- FILE`
#![allow(clippy::print_stdout, reason = "an example shows what it finds")]

use memquill_core::{Append, Message, Scope};
use memquill_sqlite::entities::{conversation_buffers as messages, conversations, joined};
use sea_orm::entity::prelude::*;
use sea_orm::{Database, FromQueryResult, JoinType, QueryOrder as _, QuerySelect as _};

/// The application's table.
#[allow(unreachable_pub, reason = "as sea-orm generates entities")]
mod ticket {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tickets")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub subject: String,
        pub conversation: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A message, and the ticket that it belongs to.
#[derive(Debug, FromQueryResult)]
struct Line {
    subject: String,
    content: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("name the database's file")?;
    let backend = memquill_sqlite::driver().connect(&format!("sqlite:{file}").parse()?).await?;
    let append = Append::new("printer", vec![Message::user("It prints nothing.")]);
    backend.conversations()?.append(&Scope::new("alice", "support")?, &append).await?;

    let application = Database::connect(format!("sqlite:{file}")).await?;
    application
        .execute_unprepared(
            "CREATE TABLE IF NOT EXISTS tickets (id INTEGER PRIMARY KEY, subject TEXT NOT NULL,
                conversation TEXT NOT NULL);
            INSERT INTO tickets VALUES (1, 'Printer', 'printer') ON CONFLICT DO NOTHING",
        )
        .await?;

    let talk = [(ticket::Column::Conversation, conversations::Column::Name)];
    let of = [(conversations::Column::Conversation, messages::Column::Conversation)];
    let lines = ticket::Entity::find()
        .join(JoinType::InnerJoin, joined(talk))
        .join(JoinType::InnerJoin, joined(of))
        // SQLite knows no users: the query says whose messages it reads.
        .filter(conversations::Column::User.eq("alice"))
        .filter(conversations::Column::Node.eq("support"))
        .order_by_asc(messages::Column::Seq)
        .column(messages::Column::Content)
        .into_model::<Line>()
        .all(&application)
        .await?;
    for Line { subject, content } in lines {
        println!("{subject}: {}", content.unwrap_or_default());
    }
    Ok(backend.close().await?)
}
