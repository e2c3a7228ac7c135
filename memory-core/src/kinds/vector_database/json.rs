//! `VECTOR_DATABASE` in JSON.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Document, DocumentFormat, DocumentQuery, DocumentResults, SearchMode, VectorDatabase,
    neighbours,
};
use crate::error::{Error, Result};
use crate::filter::{Field, Filter};
use crate::json::Object;
use crate::kinds::strict::{self, from_object};
use crate::kinds::{KindName, MemoryKind, Operation, moment, not_offered, object};
use crate::text::Language;
use crate::vector::{Hit, NamespaceSummary, Outcome, Selection, StoredRecord};

const CONTEXT_TOKENS: u64 = 2000;

/// What `store` takes: `content` with its fields, or `documents`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StoreInput {
    content: Option<String>,
    document_type: Option<String>,
    metadata: Option<Object>,
    embedding: Option<Vec<f32>>,
    id: Option<String>,
    ttl_seconds: Option<f64>,
    language: Option<Language>,
    embedded_text: Option<String>,
    documents: Option<Vec<Object>>,
    namespace: Option<String>,
}

/// One of `documents`.
#[derive(Deserialize)]
struct DocumentInput {
    content: String,
    document_type: Option<String>,
    metadata: Option<Object>,
    embedding: Option<Vec<f32>>,
    id: Option<String>,
    ttl_seconds: Option<f64>,
    language: Option<Language>,
    embedded_text: Option<String>,
}

impl DocumentInput {
    fn into_document(self) -> Result<Document> {
        Ok(Document {
            document_type: self.document_type.unwrap_or_else(|| "text".into()),
            metadata: self.metadata.unwrap_or_default(),
            embedding: self.embedding,
            id: self.id,
            ttl: strict::seconds("ttl_seconds", self.ttl_seconds.unwrap_or(0.0))?,
            language: self.language,
            embedded_text: self.embedded_text,
            content: self.content,
        })
    }
}

impl StoreInput {
    fn is_single(&self) -> bool {
        self.content.is_some()
            || self.document_type.is_some()
            || self.metadata.is_some()
            || self.embedding.is_some()
            || self.id.is_some()
            || self.ttl_seconds.is_some()
            || self.language.is_some()
            || self.embedded_text.is_some()
    }

    fn into_documents(self) -> Result<Vec<Document>> {
        let single = self.is_single();
        match (self.documents, self.content) {
            (None, Some(content)) => {
                let input = DocumentInput {
                    content,
                    document_type: self.document_type,
                    metadata: self.metadata,
                    embedding: self.embedding,
                    id: self.id,
                    ttl_seconds: self.ttl_seconds,
                    language: self.language,
                    embedded_text: self.embedded_text,
                };
                Ok(vec![input.into_document()?])
            }
            (Some(documents), None) if !single => {
                strict::each("documents", &documents, |document| {
                    let input: DocumentInput = from_object("the document", document)?;
                    let document = input.into_document()?;
                    document.check()?;
                    Ok(document)
                })
            }
            (Some(_), _) => {
                Err(Error::invalid_input("store takes a document's fields or documents")
                    .with_hint("give each of documents its own fields; only namespace is shared"))
            }
            (None, None) => Err(Error::invalid_input("store needs content or documents")
                .with_hint(r#"give {"content": "What to remember"}"#)),
        }
    }
}

/// What `retrieve` takes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RetrieveInput {
    query: Option<String>,
    embedding: Option<Vec<f32>>,
    limit: Option<usize>,
    similarity_threshold: Option<f32>,
    document_type: Option<String>,
    filter: Option<Value>,
    namespace: Option<String>,
    search: Option<SearchMode>,
    language: Option<Language>,
    diversity: Option<f64>,
    recency_half_life: Option<f64>,
    neighbours: Option<usize>,
}

impl RetrieveInput {
    fn into_query(self) -> Result<DocumentQuery> {
        Ok(DocumentQuery {
            filter: selecting(self.document_type, self.filter)?,
            text: self.query,
            embedding: self.embedding,
            limit: self.limit,
            min_similarity: self.similarity_threshold,
            namespace: self.namespace,
            search: self.search,
            language: self.language,
            diversity: self.diversity,
            recency_half_life: match self.recency_half_life {
                Some(half_life) => {
                    Some(strict::seconds("recency_half_life", half_life)?.unwrap_or_default())
                }
                None => None,
            },
            neighbours: self.neighbours,
        })
    }
}

/// What `get_context` takes: a query as text, and how to write what it finds.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ContextInput {
    query: Option<String>,
    limit: Option<usize>,
    similarity_threshold: Option<f32>,
    document_type: Option<String>,
    filter: Option<Value>,
    namespace: Option<String>,
    search: Option<SearchMode>,
    language: Option<Language>,
    diversity: Option<f64>,
    recency_half_life: Option<f64>,
    neighbours: Option<usize>,
    max_tokens: Option<u64>,
    format: DocumentFormat,
}

impl ContextInput {
    fn into_query(self) -> Result<DocumentQuery> {
        if self.query.is_none() {
            return Err(Error::invalid_input("get_context needs a query")
                .with_hint(r#"give {"query": "what the model is asked"}"#));
        }
        RetrieveInput {
            query: self.query,
            embedding: None,
            limit: self.limit,
            similarity_threshold: self.similarity_threshold,
            document_type: self.document_type,
            filter: self.filter,
            namespace: self.namespace,
            search: self.search,
            language: self.language,
            diversity: self.diversity,
            recency_half_life: self.recency_half_life,
            neighbours: self.neighbours,
        }
        .into_query()
    }
}

/// What `clear` takes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ClearInput {
    namespace: Option<String>,
    document_type: Option<String>,
    filter: Option<Value>,
    ids: Option<Vec<String>>,
}

impl ClearInput {
    fn selection(&mut self) -> Result<Selection> {
        match (self.ids.take(), selecting(self.document_type.take(), self.filter.take())?) {
            (None, None) => Ok(Selection::Namespace),
            (None, Some(filter)) => Ok(Selection::Matching(filter)),
            (Some(ids), None) => Ok(Selection::Ids(ids)),
            (Some(_), Some(_)) => Err(Error::invalid_input("clear takes ids, or a filter")
                .with_hint("give one of the two, or neither for the whole namespace")),
        }
    }
}

/// What `get_statistics` takes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StatisticsInput {
    namespace: Option<String>,
}

fn selecting(document_type: Option<String>, filter: Option<Value>) -> Result<Option<Filter>> {
    let by_type = document_type.map(|name| Filter::eq(Field::DocumentType, name));
    let filter = filter.map(|filter| Filter::from_json(&filter)).transpose()?;
    Ok(match (by_type, filter) {
        (Some(by_type), Some(filter)) => Some(by_type.and(filter)),
        (by_type, filter) => by_type.or(filter),
    })
}

#[async_trait]
impl MemoryKind for VectorDatabase {
    fn name(&self) -> KindName {
        KindName::VectorDatabase
    }

    async fn try_execute(&self, operation: Operation, input: &Object) -> Result<Object> {
        match operation {
            Operation::Store => self.store_json(input).await,
            Operation::Retrieve => {
                let input: RetrieveInput = from_object(operation.name(), input)?;
                Ok(found(&self.search(input.into_query()?).await?))
            }
            Operation::GetContext => self.context_json(input).await,
            Operation::Clear => {
                let mut input: ClearInput = from_object(operation.name(), input)?;
                let which = input.selection()?;
                let deleted = self.clear(input.namespace.as_deref(), which).await?;
                Ok(object([("deleted", deleted.into())]))
            }
            Operation::Summarize | Operation::Truncate | Operation::Pop => {
                Err(not_offered(self.name(), operation))
            }
            Operation::GetStatistics => {
                let input: StatisticsInput = from_object(operation.name(), input)?;
                self.statistics_json(input.namespace.as_deref()).await
            }
        }
    }
}

impl VectorDatabase {
    async fn store_json(&self, input: &Object) -> Result<Object> {
        let mut input: StoreInput = from_object(Operation::Store.name(), input)?;
        let (namespace, batch) = (input.namespace.take(), input.documents.is_some());
        let stored = self.store(namespace.as_deref(), input.into_documents()?).await?;
        let count = |outcome| stored.iter().filter(|record| record.outcome == outcome).count();
        if let ([record], false) = (stored.as_slice(), batch) {
            return Ok(self.stored(record));
        }
        Ok(object([
            ("results", stored.iter().map(|record| Value::Object(self.stored(record))).collect()),
            ("inserted", count(Outcome::Inserted).into()),
            ("updated", count(Outcome::Updated).into()),
            ("unchanged", count(Outcome::Unchanged).into()),
        ]))
    }

    fn stored(&self, record: &StoredRecord) -> Object {
        let outcome = match record.outcome {
            Outcome::Inserted => "inserted",
            Outcome::Updated => "updated",
            Outcome::Unchanged => "unchanged",
        };
        object([
            ("id", record.id.as_str().into()),
            ("content_hash", record.content_hash.as_str().into()),
            ("embedding_dimensions", self.embedder.space().dimensions.into()),
            ("outcome", outcome.into()),
            ("created_at", record.created_at.to_string().into()),
            ("expires_at", moment(record.expires_at)),
        ])
    }

    async fn context_json(&self, input: &Object) -> Result<Object> {
        let input: ContextInput = from_object(Operation::GetContext.name(), input)?;
        let (format, max_tokens) = (input.format, input.max_tokens.unwrap_or(CONTEXT_TOKENS));
        let shown = self.context(input.into_query()?, format, max_tokens).await?;
        Ok(object([
            ("context", shown.context.text.into()),
            ("format", format.as_str().into()),
            ("tokens", shown.context.tokens.into()),
            ("document_count", shown.context.items.into()),
            ("omitted", shown.context.omitted.into()),
            ("complete", shown.found.result.complete.into()),
        ]))
    }

    async fn statistics_json(&self, namespace: Option<&str>) -> Result<Object> {
        let statistics = self.statistics(namespace).await?;
        let space = self.embedder.space();
        let namespaces = statistics.namespaces.items.iter().map(summary).collect();
        Ok(object([
            ("namespace", self.namespace(namespace).into()),
            ("total_documents", statistics.documents.into()),
            ("embedding_model", space.model.as_str().into()),
            ("embedding_dimensions", space.dimensions.into()),
            ("namespaces", namespaces),
            ("more_namespaces", statistics.namespaces.next.is_some().into()),
        ]))
    }
}

fn summary(summary: &NamespaceSummary) -> Value {
    Value::Object(object([
        ("namespace", summary.namespace.as_str().into()),
        ("documents", summary.records.into()),
        ("embedding_model", summary.space.model.as_str().into()),
        ("embedding_dimensions", summary.space.dimensions.into()),
    ]))
}

fn found(found: &DocumentResults) -> Object {
    let mut hits: Vec<Object> = found.result.hits.iter().map(hit).collect();
    for (hit, beside) in hits.iter_mut().zip(&found.neighbours) {
        hit.insert("before".into(), neighbours::json(&beside.before));
        hit.insert("after".into(), neighbours::json(&beside.after));
    }
    object([
        ("result_count", hits.len().into()),
        ("complete", found.result.complete.into()),
        ("search", found.search.as_str().into()),
        ("results", hits.into_iter().map(Value::Object).collect()),
    ])
}

fn hit(hit: &Hit) -> Object {
    let record = &hit.record;
    object([
        ("id", record.id.as_str().into()),
        ("content", record.content.as_str().into()),
        ("similarity", hit.similarity.into()),
        ("score", hit.score.into()),
        ("metadata", record.metadata.clone().into()),
        ("document_type", record.document_type.as_str().into()),
        ("created_at", record.created_at.to_string().into()),
        ("content_hash", record.content_hash.as_str().into()),
    ])
}
