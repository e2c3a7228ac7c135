//! Read-only [sea-orm](sea_orm) entities of the driver's tables, for applications that join memory
//! with rows of their own.
//!
//! ```
//! use memquill_sqlite::entities::{conversation_buffers as messages, conversations, joined};
//! use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QuerySelect};
//! # mod customer {
//! #     use sea_orm::entity::prelude::*;
//! #     #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
//! #     #[sea_orm(table_name = "customers")]
//! #     pub struct Model { #[sea_orm(primary_key)] pub id: i64, pub conversation: String }
//! #     #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
//! #     pub enum Relation {}
//! #     impl ActiveModelBehavior for ActiveModel {}
//! # }
//! let talk = [(customer::Column::Conversation, conversations::Column::Name)];
//! let of = [(conversations::Column::Conversation, messages::Column::Conversation)];
//! let select = customer::Entity::find()
//!     .join(JoinType::InnerJoin, joined(talk))
//!     .join(JoinType::InnerJoin, joined(of))
//!     .column(messages::Column::Content)
//!     .filter(conversations::Column::User.eq("alice"));
//! # let _ = select;
//! ```
//!
//! An entity here is a name, its columns and its rows, and no [`EntityTrait`]:
//! there is no active model, and nothing to insert, update or delete by. What the driver keeps in
//! step (counters, words, versions) is written by the driver alone.
//!
//! ```compile_fail
//! use sea_orm::EntityTrait;
//! memquill_sqlite::entities::memory_data::Entity::delete_many();
//! ```
//! ```compile_fail
//! sea_orm::Update::many(memquill_sqlite::entities::memory_data::Entity);
//! ```
//! ```compile_fail
//! fn insert(row: memquill_sqlite::entities::memory_data::Model) {
//!     sea_orm::Insert::one(row);
//! }
//! ```
//!
//! SQLite knows no users: a query sees the rows of all of them unless it filters by the column
//! `user` of `conversations`, `namespaces` and `memory_data`, which are what belongs to a user.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ColumnType, Query, SelectStatement};
use sea_orm::{FromQueryResult, Identity, Iterable, RelationType};

/// Declares the entity of a table: for each column its variant, its field, its type, its definition.
macro_rules! entity {
    ($(#[$doc:meta])* $table:ident { $($variant:ident $field:ident: $type:ty = $def:expr,)* }) => {
        $(#[$doc])*
        pub mod $table {
            use super::*;

            /// The table.
            #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
            pub struct Entity;

            impl IdenStatic for Entity {
                fn as_str(&self) -> &'static str {
                    stringify!($table)
                }
            }

            impl Iden for Entity {
                fn unquoted(&self) -> &str {
                    stringify!($table)
                }
            }

            impl EntityName for Entity {
                fn table_name(&self) -> &'static str {
                    stringify!($table)
                }
            }

            impl Entity {
                /// Selects all columns of the table, to be narrowed and read by
                /// [`Model::find_by_statement`].
                pub fn select() -> SelectStatement {
                    let columns = Column::iter().map(|column| (Self, column));
                    Query::select().columns(columns).from(Self.table_ref()).take()
                }
            }

            /// The columns.
            #[allow(missing_docs, reason = "src/schema.sql says what they hold")]
            #[derive(Debug, Clone, Copy, EnumIter, DeriveColumn)]
            pub enum Column {
                $($variant,)*
            }

            impl ColumnTrait for Column {
                type EntityName = Entity;

                fn def(&self) -> ColumnDef {
                    match self {
                        $(Self::$variant => $def,)*
                    }
                }
            }

            /// A row.
            #[allow(missing_docs, reason = "src/schema.sql says what they hold")]
            #[derive(Debug, Clone, PartialEq, FromQueryResult)]
            #[non_exhaustive]
            pub struct Model {
                $(pub $field: $type,)*
            }
        }
    };
}

fn text() -> ColumnDef {
    ColumnType::Text.def()
}

fn number() -> ColumnDef {
    ColumnType::BigInteger.def()
}

entity! {
    /// Conversations, their numbering and their statistics.
    conversations {
        Conversation conversation: i64 = number(),
        User user: String = text(),
        Node node: String = text(),
        Name name: String = text(),
        LastSeq last_seq: i64 = number(),
        SystemCount system_count: i64 = number(),
        UserCount user_count: i64 = number(),
        AssistantCount assistant_count: i64 = number(),
        ToolCount tool_count: i64 = number(),
        Tokens tokens: i64 = number(),
        SystemTokens system_tokens: i64 = number(),
        OthersFrom others_from: i64 = number(),
        Activity activity: i64 = number(),
        Incarnation incarnation: i64 = number(),
        Revision revision: i64 = number(),
        SummarizedThrough summarized_through: i64 = number(),
    }
}

entity! {
    /// The messages of conversations.
    conversation_buffers {
        Conversation conversation: i64 = number(),
        Seq seq: i64 = number(),
        CreatedAt created_at: i64 = number(),
        Role role: i64 = number(),
        Tokens tokens: i64 = number(),
        TokenCount token_count: Option<i64> = number().null(),
        Id id: Option<String> = text().null(),
        Name name: Option<String> = text().null(),
        ToolCallId tool_call_id: Option<String> = text().null(),
        Content content: Option<String> = text().null(),
        ToolCalls tool_calls: Option<Json> = text().null(),
        Metadata metadata: Option<Json> = text().null(),
        Extra extra: Option<Json> = text().null(),
    }
}

entity! {
    /// Namespaces of records, and the embedding space that each is bound to.
    namespaces {
        Namespace namespace: i64 = number(),
        User user: String = text(),
        Node node: String = text(),
        Name name: String = text(),
        Model model: String = text(),
        Dimensions dimensions: i64 = number(),
        Records records: i64 = number(),
        Words words: i64 = number(),
    }
}

entity! {
    /// Records and their embeddings, expired ones included until they are purged.
    embeddings {
        Record record: i64 = number(),
        Namespace namespace: i64 = number(),
        Id id: String = text(),
        CreatedAt created_at: i64 = number(),
        UpdatedAt updated_at: i64 = number(),
        ExpiresAt expires_at: Option<i64> = number().null(),
        Words words: i64 = number(),
        Language language: Option<String> = text().null(),
        DocumentType document_type: String = text(),
        ContentHash content_hash: String = text(),
        Embedding embedding: Vec<u8> = ColumnType::Blob.def(),
        Metadata metadata: Option<Json> = text().null(),
        Content content: String = text(),
    }
}

entity! {
    /// The entries of working memory, expired ones included until they are purged.
    memory_data {
        User user: String = text(),
        Node node: String = text(),
        Key key: String = text(),
        Version version: i64 = number(),
        CreatedAt created_at: i64 = number(),
        UpdatedAt updated_at: i64 = number(),
        ExpiresAt expires_at: Option<i64> = number().null(),
        Metadata metadata: Option<Json> = text().null(),
        Value value: Option<Json> = text().null(),
        Bytes bytes: Option<Vec<u8>> = ColumnType::Blob.def().null(),
    }
}

/// Relates columns of one entity to those of another, for [`QuerySelect::join`].
///
/// [`QuerySelect::join`]: sea_orm::QuerySelect::join
pub fn joined<F: ColumnTrait, T: ColumnTrait>(
    columns: impl IntoIterator<Item = (F, T)>,
) -> RelationDef {
    let columns = columns.into_iter().map(|(from, to)| (SeaRc::new(from), SeaRc::new(to)));
    let (from, to): (Vec<DynIden>, Vec<DynIden>) = columns.unzip();
    RelationDef {
        rel_type: RelationType::HasMany,
        from_tbl: F::EntityName::default().table_ref(),
        to_tbl: T::EntityName::default().table_ref(),
        from_col: Identity::Many(from),
        to_col: Identity::Many(to),
        is_owner: false,
        skip_fk: true,
        on_delete: None,
        on_update: None,
        on_condition: None,
        fk_name: None,
        condition_type: sea_orm::sea_query::ConditionType::All,
    }
}
