//! Read-only [sea-orm](sea_orm) entities of the driver's tables, for applications that join memory
//! with rows of their own.
//!
//! ```
//! use memquill_postgres::entities::{conversation_buffers as messages, joined};
//! use sea_orm::{EntityTrait, JoinType, QueryFilter, QuerySelect, ColumnTrait};
//! # mod customer {
//! #     use sea_orm::entity::prelude::*;
//! #     #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
//! #     #[sea_orm(table_name = "customers")]
//! #     pub struct Model { #[sea_orm(primary_key)] pub id: i64, pub conversation: String }
//! #     #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
//! #     pub enum Relation {}
//! #     impl ActiveModelBehavior for ActiveModel {}
//! # }
//! let talk = [(customer::Column::Conversation, messages::Column::ConversationId)];
//! let select = customer::Entity::find()
//!     .join(JoinType::InnerJoin, joined(talk))
//!     .column(messages::Column::Content)
//!     .filter(messages::Column::Role.eq("user"));
//! # let _ = select;
//! ```
//!
//! An entity here is a name, its columns and its rows, and no [`EntityTrait`]:
//! there is no active model, and nothing to insert, update or delete by. What the driver keeps in
//! step (counters, words, versions) is written by the driver alone.
//!
//! ```compile_fail
//! use sea_orm::EntityTrait;
//! memquill_postgres::entities::memory_data::Entity::delete_many();
//! ```
//! ```compile_fail
//! sea_orm::Update::many(memquill_postgres::entities::memory_data::Entity);
//! ```
//! ```compile_fail
//! fn insert(row: memquill_postgres::entities::memory_data::Model) {
//!     sea_orm::Insert::one(row);
//! }
//! ```
//! ```compile_fail
//! fn delete(row: memquill_postgres::entities::memory_data::Model) {
//!     sea_orm::ModelTrait::delete(row, &sea_orm::DatabaseConnection::default());
//! }
//! ```
//!
//! Row level security shows no row until the transaction states its user: see [`set_user`].

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ColumnType, Query, SelectStatement};
use sea_orm::{DatabaseTransaction, FromQueryResult, Identity, Iterable, RelationType, Statement};

/// The schema that the entities name, which is the driver's default. For another, replace
/// [`RelationDef::to_tbl`], or the table of a statement.
pub const SCHEMA: &str = "memquill";

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
                fn schema_name(&self) -> Option<&str> {
                    Some(SCHEMA)
                }

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
            #[allow(missing_docs, reason = "migrations/0001_schema.sql says what they hold")]
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
            #[allow(missing_docs, reason = "migrations/0001_schema.sql says what they hold")]
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

fn time() -> ColumnDef {
    ColumnType::TimestampWithTimeZone.def()
}

fn json() -> ColumnDef {
    ColumnType::Json.def().null()
}

fn array(of: ColumnType) -> ColumnDef {
    ColumnType::Array(RcOrArc::new(of)).def()
}

entity! {
    /// Conversations, their numbering and their statistics.
    conversations {
        UserId user_id: String = text(),
        NodeId node_id: String = text(),
        ConversationId conversation_id: String = text(),
        LastSeq last_seq: i64 = number(),
        FirstSeq first_seq: Option<i64> = number().null(),
        OthersFrom others_from: i64 = number(),
        SystemCount system_count: i64 = number(),
        UserCount user_count: i64 = number(),
        AssistantCount assistant_count: i64 = number(),
        ToolCount tool_count: i64 = number(),
        SystemTokens system_tokens: i64 = number(),
        OtherTokens other_tokens: i64 = number(),
        EverSystemCount ever_system_count: i64 = number(),
        EverOtherCount ever_other_count: i64 = number(),
        EverSystemTokens ever_system_tokens: i64 = number(),
        EverOtherTokens ever_other_tokens: i64 = number(),
        Activity activity: i64 = number(),
        Incarnation incarnation: i64 = number(),
        Revision revision: i64 = number(),
        SummarizedThrough summarized_through: i64 = number(),
    }
}

entity! {
    /// The messages of conversations.
    conversation_buffers {
        UserId user_id: String = text(),
        NodeId node_id: String = text(),
        ConversationId conversation_id: String = text(),
        Seq seq: i64 = number(),
        CreatedAt created_at: DateTimeUtc = time(),
        MessageId message_id: Option<String> = text().null(),
        Role role: String = text(),
        Content content: Option<String> = text().null(),
        Name name: Option<String> = text().null(),
        ToolCalls tool_calls: Option<Json> = json(),
        ToolCallId tool_call_id: Option<String> = text().null(),
        Metadata metadata: Option<Json> = json(),
        Extra extra: Option<Json> = json(),
        TokenCount token_count: Option<i64> = number().null(),
        Tokens tokens: i64 = number(),
        SystemCountBefore system_count_before: i64 = number(),
        OtherCountBefore other_count_before: i64 = number(),
        SystemTokensBefore system_tokens_before: i64 = number(),
        OtherTokensBefore other_tokens_before: i64 = number(),
    }
}

entity! {
    /// Namespaces of records, and the embedding space that each is bound to.
    namespaces {
        UserId user_id: String = text(),
        NodeId node_id: String = text(),
        Namespace namespace: String = text(),
        NamespaceNumber namespace_number: i64 = number(),
        Model model: String = text(),
        Dimensions dimensions: i32 = ColumnType::Integer.def(),
        Records records: i64 = number(),
        Words words: i64 = number(),
        IndexDimensions index_dimensions: Option<i32> = ColumnType::Integer.def().null(),
        IsIndexed is_indexed: bool = ColumnType::Boolean.def(),
    }
}

entity! {
    /// Records and their embeddings, expired ones included until they are purged.
    embeddings {
        UserId user_id: String = text(),
        NamespaceNumber namespace_number: i64 = number(),
        Id id: String = text(),
        RecordNumber record_number: i64 = number(),
        Content content: String = text(),
        DocumentType document_type: String = text(),
        Metadata metadata: Option<Json> = json(),
        Attributes attributes: Json = ColumnType::JsonBinary.def(),
        Language language: Option<String> = text().null(),
        Digest digest: Vec<u8> = ColumnType::Blob.def(),
        CreatedAt created_at: DateTimeUtc = time(),
        UpdatedAt updated_at: DateTimeUtc = time(),
        ExpiresAt expires_at: Option<DateTimeUtc> = time().null(),
        Embedding embedding: PgVector = ColumnType::Vector(None).def(),
        Original original: Option<Vec<f32>> = array(ColumnType::Float).null(),
        Words words: Vec<String> = array(ColumnType::Text),
        WordCount word_count: i32 = ColumnType::Integer.def(),
        IndexDimensions index_dimensions: Option<i32> = ColumnType::Integer.def().null(),
    }
}

entity! {
    /// The entries of working memory, expired ones included until they are purged.
    memory_data {
        UserId user_id: String = text(),
        NodeId node_id: String = text(),
        Key key: String = text(),
        Value value: Option<Json> = ColumnType::Json.def().null(),
        Bytes bytes: Option<Vec<u8>> = ColumnType::Blob.def().null(),
        Size size: i32 = ColumnType::Integer.def(),
        Metadata metadata: Option<Json> = json(),
        Version version: i64 = number(),
        CreatedAt created_at: DateTimeUtc = time(),
        UpdatedAt updated_at: DateTimeUtc = time(),
        ExpiresAt expires_at: Option<DateTimeUtc> = time().null(),
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

/// Sets the `sub` of the claims, leaves the others, and says whether the role sees all rows anyway.
const SET_USER: &str = "
SELECT me.rolsuper OR me.rolbypassrls AS sees_all,
    set_config('request.jwt.claims', (coalesce(nullif(
        current_setting('request.jwt.claims', true), ''), '{}')::jsonb
        || jsonb_build_object('sub', $1::text))::text, true)
FROM pg_roles AS me WHERE me.rolname = current_user";

/// States the user whose rows the rest of the transaction sees (G1): the `sub` of the setting
/// `request.jwt.claims`. The application's own settings and claims stay as they are.
///
/// Fails where row level security does not bind the transaction's role, which would see the rows of
/// all users: connect as another role, or run `SET LOCAL ROLE` before.
pub async fn set_user(transaction: &DatabaseTransaction, user: &str) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, SET_USER, [user.into()]);
    let row = transaction.query_one_raw(statement).await?;
    if row.is_some_and(|row| row.try_get("", "sees_all").unwrap_or(true)) {
        return Err(DbErr::Custom(
            "row level security does not bind this role: connect as one without SUPERUSER and \
             BYPASSRLS, or run SET LOCAL ROLE first"
                .to_owned(),
        ));
    }
    Ok(())
}
