//! Identifiers (G2).

use memquill_core::{
    Append, EmbeddingSpace, ErrorKind, Facet, Feature, GetRecords, ListConversations, ListEntries,
    Message, NewRecord, PageRequest, Put, ReadMessages, Result, Scope, StoreRecords,
};

use super::traces::{plant, records};
use crate::scenario::{Family, Test, scenarios};
use crate::support::refused;

scenarios! {
    facet: None, family: Family::Example;
    g2: from_1_to_255_bytes_are_legal;
    g2: nothing_and_256_bytes_are_refused;
    g2: control_characters_are_refused;
    g2: every_other_character_is_legal_and_literal;
}

/// Everything that is an identifier.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    User,
    Node,
    Conversation,
    MessageId,
    MessageName,
    ToolCallId,
    Namespace,
    RecordId,
    DocumentType,
    Model,
    Key,
}

impl Kind {
    /// Those that the backend has a use for.
    fn offered(test: &Test) -> Vec<Self> {
        let mut kinds = vec![Self::User, Self::Node];
        let facets = test.backend().facets();
        if facets.contains(&Facet::Conversations) {
            kinds.extend([Self::Conversation, Self::MessageName, Self::ToolCallId]);
            kinds.extend(test.has(Feature::SafeRetry).then_some(Self::MessageId));
        }
        if facets.contains(&Facet::Vectors) {
            kinds.extend([Self::Namespace, Self::RecordId, Self::DocumentType, Self::Model]);
        }
        if facets.contains(&Facet::Working) {
            kinds.push(Self::Key);
        }
        kinds
    }

    /// Stores something under the identifier, and reads back how the store knows it.
    async fn round_trip(self, test: &Test, text: &str) -> Result<String> {
        match self {
            Self::User | Self::Node => self.in_scope(test, text).await,
            Self::Conversation | Self::MessageId | Self::MessageName | Self::ToolCallId => {
                self.in_message(test, text).await
            }
            Self::Namespace | Self::RecordId | Self::DocumentType | Self::Model => {
                self.in_record(test, text).await
            }
            Self::Key => in_entry(test, text).await,
        }
    }

    async fn in_scope(self, test: &Test, text: &str) -> Result<String> {
        let scope = match self {
            Self::User => Scope::new(text, "node")?,
            _ => Scope::new(test.user(), text)?,
        };
        let control = test.backend().control();
        control.erase(scope.user()).await?;
        plant(test.backend(), &scope, "x").await;
        let listed = control.scopes(scope.user(), &PageRequest::first(2)).await?;
        control.erase(scope.user()).await?;
        assert_eq!(listed.items, [scope]);
        Ok(match self {
            Self::User => listed.items[0].user().to_owned(),
            _ => listed.items[0].node().to_owned(),
        })
    }

    async fn in_message(self, test: &Test, text: &str) -> Result<String> {
        let (scope, conversations) = (test.scope(), test.conversations());
        let mut message = Message::user("x");
        let mut conversation = "c";
        match self {
            Self::MessageId => message.id = Some(text.into()),
            Self::MessageName => message.name = Some(text.into()),
            Self::ToolCallId => message.tool_call_id = Some(text.into()),
            _ => conversation = text,
        }
        conversations.append(&scope, &Append::new(conversation, vec![message])).await?;
        let listed = conversations.list(&scope, &ListConversations::default()).await?;
        let listed = &listed.items[0].conversation;
        let read = conversations.read(&scope, &ReadMessages::all(listed)).await?;
        let message = &read.messages[0].message;
        Ok(match self {
            Self::MessageId => message.id.clone().unwrap(),
            Self::MessageName => message.name.clone().unwrap(),
            Self::ToolCallId => message.tool_call_id.clone().unwrap(),
            _ => listed.clone(),
        })
    }

    async fn in_record(self, test: &Test, text: &str) -> Result<String> {
        let (scope, vectors) = (test.scope(), test.vectors());
        let mut record = NewRecord::new("x", vec![1.0, 0.0]).with_id("r");
        let mut request = records(vec![]);
        match self {
            Self::RecordId => record.id = Some(text.into()),
            Self::DocumentType => record.document_type = text.into(),
            Self::Model => request.space = EmbeddingSpace::new(text, 2),
            _ => request.namespace = text.into(),
        }
        let id = record.identity();
        let request = StoreRecords { records: vec![record], ..request };
        vectors.store(&scope, &request).await?;
        let listed = vectors.namespaces(&scope, &PageRequest::default()).await?.items.remove(0);
        let get = GetRecords {
            namespace: listed.namespace.clone(),
            ids: vec![id],
            with_embeddings: false,
        };
        let found = vectors.get(&scope, &get).await?.remove(0);
        Ok(match self {
            Self::RecordId => found.id,
            Self::DocumentType => found.document_type,
            Self::Model => listed.space.model,
            _ => listed.namespace,
        })
    }
}

async fn in_entry(test: &Test, text: &str) -> Result<String> {
    let (scope, working) = (test.scope(), test.working());
    working.put(&scope, &Put::new(text, 1)).await?;
    let list = ListEntries { prefix: text.into(), ..ListEntries::default() };
    Ok(working.list(&scope, &list).await?.items.remove(0).key)
}

/// Each identifier comes back as it is, as whatever it is used.
async fn come_back(test: &Test, texts: &[&str]) {
    for kind in Kind::offered(test) {
        for &text in texts {
            let back = kind.round_trip(test, text).await;
            assert_eq!(back.as_deref().unwrap(), text, "as {kind:?}");
        }
    }
}

/// Each identifier is refused, as whatever it is used.
async fn are_refused(test: &Test, texts: &[&str]) {
    for kind in Kind::offered(test) {
        for &text in texts {
            let error = refused(kind.round_trip(test, text).await, ErrorKind::InvalidInput);
            assert!(error.hint().is_some(), "{kind:?}: {error}");
        }
    }
}

async fn from_1_to_255_bytes_are_legal(test: Test) {
    let (ascii, wide, astral) = ("a".repeat(255), "中".repeat(85), "😀".repeat(63));
    come_back(&test, &["c", &ascii, &wide, &astral]).await;
}

async fn nothing_and_256_bytes_are_refused(test: Test) {
    let (ascii, wide) = ("a".repeat(256), "中".repeat(86));
    are_refused(&test, &["", &ascii, &wide, &"a".repeat(100_000)]).await;
}

async fn control_characters_are_refused(test: Test) {
    let texts: Vec<String> = ['\0', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{80}', '\u{9f}']
        .into_iter()
        .map(|control| format!("a{control}b"))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).chain(["\n", "a\n", "\0"]).collect();
    are_refused(&test, &texts).await;
}

async fn every_other_character_is_legal_and_literal(test: Test) {
    let ascii: String = (' '..='~').collect();
    let texts = [
        ascii.as_str(),
        " ",
        " a ",
        "*",
        "%",
        "_",
        "..",
        "/",
        "\\",
        "a/../b",
        "{user}:{node}",
        "'; DROP TABLE messages; --",
        "\"$1\" ${x} `y` #{z}",
        "null",
        "0",
        "-1",
        "e\u{301} \u{e9}",
        "\u{200B}\u{202E}\u{FEFF}\u{2028}",
        "👩\u{200D}🚀 中文 עברית",
        "\u{FFFD}\u{FFFF}\u{10FFFF}",
    ];
    // Users are the store's, not the scenario's: each gets a mark of its own.
    let mark = test.user();
    for kind in Kind::offered(&test) {
        for text in texts {
            let text = if kind == Kind::User { format!("{text}{mark}") } else { text.to_owned() };
            let back = kind.round_trip(&test, &text).await;
            assert_eq!(back.as_deref().unwrap(), text, "as {kind:?}");
        }
    }
}
