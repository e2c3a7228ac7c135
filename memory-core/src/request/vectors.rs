//! The requests of vectors (contract, section V).

use std::collections::HashMap;
use std::time::Duration;

use super::{Request, when};
use crate::capability::{Facet, Feature};
use crate::check::{
    batch, content, each, identifier, ids, metadata, page, repeated, result_limit, times, ttl,
    within,
};
use crate::embed::EmbeddingSpace;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::json::Object;
use crate::limits::Limits;
use crate::operation as op;
use crate::page::PageRequest;
use crate::restore::RestoreRecords;
use crate::vector::{
    CountRecords, DeleteRecords, GetRecords, NewRecord, Rebind, Record, ScanRecords, Selection,
    StoreRecords, TextSearch, VectorSearch, content_hash,
};

const FACET: Option<Facet> = Some(Facet::Vectors);

fn space(space: &EmbeddingSpace, limits: &Limits) -> Result<()> {
    identifier("embedding model", &space.model)?;
    if space.dimensions == 0 {
        return Err(Error::invalid_input("an embedding space has at least 1 dimension")
            .with_hint("give the number of dimensions of the model's embeddings"));
    }
    within("an embedding space", space.dimensions, limits.dimensions, "dimensions")
}

fn embedding(embedding: &[f32], space: &EmbeddingSpace) -> Result<()> {
    if embedding.len() != space.dimensions {
        return Err(Error::invalid_input(format!(
            "the embedding has {} numbers, its space {space} wants {}",
            embedding.len(),
            space.dimensions
        ))
        .with_hint("embed with the model that the space names"));
    }
    if let Some(at) = embedding.iter().position(|x| !x.is_finite()) {
        return Err(Error::invalid_input(format!(
            "number {} of the embedding is {}",
            at + 1,
            embedding[at]
        ))
        .with_hint("an embedding's numbers are finite; check the model's output"));
    }
    if embedding.iter().all(|x| *x == 0.0) {
        return Err(Error::invalid_input("the embedding is all zero")
            .with_hint("a zero vector has no direction; was the text empty?"));
    }
    Ok(())
}

/// Refuses a record that no store could keep or that says nothing, its embedding aside.
fn record(record: &NewRecord, limits: &Limits) -> Result<()> {
    let NewRecord { id, content, document_type, metadata, ttl, .. } = record;
    check_record(id.as_deref(), document_type, content, metadata, *ttl, limits)
}

/// Checks the fields of a record, as [`record`] does.
pub(crate) fn check_record(
    id: Option<&str>,
    document_type: &str,
    text: &str,
    fields: &Object,
    lives: Option<Duration>,
    limits: &Limits,
) -> Result<()> {
    if let Some(id) = id {
        identifier("record id", id)?;
    }
    identifier("document type", document_type)?;
    if text.trim().is_empty() {
        return Err(Error::invalid_input("the content is empty")
            .with_hint("leave the record out, or give it a text"));
    }
    content(text, limits)?;
    metadata(fields, limits)?;
    ttl(lives)
}

/// Checks a batch, its embeddings aside.
fn records_of(request: &StoreRecords, limits: &Limits) -> Result<()> {
    identifier("namespace", &request.namespace)?;
    space(&request.space, limits)?;
    batch("record", request.records.len(), limits)?;
    each("record", &request.records, |new| record(new, limits))
}

/// Checks what can be said of a batch before its texts are embedded. An embedding that is there is
/// checked.
pub(crate) fn without_embeddings(request: &StoreRecords, limits: &Limits) -> Result<()> {
    records_of(request, limits)?;
    each("record", &request.records, |new| {
        if new.embedding.is_empty() { Ok(()) } else { embedding(&new.embedding, &request.space) }
    })
}

/// Checks what can be said of a query before its text is embedded.
pub(crate) fn query(
    namespace: &str,
    text: Option<&str>,
    filter: Option<&Filter>,
    limit: usize,
    threshold: Option<f32>,
) -> Result<()> {
    let limits = &Limits::CONTRACT;
    filtered(namespace, filter, limits)?;
    text.map_or(Ok(()), |text| content(text, limits))?;
    result_limit(limit, limits)?;
    min_similarity(threshold)
}

fn min_similarity(threshold: Option<f32>) -> Result<()> {
    match threshold {
        Some(t) if !(-1.0..=1.0).contains(&t) => {
            Err(Error::invalid_input(format!("the similarity threshold {t} is outside [-1, 1]"))
                .with_hint("1 is the same direction, 0 unrelated, -1 opposite"))
        }
        _ => Ok(()),
    }
}

fn filtered(namespace: &str, filter: Option<&Filter>, limits: &Limits) -> Result<()> {
    identifier("namespace", namespace)?;
    filter.map_or(Ok(()), |filter| filter.check(limits))
}

fn if_filtered(filter: Option<&Filter>) -> Option<Feature> {
    when(filter.is_some(), Feature::Filters)
}

impl Request for StoreRecords {
    const OPERATION: &'static str = op::STORE_RECORDS;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        records_of(self, limits)?;
        each("record", &self.records, |record| embedding(&record.embedding, &self.space))?;
        if self.records.len() == 1 {
            return Ok(());
        }
        let mut by_id = HashMap::with_capacity(self.records.len());
        for (at, record) in self.records.iter().enumerate() {
            let first = *by_id.entry(record.identity()).or_insert(at);
            if first != at && !record.is_repeat_of(&self.records[first]) {
                return Err(Error::invalid_input(format!(
                    "records {} and {} of {} have the same id {:?} and differ",
                    first + 1,
                    at + 1,
                    self.records.len(),
                    record.identity()
                ))
                .with_hint("leave one out, or store them in two calls"));
            }
        }
        Ok(())
    }

    fn required(&self) -> [Option<Feature>; 2] {
        let expiring = self.records.iter().any(|record| record.ttl.is_some());
        [when(expiring, Feature::RecordExpiry), None]
    }

    fn writes(&self) -> bool {
        true
    }

    fn items(&self) -> Option<usize> {
        Some(self.records.len())
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.namespace)
    }
}

impl Request for GetRecords {
    const OPERATION: &'static str = op::GET_RECORDS;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        identifier("namespace", &self.namespace)?;
        ids("record id", &self.ids, limits)
    }

    fn writes(&self) -> bool {
        false
    }

    fn items(&self) -> Option<usize> {
        Some(self.ids.len())
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.namespace)
    }
}

impl Request for DeleteRecords {
    const OPERATION: &'static str = op::DELETE_RECORDS;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        identifier("namespace", &self.namespace)?;
        match &self.which {
            Selection::Ids(which) => ids("record id", which, limits),
            Selection::Matching(filter) => filter.check(limits),
            Selection::Namespace => Ok(()),
        }
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [when(matches!(self.which, Selection::Matching(_)), Feature::Filters), None]
    }

    fn writes(&self) -> bool {
        true
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.namespace)
    }
}

impl Request for VectorSearch {
    const OPERATION: &'static str = op::SEARCH;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        filtered(&self.namespace, self.filter.as_ref(), limits)?;
        space(&self.space, limits)?;
        embedding(&self.embedding, &self.space)?;
        result_limit(self.limit, limits)?;
        min_similarity(self.min_similarity)
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [if_filtered(self.filter.as_ref()), None]
    }

    fn writes(&self) -> bool {
        false
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.namespace)
    }
}

impl Request for TextSearch {
    const OPERATION: &'static str = op::SEARCH_TEXT;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        filtered(&self.namespace, self.filter.as_ref(), limits)?;
        content(&self.text, limits)?;
        result_limit(self.limit, limits)?;
        if let Some(query) = &self.similarity_to {
            space(&query.space, limits)?;
            embedding(&query.embedding, &query.space)?;
            min_similarity(query.min_similarity)?;
        }
        Ok(())
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [Some(Feature::TextSearch), if_filtered(self.filter.as_ref())]
    }

    fn writes(&self) -> bool {
        false
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.namespace)
    }
}

impl Request for ScanRecords {
    const OPERATION: &'static str = op::SCAN_RECORDS;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        filtered(&self.namespace, self.filter.as_ref(), limits)?;
        page(Self::OPERATION, &self.page, limits)
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [if_filtered(self.filter.as_ref()), None]
    }

    fn writes(&self) -> bool {
        false
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.namespace)
    }
}

impl Request for CountRecords {
    const OPERATION: &'static str = op::COUNT_RECORDS;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        filtered(&self.namespace, self.filter.as_ref(), limits)
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [if_filtered(self.filter.as_ref()), None]
    }

    fn writes(&self) -> bool {
        false
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.namespace)
    }
}

impl Request for Rebind {
    const OPERATION: &'static str = op::REBIND;
    const FACET: Option<Facet> = FACET;

    fn check(&self, _: &Limits) -> Result<()> {
        identifier("namespace", &self.namespace)?;
        identifier("namespace", &self.from)?;
        if self.namespace == self.from {
            return Err(Error::invalid_input("a namespace cannot take its own embeddings")
                .with_hint("name the namespace that holds the new embeddings"));
        }
        Ok(())
    }

    fn required(&self) -> [Option<Feature>; 2] {
        [Some(Feature::Rebinding), None]
    }

    fn writes(&self) -> bool {
        true
    }

    /// Repeated after it took effect, it would find nothing to take from.
    fn is_repeatable(&self) -> bool {
        false
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.namespace)
    }
}

fn restored_record(record: &Record, space: &EmbeddingSpace, limits: &Limits) -> Result<()> {
    identifier("record id", &record.id)?;
    identifier("document type", &record.document_type)?;
    content(&record.content, limits)?;
    metadata(&record.metadata, limits)?;
    times(record.created_at, record.updated_at, record.expires_at)?;
    embedding(record.embedding.as_deref().unwrap_or_default(), space)?;
    if record.content_hash != content_hash(&record.content) {
        return Err(Error::invalid_input(format!(
            "the hash of the record {:?} is not that of its content",
            record.id
        ))
        .with_hint("it was damaged on its way"));
    }
    Ok(())
}

impl Request for RestoreRecords {
    const OPERATION: &'static str = op::RESTORE_RECORDS;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        identifier("namespace", &self.namespace)?;
        space(&self.space, limits)?;
        within("the batch", self.records.len(), limits.batch_items, "records")?;
        each("record", &self.records, |record| restored_record(record, &self.space, limits))?;
        repeated("records", "id", self.records.iter().map(|record| Some(record.id.as_str())))
    }

    fn required(&self) -> [Option<Feature>; 2] {
        let expiring = self.records.iter().any(|record| record.expires_at.is_some());
        [Some(Feature::Restoring), when(expiring, Feature::RecordExpiry)]
    }

    fn writes(&self) -> bool {
        true
    }

    fn items(&self) -> Option<usize> {
        Some(self.records.len())
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.namespace)
    }
}

/// Lists the namespaces of a scope.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListNamespaces<'a>(pub(crate) &'a PageRequest);

impl Request for ListNamespaces<'_> {
    const OPERATION: &'static str = op::LIST_NAMESPACES;
    const FACET: Option<Facet> = FACET;

    fn check(&self, limits: &Limits) -> Result<()> {
        page(Self::OPERATION, self.0, limits)
    }

    fn writes(&self) -> bool {
        false
    }
}
