//! Joins an application's own table with the messages of memory, both under the user's tenancy.
//!
//! `cargo run -p memquill-postgres --features entities --example postgres_join -- URL`, where URL is a
//! superuser's of a database for the example.
#![allow(clippy::print_stdout, reason = "an example shows what it finds")]

use memquill_core::{Append, Message, Scope};
use memquill_postgres::entities::{conversation_buffers as messages, joined, set_user};
use sea_orm::entity::prelude::*;
use sea_orm::{
    Database, FromQueryResult, JoinType, QueryOrder as _, QuerySelect as _, TransactionTrait as _,
};

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
    role: String,
    content: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("name the database's URL")?;
    let memory = format!("{url}?role=memquill_data").parse()?;
    let driver = memquill_postgres::driver();
    driver.admin(&memory).await?.migrate().await?;
    let append = Append::new("printer", vec![Message::user("It prints nothing.")]);
    let backend = driver.connect(&memory).await?;
    backend.conversations()?.append(&Scope::new("alice", "support")?, &append).await?;

    let application = Database::connect(url).await?;
    application
        .execute_unprepared(
            "CREATE TABLE IF NOT EXISTS tickets (id bigint PRIMARY KEY, subject text NOT NULL,
                conversation text NOT NULL);
            GRANT SELECT ON tickets TO memquill_data;
            INSERT INTO tickets VALUES (1, 'Printer', 'printer') ON CONFLICT DO NOTHING",
        )
        .await?;

    let transaction = application.begin().await?;
    // The application's role would be one of its own, with SELECT on memory's tables.
    transaction.execute_unprepared("SET LOCAL ROLE memquill_data").await?;
    set_user(&transaction, "alice").await?;
    let talk = [(ticket::Column::Conversation, messages::Column::ConversationId)];
    let lines = ticket::Entity::find()
        .join(JoinType::InnerJoin, joined(talk))
        .filter(messages::Column::NodeId.eq("support"))
        .order_by_asc(messages::Column::Seq)
        .columns([messages::Column::Role, messages::Column::Content])
        .into_model::<Line>()
        .all(&transaction)
        .await?;
    for Line { subject, role, content } in lines {
        println!("{subject}: {role}: {}", content.unwrap_or_default());
    }
    Ok(transaction.commit().await?)
}
